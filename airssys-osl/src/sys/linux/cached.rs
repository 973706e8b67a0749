//! Reading what is cached into memory that nobody has written to yet, which `rustix` has no safe words for.
//!
//! To write zeros first takes as long as the read itself; docs/adr/0011-reads-without-zeros.md.

#![expect(unsafe_code, reason = "one system call; docs/adr/0011-reads-without-zeros.md")]

use std::os::fd::AsRawFd as _;

use rustix::io::{Errno, retry_on_intr};

use super::{Handle, read::cached};
use crate::os::Fault;

/// Appends up to `most` bytes of what is in the page cache at `offset`, where there is room in `bytes`. None are the
/// end of the file, or of the room.
///
/// A file system that cannot say what is cached refuses the question; the pool then does the reading.
pub(crate) fn append_cached(
    file: &Handle,
    bytes: &mut Vec<u8>,
    most: usize,
    offset: u64,
) -> Result<usize, Fault> {
    // `preadv2` takes the largest offset for the file's own position.
    let Ok(offset) = i64::try_from(offset) else { return Err(Errno::INVAL.into()) };
    let room = bytes.spare_capacity_mut();
    let part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len().min(most) };
    let read = retry_on_intr(|| {
        // SAFETY: the one part is memory of `bytes`, as long as it says at the most, which nobody else has.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, offset, libc::RWF_NOWAIT) };
        let failed = || Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        usize::try_from(read).map_err(|_| failed())
    });
    let read = cached(read)?;
    // SAFETY: the kernel has written so many bytes behind those that were there, and it says no more than there was
    // room for.
    unsafe { bytes.set_len(bytes.len() + read) };
    Ok(read)
}
