//! Paths beneath a granted directory: checked once for form, then left to the kernel, which resolves them.
//!
//! Nothing here decides whether a path stays inside: no lexical check can, because of symbolic links. The kernel
//! does, while it walks.

use std::{ffi::OsStr, path::Path};

use crate::limits::PATH_BYTES;

/// A path that is safe to hand to the kernel together with the directory it is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beneath<'a>(&'a Path);

/// What is wrong with the form of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It starts at the root of the file system: an attempt to leave the directory.
    Absolute,
    Empty,
    /// A NUL byte would end it early.
    Nul,
    TooLong,
}

/// The last component of a path and what leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf<'a> {
    /// The directory part; `None` where the path is a name alone.
    pub(crate) parent: Option<Beneath<'a>>,
    /// A plain name: neither `.` nor `..`, and without a slash.
    pub(crate) name: &'a OsStr,
    /// The path ended in a slash, so it can only mean a directory.
    pub(crate) slash: bool,
}

impl<'a> Beneath<'a> {
    /// Checks the form of `path`. Its spelling is kept.
    pub(crate) fn parse(path: &'a Path) -> Result<Self, Malformed> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.is_empty() {
            Err(Malformed::Empty)
        } else if path.has_root() || path.is_absolute() {
            Err(Malformed::Absolute)
        } else if bytes.len() > PATH_BYTES {
            Err(Malformed::TooLong)
        } else if bytes.contains(&0) {
            Err(Malformed::Nul)
        } else {
            Ok(Self(path))
        }
    }

    pub(crate) fn as_path(self) -> &'a Path {
        self.0
    }

    /// Splits off the last component; `None` where that is not a plain name.
    pub(crate) fn leaf(self) -> Option<Leaf<'a>> {
        let slash = self.0.as_os_str().as_encoded_bytes().last() == Some(&b'/');
        let name = match self.0.components().next_back()? {
            std::path::Component::Normal(name) => name,
            _ => return None,
        };
        // `components` passes over a `.` at the end; the kernel would refuse it, and so do we.
        if ends_in_dot(self.0) {
            return None;
        }
        let parent = self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).map(Beneath);
        Some(Leaf { parent, name, slash })
    }
}

fn ends_in_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    bytes.get(..end).is_some_and(|bytes| bytes == b"." || bytes.ends_with(b"/."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(), Malformed>) {
        assert_eq!(Beneath::parse(Path::new(path)).map(|_| ()), expected, "{path:?}");
    }

    #[test]
    fn form() {
        check("a", Ok(()));
        check("a/../b//./c/", Ok(()));
        check("../a", Ok(()));
        check("", Err(Malformed::Empty));
        check("/a", Err(Malformed::Absolute));
        check("//a", Err(Malformed::Absolute));
        check("a\0b", Err(Malformed::Nul));
        check(&"a".repeat(PATH_BYTES), Ok(()));
        check(&"a".repeat(PATH_BYTES + 1), Err(Malformed::TooLong));
    }

    fn check_leaf(path: &str, expected: Option<(Option<&str>, &str, bool)>) {
        let leaf = Beneath::parse(Path::new(path)).unwrap().leaf();
        let found = leaf.map(|leaf| {
            (
                leaf.parent.map(|parent| parent.as_path().to_str().unwrap()),
                leaf.name.to_str().unwrap(),
                leaf.slash,
            )
        });
        assert_eq!(found, expected, "{path:?}");
    }

    #[test]
    fn leaves() {
        check_leaf("a", Some((None, "a", false)));
        check_leaf("a/", Some((None, "a", true)));
        check_leaf("a/b", Some((Some("a"), "b", false)));
        check_leaf("../b", Some((Some(".."), "b", false)));
        check_leaf("a/../b//", Some((Some("a/.."), "b", true)));
        check_leaf("./b", Some((Some("."), "b", false)));
        check_leaf(".", None);
        check_leaf("..", None);
        check_leaf("a/..", None);
        check_leaf("a/.", None);
        check_leaf("a/./", None);
        check_leaf("a.", Some((None, "a.", false)));
    }
}
