use std::{ffi::OsString, io::IoSliceMut, os::unix::ffi::OsStringExt as _, path::PathBuf};

use rustix::{
    buffer::spare_capacity,
    fs::{self, OFlags},
    io::{self, Errno, ReadWriteFlags, retry_on_intr},
};

use super::{
    Directory, Handle,
    open::{open, open_beneath},
};
use crate::{
    fs::OpenOptions,
    limits::INLINE_READ_BYTES,
    os::Fault,
    path::Beneath,
    sys::{Expect, Opened, Wait},
};

/// Reads what is in the page cache, on the caller's thread.
///
/// A file system that cannot say what is cached refuses the question; the pool then does the reading.
pub(crate) fn read_cached(file: &Handle, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
    let read =
        retry_on_intr(|| io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT));
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

/// Reads a whole file of at most `limit_bytes` bytes.
pub(crate) fn read_whole(
    dir: &Directory,
    path: Beneath<'_>,
    limit_bytes: u64,
    wait: Wait,
) -> Result<Vec<u8>, Fault> {
    let Opened::File(file) = open(dir, path, OpenOptions::new().read(true), Expect::File, wait)? else {
        return Err(Fault::Bug);
    };
    let len = fs::fstat(&file)?.st_size as u64;
    if len > limit_bytes {
        return Err(Fault::TooLarge);
    }
    let len = usize::try_from(len).map_err(|_| Fault::TooLarge)?;
    match wait {
        Wait::Never if len > INLINE_READ_BYTES => Err(Fault::WouldBlock),
        Wait::Never => {
            // One byte more than there should be: where it stays empty, this was the end.
            let mut bytes = vec![0; len + 1];
            if read_cached(&file, &mut bytes, 0)? != len {
                return Err(Fault::WouldBlock);
            }
            bytes.truncate(len);
            Ok(bytes)
        }
        Wait::Allowed => read_to_end(&file, len, limit_bytes),
    }
}

/// Reads where a symbolic link points.
pub(crate) fn read_link(dir: &Directory, path: Beneath<'_>) -> Result<PathBuf, Fault> {
    path.leaf().ok_or(Errno::INVAL)?;
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
    read_to_end(file, usize::try_from(len).map_err(|_| Fault::TooLarge)?, limit_bytes)
}

fn read_to_end(file: &Handle, expected: usize, limit_bytes: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(expected + 1).map_err(|_| Fault::TooLarge)?;
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
