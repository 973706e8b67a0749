//! A component that answers requests over HTTP: a listener below its supervisor, and a fresh instance for each request.
//!
//! A trap is the end of one request: the client gets a 500, the record of the request says that it failed, and nobody else
//! notices. Requests wait where as many are handled as may be; connections wait where as many are open. Told to stop, it
//! takes no more connections and answers what it has begun.

mod connection;
mod newer;
mod progress;
mod release;
mod request;
mod timer;
mod verdict;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering};

use airssys_osl::{
    Error as DoorError, ErrorKind as DoorErrorKind, Os, Principal,
    net::{Listener, TcpStream},
    trace as osl_trace,
};
use airssys_rt::{Actor, ActorRef, Context, ExitReason, Init, Reply};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

pub(crate) use self::release::Release;
use crate::{
    actor::{
        Bell, Counters, Delivery, Health, Life,
        health::{self, Ailment, Gate, NotReady},
        trace,
    },
    component::Component,
    engine::Engine,
    error::{Error, ErrorKind},
    grant::Preopen,
    host::{Config, LogRate},
    manifest::{ComponentSpec, HealthSpec, HttpSpec},
    releases::Releases,
    watch::{Event, Watch},
};

/// How long it waits after a connection could not be accepted: what is used up, such as descriptors, comes back.
const PAUSE: Duration = Duration::from_millis(50);

/// What all incarnations of one service share.
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) spec: ComponentSpec,
    http: HttpSpec,
    pub(crate) releases: Arc<Releases<Release>>,
    os: Os,
    preopens: Arc<Mutex<Vec<Preopen>>>,
    config: Config,
    log: Arc<LogRate>,
    watch: Arc<dyn Watch>,
    pub(crate) counters: Arc<Counters>,
    /// One for each request that may be handled at a time.
    places: Arc<Semaphore>,
    /// Counts the policies that were put in place: another one may let it listen again.
    policies: watch::Sender<u64>,
    /// Who else's requests come in where it listens; nothing where it listens for itself.
    behind: OnceLock<Vec<Arc<Self>>>,
    /// Whether another one listens for it.
    is_behind: OnceLock<()>,
    /// Who it is as long as it runs.
    principal: Mutex<Option<Principal>>,
}

impl Service {
    #[expect(clippy::too_many_arguments, reason = "each is one thing that incarnations share; called once")]
    pub(crate) fn new(
        spec: ComponentSpec,
        http: HttpSpec,
        engine: &Engine,
        component: &Component,
        os: Os,
        preopens: Arc<Mutex<Vec<Preopen>>>,
        watch: Arc<dyn Watch>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        Ok(Self {
            name: spec.name.as_str().into(),
            releases: Arc::new(Releases::new(Release::new(engine, component)?)),
            places: Arc::new(Semaphore::new(http.requests)),
            policies: watch::Sender::default(),
            behind: OnceLock::new(),
            is_behind: OnceLock::new(),
            principal: Mutex::default(),
            config: spec.config.as_slice().into(),
            log: Arc::default(),
            spec,
            http,
            os,
            preopens,
            watch,
            counters,
        })
    }

    /// Notes that another policy is in place.
    pub(crate) fn reloaded(&self) {
        self.policies.send_modify(|count| *count += 1);
    }

    /// Has each listen that is the first to at its address, for those behind it with the same. Before any of them starts.
    pub(crate) fn share(services: &[Arc<Self>]) {
        for (index, first) in services.iter().enumerate() {
            let listen = first.http.listen;
            if listen.port() == 0 || first.is_behind.get().is_some() {
                continue;
            }
            let rest = services.get(index + 1..).unwrap_or_default().iter();
            let behind: Vec<_> = rest.filter(|service| service.http.listen == listen).cloned().collect();
            for service in &behind {
                // Set once: there is one first.
                let _ = service.is_behind.set(());
            }
            let _ = first.behind.set(behind);
        }
    }

    /// Who answers a request that came in here.
    fn routed<'a>(self: &'a Arc<Self>, host: &str, path: &str) -> Option<&'a Arc<Self>> {
        let all = std::iter::once(self).chain(self.behind.get().into_iter().flatten());
        let takers = all.filter(|service| service.http.route.takes(host, path));
        takers.max_by_key(|service| service.http.route.weight())
    }

    fn running(&self) -> MutexGuard<'_, Option<Principal>> {
        self.principal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, principal: &Principal) -> Result<Listener, DoorError> {
        let listener = principal.listen(self.http.listen)?;
        tracing::info!(component = &*self.name, address = %listener.local_addr(), "listens for requests");
        Ok(listener)
    }

    fn preopens(&self) -> Vec<Preopen> {
        self.preopens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a request was answered.
    fn answered(&self) {
        if self.counters.handled.fetch_add(1, Ordering::Relaxed) == 0 {
            self.watch.event(&Event::FirstMessage { component: &self.name });
        }
    }
}

/// One incarnation: a listener, and what goes on over its connections.
pub(crate) struct ServiceActor {
    service: Arc<Service>,
    running: Option<Running>,
}

struct Running {
    stop: watch::Sender<bool>,
    /// One task, which holds the connections. Dropped, it takes them with it.
    accepting: JoinSet<()>,
    /// The question that a guest has not answered yet: nothing waits for it, least of all the end.
    asking: JoinSet<()>,
    life: Life,
}

