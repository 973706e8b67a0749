use std::{
    ffi::{OsStr, OsString},
    io::IoSliceMut,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use rustix::{
    buffer::spare_capacity,
    fs::{self, AtFlags, FileType, OFlags, RawDir},
    io::{self, Errno, ReadWriteFlags, retry_on_intr},
};

use super::{
    Handle,
    open::{in_parent, open, open_beneath},
    stat::kind,
};
use crate::{
    fs::{DirEntry, FileKind, OpenOptions},
    limits::INLINE_READ_BYTES,
    os::Fault,
    path::Beneath,
    sys::{Expect, Wait},
};

/// The buffer of one `getdents64`: some hundred names, and what the C library takes.
const LIST_BUFFER_BYTES: usize = 32 * 1024;

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
    dir: &Handle,
    path: Beneath<'_>,
    limit_bytes: u64,
    wait: Wait,
) -> Result<Vec<u8>, Fault> {
    let file = open(dir, path, OpenOptions::new().read(true), Expect::File, wait)?.handle;
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

/// Lists a directory of at most `limit` names.
pub(crate) fn list(dir: &Handle, limit: usize) -> Result<Vec<DirEntry>, Fault> {
    // A handle of its own: the position in a directory belongs to the open object, which clones share.
    let here = Beneath::parse(".".as_ref()).map_err(|_| Fault::Bug)?;
    let dir = open_beneath(dir, here, OFlags::RDONLY | OFlags::DIRECTORY, Wait::Allowed)?;
    let mut buffer = Vec::with_capacity(LIST_BUFFER_BYTES);
    let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
    let mut list = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if list.len() == limit {
            return Err(Fault::TooLarge);
        }
        let kind = match entry.file_type() {
            FileType::Unknown => fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileKind::Unknown, |stat| kind(FileType::from_raw_mode(stat.st_mode))),
            known => kind(known),
        };
        list.push(DirEntry { name: OsStr::from_bytes(name.to_bytes()).to_owned(), kind, inode: entry.ino() });
    }
    Ok(list)
}

/// Reads where a symbolic link points.
pub(crate) fn read_link(dir: &Handle, path: Beneath<'_>) -> Result<PathBuf, Fault> {
    in_parent(dir, path, |parent, leaf| {
        let target = fs::readlinkat(parent, leaf.name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    })
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
