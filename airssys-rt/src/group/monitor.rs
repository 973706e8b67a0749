//! Telling who joins and leaves a group.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::task::AbortHandle;

use super::GroupError;
use crate::actor_ref::ActorRef;
use crate::membership::Member;
use crate::system::System;

/// How many events wait for a monitor. One that is further behind is better told how things stand.
const WAITING_EVENTS: usize = 1024;

/// Who is in a group, comes or goes.
pub enum GroupEvent<M> {
    /// An actor joined, perhaps not for the first time.
    Joined(ActorRef<M>),
    /// An actor left once; one that ends leaves as often as it had joined.
    Left(ActorRef<M>),
    /// These are the members now: what a monitor is told first, and again where it was too far behind to be told of
    /// everything.
    Members(Arc<[ActorRef<M>]>),
}

impl<M> Clone for GroupEvent<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Joined(actor) => Self::Joined(actor.clone()),
            Self::Left(actor) => Self::Left(actor.clone()),
            Self::Members(members) => Self::Members(Arc::clone(members)),
        }
    }
}

impl<M> std::fmt::Debug for GroupEvent<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Joined(actor) => write!(f, "Joined({actor:?})"),
            Self::Left(actor) => write!(f, "Left({actor:?})"),
            Self::Members(members) => write!(f, "Members({members:?})"),
        }
    }
}

/// Watches a group, as [`Group::monitor`](super::Group::monitor) made it. Dropped, it is over.
///
/// At most 1024 events wait for it; then they are replaced by one [`GroupEvent::Members`].
pub struct GroupMonitor<M: Send + 'static> {
    system: System,
    group: Arc<str>,
    queue: Arc<Queue<M>>,
}

impl<M: Send + 'static> GroupMonitor<M> {
    pub(super) fn new(system: &System, group: &Arc<str>) -> Result<Self, GroupError> {
        let queue = Arc::new(Queue::default());
        system.groups().with(group, |table| {
            // Nobody waits yet, so there is nobody to wake.
            drop(queue.push(&GroupEvent::Members(table.snapshot())));
            table.watch(Arc::clone(&queue));
        })?;
        Ok(Self { system: system.clone(), group: Arc::clone(group), queue })
    }

    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> GroupEvent<M> {
        poll_fn(|task| self.poll_next(task)).await
    }

    /// Takes the next event, or has the task woken when there is one.
    pub fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<GroupEvent<M>> {
        {
            let mut inbox = self.queue.lock();
            if !inbox.lagged {
                return match inbox.events.pop_front() {
                    Some(event) => Poll::Ready(event),
                    None => {
                        inbox.waker = Some(task.waker().clone());
                        Poll::Pending
                    }
                };
            }
        }
        // Under the lock of the group, so that what comes after these members is told again.
        let members = self.system.groups().with(&self.group, |table| {
            self.queue.lock().lagged = false;
            table.snapshot()
        });
        // The table is there, and of this type, as long as this monitor is.
        Poll::Ready(GroupEvent::Members(members.unwrap_or_default()))
    }

    /// Sends the events to an actor, as messages that `map` makes, waiting for room in its mailbox.
    ///
    /// It ends when the returned guard is dropped, with the actor's incarnation, or when `map` panics.
    pub fn forward<N: Send + 'static>(
        mut self,
        actor: &impl Member<N>,
        mut map: impl FnMut(GroupEvent<M>) -> N + Send + 'static,
    ) -> Forward {
        let actor = actor.address();
        let runtime = self.system.runtime().clone();
        let task = runtime.spawn(async move {
            let mut exited = pin!(actor.exited());
            loop {
                let next = poll_fn(|task| match exited.as_mut().poll(task) {
                    Poll::Ready(_) => Poll::Ready(None),
                    Poll::Pending => self.poll_next(task).map(Some),
                });
                let Some(event) = next.await else { return };
                if actor.cast(map(event)).await.is_err() {
                    return;
                }
            }
        });
        Forward(task.abort_handle())
    }
}

impl<M: Send + 'static> Drop for GroupMonitor<M> {
    fn drop(&mut self) {
        // It fails where the table is another's, who then does not know this queue.
        drop(self.system.groups().with(&self.group, |table| table.unwatch(&self.queue)));
    }
}

/// Keeps the events of a group going to an actor, until it is dropped.
#[derive(Debug)]
pub struct Forward(AbortHandle);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The events that wait for one monitor. Its lock is taken after the group's.
pub(super) struct Queue<M>(Mutex<Inbox<M>>);

struct Inbox<M> {
    events: VecDeque<GroupEvent<M>>,
    /// Whether events were lost, so that the members themselves are what to tell next.
    lagged: bool,
    waker: Option<Waker>,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self(Mutex::new(Inbox { events: VecDeque::new(), lagged: false, waker: None }))
    }
}

impl<M> Queue<M> {
    /// Adds an event; who waits for it is to be woken when the lock of the group is free.
    pub(super) fn push(&self, event: &GroupEvent<M>) -> Option<Waker> {
        let mut inbox = self.lock();
        if inbox.events.len() == WAITING_EVENTS {
            inbox.events = VecDeque::new();
            inbox.lagged = true;
        }
        if !inbox.lagged {
            inbox.events.push_back(event.clone());
        }
        inbox.waker.take()
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
