//! Follows a log from a place to its end and checks that all of it belongs together.

use std::io;

use super::{
    chain::{Chain, Fault},
    checkpoint::Checkpoint,
    frame::Frame,
    note::Verifier,
    scan::{Piece, Scan},
};

/// What the frames up to a place in a log add up to.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) chain: Chain,
    /// How many checkpoints were seen on the way.
    pub(super) checkpoints: u64,
    /// The last of them, and its note.
    pub(super) last: Option<(Checkpoint, Box<str>)>,
}

/// Where a log ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) place: Place,
    /// The end of the last whole frame.
    pub(super) offset: u64,
    /// How many bytes follow it: a frame that was being written when its writer died.
    pub(super) torn_bytes: u64,
}

/// Why a log cannot be followed to its end.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    /// It is not what it was when it was written. Completes "cannot … the audit log: …".
    Tampered(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks all frames from the place of `scan` on, which follow on `chain`. Calls `seen` after each of them.
pub(super) fn walk(
    mut scan: Scan,
    chain: Chain,
    verifier: &Verifier,
    mut seen: impl FnMut(&Place) -> Result<(), Stop>,
) -> Result<End, Stop> {
    let mut place = Place { chain, checkpoints: 0, last: None };
    while let Some(piece) = scan.next()? {
        let (offset, bytes) = (piece.offset, piece.bytes);
        if let Err((subject, fault)) = place.take(&piece, verifier) {
            let tail = scan.measure_tail(offset)?;
            // A machine that loses power may leave a file longer than what it had written to it: zeros to the end.
            // Their first is inside the faulty frame, so nothing else was there, or this is no such case.
            if tail.written_bytes < tail.bytes && tail.written_bytes < bytes as u64 {
                return Ok(End { place, offset, torn_bytes: tail.bytes });
            }
            return Err(Stop::Tampered(format!("{subject} {fault}")));
        }
        seen(&place)?;
    }
    Ok(End { place, offset: scan.offset(), torn_bytes: scan.unfinished_bytes() })
}

impl Place {
    /// Goes on to the end of a frame, if it is the next one; else names it and its fault.
    fn take(&mut self, piece: &Piece<'_>, verifier: &Verifier) -> Result<(), (String, Fault)> {
        let offset = piece.offset;
        match piece.frame {
            Ok(Frame::Record(body)) => {
                let number = self.chain.size() + 1;
                self.chain
                    .check_record(body)
                    .map_err(|fault| (format!("record {number} at byte {offset}"), fault))
            }
            Ok(Frame::Checkpoint(note)) => {
                let checkpoint = Checkpoint::open(note, verifier).map_err(Fault::Malformed);
                let checkpoint = checkpoint
                    .and_then(|read| self.chain.check_checkpoint(&read, offset).map(|()| read))
                    .map_err(|fault| (format!("the checkpoint at byte {offset}"), fault))?;
                self.checkpoints += 1;
                self.last = Some((checkpoint, note.into()));
                Ok(())
            }
            Err(malformed) => {
                let subject = format!("what follows record {} at byte {offset}", self.chain.size());
                Err((subject, Fault::Malformed(malformed)))
            }
        }
    }
}
