use std::{io::IoSlice, path::Path};

use rustix::{
    fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT},
    io::{self, Errno, ReadWriteFlags, retry_on_intr},
};

use super::{
    Directory, Handle,
    open::{in_parent, in_parent_or, open_beneath},
    size::{Named, Size},
};
use crate::{
    fs::SetTime,
    os::Fault,
    path::{Beneath, Leaf},
    policy::rule,
    sys::{Freed, Renamed, Wait},
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
    dir: &Directory,
    path: Beneath<'_>,
    follow: bool,
    accessed: SetTime,
    modified: SetTime,
) -> Result<(), Fault> {
    let times = times(accessed, modified)?;
    let mut flags = OFlags::PATH;
    flags.set(OFlags::NOFOLLOW, !follow);
    let object = open_beneath(dir, path, flags, Wait::Allowed)?;
    check_shared(dir, &object)?;
    Ok(fs::utimensat(&object, c"", &times, AtFlags::EMPTY_PATH)?)
}

pub(crate) fn create_dir(dir: &Directory, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent_or(dir, path, Errno::EXIST, |parent, leaf| {
        Ok(fs::mkdirat(parent, leaf.name, Mode::from_raw_mode(0o777))?)
    })
}

/// Removes a file; tells what that freed where somebody counts.
pub(crate) fn remove_file(dir: &Directory, path: Beneath<'_>, count: bool) -> Result<Option<Freed>, Fault> {
    in_parent_or(dir, path, Errno::ISDIR, |parent, leaf| {
        check_slash(parent, leaf)?;
        let old = if count { Named::find(parent, leaf.name)? } else { None };
        fs::unlinkat(parent, leaf.name, AtFlags::empty())?;
        Ok(old.and_then(Named::freed))
    })
}

/// As [`remove_file`], for an empty directory.
pub(crate) fn remove_dir(dir: &Directory, path: Beneath<'_>, count: bool) -> Result<Option<Freed>, Fault> {
    in_parent(dir, path, |parent, leaf| {
        let old = if count { Named::find(parent, leaf.name)? } else { None };
        fs::unlinkat(parent, leaf.name, AtFlags::REMOVEDIR)?;
        Ok(old.and_then(Named::freed))
    })
}

/// Renames; tells what that did where somebody counts. What was measured, `expected`, has to be there still.
pub(crate) fn rename(
    from: &Directory,
    old: Beneath<'_>,
    to: &Directory,
    new: Beneath<'_>,
    count: bool,
    expected: Option<Size>,
) -> Result<Renamed, Fault> {
    let bounds = to.bounds();
    in_parent(from, old, |from, old| {
        check_slash(from, old)?;
        in_parent(to, new, |to, new| {
            if new.slash && !is_directory(from, old)? {
                return Err(Errno::NOTDIR.into());
            }
            bounds.check_filled(to, new.name)?;
            let find =
                |parent: BorrowedFd<'_>, name| if count { Named::find(parent, name) } else { Ok(None) };
            let (moved, replaced) = (find(from, old.name)?, find(to, new.name)?);
            check_size(from, old, expected)?;
            fs::renameat(from, old.name, to, new.name)?;
            // Two names of one file both stay.
            let stays = |named: &Option<Named>, parent: BorrowedFd<'_>, name| {
                named.as_ref().is_some_and(|named| named.has(parent, name))
            };
            Ok(Renamed {
                left: !stays(&moved, from, old.name),
                came: !stays(&replaced, to, new.name),
                freed: replaced.and_then(Named::freed),
            })
        })
    })
}

/// What a name takes up that is about to be moved to where it is counted elsewhere.
pub(crate) fn named_size(dir: &Directory, path: Beneath<'_>) -> Result<Size, Fault> {
    in_parent(dir, path, |parent, leaf| {
        Ok(Size::of(&fs::statat(parent, leaf.name, AtFlags::SYMLINK_NOFOLLOW)?))
    })
}

/// Checks that a name is still of what was measured, and that of the same size.
fn check_size(parent: BorrowedFd<'_>, leaf: &Leaf<'_>, expected: Option<Size>) -> Result<(), Fault> {
    let Some(expected) = expected else { return Ok(()) };
    let stat = fs::statat(parent, leaf.name, AtFlags::SYMLINK_NOFOLLOW)?;
    if Size::of(&stat) == expected { Ok(()) } else { Err(Errno::BUSY.into()) }
}

