//! FIFOs and character devices, for who asks for them.

use std::io;

use rustix::{
    fs::{self, FileType, Mode, OFlags},
    io::{Errno, retry_on_intr},
};

use super::{
    Directory, Handle,
    change::proc_path,
    open::{ALWAYS, open_beneath},
};
use crate::{fs::OpenOptions, os::Fault, path::Beneath, policy::rule, sys::Wait};

/// Opens what `path` names beneath `dir`, where it is one: what it is, is looked at before it is opened.
pub(crate) fn open_special(
    dir: &Directory,
    path: Beneath<'_>,
    options: OpenOptions,
) -> Result<Handle, Fault> {
    let follow = if options.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let place = open_beneath(dir, path, OFlags::PATH | follow, Wait::Allowed)?;
    let stat = fs::fstat(&place)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::CharacterDevice => {}
        FileType::RegularFile | FileType::Directory => return Err(Errno::INVAL.into()),
        FileType::Symlink => return Err(Errno::LOOP.into()),
        _ => return Err(Fault::Forbidden(rule::PLAIN_FILES)),
    }
    dir.bounds().check_links(&stat, options.write)?;
    let access = match (options.read, options.write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    match retry_on_intr(|| fs::open(proc_path(&place), ALWAYS | access, Mode::empty())) {
        Err(Errno::NOENT) => Err(Fault::Unsupported),
        opened => Ok(opened?),
    }
}

/// Reads what is there; `WouldBlock` where that is nothing yet.
pub(crate) fn read_special(handle: &Handle, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::read(handle, &mut *buffer))?)
}

/// Writes what has room; `WouldBlock` where nothing has yet.
pub(crate) fn write_special(handle: &Handle, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::write(handle, bytes))?)
}
