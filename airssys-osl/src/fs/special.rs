//! What is neither a regular file nor a directory, where that is asked for: FIFOs and character devices.

use std::{fmt, path::Path, sync::Arc};

use tokio::io::{Interest, unix::AsyncFd};

use super::{Dir, OpenOptions, access::Access, verb, verb::Verb};
use crate::{
    Error,
    limits::{INLINE_READ_BYTES, POOL_READ_BYTES},
    os::{Done, Fault, Name, Slot, pool},
    policy::{Rights, rule},
    sys,
};

/// An open FIFO or character device: bytes come and go in their order, and there are no places in it.
///
/// Clones are the same handle; it is closed with the last one.
#[derive(Clone)]
pub struct Special {
    held: Arc<Held>,
    access: Access,
    /// The full path under which it was opened, for records.
    name: Arc<[u8]>,
}

struct Held {
    io: Io,
    _slot: Slot,
}

enum Io {
    /// The kernel says when bytes can come or go.
    Waits(AsyncFd<sys::Handle>),
    /// It does not: the blocking pool finds out.
    Asks(sys::Handle),
}

impl Dir {
    /// Opens a FIFO or a character device, which no other operation does. The grant of the directory has to permit it
    /// ([`FsTerms::special_files`](crate::policy::FsTerms::special_files)), and the rights that are needed follow from
    /// `options`, of which `read`, `write` and `follow` count. `/proc` must be mounted.
    ///
    /// It does not wait for another end: a FIFO that nobody reads is not opened for writing, and one that nobody writes
    /// to has nothing to be read.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, the path leaves this directory, or it names a socket or a
    ///   block device.
    /// * [`Invalid`](crate::ErrorKind::Invalid): a regular file or a directory, a malformed path, or other options.
    /// * [`NotFound`](crate::ErrorKind::NotFound), [`Io`](crate::ErrorKind::Io): the operating system refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes it; the record then says `cancelled`.
    pub async fn open_special(
        &self,
        path: impl AsRef<Path>,
        options: &OpenOptions,
    ) -> Result<Special, Error> {
        let (path, options) = (path.as_ref(), *options);
        let execute = async {
            if options.changes() || options.append || options.directory || !(options.read || options.write) {
                return Err(Fault::errno(sys::errno::INVALID));
            }
            if !self.access.grant().terms.special {
                return Err(Fault::Forbidden(rule::PLAIN_FILES));
            }
            let (name, slot) = (self.name_of(path)?, self.access.slot()?);
            let opened = self
                .on_pool(path, move |ground, path| sys::open_special(ground.directory(), path, options))
                .await?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            #[expect(
                deprecated,
                reason = "its successor is unsafe; an `OwnedFd` is all that is asked for there"
            )]
            let registered = AsyncFd::try_with_interest(opened, interest);
            let io = match registered {
                Ok(io) => Io::Waits(io),
                Err(refused) => Io::Asks(refused.into_parts().0),
            };
            let mut rights = Rights::empty();
            rights.set(Rights::READ, options.read);
            rights.set(Rights::WRITE, options.write);
            let held = Arc::new(Held { io, _slot: slot });
            Ok(Done::new(Special { held, access: self.access.narrowed(rights), name }))
        };
        self.access.run(Verb::open(options), self.named(path), execute).await
    }
}

impl Special {
    /// Waits until there are bytes, and reads some of them. 0 means that whoever wrote to it has closed it.
    ///
    /// One call moves at most [`INLINE_READ_BYTES`], and [`POOL_READ_BYTES`] where the system does not say when a device
    /// has bytes: that one is read on the blocking pool.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy says no, also by now, after it has waited; or it was not opened for
    ///   reading.
    /// * [`TimedOut`](crate::ErrorKind::TimedOut): nothing came until the deadline of the directory's handle.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost while it waits for the system to say that there are bytes. What the blocking pool reads goes on
    /// without its caller, and those bytes are lost. The record then says `cancelled`.
    pub async fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let execute = async {
            let read = match &self.held.io {
                Io::Waits(io) => loop {
                    let (buffer, _) = buffer.split_at_mut(buffer.len().min(INLINE_READ_BYTES));
                    let mut ready = io.readable().await.map_err(Fault::Os)?;
                    self.access.recheck(verb::READ)?;
                    if let Ok(read) = ready.try_io(|io| sys::read_special(io.get_ref(), buffer)) {
                        break read.map_err(Fault::Os)?;
                    }
                },
                Io::Asks(_) => {
                    let (held, len) = (Arc::clone(&self.held), buffer.len().min(POOL_READ_BYTES));
                    let bytes = pool(move || {
                        let mut bytes = vec![0; len];
                        let read = sys::read_special(held.handle(), &mut bytes).map_err(Fault::Os)?;
                        bytes.truncate(read);
                        Ok(bytes)
                    });
                    let bytes = bytes.await?;
                    buffer.get_mut(..bytes.len()).ok_or(Fault::Bug)?.copy_from_slice(&bytes);
                    bytes.len()
                }
            };
            Ok(Done::with_bytes(read, read))
        };
        self.access.run(verb::READ, self.named(), execute).await
    }

    /// Waits until some of `bytes` can go, writes them, and returns how many: at most as many as
    /// [`read`](Self::read) reads.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Nothing is written while it waits for the system to say that there is room. What the blocking pool writes goes
    /// on without its caller, and may arrive. The record then says `cancelled`.
    pub async fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        let execute = async {
            let written = match &self.held.io {
                Io::Waits(io) => loop {
                    let (bytes, _) = bytes.split_at(bytes.len().min(INLINE_READ_BYTES));
                    let mut ready = io.writable().await.map_err(Fault::Os)?;
                    self.access.recheck(verb::WRITE)?;
                    if let Ok(written) = ready.try_io(|io| sys::write_special(io.get_ref(), bytes)) {
                        break written.map_err(Fault::Os)?;
                    }
                },
                Io::Asks(_) => {
                    let (bytes, _) = bytes.split_at(bytes.len().min(POOL_READ_BYTES));
                    let (held, bytes) = (Arc::clone(&self.held), bytes.to_vec());
                    pool(move || sys::write_special(held.handle(), &bytes).map_err(Fault::Os)).await?
                }
            };
            Ok(Done::with_bytes(written, written))
        };
        self.access.run(verb::WRITE, self.named(), execute).await
    }

    fn named(&self) -> Name<'_> {
        Name::beneath(&self.name, b"")
    }
}

impl Held {
    fn handle(&self) -> &sys::Handle {
        match &self.io {
            Io::Waits(io) => io.get_ref(),
            Io::Asks(handle) => handle,
        }
    }
}

impl fmt::Debug for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("Special").field("name", &name).finish_non_exhaustive()
    }
}
