//! Follows a log from a place to its end and checks that all of it belongs together.

use std::io;

use super::{
    assembly::OpenLeaf,
    chain::{Chain, Fault, Place},
    checkpoint::{Checkpoint, Span},
    frame::Frame,
    keys::Keys,
    leaves::{Checker, Leaves, Wrong},
    scan::{Piece, Scan},
    store::Store,
};
use crate::Error;

/// What the frames up to a place in a log add up to.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) chain: Chain,
    pub(super) segments: u64,
    /// How many checkpoints were seen on the way.
    pub(super) checkpoints: u64,
    /// The last of them, and its note.
    pub(super) last: Option<(Checkpoint, Box<str>)>,
    /// How many bytes were read.
    pub(super) bytes: u64,
}

/// Where a log ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) passed: Passed,
    /// The end of the last whole frame.
    pub(super) place: Place,
    /// The records behind the last link.
    pub(super) open: OpenLeaf,
    /// The moments of the records in the last segment, those before the walk not included.
    pub(super) span: Option<Span>,
    /// How many bytes follow the last whole frame: one that was being written when its writer died.
    pub(super) torn_bytes: u64,
    /// How many hand-overs are in the list of keys and not in the log.
    lost_keys: usize,
}

impl End {
    /// Checks that the log is as long as its list of keys says.
    pub(super) fn check_keys(&self) -> Result<(), Stop> {
        match self.lost_keys {
            0 => Ok(()),
            _ => Err(Stop::Tampered(
                "its end was cut off: `keys` has keys that it does not know of".to_owned(),
            )),
        }
    }
}

/// Why a log cannot be followed to its end.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    Error(Error),
    /// It is not what it was when it was written. Completes "cannot … the audit log: …".
    Tampered(String),
    /// A segment is not there.
    Missing,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Self {
        Self::Tampered(wrong.into_text())
    }
}

/// A walk along a log.
pub(super) struct Walk<'w, 'scope> {
    store: &'w Store,
    /// The keys that are known. Hand-overs that are found on the way are added.
    keys: &'w mut Keys,
    /// How many hand-overs were passed.
    hand_overs: usize,
    checker: &'w mut Checker<'scope>,
    passed: Passed,
    leaves: Leaves,
    place: Place,
    span: Option<Span>,
    /// The place behind the last link or checkpoint, and what there was until then.
    linked: (Place, u64, Option<Span>),
}

impl<'w, 'scope> Walk<'w, 'scope> {
    /// Begins at a place, which has to be that of a checkpoint, after `hand_overs` hand-overs.
    pub(super) fn new(
        store: &'w Store,
        keys: &'w mut Keys,
        hand_overs: usize,
        checker: &'w mut Checker<'scope>,
        chain: Chain,
        place: Place,
    ) -> Self {
        let linked = (place, chain.records(), None);
        let passed = Passed { chain, segments: 1, checkpoints: 0, last: None, bytes: 0 };
        let leaves = Leaves::default();
        Self { store, keys, hand_overs, checker, passed, leaves, place, span: None, linked }
    }

    /// Checks all frames to the end of the log. Calls `seen` after each link and each checkpoint.
    pub(super) fn run(mut self, mut seen: impl FnMut(&Passed) -> Result<(), Stop>) -> Result<End, Stop> {
        let result = self.follow(&mut seen);
        // What was found wrong on the way comes after leaves that are still to be checked.
        self.checker.finish(&mut self.leaves)?;
        let torn_bytes = result?;
        let mut open = OpenLeaf::after(&self.passed.chain);
        let (bytes, records) = self.leaves.open();
        open.push(bytes);
        open.records = records;
        let lost_keys = self.keys.len().saturating_sub(self.hand_overs);
        Ok(End { passed: self.passed, place: self.place, open, span: self.span, torn_bytes, lost_keys })
    }

    /// Returns the torn bytes at the end.
    fn follow(&mut self, seen: &mut impl FnMut(&Passed) -> Result<(), Stop>) -> Result<u64, Stop> {
        let mut scan = self.open()?.ok_or(Stop::Missing)?;
        loop {
            if let Some(torn_bytes) = self.segment(&mut scan, seen)? {
                return Ok(torn_bytes);
            }
            let next = Place { segment: self.passed.chain.records(), offset: 0 };
            if next.segment == self.place.segment {
                return Ok(self.torn(&scan));
            }
            let here = std::mem::replace(&mut self.place, next);
            let Some(following) = self.open()? else {
                self.place = here;
                return Ok(self.torn(&scan));
            };
            // Its writer may have sealed the one before only after its end was seen.
            self.place = here;
            if let Some(torn_bytes) = self.segment(&mut scan, seen)? {
                return Ok(torn_bytes);
            }
            let sealed = self.passed.last.as_ref().is_some_and(|(last, _)| last.records == next.segment);
            if !sealed || self.passed.chain.records() != next.segment || !scan.unfinished().is_empty() {
                let how = format!("segment {} goes on though segment {} follows", here.segment, next.segment);
                return Err(Stop::Tampered(how));
            }
            (scan, self.place, self.span) = (following, next, None);
            self.linked = (next, next.segment, None);
            self.passed.segments += 1;
        }
    }

