//! Names in directories.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, FileType, Mode, OFlags, RawDir},
    io::retry_on_intr,
};

use super::{Directory, stat::kind};
use crate::{
    fs::{DirEntry, FileKind},
    os::Fault,
    sys::parts::list_parts,
};

/// The buffer of one `getdents64`: some hundred names, and what the C library takes.
const LIST_BUFFER_BYTES: usize = 32 * 1024;

/// A directory that is being listed.
#[derive(Debug)]
pub(crate) struct Listing {
    dir: OwnedFd,
    buffer: Vec<u8>,
}

impl Listing {
    /// Starts to list `dir` from its beginning.
    pub(crate) fn start(dir: &Directory) -> Result<Self, Fault> {
        Self::of(dir)
    }

    pub(super) fn of(dir: impl AsFd) -> Result<Self, Fault> {
        Ok(Self { dir: reopen(dir)?, buffer: Vec::with_capacity(LIST_BUFFER_BYTES) })
    }

    /// The next names, some hundred of them; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<DirEntry>, Fault> {
        let mut batch = Vec::new();
        let mut entries = RawDir::new(&self.dir, self.buffer.spare_capacity_mut());
        while batch.is_empty() || !entries.is_buffer_empty() {
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileKind::Unknown, |stat| kind(FileType::from_raw_mode(stat.st_mode))),
                known => kind(known),
            };
            let name = OsStr::from_bytes(name.to_bytes()).to_owned();
            batch.push(DirEntry { name, kind, inode: entry.ino() });
        }
        Ok(batch)
    }
}

/// Lists a directory of at most `limit` names.
pub(crate) fn list(dir: &Directory, limit: usize) -> Result<Vec<DirEntry>, Fault> {
    let mut listing = Listing::start(dir)?;
    list_parts(limit, || listing.next_batch())
}

/// Opens a directory once more, to be read: the position in a directory belongs to the open object, which clones
/// share.
pub(super) fn reopen(dir: impl AsFd) -> Result<OwnedFd, Fault> {
    let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
    Ok(retry_on_intr(|| fs::openat(&dir, c".", flags, Mode::empty()))?)
}
