//! Changes in a directory, by inotify.

use std::{ffi::OsStr, mem::MaybeUninit, os::unix::ffi::OsStrExt as _};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Directory, change::proc_path};
use crate::{
    fs::{WatchEvent, WatchKind},
    os::Fault,
};

/// Room for some ten events with the longest names.
const BUFFER_BYTES: usize = 4096;

/// A directory that is being watched.
#[derive(Debug)]
pub(crate) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Starts to watch. The directory itself is watched, whatever its name becomes.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with input and output.
    pub(crate) fn start(dir: &Directory) -> Result<Self, Fault> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        match inotify::add_watch(&queue, proc_path(dir.as_fd()), events) {
            // The directory is open: what is not found is procfs.
            Err(Errno::NOENT) => return Err(Fault::Unsupported),
            added => added?,
        };
        #[expect(deprecated, reason = "its successor is unsafe; an `OwnedFd` is all that is asked for there")]
        let queue = AsyncFd::with_interest(queue, Interest::READABLE);
        Ok(Self(queue.map_err(Fault::Os)?))
    }

    /// Waits until there are events, and gives some to `each`.
    pub(crate) async fn next(&self, mut each: impl FnMut(WatchEvent)) -> Result<(), Fault> {
        loop {
            let mut ready = self.0.readable().await.map_err(Fault::Os)?;
            match self.drain(&mut each) {
                Err(Fault::WouldBlock) => ready.clear_ready(),
                result => return result,
            }
        }
    }

    /// Gives the events that are there to `each`; `WouldBlock` where there are none.
    pub(crate) fn drain(&self, each: &mut impl FnMut(WatchEvent)) -> Result<(), Fault> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(self.0.get_ref(), &mut buffer);
        let mut some = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    some = true;
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                    if let Some(kind) = kind(event.events()) {
                        each(WatchEvent { kind, name: name.unwrap_or_default() });
                    }
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) if some => return Ok(()),
                Err(Errno::AGAIN) => return Err(Fault::WouldBlock),
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

fn kind(events: ReadFlags) -> Option<WatchKind> {
    let any = |flags| events.intersects(flags);
    Some(if any(ReadFlags::QUEUE_OVERFLOW) {
        WatchKind::Overflow
    } else if any(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
        WatchKind::Gone
    } else if any(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        WatchKind::Appeared
    } else if any(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        WatchKind::Vanished
    } else if any(ReadFlags::MODIFY) {
        WatchKind::Changed
    } else if any(ReadFlags::ATTRIB) {
        WatchKind::Metadata
    } else {
        return None;
    })
}
