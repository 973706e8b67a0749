use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, ReadDir};

use super::{Directory, Identity, fault};
use crate::{
    fs::{DirEntry, FileKind, WalkEntry, WatchEvent},
    limits::TREE_PENDING,
    os::Fault,
    path::Beneath,
    sys::{Freed, Stop, parts::list_parts},
};

/// How many names are taken at a time.
const BATCH: usize = 512;

/// How many directories beneath each other are open at a time. A deeper tree is not walked to its end.
const OPEN_DEPTH: usize = 64;

/// A directory that is being listed.
pub(crate) struct Listing(ReadDir);

/// A tree that is being walked. What is swapped for a link meanwhile may be followed: beneath the start all the same.
pub(crate) struct Walk {
    /// The directories between the start and here: their paths, and what in them was not yet gone into.
    frames: Vec<(Dir, PathBuf, Vec<OsString>)>,
    listing: Option<Listing>,
    pending: usize,
    depth: usize,
}

/// Nothing is watched.
#[derive(Debug)]
pub(crate) enum Watch {}

impl Listing {
    /// Starts to list `dir` from its beginning.
    pub(crate) fn start(dir: &Directory) -> Result<Self, Fault> {
        Self::of(&dir.dir)
    }

    fn of(dir: &Dir) -> Result<Self, Fault> {
        dir.entries().map(Self).map_err(fault)
    }

    /// The next names; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<DirEntry>, Fault> {
        let mut batch = Vec::new();
        for entry in self.0.by_ref().take(BATCH) {
            let entry = entry.map_err(fault)?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => FileKind::File,
                Ok(kind) if kind.is_dir() => FileKind::Directory,
                Ok(kind) if kind.is_symlink() => FileKind::Symlink,
                _ => FileKind::Unknown,
            };
            batch.push(DirEntry { name: entry.file_name(), kind, inode: 0 });
        }
        Ok(batch)
    }
}

impl Walk {
    /// Starts at `dir` itself, and goes down to at most `depth` directories beneath it.
    pub(crate) fn start(dir: &Directory, depth: usize) -> Result<Self, Fault> {
        let here = dir.dir.try_clone().map_err(fault)?;
        let listing = Some(Listing::of(&here)?);
        Ok(Self { frames: vec![(here, PathBuf::new(), Vec::new())], listing, pending: 0, depth })
    }

    /// The next entries; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<WalkEntry>, Fault> {
        let mut batch = Vec::new();
        while batch.is_empty() {
            let deep = self.frames.len();
            let Some((dir, path, waiting)) = self.frames.last_mut() else { break };
            if let Some(listing) = &mut self.listing {
                let entries = listing.next_batch()?;
                if entries.is_empty() {
                    self.listing = None;
                }
                for DirEntry { name, kind, inode } in entries {
                    if kind == FileKind::Directory {
                        self.pending += 1;
                        waiting.push(name);
                    } else {
                        batch.push(WalkEntry { path: path.join(name), kind, inode, entered: true });
                    }
                }
                if self.pending > TREE_PENDING {
                    return Err(Fault::TooLarge);
                }
            } else if let Some(name) = waiting.pop() {
                self.pending -= 1;
                let path = path.join(&name);
                let child = if deep <= self.depth.min(OPEN_DEPTH) { dir.open_dir(&name).ok() } else { None };
                let (kind, entered) = (FileKind::Directory, child.is_some());
                batch.push(WalkEntry { path: path.clone(), kind, inode: 0, entered });
                if let Some(child) = child {
                    self.listing = Some(Listing::of(&child)?);
                    self.frames.push((child, path, Vec::new()));
                }
            } else {
                self.frames.pop();
            }
        }
        Ok(batch)
    }
}

impl Watch {
    pub(crate) fn start(_dir: &Directory) -> Result<Self, Fault> {
        Err(Fault::Unsupported)
    }

    pub(crate) async fn next(&self, _each: impl FnMut(WatchEvent)) -> Result<(), Fault> {
        match *self {}
    }

    pub(crate) fn drain(&self, _each: &mut impl FnMut(WatchEvent)) -> Result<(), Fault> {
        match *self {}
    }
}

/// Lists a directory of at most `limit` names.
pub(crate) fn list(dir: &Directory, limit: usize) -> Result<Vec<DirEntry>, Fault> {
    let mut listing = Listing::start(dir)?;
    list_parts(limit, || listing.next_batch())
}

/// Removes the directory `path` and all beneath it. It does not count what that was, nor stop in the middle.
pub(crate) fn remove_tree(
    dir: &Directory,
    path: Beneath<'_>,
    stop: &Stop,
    _freed: Option<&mut dyn FnMut(Freed<Identity>)>,
) -> Result<u64, Fault> {
    stop.check()?;
    let path: &Path = path.as_path();
    if !dir.dir.symlink_metadata(path).map_err(fault)?.is_dir() {
        return Err(Fault::Os(std::io::ErrorKind::NotADirectory.into()));
    }
    dir.dir.remove_dir_all(path).map(|()| 1).map_err(fault)
}

/// A directory that is counted is not opened.
pub(crate) fn measure(_dir: &Directory, _limit: u64) -> Result<(u64, u64), Fault> {
    Err(Fault::Unsupported)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
