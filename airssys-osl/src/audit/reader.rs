//! Reads the records of a log, also while it is written.

use std::path::Path;

use super::{
    Record,
    frame::Frame,
    record::Body,
    scan::{Piece, Scan},
    store::Store,
};
use crate::{Action, Error, Verdict};

/// The records of a log, one after the other.
///
/// The iterator ends where the log ends. To follow a log that is being written, call [`next`](Iterator::next) again
/// later: it goes on with what was appended.
///
/// It reads what is there; whether that is what was written is found by [`verify`](super::verify).
#[derive(Debug)]
pub struct Reader {
    store: Store,
    scan: Scan,
    failed: bool,
}

impl Reader {
    /// Opens the log in the folder `dir`, at its first record.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound): there is no log.
    /// * [`Io`](crate::ErrorKind::Io): the system refused.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_at(dir, 0)
    }

    /// Opens the log in the folder `dir` at a place that [`offset`](Self::offset) of an earlier reader returned.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_at(dir: &Path, offset: u64) -> Result<Self, Error> {
        let store = Store::to_read(dir);
        let scan = store.scan(offset)?.ok_or_else(|| store.io(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self { store, scan, failed: false })
    }

    /// The place after the last record that was read.
    pub fn offset(&self) -> u64 {
        self.scan.offset()
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let Some(Piece { offset, frame, .. }) = self.scan.next().map_err(|error| self.store.io(error))?
            else {
                return Ok(None);
            };
            let body = match frame {
                Ok(Frame::Checkpoint(_)) => continue,
                Ok(Frame::Record(body)) => Body::parse(body),
                Err(malformed) => Err(malformed),
            };
            return body.map(|body| Some(body.to_record())).map_err(|malformed| {
                self.store.tampered(&format!("what should be a record at byte {offset} has {malformed}"))
            });
        }
    }
}

/// After an error it ends for good: what follows the bytes that are no record cannot be found.
impl Iterator for Reader {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = self.read();
        self.failed = record.is_err();
        record.transpose()
    }
}

/// Which records are wanted: those that match all that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Made at this time or later; nanoseconds since 1970.
    pub since_ns: Option<u64>,
    /// Made before this time; nanoseconds since 1970.
    pub until_ns: Option<u64>,
    /// Of this principal.
    pub principal: Option<String>,
    /// Of this action.
    pub action: Option<Action>,
    /// Of a resource that begins with these bytes.
    pub resource_prefix: Option<Vec<u8>>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// Of this trace.
    pub trace: Option<[u8; 16]>,
}

impl Query {
    /// Whether a record is wanted.
    pub fn matches(&self, record: &Record) -> bool {
        self.since_ns.is_none_or(|since_ns| record.wall_ns() >= since_ns)
            && self.until_ns.is_none_or(|until_ns| record.wall_ns() < until_ns)
            && self.principal.as_ref().is_none_or(|principal| record.principal() == principal)
            && self.action.is_none_or(|action| record.action() == Some(action))
            && self.resource_prefix.as_ref().is_none_or(|prefix| record.resource().starts_with(prefix))
            && self.verdict.is_none_or(|verdict| record.verdict() == verdict)
            && self.trace.is_none_or(|trace| record.trace() == trace)
    }
}
