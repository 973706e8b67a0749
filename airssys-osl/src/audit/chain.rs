//! What makes records a chain: numbers without gaps, links, and a tree whose root checkpoints sign.

use std::fmt;

use super::{
    checkpoint::Checkpoint,
    merkle::{Frontier, Hash, leaf_hash},
    record::{Body, Malformed},
};

/// All records so far, as far as the next one depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    frontier: Frontier,
    last: Hash,
}

impl Chain {
    /// Goes on where a checkpoint was made.
    pub(super) fn resume(checkpoint: &Checkpoint) -> Self {
        Self { frontier: checkpoint.frontier.clone(), last: checkpoint.last }
    }

    /// The number of records.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The leaf hash of the last record: what the next one links to.
    pub(super) fn last(&self) -> &Hash {
        &self.last
    }

    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends a record that links to the last one.
    pub(super) fn push(&mut self, body: &[u8]) {
        self.last = leaf_hash(body);
        self.frontier.push(self.last);
    }

    /// Appends a record that was read, if it is the next one.
    pub(super) fn check_record(&mut self, body: &[u8]) -> Result<(), Fault> {
        let record = Body::parse(body).map_err(Fault::Malformed)?;
        let expected = self.size() + 1;
        if record.sequence() != expected {
            return Err(Fault::Sequence { found: record.sequence(), expected });
        }
        if record.previous() != &self.last {
            return Err(Fault::Link);
        }
        self.push(body);
        Ok(())
    }

    /// Checks what a checkpoint that stands at `offset` says about the records before it.
    pub(super) fn check_checkpoint(&self, checkpoint: &Checkpoint, offset: u64) -> Result<(), Fault> {
        if checkpoint.size() != self.size() {
            return Err(Fault::Size { found: checkpoint.size(), expected: self.size() });
        }
        if checkpoint.frontier != self.frontier || checkpoint.last != self.last {
            return Err(Fault::Root);
        }
        if checkpoint.offset != offset {
            return Err(Fault::Offset { found: checkpoint.offset });
        }
        Ok(())
    }

    /// What there is to sign.
    pub(super) fn checkpoint(&self, origin: &str, time_ns: u64, offset: u64, closed: bool) -> Checkpoint {
        let frontier = self.frontier.clone();
        Checkpoint { origin: origin.into(), frontier, last: self.last, time_ns, offset, closed }
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
    Offset { found: u64 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "has {malformed}"),
            Self::Sequence { found, expected } => {
                write!(f, "has the number {found} where {expected} should follow")
            }
            Self::Link => f.write_str("does not link to the record before: one of the two was changed"),
            Self::Size { found, expected } => write!(f, "counts {found} records where there are {expected}"),
            Self::Root => f.write_str("stands for other records than those before it"),
            Self::Offset { found } => write!(f, "was made for another place, byte {found}"),
        }
    }
}
