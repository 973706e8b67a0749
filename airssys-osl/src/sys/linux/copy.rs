//! Content that goes from file to file without passing through this program, where the kernel can.

use rustix::{
    fs,
    io::{self, Errno, retry_on_intr},
};

use super::{Directory, Handle, change::write_at, open::open, read::read_at};
use crate::{
    fs::OpenOptions,
    os::Fault,
    path::Beneath,
    sys::{Expect, Opened, Stop, Wait, parts::copy_parts},
};

/// How much is copied between two looks at whether anybody still waits for it.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// Opens what is to be copied; tells how long it is.
pub(crate) fn open_source(dir: &Directory, path: Beneath<'_>) -> Result<(Handle, u64), Fault> {
    match open(dir, path, OpenOptions::new().read(true), Expect::File, Wait::Allowed)? {
        Opened::File(file) => {
            let len = fs::fstat(&file)?.st_size as u64;
            Ok((file, len))
        }
        Opened::Directory(_) => Err(Fault::Bug),
    }
}

/// Copies the first `len` bytes of one file to another, which is empty: by sharing its blocks, else in the kernel,
/// else through a buffer. Tells how many there were.
pub(crate) fn copy(from: &Handle, to: &Handle, len: u64, stop: &Stop) -> Result<u64, Fault> {
    // A clone is the whole file, which may have grown since it was measured.
    if len > 0 && fs::ioctl_ficlone(to, from).is_ok() {
        let now = fs::fstat(to)?.st_size as u64;
        if now > len {
            fs::ftruncate(to, len)?;
        }
        return Ok(now.min(len));
    }
    let mut done = 0;
    while done < len {
        stop.check()?;
        let step = usize::try_from(len - done).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        let (mut here, mut there) = (done, done);
        match retry_on_intr(|| fs::copy_file_range(from, Some(&mut here), to, Some(&mut there), step)) {
            Ok(0) => break,
            Ok(copied) => done += copied as u64,
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                let read = |part, at| read_at(from, part, at);
                return copy_parts(done, len, stop, read, |bytes, at| write_at(to, bytes, at));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Locks a whole open file, shared or alone, without waiting.
pub(crate) fn try_lock(file: &Handle, alone: bool) -> Result<(), Fault> {
    let operation = if alone {
        fs::FlockOperation::NonBlockingLockExclusive
    } else {
        fs::FlockOperation::NonBlockingLockShared
    };
    Ok(io::retry_on_intr(|| fs::flock(file, operation))?)
}

pub(crate) fn unlock(file: &Handle) -> Result<(), Fault> {
    Ok(fs::flock(file, fs::FlockOperation::Unlock)?)
}
