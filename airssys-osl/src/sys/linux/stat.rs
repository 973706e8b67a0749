use rustix::{
    fd::AsFd,
    fs::{self, FileType, OFlags, Stat},
};

use super::{Directory, open::open_beneath};
use crate::{
    clock::Timestamp,
    fs::{FileKind, Metadata},
    os::Fault,
    path::Beneath,
    sys::Wait,
};

/// Reads the metadata of what `path` names, of whatever kind.
pub(crate) fn metadata(
    dir: &Directory,
    path: Beneath<'_>,
    follow: bool,
    wait: Wait,
) -> Result<Metadata, Fault> {
    let mut flags = OFlags::PATH;
    flags.set(OFlags::NOFOLLOW, !follow);
    own_metadata(&open_beneath(dir, path, flags, wait)?)
}

/// Reads the metadata of an open object.
pub(crate) fn own_metadata(handle: impl AsFd) -> Result<Metadata, Fault> {
    Ok(from_stat(&fs::fstat(handle)?))
}

pub(super) fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => FileKind::Unknown,
    }
}

/// The fields of `struct stat` have other widths on other processors; all fit in ours.
#[allow(clippy::unnecessary_cast, reason = "it is necessary on other processors")]
fn from_stat(stat: &Stat) -> Metadata {
    let time = |seconds: i64, nanoseconds: u64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
    Metadata {
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
        len: stat.st_size as u64,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        links: stat.st_nlink as u64,
        mode: stat.st_mode & 0o7777,
        user: stat.st_uid,
        accessed: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
        modified: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        changed: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
    }
}
