//! Whole trees, without recursion: one open directory at a time, whatever the depth.
//!
//! The way down is by opening a name without following it, the way up by `..`, and then the directory must be the one
//! that was come from. Who moves directories about meanwhile ends the walk; nobody leads it out.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use rustix::{
    fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, FileType, Mode, OFlags},
    io::{Errno, retry_on_intr},
};

use super::{
    Directory,
    bounds::{Bounds, Identity},
    list::{Listing, reopen},
    open::{ALWAYS, CONFINED, in_parent, resolve},
    size::{Named, Size},
};
use crate::{
    fs::{DirEntry, FileKind, WalkEntry},
    limits::{TREE_DEPTH, TREE_PENDING, TREE_TRIES},
    os::Fault,
    path::Beneath,
    policy::rule,
    sys::{Freed, Stop},
};

/// A place in a tree, and the way back.
struct Climber<'a> {
    bounds: &'a Bounds,
    here: OwnedFd,
    frames: Vec<Frame>,
    /// How many names wait in all frames together.
    pending: usize,
}

/// A directory between the start and here, or here.
struct Frame {
    identity: Identity,
    name: OsString,
    /// The directories in it that were not yet gone into.
    waiting: Vec<OsString>,
    tries: u32,
}

/// A walk between two batches.
pub(crate) struct Walk {
    dir: Directory,
    state: Option<(OwnedFd, Vec<Frame>, usize)>,
    listing: Option<Listing>,
    /// The path of here, relative to the start.
    path: Vec<u8>,
    depth: usize,
}

impl<'a> Climber<'a> {
    fn start(bounds: &'a Bounds, here: OwnedFd) -> Result<Self, Fault> {
        let mut climber = Self { bounds, here, frames: Vec::new(), pending: 0 };
        climber.enter(OsString::new())?;
        Ok(climber)
    }

    fn enter(&mut self, name: OsString) -> Result<(), Fault> {
        if self.frames.len() >= TREE_DEPTH {
            return Err(Fault::TooLarge);
        }
        let identity = Identity::of(&fs::fstat(&self.here)?);
        self.frames.push(Frame { identity, name, waiting: Vec::new(), tries: 0 });
        Ok(())
    }

    /// Keeps a directory for later.
    fn wait(&mut self, name: OsString) -> Result<(), Fault> {
        self.pending += 1;
        if self.pending > TREE_PENDING {
            return Err(Fault::TooLarge);
        }
        self.frames.last_mut().ok_or(Fault::Bug)?.waiting.push(name);
        Ok(())
    }

    /// The next directory here that was not yet gone into.
    fn next(&mut self) -> Option<OsString> {
        let name = self.frames.last_mut()?.waiting.pop()?;
        self.pending -= 1;
        Some(name)
    }

    /// Goes into the directory `name`.
    fn descend(&mut self, name: OsString) -> Result<(), Fault> {
        let child = open_child(self.bounds, self.here.as_fd(), &name)?;
        if self.bounds.has_carve_outs() {
            self.bounds.guard()?.check(Identity::of(&fs::fstat(&child)?))?;
        }
        self.here = child;
        self.enter(name)
    }

    /// Goes back up; tells which directory that left. `None` at the start.
    fn ascend(&mut self) -> Result<Option<OsString>, Fault> {
        let Some(left) = self.frames.pop() else { return Ok(None) };
        let Some(frame) = self.frames.last() else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = retry_on_intr(|| fs::openat(&self.here, c"..", flags, Mode::empty()))?;
        if Identity::of(&fs::fstat(&above)?) != frame.identity {
            return Err(Errno::BUSY.into());
        }
        self.here = above;
        Ok(Some(left.name))
    }
}

impl Walk {
    /// Starts at `dir` itself, and goes down to at most `depth` directories beneath it.
    pub(crate) fn start(dir: &Directory, depth: usize) -> Result<Self, Fault> {
        let here = reopen(dir)?;
        let dir = dir.beneath(reopen(dir)?);
        let climber = Climber::start(dir.bounds(), here)?;
        let state = Some((climber.here, climber.frames, 0));
        Ok(Self { dir, state, listing: None, path: Vec::new(), depth })
    }

