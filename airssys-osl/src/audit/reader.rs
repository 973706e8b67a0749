//! Reads the records of a log, also while it is written.

use std::path::Path;

use super::{
    Record,
    chain::Place,
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
    /// The segment that `scan` reads.
    segment: u64,
    query: Query,
    /// Where the record begins that was read last.
    last: Place,
    failed: bool,
}

/// A place between two records of a log. It stays good when the log grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(super) Place);

impl Position {
    /// The segment: how many records precede it in the log.
    pub fn segment(&self) -> u64 {
        self.0.segment
    }

    /// The byte in the segment.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }
}

impl Reader {
    /// Opens the log in the folder `dir`, at the first record that it has.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound): there is no log.
    /// * [`Io`](crate::ErrorKind::Io): the system refused.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::query(dir, Query::default())
    }

    /// Opens the log in the folder `dir` for the records that match `query`. Segments that have none of the time that is
    /// asked for are not read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn query(dir: &Path, query: Query) -> Result<Self, Error> {
        let store = Store::to_read(dir);
        let segments = store.segments().map_err(|error| store.io(error))?;
        let first = segments.first().ok_or_else(|| store.io(std::io::ErrorKind::NotFound.into()))?;
        Self::start(store, Place { segment: *first, offset: 0 }, query)
    }

    /// Opens the log in the folder `dir` at a place that [`position`](Self::position) of an earlier reader returned. If
    /// retention removed that place since, at the first record that there is.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_at(dir: &Path, position: Position) -> Result<Self, Error> {
        let store = Store::to_read(dir);
        let segments = store.segments().map_err(|error| store.io(error))?;
        match segments.iter().find(|segment| **segment >= position.0.segment) {
            Some(segment) if *segment == position.0.segment => {
                Self::start(store, position.0, Query::default())
            }
            Some(segment) => Self::start(store, Place { segment: *segment, offset: 0 }, Query::default()),
            None => Err(store.io(std::io::ErrorKind::NotFound.into())),
        }
    }

    fn start(store: Store, place: Place, query: Query) -> Result<Self, Error> {
        let scan = store
            .scan(place.segment, place.offset)?
            .ok_or_else(|| store.io(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self { store, scan, segment: place.segment, query, last: place, failed: false })
    }

    /// The place after the last record that was read.
    pub fn position(&self) -> Position {
        Position(Place { segment: self.segment, offset: self.scan.offset() })
    }

    /// Where the record begins that was read last.
    pub(super) fn last_place(&self) -> Place {
        self.last
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        // One that has been read from stays where it is: it may be followed.
        if self.scan.offset() == 0 && self.is_out_of_time()? && !self.go_on()? {
            return Ok(None);
        }
        loop {
            if let Some(record) = self.read_segment()? {
                return Ok(Some(record));
            }
            if self.next_segment()?.is_none() {
                return Ok(None);
            }
            // What came after the end was seen and before the next segment was.
            if let Some(record) = self.read_segment()? {
                return Ok(Some(record));
            }
            if !self.go_on()? {
                return Ok(None);
            }
        }
    }

    fn read_segment(&mut self) -> Result<Option<Record>, Error> {
        while let Some(Piece { offset, frame, .. }) =
            self.scan.next().map_err(|error| self.store.io(error))?
        {
            let body = match frame {
                Ok(Frame::Checkpoint(_) | Frame::Link(_)) => continue,
                Ok(Frame::Record(body)) => Body::parse(body),
                Err(malformed) => Err(malformed),
            };
            match body {
                Ok(body) if body.matches(&self.query) => {
                    self.last = Place { segment: self.segment, offset };
                    return Ok(Some(body.to_record()));
                }
                Ok(_) => {}
                Err(malformed) => {
                    let place = Place { segment: self.segment, offset };
                    let how = format!("what should be a record at {place} has {malformed}");
                    return Err(self.store.tampered(&how));
                }
            }
        }
        Ok(None)
    }

    /// Goes on in the next segment that may have something, if there is one.
    fn go_on(&mut self) -> Result<bool, Error> {
        loop {
            let Some(next) = self.next_segment()? else { return Ok(false) };
            // Removed since: the one after it is there.
            let Some(scan) = self.store.scan(next, 0)? else { continue };
            (self.scan, self.segment) = (scan, next);
            if !self.is_out_of_time()? {
                return Ok(true);
            }
        }
    }

    fn next_segment(&self) -> Result<Option<u64>, Error> {
        let segments = self.store.segments().map_err(|error| self.store.io(error))?;
        Ok(segments.into_iter().find(|segment| *segment > self.segment))
    }

    /// Whether the next segment says that this one has nothing of the time that is asked for.
    fn is_out_of_time(&self) -> Result<bool, Error> {
        let Query { since_ns, until_ns, .. } = self.query;
        if since_ns.is_none() && until_ns.is_none() {
            return Ok(false);
        }
        let Some(next) = self.next_segment()? else { return Ok(false) };
        let begin = self.store.peek(next).map_err(|error| self.store.io(error))?;
        let Some(span) = begin.and_then(|begin| begin.terms.span) else { return Ok(false) };
        let out = since_ns.is_some_and(|since_ns| span.last_ns < since_ns)
            || until_ns.is_some_and(|until_ns| span.first_ns >= until_ns);
        Ok(out)
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
    /// Of a resource that begins with these bytes; also, of two where the second does: what was renamed, whom a connection
    /// went to.
    pub resource_prefix: Option<Vec<u8>>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// Of this trace.
    pub trace: Option<[u8; 16]>,
}

impl Query {
    /// Whether a record is wanted.
    pub fn matches(&self, record: &Record) -> bool {
        record.body().matches(self)
    }
}
