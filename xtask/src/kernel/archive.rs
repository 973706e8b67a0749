//! An archive as Linux begins with: `cpio` in the form `newc`. It is written here, for it takes no more than this, and who
//! writes it need not be root to put a device into it.

use std::{collections::BTreeSet, path::Path};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CONSOLE: u32 = 0o020_600;

/// The files of an initial file system.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    number: u32,
}

impl Archive {
    pub(super) fn directory(&mut self, path: &str) {
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, [0, 0], &[]);
        }
    }

    /// The directories above a path.
    pub(super) fn parents(&mut self, path: &Path) {
        let parents: Vec<_> =
            path.ancestors().skip(1).map(|path| path.to_string_lossy().into_owned()).collect();
        for parent in parents.into_iter().rev().filter(|parent| !parent.is_empty()) {
            self.directory(&parent);
        }
    }

    /// A file that everybody may read and execute.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE, [0, 0], content);
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK, [0, 0], target.as_bytes());
    }

    /// The device that the kernel's console is.
    pub(super) fn console(&mut self, path: &str) {
        self.entry(path, CONSOLE, [5, 1], &[]);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, [0, 0], &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, [major, minor]: [u32; 2], content: &[u8]) {
        self.number += 1;
        // Its length counts the zero at the end of the name.
        let (length, name) = (content.len() as u32, path.len() as u32 + 1);
        // Number, mode, user, group, links, time, length, where the archive is, which device it is, name, check sum.
        let fields = [self.number, mode, 0, 0, 1, 0, length, 0, 0, major, minor, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.parents(Path::new("a/b"));
        archive.parents(Path::new("a/c"));
        archive.file("a/b", b"hi");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!((bytes.len() % 4, text.matches("070701").count()), (0, 3));
        let zero = "00000000";
        let header = ["070701", "00000001", "000041ed", zero, zero, "00000001", zero, zero];
        let rest = [zero, zero, zero, zero, "00000002", zero, "a\0", "070701"];
        assert!(text.starts_with(&[header, rest].concat().concat()), "{text:?}");
        assert!(text.contains("a/b\0\0\0hi\0") && text.ends_with("TRAILER!!!\0\0\0\0"), "{text:?}");
    }
}
