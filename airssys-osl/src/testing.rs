//! Stand-ins for tests: what a program that uses this crate needs to test its own side of it.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Action, Error, Verdict,
    audit::{Event, Outcome, Phase, Sink},
    net::{Answer, HostName, Lookup, LookupSlot, Resolve},
    policy::{Moment, Policy, Request},
};

#[cfg(target_os = "linux")]
pub use crate::process::hostile::{egress_chunks, egress_head};

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

/// Decides and counts, as the door does with what passes it; says whether it would pass.
pub fn spend(policy: &Policy, request: &Request<'_>, now: Moment) -> bool {
    let decision = policy.decide_at(request, now);
    decision.permits() && decision.take(|| now.monotonic_ns()).is_ok()
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
    /// The trace that the operation belongs to.
    pub trace: [u8; 16],
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
            trace: event.trace,
        });
        Ok(log.sequence)
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink").field("records", &self.log().records.len()).finish_non_exhaustive()
    }
}

/// A resolver that answers from a script, so that a test can have hosts that change, lie, fail and never answer.
/// Clones share the script.
#[derive(Clone, Debug, Default)]
pub struct ScriptedResolver(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    answers: HashMap<String, VecDeque<Scripted>>,
    asked: Vec<String>,
}

#[derive(Clone, Debug)]
enum Scripted {
    Answer(Answer),
    Fail(io::ErrorKind),
    Hang,
}

impl ScriptedResolver {
    /// Makes a resolver that knows no host.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the next lookup of `host` with `addresses`, which hold for no time, so that each lookup is asked. The
    /// last line of the script for a host stays.
    ///
    /// # Panics
    ///
    /// Panics where one of the addresses is none.
    #[must_use]
    pub fn answer(self, host: &str, addresses: &[&str]) -> Self {
        self.answer_for(host, addresses, Duration::ZERO)
    }

    /// As [`answer`](Self::answer), with addresses that hold for `ttl`.
    ///
    /// # Panics
    ///
    /// As [`answer`](Self::answer).
    #[must_use]
    #[expect(clippy::expect_used, reason = "the script is a part of the test")]
    pub fn answer_for(self, host: &str, addresses: &[&str], ttl: Duration) -> Self {
        let addresses: Result<Vec<IpAddr>, _> = addresses.iter().map(|address| address.parse()).collect();
        let addresses = addresses.expect("an address in the script");
        self.then(host, Scripted::Answer(Answer { addresses, ttl: Some(ttl) }))
    }

    /// Fails the next lookup of `host`.
    #[must_use]
    pub fn fail(self, host: &str, error: io::ErrorKind) -> Self {
        self.then(host, Scripted::Fail(error))
    }

    /// Never answers the next lookup of `host`.
    #[must_use]
    pub fn hang(self, host: &str) -> Self {
        self.then(host, Scripted::Hang)
    }

    /// Takes out which hosts were looked up since the last time.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script().asked)
    }

    fn then(self, host: &str, scripted: Scripted) -> Self {
        self.script().answers.entry(host.to_owned()).or_default().push_back(scripted);
        self
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for ScriptedResolver {
    fn lookup<'a>(&'a self, host: &'a HostName, slot: LookupSlot) -> Lookup<'a> {
        let mut script = self.script();
        script.asked.push(host.to_string());
        let lines = script.answers.get_mut(host.as_str());
        let line =
            lines.and_then(|lines| if lines.len() > 1 { lines.pop_front() } else { lines.front().cloned() });
        Box::pin(async move {
            let _slot = slot;
            match line {
                Some(Scripted::Answer(answer)) => Ok(answer),
                Some(Scripted::Fail(error)) => Err(error.into()),
                Some(Scripted::Hang) => std::future::pending().await,
                None => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
}
