//! What every platform does alike with its own calls: work that goes on part by part.

use super::Stop;
use crate::{fs::DirEntry, os::Fault};

/// The buffer of a copy that the kernel cannot do.
const BUFFER_BYTES: usize = 128 * 1024;

/// Copies from the byte `start` up to the byte `len`, or to the end where that comes first, by what reads up to so many
/// bytes at a place and what writes all of them there. Tells where it ended.
pub(super) fn copy_parts(
    start: u64,
    len: u64,
    stop: &Stop,
    read: impl Fn(usize, u64) -> Result<Vec<u8>, Fault>,
    write: impl Fn(&[u8], u64) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let mut done = start;
    while done < len {
        stop.check()?;
        let part = usize::try_from(len - done).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let bytes = read(part, done)?;
        if bytes.is_empty() {
            break;
        }
        write(&bytes, done)?;
        done += bytes.len() as u64;
    }
    Ok(done)
}

/// Gathers at most `limit` names from what hands them out in batches, an empty one at the end.
pub(super) fn list_parts(
    limit: usize,
    mut next_batch: impl FnMut() -> Result<Vec<DirEntry>, Fault>,
) -> Result<Vec<DirEntry>, Fault> {
    let mut list = Vec::new();
    loop {
        let mut batch = next_batch()?;
        if batch.is_empty() {
            return Ok(list);
        }
        if list.len() + batch.len() > limit {
            return Err(Fault::TooLarge);
        }
        list.append(&mut batch);
    }
}
