//! A running supervisor, from outside.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::admin::{Admin, ChildError, Lane};
use super::child::{ChildSpec, Handle};
use super::life::{Order, Orders};
use crate::actor_ref::ActorId;
use crate::exit::ExitReason;

/// A running supervision tree, or a part of one.
///
/// Cheap to clone. Dropping it stops nothing. It stands for one incarnation: a supervisor that its own supervisor
/// starts again is another one, which [`which_children`](Self::which_children) of the one above finds.
///
/// Children can be added and removed while it runs; the errors are those of OTP's `supervisor` (`start_child/2`,
/// `terminate_child/2`, `restart_child/2`, `delete_child/2`). Unlike OTP's, it takes such requests while a restart
/// is under way, and goes on supervising while they are.
#[derive(Clone)]
pub struct SupervisorRef {
    pub(super) id: ActorId,
    pub(super) lane: Arc<dyn Lane>,
    pub(super) orders: Arc<Orders>,
    pub(super) exit: watch::Receiver<Option<ExitReason>>,
}

/// A child in a snapshot of the tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its name. Children of a dynamic supervisor have none; theirs is `*`.
    pub name: Arc<str>,
    /// Its id; `None` while it does not run.
    pub id: Option<ActorId>,
    /// What it is.
    pub kind: ChildKind,
    /// What it does.
    pub state: ChildState,
    /// How often it has been started again, for its own failure or a sibling's.
    pub restarts: u32,
    /// Its own children, in start order, where it is a supervisor. The children of a dynamic supervisor, of which
    /// there may be a million, are not in the snapshot of a tree above it: ask [`supervisor`](Self::supervisor).
    pub children: Vec<ChildInfo>,
    /// The running supervisor, where it is one.
    pub supervisor: Option<SupervisorRef>,
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
    /// It does not run: it is done, was terminated, or chose in `init` not to.
    Stopped,
}

/// How many children a supervisor has, as OTP's `count_children/1` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildCount {
    /// Descriptions, whether their children run or not. A dynamic supervisor has one.
    pub specs: usize,
    /// Children that have been started and have not ended.
    pub active: usize,
    /// Children that are supervisors, whether they run or not.
    pub supervisors: usize,
    /// Children that are actors, whether they run or not.
    pub workers: usize,
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
            let mut children = self.ask(Admin::Which).await.unwrap_or_default();
            for child in &mut children {
                if let Some(supervisor) = child.supervisor.as_ref().filter(|below| !below.lane.is_dynamic()) {
                    child.children = supervisor.snapshot().await;
                }
            }
            children
        })
    }

    /// Counts the children, not those below them. All zero where the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn count_children(&self) -> ChildCount {
        self.ask(Admin::Count).await.unwrap_or_default()
    }

    /// Adds a child after all others and starts it; resolves when it is initialised, with its id, or without one
    /// where it chose not to run.
    ///
    /// # Errors
    ///
    /// * [`AlreadyStarted`](ChildError::AlreadyStarted), [`AlreadyPresent`](ChildError::AlreadyPresent): its name is
    ///   taken.
    /// * [`Invalid`](ChildError::Invalid): it is significant, and must not be.
    /// * [`Failed`](ChildError::Failed): it did not start. The description is discarded, nothing else is touched.
    /// * [`Dynamic`](ChildError::Dynamic): use [`DynamicRef::start_child`](crate::DynamicRef::start_child).
    /// * [`NoProc`](ChildError::NoProc): the supervisor has ended, or is about to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back; the child's name tells what became of it.
    pub async fn start_child(&self, child: ChildSpec) -> Result<Option<ActorId>, ChildError> {
        let child = Box::new(child);
        self.order(|answer| Admin::Start(child, answer)).await
    }

    /// Stops a child, as its [`Shutdown`](crate::Shutdown) says, and takes back any restart of it. Resolves when it
    /// has ended; at once where it does not run.
    ///
    /// Its description is kept, except that of a temporary child: [`restart_child`](Self::restart_child), or the
    /// failure of a sibling with which it is restarted, starts it again.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ChildError::NotFound): no child has this name.
    /// * [`Dynamic`](ChildError::Dynamic): use [`DynamicRef::terminate_child`](crate::DynamicRef::terminate_child).
    /// * [`NoProc`](ChildError::NoProc): the supervisor has ended, or is about to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back.
    pub async fn terminate_child(&self, name: &str) -> Result<(), ChildError> {
        self.order(|answer| Admin::Terminate(name.into(), answer)).await
    }

    /// Starts a child that does not run; resolves when it is initialised, with its id, or without one where it
    /// chose not to run.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ChildError::NotFound), [`Running`](ChildError::Running),
    ///   [`Restarting`](ChildError::Restarting): there is nothing to start.
    /// * [`Failed`](ChildError::Failed): it did not start. The description is kept, nothing else is touched.
    /// * [`Dynamic`](ChildError::Dynamic): its children are not kept when they end.
    /// * [`NoProc`](ChildError::NoProc): the supervisor has ended, or is about to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back.
    pub async fn restart_child(&self, name: &str) -> Result<Option<ActorId>, ChildError> {
        self.order(|answer| Admin::Restart(name.into(), answer)).await
    }

    /// Forgets a child that does not run. A mailbox that only its description owned closes.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ChildError::NotFound): no child has this name.
    /// * [`Running`](ChildError::Running), [`Restarting`](ChildError::Restarting): terminate it first.
    /// * [`Dynamic`](ChildError::Dynamic): its children are not kept when they end.
    /// * [`NoProc`](ChildError::NoProc): the supervisor has ended, or is about to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back.
    pub async fn delete_child(&self, name: &str) -> Result<(), ChildError> {
        self.order(|answer| Admin::Delete(name.into(), answer)).await
    }

    async fn order<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, ChildError>>) -> Admin,
    ) -> Result<T, ChildError> {
        // One that was told to stop takes no more, lest its end waits behind a crowd.
        if self.orders.strongest() > Order::Run {
            return Err(ChildError::NoProc);
        }
        self.ask(request).await.unwrap_or(Err(ChildError::NoProc))
    }

    /// `None` where the supervisor ends before it answers.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Admin) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        if !self.lane.post(request(answer)) {
            return None;
        }
        answered.await.ok()
    }

    fn obey(&self, order: Order) {
        self.orders.raise(order);
        // One that has ended needs no orders.
        self.lane.post(Admin::Obey);
    }
}

impl Handle for SupervisorRef {
    fn stop(&self, last: bool) {
        self.obey(if last { Order::StopForGood } else { Order::Stop });
    }

    fn kill(&self) {
        self.obey(Order::Kill);
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
