use std::path::{Component, Path, PathBuf};

use crate::limits::{CARVE_OUTS, PATH_BYTES};
#[cfg(doc)]
use crate::limits::{MEASURED_NAMES, TREE_DEPTH};

/// What holds beneath a granted directory besides its rights: exceptions, and how much may be put there.
///
/// ```
/// use airssys_osl::policy::{FsTerms, Grant, HardLinks, Rights};
///
/// let terms = FsTerms::new().deny(".env").quota_bytes(1 << 30).max_file_bytes(8 << 20).hard_links(HardLinks::Refused);
/// let grant = Grant::fs_with("/srv/upload", Rights::all(), terms);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct FsTerms {
    pub(crate) denied: Vec<PathBuf>,
    pub(crate) hard_links: HardLinks,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) quota_files: Option<u64>,
    pub(crate) max_file_bytes: Option<u64>,
    pub(crate) special: bool,
}

/// What may be done with a file that has more than one name: the others may be outside of the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HardLinks {
    /// It is read, and not changed.
    #[default]
    ReadOnly,
    /// It is neither read nor changed.
    Refused,
    /// It is a file like any other.
    Shared,
}

impl HardLinks {
    pub(super) fn strictness(self) -> u8 {
        match self {
            Self::Shared => 0,
            Self::ReadOnly => 1,
            Self::Refused => 2,
        }
    }
}

impl FsTerms {
    /// Starts with no exception and no limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `path`, relative to the directory, and all beneath it out of the grant.
    ///
    /// It is the object that counts, not its spelling: another name of the same file, a case that the file system
    /// does not tell apart, and a symbolic link to it are all denied, by the rule
    /// [`carve-out`](super::rule::CARVE_OUT). What leads to it can be neither renamed nor removed. At most [`CARVE_OUTS`] in
    /// one grant. Another grant that covers the object stays as it is.
    ///
    /// It need not exist; then nothing of this name can be made, nor of one that the file system might take for it: of
    /// another case, form or end. Directories of ext4, btrfs, F2FS, bcachefs and tmpfs say whether they do; all other file
    /// systems might, XFS and overlayfs too. A directory on the way to it that does not exist can be made, and nothing be
    /// renamed or linked to its name, as that could have the carve-out in it.
    pub fn deny(mut self, path: impl Into<PathBuf>) -> Self {
        self.denied.push(path.into());
        self
    }

    /// Says what becomes of files with several names. Without it they can be read, and not changed; a socket with
    /// several names is then not connected to.
    pub fn hard_links(mut self, hard_links: HardLinks) -> Self {
        self.hard_links = hard_links;
        self
    }

    /// Lets the files beneath hold `bytes` bytes together, counted by their lengths, holes included.
    ///
    /// What is there counts from the start; it is measured when the directory is opened and no other handle of the
    /// principal counts already. What others change there meanwhile is seen at the next measuring. A file that is open
    /// neither moves nor gets a name between this and another granted directory. What changes sizes or names is done one
    /// after the other there. A tree that cannot be measured is not opened: one of more than [`MEASURED_NAMES`] names or deeper
    /// than [`TREE_DEPTH`], or with a directory in it that its owner, this program's user, is kept out of by its permissions.
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota_bytes = Some(bytes);
        self
    }

    /// Lets `files` names be beneath, of files, directories and links together. It counts as
    /// [`quota_bytes`](Self::quota_bytes).
    pub fn quota_files(mut self, files: u64) -> Self {
        self.quota_files = Some(files);
        self
    }

    /// Lets no file grow above `bytes` bytes. One that is longer already can be read and cut.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = Some(bytes);
        self
    }

    /// Lets FIFOs and character devices beneath be opened, by who asks for one
    /// ([`Dir::open_special`](crate::fs::Dir::open_special), Linux). Without it, and for everything else that is neither a
    /// regular file nor a directory, the rule [`plain-files-only`](super::rule::PLAIN_FILES) denies it. What goes through
    /// them is counted nowhere.
    pub fn special_files(mut self, special: bool) -> Self {
        self.special = special;
        self
    }

    /// Whether what is beneath has to be counted.
    pub(crate) fn has_quota(&self) -> bool {
        self.quota_bytes.is_some() || self.quota_files.is_some()
    }

    /// Whether a handle that was opened under the terms `old` can be held to these.
    pub(crate) fn holds_for(&self, old: &Self) -> bool {
        self.denied == old.denied
            && self.hard_links == old.hard_links
            && (self.special || !old.special)
            && (old.has_quota() || !self.has_quota())
    }

    /// Whether these let something be done with a file that `other` refuses. How long it may be is looked at where it is
    /// moved to.
    pub(crate) fn laxer_than(&self, other: &Self) -> bool {
        self.hard_links.strictness() < other.hard_links.strictness() || (self.special && !other.special)
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.denied.len() > CARVE_OUTS { Err("it has too many carve-outs") } else { Ok(()) }?;
        self.denied.iter().try_for_each(|path| check_denied(path))
    }
}

fn check_denied(path: &Path) -> Result<(), &'static str> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        Err("a carve-out is not a plain relative path")
    } else if bytes.contains(&0) {
        Err("a carve-out has a NUL in it")
    } else if bytes.len() > PATH_BYTES {
        Err("a carve-out is too long")
    } else {
        Ok(())
    }
}
