//! Workers of one kind under a supervisor, behind one address.
//!
//! `choose` decides who gets a message.

mod choose;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use choose::{jump, two_of};

use crate::actor::Actor;
use crate::actor_ref::{ActorRef, SendError};
use crate::call::{CallError, Reply};
use crate::link::Until;
use crate::mailbox::Mailbox;
use crate::supervisor::{ChildSpec, Strategy, Supervisor};

/// A supervisor's default period: a pool allows each worker one failure in it.
const DEFAULT_PERIOD: Duration = Duration::from_secs(5);

/// The description of a pool: so many workers of one kind, each a supervised actor with a mailbox that outlives it.
///
/// A worker that fails is started again and goes on with its queue: only the message that it was handling is lost.
/// While it does not run, new messages go to workers that do; where none runs, they wait in the queues.
///
/// ```
/// # use airssys_rt::{Actor, Context, ExitReason, Pool, Reply, System};
/// # use std::time::Duration;
/// struct Squarer;
/// impl Actor for Squarer {
///     type Msg = (u64, Reply<u64>);
///     async fn handle(&mut self, (n, reply): Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
///         reply.send(n * n);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (supervisor, squarers) = Pool::new("squarers", 4, |_| Squarer).build();
/// let tree = System::new().start(supervisor).await?;
/// assert_eq!(squarers.call(|reply| (12, reply), Duration::from_secs(60)).await?, 144);
/// tree.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Pool<A: Actor> {
    name: Arc<str>,
    size: usize,
    make: Arc<dyn Fn(usize) -> A + Send + Sync>,
    balance: Balance,
    capacity: usize,
    intensity: (usize, Duration),
    adapt: Box<dyn Fn(ChildSpec) -> ChildSpec + Send + Sync>,
}

/// Who gets the next message, unless its key says it ([`PoolRef::by_key`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other. For messages that cost about the same.
    #[default]
    RoundRobin,
    /// Of two workers taken at random, the one with fewer messages in its mailbox. Nearly as even as looking at all,
    /// at the price of looking at two. For messages whose costs differ.
    LeastLoaded,
}

impl<A: Actor> Pool<A> {
    /// Describes a pool of `size` workers, at least one; `make` makes the worker of an index below `size`, anew for
    /// each start.
    ///
    /// Round robin; mailboxes of the default capacity; as many restarts in five seconds as there are workers.
    pub fn new(
        name: impl Into<Arc<str>>,
        size: usize,
        make: impl Fn(usize) -> A + Send + Sync + 'static,
    ) -> Self {
        let size = size.max(1);
        Self {
            name: name.into(),
            size,
            make: Arc::new(make),
            balance: Balance::default(),
            capacity: crate::mailbox::MailboxOptions::DEFAULT_CAPACITY,
            intensity: (size, DEFAULT_PERIOD),
            adapt: Box::new(|spec| spec),
        }
    }

    /// Sets who gets the next message.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// Sets how many messages wait for one worker at most, at least one.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// Allows at most `max_restarts` restarts of its workers in any `period`.
    pub fn intensity(mut self, max_restarts: usize, period: Duration) -> Self {
        self.intensity = (max_restarts, period);
        self
    }

    /// Changes how the workers are restarted and stopped: `adapt` gets the description of each.
    pub fn workers(mut self, adapt: impl Fn(ChildSpec) -> ChildSpec + Send + Sync + 'static) -> Self {
        self.adapt = Box::new(adapt);
        self
    }

    /// Makes the supervisor, to [`start`](crate::System::start) or to place in a tree by
    /// [`ChildSpec::supervisor`], and the pool's address.
    ///
    /// Messages may be sent before the start; they wait. When the supervisor has ended for good, so have the
    /// mailboxes, and senders are refused.
    pub fn build(self) -> (Supervisor, PoolRef<A::Msg>) {
        let (max_restarts, period) = self.intensity;
        let mut supervisor = Supervisor::new(self.name, Strategy::OneForOne).intensity(max_restarts, period);
        let new = |_| {
            let mailbox = Mailbox::bounded(self.capacity);
            (Worker { actor: mailbox.actor_ref(), running: Arc::default() }, mailbox)
        };
        let first = new(0);
        let mut workers = Vec::with_capacity(self.size);
        let first_worker = first.0.clone();
        for (index, (worker, mailbox)) in std::iter::once(first).chain((1..self.size).map(new)).enumerate() {
            let (starting, make) = (worker.clone(), Arc::clone(&self.make));
            let name = format!("worker-{index}");
            let spec = ChildSpec::actor_with_mailbox(name, mailbox, move || {
                let actor = make(index);
                starting.starts();
                actor
            });
            supervisor = supervisor.child((self.adapt)(spec));
            workers.push(worker);
        }
        let inner = Inner { workers, first: first_worker, balance: self.balance, turn: AtomicU64::new(0) };
        (supervisor, PoolRef { inner: Arc::new(inner) })
    }
}

/// Where to send what any worker of a [`Pool`] can handle.
///
/// Cheap to clone. It does not keep the pool alive.
pub struct PoolRef<M> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    workers: Vec<Worker<M>>,
    /// The first of them: what says in the type that there is one.
    first: Worker<M>,
    balance: Balance,
    /// How often a worker was chosen.
    turn: AtomicU64,
}

