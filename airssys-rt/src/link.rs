//! Who is told when an actor ends.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::actor_ref::ActorId;
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

/// A monitored actor ended.
#[derive(Clone, Debug)]
pub struct Down {
    /// The monitor that this answers; it is used up.
    pub monitor: MonitorRef,
    /// The actor that ended.
    pub id: ActorId,
    /// Why; [`ExitReason::NoProc`] where it was dead already when the monitor was set.
    pub reason: ExitReason,
}

/// Takes the news of an end.
pub(crate) trait Bereaved: Send + Sync {
    fn down(&self, down: Down);
}

/// An actor that others may watch.
pub(crate) trait Watched: Send + Sync {
    fn unwatch(&self, monitor: MonitorRef);
}

/// One entry in the list of those to tell.
pub(crate) struct Watcher {
    pub(crate) monitor: MonitorRef,
    pub(crate) tell: Tell,
}

pub(crate) enum Tell {
    Actor(Arc<dyn Bereaved>),
    Waiter(oneshot::Sender<ExitReason>),
    /// Runs before any of the others hears of the end. It may take locks, but must not wait for the actor.
    Hook(Until, Hook),
}

pub(crate) type Hook = Box<dyn FnOnce(&ExitReason) + Send>;

/// How long something lasts that an actor has: a name, a place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// Until the incarnation ends that runs or comes next.
    Exit,
    /// Until its mailbox closes: the same, except where the mailbox outlives incarnations.
    Close,
}

impl Tell {
    pub(crate) fn hook(&self) -> Option<Until> {
        match self {
            Self::Hook(until, _) => Some(*until),
            Self::Actor(_) | Self::Waiter(_) => None,
        }
    }
}

impl Watcher {
    pub(crate) fn tell(self, id: ActorId, reason: &ExitReason) {
        let reason = reason.clone();
        match self.tell {
            Tell::Actor(actor) => actor.down(Down { monitor: self.monitor, id, reason }),
            // A waiter that is gone has stopped being curious.
            Tell::Waiter(waiter) => drop(waiter.send(reason)),
            // It drops what users gave, whose code may panic: that must not keep the others from hearing.
            Tell::Hook(_, hook) => drop(catch_unwind(AssertUnwindSafe(|| hook(&reason)))),
        }
    }
}

/// The monitors that an actor has set. They end with it.
#[derive(Default)]
pub(crate) struct Monitors(BTreeMap<MonitorRef, Arc<dyn Watched>>);

impl Monitors {
    pub(crate) fn insert(&mut self, monitor: MonitorRef, target: Arc<dyn Watched>) {
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