    /// The next entries; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<WalkEntry>, Fault> {
        // Where this fails there is no way on: the state is gone.
        let Some((here, frames, pending)) = self.state.take() else { return Ok(Vec::new()) };
        let bounds = self.dir.bounds();
        let mut climber = Climber { bounds, here, frames, pending };
        let mut batch = Vec::new();
        let mut listing = match self.listing.take() {
            Some(listing) => Some(listing),
            // The first directory.
            None if climber.frames.len() == 1 && self.path.is_empty() => Some(Listing::of(&climber.here)?),
            None => None,
        };
        while batch.is_empty() {
            if let Some(open) = &mut listing {
                let entries = open.next_batch()?;
                if entries.is_empty() {
                    listing = None;
                }
                for entry in entries {
                    match entry.kind {
                        FileKind::Directory => climber.wait(entry.name)?,
                        _ => batch.push(walked(&self.path, &entry, true)),
                    }
                }
            } else if let Some(name) = climber.next() {
                let entry = directory(&climber.here, name.clone());
                let parent = self.path.len();
                let entered = climber.frames.len() <= self.depth && climber.descend(name.clone()).is_ok();
                batch.push(walked(&self.path, &entry, entered));
                if entered {
                    if parent > 0 {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(name.as_bytes());
                    listing = Some(Listing::of(&climber.here)?);
                }
            } else {
                match climber.ascend()? {
                    None => return Ok(batch),
                    Some(left) => {
                        let end = self.path.len().saturating_sub(left.len());
                        self.path.truncate(end.saturating_sub(1));
                    }
                }
            }
        }
        self.listing = listing;
        self.state = Some((climber.here, climber.frames, climber.pending));
        Ok(batch)
    }
}

/// Removes the directory `path` and all beneath it, and calls `freed` for each name that went.
pub(crate) fn remove_tree(
    dir: &Directory,
    path: Beneath<'_>,
    stop: &Stop,
    mut freed: Option<&mut dyn FnMut(Freed)>,
) -> Result<u64, Fault> {
    in_parent(dir, path, |parent, leaf| {
        let top = open_child(dir.bounds(), parent, leaf.name)?;
        let mut climber = Climber::start(dir.bounds(), top)?;
        let mut removed = 0;
        loop {
            remove_files(&mut climber, stop, &mut freed, &mut removed)?;
            loop {
                stop.check()?;
                if let Some(name) = climber.next() {
                    match climber.descend(name.clone()) {
                        Ok(()) => break,
                        // It went, or it became something that is no directory.
                        Err(Fault::Os(error)) if is_gone(&error) => {
                            remove_name(
                                dir.bounds(),
                                climber.here.as_fd(),
                                &name,
                                false,
                                &mut freed,
                                &mut removed,
                            )?;
                        }
                        Err(fault) => return Err(fault),
                    }
                } else if let Some(left) = climber.ascend()? {
                    match remove_name(
                        dir.bounds(),
                        climber.here.as_fd(),
                        &left,
                        true,
                        &mut freed,
                        &mut removed,
                    ) {
                        Err(Fault::Os(error)) if is_not_empty(&error) => {
                            // Somebody put something there meanwhile.
                            let frame = climber.frames.last_mut().ok_or(Fault::Bug)?;
                            frame.tries += 1;
                            if frame.tries > TREE_TRIES {
                                return Err(Fault::Os(error));
                            }
                            climber.wait(left)?;
                        }
                        result => result?,
                    }
                } else {
                    remove_name(dir.bounds(), parent, leaf.name, true, &mut freed, &mut removed)?;
                    return Ok(removed);
                }
            }
        }
    })
}

/// The lengths of all files beneath `dir` together, and how many names there are.
pub(crate) fn measure(dir: &Directory, limit: u64) -> Result<(u64, u64), Fault> {
    let (mut bytes, mut files) = (0_u64, 0_u64);
    let mut linked = HashSet::new();
    let mut climber = Climber::start(dir.bounds(), reopen(dir)?)?;
    loop {
        let mut listing = match Listing::of(&climber.here) {
            Ok(listing) => Some(listing),
            Err(fault) => pass_by(&climber.here, OsStr::new("."), fault).map(|()| None)?,
        };
        while let Some(open) = &mut listing {
            let entries = open.next_batch()?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                files += 1;
                if files > limit {
                    return Err(Fault::TooLarge);
                }
                if entry.kind == FileKind::Directory {
                    climber.wait(entry.name)?;
                    continue;
                }
                match fs::statat(&climber.here, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => {
                        let size = Size::of(&stat);
                        if size.links < 2 || linked.insert(size.identity) {
                            bytes = bytes.saturating_add(size.bytes);
                        }
                    }
                    Err(error) => pass_by(&climber.here, &entry.name, error.into())?,
                }
            }
        }
        loop {
            match climber.next() {
                Some(name) => match climber.descend(name.clone()) {
                    Ok(()) => break,
                    Err(fault) => pass_by(&climber.here, &name, fault)?,
                },
                None => {
                    if climber.ascend()?.is_none() {
                        return Ok((bytes, files));
                    }
                }
            }
        }
    }
}

