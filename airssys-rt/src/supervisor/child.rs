//! What a supervisor knows about a child: how to start it, how to stop it, and when to start it again.

use std::sync::Arc;
use std::time::Duration;

use super::handle::{ChildKind, SupervisorRef};
use super::{Supervisor, driver};
use crate::actor::Actor;
use crate::actor_ref::ActorId;
use crate::cell::{self, AnyCell, Cold, Notify};
use crate::exit::ExitReason;
use crate::mailbox::{Mailbox, MailboxOptions};
use crate::system::System;

/// As in OTP.
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(5);

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// When it failed: not after [`Normal`](ExitReason::Normal), [`Shutdown`](ExitReason::Shutdown) or
    /// [`GaveUp`](ExitReason::GaveUp).
    Transient,
    /// Never; not even when a sibling's failure stopped it. It is forgotten when it ends.
    Temporary,
}

impl Restart {
    pub(super) fn applies_to(self, reason: &ExitReason) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => reason.is_abnormal(),
            Self::Temporary => false,
        }
    }
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// At its next `.await`, without a word.
    BrutalKill,
    /// In order; killed where that takes longer.
    Timeout(Duration),
    /// In order, however long it takes. Meant for supervisors.
    Infinity,
}

/// The description of a child, from which a supervisor starts it as often as needed.
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) kind: ChildKind,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    drain: bool,
    start: Start,
}

/// Starts an incarnation at a path in the tree; whether it drains before its last stop is the flag.
type Start = Box<dyn Fn(&System, Arc<str>, bool, Notify) -> Result<Started, ExitReason> + Send + Sync>;

/// A child that has been started: it may not be initialised yet.
pub(super) struct Started {
    pub(super) id: ActorId,
    pub(super) handle: Box<dyn Handle>,
}

/// A supervisor's grip on a child.
pub(super) trait Handle: Send {
    /// Stops it in order. `last` says that it is not about to be started again.
    fn stop(&self, last: bool);

    fn kill(&self);

    /// What to ask for its own children, where it is a supervisor.
    fn supervisor(&self) -> Option<SupervisorRef> {
        None
    }
}

impl ChildSpec {
    /// Describes an actor; `make` makes it anew for each start.
    ///
    /// Each incarnation has a new mailbox of the default capacity and a new id; references to an earlier one are
    /// dead. It is [`Permanent`](Restart::Permanent) and has five seconds to stop.
    pub fn actor<A: Actor>(name: impl Into<Arc<str>>, make: impl Fn() -> A + Send + Sync + 'static) -> Self {
        let make = Arc::new(make);
        Self::new(name.into(), move |system, path, drain, notify| {
            let actor = cell::make(&*make)?;
            let cold = Cold::named(Some(path), Some(notify));
            let bounds = MailboxOptions::default().bounds();
            let cell = AnyCell::clone(&cell::spawn(system, bounds, Some(cold), actor));
            Ok(Started::actor(cell, Drain { wanted: drain, retained: false }))
        })
    }

    /// Describes an actor whose incarnations all read `mailbox`, one after the other.
    ///
    /// References stay valid across restarts, and no queued message is lost. This description is one of the owners
    /// of the mailbox.
    pub fn actor_with_mailbox<A: Actor>(
        name: impl Into<Arc<str>>,
        mailbox: Mailbox<A::Msg>,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        Self::new(name.into(), move |system, path, drain, notify| {
            let actor = cell::make(&*make)?;
            cell::spawn_on(system, &mailbox, Some(path), Some(notify), actor)?;
            let cell = AnyCell::clone(mailbox.cell());
            Ok(Started::actor(cell, Drain { wanted: drain, retained: true }))
        })
    }

    /// Describes a supervisor below this one, under its own name.
    ///
    /// It is [`Permanent`](Restart::Permanent) and has all the time it needs to stop.
    pub fn supervisor(supervisor: Supervisor) -> Self {
        let supervisor = Arc::new(supervisor);
        let name = Arc::clone(&supervisor.name);
        let start = move |system: &System, path, _, notify| {
            let supervisor = driver::spawn(system, &supervisor, path, notify);
            Ok(Started { id: supervisor.id(), handle: Box::new(supervisor) })
        };
        let spec = Self::new(name, start);
        Self { kind: ChildKind::Supervisor, shutdown: Shutdown::Infinity, ..spec }
    }

    fn new(
        name: Arc<str>,
        start: impl Fn(&System, Arc<str>, bool, Notify) -> Result<Started, ExitReason> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            kind: ChildKind::Actor,
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(DEFAULT_SHUTDOWN),
            drain: false,
            start: Box::new(start),
        }
    }

    /// Sets when it is started again.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how it is stopped.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets whether an actor, told to stop, first handles what is in its mailbox, within its shutdown time. New
    /// messages are refused from then on.
    ///
    /// A stop that is only the first half of a restart drains a mailbox that would be lost, but not one that is
    /// retained: there, the next incarnation goes on. A supervisor has no mailbox; its children have this setting.
    pub fn drain(mut self, drain: bool) -> Self {
        self.drain = drain;
        self
    }

    pub(super) fn start(
        &self,
        system: &System,
        path: Arc<str>,
        notify: Notify,
    ) -> Result<Started, ExitReason> {
        (self.start)(system, path, self.drain, notify)
    }
}

#[derive(Clone, Copy)]
struct Drain {
    wanted: bool,
    retained: bool,
}

impl Started {
    fn actor(cell: AnyCell, drain: Drain) -> Self {
        Self { id: cell.id(), handle: Box::new(ActorHandle { cell, drain }) }
    }
}

struct ActorHandle {
    cell: AnyCell,
    drain: Drain,
}

impl Handle for ActorHandle {
    fn stop(&self, last: bool) {
        if self.drain.wanted && (last || !self.drain.retained) {
            self.cell.drain();
        } else {
            self.cell.stop(ExitReason::Shutdown);
        }
    }

    fn kill(&self) {
        self.cell.kill();
    }
}
