//! A running system: the manifest's tree of supervisors, with components as its leaves.

mod resend;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use airssys_osl::Os;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
use airssys_rt::port::PortMsg;
use airssys_rt::{
    ActorRef, ChildInfo, ChildSpec, EventKind, ExitReason, Mailbox, Supervisor, SupervisorRef,
    System as Runtime, SystemBuilder as RuntimeBuilder,
};
use std::sync::atomic::Ordering;

pub use self::resend::Resend;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
use crate::process::Program;
use crate::{
    actor::{
        Blueprint, Code, ComponentActor, Counters, Delivery, Envelope, Health, Receiver, Route, Routes,
        SUBJECT_BYTES, Versions, Workers, WorkersActor, health, trace,
    },
    component::{Component, Digest},
    compose::Plugs,
    engine::Engine,
    error::{Error, ErrorKind},
    grant::{Preopen, preopens},
    job::{Job, JobActor},
    manifest::{Child, ComponentSpec, Manifest, SupervisorSpec},
    record::Recording,
    service::{Service, ServiceActor},
    watch::{Event, Watch},
};

/// How many times in its quiet time an idle system is looked at.
const LOOKS: u32 = 10;

/// How often a system that is to stop looks for components that are about to be started again, and how long apart. That is
/// a second, and longer where the machine stands still meanwhile, as then nobody can come back.
const LOOKS_BACK: u32 = 500;
const LOOK_BACK: Duration = Duration::from_millis(2);

/// How quickly a component has to handle messages for its callers to run it on their own stacks. To have another thread do it
/// takes about as long.
const QUICK: Duration = Duration::from_micros(10);

/// A running system.
///
/// Dropping it stops nothing: [`shutdown`](Self::shutdown) does, in order.
pub struct System {
    root: SupervisorRef,
    routes: Arc<Routes>,
    os: Os,
    watch: Arc<dyn Watch>,
    members: Vec<Member>,
}

struct Member {
    name: Arc<str>,
    counters: Arc<Counters>,
    is: Kind,
}

enum Kind {
    Component(Box<Running>),
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    Process(ActorRef<PortMsg>),
}

/// A component that runs, from its first incarnation to its last.
struct Running {
    name: Arc<str>,
    actor: ActorRef<Delivery>,
    /// What its next incarnation finds open.
    preopens: Arc<Mutex<Vec<Preopen>>>,
    /// What its code is compiled for.
    engine: Engine,
    /// What is plugged into it, whatever its version.
    plugs: Plugs,
    runs: Runs,
}

/// What runs as a component, and whose versions change how.
enum Runs {
    /// One instance, which hands its state on.
    Actor { versions: Arc<Versions>, blueprint: Weak<Blueprint>, keeps_state: bool },
    /// Fresh instances, as long as its supervisor has it.
    Workers { versions: Arc<Versions>, workers: Weak<Workers> },
    /// It answers requests over HTTP.
    Service(Arc<Service>),
    /// It is run from its start to its end.
    Job(Arc<Job>),
}

/// What one component or process has done and has before it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Its name.
    pub name: Arc<str>,
    /// Messages that wait in its mailbox.
    pub waiting: usize,
    /// Messages that it handled to the end; of a process, those that it said.
    pub handled: u64,
    /// Messages to it, or from it, that went to the dead letters.
    pub dead: u64,
    /// Whether a call into it is under way.
    pub busy: bool,
    /// How often it was held back because it had used its share of a processor (`limits.cpu_percent`).
    pub held_back: u64,
    /// Where it is in its life; nothing is known of a process.
    pub health: Option<Health>,
    /// The version that runs; a process has none.
    pub version: Option<Digest>,
}

/// A component on its way into the tree.
struct Seed {
    role: Role,
    mailbox: Mailbox<Delivery>,
}

/// What a component is in the tree.
enum Role {
    /// One instance handles messages.
    Actor(Arc<Blueprint>),
    /// Fresh instances handle messages.
    Workers(Arc<Workers>),
    /// It answers requests over HTTP.
    Service(Arc<Service>),
    /// It is run from its start to its end.
    Job(Arc<Job>),
}

/// What the leaves of a tree are made of.
struct Leaves {
    seeds: Vec<Seed>,
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    programs: Vec<Program>,
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    routes: Arc<Routes>,
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    watch: Arc<dyn Watch>,
}

impl Member {
    /// How many messages wait for it.
    fn depth(&self) -> usize {
        match &self.is {
            Kind::Component(running) => running.actor.depth(),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Kind::Process(port) => port.depth(),
        }
    }

    fn component(&self) -> Option<&Running> {
        match &self.is {
            Kind::Component(running) => Some(running),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Kind::Process(_) => None,
        }
    }
}

