//! Which versions run, and ran, in the place of one component: an actor or what answers requests. And the records of it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use airssys_osl::{Milestone, Os};

use crate::{component::Digest, error::Error};

/// How many versions before the running one are kept to roll back to: compiled code is megabytes.
const PREVIOUS: usize = 4;

/// How many changes of version are remembered.
const HISTORY: usize = 64;

/// How a version came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The system started with it.
    Started,
    /// It was put in place of the one before it.
    Upgraded,
    /// The one after it was taken out by whoever runs the system.
    RolledBack,
    /// The one after it crashed of its first message and was taken out.
    TakenBack,
}

/// A version that runs, or ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Its component.
    pub digest: Digest,
    /// How it came to run.
    pub change: Change,
}

/// A change of version that took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switched {
    /// The version that ran.
    pub from: Digest,
    /// The version that runs now.
    pub to: Digest,
    /// How large the state was that was handed on, in bytes. None where none was.
    pub state_bytes: Option<usize>,
    /// For how long no message was handled.
    pub held: Duration,
}

/// Code that is some version's.
pub(crate) trait Versioned {
    /// What it is there for, in the plural.
    const HANDLES: &str;

    fn digest(&self) -> Digest;
}

/// The code that runs, what ran before it, and how each came to.
pub(crate) struct Lineage<C> {
    current: Arc<C>,
    /// What ran before it, the latest last.
    previous: Vec<Arc<C>>,
    history: VecDeque<Version>,
}

impl<C: Versioned> Lineage<C> {
    pub(crate) fn new(code: Arc<C>) -> Self {
        let started = Version { digest: code.digest(), change: Change::Started };
        Self { current: code, previous: Vec::new(), history: [started].into() }
    }

    pub(crate) fn current(&self) -> &Arc<C> {
        &self.current
    }

    /// What ran before it, the latest last: a rollback goes to that.
    pub(crate) fn previous(&self) -> &[Arc<C>] {
        &self.previous
    }

    pub(crate) fn history(&self) -> Vec<Version> {
        self.history.iter().copied().collect()
    }

    /// Notes that other code runs now, and gives what it replaces.
    pub(crate) fn switch(&mut self, code: Arc<C>, change: Change) -> Arc<C> {
        self.remember(code.digest(), change);
        let old = std::mem::replace(&mut self.current, code);
        if change == Change::Upgraded {
            self.previous.push(old.clone());
            if self.previous.len() > PREVIOUS {
                self.previous.remove(0);
            }
        } else if let Some(at) = self.previous.iter().rposition(|code| Arc::ptr_eq(code, &self.current)) {
            self.previous.truncate(at);
        }
        old
    }

    /// Notes that a switch was undone, before which `previous` ran.
    pub(crate) fn take_back(&mut self, code: Arc<C>, previous: Vec<Arc<C>>) {
        self.remember(code.digest(), Change::TakenBack);
        (self.current, self.previous) = (code, previous);
    }

    fn remember(&mut self, digest: Digest, change: Change) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Version { digest, change });
    }
}

/// Leaves a record of how far a change of version is.
pub(crate) fn record(os: &Os, component: &str, from: Digest, to: Digest, what: &str) -> Result<(), Error> {
    let marked = os.mark(Milestone::Upgrade, &format!("{component} from {from} to {to}: {what}"));
    marked.map_err(|error| Error::door("record the change of version", error))
}

/// The same for what cannot be taken back any more.
pub(crate) fn record_end(os: &Os, component: &str, from: Digest, to: Digest, what: &str) {
    if let Err(error) = record(os, component, from, to, what) {
        tracing::error!(component, cause = %error, "a change of version is not on the record");
    }
}