/// What cannot be gone into is not counted where the principal cannot go there either. What is only closed it could open
/// again: that ends the counting, as every other fault does.
fn pass_by(parent: &OwnedFd, name: &OsStr, fault: Fault) -> Result<(), Fault> {
    match fault {
        Fault::Forbidden(_) => Ok(()),
        Fault::Os(error) if is_gone(&error) => Ok(()),
        Fault::Os(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            // Where nothing is told of a name, it is the directory itself that is closed.
            let closed =
                fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).or_else(|_| fs::fstat(parent))?;
            if closed.st_uid == rustix::process::geteuid().as_raw() {
                return Err(Fault::Step("count what is in a directory that is closed to its owner", error));
            }
            Ok(())
        }
        fault => Err(fault),
    }
}

fn remove_files(
    climber: &mut Climber<'_>,
    stop: &Stop,
    freed: &mut Option<&mut dyn FnMut(Freed)>,
    removed: &mut u64,
) -> Result<(), Fault> {
    let mut listing = Listing::of(&climber.here)?;
    loop {
        let entries = listing.next_batch()?;
        if entries.is_empty() {
            return Ok(());
        }
        for DirEntry { name, kind, .. } in entries {
            stop.check()?;
            match kind {
                FileKind::Directory => climber.wait(name)?,
                _ => remove_name(climber.bounds, climber.here.as_fd(), &name, false, freed, removed)?,
            }
        }
    }
}

fn remove_name(
    bounds: &Bounds,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    directory: bool,
    freed: &mut Option<&mut dyn FnMut(Freed)>,
    removed: &mut u64,
) -> Result<(), Fault> {
    // It may be another name of what is taken out.
    if bounds.has_carve_outs() {
        bounds.guard()?.check_name(parent, name)?;
    }
    let old = if freed.is_some() { Named::find(parent, name)? } else { None };
    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match fs::unlinkat(parent, name, flags) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    }
    *removed += 1;
    if let (Some(old), Some(freed)) = (old, freed)
        && let Some(what) = old.freed()
    {
        freed(what);
    }
    Ok(())
}

/// Opens a directory by its plain name, without following it and on the mount of its parent.
fn open_child(bounds: &Bounds, parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Fault> {
    let flags = ALWAYS | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    if bounds.has_openat2() {
        return match resolve(parent, name.as_ref(), flags, Mode::empty(), CONFINED) {
            Err(Errno::XDEV) => Err(Fault::Forbidden(rule::MOUNT_POINT)),
            result => Ok(result?),
        };
    }
    let child = retry_on_intr(|| fs::openat(parent, name, flags, Mode::empty()))?;
    bounds.check_mount(&child)?;
    Ok(child)
}

fn directory(parent: &OwnedFd, name: OsString) -> DirEntry {
    let stat = fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
    DirEntry {
        name,
        kind: if kind == Some(FileType::Directory) { FileKind::Directory } else { FileKind::Unknown },
        inode: stat.map_or(0, |stat| stat.st_ino),
    }
}

fn walked(parent: &[u8], entry: &DirEntry, entered: bool) -> WalkEntry {
    let mut path = Vec::with_capacity(parent.len() + 1 + entry.name.len());
    path.extend_from_slice(parent);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(entry.name.as_bytes());
    WalkEntry { path: PathBuf::from(OsString::from_vec(path)), kind: entry.kind, inode: entry.inode, entered }
}

fn is_gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn is_not_empty(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::DirectoryNotEmpty
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("dir", &self.dir.as_fd().as_raw_fd()).finish_non_exhaustive()
    }
}
