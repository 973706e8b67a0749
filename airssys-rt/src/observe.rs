//! What happens to actors, told to whoever wants to know. Nothing here decides anything.

use std::sync::Arc;

use crate::actor_ref::ActorId;
use crate::exit::{ExitReason, quietly};

/// Is told of each event in the life of the actors and supervisors of a system.
///
/// It is called where the event happens, on the thread of the actor concerned, so it must be quick. Should it
/// panic, the event is lost and the actor lives on.
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
    /// Messages that nobody will handle: its mailbox closed with them in it, or had no room.
    DeadLetters {
        /// How many.
        count: usize,
    },
}

/// The observer of a system, with the subject of its events.
#[derive(Clone)]
pub(crate) struct Reporter {
    observer: Option<Arc<dyn Observer>>,
    path: Option<Arc<str>>,
    id: ActorId,
}

impl Reporter {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>, path: Option<Arc<str>>, id: ActorId) -> Self {
        Self { observer, path, id }
    }

    pub(crate) fn tell(&self, kind: EventKind) {
        let Some(observer) = &self.observer else { return };
        let path = self.path.clone().unwrap_or_else(|| self.id.to_string().into());
        let event = Event { path, id: self.id, kind };
        // An observer is a guest in the actor's task.
        quietly(|| observer.event(&event));
    }
}
