//! Values on their way: out of a guest, into an object; out of an object, into a guest.

use std::sync::{Arc, OnceLock};

use airssys_osl::fs::{File, TempFile};
use bytes::Bytes;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    super::{
        Host,
        bindings::wasi::blobstore::types,
        filesystem::Slot,
        stream::{Drain, Reading, Source, Writing},
    },
    Answer, Refusal, answer, hold,
};

/// The most bytes that a guest is handed at once: they are the host's memory until it has taken them.
const WHOLE_BYTES: u64 = 16 << 20;

/// A value that a guest writes.
#[derive(Default)]
pub struct Outgoing {
    /// Where its bytes are, from when the guest has asked for the stream on.
    draft: Option<Draft>,
    /// The object that it is to be.
    path: Option<String>,
    /// Why there is no stream, where the guest wanted one: what it meant to write is missing.
    refused: Option<Refusal>,
}

struct Draft {
    file: TempFile,
    /// Why not all of it was written.
    failed: Arc<OnceLock<Refusal>>,
    _slot: Slot,
}

/// A part of an object that a guest reads.
pub struct Incoming {
    file: File,
    offset: u64,
    len: u64,
    _slot: Slot,
}

impl Outgoing {
    /// Says which object it is to be.
    pub(super) fn becomes(&mut self, path: String) -> std::result::Result<(), Refusal> {
        if self.path.is_some() {
            return Err("the value is to be an object already".into());
        }
        self.path = Some(path);
        Ok(())
    }
}

impl Incoming {
    pub(super) fn new(file: File, slot: Slot, offset: u64, len: u64) -> Self {
        Self { file, offset, len, _slot: slot }
    }

    async fn whole(self) -> std::result::Result<Vec<u8>, Refusal> {
        if self.len > WHOLE_BYTES {
            return Err(Refusal(format!(
                "{} bytes at once, the limit is {WHOLE_BYTES}: read it as a stream, or in parts",
                self.len
            )));
        }
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or_default()];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.offset + read as u64).await? {
                0 => break,
                count => read += count,
            }
        }
        // Somebody who may write the file itself has cut it meanwhile.
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// Reads on in a part of an object.
struct PartSource(Incoming);

impl Source for PartSource {
    async fn read(mut self, max: usize) -> (Self, Result<Bytes>) {
        let Self(part) = &mut self;
        let wanted = usize::try_from(part.len).unwrap_or(usize::MAX).min(max);
        if wanted == 0 {
            return (self, Ok(Bytes::new()));
        }
        let mut buffer = vec![0; wanted];
        match part.file.read_at(&mut buffer, part.offset).await {
            Ok(count) => {
                buffer.truncate(count);
                part.offset += count as u64;
                part.len -= count as u64;
                (self, Ok(buffer.into()))
            }
            Err(error) => (self, Err(wasmtime::Error::msg(Refusal::from(error).0))),
        }
    }
}

/// Writes on in a value.
struct DraftDrain {
    file: File,
    offset: u64,
    failed: Arc<OnceLock<Refusal>>,
}

impl Drain for DraftDrain {
    async fn write(mut self, bytes: Bytes) -> (Self, Result<()>) {
        let length = bytes.len() as u64;
        match self.file.write_at(bytes, self.offset).await {
            Ok(()) => {
                self.offset += length;
                (self, Ok(()))
            }
            Err(error) => {
                let text = wasmtime::Error::msg(Refusal::from(error).0);
                // The first is what the others come of.
                let _ = self.failed.set(Refusal(text.to_string()));
                (self, Err(text))
            }
        }
    }
}

impl Host {
    async fn draft(&mut self) -> std::result::Result<Draft, Refusal> {
        let slot = self.blob_slot()?;
        Ok(Draft { file: self.blobs()?.temp_file().await?, failed: Arc::default(), _slot: slot })
    }

    async fn finish_value(&mut self, value: Outgoing) -> std::result::Result<(), Refusal> {
        let path = value.path.ok_or_else(|| Refusal::from("the value was given to no `write-data`"))?;
        if let Some(Refusal(why)) = value.refused {
            return Err(Refusal(format!("the value was not written: {why}")));
        }
        // Nobody asked for a stream: it has no bytes.
        let draft = match value.draft {
            Some(draft) => draft,
            None => self.draft().await?,
        };
        match draft.failed.get() {
            Some(Refusal(why)) => Err(Refusal(format!("not all of the value was written: {why}"))),
            None => Ok(draft.file.replace(path).await?),
        }
    }
}

impl types::Host for Host {}

impl types::HostOutgoingValue for Host {
    fn new_outgoing_value(&mut self) -> Result<Resource<Outgoing>> {
        Ok(self.table.push(Outgoing::default())?)
    }

    /// The draft has no word for why there is no stream: the second time, or because no file can be made for it.
    /// [`finish`](Self::finish) tells why, unless the guest has tried again and got one.
    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<Outgoing>,
    ) -> Result<std::result::Result<Resource<DynOutputStream>, ()>> {
        if self.table.get(&value)?.draft.is_some() {
            return Ok(Err(()));
        }
        let draft = match self.draft().await {
            Ok(draft) => draft,
            Err(refusal) => {
                self.table.get_mut(&value)?.refused = Some(refusal);
                return Ok(Err(()));
            }
        };
        let drain = DraftDrain { file: File::clone(&draft.file), offset: 0, failed: draft.failed.clone() };
        let outgoing = self.table.get_mut(&value)?;
        (outgoing.draft, outgoing.refused) = (Some(draft), None);
        let stream: DynOutputStream = Box::new(Writing::new(drain));
        Ok(Ok(self.table.push_child(stream, &value)?))
    }

    /// Traps where the stream is still there, as the draft wants it.
    async fn finish(&mut self, value: Resource<Outgoing>) -> Answer<()> {
        let value = self.table.delete(value)?;
        answer(self.finish_value(value).await)
    }

    fn drop(&mut self, value: Resource<Outgoing>) -> Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl types::HostIncomingValue for Host {
    async fn incoming_value_consume_sync(&mut self, value: Resource<Incoming>) -> Answer<Vec<u8>> {
        let value = self.table.delete(value)?;
        answer(value.whole().await)
    }

    fn incoming_value_consume_async(
        &mut self,
        value: Resource<Incoming>,
    ) -> Answer<Resource<DynInputStream>> {
        let value = self.table.delete(value)?;
        let stream: DynInputStream = Box::new(Reading::new(PartSource(value)));
        answer(hold(&mut self.table, stream))
    }

    fn size(&mut self, value: Resource<Incoming>) -> Result<u64> {
        Ok(self.table.get(&value)?.len)
    }

    fn drop(&mut self, value: Resource<Incoming>) -> Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}
