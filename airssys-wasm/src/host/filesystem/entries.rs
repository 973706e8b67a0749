//! Directory listings: some hundred names at a time, however large the directory is.

use airssys_osl::fs::{DirEntry, Entries};

use super::{FsResult, Slot, unicode};

/// A listing that a guest walks through. It holds a directory open, and counts as such.
pub struct Listing {
    entries: Entries,
    _slot: Slot,
}

impl Listing {
    pub(super) fn new(entries: Entries, slot: Slot) -> Self {
        Self { entries, _slot: slot }
    }

    /// The next name.
    pub(crate) async fn next(&mut self) -> FsResult<Option<(String, DirEntry)>> {
        let Some(entry) = self.entries.next().await.transpose()? else { return Ok(None) };
        Ok(Some((unicode(entry.name.clone())?, entry)))
    }
}
