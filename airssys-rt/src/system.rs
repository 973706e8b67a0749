//! Where actors and supervision trees are started.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::actor::Actor;
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, Birth};
use crate::mailbox::{Mailbox, MailboxInUse, Receiver};
use crate::observe::{Observer, Reporter};
use crate::supervisor::{StartError, Supervisor, SupervisorRef};
use crate::task::Blocking;

/// A home for actors on a tokio runtime.
///
/// Cheap to clone; every clone is the same system. Dropping it stops nothing: actors end by themselves, by their
/// supervisor, or with the runtime.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    observer: Option<Arc<dyn Observer>>,
    blocking: Arc<Blocking>,
}

/// Builds a [`System`].
#[derive(Default)]
pub struct SystemBuilder {
    observer: Option<Arc<dyn Observer>>,
    blocking_limit: Option<usize>,
}

/// How an actor outside of a supervision tree is started.
pub struct SpawnOptions<M> {
    /// Its mailbox; one of the default capacity, unless set.
    pub mailbox: Mailbox<M>,
    /// Its name in events and in [`Context::name`](crate::Context::name). It need not be unique.
    pub name: Option<String>,
}

impl System {
    /// Makes a system on the tokio runtime that the caller runs on.
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
        let (mailbox, receiver) = Mailbox::with_receiver();
        self.launch(mailbox, receiver, None, actor)
    }

    /// Starts an actor outside of any supervision tree, with a mailbox or a name.
    ///
    /// # Errors
    ///
    /// Another actor runs on this mailbox.
    pub fn spawn_with<A: Actor>(
        &self,
        options: SpawnOptions<A::Msg>,
        actor: A,
    ) -> Result<ActorRef<A::Msg>, MailboxInUse> {
        let SpawnOptions { mailbox, name } = options;
        let receiver = mailbox.receiver()?;
        Ok(self.launch(mailbox, receiver, name.map(Arc::from), actor))
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

    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    pub(crate) fn blocking_pool(&self) -> &Arc<Blocking> {
        &self.inner.blocking
    }

    pub(crate) fn reporter(&self, path: Option<Arc<str>>, id: ActorId) -> Reporter {
        Reporter::new(self.inner.observer.clone(), path, id)
    }

    fn launch<A: Actor>(
        &self,
        mailbox: Mailbox<A::Msg>,
        receiver: Receiver<A::Msg>,
        name: Option<Arc<str>>,
        actor: A,
    ) -> ActorRef<A::Msg> {
        let actor_ref = mailbox.actor_ref();
        let reporter = self.reporter(name, actor_ref.id());
        let system = self.clone();
        cell::spawn(Birth { system, reporter, mailbox, receiver, notify: None }, move || actor);
        actor_ref
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

    /// Makes the system.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> System {
        let Self { observer, blocking_limit } = self;
        let blocking = Blocking::new(blocking_limit);
        System { inner: Arc::new(Inner { runtime: Handle::current(), observer, blocking }) }
    }
}

impl<M: Send + 'static> Default for SpawnOptions<M> {
    fn default() -> Self {
        Self { mailbox: Mailbox::default(), name: None }
    }
}
