//! Paths that are resolved name by name: where each object on the way has to be looked at, and where the kernel has
//! no `openat2`, or refuses it.
//!
//! Every name is opened as a mere place first (`O_PATH`, no link followed), so that what is looked at is what is gone
//! on with. `..` goes back to the directory that was come from, never to what the kernel has above it by now: a
//! rename elsewhere cannot lead out.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::Path};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{self, FileType, Mode, OFlags, Stat},
    io::{Errno, retry_on_intr},
};

use super::{
    bounds::{Bounds, Guard, Identity, Vacant, names_reversed},
    open::{ALWAYS, CONFINED, resolve},
};
use crate::{
    limits::{RESOLVE_TRIES, SYMLINKS},
    os::Fault,
    policy::rule,
};

/// One path on its way.
pub(super) struct Steps<'a> {
    bounds: &'a Bounds,
    guard: &'a Guard,
    start: BorrowedFd<'a>,
    /// The directories between `start` and here.
    passed: Vec<OwnedFd>,
    /// What is left of the path, last name first.
    rest: Vec<OsString>,
    /// The path says by a slash at its end that it means a directory.
    slash: bool,
    links: u32,
    /// Every object that led here.
    pub(super) trail: Vec<Identity>,
    /// And where each of them was found.
    pub(super) ways: Vec<Vacant>,
    /// The first name that nothing has, or something that leads nowhere; and whether it should have led on.
    missing: Option<(OsString, bool)>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(bounds: &'a Bounds, start: BorrowedFd<'a>, guard: &'a Guard) -> Self {
        Self {
            bounds,
            guard,
            start,
            passed: Vec::new(),
            rest: Vec::new(),
            slash: false,
            links: 0,
            trail: Vec::new(),
            ways: Vec::new(),
            missing: None,
        }
    }

    /// Opens what `path` names, with the meaning that the flags have for `openat2`.
    pub(super) fn open(&mut self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Fault> {
        self.push(path.as_os_str().to_owned());
        for _ in 0..RESOLVE_TRIES {
            let Some((name, place)) = self.walk(flags)? else {
                // The path ended in `.` or `..`.
                return self.open_here(flags);
            };
            let opened = match place {
                Some((place, stat)) => self.open_found(&name, place, &stat, flags)?,
                None => self.create(&name, flags, mode)?,
            };
            match opened {
                Some(opened) => return Ok(opened),
                // Somebody else was faster: look again.
                None => self.rest.push(name),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// The directory that was come to.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.passed.last().map_or(self.start, |passed| passed.as_fd())
    }

    /// The name at which an `open` came to an end that found all before it, and whether it should have led on.
    pub(super) fn missing(&mut self) -> Option<(OsString, bool)> {
        self.missing.take()
    }

    /// Goes to the last name, and looks at what has it.
    #[expect(clippy::type_complexity, reason = "a name, and what has it")]
    fn walk(&mut self, flags: OFlags) -> Result<Option<(OsString, Option<(OwnedFd, Stat)>)>, Fault> {
        while let Some(name) = self.rest.pop() {
            if name == "." {
                continue;
            }
            if name == ".." {
                self.passed.pop().ok_or(Fault::Forbidden(rule::BENEATH_ROOT))?;
                continue;
            }
            let last = self.rest.is_empty();
            if last && self.slash && flags.contains(OFlags::CREATE) {
                return Err(Errno::ISDIR.into());
            }
            let place = match self.step(&name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Err(Fault::Os(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                    if last {
                        return Ok(Some((name, None)));
                    }
                    self.missing = Some((name, true));
                    return Err(Fault::Os(error));
                }
                place => place?,
            };
            let stat = fs::fstat(&place)?;
            self.guard.check(Identity::of(&stat))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let follow = !last || self.slash || !flags.intersects(OFlags::NOFOLLOW | OFlags::EXCL);
            if kind == FileType::Symlink && follow {
                self.pass(&stat, name)?;
                self.follow(&place)?;
            } else if last && !(self.slash && kind != FileType::Directory) {
                return Ok(Some((name, Some((place, stat)))));
            } else if kind == FileType::Directory {
                self.pass(&stat, name)?;
                self.passed.push(place);
            } else {
                self.missing = Some((name, true));
                return Err(Errno::NOTDIR.into());
            }
        }
        Ok(None)
    }

    fn pass(&mut self, found: &Stat, name: OsString) -> Result<(), Fault> {
        self.trail.push(Identity::of(found));
        let parent = Identity::of(&fs::fstat(self.here())?);
        self.ways.push(Vacant { parent, name, leads: true });
        Ok(())
    }

    fn push(&mut self, path: OsString) {
        self.slash |= path.as_encoded_bytes().last() == Some(&b'/');
        self.rest.extend(names_reversed(&path));
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), Fault> {
        self.links += 1;
        if self.links > SYMLINKS {
            return Err(Errno::LOOP.into());
        }
        let target = fs::readlinkat(link, c"", Vec::new())?.into_bytes();
        if target.first() == Some(&b'/') {
            return Err(Fault::Forbidden(rule::BENEATH_ROOT));
        }
        if !self.rest.is_empty() {
            // A slash at the end of this target is one in the middle of the path.
            self.rest.extend(names_reversed(&OsString::from_vec(target)));
        } else {
            self.push(OsString::from_vec(target));
        }
        Ok(())
    }

    fn open_here(&self, flags: OFlags) -> Result<OwnedFd, Fault> {
        if flags.contains(OFlags::EXCL) {
            return Err(Errno::EXIST.into());
        }
        if flags.contains(OFlags::CREATE) {
            return Err(Errno::ISDIR.into());
        }
        Ok(retry_on_intr(|| fs::openat(self.here(), c".", flags, Mode::empty()))?)
    }

    /// Opens what was found; `None` where it is not there any more.
    fn open_found(
        &self,
        name: &OsString,
        place: OwnedFd,
        stat: &Stat,
        flags: OFlags,
    ) -> Result<Option<OwnedFd>, Fault> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if flags.contains(OFlags::EXCL) {
            return Err(Errno::EXIST.into());
        }
        if flags.contains(OFlags::DIRECTORY) && kind != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
        if flags.contains(OFlags::PATH) {
            return Ok(Some(place));
        }
        match kind {
            FileType::RegularFile | FileType::Directory => {}
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(Fault::Forbidden(rule::PLAIN_FILES)),
        }
        match self.step(name, flags - OFlags::CREATE, Mode::empty()) {
            Ok(opened) if Identity::of(&fs::fstat(&opened)?) == Identity::of(stat) => Ok(Some(opened)),
            Ok(_another) => Ok(None),
            Err(Fault::Os(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Creates what was not found; `None` where it is there by now.
    fn create(&mut self, name: &OsString, flags: OFlags, mode: Mode) -> Result<Option<OwnedFd>, Fault> {
        if !flags.contains(OFlags::CREATE) {
            self.missing = Some((name.clone(), false));
            return Err(Errno::NOENT.into());
        }
        self.guard.check_new(self.here(), name)?;
        match self.step(name, flags | OFlags::EXCL, mode) {
            Ok(created) => Ok(Some(created)),
            Err(Fault::Os(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if flags.contains(OFlags::EXCL) { Err(Fault::Os(error)) } else { Ok(None) }
            }
            Err(fault) => Err(fault),
        }
    }

    /// Opens one name in the directory that was come to, without following it.
    fn step(&self, name: &OsString, flags: OFlags, mode: Mode) -> Result<OwnedFd, Fault> {
        let flags = if flags.contains(OFlags::PATH) { flags } else { flags | ALWAYS } | OFlags::NOFOLLOW;
        if self.bounds.has_openat2() {
            return match resolve(self.here(), Path::new(name), flags, mode, CONFINED) {
                Err(Errno::XDEV) => Err(Fault::Forbidden(rule::MOUNT_POINT)),
                result => Ok(result?),
            };
        }
        let opened = retry_on_intr(|| fs::openat(self.here(), name, flags, mode))?;
        self.bounds.check_mount(&opened)?;
        Ok(opened)
    }
}