impl System {
    /// Starts the tree of a manifest. `components` are what [`load`](crate::load) gave for it; the policy of `os` has
    /// the principals of [`add_principals`](crate::add_principals).
    ///
    /// # Errors
    ///
    /// A component or a supervisor did not start: what was started is stopped again, in reverse order.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops what was started so far.
    pub async fn start(
        manifest: &Manifest,
        components: &[Component],
        engine: &Engine,
        os: &Os,
        watch: Arc<dyn Watch>,
    ) -> Result<Self, Error> {
        Self::start_on(Runtime::builder().quick(QUICK), manifest, components, engine, os, watch).await
    }

    /// As [`start`](Self::start), with settings of the runtime's.
    async fn start_on(
        runtime: RuntimeBuilder,
        manifest: &Manifest,
        components: &[Component],
        engine: &Engine,
        os: &Os,
        watch: Arc<dyn Watch>,
    ) -> Result<Self, Error> {
        provide_buckets(os, manifest);
        let watch = Recording::around(watch, manifest, os);
        let engine = &engine.sharing(manifest.memory_bytes);
        let mailboxes: Vec<Mailbox<Delivery>> =
            manifest.components.iter().map(|spec| Mailbox::bounded(spec.mailbox)).collect();
        let mut routes = Routes::default();
        // A service answers over HTTP, and a job nobody: they take no messages.
        let takes_messages = |spec: &ComponentSpec| spec.http.is_none() && spec.job.is_none();
        let actors = manifest.components.iter().zip(&mailboxes).filter(|(spec, _)| takes_messages(spec));
        for (spec, mailbox) in actors {
            let to = Receiver::Component(mailbox.actor_ref());
            routes.insert(&spec.name, Route { to, payload_bytes: spec.limits.payload_bytes });
        }
        let mut members = Vec::new();
        #[cfg(any(target_os = "linux", target_os = "macos", windows))]
        let mut programs = Vec::new();
        #[cfg(any(target_os = "linux", target_os = "macos", windows))]
        for spec in &manifest.processes {
            let program = Program::open(spec, os).await?;
            routes.insert(&spec.name, program.route());
            let (name, counters) = (program.name().into(), program.counters.clone());
            members.push(Member { name, counters, is: Kind::Process(program.actor()) });
            programs.push(program);
        }
        let routes = Arc::new(routes);
        let mut leaves = Leaves {
            seeds: Vec::new(),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            programs,
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            routes: routes.clone(),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            watch: watch.clone(),
        };

        for ((spec, component), mailbox) in manifest.components.iter().zip(components).zip(mailboxes) {
            let (seed, member) = sow(spec, component, mailbox, engine, os, &routes, &watch)?;
            members.push(member);
            leaves.seeds.push(seed);
        }

        let services = leaves.seeds.iter().filter_map(|seed| match &seed.role {
            Role::Service(service) => Some(service.clone()),
            _ => None,
        });
        Service::share(&services.collect::<Vec<_>>());
        let mut states = Vec::new();
        list_states(&manifest.root, "", &leaves.seeds, &mut states);
        let runtime = runtime.observer(Arc::new(Tell { watch: watch.clone(), states })).build();
        let tree = plant(&manifest.root, &leaves);
        let root = runtime.start(tree).await.map_err(|error| {
            Error::new(ErrorKind::Guest, format!("start the system `{}`", manifest.name)).caused_by(error)
        })?;
        Ok(Self { root, routes, os: os.clone(), watch, members })
    }

    /// Takes over which directories components find when they start, and which buckets there are, from a manifest whose
    /// policy is in place already ([`Os::reload`]). A bucket that the manifest does not have any more is gone with what it
    /// held. A service whose right to listen was taken away and is given back listens again. An instance that runs keeps
    /// those directories that it has; what it may do with them is the policy's word.
    pub fn reload(&self, manifest: &Manifest) {
        provide_buckets(&self.os, manifest);
        for running in self.members.iter().filter_map(Member::component) {
            let spec = manifest.components.iter().find(|spec| *spec.name == *running.name);
            *running.preopens.lock().unwrap_or_else(PoisonError::into_inner) =
                spec.map(preopens).unwrap_or_default();
            if let Runs::Service(service) = &running.runs {
                service.reloaded();
            }
        }
    }

