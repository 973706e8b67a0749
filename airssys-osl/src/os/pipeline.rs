//! Decide, execute, record: the one way through the door.
//!
//! | step | what it leaves | where it can end |
//! |---|---|---|
//! | decide | a record of the denial | `Denied` |
//! | intent, for what changes something | a record of what is about to be done | `AuditUnavailable`: nothing was touched |
//! | execute | | the kernel's refusal, or a built-in rule |
//! | done | a record of what came of it | for what only reads: `AuditUnavailable`, and the bytes are withheld |
//!
//! A future that is dropped while it executes leaves a record that says `cancelled`.

use std::{cell::Cell, future::Future, io};

use super::Os;
use crate::{
    Action, Error, ErrorKind,
    audit::{self, Event, Outcome, Phase},
    limits::PATH_BYTES,
    policy::Decision,
    sys, trace,
};

/// One operation on its way: what its records say.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) os: &'a Os,
    pub(crate) principal: &'a str,
    pub(crate) action: Action,
    pub(crate) resource: Name<'a>,
    /// The second object, where an operation has two: what is renamed, linked or pointed to.
    pub(crate) other: Option<Name<'a>>,
    /// Whether it changes something, so that its intent must be on record first.
    pub(crate) mutates: bool,
}

/// How an object is called in records: a path as asked, and what it is relative to.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    prefix: &'a [u8],
    path: &'a [u8],
}

/// What an operation yields, and how many bytes went through.
pub(crate) struct Done<T> {
    value: T,
    bytes: u64,
}

/// Why an operation that policy permits did not happen.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It cannot be done without waiting. Only an attempt on the caller's thread ends like this.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only an implementation tries without waiting")
    )]
    WouldBlock,
    /// A built-in rule forbids what the kernel found.
    Forbidden(&'static str),
    /// Policy was asked again after a wait, and permits it no more: by which rule, and in which epoch.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only an implementation asks again"))]
    Withdrawn { rule: Box<str>, epoch: u32 },
    /// There is more than the caller's limit, or a file would be longer than it may.
    TooLarge,
    /// The principal's quota of the directory is used up.
    Quota,
    /// The principal has as many open as it may.
    TooMany,
    /// This platform, or this kernel, cannot do it.
    Unsupported,
    /// The operating system refused.
    Os(io::Error),
    /// The operating system refused one step of many, which is named.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only an implementation has steps"))]
    Step(&'static str, io::Error),
    /// A layer of the sandbox is not here, and not gone without: its name, and why.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has layers"))]
    Lacks(String, Box<str>),
    /// The code on the blocking pool panicked.
    Bug,
}

/// When something was opened that stays open, and which trace it was opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    at_ns: u64,
    trace: [u8; 16],
}

/// An operation that was permitted and has not ended.
pub(crate) struct Running<'a> {
    operation: Operation<'a>,
    decision: Decision<'a>,
    epoch: u32,
    intent: u64,
    started_ns: u64,
    trace: [u8; 16],
    ended: bool,
}

impl<'a> Operation<'a> {
    /// Takes the operation through the whole pipeline. `execute` is not polled before all that comes before it held.
    pub(crate) async fn run<T>(
        self,
        decision: Decision<'_>,
        epoch: u32,
        execute: impl Future<Output = Result<Done<T>, Fault>>,
    ) -> Result<T, Error> {
        let running = Operation::begin(self, decision, epoch)?;
        let result = execute.await;
        running.finish(result)
    }

