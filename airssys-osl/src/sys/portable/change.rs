use std::{
    fs::{File, FileTimes, TryLockError},
    hash::{BuildHasher as _, RandomState},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cap_std::fs::OpenOptions as CapOptions;

use super::{Directory, Handle, Identity, Size, fault, open::open_to_change, read::read_at};
use crate::{
    clock::Timestamp,
    fs::{Flush, SetTime},
    limits::TEMPORARY_NAME_TRIES,
    os::Fault,
    path::Beneath,
    sys::{Freed, Renamed, Stop, parts::copy_parts},
};

/// What somebody who counts is asked before a name is given.
pub(crate) type Admit<'a> = &'a mut dyn FnMut(bool) -> Result<(), Fault>;

/// What gives a written file its name.
pub(crate) type Install<'a> = &'a mut dyn FnMut(Option<Admit<'_>>) -> Result<Option<Freed<Identity>>, Fault>;

/// Writes all of `bytes`.
pub(crate) fn write_at(file: &Handle, bytes: &[u8], offset: u64) -> Result<(), Fault> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match write_part(file, rest, offset.saturating_add(written as u64)) {
            Ok(0) => return Err(Fault::Os(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Os(error)),
        }
    }
    Ok(())
}

/// Writes all of `bytes` at the end. Others who append at the same moment may write to the same place.
pub(crate) fn append(file: &Handle, bytes: &[u8]) -> Result<(), Fault> {
    let mut file = file;
    file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(bytes)).map_err(Fault::Os)
}

pub(crate) fn set_len(file: &Handle, len: u64) -> Result<(), Fault> {
    file.set_len(len).map_err(Fault::Os)
}

pub(crate) fn sync(file: &Handle, data_only: bool) -> Result<(), Fault> {
    if data_only { file.sync_data() } else { file.sync_all() }.map_err(Fault::Os)
}

pub(crate) fn set_own_times(file: &Handle, accessed: SetTime, modified: SetTime) -> Result<(), Fault> {
    let mut times = FileTimes::new();
    if let Some(time) = time(accessed)? {
        times = times.set_accessed(time);
    }
    if let Some(time) = time(modified)? {
        times = times.set_modified(time);
    }
    file.set_times(times).map_err(Fault::Os)
}

/// Of regular files, and of what a link leads to; nothing else can be opened for it.
pub(crate) fn set_times(
    dir: &Directory,
    path: Beneath<'_>,
    follow: bool,
    accessed: SetTime,
    modified: SetTime,
) -> Result<(), Fault> {
    if !follow {
        return Err(Fault::Unsupported);
    }
    set_own_times(&open_to_change(dir, path)?, accessed, modified)
}

#[cfg(unix)]
pub(crate) fn set_own_permissions(file: &Handle, mode: u32) -> Result<(), Fault> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode)).map_err(Fault::Os)
}

/// There are no such bits.
#[cfg(not(unix))]
pub(crate) fn set_own_permissions(_file: &Handle, _mode: u32) -> Result<(), Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn set_permissions(dir: &Directory, path: Beneath<'_>, mode: u32) -> Result<(), Fault> {
    set_own_permissions(&open_to_change(dir, path)?, mode)
}

pub(crate) fn create_dir(dir: &Directory, path: Beneath<'_>) -> Result<(), Fault> {
    dir.dir.create_dir(plain(path)?).map_err(fault)
}

pub(crate) fn remove_file(
    dir: &Directory,
    path: Beneath<'_>,
    _count: bool,
) -> Result<Option<Freed<Identity>>, Fault> {
    dir.dir.remove_file(plain(path)?).map(|()| None).map_err(fault)
}

pub(crate) fn remove_dir(
    dir: &Directory,
    path: Beneath<'_>,
    _count: bool,
) -> Result<Option<Freed<Identity>>, Fault> {
    dir.dir.remove_dir(plain(path)?).map(|()| None).map_err(fault)
}

pub(crate) fn rename(
    from: &Directory,
    old: Beneath<'_>,
    to: &Directory,
    new: Beneath<'_>,
    _count: bool,
    _expected: Option<Size>,
) -> Result<Renamed<Identity>, Fault> {
    from.dir.rename(plain(old)?, &to.dir, plain(new)?).map_err(fault)?;
    Ok(Renamed { left: true, came: true, freed: None })
}

pub(crate) fn hard_link(
    from: &Directory,
    existing: Beneath<'_>,
    to: &Directory,
    new: Beneath<'_>,
    _expected: Option<Size>,
) -> Result<(), Fault> {
    from.dir.hard_link(plain(existing)?, &to.dir, plain(new)?).map_err(fault)
}

#[cfg(unix)]
pub(crate) fn symlink(target: &Path, dir: &Directory, path: Beneath<'_>) -> Result<(), Fault> {
    dir.dir.symlink(target, plain(path)?).map_err(fault)
}

/// It would have to know whether the target is a directory.
#[cfg(not(unix))]
pub(crate) fn symlink(_target: &Path, _dir: &Directory, _path: Beneath<'_>) -> Result<(), Fault> {
    Err(Fault::Unsupported)
}

