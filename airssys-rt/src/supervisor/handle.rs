//! A running supervisor, from outside.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::child::Handle;
use super::driver::Event;
use crate::actor_ref::ActorId;
use crate::exit::ExitReason;

/// A running supervision tree.
///
/// Cheap to clone. Dropping it stops nothing.
#[derive(Clone)]
pub struct SupervisorRef {
    pub(super) id: ActorId,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) exit: watch::Receiver<Option<ExitReason>>,
}

/// A child in a snapshot of the tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; `None` while it does not run.
    pub id: Option<ActorId>,
    /// What it is.
    pub kind: ChildKind,
    /// What it does.
    pub state: ChildState,
    /// How often it has been started again, for its own failure or a sibling's.
    pub restarts: u32,
    /// Its own children, in start order, where it is a supervisor.
    pub children: Vec<ChildInfo>,
}

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// An actor.
    Actor,
    /// A supervisor with children of its own.
    Supervisor,
}

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It is initialised, or about to be started.
    Starting,
    /// It runs.
    Running,
    /// It has been told to stop.
    Stopping,
    /// It does not run: it is done, or chose in `init` not to.
    Stopped,
}

impl SupervisorRef {
    /// The identity of the supervisor.
    pub fn id(&self) -> ActorId {
        self.id
    }

    /// Stops the tree: the children in reverse start order, each within its shutdown time, then the supervisor.
    /// Resolves when all have ended; at once where they have already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back; the tree goes on stopping.
    pub async fn shutdown(&self) {
        self.stop(true);
        self.exited().await;
    }

    /// Waits until the supervisor and all below it have ended, and says why it did.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn exited(&self) -> ExitReason {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(ExitReason::Killed),
            // The runtime was shut down around it.
            Err(_) => ExitReason::Killed,
        }
    }

    /// Takes a snapshot of the tree: the children in start order, those of supervisors below them. Empty where the
    /// supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn which_children(&self) -> Vec<ChildInfo> {
        self.snapshot().await
    }

    /// Boxed, because the tree is as deep as its maker likes.
    fn snapshot(&self) -> Pin<Box<dyn Future<Output = Vec<ChildInfo>> + Send + '_>> {
        Box::pin(async move {
            let (reply, rows) = oneshot::channel();
            if self.events.send(Event::Ask(reply)).is_err() {
                return Vec::new();
            }
            let mut children = Vec::new();
            for (mut child, supervisor) in rows.await.unwrap_or_default() {
                if let Some(supervisor) = supervisor {
                    child.children = supervisor.snapshot().await;
                }
                children.push(child);
            }
            children
        })
    }
}

/// A supervisor that has ended needs no orders: what cannot be sent is not needed.
impl Handle for SupervisorRef {
    fn stop(&self, last: bool) {
        drop(self.events.send(Event::Stop { last }));
    }

    fn kill(&self) {
        drop(self.events.send(Event::Kill));
    }

    fn supervisor(&self) -> Option<SupervisorRef> {
        Some(self.clone())
    }
}

impl fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SupervisorRef({})", self.id)
    }
}
