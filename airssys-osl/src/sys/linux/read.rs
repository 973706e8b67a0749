use std::{ffi::OsString, io::IoSliceMut, os::unix::ffi::OsStringExt as _, path::PathBuf};

use rustix::{
    buffer::spare_capacity,
    fs::{self, OFlags},
    io::{self, Errno, ReadWriteFlags, retry_on_intr},
};

use super::{
    Directory, Handle,
    cached::append_cached,
    open::{open_beneath, open_sized},
};
use crate::{
    fs::OpenOptions,
    limits::INLINE_READ_BYTES,
    os::Fault,
    path::Beneath,
    sys::{Expect, Opened, Wait, Whole},
};

/// Reads what is in the page cache, on the caller's thread.
///
/// A file system that cannot say what is cached refuses the question; the pool then does the reading.
pub(crate) fn read_cached(file: &Handle, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
    // `preadv2` takes the largest offset for the file's own position.
    if i64::try_from(offset).is_err() {
        return Err(Errno::INVAL.into());
    }
    let read =
        retry_on_intr(|| io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT));
    cached(read)
}

/// What a question for cached bytes came to. Who has none, or cannot say, would have to wait.
pub(super) fn cached(read: Result<usize, Errno>) -> Result<usize, Fault> {
    match read {
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Err(Fault::WouldBlock),
        result => Ok(result?),
    }
}

/// Reads up to `len` bytes.
pub(crate) fn read_at(file: &Handle, len: usize, offset: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(len);
    if len > 0 {
        retry_on_intr(|| io::pread(file, spare_capacity(&mut bytes), offset))?;
    }
    Ok(bytes)
}

/// Opens a whole file of at most `limit_bytes` bytes, and reads it where that need not wait.
pub(crate) fn open_whole(
    dir: &Directory,
    path: Beneath<'_>,
    limit_bytes: u64,
    wait: Wait,
) -> Result<Whole, Fault> {
    let (opened, stat) = open_sized(dir, path, OpenOptions::new().read(true), Expect::File, wait)?;
    let Opened::File(file) = opened else { return Err(Fault::Bug) };
    let len = stat.st_size as u64;
    if len > limit_bytes {
        return Err(Fault::TooLarge);
    }
    let len = usize::try_from(len).map_err(|_| Fault::TooLarge)?;
    if wait == Wait::Never && len <= INLINE_READ_BYTES {
        let mut bytes = buffer(len)?;
        // One byte more than there should be: where it stays empty, this was the end.
        match append_cached(&file, &mut bytes, len + 1, 0) {
            Ok(read) if read == len => return Ok(Whole::Read(bytes)),
            Ok(_) | Err(Fault::WouldBlock) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Whole::Opened(file, len))
}

/// The memory for a file of `len` bytes, and one more to see its end.
pub(crate) fn buffer(len: usize) -> Result<Vec<u8>, Fault> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len.saturating_add(1)).map_err(|_| Fault::TooLarge)?;
    Ok(buffer)
}

/// Reads where a symbolic link points.
pub(crate) fn read_link(dir: &Directory, path: Beneath<'_>) -> Result<PathBuf, Fault> {
    let link = open_beneath(dir, path, OFlags::PATH | OFlags::NOFOLLOW, Wait::Allowed)?;
    match fs::readlinkat(&link, c"", Vec::new()) {
        // It is no link: the kernel has another word for that where the place is open already.
        Err(Errno::NOENT) => Err(Errno::INVAL.into()),
        target => Ok(OsString::from_vec(target?.into_bytes()).into()),
    }
}

/// Reads a whole open file of at most `limit_bytes` bytes.
pub(crate) fn read_open(file: &Handle, limit_bytes: u64) -> Result<Vec<u8>, Fault> {
    let len = fs::fstat(file)?.st_size as u64;
    if len > limit_bytes {
        return Err(Fault::TooLarge);
    }
    read_whole(file, buffer(usize::try_from(len).map_err(|_| Fault::TooLarge)?)?, limit_bytes)
}

/// Reads a whole open file into `bytes`, which is empty and should have room for it.
pub(crate) fn read_whole(file: &Handle, mut bytes: Vec<u8>, limit_bytes: u64) -> Result<Vec<u8>, Fault> {
    loop {
        let offset = bytes.len() as u64;
        if retry_on_intr(|| io::pread(file, spare_capacity(&mut bytes), offset))? == 0 {
            return Ok(bytes);
        }
        if bytes.len() as u64 > limit_bytes {
            return Err(Fault::TooLarge);
        }
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(1).map_err(|_| Fault::TooLarge)?;
        }
    }
}
