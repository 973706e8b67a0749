//! What a writer writes to: the folder of a log, or a stand-in that fails.

use std::io;

use super::{note::Signer, retention::Kept, store::Store};
use crate::sys::log_file;

/// What a log is written to.
pub(super) trait Medium: Send + 'static {
    /// Makes a segment, empty, and writes to it from here on.
    fn open_segment(&mut self, segment: u64) -> io::Result<()>;
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn write_head(&mut self, note: &str, durable: bool) -> io::Result<()>;
    fn write_secrets(&mut self, signers: &[&Signer]) -> io::Result<()>;
    /// Puts a hand-over at the end of the list of keys, and returns where that is then.
    fn append_key(&mut self, end: u64, note: &str) -> io::Result<u64>;
    /// The segments that there are, from the oldest on.
    fn segments(&mut self) -> io::Result<Vec<Kept>>;
    /// The segment that the slowest of the exporters reads which are waited for.
    fn exported(&mut self) -> io::Result<Option<u64>>;
    /// Sets so many bytes aside, or frees what was.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;
    /// Removes the segments before this one.
    fn remove_before(&mut self, segment: u64) -> io::Result<()>;
}

/// The folder of a log. Locked as long as this exists.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) store: Store,
    pub(super) segment: log_file::Segment,
    pub(super) _lock: log_file::Lock,
}

impl Medium for Folder {
    fn open_segment(&mut self, segment: u64) -> io::Result<()> {
        self.segment = self.store.segment(segment)?;
        self.segment.truncate(0)?;
        self.store.sync()
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.segment.write_at(offset, bytes)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.segment.truncate(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment.sync()
    }

    fn write_head(&mut self, note: &str, durable: bool) -> io::Result<()> {
        self.store.write_head(note, durable)
    }

    fn write_secrets(&mut self, signers: &[&Signer]) -> io::Result<()> {
        self.store.write_secrets(signers)
    }

    fn append_key(&mut self, end: u64, note: &str) -> io::Result<u64> {
        self.store.append_key(end, note)
    }

    fn segments(&mut self) -> io::Result<Vec<Kept>> {
        let segments = self.store.segments()?;
        let kept = segments.iter().enumerate().map(|(index, segment)| {
            let end_ns = segments.get(index + 1).map_or(Ok(None), |next| self.store.begin_ns(*next))?;
            Ok(Kept { segment: *segment, bytes: self.store.segment_bytes(*segment)?, end_ns })
        });
        kept.collect()
    }

    fn exported(&mut self) -> io::Result<Option<u64>> {
        self.store.exported()
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.store.reserve(bytes)
    }

    fn remove_before(&mut self, segment: u64) -> io::Result<()> {
        let old = self.store.segments()?.into_iter().filter(|old| *old < segment);
        old.into_iter().try_for_each(|old| self.store.remove_segment(old))
    }
}
