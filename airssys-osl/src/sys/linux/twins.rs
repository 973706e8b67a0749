//! Names of other bytes that a file system may take for one: other cases, other Unicode forms, dots at the end.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use rustix::{
    fd::BorrowedFd,
    fs::{self, Mode, OFlags},
};

/// File systems that tell names apart by their bytes, but in directories that say otherwise. What another one does, maybe a
/// server alone knows.
const BY_BYTES: &[u32] = &[
    0x0000_ef53, // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // f2fs
    0xca45_1a4e, // bcachefs
    0x794c_7630, // overlayfs
];

/// `FS_CASEFOLD_FL`: names in the directory are compared by case folding and normalisation.
const CASEFOLD: u32 = 0x4000_0000;

/// Whether a directory tells names apart that are not the same bytes. Where it cannot be found out, it does not.
pub(super) fn are_told_apart(dir: BorrowedFd<'_>) -> bool {
    let by_bytes = fs::fstatfs(dir).is_ok_and(|found| BY_BYTES.contains(&(found.f_type as u32)));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = fs::openat(dir, c".", flags, Mode::empty()) else { return false };
    // Where there are no such flags, none is set.
    let folds = fs::ioctl_getflags(&opened).is_ok_and(|flags| flags.bits() & CASEFOLD != 0);
    by_bytes && !folds
}

/// Whether some file system takes both names for one. It says yes too often, to names that are not ASCII: what is equivalent
/// to what, tables would have to say. A letter may be a part of another character, and a character nothing at all.
pub(super) fn may_be_one(one: &OsStr, other: &OsStr) -> bool {
    let (one, other) = (Folded::of(one), Folded::of(other));
    let common = common(&one.ascii, &other.ascii);
    one.ascii.len() - common <= other.others && other.ascii.len() - common <= one.others
}

/// A name without its case.
struct Folded {
    ascii: Vec<u8>,
    /// How many characters are not ASCII.
    others: usize,
}

impl Folded {
    fn of(name: &OsStr) -> Self {
        let text = String::from_utf8_lossy(name.as_bytes());
        let trimmed = text.trim_end_matches(['.', ' ']);
        let folded = trimmed.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        let (ascii, others): (Vec<char>, Vec<char>) = folded.partition(char::is_ascii);
        Self { ascii: ascii.into_iter().map(|letter| letter as u8).collect(), others: others.len() }
    }
}

/// The length of the longest text that is left of both when letters are struck out.
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut lengths = vec![0; other.len() + 1];
    for letter in one {
        let mut before = 0;
        for (at, same) in other.iter().enumerate() {
            let [shorter, here] =
                [lengths.get(at), lengths.get(at + 1)].map(|length| length.copied().unwrap_or(0));
            let next = if same == letter { before + 1 } else { here.max(shorter) };
            before = here;
            if let Some(length) = lengths.get_mut(at + 1) {
                *length = next;
            }
        }
    }
    lengths.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, expected: bool) {
        assert_eq!(may_be_one(one.as_ref(), other.as_ref()), expected, "{one:?} and {other:?}");
        assert_eq!(may_be_one(other.as_ref(), one.as_ref()), expected, "{other:?} and {one:?}");
    }

    #[test]
    fn twins() {
        check(".env", ".ENV", true);
        check(".env", ".env.", true);
        check(".env", ".env ", true);
        check(".env", ".e\u{ad}nv", true);
        check("k", "\u{212a}", true);
        check("stra\u{df}e", "STRASSE", true);
        check("caf\u{e9}", "cafe\u{301}", true);
        check("caf\u{e9}", "CAF\u{c9}", true);
        check("\u{1ebf}", "e\u{302}\u{301}", true);
        check("\u{e9}a\u{300}", "e\u{301}\u{e0}", true);
    }

    #[test]
    fn no_twins() {
        check(".env", ".envrc", false);
        check(".env", "env", false);
        check("a", "b", false);
        check("caf\u{e9}", "coffee", false);
        check("caf\u{e9}", "cafeteria", false);
        check("", "x", false);
    }

    #[test]
    fn the_longest_text_of_both() {
        assert_eq!(common(b"abcde", b"ace"), 3);
        assert_eq!(common(b"", b"ace"), 0);
        assert_eq!(common(b"aab", b"ab"), 2);
        assert_eq!(common(b"xaxbx", b"ab"), 2);
    }
}