    /// Calls a component as the program itself: its sender is `host`. No bytes are the answer of one that had none.
    ///
    /// A call whose receiver crashes is tried again with the next instance, up to the receiver's `max_deliver`.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): the payload is larger than the component takes, or the subject
    ///   longer than 256 bytes.
    /// * [`Unavailable`](ErrorKind::Unavailable): no answer within `timeout`, or the component is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the answer; the message is handled all the same.
    pub async fn call(
        &self,
        to: &str,
        subject: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Option<Vec<u8>>, Error> {
        let failed = |kind| Error::new(kind, format!("call `{to}`"));
        let route = self.routes.get(to).ok_or_else(|| failed(ErrorKind::NotFound))?;
        if subject.len() > SUBJECT_BYTES || payload.len() > route.payload_bytes {
            return Err(failed(ErrorKind::LimitExceeded));
        }
        let trace = trace::current_or_new();
        let envelope = Box::new(Envelope::new(None, subject.to_owned(), payload, trace));
        let answer = route.to.call(envelope, timeout).await;
        answer.map_err(|error| failed(ErrorKind::Unavailable).caused_by(error))
    }

    /// Waits until nothing has happened for `quiet`: no message was sent, every mailbox is empty, no component runs.
    ///
    /// Messages that are calls do not count, and neither do timers, unless one is set to fire at once, nor questions whether a
    /// component is well; what it sends at one does, and so does a start that is under way.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn idle(&self, quiet: Duration) {
        let mut sent = self.sent();
        // Looks are counted and not the time: where the machine stands still, nothing happens for other reasons.
        let mut looks = 0;
        while looks < LOOKS {
            tokio::time::sleep(quiet / LOOKS).await;
            let working = self.status().iter().any(|status| status.busy || status.waiting > 0);
            let now = self.sent();
            looks = if working || now != sent { 0 } else { looks + 1 };
            sent = now;
        }
    }

    /// Stops the tree in reverse start order. Each component handles what is in its mailbox first, within its
    /// shutdown time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the order back.
    pub async fn shutdown(&self) {
        self.routes.stop();
        // A tree that stops starts nobody again. Who crashed before it could know comes back first, for what is in its
        // mailbox; who crashes from now on goes on by itself.
        for _ in 0..LOOKS_BACK {
            if !self.members.iter().any(|member| member.counters.down.load(Ordering::SeqCst)) {
                break;
            }
            tokio::time::sleep(LOOK_BACK).await;
        }
        self.root.shutdown().await;
    }

    /// Waits until the tree has ended, and says why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn exited(&self) -> ExitReason {
        self.root.exited().await
    }

    /// What each process, then each component has done, in the manifest's order.
    pub fn status(&self) -> Vec<Status> {
        let status = |member: &Member| Status {
            name: member.name.clone(),
            waiting: member.depth(),
            handled: member.counters.handled.load(Ordering::Relaxed),
            dead: member.counters.dead.load(Ordering::Relaxed),
            busy: member.counters.busy.load(Ordering::Acquire),
            held_back: member.counters.share.as_ref().map_or(0, |share| share.held_back()),
            health: member.component().map(|_| member.counters.health()),
            version: member.component().map(Running::version),
        };
        self.members.iter().map(status).collect()
    }

    /// A snapshot of the tree.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn tree(&self) -> Vec<ChildInfo> {
        self.root.which_children().await
    }

    fn sent(&self) -> u64 {
        self.members.iter().map(|member| member.counters.sent.load(Ordering::Relaxed)).sum()
    }
}

fn provide_buckets(os: &Os, manifest: &Manifest) {
    os.provide_buckets(manifest.buckets.iter().map(|bucket| (bucket.name.as_str(), bucket.limits)));
}

/// Prepares a component for its place in the tree.
fn sow(
    spec: &ComponentSpec,
    component: &Component,
    mailbox: Mailbox<Delivery>,
    engine: &Engine,
    os: &Os,
    routes: &Arc<Routes>,
    watch: &Arc<dyn Watch>,
) -> Result<(Seed, Member), Error> {
    let counters = Arc::new(Counters::within(&spec.limits));
    let preopens = Arc::new(Mutex::new(preopens(spec)));
    let name: Arc<str> = spec.name.as_str().into();
    let plugs = component.plugs().clone();
    let own_engine = engine.within(&spec.limits)?;
    let (spec, engine, os) = (spec.clone(), own_engine.clone(), os.clone());
    let (routes, watch, shared) = (routes.clone(), watch.clone(), counters.clone());
    let found = preopens.clone();
    let (role, runs) = if let Some(http) = spec.http.clone() {
        let service = Arc::new(Service::new(spec, http, &engine, component, os, found, watch, shared)?);
        (Role::Service(service.clone()), Runs::Service(service))
    } else if let Some(job) = spec.job.clone() {
        let component = component.clone();
        let job = Arc::new(Job::new(spec, job, engine, component, os, found, routes, watch, shared));
        (Role::Job(job.clone()), Runs::Job(job))
    } else {
        let (versions, workers) = (Arc::new(Versions::new(Code::new(component)?)), spec.workers);
        let keeps_state = spec.snapshots.is_some();
        let blueprint =
            Arc::new(Blueprint::new(spec, engine, versions.clone(), os, found, routes, watch, shared));
        match workers {
            Some(count) => {
                let workers = Arc::new(Workers::new(blueprint, count));
                let weak = Arc::downgrade(&workers);
                (Role::Workers(workers), Runs::Workers { versions, workers: weak })
            }
            None => {
                let weak = Arc::downgrade(&blueprint);
                (Role::Actor(blueprint), Runs::Actor { versions, blueprint: weak, keeps_state })
            }
        }
    };
    let actor = mailbox.actor_ref();
    let running = Running { name: name.clone(), actor, preopens, engine: own_engine, plugs, runs };
    Ok((Seed { role, mailbox }, Member { name, counters, is: Kind::Component(Box::new(running)) }))
}

