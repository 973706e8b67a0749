//! Tasks: OTP has none, Elixir's `Task` is what they are after. One piece of work as an actor of its own.
//!
//! ```
//! use airssys_rt::{System, task};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let system = System::new();
//! let answer = system.task(async { 6 * 7 });
//! assert_eq!(answer.await.ok(), Some(42));
//!
//! // At most four at once; the results come in the order of the items.
//! let mut squares = task::map(&system, 1..=10, 4, |n: u64| async move { n * n });
//! let mut sum = 0;
//! while let Some(square) = squares.next().await {
//!     sum += square.unwrap_or(0);
//! }
//! assert_eq!(sum, 385);
//! # Ok(())
//! # }
//! ```

mod blocking;
mod job;
mod map;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use blocking::Blocking;
pub use blocking::{BlockingError, BlockingStats};
pub use map::{Map, map};

use crate::actor::{Actor, Context};
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, AnyCell};
use crate::exit::ExitReason;
use crate::supervisor::{ChildSpec, Restart, Shutdown};
use crate::system::System;

/// A piece of work that runs as an actor of its own, and its result.
///
/// It has an id, observers are told of it, and a panic is the [`ExitReason::Panic`] of it alone. As a future it
/// resolves to the result, or to why there is none, when the actor has ended.
///
/// Dropped, it takes its work with it: what nobody waits for any more is killed at its next `.await`. Who wants it to
/// go on calls [`detach`](Self::detach). That of a [`System`] is linked to nobody: its end touches nobody who does not
/// ask (Elixir's `async_nolink`). That of a [`Context`] is linked to the actor.
#[must_use = "dropped, it is killed; `detach` lets it run"]
pub struct Task<T> {
    actor: ActorRef<Infallible>,
    /// The actor that it is linked to.
    owner: Option<AnyCell>,
    is_detached: bool,
    outcome: oneshot::Receiver<Result<T, ExitReason>>,
}

impl System {
    /// Starts a task.
    pub fn task<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        job::start(self, None, work)
    }
}

impl<A: Actor> Context<A> {
    /// Starts a task that is [linked](Self::link) to this actor: Elixir's `Task.async`. A panic of the one is the end
    /// of the other.
    ///
    /// A handler that waits for it keeps this actor from other messages. The task has no deadline of its own, because it may
    /// go on when the call in hand is answered: what it calls waits as long as it says. [`join`](Task::join) ends it when
    /// the caller does not wait any more. Stopping or dropping the task takes the link
    /// back first, so that does not end this actor; detached, it stays linked. An actor that traps exits gets an
    /// [`Info::Exit`](crate::Info::Exit) when the task ends, with `Normal` after a result.
    ///
    /// ```
    /// # use airssys_rt::{Actor, Context, ExitReason, Reply, System};
    /// struct Summer;
    ///
    /// impl Actor for Summer {
    ///     type Msg = (Vec<u64>, Reply<u64>);
    ///
    ///     async fn handle(&mut self, (numbers, reply): Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
    ///         let (left, right) = numbers.split_at(numbers.len() / 2);
    ///         let (left, right) = (left.to_vec(), right.to_vec());
    ///         let left = cx.task(async move { left.iter().sum::<u64>() });
    ///         reply.send(right.iter().sum::<u64>() + left.await?);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let summer = System::new().spawn(Summer);
    /// let sum = summer.call(|reply| (vec![1, 2, 3], reply), std::time::Duration::from_secs(60)).await;
    /// assert_eq!(sum, Ok(6));
    /// # }
    /// ```
    pub fn task<T: Send + 'static>(&mut self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        job::start(self.system(), Some(self.cell()), work)
    }
}

impl<T> Task<T> {
    /// The identity of the actor that it is.
    pub fn id(&self) -> ActorId {
        self.actor.id()
    }

    /// The actor that it is: to monitor it, for there is nothing to send to it.
    pub fn actor_ref(&self) -> ActorRef<Infallible> {
        self.actor.clone()
    }

