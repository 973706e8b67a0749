//! Checks leaves against their links: the work of reading a log, and so it is done apart, by many threads where asked.

use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, ScopedJoinHandle},
};

use super::{
    chain::{Fault, MAX_LEAF_BYTES, Place},
    merkle::{Hash, Leaf},
};

/// How many bytes of records are checked at a time.
const BATCH_BYTES: usize = 256 * 1024;
/// How many threads check, at most, and how many batches wait for them.
const MAX_WORKERS: usize = 16;
const WAITING: usize = 4;

/// What is wrong with the records before some place. Completes "cannot … the audit log: …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Which record it is about: where more is wrong, the first is told.
    record: u64,
    text: String,
}

/// Some leaves that follow one another, as they were read.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    bytes: Vec<u8>,
    claims: Vec<Claim>,
    /// Where in `bytes` the records begin that no link stands for.
    open: usize,
    open_records: u64,
}

#[derive(Debug)]
struct Claim {
    end: usize,
    previous: Hash,
    hash: Hash,
    /// The number of the last record.
    record: u64,
    records: u64,
    /// Where the link stands.
    place: Place,
}

impl Leaves {
    pub(super) fn push_record(&mut self, frame: &[u8]) -> Result<(), Fault> {
        if self.bytes.len() - self.open + frame.len() > MAX_LEAF_BYTES {
            return Err(Fault::Unlinked);
        }
        self.bytes.extend_from_slice(frame);
        self.open_records += 1;
        Ok(())
    }

    /// Closes the leaf of the records since the last link, the newest of which is `record`.
    pub(super) fn push_link(
        &mut self,
        previous: Hash,
        hash: Hash,
        record: u64,
        place: Place,
    ) -> Result<(), Fault> {
        if self.open_records == 0 {
            return Err(Fault::Link);
        }
        self.open = self.bytes.len();
        let records = mem::take(&mut self.open_records);
        self.claims.push(Claim { end: self.open, previous, hash, record, records, place });
        Ok(())
    }

    /// The records since the last link, and how many they are.
    pub(super) fn open(&self) -> (&[u8], u64) {
        (self.bytes.get(self.open..).unwrap_or_default(), self.open_records)
    }

    /// Forgets the records since the last link.
    pub(super) fn forget_open(&mut self) {
        self.bytes.truncate(self.open);
        self.open_records = 0;
    }

    /// Takes out what can be checked, if it is enough, or if it `must`.
    fn take(&mut self, must: bool) -> Option<Self> {
        if self.claims.is_empty() || (self.bytes.len() < BATCH_BYTES && !must) {
            return None;
        }
        let open_records = mem::take(&mut self.open_records);
        let bytes = self.bytes.split_off(self.open);
        let rest = Self { bytes, claims: Vec::new(), open: 0, open_records };
        Some(mem::replace(self, rest))
    }

    fn check(&self) -> Result<(), Wrong> {
        let mut start = 0;
        for claim in &self.claims {
            let mut leaf = Leaf::after(&claim.previous);
            leaf.update(self.bytes.get(start..claim.end).unwrap_or_default());
            start = claim.end;
            if leaf.hash() != claim.hash {
                let Claim { record, records, place, .. } = claim;
                let text = format!(
                    "the link of records {} to {record} at {place} {}",
                    record + 1 - records,
                    Fault::Link
                );
                return Err(Wrong { record: record + 1 - records, text });
            }
        }
        Ok(())
    }
}

impl Wrong {
    pub(super) fn new(record: u64, text: String) -> Self {
        Self { record, text }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The one that comes first in the log.
    pub(super) fn first(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.record <= self.record => other,
            _ => self,
        }
    }
}

/// Who checks leaves.
pub(super) enum Checker<'scope> {
    /// The caller itself.
    Inline,
    Pool {
        queue: Option<SyncSender<Leaves>>,
        workers: Vec<ScopedJoinHandle<'scope, Option<Wrong>>>,
    },
}

/// Calls `f` with threads that check leaves, as many as the machine runs at a time.
pub(super) fn with_pool<T>(f: impl FnOnce(&mut Checker<'_>) -> T) -> T {
    let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let (queue, batches) = sync_channel(WAITING);
    let batches = Mutex::new(batches);
    thread::scope(|scope| {
        let workers = (0..count).map(|_| scope.spawn(|| work(&batches))).collect();
        f(&mut Checker::Pool { queue: Some(queue), workers })
    })
}

impl Checker<'_> {
    /// Has those leaves checked that are worth it by now.
    pub(super) fn offer(&mut self, leaves: &mut Leaves) -> Result<(), Wrong> {
        match leaves.take(false) {
            Some(batch) => self.check(batch),
            None => Ok(()),
        }
    }

    /// Has all leaves checked and waits for that.
    pub(super) fn finish(&mut self, leaves: &mut Leaves) -> Result<(), Wrong> {
        let mut first = leaves.take(true).and_then(|batch| self.check(batch).err());
        if let Self::Pool { queue, workers } = self {
            *queue = None;
            for worker in workers.drain(..) {
                // A worker that panicked checked nothing: that is no sound log.
                let wrong = worker
                    .join()
                    .unwrap_or_else(|_| Some(Wrong::new(0, "a thread that checked it panicked".to_owned())));
                first = wrong.map(|wrong| wrong.first(first.take())).or(first);
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn check(&mut self, batch: Leaves) -> Result<(), Wrong> {
        match self {
            Self::Pool { queue: Some(queue), .. } => {
                // Nobody takes it where all workers found something: that is told at the end.
                let _ = queue.send(batch);
                Ok(())
            }
            _ => batch.check(),
        }
    }
}

/// Checks batches until there are no more, and returns the first thing that is wrong.
fn work(batches: &Mutex<Receiver<Leaves>>) -> Option<Wrong> {
    let mut first: Option<Wrong> = None;
    loop {
        let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return first };
        if let Err(wrong) = batch.check() {
            first = Some(wrong.first(first));
        }
    }
}
