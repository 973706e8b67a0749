use std::ffi::OsString;

use crate::clock::Timestamp;

/// What is known about a file or a directory without opening its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes; of a symbolic link the length of its target.
    pub len: u64,
    /// The device that it is on. Together with `inode`, its identity.
    pub device: u64,
    /// Its number on the device.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// The permission bits.
    pub mode: u32,
    /// The user that owns it.
    pub user: u32,
    /// When it was last read, as far as the file system keeps that.
    pub accessed: Timestamp,
    /// When its content last changed.
    pub modified: Timestamp,
    /// When its content or its metadata last changed.
    pub changed: Timestamp,
}

/// What an object of the file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Something else, or something that vanished before it could be asked.
    Unknown,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name, without a directory part.
    pub name: OsString,
    /// What bears it.
    pub kind: FileKind,
    /// The number of what bears it.
    pub inode: u64,
}

/// What becomes of one time of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// It stays.
    Keep,
    /// It becomes the present, as the file system sees it.
    Now,
    /// It becomes this.
    To(Timestamp),
}
