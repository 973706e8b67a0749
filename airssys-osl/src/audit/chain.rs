//! What makes records a chain: numbers without gaps, links, and a tree whose root checkpoints sign.
//!
//! Some records that follow one another are a leaf of the tree. The hash of a leaf is SHA-256 over `0x00`, the hash of
//! the leaf before and the frames of its records; a link, which stands behind them, is that hash.

use std::fmt;

use super::{
    checkpoint::{Checkpoint, Terms},
    frame,
    merkle::{Frontier, Hash, Leaf},
    record::{self, Body, Malformed},
};

/// After so many records, or bytes of them, the writer makes a link. A changed record is found as one of so many.
pub(super) const LEAF_RECORDS: u64 = 64;
pub(super) const LEAF_BYTES: usize = 16 * 1024;
/// No leaf has more bytes than this: the writer links as soon as it has [`LEAF_BYTES`].
pub(super) const MAX_LEAF_BYTES: usize = LEAF_BYTES + frame::HEADER_BYTES + record::MAX_BYTES;

/// All records so far, as far as the next one depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    records: u64,
    frontier: Frontier,
    last: Hash,
}

impl Chain {
    /// Goes on where a checkpoint was made.
    pub(super) fn resume(checkpoint: &Checkpoint) -> Self {
        Self { records: checkpoint.records, frontier: checkpoint.frontier.clone(), last: checkpoint.last }
    }

    /// The number of records.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The number of leaves that are finished.
    pub(super) fn leaves(&self) -> u64 {
        self.frontier.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The hash of the last leaf.
    pub(super) fn last(&self) -> &Hash {
        &self.last
    }

    /// Begins the next leaf.
    pub(super) fn leaf(&self) -> Leaf {
        Leaf::after(&self.last)
    }

    /// Counts a record.
    pub(super) fn push_record(&mut self) {
        self.records += 1;
    }

    /// Forgets the records behind so many, for which there is no leaf yet.
    pub(super) fn forget_records(&mut self, records: u64) {
        self.records = records;
    }

    /// Appends the leaf of the records since the last one.
    pub(super) fn push_leaf(&mut self, hash: Hash) {
        self.last = hash;
        self.frontier.push(hash);
    }

    /// Counts a record that was read, if it is the next one.
    pub(super) fn check_record<'b>(&mut self, body: &'b [u8]) -> Result<Body<'b>, Fault> {
        let record = Body::parse(body).map_err(Fault::Malformed)?;
        let expected = self.records + 1;
        if record.sequence() != expected {
            return Err(Fault::Sequence { found: record.sequence(), expected });
        }
        self.records = expected;
        Ok(record)
    }

    /// Checks what a checkpoint that stands at `place` says about the records before it.
    pub(super) fn check_checkpoint(&self, checkpoint: &Checkpoint, place: Place) -> Result<(), Fault> {
        if checkpoint.records != self.records {
            return Err(Fault::Size { found: checkpoint.records, expected: self.records });
        }
        if checkpoint.frontier != self.frontier || checkpoint.last != self.last {
            return Err(Fault::Root);
        }
        if checkpoint.place != place {
            return Err(Fault::Place { found: checkpoint.place });
        }
        Ok(())
    }

    /// What there is to sign.
    pub(super) fn checkpoint(&self, origin: &str, place: Place, terms: Terms) -> Checkpoint {
        Checkpoint {
            origin: origin.into(),
            records: self.records,
            frontier: self.frontier.clone(),
            last: self.last,
            place,
            terms,
        }
    }
}

/// Where in a log something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The segment: how many records precede it.
    pub(super) segment: u64,
    /// The byte in it.
    pub(super) offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.offset)?;
        if self.segment == 0 { Ok(()) } else { write!(f, " of segment {}", self.segment) }
    }
}

/// Why a frame is not the next one of a chain. Completes "record 7 …" or "the checkpoint …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(Malformed),
    Sequence { found: u64, expected: u64 },
    Link,
    Size { found: u64, expected: u64 },
    Root,
    Place { found: Place },
    Unlinked,
    NoBeginning,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "has {malformed}"),
            Self::Sequence { found, expected } => {
                write!(f, "has the number {found} where {expected} should follow")
            }
            Self::Link => {
                f.write_str("stands for other records: one of them, or of those before, was changed")
            }
            Self::Size { found, expected } => write!(f, "counts {found} records where there are {expected}"),
            Self::Root => f.write_str("stands for other records than those before it"),
            Self::Place { found } => write!(f, "was made for another place, {found}"),
            Self::NoBeginning => f.write_str("stands where a segment has a checkpoint"),
            Self::Unlinked => f.write_str("follows records that no link stands for"),
        }
    }
}
