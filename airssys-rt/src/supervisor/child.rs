//! What a supervisor knows about a child: how to start it, how to stop it, and when to start it again.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::handle::{ChildKind, SupervisorRef};
use super::probe::{Probe, Prober};
use super::{Supervisor, driver};
use crate::actor::Actor;
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, Cold, Notify};
use crate::exit::ExitReason;
use crate::mailbox::{Mailbox, MailboxOptions};
use crate::system::System;

/// As in OTP.
pub(super) const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(5);

/// When a child that ended is started again: `restart` in OTP's child specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// When it failed: not after [`Normal`](ExitReason::Normal), [`Shutdown`](ExitReason::Shutdown),
    /// [`ShutdownFor`](ExitReason::ShutdownFor) or [`GaveUp`](ExitReason::GaveUp).
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

/// How a child is stopped: `shutdown` in OTP's child specifications.
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
    pub(super) significant: bool,
    pub(super) backoff: Option<Backoff>,
    drain: bool,
    start: Start,
}

/// What a supervised actor has beside its state.
pub struct ChildOptions<M: Send + 'static> {
    /// A mailbox that all its incarnations read, as in
    /// [`actor_with_mailbox`](ChildSpec::actor_with_mailbox); unless set, each has a new one.
    pub mailbox: Option<Mailbox<M>>,
    /// How it is asked whether it is well; not at all, unless set.
    pub probe: Option<Probe<M>>,
}

impl<M: Send + 'static> Default for ChildOptions<M> {
    fn default() -> Self {
        Self { mailbox: None, probe: None }
    }
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

    /// Begins to ask it whether it is well, where that is wanted.
    fn probe(&self, system: &System) -> Option<Prober> {
        let _ = system;
        None
    }

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
        Self::actor_with(name, ChildOptions::default(), make)
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
        let options = ChildOptions { mailbox: Some(mailbox), ..ChildOptions::default() };
        Self::actor_with(name, options, make)
    }

    /// Describes an actor with options that know what messages it takes.
    pub fn actor_with<A: Actor>(
        name: impl Into<Arc<str>>,
        options: ChildOptions<A::Msg>,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        let ChildOptions { mailbox, probe } = options;
        let probe = probe.map(Arc::new);
        Self::new(name.into(), move |system, path, drain, notify| {
            let drain = Drain { wanted: drain, retained: mailbox.is_some() };
            let actor = cell::make(&*make)?;
            let actor = match &mailbox {
                Some(mailbox) => {
                    cell::spawn_on(system, mailbox, Some(path), Some(notify), actor)?;
                    mailbox.actor_ref()
                }
                None => {
                    let cold = Cold::named(Some(path), Some(notify));
                    ActorRef::new(cell::spawn(system, MailboxOptions::default().bounds(), Some(cold), actor))
                }
            };
            Ok(Started { id: actor.id(), handle: ActorHandle { actor, drain }.probed(&probe) })
        })
    }

    /// Describes a supervisor below this one, under its own name.
    ///
    /// It is [`Permanent`](Restart::Permanent) and has all the time it needs to stop.
    pub fn supervisor(supervisor: Supervisor) -> Self {
        let supervisor = Arc::new(supervisor);
        let name = Arc::clone(&supervisor.name);
        Self::of_supervisor(name, move |system, path, notify| {
            driver::spawn(system, &supervisor, path, notify)
        })
    }

    pub(super) fn of_supervisor(
        name: Arc<str>,
        spawn: impl Fn(&System, Arc<str>, Notify) -> SupervisorRef + Send + Sync + 'static,
    ) -> Self {
        let start = move |system: &System, path, _, notify| {
            let supervisor = spawn(system, path, notify);
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
            significant: false,
            backoff: None,
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

    /// Sets whether its own end counts for the [`AutoShutdown`](crate::AutoShutdown) of its supervisor.
    ///
    /// As in OTP, a permanent child cannot be significant, because it never ends on its own account; nor can a child
    /// of a supervisor that does not shut down by itself. Such a supervisor does not start, and such a child is not
    /// added.
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Sets how long its supervisor waits before it starts it again after a failure; not at all, unless set.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
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

struct ActorHandle<M> {
    actor: ActorRef<M>,
    drain: Drain,
}

impl<M: Send + 'static> ActorHandle<M> {
    fn probed(self, probe: &Option<Arc<Probe<M>>>) -> Box<dyn Handle> {
        match probe {
            Some(probe) => Box::new(Probed { actor: self, probe: Arc::clone(probe) }),
            None => Box::new(self),
        }
    }
}

impl<M: Send + 'static> Handle for ActorHandle<M> {
    fn stop(&self, last: bool) {
        if self.drain.wanted && (last || !self.drain.retained) {
            self.actor.cell().drain();
        } else {
            self.actor.stop(ExitReason::Shutdown);
        }
    }

    fn kill(&self) {
        self.actor.kill();
    }
}

struct Probed<M> {
    actor: ActorHandle<M>,
    probe: Arc<Probe<M>>,
}

impl<M: Send + 'static> Handle for Probed<M> {
    fn stop(&self, last: bool) {
        self.actor.stop(last);
    }

    fn kill(&self) {
        self.actor.kill();
    }

    fn probe(&self, system: &System) -> Option<Prober> {
        Some(Prober::start(system, &self.probe, self.actor.actor.clone()))
    }
}
