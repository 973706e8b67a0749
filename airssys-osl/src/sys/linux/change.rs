use std::{io::IoSlice, path::Path};

use rustix::{
    fd::{BorrowedFd, OwnedFd},
    fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT},
    io::{self, Errno, ReadWriteFlags, retry_on_intr},
};

use super::{
    Handle,
    open::{in_parent, open_beneath},
    random,
};
use crate::{
    fs::{Flush, SetTime},
    limits::TEMPORARY_NAME_TRIES,
    os::Fault,
    path::{Beneath, Leaf},
    sys::Wait,
};

/// Writes all of `bytes`.
pub(crate) fn write_at(file: &Handle, bytes: &[u8], offset: u64) -> Result<(), Fault> {
    write_all(bytes, |rest, written| io::pwrite(file, rest, offset.saturating_add(written)))
}

/// Writes all of `bytes` at the end.
pub(crate) fn append(file: &Handle, bytes: &[u8]) -> Result<(), Fault> {
    write_all(bytes, |rest, _| io::pwritev2(file, &[IoSlice::new(rest)], 0, ReadWriteFlags::APPEND))
}

pub(crate) fn set_len(file: &Handle, len: u64) -> Result<(), Fault> {
    Ok(retry_on_intr(|| fs::ftruncate(file, len))?)
}

pub(crate) fn sync(file: &Handle, data_only: bool) -> Result<(), Fault> {
    Ok(retry_on_intr(|| if data_only { fs::fdatasync(file) } else { fs::fsync(file) })?)
}

pub(crate) fn set_own_times(file: &Handle, accessed: SetTime, modified: SetTime) -> Result<(), Fault> {
    Ok(fs::futimens(file, &times(accessed, modified)?)?)
}

pub(crate) fn set_times(
    dir: &Handle,
    path: Beneath<'_>,
    follow: bool,
    accessed: SetTime,
    modified: SetTime,
) -> Result<(), Fault> {
    let times = times(accessed, modified)?;
    let mut flags = OFlags::PATH;
    flags.set(OFlags::NOFOLLOW, !follow);
    let object = open_beneath(dir, path, flags, Wait::Allowed)?;
    Ok(fs::utimensat(&object, c"", &times, AtFlags::EMPTY_PATH)?)
}

pub(crate) fn create_dir(dir: &Handle, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent(dir, path, |parent, leaf| Ok(fs::mkdirat(parent, leaf.name, Mode::from_raw_mode(0o777))?))
}

pub(crate) fn remove_file(dir: &Handle, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent(dir, path, |parent, leaf| {
        check_slash(parent, leaf)?;
        Ok(fs::unlinkat(parent, leaf.name, AtFlags::empty())?)
    })
}

pub(crate) fn remove_dir(dir: &Handle, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent(dir, path, |parent, leaf| Ok(fs::unlinkat(parent, leaf.name, AtFlags::REMOVEDIR)?))
}

pub(crate) fn rename(from: &Handle, old: Beneath<'_>, to: &Handle, new: Beneath<'_>) -> Result<(), Fault> {
    in_parent(from, old, |from, old| {
        check_slash(from, old)?;
        in_parent(to, new, |to, new| {
            if new.slash && !is_directory(from, old)? {
                return Err(Errno::NOTDIR.into());
            }
            Ok(fs::renameat(from, old.name, to, new.name)?)
        })
    })
}

pub(crate) fn hard_link(
    from: &Handle,
    existing: Beneath<'_>,
    to: &Handle,
    new: Beneath<'_>,
) -> Result<(), Fault> {
    in_parent(from, existing, |from, existing| {
        check_slash(from, existing)?;
        in_parent(to, new, |to, new| {
            check_new(new)?;
            Ok(fs::linkat(from, existing.name, to, new.name, AtFlags::empty())?)
        })
    })
}

pub(crate) fn symlink(target: &Path, dir: &Handle, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent(dir, path, |parent, leaf| {
        check_new(leaf)?;
        Ok(fs::symlinkat(target, parent, leaf.name)?)
    })
}

