//! The standard streams, read and written as WASI 0.1 does: at once, and until something happens.

use wasmtime::component::Resource;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, StreamError};

use super::{errno::Fault, memory::Guest};
use crate::host::stream::CHUNK_BYTES;

/// Reads what there is into the first buffer, and waits where there is nothing.
pub(super) async fn read(
    guest: &mut Guest<'_>,
    stream: Resource<DynInputStream>,
    buffers: &[(u32, u32)],
) -> Result<u32, Fault> {
    let Some((at, len)) = buffers.first() else { return Ok(0) };
    let wanted = (*len as usize).min(CHUNK_BYTES);
    match guest.host().table.get_mut(&stream)?.blocking_read(wanted).await {
        Ok(bytes) => {
            guest.write(*at, &bytes)?;
            Ok(bytes.len() as u32)
        }
        Err(StreamError::Closed) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Writes all bytes, and waits until they are written.
pub(super) async fn write(
    guest: &mut Guest<'_>,
    stream: Resource<DynOutputStream>,
    bytes: bytes::Bytes,
) -> Result<u32, Fault> {
    let mut rest = bytes.clone();
    let stream = guest.host().table.get_mut(&stream)?;
    while !rest.is_empty() {
        let permit = stream.write_ready().await?;
        stream.write(rest.split_to(rest.len().min(permit)))?;
    }
    stream.flush()?;
    stream.write_ready().await?;
    Ok(bytes.len() as u32)
}
