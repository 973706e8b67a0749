//! Where actors and supervision trees are started.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::actor::Actor;
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, Cold, Loan, Runnable};
use crate::counters::Counters;
use crate::group::Groups;
use crate::mailbox::{Mailbox, MailboxInUse, MailboxOptions};
use crate::observe::{self, Observer, Reporter};
use crate::registry::Names;
use crate::scheduler::{self, Scheduler, Seeded};
use crate::supervisor::{StartError, Supervisor, SupervisorRef};
use crate::task::Blocking;
use crate::timer::{Owner, Timers};

/// A home for actors on a tokio runtime.
///
/// Cheap to clone; every clone is the same system. Dropping it stops nothing: actors end by themselves, by their
/// supervisor, or with the runtime.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

/// A system, as its cells see it.
pub(crate) struct Inner {
    /// The system itself, for contexts to lend out.
    loan: Loan<System>,
    scheduler: Arc<Scheduler>,
    timers: Owner,
    runtime: Handle,
    observer: Option<Arc<dyn Observer>>,
    names: Arc<Names>,
    groups: Arc<Groups>,
    blocking: Arc<Blocking>,
    counters: Arc<Counters>,
    quick: Duration,
}

/// Builds a [`System`].
pub struct SystemBuilder {
    observer: Option<Arc<dyn Observer>>,
    blocking_limit: Option<usize>,
    quick: Option<Duration>,
    watchdog: Option<Duration>,
    #[cfg(feature = "testing")]
    seed: Option<u64>,
}

impl Default for SystemBuilder {
    fn default() -> Self {
        Self {
            observer: None,
            blocking_limit: None,
            quick: None,
            watchdog: Some(scheduler::DEFAULT_LIMIT),
            #[cfg(feature = "testing")]
            seed: None,
        }
    }
}

/// How an actor outside of a supervision tree is started.
#[derive(Clone, Debug, Default)]
pub struct SpawnOptions {
    /// Its mailbox; bounded to the default capacity, unless set.
    pub mailbox: MailboxOptions,
    /// Its name in events and in [`Context::name`](crate::Context::name). It need not be unique.
    pub name: Option<String>,
}

impl System {
    /// Makes a system on the tokio runtime that the caller runs on: one with a thread or with many, which may do anything else
    /// besides. Actors run on its threads; the end of the runtime ends them, as a kill would.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime. The runtime's time driver must be enabled.
    #[expect(clippy::new_without_default, reason = "it takes the ambient runtime; a default should not")]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts to describe a system.
    pub fn builder() -> SystemBuilder {
        SystemBuilder::default()
    }

    /// Starts an actor outside of any supervision tree. Nobody restarts it.
    pub fn spawn<A: Actor>(&self, actor: A) -> ActorRef<A::Msg> {
        self.spawn_with(SpawnOptions::default(), actor)
    }

    /// Starts an actor outside of any supervision tree, with a choice of mailbox or a name.
    pub fn spawn_with<A: Actor>(&self, options: SpawnOptions, actor: A) -> ActorRef<A::Msg> {
        let cold = options.name.map(|name| Cold::named(Some(name.into()), None));
        ActorRef::new(cell::spawn(self, options.mailbox.bounds(), cold, actor))
    }

    /// Starts an actor outside of any supervision tree, on a mailbox that outlives it.
    ///
    /// # Errors
    ///
    /// Another actor runs on this mailbox.
    pub fn spawn_on<A: Actor>(
        &self,
        mailbox: &Mailbox<A::Msg>,
        name: Option<String>,
        actor: A,
    ) -> Result<ActorRef<A::Msg>, MailboxInUse> {
        cell::spawn_on(self, mailbox, name.map(Arc::from), None, actor)?;
        Ok(mailbox.actor_ref())
    }

    /// Starts a supervision tree; resolves when every child in it is initialised.
    ///
    /// # Errors
    ///
    /// A child could not be started. What was started before it has been stopped again, in reverse order.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops what was started so far, in order, in the background.
    pub async fn start(&self, supervisor: Supervisor) -> Result<SupervisorRef, StartError> {
        supervisor.start(self).await
    }

    /// The seed that decides in which order its actors run, where one does.
    #[cfg(feature = "testing")]
    pub fn seed(&self) -> Option<u64> {
        self.inner.scheduler.seeded().map(Seeded::seed)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.inner.names
    }

    pub(crate) fn groups(&self) -> &Arc<Groups> {
        &self.inner.groups
    }

