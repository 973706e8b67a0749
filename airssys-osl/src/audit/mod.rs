//! The record of every operation: written once, linked by hashes, never changed.
//!
//! Operations hand an [`Event`] to a [`Sink`]. The sink of a real program is a [`Log`]: a folder with the records, the
//! key that signs them, and the head, a recent signed checkpoint. [`Reader`] reads a log, also one that is being
//! written, and [`verify`] proves that it is what it was when it was written.
//!
//! A few records at a time are a leaf of a Merkle tree (RFC 6962), which carries the hash of the leaf before. The root
//! of the tree is signed each second or each thousand records, in a checkpoint of the format that transparency logs use
//! (<https://c2sp.org/tlog-checkpoint>). The key that signs is changed again and again, and the old one destroyed.

mod assembly;
mod chain;
mod checkpoint;
pub mod export;
mod flood;
mod folder;
mod frame;
mod json;
mod keys;
mod leaves;
mod log;
mod merkle;
mod note;
pub mod ocsf;
mod queue;
mod reader;
mod record;
mod redact;
mod resume;
mod retention;
mod scan;
mod secrets;
mod store;
mod verify;
mod walk;
mod writer;

pub use flood::DenialLimit;
pub use json::steers;
pub use log::{Durability, Log, LogOptions};
pub use reader::{Position, Query, Reader};
pub use record::{RESOURCE_BYTES, Record};
pub use redact::Redaction;
pub use retention::Retention;
pub use verify::{Progress, Report, State, verify, verify_with};

use crate::{Action, Error, Verdict};

/// Where in an operation a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Before something is changed: what is about to be done.
    Intent = 1,
    /// After it was done, refused or denied.
    Done = 2,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Not known yet: the phase is [`Phase::Intent`].
    Pending,
    /// It was done.
    Success,
    /// It was not done: policy denied it.
    Denied,
    /// The operating system refused, with this error number.
    Failed(i32),
    /// The future was dropped before the end.
    Cancelled,
}

/// One record on its way into a [`Sink`]: borrowed from the operation, nothing is allocated for it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Who asked: the name of a principal, at most [`PRINCIPAL_BYTES`](crate::limits::PRINCIPAL_BYTES).
    pub principal: &'a str,
    /// What was asked.
    pub action: Action,
    /// Of which object: a path, an address, a name. Bytes, because paths are.
    pub resource: &'a [u8],
    /// What policy answered.
    pub verdict: Verdict,
    /// The rule that answered: its place in the manifest, or a built-in rule.
    pub rule: &'a str,
    /// The policy epoch that the answer belongs to.
    pub epoch: u32,
    /// Before or after.
    pub phase: Phase,
    /// What came of it.
    pub outcome: Outcome,
    /// Bytes read or written.
    pub bytes: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// The sequence number of the operation's intent record, or of nothing (0).
    pub intent: u64,
    /// The trace that the operation belongs to (W3C trace id); zeros where there is none.
    pub trace: [u8; 16],
}

/// Takes records.
pub trait Sink: Send + Sync + 'static {
    /// Queues one record and returns its sequence number, counted from 1.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): the queue stayed full past its deadline, or the log
    /// cannot be written. Whoever asked must not go on with what the record is about.
    fn record(&self, event: &Event<'_>) -> Result<u64, Error>;
}
