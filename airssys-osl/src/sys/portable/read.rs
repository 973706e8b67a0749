use std::{
    fs::{File, FileType, Metadata as StdMetadata},
    io,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Directory, Handle, fault, open};
use crate::{
    clock::Timestamp,
    fs::{FileKind, Metadata, OpenOptions},
    os::Fault,
    path::Beneath,
    sys::{Expect, Opened, Wait, Whole},
};

/// Something open that can be asked what it is.
pub(crate) trait Described {
    /// Its metadata.
    fn describe(&self) -> io::Result<Metadata>;
}

impl Described for File {
    fn describe(&self) -> io::Result<Metadata> {
        self.metadata().map(|metadata| from_std(&metadata))
    }
}

impl Described for Directory {
    fn describe(&self) -> io::Result<Metadata> {
        self.dir.try_clone()?.into_std_file().describe()
    }
}

/// Reads the metadata of an open object.
pub(crate) fn own_metadata(object: &impl Described) -> Result<Metadata, Fault> {
    object.describe().map_err(Fault::Os)
}

/// Reads the metadata of what `path` names: without opening it, so that it tells no owner and no identity.
pub(crate) fn metadata(
    dir: &Directory,
    path: Beneath<'_>,
    follow: bool,
    wait: Wait,
) -> Result<Metadata, Fault> {
    if wait == Wait::Never {
        return Err(Fault::WouldBlock);
    }
    let path = path.as_path();
    let found = if follow { dir.dir.metadata(path) } else { dir.dir.symlink_metadata(path) };
    let found = found.map_err(fault)?;
    let time = |time: io::Result<cap_std::time::SystemTime>| {
        time.map_or(Timestamp { seconds: 0, nanoseconds: 0 }, |time| timestamp(time.into_std()))
    };
    let kind = match found.file_type() {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_symlink() => FileKind::Symlink,
        _ => FileKind::Unknown,
    };
    let (accessed, modified) = (time(found.accessed()), time(found.modified()));
    Ok(Metadata { accessed, modified, changed: modified, ..nobody(kind, found.len()) })
}

/// Reads where a symbolic link points.
pub(crate) fn read_link(dir: &Directory, path: Beneath<'_>) -> Result<PathBuf, Fault> {
    dir.dir.read_link_contents(path.as_path()).map_err(fault)
}

/// Nothing here can say that it would have to wait.
pub(crate) fn append_cached(
    _file: &Handle,
    _bytes: &mut Vec<u8>,
    _most: usize,
    _offset: u64,
) -> Result<usize, Fault> {
    Err(Fault::WouldBlock)
}

/// As [`append_cached`].
pub(crate) fn read_cached(_file: &Handle, _buffer: &mut [u8], _offset: u64) -> Result<usize, Fault> {
    Err(Fault::WouldBlock)
}

/// Reads up to `len` bytes.
pub(crate) fn read_at(file: &Handle, len: usize, offset: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; len];
    let read = loop {
        match read_part(file, &mut bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read.map_err(Fault::Os)?,
        }
    };
    bytes.truncate(read);
    Ok(bytes)
}

/// Opens a whole file of at most `limit_bytes` bytes.
pub(crate) fn open_whole(
    dir: &Directory,
    path: Beneath<'_>,
    limit_bytes: u64,
    wait: Wait,
) -> Result<Whole<Handle>, Fault> {
    let opened = open(dir, path, OpenOptions::new().read(true), Expect::File, wait)?;
    let Opened::File(file) = opened else { return Err(Fault::Bug) };
    let len = check_len(&file, limit_bytes)?;
    Ok(Whole::Opened(file, len))
}

/// The memory for a file of `len` bytes, and one more to see its end.
pub(crate) fn buffer(len: usize) -> Result<Vec<u8>, Fault> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len.saturating_add(1)).map_err(|_| Fault::TooLarge)?;
    Ok(buffer)
}

/// Reads a whole open file of at most `limit_bytes` bytes.
pub(crate) fn read_open(file: &Handle, limit_bytes: u64) -> Result<Vec<u8>, Fault> {
    read_whole(file, buffer(check_len(file, limit_bytes)?)?, limit_bytes)
}

/// Reads a whole open file into `bytes`, which is empty and should have room for it.
pub(crate) fn read_whole(file: &Handle, mut bytes: Vec<u8>, limit_bytes: u64) -> Result<Vec<u8>, Fault> {
    loop {
        let part = read_at(file, crate::limits::INLINE_READ_BYTES, bytes.len() as u64)?;
        if part.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&part);
        if bytes.len() as u64 > limit_bytes {
            return Err(Fault::TooLarge);
        }
    }
}

pub(super) fn kind(file_type: FileType) -> FileKind {
    if file_type.is_file() {
        FileKind::File
    } else if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Unknown
    }
}

fn check_len(file: &Handle, limit_bytes: u64) -> Result<usize, Fault> {
    let len = file.metadata().map_err(Fault::Os)?.len();
    if len > limit_bytes { Err(Fault::TooLarge) } else { usize::try_from(len).map_err(|_| Fault::TooLarge) }
}

fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            let nanoseconds = (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000;
            Timestamp { seconds: -(before.as_secs() as i64) - i64::from(nanoseconds > 0), nanoseconds }
        }
    }
}

fn nobody(kind: FileKind, len: u64) -> Metadata {
    let never = Timestamp { seconds: 0, nanoseconds: 0 };
    let (accessed, modified, changed) = (never, never, never);
    Metadata { kind, len, device: 0, inode: 0, links: 1, mode: 0, user: 0, accessed, modified, changed }
}

#[cfg(unix)]
fn from_std(metadata: &StdMetadata) -> Metadata {
    use std::os::unix::fs::MetadataExt as _;
    let time = |seconds, nanoseconds: i64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
    Metadata {
        kind: kind(metadata.file_type()),
        len: metadata.len(),
        device: metadata.dev(),
        inode: metadata.ino(),
        links: metadata.nlink(),
        mode: metadata.mode() & 0o7777,
        user: metadata.uid(),
        accessed: time(metadata.atime(), metadata.atime_nsec()),
        modified: time(metadata.mtime(), metadata.mtime_nsec()),
        changed: time(metadata.ctime(), metadata.ctime_nsec()),
    }
}

#[cfg(not(unix))]
fn from_std(metadata: &StdMetadata) -> Metadata {
    let time =
        |time: io::Result<SystemTime>| time.map_or(Timestamp { seconds: 0, nanoseconds: 0 }, timestamp);
    let (accessed, modified) = (time(metadata.accessed()), time(metadata.modified()));
    let kind = kind(metadata.file_type());
    Metadata { accessed, modified, changed: modified, ..nobody(kind, metadata.len()) }
}

#[cfg(unix)]
fn read_part(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_part(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