    fn open(&self) -> Result<Option<Scan>, Stop> {
        self.store.scan(self.place.segment, self.place.offset).map_err(Stop::Error)
    }

    /// Follows a segment. Returns the torn bytes at its end, where a machine that lost power left them.
    fn segment(
        &mut self,
        scan: &mut Scan,
        seen: &mut impl FnMut(&Passed) -> Result<(), Stop>,
    ) -> Result<Option<u64>, Stop> {
        while let Some(piece) = scan.next()? {
            let (offset, bytes) = (piece.offset, piece.bytes);
            self.place.offset = offset;
            if let Err((subject, fault)) = self.take(&piece) {
                let tail = scan.measure_tail(offset)?;
                // A machine that loses power may leave a file longer than what it had written to it: zeros to the end.
                // Their first is inside the faulty frame, so nothing else was there, or this is no such case.
                if tail.written_bytes < tail.bytes && tail.written_bytes < bytes as u64 {
                    return Ok(Some(tail.bytes + self.back_to_link()));
                }
                return Err(Stop::Tampered(format!("{subject} {fault}")));
            }
            let is_record = matches!(piece.frame, Ok(Frame::Record(_)));
            self.place.offset = offset + bytes as u64;
            self.passed.bytes += bytes as u64;
            if !is_record {
                self.linked = (self.place, self.passed.chain.records(), self.span);
                self.checker.offer(&mut self.leaves)?;
                seen(&self.passed)?;
            }
        }
        Ok(None)
    }

    /// The bytes after the last whole frame.
    fn torn(&mut self, scan: &Scan) -> u64 {
        let unfinished = scan.unfinished();
        let bytes = unfinished.len() as u64;
        let is_zeros = bytes > 0 && unfinished.iter().all(|byte| *byte == 0);
        if is_zeros { bytes + self.back_to_link() } else { bytes }
    }

    /// Goes back to the last link and returns by how many bytes: where there are zeros for some of what was written,
    /// there may be more of them, in records that look sound.
    fn back_to_link(&mut self) -> u64 {
        let (place, records, span) = self.linked;
        let bytes = self.place.offset - place.offset;
        self.leaves.forget_open();
        self.passed.chain.forget_records(records);
        (self.place, self.span) = (place, span);
        bytes
    }

    /// Goes on to the end of a frame, if it is the next one; else names it and its fault.
    fn take(&mut self, piece: &Piece<'_>) -> Result<(), (String, Fault)> {
        let (place, passed) = (self.place, &mut self.passed);
        match piece.frame {
            Ok(Frame::Record(body)) => {
                let number = passed.chain.records() + 1;
                let checked = match place.offset {
                    0 => Err(Fault::NoBeginning),
                    _ => passed.chain.check_record(body),
                };
                let leaves = &mut self.leaves;
                let record = checked.and_then(|record| leaves.push_record(piece.raw).map(|()| record));
                let record = record.map_err(|fault| (format!("record {number} at {place}"), fault))?;
                self.span = Some(Span::with(self.span, record.wall_ns()));
                Ok(())
            }
            Ok(Frame::Link(hash)) => {
                let (previous, record) = (*passed.chain.last(), passed.chain.records());
                self.leaves
                    .push_link(previous, *hash, record, place)
                    .map_err(|fault| (format!("the link at {place}"), fault))?;
                passed.chain.push_leaf(*hash);
                Ok(())
            }
            Ok(Frame::Checkpoint(note)) => {
                self.checkpoint(note).map_err(|fault| (format!("the checkpoint at {place}"), fault))
            }
            Err(malformed) => {
                let subject = format!("what follows record {} at {place}", passed.chain.records());
                Err((subject, Fault::Malformed(malformed)))
            }
        }
    }

    fn checkpoint(&mut self, note: &str) -> Result<(), Fault> {
        if self.leaves.open().1 > 0 {
            return Err(Fault::Unlinked);
        }
        let key = self.keys.key(self.hand_overs).unwrap_or(self.keys.last());
        let checkpoint = Checkpoint::open(note, key).map_err(Fault::Malformed)?;
        self.passed.chain.check_checkpoint(&checkpoint, self.place)?;
        if checkpoint.terms.next.is_some() {
            match self.keys.hand_over(self.hand_overs) {
                Some(known) if *known == checkpoint => {}
                Some(_) => return Err(Fault::Root),
                // The writer died, or is, between the log and the list of its keys.
                None => self.keys.push(note).map_err(Fault::Malformed)?,
            }
            self.hand_overs += 1;
        }
        self.passed.checkpoints += 1;
        self.passed.last = Some((checkpoint, note.into()));
        Ok(())
    }
}
