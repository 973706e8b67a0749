//! Files as streams of `wasi:io`.

use std::sync::Arc;

use airssys_osl::fs::File;
use bytes::Bytes;
use wasmtime::Result;

use super::{
    super::stream::{Drain, Source},
    Durability, Open,
};

/// Reads a file on from an offset.
pub(crate) struct FileSource {
    pub(crate) file: Arc<Open<File>>,
    pub(crate) offset: u64,
}

impl Source for FileSource {
    async fn read(mut self, max: usize) -> (Self, Result<Bytes>) {
        let mut buffer = vec![0; max];
        match self.file.read_at(&mut buffer, self.offset).await {
            Ok(count) => {
                buffer.truncate(count);
                self.offset += count as u64;
                (self, Ok(buffer.into()))
            }
            Err(error) => (self, Err(error.into())),
        }
    }
}

/// Writes a file on from an offset, or at its end.
pub(crate) struct FileDrain {
    pub(crate) file: Arc<Open<File>>,
    pub(crate) offset: Option<u64>,
    pub(crate) durability: Durability,
}

impl Drain for FileDrain {
    async fn write(mut self, bytes: Bytes) -> (Self, Result<()>) {
        let length = bytes.len() as u64;
        let written = match self.offset {
            Some(offset) => self.file.write_at(bytes, offset).await,
            None => self.file.append(bytes).await,
        };
        let written = match written {
            Ok(()) => self.durability.settle(&self.file).await,
            Err(error) => Err(error),
        };
        self.offset = self.offset.map(|offset| offset.saturating_add(length));
        (self, written.map_err(Into::into))
    }
}
