#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
use std::path::Path;
use std::{fmt, sync::Arc, time::Duration};

use super::{Metadata, SetTime, access::Access, change::check_mode, place::Opened, stream::Cursor, verb};
use crate::{
    Error, ErrorKind,
    limits::{INLINE_READ_BYTES, POOL_READ_BYTES},
    os::{Done, Fault, Name, pool},
    policy::Rights,
    sys::{self, Filesystem},
};
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
use crate::{Principal, policy::rule};

/// An open regular file.
///
/// Each read and write says where ([`read_at`](Self::read_at), [`write_at`](Self::write_at)); beside that it has a
/// position of its own, for [`AsyncRead`](tokio::io::AsyncRead), [`AsyncWrite`](tokio::io::AsyncWrite) and
/// [`AsyncSeek`](tokio::io::AsyncSeek).
///
/// Clones are the same handle, each with a position that begins at 0; the file is closed with the last one. See [the module](crate::fs) for what each
/// operation needs and records.
pub struct File {
    pub(super) opened: Arc<Opened>,
    pub(super) access: Access,
    /// The full path under which it was opened, for records.
    name: Arc<[u8]>,
    filesystem: Filesystem,
    /// Whatever is written goes to the end.
    pub(super) append: bool,
    pub(super) cursor: Cursor,
}

impl File {
    pub(super) fn new(
        opened: Arc<Opened>,
        access: Access,
        name: Arc<[u8]>,
        filesystem: Filesystem,
        append: bool,
    ) -> Self {
        Self { opened, access, name, filesystem, append, cursor: Cursor::default() }
    }

    /// What the handle may do at most: what it was opened for.
    pub fn rights(&self) -> Rights {
        self.access.rights()
    }

