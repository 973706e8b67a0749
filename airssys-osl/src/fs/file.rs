use std::{fmt, sync::Arc};

use super::{Metadata, SetTime, access::Access, dir::own_metadata, verb};
use crate::{
    Error,
    limits::{INLINE_READ_BYTES, POOL_READ_BYTES},
    os::{Done, Fault, Name, pool},
    policy::Rights,
    sys,
};

/// An open regular file. It has no position: each read and write says where.
///
/// Clones are the same handle; the file is closed with the last one. See [the module](crate::fs) for what each
/// operation needs and records.
#[derive(Clone)]
pub struct File {
    handle: Arc<sys::Handle>,
    access: Access,
    /// The full path under which it was opened, for records.
    name: Arc<[u8]>,
    inline: bool,
}

impl File {
    pub(super) fn new(handle: Arc<sys::Handle>, access: Access, name: Arc<[u8]>, inline: bool) -> Self {
        Self { handle, access, name, inline }
    }

    /// What the handle may do at most: what it was opened for.
    pub fn rights(&self) -> Rights {
        self.access.rights()
    }

    /// Reads up to `buffer.len()` bytes at `offset`, and returns how many. 0 means the end of the file.
    ///
    /// It may return fewer than there are: at most [`POOL_READ_BYTES`], and what is in the page cache comes first.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, or it was not opened for reading.
    /// * [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): the read cannot be recorded.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused.
    ///
    /// After any of them the buffer holds zeros: what could not be recorded is not handed out.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost, for the file has no position; the record then says `cancelled`.
    pub async fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let execute = async {
            let read = self.read(buffer, offset).await?;
            Ok(Done::with_bytes(read, read))
        };
        let result = self.access.run(verb::READ, self.named(), execute).await;
        if result.is_err() {
            buffer.fill(0);
        }
        result
    }

    /// Writes all `bytes` at `offset`. Behind the end, zeros fill the gap.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, or it was not opened for writing.
    /// * [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): it cannot be recorded; nothing was written.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused. A first part may be written.
    ///
    /// # Cancel safety
    ///
    /// All, a part or nothing is written; the record then says `cancelled`.
    pub async fn write_at<B>(&self, bytes: B, offset: u64) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let len = bytes.as_ref().len();
        let execute = self.blocking(len, move |file| sys::write_at(file, bytes.as_ref(), offset));
        self.access.run(verb::WRITE, self.named(), execute).await
    }

    /// Writes all `bytes` at the end, wherever that is when they arrive there.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    ///
    /// # Cancel safety
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn append<B>(&self, bytes: B) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let len = bytes.as_ref().len();
        let execute = self.blocking(len, move |file| sys::append(file, bytes.as_ref()));
        self.access.run(verb::WRITE, self.named(), execute).await
    }

    /// Cuts the file, or extends it with zeros, to `len` bytes.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    ///
    /// # Cancel safety
    ///
    /// It may be done all the same; the record then says `cancelled`.
    pub async fn set_len(&self, len: u64) -> Result<(), Error> {
        let execute = self.blocking(0, move |file| sys::set_len(file, len));
        self.access.run(verb::SET_LEN, self.named(), execute).await
    }

    /// Waits until what was written is on the device: the content, and with `data_only` false also metadata that
    /// reading does not need.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the operating system refused. What was written may be lost.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn sync(&self, data_only: bool) -> Result<(), Error> {
        let execute = self.blocking(0, move |file| sys::sync(file, data_only));
        self.access.run(verb::SYNC, self.named(), execute).await
    }

    /// Reads the metadata.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): the handle does not hold any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        let execute = own_metadata(&self.handle, self.inline);
        self.access.run(verb::OWN_METADATA, self.named(), execute).await
    }

    /// Sets when the file was last read and last changed.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at), and [`Invalid`](crate::ErrorKind::Invalid) for a time whose nanoseconds are
    /// a second or more.
    ///
    /// # Cancel safety
    ///
    /// They may be set all the same; the record then says `cancelled`.
    pub async fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Error> {
        let execute = self.blocking(0, move |file| sys::set_own_times(file, accessed, modified));
        self.access.run(verb::SET_TIMES, self.named(), execute).await
    }

    async fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        if self.inline && buffer.len() <= INLINE_READ_BYTES {
            match sys::read_cached(&self.handle, buffer, offset) {
                Err(Fault::WouldBlock) => {}
                done => return done,
            }
        }
        let (handle, len) = (Arc::clone(&self.handle), buffer.len().min(POOL_READ_BYTES));
        let bytes = pool(move || sys::read_at(&handle, len, offset)).await?;
        let part = buffer.get_mut(..bytes.len()).ok_or(Fault::Bug)?;
        part.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Does work on the blocking pool through which `bytes` bytes go.
    async fn blocking(
        &self,
        bytes: usize,
        work: impl FnOnce(&sys::Handle) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Done<()>, Fault> {
        let handle = Arc::clone(&self.handle);
        pool(move || work(&handle)).await.map(|()| Done::with_bytes((), bytes))
    }

    fn named(&self) -> Name<'_> {
        Name::beneath(&self.name, b"")
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("File").field("name", &name).field("rights", &self.rights()).finish_non_exhaustive()
    }
}