pub(crate) fn set_own_permissions(file: &Handle, mode: u32) -> Result<(), Fault> {
    Ok(fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

pub(crate) fn set_permissions(dir: &Directory, path: Beneath<'_>, mode: u32) -> Result<(), Fault> {
    let object = open_beneath(dir, path, OFlags::PATH, Wait::Allowed)?;
    check_shared(dir, &object)?;
    if !matches!(kind_of(&object)?, FileType::RegularFile | FileType::Directory) {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    // A mere place takes no `fchmod`, and what may not be read cannot be opened for one.
    match fs::chmodat(CWD, proc_path(&object), Mode::from_raw_mode(mode), AtFlags::empty()) {
        Err(Errno::NOENT) => Err(Fault::Unsupported),
        result => Ok(result?),
    }
}

/// Gives what is there another name: `expected`, where that was measured.
pub(crate) fn hard_link(
    from: &Directory,
    existing: Beneath<'_>,
    to: &Directory,
    new: Beneath<'_>,
    expected: Option<Size>,
) -> Result<(), Fault> {
    in_parent_or(from, existing, Errno::PERM, |from, existing| {
        check_slash(from, existing)?;
        in_parent_or(to, new, Errno::EXIST, |parent, new| {
            check_new(parent, new)?;
            to.bounds().check_filled(parent, new.name)?;
            check_size(from, existing, expected)?;
            Ok(fs::linkat(from, existing.name, parent, new.name, AtFlags::empty())?)
        })
    })
}

pub(crate) fn symlink(target: &Path, dir: &Directory, path: Beneath<'_>) -> Result<(), Fault> {
    in_parent_or(dir, path, Errno::EXIST, |parent, leaf| {
        check_new(parent, leaf)?;
        dir.bounds().check_filled(parent, leaf.name)?;
        Ok(fs::symlinkat(target, parent, leaf.name)?)
    })
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
pub(super) fn check_slash(parent: BorrowedFd<'_>, leaf: &Leaf<'_>) -> Result<(), Fault> {
    if leaf.slash && !is_directory(parent, leaf)? { Err(Errno::NOTDIR.into()) } else { Ok(()) }
}

/// As [`check_slash`], where the name is about to become one of something else than a directory.
pub(super) fn check_new(parent: BorrowedFd<'_>, leaf: &Leaf<'_>) -> Result<(), Fault> {
    if !leaf.slash {
        return Ok(());
    }
    if is_directory(parent, leaf)? { Err(Errno::EXIST.into()) } else { Err(Errno::NOTDIR.into()) }
}

/// Checks that an object may be changed which may be a file with several names.
fn check_shared(dir: &Directory, object: &OwnedFd) -> Result<(), Fault> {
    let stat = fs::fstat(object)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => dir.bounds().check_links(&stat, true),
        _ => Ok(()),
    }
}

/// The name by which procfs has an open object.
pub(super) fn proc_path(object: impl AsFd) -> String {
    format!("/proc/self/fd/{}", object.as_fd().as_raw_fd())
}

fn kind_of(object: &OwnedFd) -> Result<FileType, Fault> {
    Ok(FileType::from_raw_mode(fs::fstat(object)?.st_mode))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::FsTerms, sys::Resolution};

    /// What happens between the measuring and the act: another name, more bytes, a directory in its place.
    #[test]
    fn what_is_not_of_its_measured_size_any_more_is_neither_moved_nor_linked() {
        let changes: [fn(&Path); 3] = [
            |root| std::fs::hard_link(root.join("f"), root.join("twin")).unwrap(),
            |root| std::fs::write(root.join("f"), "longer").unwrap(),
            |root| {
                std::fs::remove_file(root.join("f")).unwrap();
                std::fs::create_dir(root.join("f")).unwrap();
            },
        ];
        for change in changes {
            let tmp = tempfile::tempdir().unwrap();
            std::fs::write(tmp.path().join("f"), "f").unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let fd = fs::open(tmp.path(), flags, Mode::empty()).unwrap();
            let dir = Directory::root(fd, &FsTerms::new(), Resolution::Kernel).unwrap();
            let [old, new] = ["f", "new"].map(|path| Beneath::parse(Path::new(path)).unwrap());
            let expected = Some(named_size(&dir, old).unwrap());
            change(tmp.path());
            let busy = |fault: Fault| fault.is(std::io::ErrorKind::ResourceBusy);
            assert!(rename(&dir, old, &dir, new, true, expected).is_err_and(busy));
            assert!(hard_link(&dir, old, &dir, new, expected).is_err_and(busy));
            assert!(!tmp.path().join("new").exists());
            let measured = Some(named_size(&dir, old).unwrap());
            rename(&dir, old, &dir, new, true, measured).unwrap();
        }
    }
}