/// Only who counts asks.
pub(crate) fn named_size(_dir: &Directory, _path: Beneath<'_>) -> Result<Size, Fault> {
    Err(Fault::Unsupported)
}

/// What had the name before, of which nothing is left.
#[derive(Debug)]
pub(crate) struct Remains;

/// Puts what `fill` writes in the place of `path`, by a file of another name that is then renamed.
pub(crate) fn replace(
    dir: &Directory,
    path: Beneath<'_>,
    _len: u64,
    flush: Flush,
    fill: impl FnOnce(&Handle) -> Result<(), Fault>,
    install: impl FnOnce(Install<'_>) -> Result<(), Fault>,
) -> Result<Remains, Fault> {
    let path = plain(path)?;
    let mut how = CapOptions::new();
    how.write(true).create_new(true);
    let parent = path.parent().unwrap_or(Path::new(""));
    let (temporary, file) = draw(|name| dir.dir.open_with(parent.join(name), &how))?;
    let temporary: PathBuf = parent.join(temporary);
    let file = file.into_std();
    let placed = (|| {
        keep_permissions(dir, path, &file)?;
        fill(&file)?;
        if flush == Flush::Now {
            sync(&file, true)?;
        }
        install(&mut |_| dir.dir.rename(&temporary, &dir.dir, path).map(|()| None).map_err(fault))
    })();
    if placed.is_err() {
        // The error that matters is the one that led here.
        let _ = dir.dir.remove_file(&temporary);
    }
    placed.map(|()| Remains)
}

pub(crate) fn create_unnamed(_dir: &Directory) -> Result<Handle, Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn name_unnamed(_file: &Handle, _dir: &Directory, _path: Beneath<'_>) -> Result<(), Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn replace_by_unnamed(
    _file: &Handle,
    _dir: &Directory,
    _path: Beneath<'_>,
    _install: impl FnOnce(Install<'_>) -> Result<(), Fault>,
) -> Result<Remains, Fault> {
    Err(Fault::Unsupported)
}

/// Makes a directory with a name that is drawn, and tells the name.
pub(crate) fn create_drawn_dir(dir: &Directory) -> Result<String, Fault> {
    draw(|name| dir.dir.create_dir(name)).map(|(name, ())| name)
}

/// Copies the first `len` bytes of one file to another, which is empty. Tells how many there were.
pub(crate) fn copy(from: &Handle, to: &Handle, len: u64, stop: &Stop) -> Result<u64, Fault> {
    copy_parts(0, len, stop, |part, at| read_at(from, part, at), |bytes, at| write_at(to, bytes, at))
}

/// Locks a whole open file, shared or alone, without waiting.
pub(crate) fn try_lock(file: &Handle, alone: bool) -> Result<(), Fault> {
    let locked = if alone { file.try_lock() } else { file.try_lock_shared() };
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => Fault::Os(io::ErrorKind::WouldBlock.into()),
        TryLockError::Error(error) => Fault::Os(error),
    })
}

pub(crate) fn unlock(file: &Handle) -> Result<(), Fault> {
    file.unlock().map_err(Fault::Os)
}

/// A path whose last component is a plain name.
fn plain(path: Beneath<'_>) -> Result<&Path, Fault> {
    path.leaf().ok_or_else(|| Fault::errno(super::errno::INVALID))?;
    Ok(path.as_path())
}

#[cfg(unix)]
fn keep_permissions(dir: &Directory, path: &Path, file: &File) -> Result<(), Fault> {
    use cap_std::fs::MetadataExt as _;
    match dir.dir.symlink_metadata(path) {
        Ok(old) if old.is_file() => set_own_permissions(file, old.mode() & 0o777),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn keep_permissions(_dir: &Directory, _path: &Path, _file: &File) -> Result<(), Fault> {
    Ok(())
}

/// Draws names until `make` makes something of one. They need not be secret: nothing that exists is opened.
fn draw<T>(make: impl Fn(&str) -> io::Result<T>) -> Result<(String, T), Fault> {
    for _ in 0..TEMPORARY_NAME_TRIES {
        let name = format!(".airssys-{:016x}.tmp", RandomState::new().hash_one(0));
        match make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (name, made)).map_err(fault),
        }
    }
    Err(Fault::Os(io::ErrorKind::AlreadyExists.into()))
}

fn time(time: SetTime) -> Result<Option<SystemTime>, Fault> {
    let invalid = || Fault::errno(super::errno::INVALID);
    match time {
        SetTime::Keep => Ok(None),
        SetTime::Now => Ok(Some(SystemTime::now())),
        SetTime::To(Timestamp { nanoseconds, .. }) if nanoseconds >= 1_000_000_000 => Err(invalid()),
        SetTime::To(Timestamp { seconds, nanoseconds }) => {
            let whole = Duration::from_secs(seconds.unsigned_abs());
            let base =
                if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
            let time = base.and_then(|base| base.checked_add(Duration::from_nanos(nanoseconds.into())));
            time.map(Some).ok_or_else(invalid)
        }
    }
}

#[cfg(unix)]
fn write_part(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_part(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}