    /// Goes through the first half of the pipeline: what the decision forbids ends here, and so does a change that
    /// cannot be recorded.
    pub(crate) fn begin<'d>(self, decision: Decision<'d>, epoch: u32) -> Result<Running<'d>, Error>
    where
        'a: 'd,
    {
        if !decision.permits() {
            return Err(self.deny(decision.rule, epoch));
        }
        if let Err(rule) = decision.take(sys::monotonic_ns) {
            return Err(self.deny(rule, epoch));
        }
        let mut running = self.running(decision, epoch);
        if self.mutates {
            running.intent = running.record(Phase::Intent, decision, Outcome::Pending, 0)?;
        }
        running.ended = false;
        Ok(running)
    }

    /// Records a denial and makes its error. A denial stands even where it cannot be recorded.
    pub(crate) fn deny(self, rule: &str, epoch: u32) -> Error {
        let decision = Decision::deny(rule);
        let denied = self.running(decision, epoch);
        drop(denied.record(Phase::Done, decision, Outcome::Denied, 0));
        Error::denied(self.describe(), rule)
    }

    /// Records the end of something that was open: how it ended, and what went through. It belongs to what it was opened
    /// for, wherever it ends.
    pub(crate) fn record_end(
        self,
        decision: Decision<'_>,
        epoch: u32,
        outcome: Outcome,
        bytes: u64,
        opened: Opened,
    ) {
        let mut ended = self.running(decision, epoch);
        (ended.started_ns, ended.trace) = (opened.at_ns, opened.trace);
        drop(ended.record(Phase::Done, decision, outcome, bytes));
    }

    /// Begins to count its time. It leaves no record when it is dropped, until it is under way.
    fn running<'d>(self, decision: Decision<'d>, epoch: u32) -> Running<'d>
    where
        'a: 'd,
    {
        Running {
            operation: self,
            decision,
            epoch,
            intent: 0,
            started_ns: sys::monotonic_ns(),
            trace: trace::current(),
            ended: true,
        }
    }

    /// What it is, which completes the sentence "cannot …".
    pub(crate) fn describe(&self) -> String {
        let verb = self.action.verb();
        let resource = self.resource.escaped();
        match self.other {
            Some(other) => match self.action.before_peer() {
                Some(at) => format!("{verb} `{resource}` {at} `{}`", other.escaped()),
                None => format!("{verb} `{}` to `{resource}`", other.escaped()),
            },
            None if resource.is_empty() => verb.to_owned(),
            None => format!("{verb} `{resource}`"),
        }
    }

    /// The error of a fault.
    pub(crate) fn error(&self, fault: Fault) -> Error {
        let what = self.describe();
        match fault {
            Fault::Forbidden(rule) => Error::denied(what, rule),
            Fault::Withdrawn { rule, .. } => Error::denied(what, rule),
            Fault::TooLarge | Fault::TooMany => Error::new(ErrorKind::LimitExceeded, what),
            Fault::Quota => Error::io(what, io::Error::from_raw_os_error(sys::errno::QUOTA)),
            Fault::Unsupported => Error::new(ErrorKind::Unsupported, what),
            Fault::Os(source) => Error::io(what, source),
            Fault::Step(step, source) => Error::io(format!("{what} ({step})"), source),
            Fault::Lacks(layer, why) => {
                Error::new(ErrorKind::Unsupported, format!("{what} within `{layer}`"))
                    .caused_by(String::from(why))
            }
            Fault::WouldBlock | Fault::Bug => Error::new(ErrorKind::Bug, what),
        }
    }
}

impl Running<'_> {
    /// Forgets an operation that has not begun, so that it can be begun in another way.
    pub(crate) fn abandon(mut self) {
        self.decision.give_back();
        self.ended = true;
    }

    /// Records what came of the operation.
    ///
    /// A change that was made and whose end cannot be recorded is still a success: its intent is on record, and an
    /// error would make the caller do it twice. What was read is withheld.
    pub(crate) fn finish<T>(mut self, result: Result<Done<T>, Fault>) -> Result<T, Error> {
        self.ended = true;
        match result {
            Ok(done) => {
                let recorded = self.record(Phase::Done, self.decision, Outcome::Success, done.bytes);
                match recorded {
                    Err(error) if !self.operation.mutates => Err(error),
                    _ => Ok(done.value),
                }
            }
            Err(fault) => {
                let decision = match &fault {
                    Fault::Forbidden(rule) => Decision::deny(rule),
                    Fault::Withdrawn { rule, epoch } => {
                        self.epoch = *epoch;
                        Decision::deny(rule)
                    }
                    _ => self.decision,
                };
                drop(self.record(Phase::Done, decision, fault.outcome(), 0));
                Err(self.operation.error(fault))
            }
        }
    }

    fn record(
        &self,
        phase: Phase,
        decision: Decision<'_>,
        outcome: Outcome,
        bytes: u64,
    ) -> Result<u64, Error> {
        let Operation { os, principal, action, resource, other, .. } = self.operation;
        let elapsed = match phase {
            Phase::Intent => 0,
            Phase::Done => sys::monotonic_ns().saturating_sub(self.started_ns),
        };
        with_scratch(|scratch| {
            resource.write(scratch);
            if let Some(other) = other {
                scratch.push(0);
                other.write(scratch);
            }
            os.sink().record(&Event {
                principal,
                action,
                resource: scratch,
                verdict: decision.verdict,
                rule: decision.rule,
                epoch: self.epoch,
                phase,
                outcome,
                bytes,
                duration_ns: elapsed,
                intent: self.intent,
                trace: self.trace,
            })
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.record(Phase::Done, self.decision, Outcome::Cancelled, 0));
        }
    }
}

