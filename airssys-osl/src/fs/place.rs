//! What handles hold: the kernel's object, the principal's slot for it, and where its bytes count.

use std::sync::Arc;

use super::Room;
use crate::{
    os::{Fault, Slot},
    policy::FsGrant,
    sys::{self, Identity},
};

/// An open directory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: sys::Directory,
    pub(super) room: Arc<Room>,
    _slot: Slot,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) handle: sys::Handle,
    pub(super) room: Arc<Room>,
    /// Under which it counts as open.
    counted: Option<Identity>,
    _slot: Slot,
}

impl Place {
    pub(super) fn new(directory: sys::Directory, room: Arc<Room>, slot: Slot) -> Self {
        Self { directory, room, _slot: slot }
    }
}

impl Opened {
    /// Takes over a file beneath `room`, to be written where `writes`. As [`Room::open`], which says what `departed` is.
    pub(super) fn new(
        handle: sys::Handle,
        room: &Arc<Room>,
        slot: Slot,
        writes: bool,
        departed: Option<u64>,
    ) -> Result<Self, Fault> {
        let mut counted = None;
        if room.tracks(writes) {
            let identity = sys::size(&handle)?.identity;
            room.open(identity, departed)?;
            counted = Some(identity);
        }
        Ok(Self { handle, room: Arc::clone(room), counted, _slot: slot })
    }

    /// Counts that it got a name.
    pub(super) fn named(&self) {
        if let Some(identity) = self.counted {
            self.room.named(identity);
        }
    }

    /// Does work that may move the end of the file.
    pub(super) fn resize(
        &self,
        grant: &FsGrant,
        reach: impl FnOnce(u64) -> u64,
        work: impl FnOnce(&sys::Handle) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.room.resize(&grant.terms, &self.handle, reach, || work(&self.handle))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(identity) = self.counted {
            self.room.close(identity);
        }
    }
}
