//! What happens to actors, told to whoever wants to know. Nothing here decides anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::Info;
use crate::actor_ref::ActorId;
use crate::cell::AnyCell;
use crate::counters::{Count, Counters};
use crate::exit::{ExitReason, quietly};
use crate::system;

#[cfg(feature = "tracing")]
pub(crate) mod log;

/// Without the feature nothing is written.
#[cfg(not(feature = "tracing"))]
pub(crate) mod log {
    pub(crate) fn is_on() -> bool {
        false
    }

    pub(super) fn write(_: &super::Event) {}

    pub(crate) fn turn(_: &crate::cell::AnyCell) -> Option<std::convert::Infallible> {
        None
    }
}

/// Is told of each event in the life of the actors and supervisors of a system.
///
/// It is called where the event happens, so it must be quick: on the thread of the actor concerned, or of whoever sent
/// it a message too many; [`Blocked`](EventKind::Blocked) on a thread of its own. Should it panic, the event is lost and
/// the actor lives on.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

/// Something that happened to an actor or a supervisor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Where it stands in the tree, as in `logwatch/ingest/parser`. An actor outside of any tree has its name, and
    /// without a name its id.
    pub path: Arc<str>,
    /// Its id.
    pub id: ActorId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// It is initialised; a supervisor: its whole tree is.
    Started,
    /// It chose, in `init`, not to run.
    Ignored,
    /// It ended before it was initialised.
    InitFailed {
        /// Why.
        reason: ExitReason,
    },
    /// It ended on its own account, or was killed.
    Exited {
        /// Why.
        reason: ExitReason,
    },
    /// It was told to stop and did, in order.
    Stopped,
    /// Its supervisor is about to start it again.
    Restarting {
        /// 1 at the first restart of this child.
        attempt: u32,
    },
    /// The supervisor reached its restart intensity; it stops its children, then itself.
    GaveUp,
    /// Messages to it that nobody will handle.
    DeadLetters {
        /// How many.
        count: usize,
        /// Why.
        cause: DeadLetterCause,
    },
    /// Its turn lasts longer than the [watchdog](crate::SystemBuilder::watchdog) allows, and still does: no other actor
    /// and no other task runs on its thread meanwhile. Told again whenever it has lasted twice as long. What blocks belongs into
    /// [`blocking`](crate::Context::blocking), what computes for long needs an `.await` now and then.
    Blocked {
        /// For how long, as far as is known.
        elapsed: Duration,
    },
    /// It begins to handle something. Told only of those that are [traced](crate::System::trace).
    Received {
        /// What.
        input: Input,
        /// The type of its messages.
        message_type: &'static str,
        /// How many entries of its mailbox wait behind this one; see [`ActorInfo::depth`](crate::ActorInfo::depth).
        depth: usize,
    },
    /// It is done with what it received last, or its end came in between. Told only of those that are
    /// [traced](crate::System::trace).
    Handled {
        /// What.
        input: Input,
        /// The type of its messages.
        message_type: &'static str,
        /// How many entries of its mailbox wait.
        depth: usize,
        /// How long that took, with all that the actor waited for meanwhile.
        elapsed: Duration,
    },
}

/// Why nobody will handle a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterCause {
    /// The mailbox closed while it was in it, or the actor ended that had put it aside.
    Closed,
    /// The mailbox was full, and drops what it has [no room](crate::Overflow) for.
    Overflow,
    /// It waited longer than its [time to live](crate::MailboxOptions::ttl).
    Expired,
    /// Its sender was faster than the end of the actor, but it came after it.
    Late,
}

/// What an actor handles, without its content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A message that somebody sent, or that was put off.
    Message,
    /// The message of a timer.
    Timer,
    /// [`Info::Timeout`].
    Timeout,
    /// [`Info::Continue`].
    Continue,
    /// [`Info::Down`].
    Down {
        /// The actor that ended.
        id: ActorId,
        /// Why.
        reason: ExitReason,
    },
    /// [`Info::Exit`].
    Exit {
        /// Who sent the signal, where that was an actor.
        from: Option<ActorId>,
        /// Why.
        reason: ExitReason,
    },
}

impl Input {
    pub(crate) fn of(info: &Info) -> Self {
        match info {
            Info::Down(down) => Self::Down { id: down.id, reason: down.reason.clone() },
            Info::Timeout => Self::Timeout,
            Info::Continue => Self::Continue,
            Info::Exit(exit) => Self::Exit { from: exit.from, reason: exit.reason.clone() },
        }
    }
}

/// What a traced actor has in hand, and since when.
#[derive(Default)]
pub(crate) struct Trace(Option<(Input, Instant)>);

impl Trace {
    pub(crate) fn begin(&mut self, cell: &AnyCell, input: Input) {
        self.0 = None;
        if !cell.is_traced() {
            return;
        }
        let (message_type, depth) = (cell.message_type(), cell.depth());
        cell.told_by().tell(EventKind::Received { input: input.clone(), message_type, depth });
        self.0 = Some((input, Instant::now()));
    }

    pub(crate) fn done(&mut self, cell: &AnyCell) {
        let Some((input, since)) = self.0.take().filter(|_| cell.is_traced()) else { return };
        let (message_type, depth) = (cell.message_type(), cell.depth());
        let elapsed = since.elapsed();
        cell.told_by().tell(EventKind::Handled { input, message_type, depth, elapsed });
    }
}

/// The observer of a system, with the subject of its events.
#[derive(Clone)]
pub(crate) struct Reporter {
    observer: Option<Arc<dyn Observer>>,
    counters: Option<Arc<Counters>>,
    /// Nothing is told, only counted.
    silent: bool,
    path: Option<Arc<str>>,
    id: ActorId,
}

impl Reporter {
    pub(crate) fn new(system: &system::Inner, path: Option<Arc<str>>, id: ActorId) -> Self {
        let counters = Some(Arc::clone(system.counters()));
        Self { observer: system.observer().cloned(), counters, silent: false, path, id }
    }

    /// Of something that is counted, where there is a system to count it, but of which nothing is told.
    pub(crate) fn silent(system: Option<&system::Inner>, id: ActorId) -> Self {
        let counters = system.map(|system| Arc::clone(system.counters()));
        Self { observer: None, counters, silent: true, path: None, id }
    }

    pub(crate) fn tell(&self, kind: EventKind) {
        self.count(&kind);
        if self.silent || self.observer.is_none() && !log::is_on() {
            return;
        }
        let path = self.path.clone().unwrap_or_else(|| self.id.to_string().into());
        let event = Event { path, id: self.id, kind };
        // Observers are guests in the actor's task.
        quietly(|| log::write(&event));
        if let Some(observer) = &self.observer {
            quietly(|| observer.event(&event));
        }
    }

    fn count(&self, kind: &EventKind) {
        let Some(counters) = &self.counters else { return };
        match kind {
            EventKind::Restarting { .. } => counters.add(Count::Restarts, 1),
            EventKind::Blocked { .. } => counters.add(Count::Blocked, 1),
            EventKind::DeadLetters { count, cause } => counters.add(Count::of(*cause), *count as u64),
            _ => {}
        }
    }
}
