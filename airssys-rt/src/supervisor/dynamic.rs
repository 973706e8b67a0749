//! Supervisors with many children of one kind, started when they are needed.

mod entry;
mod hub;
mod slab;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use self::entry::{Begun, Event};
use self::hub::Hub;
use super::admin::ChildError;
use super::backoff::Backoff;
use super::child::{ChildSpec, DEFAULT_SHUTDOWN, Restart, Shutdown};
use super::handle::ChildCount;
use super::probe::Probe;
use super::{DEFAULT_INTENSITY, DEFAULT_PERIOD};
use crate::actor::Actor;
use crate::actor_ref::{ActorId, ActorRef};
use crate::mailbox::MailboxOptions;

/// The description of a supervisor whose children are all made from one template, each with an argument of its own,
/// when they are asked for: OTP's `simple_one_for_one`, Elixir's `DynamicSupervisor`.
///
/// It begins without children. They do not depend on each other: each is restarted alone, with its argument, and at
/// the end they are all stopped at once and share one shutdown time. A child that ended for good is forgotten. The
/// restart intensity counts all of them together, so it is to be as large as they are many.
///
/// Each child costs the supervisor some hundred bytes beside its argument, and each start and end the same however
/// many there are. Children have no names: in events they are all at the place `*` below their supervisor, and only
/// their ids tell them apart.
///
/// ```
/// use airssys_rt::{Actor, ChildSpec, Context, DynamicSupervisor, ExitReason, Reply, Strategy, Supervisor, System};
/// use std::time::Duration;
///
/// struct Session { user: String }
/// enum Msg { Who(Reply<String>) }
/// impl Actor for Session {
///     type Msg = Msg;
///     async fn handle(&mut self, Msg::Who(reply): Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
///         reply.send(self.user.clone());
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = DynamicSupervisor::new("sessions", |user: String| Session { user }).max_children(10_000);
/// let door = sessions.dynamic_ref();
/// let top = Supervisor::new("top", Strategy::OneForOne).child(ChildSpec::dynamic(sessions));
/// let tree = System::new().start(top).await?;
///
/// let session = door.start_child("joe".to_owned()).await?;
/// assert_eq!(session.call(Msg::Who, Duration::from_secs(60)).await?, "joe");
/// tree.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct DynamicSupervisor<T, A: Actor> {
    template: Template<T, A>,
    front: Arc<Front<T, A::Msg>>,
}

/// What all children of a dynamic supervisor are made from.
struct Template<T, A: Actor> {
    name: Arc<str>,
    make: Box<dyn Fn(T) -> A + Send + Sync>,
    mailbox: MailboxOptions,
    restart: Restart,
    shutdown: Shutdown,
    drain: bool,
    max_children: usize,
    max_restarts: usize,
    period: Duration,
    backoff: Option<Backoff>,
    probe: Option<Arc<Probe<A::Msg>>>,
    seed: u64,
}

impl<T: Clone + Send + 'static, A: Actor> DynamicSupervisor<T, A> {
    /// Describes a dynamic supervisor; `make` makes a child, anew for each of its starts, of its argument.
    ///
    /// Its children are [`Permanent`](Restart::Permanent), have five seconds to stop, mailboxes of the default
    /// capacity and no limit to their number; one restart in five seconds is allowed.
    pub fn new(name: impl Into<Arc<str>>, make: impl Fn(T) -> A + Send + Sync + 'static) -> Self {
        let template = Template {
            name: name.into(),
            make: Box::new(make),
            mailbox: MailboxOptions::default(),
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(DEFAULT_SHUTDOWN),
            drain: false,
            max_children: usize::MAX,
            max_restarts: DEFAULT_INTENSITY,
            period: DEFAULT_PERIOD,
            backoff: None,
            probe: None,
            seed: 0,
        };
        Self { template, front: Arc::new(Front(Mutex::new(None))) }
    }

    /// Where children are asked for: before its first start and across restarts.
    pub fn dynamic_ref(&self) -> DynamicRef<T, A::Msg> {
        DynamicRef { front: Arc::clone(&self.front) }
    }

    /// Sets when a child is started again. An argument is only kept, and only copied, for children that may be.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.template.restart = restart;
        self
    }

    /// Sets how a child is stopped. At the end, the time is that of all children together.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.template.shutdown = shutdown;
        self
    }

    /// Sets whether a child, told to stop, first handles what is in its mailbox, within its shutdown time.
    pub fn drain(mut self, drain: bool) -> Self {
        self.template.drain = drain;
        self
    }

    /// Sets how many children there may be at once: running, starting, stopping or waiting for a restart.
    pub fn max_children(mut self, max_children: usize) -> Self {
        self.template.max_children = max_children.min(slab::MOST);
        self
    }

    /// Sets what the mailboxes of children are like.
    pub fn mailbox(mut self, options: MailboxOptions) -> Self {
        self.template.mailbox = options;
        self
    }

    /// Allows at most `max_restarts` restarts, of all children together, in any `period`.
    pub fn intensity(mut self, max_restarts: usize, period: Duration) -> Self {
        self.template.max_restarts = max_restarts;
        self.template.period = period;
        self
    }

    /// Sets how long a child that failed waits for its next start; not at all, unless set.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.template.backoff = Some(backoff);
        self
    }

    /// Sets how each child is asked whether it is well; not at all, unless set.
    ///
    /// Whoever asks is an actor too: with a probe, a child costs about twice as much.
    pub fn probe(mut self, probe: Probe<A::Msg>) -> Self {
        self.template.probe = Some(Arc::new(probe));
        self
    }

    /// Sets the seed of what is left to chance, as [`Supervisor::seed`](crate::Supervisor::seed) does.
    pub fn seed(mut self, seed: u64) -> Self {
        self.template.seed = seed;
        self
    }
}

