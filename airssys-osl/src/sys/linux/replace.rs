//! Files that appear as a whole: written where nobody sees them, then given their name.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::{Errno, fcntl_dupfd_cloexec, retry_on_intr},
};

use super::{
    Directory, Handle,
    change::{check_new, proc_path, sync},
    open::in_parent,
    random,
    size::Named,
};
use crate::{
    fs::Flush,
    limits::{REMAINS, TEMPORARY_NAME_TRIES},
    os::Fault,
    path::{Beneath, Leaf},
    sys::Freed,
};

/// What somebody who counts is asked before a name is given: whether it may be, where it `exists` already or not.
pub(crate) type Admit<'a> = &'a mut dyn FnMut(bool) -> Result<(), Fault>;

/// What gives a written file its name. Where somebody counts, it tells what that freed.
pub(crate) type Install<'a> = &'a mut dyn FnMut(Option<Admit<'_>>) -> Result<Option<Freed>, Fault>;

/// The longest content, in bytes, that has a temporary name while it is written: it is written in no time.
const BRIEF_BYTES: u64 = 64 * 1024;

/// What may be done with a new file, less what the program's mask takes.
const NEW_FILE: Mode = Mode::from_raw_mode(0o666);

/// A file that has not got its name yet.
struct Draft<'a> {
    parent: BorrowedFd<'a>,
    file: OwnedFd,
    /// Its name until then, where it has one.
    temporary: Option<String>,
}

/// What had the name before. Its space is given back when this is dropped, and that may wait for the device: nobody who
/// only wants to know that the new content is in place has to.
#[derive(Debug)]
pub(crate) struct Remains(
    #[cfg_attr(not(test), expect(dead_code, reason = "it is kept for its drop"))] Option<(OwnedFd, Held)>,
);

/// One of the places for [`Remains`].
#[derive(Debug)]
struct Held;

