//! What objects take up, for those who count it.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, Mode, OFlags, Stat},
    io::Errno,
};

use super::bounds::Identity;
use crate::{os::Fault, sys::Freed};

/// What an object is and takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) identity: Identity,
    /// Of a regular file; nothing else has bytes that count.
    pub(crate) bytes: u64,
    pub(crate) links: u64,
    pub(crate) is_directory: bool,
}

/// What had a name, held to see what becomes of it without.
pub(super) struct Named {
    object: OwnedFd,
    identity: Identity,
    links: u64,
}

/// What an open object takes up.
pub(crate) fn size(object: impl AsFd) -> Result<Size, Fault> {
    Ok(Size::of(&fs::fstat(object)?))
}

impl Size {
    #[allow(clippy::unnecessary_cast, reason = "it is necessary on other processors")]
    pub(super) fn of(stat: &Stat) -> Self {
        let kind = fs::FileType::from_raw_mode(stat.st_mode);
        Self {
            identity: Identity::of(stat),
            bytes: if kind == fs::FileType::RegularFile { stat.st_size as u64 } else { 0 },
            links: stat.st_nlink as u64,
            is_directory: kind == fs::FileType::Directory,
        }
    }
}

impl Named {
    /// Takes hold of what has a name now; `None` where nothing has it.
    pub(super) fn find(parent: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<Option<Self>, Fault> {
        let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(parent, name, place, Mode::empty()) {
            Ok(object) => {
                let Size { identity, links, .. } = size(&object)?;
                Ok(Some(Self { object, identity, links }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it is what has this name now.
    pub(super) fn has(&self, parent: BorrowedFd<'_>, name: &std::ffi::OsStr) -> bool {
        let now = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        now.is_ok_and(|now| Identity::of(&now) == self.identity)
    }

    /// What it freed by losing its name: nothing, where the name went to the same file.
    ///
    /// The name is lost by now, so where it cannot be told that is no error of what was done: then it goes on to count.
    pub(super) fn freed(self) -> Option<Freed> {
        let now = size(&self.object).ok()?;
        let freed = Freed { identity: now.identity, bytes: now.bytes, nameless: now.links == 0 };
        (now.links < self.links).then_some(freed)
    }
}
