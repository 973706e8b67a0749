//! Stand-ins for tests: what a program that uses this crate needs to test its own side of it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    Action, Error, Verdict,
    audit::{Event, Outcome, Phase, Sink},
};

/// A sink that keeps every record in memory. Clones share what they keep.
///
/// It has no bound: a test ends before memory does.
#[derive(Clone, Default)]
pub struct MemorySink(Arc<Kept>);

#[derive(Default)]
struct Kept {
    log: Mutex<Log>,
    refuses: AtomicBool,
}

#[derive(Default)]
struct Log {
    sequence: u64,
    records: Vec<Recorded>,
}

/// One record, as a [`MemorySink`] keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// As in [`Event`], and so are the others.
    pub principal: String,
    /// What was asked.
    pub action: Action,
    /// Of which object.
    pub resource: Vec<u8>,
    /// What policy answered.
    pub verdict: Verdict,
    /// The rule that answered.
    pub rule: String,
    /// The policy epoch.
    pub epoch: u32,
    /// Before or after.
    pub phase: Phase,
    /// What came of it.
    pub outcome: Outcome,
    /// Bytes read or written.
    pub bytes: u64,
    /// The number of the intent record, counted from 1, or 0.
    pub intent: u64,
}

impl MemorySink {
    /// Makes an empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on takes no records, like a log whose disk is full; or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.0.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Takes out what was recorded since the last time.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.log().records)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    fn record(&self, event: &Event<'_>) -> Result<u64, Error> {
        if self.0.refuses.load(Ordering::SeqCst) {
            return Err(Error::unrecorded("the test told the sink to refuse"));
        }
        let mut log = self.log();
        log.sequence += 1;
        log.records.push(Recorded {
            principal: event.principal.to_owned(),
            action: event.action,
            resource: event.resource.to_owned(),
            verdict: event.verdict,
            rule: event.rule.to_owned(),
            epoch: event.epoch,
            phase: event.phase,
            outcome: event.outcome,
            bytes: event.bytes,
            intent: event.intent,
        });
        Ok(log.sequence)
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink").field("records", &self.log().records.len()).finish_non_exhaustive()
    }
}
