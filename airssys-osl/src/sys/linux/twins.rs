//! Names of other bytes that a file system may take for one: other cases, other Unicode forms, dots at the end.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use rustix::{
    fd::BorrowedFd,
    fs::{self, Mode, OFlags},
};

/// File systems that tell names apart by their bytes, but in directories that say otherwise. What another one does, maybe a
/// server alone knows; of XFS, whoever made it (`-n version=ci`), and of overlayfs, what it lies over.
const BY_BYTES: &[u32] = &[
    0x0000_ef53, // ext2, ext3, ext4
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // f2fs
    0xca45_1a4e, // bcachefs
];

/// `FS_CASEFOLD_FL`: names in the directory are compared by case folding and normalisation.
const CASEFOLD: u32 = 0x4000_0000;

/// Whether a directory tells names apart that are not the same bytes. Where it cannot be found out, it does not.
pub(super) fn are_told_apart(dir: BorrowedFd<'_>) -> bool {
    let by_bytes = fs::fstatfs(dir).is_ok_and(|found| goes_by_bytes(found.f_type as u32));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = fs::openat(dir, c".", flags, Mode::empty()) else { return false };
    // Where there are no such flags, none is set.
    let folds = fs::ioctl_getflags(&opened).is_ok_and(|flags| flags.bits() & CASEFOLD != 0);
    by_bytes && !folds
}

/// Whether a file system of this magic number tells names apart by their bytes, where a directory does not say otherwise.
fn goes_by_bytes(magic: u32) -> bool {
    BY_BYTES.contains(&magic)
}

/// Whether some file system takes both names for one. It says yes too often, to names that are not ASCII: what is equivalent
/// to what, tables would have to say. Letters may be parts of another character, and a character nothing at all.
pub(super) fn may_be_one(one: &OsStr, other: &OsStr) -> bool {
    let (one, other) = (Folded::of(one), Folded::of(other));
    let common = common(&one.ascii, &other.ascii);
    one.ascii.len() - common <= other.others && other.ascii.len() - common <= one.others
}

/// A name without its case.
struct Folded {
    ascii: Vec<u8>,
    /// How many more the characters may stand for that are not ASCII.
    others: usize,
}

impl Folded {
    fn of(name: &OsStr) -> Self {
        let text = String::from_utf8_lossy(name.as_bytes());
        let trimmed = text.trim_end_matches(['.', ' ']);
        // A capital of its own, as that of `ß`, becomes several letters only as the small one that it has.
        let lower = trimmed.chars().flat_map(char::to_lowercase);
        let folded = lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        let (ascii, others): (Vec<char>, Vec<char>) = folded.partition(char::is_ascii);
        Self {
            ascii: ascii.into_iter().map(|letter| letter as u8).collect(),
            others: others.into_iter().map(stands_for).sum(),
        }
    }
}

/// How many ASCII characters another one may stand for at most. Letters with marks have one; those that are listed have
/// several, where a file system takes compatible characters for one, as ZFS can be told to.
fn stands_for(character: char) -> usize {
    /// Those of `㎯`, which is `rad∕s2`.
    const MOST: usize = 5;
    match character {
        '\u{bc}'..='\u{be}'
        | '\u{132}'..='\u{133}'
        | '\u{1c4}'..='\u{1cc}'
        | '\u{1f1}'..='\u{1f3}'
        | '\u{2025}'..='\u{2026}'
        | '\u{203c}'
        | '\u{2047}'..='\u{2049}'
        | '\u{20a8}'
        | '\u{2100}'..='\u{218f}'
        | '\u{2460}'..='\u{24ff}'
        | '\u{2a74}'..='\u{2a76}'
        | '\u{3200}'..='\u{33ff}'
        | '\u{fdfa}'
        | '\u{fe19}'
        | '\u{fe30}'
        | '\u{1f100}'..='\u{1f1ff}' => MOST,
        _ => 1,
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
        check(".ssh", ".\u{1e9e}h", true);
        check(".\u{df}h", ".\u{1e9e}h", true);
        check(".ssh", ".\u{17f}\u{17f}h", true);
        check("office", "o\u{fb03}ce", true);
        check("first", "fir\u{fb06}", true);
        check("first", "fir\u{fb05}", true);
        check("ijar", "\u{132}ar", true);
        check("rad\u{2215}s2", "\u{33af}", true);
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

    /// Whatever case a character comes in, and in however many letters that one is written.
    #[test]
    fn all_cases_of_a_character_fold_to_one() {
        let fold = |text: String| Folded::of(text.as_ref()).ascii;
        for character in '\0'..=char::MAX {
            let forms: [String; 3] =
                [character.into(), character.to_uppercase().collect(), character.to_lowercase().collect()];
            if forms.iter().any(|form| *form != forms[0]) {
                let [same, upper, lower] = forms.map(fold);
                assert!(same == upper && same == lower, "{character:?}: {same:?}, {upper:?}, {lower:?}");
            }
        }
    }

    #[test]
    fn file_systems_that_fold_as_a_whole_do_not_go_by_bytes() {
        for (name, magic, expected) in [
            ("ext4", 0xef53, true),
            ("tmpfs", 0x0102_1994, true),
            ("xfs", 0x5846_5342, false),
            ("overlayfs", 0x794c_7630, false),
            ("vfat", 0x4d44, false),
            ("zfs", 0x2fc1_2fc1, false),
        ] {
            assert_eq!(goes_by_bytes(magic), expected, "{name}");
        }
    }

    #[test]
    fn the_longest_text_of_both() {
        assert_eq!(common(b"abcde", b"ace"), 3);
        assert_eq!(common(b"", b"ace"), 0);
        assert_eq!(common(b"aab", b"ab"), 2);
        assert_eq!(common(b"xaxbx", b"ab"), 2);
    }
}
