//! `airssys:actor/files`: whole files, each call one operation on a directory that `wasi:filesystem` has handed out.

use airssys_osl::{ErrorKind, fs::Flush};
use wasmtime::component::Resource;

use super::{
    Host,
    bindings::{airssys::actor::files, wasi::filesystem::types::ErrorCode},
    filesystem::{Descriptor, FsError, FsResult},
};

impl files::Host for Host {
    /// What is cached is read in place, into the one buffer that Wasmtime copies from.
    async fn read(&mut self, directory: Resource<Descriptor>, path: String, limit: u64) -> FsResult<Vec<u8>> {
        let limit = limit.min(self.handed_bytes as u64);
        self.dir(&directory)?.read(&path, limit).await.map_err(refused)
    }

    async fn replace(
        &mut self,
        directory: Resource<Descriptor>,
        path: String,
        content: Vec<u8>,
        flush: bool,
    ) -> FsResult<()> {
        let flush = if flush { Flush::Now } else { Flush::Later };
        self.dir(&directory)?.replace(&path, content, flush).await.map_err(refused)
    }
}

/// Of a whole file there is one limit that it can pass: its length.
fn refused(error: airssys_osl::Error) -> FsError {
    match error.kind() {
        ErrorKind::LimitExceeded => ErrorCode::FileTooLarge.into(),
        _ => error.into(),
    }
}