impl ChildSpec {
    /// Describes a dynamic supervisor below this one, under its own name.
    ///
    /// It is [`Permanent`](Restart::Permanent) and has all the time it needs to stop. Started again, it begins
    /// without children, as in OTP.
    pub fn dynamic<T: Clone + Send + 'static, A: Actor>(supervisor: DynamicSupervisor<T, A>) -> Self {
        let DynamicSupervisor { template, front } = supervisor;
        let (name, template) = (Arc::clone(&template.name), Arc::new(template));
        Self::of_supervisor(name, move |system, path, notify| {
            Hub::spawn(system, &template, &front, path, notify)
        })
    }
}

/// Where the children of a [`DynamicSupervisor`] are started and stopped.
///
/// Cheap to clone. It reaches whichever incarnation of the supervisor runs.
pub struct DynamicRef<T, M> {
    front: Arc<Front<T, M>>,
}

/// The incarnation that runs.
struct Front<T, M>(Mutex<Option<ActorRef<Event<T, M>>>>);

impl<T, M> Front<T, M> {
    fn set(&self, hub: Option<ActorRef<Event<T, M>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hub;
    }

    fn hub(&self) -> Result<ActorRef<Event<T, M>>, ChildError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(ChildError::NoProc)
    }
}

impl<T: Send + 'static, M: Send + 'static> DynamicRef<T, M> {
    /// Starts a child of `argument`; resolves when it is initialised. Many can be started at the same time.
    ///
    /// The reference is to this incarnation: a child that is restarted is another actor.
    ///
    /// # Errors
    ///
    /// * [`MaxChildren`](ChildError::MaxChildren): there are too many.
    /// * [`Ignored`](ChildError::Ignored): it chose not to run.
    /// * [`Failed`](ChildError::Failed): it did not start. Nothing else is touched.
    /// * [`NoProc`](ChildError::NoProc): the supervisor does not run, or is about to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the order back: the child is stopped, should it run already, and not started again.
    pub async fn start_child(&self, argument: T) -> Result<ActorRef<M>, ChildError> {
        let (answer, answered) = oneshot::channel();
        let hub = self.front.hub()?;
        hub.try_cast(Event::Start { argument, answer }).map_err(|_| ChildError::NoProc)?;
        let mut pending = Pending { answered, hub };
        (&mut pending.answered).await.unwrap_or(Err(ChildError::NoProc)).map(|begun| begun.actor)
    }

    /// Stops a child, as its [`Shutdown`] says, and forgets it. Resolves when it has ended.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ChildError::NotFound): no child has this id now; it ended, or was restarted under another one.
    /// * [`NoProc`](ChildError::NoProc): the supervisor does not run, or ended meanwhile, with all children.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back.
    pub async fn terminate_child(&self, id: ActorId) -> Result<(), ChildError> {
        let (answer, answered) = oneshot::channel();
        let request = Event::Terminate { id, answer };
        self.front.hub()?.try_cast(request).map_err(|_| ChildError::NoProc)?;
        answered.await.unwrap_or(Err(ChildError::NoProc))
    }

    /// Lists the children that run, in no particular order. Empty where the supervisor does not run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn which_children(&self) -> Vec<ActorRef<M>> {
        let (answer, answered) = oneshot::channel();
        let asked = self.front.hub().is_ok_and(|hub| hub.try_cast(Event::List(answer)).is_ok());
        if asked { answered.await.unwrap_or_default() } else { Vec::new() }
    }

    /// Counts the children, at no cost that grows with them. All zero where the supervisor does not run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn count_children(&self) -> ChildCount {
        let (answer, answered) = oneshot::channel();
        let request = super::admin::Admin::Count(answer);
        let asked = self.front.hub().is_ok_and(|hub| hub.try_cast(Event::Admin(request)).is_ok());
        if asked { answered.await.unwrap_or_default() } else { ChildCount::default() }
    }
}

/// A child that was asked for. Dropped, it takes back a child that nobody would know of.
struct Pending<T: Send + 'static, M: Send + 'static> {
    answered: oneshot::Receiver<Result<Begun<M>, ChildError>>,
    hub: ActorRef<Event<T, M>>,
}

impl<T: Send + 'static, M: Send + 'static> Drop for Pending<T, M> {
    fn drop(&mut self) {
        // From here on the answer finds nobody, which the supervisor notices.
        self.answered.close();
        if let Ok(Ok(begun)) = self.answered.try_recv() {
            drop(self.hub.try_cast(Event::Abandon(begun.ticket)));
        }
    }
}

impl<T, M> Clone for DynamicRef<T, M> {
    fn clone(&self) -> Self {
        Self { front: Arc::clone(&self.front) }
    }
}

impl<T, M> fmt::Debug for DynamicRef<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynamicRef")
    }
}