    /// Waits for the result, at most for `timeout`: Elixir's `Task.await`. As a [`call`](ActorRef::call), it does not wait
    /// longer than the one who called the actor that handles a call meanwhile.
    ///
    /// # Errors
    ///
    /// * [`TaskError::Timeout`]: there was no result in time. The task is killed.
    /// * [`TaskError::Exit`]: it ended without a result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the task, as dropping the task does.
    pub async fn join(mut self, timeout: Duration) -> Result<T, TaskError> {
        let left = cell::deadline().map(|until| until.instant().saturating_duration_since(Instant::now()));
        match self.yield_for(left.map_or(timeout, |left| left.min(timeout))).await {
            Some(outcome) => outcome.map_err(TaskError::Exit),
            None => Err(TaskError::Timeout),
        }
    }

    /// Waits for the result, at most for `timeout`, and lets the task go on where there is none yet: Elixir's
    /// `Task.yield`. The result is given once; later the task counts as [`NoProc`](ExitReason::NoProc).
    ///
    /// # Errors
    ///
    /// Inside: why it ended without a result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind; the task goes on.
    pub async fn yield_for(&mut self, timeout: Duration) -> Option<Result<T, ExitReason>> {
        tokio::time::timeout(timeout, self).await.ok()
    }

    /// Stops the task and waits until it has ended: Elixir's `Task.shutdown`. A result that was there already is
    /// given all the same.
    ///
    /// A task does not trap exits, so [`Shutdown::Timeout`] and [`Shutdown::Infinity`] end it in order, at its next
    /// `.await`, with [`ExitReason::Shutdown`]; [`Shutdown::BrutalKill`] is the same with [`ExitReason::Killed`]. Only
    /// the time that is waited differs: work that does not come to an `.await` within the timeout is left to be killed.
    ///
    /// # Errors
    ///
    /// Inside: why it ended without a result. `None` says that it had not ended within the timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the task.
    pub async fn shutdown(mut self, how: Shutdown) -> Option<Result<T, ExitReason>> {
        self.unlink();
        match how {
            Shutdown::BrutalKill => self.actor.kill(),
            Shutdown::Timeout(_) | Shutdown::Infinity => self.actor.stop(ExitReason::Shutdown),
        }
        match how {
            Shutdown::Timeout(timeout) => self.yield_for(timeout).await,
            Shutdown::BrutalKill | Shutdown::Infinity => Some((&mut self).await),
        }
    }

    /// Lets the task run on without anybody who waits for it: Elixir's `Task.start`.
    pub fn detach(mut self) -> ActorRef<Infallible> {
        self.is_detached = true;
        self.actor.clone()
    }

    /// Its owner has had enough of it; that is no reason for the owner to end.
    fn unlink(&mut self) {
        if let Some(owner) = self.owner.take() {
            owner.remove_link(self.id());
            self.actor.cell().remove_link(owner.id());
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, ExitReason>;

    fn poll(mut self: Pin<&mut Self>, task: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        if self.outcome.is_terminated() {
            return Poll::Ready(Err(ExitReason::NoProc));
        }
        let outcome = ready!(Pin::new(&mut self.outcome).poll(task));
        // Without a word: the runtime was shut down around it.
        Poll::Ready(outcome.unwrap_or(Err(ExitReason::Killed)))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.is_detached && self.actor.is_alive() {
            self.unlink();
            self.actor.kill();
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.actor.id())
    }
}

/// Why a task that was joined has no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// It took longer than the caller waits. It was killed.
    Timeout,
    /// It ended without a result: it panicked, or was stopped.
    Exit(ExitReason),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no result in time"),
            Self::Exit(reason) => write!(f, "the task ended: {reason}"),
        }
    }
}

impl Error for TaskError {}

impl ChildSpec {
    /// Describes a task below a supervisor: `make` makes its work anew for each start.
    ///
    /// It is [`Transient`](Restart::Transient): done when it is done, and started again when it panicked or gave an
    /// error. Told to stop, it ends at its next `.await`. It counts as started as soon as it runs.
    ///
    /// ```
    /// # use airssys_rt::{ChildSpec, Strategy, Supervisor};
    /// let warm_up = ChildSpec::task("warm-up", || async { Ok(()) });
    /// # let _ = Supervisor::new("top", Strategy::OneForOne).child(warm_up);
    /// ```
    pub fn task<F>(name: impl Into<Arc<str>>, make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), ExitReason>> + Send + 'static,
    {
        Self::actor(name, move || job::supervised(make())).restart(Restart::Transient)
    }
}