    /// Makes a handle to the same file whose operations fail as [`TimedOut`](crate::ErrorKind::TimedOut) after
    /// `deadline`. Needs a runtime with time.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { access: self.access.with_deadline(deadline), ..self.clone() }
    }

    /// Whether it is on a file system of this machine: no other machine can change it, and when it was last changed in any way
    /// ([`Metadata::changed`]) is set by this machine's kernel alone.
    ///
    /// False also where that cannot be told: for whatever is not ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, JFS or tmpfs, for what is
    /// on an overlay, as most files in containers are, and on other systems than Linux.
    pub fn is_local(&self) -> bool {
        self.filesystem.local
    }

    /// Hands out the open file to code of this program that maps it into memory or passes it on, instead of reading it here.
    ///
    /// What is done with the descriptor is neither decided nor recorded, and goes on after a later policy or the end of the
    /// principal. So it is recorded as what it amounts to: a read of all that the file has now.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, or it was not opened for reading.
    /// * [`Invalid`](crate::ErrorKind::Invalid): it was opened for writing too, which no record could follow.
    /// * [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): it cannot be recorded.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    #[cfg(target_os = "linux")]
    pub async fn descriptor(&self) -> Result<OwnedFd, Error> {
        let execute = async {
            if self.rights().contains(Rights::WRITE) {
                return Err(Fault::errno(sys::errno::INVALID));
            }
            let len = self.own_metadata().await?.len;
            let descriptor = sys::lend(&self.opened.handle)?;
            Ok(Done::with_bytes(descriptor, usize::try_from(len).unwrap_or(usize::MAX)))
        };
        self.access.run(verb::READ, self.named(), execute).await
    }

    /// Lends the open file to a program of `principal`, which may do `needs` with it from here on: by the kernel's word, not
    /// by ours. With `root`, only where it was opened beneath that directory.
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    pub(crate) fn lend(
        &self,
        principal: &Principal,
        root: Option<&Path>,
        needs: Rights,
    ) -> Result<sys::Descriptor, Fault> {
        let grant = self.access.granted();
        if !self.access.principal().is(principal) {
            return Err(Fault::Forbidden(rule::FOREIGN_HANDLE));
        }
        if root.is_some_and(|root| *root != *grant.root) {
            return Err(Fault::Forbidden(rule::OTHER_ARGUMENTS));
        }
        let verbs = [(Rights::READ, verb::READ), (Rights::WRITE, verb::WRITE)];
        for (_, verb) in verbs.into_iter().filter(|(right, _)| needs.contains(*right)) {
            self.access.check(verb, self.named()).map_err(|_| Fault::Forbidden(rule::NARROWED_HANDLE))?;
        }
        let terms = &grant.terms;
        let counted = terms.has_quota() || terms.max_file_bytes.is_some();
        if needs.contains(Rights::WRITE) && (counted || self.append) {
            return Err(Fault::Forbidden(rule::COUNTED_FILE));
        }
        sys::lend(&self.opened.handle)
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
        let now = || self.read_now(buffer, offset).map(|read| Done::with_bytes(read, read));
        let result = match self.access.run_now(verb::READ, self.named(), now) {
            Some(result) => result,
            // What is needed to wait is large: whoever does not wait should not carry it about.
            None => Box::pin(self.read_later(buffer, offset)).await,
        };
        if result.is_err() {
            buffer.fill(0);
        }
        result
    }

    /// Reads the whole file, which has at most `limit_bytes` bytes.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at), and [`LimitExceeded`](crate::ErrorKind::LimitExceeded): it is longer. Nothing is
    /// cut.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost, for the position of the file stays; the record then says `cancelled`.
    pub async fn read_to_limit(&self, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        let execute = async {
            let opened = Arc::clone(&self.opened);
            let bytes = pool(move || sys::read_open(&opened.handle, limit_bytes)).await?;
            let len = bytes.len();
            Ok(Done::with_bytes(bytes, len))
        };
        self.access.run(verb::READ, self.named(), execute).await
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
        let reach = move |end: u64| end.max(offset.saturating_add(len as u64));
        let execute = self.sizing(len, reach, move |file| sys::write_at(file, bytes.as_ref(), offset));
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
        let reach = move |end: u64| end.saturating_add(len as u64);
        let execute = self.sizing(len, reach, move |file| sys::append(file, bytes.as_ref()));
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
        let execute = self.sizing(0, move |_| len, move |file| sys::set_len(file, len));
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
        let execute = async { self.own_metadata().await.map(Done::new) };
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

    /// Sets the permission bits, as [`Dir::set_permissions`](super::Dir::set_permissions) does.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at), and [`Invalid`](crate::ErrorKind::Invalid) for other bits than `0o777`.
    ///
    /// # Cancel safety
    ///
    /// They may be set all the same; the record then says `cancelled`.
    pub async fn set_permissions(&self, mode: u32) -> Result<(), Error> {
        let execute = self.blocking(0, move |file| {
            check_mode(mode)?;
            sys::set_own_permissions(file, mode)
        });
        self.access.run(verb::SET_PERMISSIONS, self.named(), execute).await
    }

    /// The metadata, by the blocking pool where a server may have to be asked.
    async fn own_metadata(&self) -> Result<Metadata, Fault> {
        if self.filesystem.inline {
            return sys::own_metadata(&self.opened.handle);
        }
        let opened = Arc::clone(&self.opened);
        pool(move || sys::own_metadata(&opened.handle)).await
    }

    async fn read_later(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let bytes = self.read_some(buffer.len().min(POOL_READ_BYTES), offset).await?;
        let part =
            buffer.get_mut(..bytes.len()).ok_or_else(|| Error::new(ErrorKind::Bug, "read too much"))?;
        part.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Reads up to `len` bytes on the blocking pool.
    pub(super) async fn read_some(&self, len: usize, offset: u64) -> Result<Vec<u8>, Error> {
        let execute = async {
            let opened = Arc::clone(&self.opened);
            let bytes = pool(move || sys::read_at(&opened.handle, len, offset)).await?;
            let len = bytes.len();
            Ok(Done::with_bytes(bytes, len))
        };
        self.access.run(verb::READ, self.named(), execute).await
    }

    /// Reads on the caller's thread, where that need not wait.
    pub(super) fn read_now(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        if self.filesystem.inline && buffer.len() <= INLINE_READ_BYTES {
            sys::read_cached(&self.opened.handle, buffer, offset)
        } else {
            Err(Fault::WouldBlock)
        }
    }

    /// Does work on the blocking pool through which `bytes` bytes go.
    async fn blocking(
        &self,
        bytes: usize,
        work: impl FnOnce(&sys::Handle) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Done<()>, Fault> {
        let opened = Arc::clone(&self.opened);
        pool(move || work(&opened.handle)).await.map(|()| Done::with_bytes((), bytes))
    }

    /// As [`blocking`](Self::blocking), for work that moves the end of the file to `reach` of where it is.
    async fn sizing(
        &self,
        bytes: usize,
        reach: impl FnOnce(u64) -> u64 + Send + 'static,
        work: impl FnOnce(&sys::Handle) -> Result<(), Fault> + Send + 'static,
    ) -> Result<Done<()>, Fault> {
        let (opened, grant) = (Arc::clone(&self.opened), self.access.grant());
        pool(move || opened.resize(&grant, reach, work)).await.map(|()| Done::with_bytes((), bytes))
    }

    pub(super) fn named(&self) -> Name<'_> {
        Name::beneath(&self.name, b"")
    }
}

impl Clone for File {
    fn clone(&self) -> Self {
        Self {
            opened: Arc::clone(&self.opened),
            access: self.access.clone(),
            name: Arc::clone(&self.name),
            filesystem: self.filesystem,
            append: self.append,
            cursor: Cursor::default(),
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("File").field("name", &name).field("rights", &self.rights()).finish_non_exhaustive()
    }
}