struct Worker<M> {
    actor: ActorRef<M>,
    /// Whether an incarnation has started, initialised or not, and not ended.
    running: Arc<AtomicBool>,
}

impl<M: Send + 'static> Worker<M> {
    fn starts(&self) {
        let running = Arc::clone(&self.running);
        let ends = Box::new(move |_: &_| running.store(false, Ordering::Release));
        self.running.store(true, Ordering::Release);
        // The mailbox is open, because this very incarnation reads it; so there is an end to come.
        let _ = self.actor.at_end(Until::Exit, ends);
    }

    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }
}

impl<M: Send + 'static> PoolRef<M> {
    /// Sends a message to a worker: to the one whose turn it is, or else to the next that has room. Waits where none
    /// has.
    ///
    /// Messages of one sender are handled in any order, unless they have a [key](Self::by_key).
    ///
    /// # Errors
    ///
    /// No worker takes messages any more; the error holds the message.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops the message: it was not and will not be delivered.
    pub async fn cast(&self, message: M) -> Result<(), SendError<M>> {
        let first = self.first();
        let mut message = match self.try_from(first, message) {
            Ok(()) => return Ok(()),
            Err(SendError::NoProc(message)) => return Err(SendError::NoProc(message)),
            Err(SendError::Full(message)) => message,
        };
        for worker in self.candidates(first) {
            match worker.actor.cast(message).await {
                Ok(()) => return Ok(()),
                // It went for good while we waited.
                Err(SendError::NoProc(back) | SendError::Full(back)) => message = back,
            }
        }
        Err(SendError::NoProc(message))
    }

    /// Sends a message to a worker, if one has room for it now.
    ///
    /// # Errors
    ///
    /// All mailboxes are full, or no worker takes messages any more; the error holds the message.
    pub fn try_cast(&self, message: M) -> Result<(), SendError<M>> {
        self.try_from(self.first(), message)
    }

    /// Sends a request to the worker whose turn it is, and waits for the answer.
    ///
    /// A restart on the way is no error for what still waits in the queue, if it is handled within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`ActorRef::call`]; [`CallError::Dropped`] where the worker failed with this very request.
    ///
    /// # Cancel safety
    ///
    /// As [`ActorRef::call`].
    pub async fn call<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> M,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let worker = self.candidates(self.first()).find(|worker| worker.actor.is_alive());
        match worker {
            Some(worker) => worker.actor.call(request, timeout).await,
            None => Err(CallError::NoProc),
        }
    }

    /// The worker that handles what has this key: always the same, across all restarts. So messages of one sender with
    /// one key are handled in their order, and a worker may keep what belongs to its keys.
    ///
    /// Where the worker does not run, messages wait in its queue. In a pool of another size most keys have the worker of
    /// the same index (jump consistent hashing). The hash has no secret: who chooses keys can choose a worker.
    pub fn by_key(&self, key: &(impl Hash + ?Sized)) -> &ActorRef<M> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.worker(jump(hasher.finish(), self.size())).actor
    }

    /// The workers, by index.
    pub fn workers(&self) -> impl Iterator<Item = &ActorRef<M>> {
        self.inner.workers.iter().map(|worker| &worker.actor)
    }

    /// How many workers there are.
    pub fn size(&self) -> usize {
        self.inner.workers.len()
    }

    /// How many workers run now.
    pub fn running(&self) -> usize {
        self.inner.workers.iter().filter(|worker| worker.is_running()).count()
    }

    /// How many messages wait, in all mailboxes.
    pub fn depth(&self) -> usize {
        self.workers().map(ActorRef::depth).sum()
    }

    fn try_from(&self, first: usize, mut message: M) -> Result<(), SendError<M>> {
        let mut full = false;
        for worker in self.candidates(first) {
            message = match worker.actor.try_cast(message) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    full |= matches!(error, SendError::Full(_));
                    error.into_message()
                }
            };
        }
        Err(if full { SendError::Full(message) } else { SendError::NoProc(message) })
    }

    /// The index of the worker to ask first.
    fn first(&self) -> usize {
        let turn = self.inner.turn.fetch_add(1, Ordering::Relaxed);
        match self.inner.balance {
            Balance::RoundRobin => (turn % self.size() as u64) as usize,
            Balance::LeastLoaded => {
                let (one, other) = two_of(turn, self.size());
                let load = |index| {
                    let worker = self.worker(index);
                    (!worker.is_running(), worker.actor.depth())
                };
                if load(other) < load(one) { other } else { one }
            }
        }
    }

    /// The workers in the order in which to ask them: from `first` on, those that run; then all, because meanwhile
    /// another may run.
    fn candidates(&self, first: usize) -> impl Iterator<Item = &Worker<M>> {
        let (before, from) = self.inner.workers.split_at_checked(first).unwrap_or_default();
        let ring = from.iter().chain(before);
        ring.clone().filter(|worker| worker.is_running()).chain(ring)
    }

    fn worker(&self, index: usize) -> &Worker<M> {
        self.inner.workers.get(index).unwrap_or(&self.inner.first)
    }
}

impl<M> Clone for PoolRef<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M> Clone for Worker<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), running: Arc::clone(&self.running) }
    }
}

impl<M> fmt::Debug for PoolRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolRef({} workers)", self.inner.workers.len())
    }
}