    pub(crate) fn reporter(&self, path: Option<Arc<str>>, id: ActorId) -> Reporter {
        Reporter::new(&self.inner, path, id)
    }

    pub(crate) fn blocking_pool(&self) -> &Arc<Blocking> {
        &self.inner.blocking
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Inner {
    pub(crate) fn loan(&self) -> &Loan<System> {
        &self.loan
    }

    #[inline(always)]
    pub(crate) fn enqueue(&self, runnable: Runnable) {
        self.scheduler.enqueue(runnable);
    }

    pub(crate) fn enqueue_newborn(&self, runnable: Runnable) {
        self.scheduler.enqueue_newborn(runnable);
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Whether `other` is this system.
    pub(crate) fn is(&self, other: Option<&Self>) -> bool {
        other.is_some_and(|other| std::ptr::eq(other, self))
    }

    /// How long a turn takes at most, for each message in it, that counts as quick.
    pub(crate) fn quick(&self) -> Duration {
        self.quick
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// Whether anybody hears of what happens to its actors.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some() || observe::log::is_on()
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) fn timers(&self) -> &Timers {
        self.timers.timers()
    }

    /// Whether who runs this code may run the system's actors: it runs on the same runtime, and no seed decides what
    /// is next.
    pub(crate) fn runs_here(&self) -> bool {
        self.scheduler.seeded().is_none()
            && (self.scheduler.is_at_home()
                || Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.scheduler.close();
    }
}

impl SystemBuilder {
    /// Sets who is told of the events in the life of the system's actors.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets how many pieces of [blocking work](System::blocking) the system runs at once, at least one; 64 unless
    /// set.
    pub fn blocking_limit(mut self, limit: usize) -> Self {
        self.blocking_limit = Some(limit);
        self
    }

    /// Sets how quickly an actor has to handle a message, many times in a row, for its callers to
    /// [run it on their own stacks](Actor::RUNS_ON_CALLERS); two microseconds, unless set. With zero, no caller does.
    pub fn quick(mut self, limit: Duration) -> Self {
        self.quick = Some(limit);
        self
    }

    /// Sets how long a turn of an actor may last before the watchdog reports the actor as
    /// [`Blocked`](crate::EventKind::Blocked): at least a millisecond, 100 unless set; `None` does without a watchdog. OTP's is
    /// `erlang:system_monitor/2` with `long_schedule`.
    ///
    /// A turn is what an actor does from one `.await` at which it has to wait to the next. While it lasts nothing else
    /// runs on its thread, and neither a kill nor a timeout gets through: what blocks belongs into
    /// [`blocking`](crate::Context::blocking).
    ///
    /// The watchdog is a thread that looks at the clock of the machine, whatever time the runtime pretends. It sleeps
    /// while no actor runs, and ends with the system. An actor that runs on the stack of its caller is not told apart
    /// from an actor that calls it, and not seen where the caller is none; but only such actors are run there as were
    /// quick many times in a row, and one turn in 32 is looked at again.
    pub fn watchdog(mut self, limit: Option<Duration>) -> Self {
        self.watchdog = limit;
        self
    }

    /// Lets this seed decide in which order actors run, and for how many messages each: what
    /// [`testing::sim`](crate::testing::sim) does, which also takes care of time, ids, and the end of a run.
    #[cfg(feature = "testing")]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    #[cfg(feature = "testing")]
    fn seeded(&self) -> Option<Seeded> {
        crate::testing::seeded(self.seed)
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "with the feature `testing` it is used")]
    fn seeded(&self) -> Option<Seeded> {
        None
    }

    /// Makes the system.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime; with a seed (feature `testing`), on one with several threads.
    pub fn build(self) -> System {
        let runtime = Handle::current();
        let workers = runtime.metrics().num_workers();
        let scheduler = Scheduler::start(&runtime, self.watchdog, self.seeded());
        let system = System {
            inner: Arc::new(Inner {
                loan: Loan::new(),
                scheduler,
                timers: Owner::new(runtime.clone()),
                runtime,
                observer: self.observer,
                names: Arc::new(Names::new()),
                groups: Arc::new(Groups::new()),
                blocking: Blocking::new(self.blocking_limit),
                counters: Arc::new(Counters::new(workers)),
                quick: self.quick.unwrap_or(cell::QUICK),
            }),
        };
        cell::lend_system(&system);
        system
    }
}