impl Opened {
    /// Here and now.
    pub(crate) fn now() -> Self {
        Self { at_ns: sys::monotonic_ns(), trace: trace::current() }
    }
}

impl<T> Done<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, bytes: 0 }
    }

    /// As [`new`](Self::new), with the bytes that went through.
    pub(crate) fn with_bytes(value: T, bytes: usize) -> Self {
        Self { value, bytes: bytes as u64 }
    }
}

impl Fault {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Forbidden(_) | Self::Withdrawn { .. } => Outcome::Denied,
            Self::TooLarge => Outcome::Failed(sys::errno::TOO_LARGE),
            Self::Quota => Outcome::Failed(sys::errno::QUOTA),
            Self::TooMany => Outcome::Failed(sys::errno::TOO_MANY_OPEN),
            Self::Unsupported | Self::Lacks(..) => Outcome::Failed(sys::errno::UNSUPPORTED),
            Self::Os(source) | Self::Step(_, source) => {
                Outcome::Failed(source.raw_os_error().unwrap_or(sys::errno::IO))
            }
            Self::WouldBlock | Self::Bug => Outcome::Failed(sys::errno::IO),
        }
    }

    /// Whether the operating system refused for this reason.
    pub(crate) fn is(&self, kind: io::ErrorKind) -> bool {
        matches!(self, Self::Os(error) if error.kind() == kind)
    }

    /// The fault of an error number in [`sys::errno`].
    pub(crate) fn errno(number: i32) -> Self {
        Self::Os(io::Error::from_raw_os_error(number))
    }
}

impl<'a> Name<'a> {
    /// A name that is complete in itself.
    pub(crate) fn plain(name: &'a [u8]) -> Self {
        Self { prefix: &[], path: name }
    }

    /// The path `path`, relative to the directory called `prefix`.
    pub(crate) fn beneath(prefix: &'a [u8], path: &'a [u8]) -> Self {
        Self { prefix, path }
    }

    /// Appends the whole name. A path that is absolute stands for itself, as it was asked; one that is longer than
    /// any that can be opened is cut behind its limit, so that nobody fills the log with one call.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let path = self.path.get(..=PATH_BYTES).unwrap_or(self.path);
        if !path.starts_with(b"/") {
            out.extend_from_slice(self.prefix);
            if !path.is_empty() && self.prefix.last().is_some_and(|last| *last != b'/') {
                out.push(b'/');
            }
        }
        out.extend_from_slice(path);
    }

    /// The whole name for a sentence. It may come from a guest: what would steer a terminal or turn the line around is
    /// escaped.
    pub(crate) fn escaped(self) -> String {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        let mut text = String::with_capacity(bytes.len());
        for character in String::from_utf8_lossy(&bytes).chars() {
            if audit::steers(character) {
                text.extend(character.escape_default())
            } else {
                text.push(character)
            }
        }
        text
    }
}

/// Lends a buffer that the thread keeps, so that writing a name allocates nothing once it has grown.
fn with_scratch<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // It is taken out and put back, not borrowed: a sink that uses the door itself finds an empty one. While the
    // thread ends there is none, and a fresh one does as well.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    let result = f(&mut scratch);
    let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, path: &str, expected: &str) {
        assert_eq!(
            Name::beneath(prefix.as_bytes(), path.as_bytes()).escaped(),
            expected,
            "{prefix:?} {path:?}"
        );
    }

    #[test]
    fn names() {
        check("/srv/in", "a/../b", "/srv/in/a/../b");
        check("/srv/in", "", "/srv/in");
        check("/srv/in/", "a", "/srv/in/a");
        check("/", "a", "/a");
        check("/srv/in", "/etc/passwd", "/etc/passwd");
        check("", "a", "a");
        check("/srv", "a\n\u{1b}[2J\0", "/srv/a\\n\\u{1b}[2J\\u{0}");
        check("/srv", "é\u{202e}", "/srv/é\\u{202e}");
        check("/srv", "a\u{2028}b\u{61c}\u{200b}", "/srv/a\\u{2028}b\\u{61c}\\u{200b}");
        check("/", &"a".repeat(2 * PATH_BYTES), &format!("/{}", "a".repeat(PATH_BYTES + 1)));
    }
}