/// Puts what `fill` writes, some `len` bytes, in the place of `path`. `install` is called with what does that, once all
/// is written.
pub(crate) fn replace(
    dir: &Directory,
    path: Beneath<'_>,
    len: u64,
    flush: Flush,
    fill: impl FnOnce(&Handle) -> Result<(), Fault>,
    install: impl FnOnce(Install<'_>) -> Result<(), Fault>,
) -> Result<Remains, Fault> {
    in_parent(dir, path, |parent, leaf| {
        check_new(parent, leaf)?;
        let old = find(parent, leaf);
        let mode = old.as_ref().and_then(kept_mode);
        // A name is taken over by renaming, so the file needs one in the end: a short content has it from the start,
        // which spares the directory three changes. What takes long is without a name that a crash could leave.
        let named = old.is_some() && len <= BRIEF_BYTES;
        let mut draft = Draft::new(parent, named, mode.unwrap_or(NEW_FILE))?;
        if let Some(mode) = mode {
            draft.set_mode(mode)?;
        }
        fill(&draft.file)?;
        if flush == Flush::Now {
            sync(&draft.file, true)?;
        }
        install(&mut |admit| draft.install(leaf, admit))?;
        if flush == Flush::Now {
            sync_directory(parent)?;
        }
        Ok(Remains::of(old))
    })
}

/// Takes hold of what has the name now.
fn find(parent: BorrowedFd<'_>, leaf: &Leaf<'_>) -> Option<(OwnedFd, Stat)> {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let old = fs::openat(parent, leaf.name, place, Mode::empty()).ok()?;
    let stat = fs::fstat(&old).ok()?;
    Some((old, stat))
}

/// What may be done with what is replaced, and with what replaces it then: that of a private file is private.
fn kept_mode((_, old): &(OwnedFd, Stat)) -> Option<Mode> {
    let is_file = FileType::from_raw_mode(old.st_mode) == FileType::RegularFile;
    is_file.then(|| Mode::from_raw_mode(old.st_mode & 0o777))
}

impl Remains {
    /// Holds what was replaced, where it is small and few others are held; else it goes now.
    fn of(old: Option<(OwnedFd, Stat)>) -> Self {
        let brief =
            |stat: &Stat| stat.st_nlink == 1 && stat.st_blocks > 0 && stat.st_size as u64 <= BRIEF_BYTES;
        Self(old.filter(|(_, stat)| brief(stat)).and_then(|(old, _)| Some((old, Held::take()?))))
    }
}

/// How many there are.
static HELD: AtomicUsize = AtomicUsize::new(0);

impl Held {
    fn take() -> Option<Self> {
        let more = |held| Some(held).filter(|held| *held < REMAINS).map(|held| held + 1);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a file without a name in `dir`.
pub(crate) fn create_unnamed(dir: &Directory) -> Result<Handle, Fault> {
    let flags = OFlags::CLOEXEC | OFlags::TMPFILE | OFlags::RDWR;
    match retry_on_intr(|| fs::openat(dir, c".", flags, Mode::from_raw_mode(0o666))) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Err(Fault::Unsupported),
        file => Ok(file?),
    }
}

/// Gives a file without a name the name `path`, which nothing may have.
pub(crate) fn name_unnamed(file: &Handle, dir: &Directory, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent(dir, path, |parent, leaf| {
        check_new(parent, leaf)?;
        Ok(link(file, parent, leaf.name.as_encoded_bytes())?)
    })
}

/// Puts a file without a name in the place of `path`. `install` is called with what does that.
pub(crate) fn replace_by_unnamed(
    file: &Handle,
    dir: &Directory,
    path: Beneath<'_>,
    install: impl FnOnce(Install<'_>) -> Result<(), Fault>,
) -> Result<Remains, Fault> {
    in_parent(dir, path, |parent, leaf| {
        check_new(parent, leaf)?;
        let old = find(parent, leaf);
        let mut draft =
            Draft { parent, file: retry_on_intr(|| fcntl_dupfd_cloexec(file, 0))?, temporary: None };
        if let Some(mode) = old.as_ref().and_then(kept_mode) {
            draft.set_mode(mode)?;
        }
        install(&mut |admit| draft.install(leaf, admit))?;
        Ok(Remains::of(old))
    })
}

/// Makes a directory with a name that is drawn, and tells the name.
pub(crate) fn create_drawn_dir(dir: &Directory) -> Result<String, Fault> {
    draw(|name| fs::mkdirat(dir, name, Mode::from_raw_mode(0o700))).map(|(name, ())| name)
}

impl<'a> Draft<'a> {
    /// Makes a file that has no more than `mode` from its first moment: what replaces a private file is private.
    fn new(parent: BorrowedFd<'a>, named: bool, mode: Mode) -> Result<Self, Fault> {
        if !named && can_name() {
            let flags = OFlags::CLOEXEC | OFlags::TMPFILE | OFlags::WRONLY;
            match retry_on_intr(|| fs::openat(parent, c".", flags, mode)) {
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
                file => return Ok(Self { parent, file: file?, temporary: None }),
            }
        }
        let flags = OFlags::CLOEXEC | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let (name, file) = draw(|name| fs::openat(parent, name, flags, mode))?;
        Ok(Self { parent, file, temporary: Some(name) })
    }

    /// Gives it the bits of `mode` that the program's mask took: where there are none, the file stays as it is.
    fn set_mode(&self, mode: Mode) -> Result<(), Fault> {
        let has = Mode::from_raw_mode(fs::fstat(&self.file)?.st_mode & 0o777);
        if has == mode { Ok(()) } else { Ok(fs::fchmod(&self.file, mode)?) }
    }

    fn install(&mut self, leaf: &Leaf<'_>, admit: Option<Admit<'_>>) -> Result<Option<Freed>, Fault> {
        let mut old = None;
        if let Some(admit) = admit {
            old = Named::find(self.parent, leaf.name)?;
            admit(old.is_some())?;
        }
        if self.temporary.is_none() {
            match link(&self.file, self.parent, leaf.name.as_encoded_bytes()) {
                // A name can only be taken over by a file that has one: it gets one for that moment.
                Err(Errno::EXIST) => {
                    let file = &self.file;
                    self.temporary = Some(draw(|name| link(file, self.parent, name.as_bytes()))?.0);
                }
                result => return Ok(result.map(|()| None)?),
            }
        }
        if let Some(name) = &self.temporary {
            fs::renameat(self.parent, name, self.parent, leaf.name)?;
            self.temporary = None;
        }
        Ok(old.and_then(Named::freed))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary {
            // The error that matters is the one that led here; a name that is left tells by its look what it is.
            let _ = fs::unlinkat(self.parent, name, AtFlags::empty());
        }
    }
}

/// Whether files without a name can be given one: by the kernel itself, or by procfs.
fn can_name() -> bool {
    static CANNOT: AtomicBool = AtomicBool::new(false);
    if CANNOT.load(Ordering::Relaxed) {
        return false;
    }
    let can = fs::access("/proc/self/fd", fs::Access::EXISTS).is_ok();
    CANNOT.store(!can, Ordering::Relaxed);
    can
}

fn link(file: &OwnedFd, parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    match fs::linkat(file, c"", &parent, name, AtFlags::EMPTY_PATH) {
        // An older kernel, which wants a privilege for it.
        Err(Errno::NOENT | Errno::PERM) => {
            fs::linkat(CWD, proc_path(file), parent, name, AtFlags::SYMLINK_FOLLOW)
        }
        result => result,
    }
}

/// Draws names until `make` makes something of one.
fn draw<T>(make: impl Fn(&str) -> Result<T, Errno>) -> Result<(String, T), Fault> {
    for _ in 0..TEMPORARY_NAME_TRIES {
        let mut random_bytes = [0; 8];
        random(&mut random_bytes).map_err(Fault::Os)?;
        let name = format!(".airssys-{:016x}.tmp", u64::from_ne_bytes(random_bytes));
        match make(&name) {
            Err(Errno::EXIST | Errno::INTR) => {}
            made => return Ok((name, made?)),
        }
    }
    Err(Errno::EXIST.into())
}

/// The parent may be open as a mere place (`O_PATH`), which cannot be flushed.
fn sync_directory(parent: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
    sync(&fs::openat(parent, c".", flags, Mode::empty())?, false)
}

#[cfg(test)]
mod tests;