impl ServiceActor {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, running: None }
    }

    fn start(&self, life: Life, actor: ActorRef<Delivery>) -> Result<Running, Error> {
        let (stop, mut stopped) = watch::channel(false);
        let mut accepting = JoinSet::new();
        let (service, principal) = (self.service.clone(), life.principal.clone());
        if service.is_behind.get().is_some() {
            let answers = principal.may_answer(service.http.listen);
            answers.map_err(|error| Error::door(format!("answer requests to `{}`", service.name), error))?;
            *service.running() = Some(principal);
            accepting.spawn(async move {
                told(&mut stopped).await;
                service.running().take();
                // What it has begun is answered: then all places are free.
                let places = u32::try_from(service.http.requests).unwrap_or(u32::MAX);
                let _free = service.places.acquire_many(places).await;
            });
            return Ok(Running { stop, accepting, asking: JoinSet::new(), life });
        }
        let listening = self.service.listen(&life.principal);
        let listener = listening
            .map_err(|error| Error::door(format!("listen for requests to `{}`", self.service.name), error))?;
        accepting.spawn(async move {
            let _bell = Bell(actor);
            accept(service, principal, listener, stopped).await;
        });
        Ok(Running { stop, accepting, asking: JoinSet::new(), life })
    }
}

impl Actor for ServiceActor {
    type Msg = Delivery;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let service = self.service.clone();
        service.counters.set_health(Health::Starting);
        let life = Life::begin(&service.os, &service.name)?;
        if let Some(health) = &service.spec.health {
            // Nobody else reaches it yet.
            let mut gate = Gate::new(health, &service.name, &*service.watch);
            let asked = async || {
                let asked = ask(&service, &service.releases.settled(), health, &life.principal).await;
                Ok::<_, NotReady>(asked.unwrap_or_else(|no_room| Some(told_with_cause(&no_room))))
            };
            while !gate.pass(asked()).await? {
                if cx.is_stopping() {
                    return Ok(Init::Ready);
                }
            }
        }
        self.running = Some(self.start(life, cx.actor_ref())?);
        service.counters.set_health(Health::Ready);
        Ok(Init::Ready)
    }

    // Nobody can send it messages; it is told to look around.
    async fn handle(&mut self, delivery: Delivery, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if let (Delivery::Health(reply), Some(running)) = (delivery, &mut self.running) {
            // Of an earlier one the prober waits for no answer any more.
            running.asking = JoinSet::new();
            running.asking.spawn(inquire(self.service.clone(), running.life.principal.clone(), reply));
        }
        match self.running.as_mut().and_then(|running| running.accepting.try_join_next()) {
            Some(Err(panic)) => Err(Error::new(ErrorKind::Bug, "accept requests").caused_by(panic).into()),
            _ => Ok(()),
        }
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        let Some(running) = &mut self.running else { return };
        let _ = running.stop.send(true);
        while running.accepting.join_next().await.is_some() {}
    }
}

impl Drop for ServiceActor {
    fn drop(&mut self) {
        self.service.running().take();
        self.service.counters.set_health(Health::Stopped);
    }
}

/// Asks whether what answers requests is well, and tells those who want to know.
async fn inquire(service: Arc<Service>, principal: Principal, reply: Reply<()>) {
    let Some(health) = &service.spec.health else { return };
    match ask(&service, &service.releases.settled(), health, &principal).await {
        Ok(ailment) => {
            if health::told(ailment, &service.counters, (&*service.name, &*service.watch)) {
                reply.send(());
            }
        }
        // Through no fault of the guest's: that says nothing of it.
        Err(no_room) => {
            let cause = told_with_cause(&no_room);
            tracing::warn!(component = &*service.name, cause, "cannot ask whether it is well");
            service.counters.forgive();
            reply.send(());
        }
    }
}

/// Asks a fresh instance of a version for the path of the manifest's `health`. The error is where there is no room for one.
async fn ask(
    service: &Service,
    release: &Release,
    health: &HealthSpec,
    principal: &Principal,
) -> Result<Ailment, Error> {
    let asked = request::probe(service, release, principal, &health.question);
    let late = |_| Ok(Some(format!("it gave no answer within {:?}", health.timeout)));
    timeout(health.timeout, osl_trace::scope(trace::new(), asked)).await.unwrap_or_else(late)
}

/// An error with its cause.
fn told_with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Accepts connections until it is told to stop, and then waits for those that it has. Where a new policy does not permit it
/// any more, nobody listens until another one does.
async fn accept(
    service: Arc<Service>,
    principal: Principal,
    listener: Listener,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let (stop, mut policies) = (stopped.clone(), service.policies.subscribe());
    let mut listener = Some(listener);
    loop {
        let accepted = tokio::select! {
            accepted = accept_at(listener.as_ref()) => accepted,
            () = told(&mut stopped) => break,
            Ok(()) = policies.changed(), if listener.is_none() => {
                listener = again(&service, &principal);
                continue;
            }
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(stream) => {
                let (service, principal) = (service.clone(), principal.clone());
                connections.spawn(connection::serve(service, principal, stream, stop.clone()));
            }
            Err(error) if error.kind() == DoorErrorKind::Denied => {
                tracing::warn!(component = &*service.name, cause = %error, "takes no more requests");
                drop(listener.take());
                // The policy that denied it may be the last but one. One that is put in place from here on is seen.
                policies.mark_unchanged();
                listener = again(&service, &principal);
            }
            Err(error) => {
                tracing::warn!(component = &*service.name, cause = %error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept_at(listener: Option<&Listener>) -> Result<TcpStream, DoorError> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Listens again, where that is permitted now.
fn again(service: &Service, principal: &Principal) -> Option<Listener> {
    match service.listen(principal) {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == DoorErrorKind::Denied => None,
        Err(error) => {
            tracing::error!(component = &*service.name, cause = %error, "cannot listen again before the next reload");
            None
        }
    }
}

/// Waits for the order to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}
