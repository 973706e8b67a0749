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
    sys::{Expect, Opened, Stop, Wait},
};

/// How much is copied between two looks at whether anybody still waits for it.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// The buffer of a copy that the kernel cannot do.
const BUFFER_BYTES: usize = 128 * 1024;

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
                return copy_by_hand(from, to, done, len, stop);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

fn copy_by_hand(from: &Handle, to: &Handle, start: u64, len: u64, stop: &Stop) -> Result<u64, Fault> {
    let mut done = start;
    while done < len {
        stop.check()?;
        let step = usize::try_from(len - done).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let bytes = read_at(from, step, done)?;
        if bytes.is_empty() {
            break;
        }
        write_at(to, &bytes, done)?;
        done += bytes.len() as u64;
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
