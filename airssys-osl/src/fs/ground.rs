//! What changes names beneath a directory, on the blocking pool: the system calls with their counting around them.

use std::{cell::Cell, io, path::PathBuf, sync::Arc};

use super::{Flush, OpenOptions, Room, access::Access, dir::parse, place::Place};
use crate::{
    limits::RESOLVE_TRIES,
    os::Fault,
    path::Beneath,
    policy::FsGrant,
    sys::{self, Expect, Remains, Renamed, Stop, Wait},
};

/// What an operation on a directory works with, on whatever thread it does.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) place: Arc<Place>,
    pub(super) grant: Arc<FsGrant>,
}

impl Ground {
    pub(super) fn new(place: &Arc<Place>, access: &Access) -> Self {
        Self { place: Arc::clone(place), grant: access.grant() }
    }

    pub(super) fn directory(&self) -> &sys::Directory {
        &self.place.directory
    }

    /// Opens a file that may be made or cut by that, where it is counted.
    pub(super) fn open(
        &self,
        path: Beneath<'_>,
        options: OpenOptions,
        expect: Expect,
    ) -> Result<sys::Opened, Fault> {
        let open = |options| sys::open(self.directory(), path, options, expect, Wait::Allowed);
        let existing = options.truncate(false).create(false);
        for _ in 0..RESOLVE_TRIES {
            if !options.create_new {
                match open(existing) {
                    Err(fault) if options.create && fault.is(io::ErrorKind::NotFound) => {}
                    Ok(sys::Opened::File(file)) if options.truncate => {
                        let cut = || sys::set_len(&file, 0);
                        self.room().resize(&self.grant.terms, &file, |_| 0, cut)?;
                        return Ok(sys::Opened::File(file));
                    }
                    opened => return opened,
                }
            }
            let mut made = None;
            let result = self.add_name(|| open(existing.create_new(true)).map(|opened| made = Some(opened)));
            match result {
                Err(fault) if !options.create_new && fault.is(io::ErrorKind::AlreadyExists) => {}
                Err(fault) => return Err(fault),
                Ok(()) => return made.ok_or(Fault::Bug),
            }
        }
        Err(Fault::errno(sys::errno::BUSY))
    }

    /// Does `work`, which makes one more name.
    pub(super) fn add_name(&self, work: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        let reserved = self.room().reserve(&self.grant.terms, 1, 0)?;
        reserved.fill(|_| work().map(|()| None))
    }

    /// Puts `bytes` in the place of `path`; what is left of what was there is the caller's to drop.
    pub(super) fn replace(&self, path: Beneath<'_>, bytes: &[u8], flush: Flush) -> Result<Remains, Fault> {
        let len = bytes.len() as u64;
        let reserved = self.room().reserve(&self.grant.terms, 0, len)?;
        sys::replace(
            self.directory(),
            path,
            len,
            flush,
            |file| sys::write_at(file, bytes, 0),
            |install| reserved.install(&self.grant.terms, install),
        )
    }

    /// Puts a file without a name in the place of `path`. Its bytes are counted already.
    pub(super) fn replace_by(&self, path: Beneath<'_>, file: &sys::Handle) -> Result<Remains, Fault> {
        let reserved = self.room().reserve(&self.grant.terms, 0, 0)?;
        sys::replace_by_unnamed(file, self.directory(), path, |install| {
            reserved.install(&self.grant.terms, install)
        })
    }

    /// Puts a copy of the first `len` bytes of `from` in the place of `path`; tells how many there are.
    pub(super) fn copy(
        &self,
        from: &sys::Handle,
        len: u64,
        path: Beneath<'_>,
        stop: &Stop,
    ) -> Result<u64, Fault> {
        let mut reserved = self.room().reserve(&self.grant.terms, 0, len)?;
        let copied = Cell::new(0);
        sys::replace(
            self.directory(),
            path,
            len,
            Flush::Later,
            |file| {
                copied.set(sys::copy(from, file, len, stop)?);
                stop.check()
            },
            |install| {
                // The source may have been cut meanwhile.
                reserved.give_back(len.saturating_sub(copied.get()));
                reserved.install(&self.grant.terms, install)
            },
        )?;
        Ok(copied.get())
    }

    pub(super) fn create_dir_all(&self, path: Beneath<'_>) -> Result<(), Fault> {
        let mut prefix = PathBuf::new();
        for component in path.as_path().components() {
            prefix.push(component);
            let part = parse(&prefix)?;
            // `.` and `..` are there, or the last look below finds that they are not.
            if part.leaf().is_none() {
                continue;
            }
            match self.add_name(|| sys::create_dir(self.directory(), part)) {
                Err(fault) if fault.is(io::ErrorKind::AlreadyExists) => {}
                result => result?,
            }
        }
        let options = OpenOptions::new().read(true);
        sys::open(self.directory(), path, options, Expect::Directory, Wait::Allowed).map(drop)
    }

    pub(super) fn remove_tree(&self, path: Beneath<'_>, stop: &Stop) -> Result<u64, Fault> {
        let room = self.room();
        if !room.is_counted() {
            return sys::remove_tree(self.directory(), path, stop, None);
        }
        let mut count = |freed| drop(room.free(|_| Ok(Some(freed))));
        sys::remove_tree(self.directory(), path, stop, Some(&mut count))
    }

    pub(super) fn rename(&self, old: Beneath<'_>, to: &Self, new: Beneath<'_>) -> Result<(), Fault> {
        let rename =
            |count, expected| sys::rename(self.directory(), old, to.directory(), new, count, expected);
        if Arc::ptr_eq(&self.place.room, &to.place.room) {
            return self.room().free(|count| rename(count, None).map(|renamed| renamed.freed));
        }
        let counted = self.room().is_counted() || to.room().is_counted();
        if !counted && to.grant.terms.max_file_bytes.is_none() {
            return rename(false, None).map(drop);
        }
        self.measured(old, |size| {
            // What is in it would have to be counted, and measured, one by one.
            if size.is_directory {
                return Err(Fault::errno(sys::errno::CROSSES_DEVICES));
            }
            let reserved = to.room().reserve(&to.grant.terms, 1, size.bytes)?;
            reserved.fill_from(self.room(), size, || rename(counted, Some(size)))
        })
    }

    pub(super) fn hard_link(&self, old: Beneath<'_>, to: &Self, new: Beneath<'_>) -> Result<(), Fault> {
        let link = |expected| sys::hard_link(self.directory(), old, to.directory(), new, expected);
        let same = Arc::ptr_eq(&self.place.room, &to.place.room);
        let counted = self.room().is_counted() || to.room().is_counted();
        if same || !(counted || to.grant.terms.max_file_bytes.is_some()) {
            return to.add_name(|| link(None));
        }
        self.measured(old, |size| {
            let reserved = to.room().reserve(&to.grant.terms, 1, size.bytes)?;
            let linked = || link(Some(size)).map(|()| Renamed { left: false, came: true, freed: None });
            reserved.fill_from(self.room(), size, linked)
        })
    }

    /// Does `work` with what `path` takes up; again, where that is another size by the time that it counts.
    fn measured(
        &self,
        path: Beneath<'_>,
        work: impl Fn(sys::Size) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..RESOLVE_TRIES {
            match work(sys::named_size(self.directory(), path)?) {
                Err(fault) if fault.is(io::ErrorKind::ResourceBusy) => {}
                done => return done,
            }
        }
        Err(Fault::errno(sys::errno::BUSY))
    }

    fn room(&self) -> &Room {
        &self.place.room
    }
}