/// Describes a supervisor and all below it to the runtime.
fn plant(spec: &SupervisorSpec, leaves: &Leaves) -> Supervisor {
    let supervisor = Supervisor::new(spec.name.as_str(), spec.strategy);
    let supervisor = supervisor.intensity(spec.intensity as usize, spec.period);
    spec.children.iter().fold(supervisor, |supervisor, child| match child {
        Child::Supervisor(below) => supervisor.child(ChildSpec::supervisor(plant(below, leaves))),
        Child::Component(index) => match leaves.seeds.get(*index) {
            Some(seed) => supervisor.child(leaf(seed)),
            None => supervisor,
        },
        #[cfg(any(target_os = "linux", target_os = "macos", windows))]
        Child::Process(index) => match leaves.programs.get(*index) {
            Some(program) => supervisor.child(program.child(&leaves.routes, &leaves.watch)),
            None => supervisor,
        },
        // Loading has told of it.
        #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
        Child::Process(_) => supervisor,
    })
}

fn leaf(seed: &Seed) -> ChildSpec {
    let mailbox = seed.mailbox.clone();
    let (spec, child) = match &seed.role {
        Role::Actor(blueprint) => {
            let shared = blueprint.clone();
            let make = move || ComponentActor::new(shared.clone());
            let options = health::options(mailbox, blueprint.spec.health.as_ref(), &blueprint.counters);
            (&blueprint.spec, ChildSpec::actor_with(blueprint.spec.name.as_str(), options, make))
        }
        Role::Workers(workers) => {
            let (shared, blueprint) = (workers.clone(), &workers.blueprint);
            let make = move || WorkersActor::new(shared.clone());
            // It asks its instances itself: their mailbox may be full, and nobody read it, although all is well.
            let options = health::options(mailbox, None, &blueprint.counters);
            (&blueprint.spec, ChildSpec::actor_with(blueprint.spec.name.as_str(), options, make))
        }
        Role::Job(job) => {
            let shared = job.clone();
            let make = move || JobActor::new(shared.clone());
            let options = health::options(mailbox, None, &job.counters);
            (&job.spec, ChildSpec::actor_with(job.spec.name.as_str(), options, make))
        }
        Role::Service(service) => {
            let shared = service.clone();
            let make = move || ServiceActor::new(shared.clone());
            let options = health::options(mailbox, service.spec.health.as_ref(), &service.counters);
            (&service.spec, ChildSpec::actor_with(service.spec.name.as_str(), options, make))
        }
    };
    child.restart(spec.restart).shutdown(spec.shutdown).drain(true)
}

/// Each component's path in the tree, and where its state is kept.
fn list_states(
    spec: &SupervisorSpec,
    above: &str,
    seeds: &[Seed],
    states: &mut Vec<(String, Arc<Versions>)>,
) {
    let path = format!("{above}{}/", spec.name);
    for child in &spec.children {
        match child {
            Child::Supervisor(below) => list_states(below, &path, seeds, states),
            Child::Component(index) => {
                let Some(Seed { role: Role::Actor(blueprint), .. }) = seeds.get(*index) else { continue };
                states.push((format!("{path}{}", blueprint.name), blueprint.versions.clone()));
            }
            Child::Process(_) => {}
        }
    }
}

/// Hands the runtime's events on.
struct Tell {
    watch: Arc<dyn Watch>,
    states: Vec<(String, Arc<Versions>)>,
}

impl airssys_rt::Observer for Tell {
    fn event(&self, event: &airssys_rt::Event) {
        if let EventKind::GaveUp = event.kind {
            // Restarts with the state that was kept did not help, so the supervisor above begins with none.
            let is_below =
                |path: &str| path.strip_prefix(&*event.path).is_some_and(|rest| rest.starts_with('/'));
            self.states.iter().filter(|(path, _)| is_below(path)).for_each(|(_, state)| state.keep(None));
        }
        self.watch.event(&Event::Life(event));
    }
}