/// Writes a temporary file beside `path` and renames it to there.
pub(crate) fn replace(dir: &Handle, path: Beneath<'_>, bytes: &[u8], flush: Flush) -> Result<(), Fault> {
    in_parent(dir, path, |parent, leaf| {
        check_new(leaf)?;
        let (name, file) = create_temporary(parent)?;
        let placed = place(parent, leaf, &name, &file, bytes, flush);
        if placed.is_err() {
            // The error that matters is the first one; a name that is left behind tells by its look what it is.
            let _ = fs::unlinkat(parent, &name, AtFlags::empty());
        }
        placed?;
        match flush {
            Flush::Later => Ok(()),
            Flush::Now => sync_directory(parent),
        }
    })
}

fn place(
    parent: BorrowedFd<'_>,
    leaf: &Leaf<'_>,
    name: &str,
    file: &OwnedFd,
    bytes: &[u8],
    flush: Flush,
) -> Result<(), Fault> {
    if let Ok(old) = fs::statat(parent, leaf.name, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(old.st_mode) == FileType::RegularFile
    {
        fs::fchmod(file, Mode::from_raw_mode(old.st_mode & 0o777))?;
    }
    write_at(file, bytes, 0)?;
    if flush == Flush::Now {
        sync(file, true)?;
    }
    Ok(fs::renameat(parent, name, parent, leaf.name)?)
}

fn create_temporary(parent: BorrowedFd<'_>) -> Result<(String, OwnedFd), Fault> {
    let flags = OFlags::CLOEXEC | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    for _ in 0..TEMPORARY_NAME_TRIES {
        let mut random_bytes = [0; 8];
        random(&mut random_bytes).map_err(Fault::Os)?;
        let name = format!(".airssys-{:016x}.tmp", u64::from_ne_bytes(random_bytes));
        match fs::openat(parent, &name, flags, Mode::from_raw_mode(0o666)) {
            Err(Errno::EXIST | Errno::INTR) => {}
            file => return Ok((name, file?)),
        }
    }
    Err(Errno::EXIST.into())
}

/// The parent may be open as a mere place (`O_PATH`), which cannot be flushed.
fn sync_directory(parent: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
    sync(&fs::openat(parent, c".", flags, Mode::empty())?, false)
}

fn write_all(bytes: &[u8], mut write: impl FnMut(&[u8], u64) -> io::Result<usize>) -> Result<(), Fault> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = retry_on_intr(|| write(rest, (bytes.len() - rest.len()) as u64))?;
        rest = rest.get(written..).filter(|_| written > 0).ok_or(Errno::IO)?;
    }
    Ok(())
}

/// A name with a slash behind it means a directory; with anything else the kernel would refuse it, and so do we.
fn check_slash(parent: BorrowedFd<'_>, leaf: &Leaf<'_>) -> Result<(), Fault> {
    if leaf.slash && !is_directory(parent, leaf)? { Err(Errno::NOTDIR.into()) } else { Ok(()) }
}

/// As [`check_slash`], where the name is about to become one of something else than a directory.
fn check_new(leaf: &Leaf<'_>) -> Result<(), Fault> {
    if leaf.slash { Err(Errno::NOTDIR.into()) } else { Ok(()) }
}

fn is_directory(parent: BorrowedFd<'_>, leaf: &Leaf<'_>) -> Result<bool, Fault> {
    let stat = fs::statat(parent, leaf.name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn times(accessed: SetTime, modified: SetTime) -> Result<Timestamps, Fault> {
    let time = |time| match time {
        SetTime::Keep => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
        SetTime::Now => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }),
        // The numbers above a second have meanings of their own for the kernel.
        SetTime::To(time) if time.nanoseconds >= 1_000_000_000 => Err(Errno::INVAL),
        SetTime::To(time) => Ok(Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() }),
    };
    Ok(Timestamps { last_access: time(accessed)?, last_modification: time(modified)? })
}
