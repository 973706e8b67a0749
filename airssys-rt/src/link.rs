//! Who is told when an actor ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::actor::Info;
use crate::actor_ref::ActorId;
use crate::cell::AnyCell;
use crate::exit::ExitReason;

/// One act of monitoring, as [`Context::monitor`](crate::Context::monitor) made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorRef(u64);

impl MonitorRef {
    /// Makes a reference that no other in this program equals.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A monitored actor ended: OTP's `'DOWN'` message.
#[derive(Clone, Debug)]
pub struct Down {
    /// The monitor that this answers; it is used up.
    pub monitor: MonitorRef,
    /// The actor that ended.
    pub id: ActorId,
    /// Why; [`ExitReason::NoProc`] where it was dead already when the monitor was set.
    pub reason: ExitReason,
}

/// An exit signal, as an actor sees it that [traps](crate::Context::trap_exit) them: OTP's `'EXIT'` message.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The actor that ended, or the one that sent the signal; `None` where that was no actor.
    pub from: Option<ActorId>,
    /// Why.
    pub reason: ExitReason,
    /// Whether it came over a link, which is used up.
    pub linked: bool,
    /// Which of those that wait in the mailbox it is.
    pub(crate) number: u64,
}

/// The exit signals that wait as messages for an incarnation. What is not among them is not wanted any more.
#[derive(Default)]
pub(crate) struct Exits {
    /// Those over a link by where they come from, the others as from nobody.
    waiting: BTreeSet<(Option<ActorId>, u64)>,
    next: u64,
}

impl Exits {
    /// Makes the next one, to be queued.
    pub(crate) fn make(&mut self, from: Option<ActorId>, reason: &ExitReason, linked: bool) -> Exit {
        let exit = Exit { from, reason: reason.clone(), linked, number: self.next };
        self.next += 1;
        self.waiting.insert(exit.key());
        exit
    }

    /// Takes one out. False where it is not wanted.
    pub(crate) fn take(&mut self, exit: &Exit) -> bool {
        self.waiting.remove(&exit.key())
    }

    /// Nothing that came over a link from `other` is wanted any more.
    pub(crate) fn flush(&mut self, other: ActorId) {
        let flushed = (Some(other), 0)..=(Some(other), u64::MAX);
        self.waiting.extract_if(flushed, |_| true).for_each(drop);
    }

    /// None is wanted any more. Their numbers are not used again.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Exit {
    fn key(&self) -> (Option<ActorId>, u64) {
        (self.from.filter(|_| self.linked), self.number)
    }
}

/// What is done at an actor's end before anyone is told of it. It may take locks, but must not wait for the actor.
pub(crate) type Hook = Box<dyn FnOnce(&ExitReason) + Send>;

/// How long something lasts that an actor has: a name, a place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// Until the incarnation ends that runs or comes next.
    Exit,
    /// Until its mailbox closes: the same, except where the mailbox outlives incarnations.
    Close,
}

/// One entry in the list of those to tell.
pub(crate) struct Watcher {
    pub(crate) monitor: MonitorRef,
    pub(crate) tell: Tell,
}

pub(crate) enum Tell {
    Actor(AnyCell),
    Waiter(oneshot::Sender<ExitReason>),
}

impl Watcher {
    pub(crate) fn tell(self, id: ActorId, reason: &ExitReason) {
        let reason = reason.clone();
        match self.tell {
            Tell::Actor(actor) => actor.inform(Info::Down(Down { monitor: self.monitor, id, reason })),
            // A waiter that is gone has stopped being curious.
            Tell::Waiter(waiter) => drop(waiter.send(reason)),
        }
    }
}

/// The monitors that an actor has set. They end with it.
#[derive(Default)]
pub(crate) struct Monitors(BTreeMap<MonitorRef, AnyCell>);

impl Monitors {
    pub(crate) fn insert(&mut self, monitor: MonitorRef, target: AnyCell) {
        self.0.insert(monitor, target);
    }

    /// Uses a monitor up. False where it was removed before, or was set by an earlier incarnation.
    pub(crate) fn take(&mut self, monitor: MonitorRef) -> bool {
        self.0.remove(&monitor).is_some()
    }

    pub(crate) fn remove(&mut self, monitor: MonitorRef) {
        if let Some(target) = self.0.remove(&monitor) {
            target.unwatch(monitor);
        }
    }
}

impl Drop for Monitors {
    fn drop(&mut self) {
        for (monitor, target) in std::mem::take(&mut self.0) {
            target.unwatch(monitor);
        }
    }
}
