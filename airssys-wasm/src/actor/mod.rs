//! A component is an actor: one incarnation is one instance, a trap is an exit, a restart is a new instance.
//!
//! The mailbox outlives the incarnations, and so does the message in hand: it is tried again, up to the manifest's
//! `max_deliver`, and goes to the dead letters after that. What a handler sends leaves when it has returned, so a
//! handler that crashed has sent nothing and trying again doubles nothing.

mod callers;
mod envelope;
mod guest;
pub(crate) mod health;
mod names;
mod outbox;
mod port;
mod receiver;
mod talk;
mod topics;
pub(crate) mod trace;
mod trial;
mod upgrade;
mod versions;
mod waits;
mod workers;

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use airssys_osl::{Os, trace as osl_trace};
use airssys_rt::{Actor, Context, ExitReason, Init, Restart};
use tokio::time::Instant;

pub(crate) use self::{
    envelope::{Bell, CONTENT_TYPE_BYTES, Delivery, Envelope, HOST, SUBJECT_BYTES},
    guest::Life,
    port::{Port, Route, Routes},
    receiver::Receiver,
    topics::Published,
    versions::{Code, Order, Snapshot, Versions},
    workers::{Workers, WorkersActor},
};
use self::{guest::Instance, port::Part, talk::Lasting, trial::Tried, upgrade::Parked};
pub use self::{health::Health, versions::Handover};
use crate::{
    engine::Engine,
    error::Error,
    grant::Preopen,
    host::{Config, LogRate, Stdio, bindings::exports::airssys::actor::actor::ExitReason as GuestExit},
    instance::{Setup, State},
    manifest::{ComponentSpec, Limits},
    record,
    releases::Stage,
    share::CpuShare,
    trap::Trap,
    watch::{Event, Watch},
};

/// What all incarnations of one component share.
pub(crate) struct Blueprint {
    pub(crate) name: Arc<str>,
    pub(crate) spec: ComponentSpec,
    pub(crate) engine: Engine,
    pub(crate) versions: Arc<Versions>,
    /// Each incarnation is a life of its own of the component's principal.
    pub(crate) os: Os,
    pub(crate) preopens: Arc<Mutex<Vec<Preopen>>>,
    /// What `wasi:config` gives.
    config: Config,
    log: Arc<LogRate>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) counters: Arc<Counters>,
    /// What it subscribes to, and who waits for an answer of it.
    lasting: Arc<Lasting>,
    /// Messages that an incarnation held when it ended: the one in hand first.
    held: Mutex<VecDeque<Box<Envelope>>>,
    /// How many ports there were.
    ports: AtomicU64,
}

/// What one component did so far. Read by whoever looks, written by the component's actor alone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that it sent, and timers that it set to fire at once: signs of work that goes on.
    pub(crate) sent: AtomicU64,
    /// Messages that it handled to the end.
    pub(crate) handled: AtomicU64,
    /// Messages that went to the dead letters.
    pub(crate) dead: AtomicU64,
    /// Whether a call into it is under way.
    pub(crate) busy: AtomicBool,
    /// Whether it has crashed and its supervisor is about to start it again.
    pub(crate) down: AtomicBool,
    /// What all its instances may use of a processor, and have used.
    pub(crate) share: Option<Arc<CpuShare>>,
    condition: Mutex<Condition>,
    /// How many pieces of its work are under way, where there may be more than one.
    working: Mutex<usize>,
}

/// Where it is in its life, and the question about that.
#[derive(Debug, Default)]
struct Condition {
    health: Health,
    /// When an answer to the question that it has is late.
    late_at: Option<Instant>,
}

impl Condition {
    fn is_late(&self) -> bool {
        self.late_at.is_some_and(|at| Instant::now() >= at)
    }
}

impl Counters {
    /// Those of a component with these limits.
    pub(crate) fn within(limits: &Limits) -> Self {
        Self { share: limits.cpu_percent.map(|percent| Arc::new(CpuShare::new(percent))), ..Self::default() }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health(&self) -> Health {
        let condition = self.condition();
        match condition.health {
            Health::Ready if condition.is_late() => Health::Unhealthy,
            health => health,
        }
    }

    /// Sets where it is in its life, which answers the question; gives where it was.
    pub(crate) fn set_health(&self, health: Health) -> Health {
        std::mem::replace(&mut *self.condition(), Condition { health, late_at: None }).health
    }

    /// Notes that it is asked for its health. One that has left a question without an answer is as late as before.
    fn asked(&self, timeout: Duration) {
        self.condition().late_at.get_or_insert_with(|| Instant::now() + timeout);
    }

    /// Takes the question for one that is neither answered nor late.
    pub(crate) fn forgive(&self) {
        self.condition().late_at = None;
    }

    /// Counts what is worked on: where there is anything, the system is not idle.
    fn count_working(&self, count: impl FnOnce(usize) -> usize) {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        *working = count(*working);
        self.busy.store(*working > 0, Ordering::Release);
    }
}

/// A piece of a component's work that is under way, of several, however it ends.
pub(crate) struct Working(Arc<Counters>);

impl Working {
    pub(crate) fn begin(counters: &Arc<Counters>) -> Self {
        counters.count_working(|working| working + 1);
        Self(counters.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.count_working(|working| working.saturating_sub(1));
    }
}

impl Blueprint {
    #[expect(clippy::too_many_arguments, reason = "each is one thing that incarnations share; called once")]
    pub(crate) fn new(
        spec: ComponentSpec,
        engine: Engine,
        versions: Arc<Versions>,
        os: Os,
        preopens: Arc<Mutex<Vec<Preopen>>>,
        routes: Arc<Routes>,
        watch: Arc<dyn Watch>,
        counters: Arc<Counters>,
    ) -> Self {
        let name: Arc<str> = spec.name.as_str().into();
        Self {
            lasting: Arc::new(Lasting::new(&name, &routes, &watch, &counters)),
            name,
            held: Mutex::default(),
            ports: AtomicU64::new(0),
            config: spec.config.as_slice().into(),
            log: Arc::default(),
            spec,
            engine,
            versions,
            os,
            preopens,
            routes,
            watch,
            counters,
        }
    }

    /// Makes an instance and has it initialised; on credit it is not held back for its share of a processor.
    async fn prepare(
        &self,
        code: &Code,
        state: Option<&Snapshot>,
        part: Part,
        on_credit: bool,
    ) -> Result<Instance, Unstarted> {
        let life = Life::begin(&self.os, &self.name).map_err(Unstarted::Door)?;
        let preopens = self.preopens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let setup = Setup {
            name: self.name.clone(),
            principal: &life.principal,
            preopens: &preopens,
            arguments: Vec::new(),
            variables: Vec::new(),
            config: self.config.clone(),
            stdio: Stdio::Log,
            log: self.log.clone(),
            limits: &self.spec.limits,
            share: self.counters.share.clone(),
            on_credit,
            trust: &self.spec.trust,
            port: Some(Port::new(self, part)),
        };
        let store = State::store(&self.engine, setup).await.map_err(Unstarted::Door)?;
        let mut instance = Instance::new(code, store, life).await.map_err(Unstarted::new)?;
        instance.init(&self.spec.config).await.map_err(Unstarted::new)?;
        if let Some(state) = state {
            instance.restore(state, &code.digest).await.map_err(Unstarted::Refused)?;
        }
        Ok(instance)
    }

    /// Where its versions change, as far as they have no state.
    pub(crate) fn stage(&self) -> Stage<'_, Code> {
        Stage { name: &self.name, os: &self.os, watch: &*self.watch, releases: &self.versions.releases }
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<Box<Envelope>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a message was handled to its end.
    fn handled(&self) {
        if self.counters.handled.fetch_add(1, Ordering::Relaxed) == 0 {
            self.watch.event(&Event::FirstMessage { component: &self.name });
        }
    }

    /// Notes that its supervisor is about to start it again.
    fn is_down(&self) {
        self.counters.down.store(self.spec.restart != Restart::Temporary, Ordering::SeqCst);
    }

    fn dead_letter(&self, envelope: &Envelope, reason: &dyn std::fmt::Display) {
        self.counters.dead.fetch_add(1, Ordering::Relaxed);
        self.watch.event(&Event::DeadLetter(&envelope.dead_letter(&self.name, &envelope.payload, reason)));
    }
}

impl Drop for Blueprint {
    /// No next incarnation comes: what the last one held is given up.
    fn drop(&mut self) {
        self.versions.close();
        let held = std::mem::take(self.held.get_mut().unwrap_or_else(PoisonError::into_inner));
        for envelope in held {
            self.dead_letter(&envelope, &"its receiver was stopped");
        }
    }
}

/// One incarnation.
pub(crate) struct ComponentActor {
    blueprint: Arc<Blueprint>,
    /// What is to be handled: the message in hand, and before it what the last incarnation left.
    queue: VecDeque<Box<Envelope>>,
    instance: Option<Instance>,
    /// The code of the instance.
    code: Arc<Code>,
    /// The instance of the version before, until this one has handled something.
    parked: Option<Parked>,
    /// The instance of a version on trial.
    tried: Option<Tried>,
    /// How much was handled since the last snapshot.
    since_snapshot: u32,
    /// Whether it ends because it was told to, or has no more to do.
    is_done: bool,
}

/// Why there is no instance.
enum Unstarted {
    Door(Error),
    Trap(Trap),
    /// It did not take the state that it was given.
    Refused(Trap),
    /// There was no room for it, which says nothing of it.
    NoRoom(Trap),
}

impl Unstarted {
    fn new(trap: Trap) -> Self {
        if trap.is_for_want_of_room() { Self::NoRoom(trap) } else { Self::Trap(trap) }
    }
}

impl From<Unstarted> for ExitReason {
    fn from(unstarted: Unstarted) -> Self {
        match unstarted {
            Unstarted::Door(error) => error.into(),
            Unstarted::Trap(trap) | Unstarted::Refused(trap) | Unstarted::NoRoom(trap) => trap.into(),
        }
    }
}

impl ComponentActor {
    pub(crate) fn new(blueprint: Arc<Blueprint>) -> Self {
        let queue = std::mem::take(&mut *blueprint.held());
        let code = blueprint.versions.releases.settled();
        let (instance, parked, tried) = (None, None, None);
        Self { blueprint, queue, instance, code, parked, tried, since_snapshot: 0, is_done: false }
    }

    /// Handles everything in the queue, in order, and what was ordered before it. What is rare is done [`apart`]: each
    /// message would carry room for it else.
    async fn work(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        loop {
            if self.blueprint.versions.is_ordered() {
                apart(|| self.obey(cx)).await?;
            }
            // One that was killed each time that it had this message in hand had no time to say so.
            let is_poison =
                |envelope: &mut Box<Envelope>| envelope.deliveries >= self.blueprint.spec.max_deliver;
            if let Some(poison) = self.queue.pop_front_if(is_poison) {
                self.blueprint.dead_letter(&poison, &"its receiver was killed at it");
                continue;
            }
            // A policy that was changed meanwhile, or forbids some of what a pattern selects, keeps it from this one.
            let instance = self.instance.as_ref().ok_or(ExitReason::Killed)?;
            let is_forbidden =
                |envelope: &mut Box<Envelope>| envelope.is_published && !instance.hears(&envelope.subject);
            if self.queue.pop_front_if(is_forbidden).is_some() {
                continue;
            }
            if !self.queue.is_empty() && self.has_trial() && apart(|| self.try_next(cx)).await {
                continue;
            }
            let Some(envelope) = self.queue.front_mut() else { return Ok(()) };
            let instance = self.instance.as_mut().ok_or(ExitReason::Killed)?;
            envelope.deliveries += 1;
            let handled = {
                let trace = envelope.trace;
                let handling = pin!(instance.handle(envelope));
                osl_trace::scope(trace, handling).await
            };
            match handled {
                Ok(answer) => {
                    if let Some(number) = instance.put_down() {
                        self.blueprint.lasting.keep_waiting(number, envelope);
                    }
                    if !instance.is_settled() {
                        instance.settle(cx).await;
                    }
                    if let Some(reply) = self.queue.pop_front().and_then(|envelope| envelope.reply) {
                        reply.send(answer);
                    }
                    self.blueprint.handled();
                    if self.parked.is_some() || self.blueprint.spec.snapshots.is_some() {
                        self.settled(cx).await?;
                    }
                }
                Err(trap) => {
                    if self.take_back(&trap, cx) {
                        // Another version tries it: what this one did is not the message's fault.
                        self.queue.front_mut().into_iter().for_each(|envelope| envelope.deliveries -= 1);
                        continue;
                    }
                    let deliveries = self.queue.front().map_or(0, |envelope| envelope.deliveries);
                    if deliveries >= self.blueprint.spec.max_deliver
                        && let Some(poison) = self.queue.pop_front()
                    {
                        self.blueprint.dead_letter(&poison, &trap);
                    }
                    apart(|| self.crash(trap, cx)).await?;
                }
            }
        }
    }

    /// After a message or a timer that was handled to its end: the version has proven itself, and its state is kept for
    /// the next incarnation, where that is wanted.
    async fn settled(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Some(parked) = self.parked.take() {
            self.blueprint.lasting.forget(&parked.unknown);
        }
        let Some(every) = &self.blueprint.spec.snapshots else { return Ok(()) };
        self.since_snapshot += 1;
        if self.since_snapshot < every.value {
            return Ok(());
        }
        apart(|| self.keep_state(cx)).await
    }

    /// Keeps its state for the next incarnation.
    async fn keep_state(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        self.since_snapshot = 0;
        let instance = self.instance.as_mut().ok_or(ExitReason::Killed)?;
        match instance.snapshot(self.blueprint.spec.limits.snapshot_bytes).await {
            Ok(bytes) => {
                let snapshot = bytes.map(|bytes| Arc::new(Snapshot { made_by: self.code.digest, bytes }));
                self.blueprint.versions.keep(snapshot);
                instance.settle(cx).await;
                Ok(())
            }
            Err(refusal) => self.crash(refusal.into_trap(), cx).await,
        }
    }

    /// Does what was delivered beside messages, when those before it are handled.
    async fn attend_to(&mut self, delivery: Delivery, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match delivery {
            Delivery::Message(_) | Delivery::Resume => Ok(()),
            Delivery::Health(reply) => {
                // A system is idle although its components are asked whether they are well.
                self.set_busy(false);
                self.answer(reply, cx).await
            }
            Delivery::Timer { name, port } => {
                if self.tried.as_mut().is_some_and(|tried| tried.has_port(port)) {
                    self.try_timer(&name, cx).await;
                    return Ok(());
                }
                self.timer(&name, cx).await
            }
        }
    }

    /// Marks the component as busy, or not. What breaks off meanwhile drops the actor, which is not busy then.
    fn set_busy(&self, is_busy: bool) {
        self.blueprint.counters.busy.store(is_busy, Ordering::Release);
    }

    async fn timer(&mut self, name: &str, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        loop {
            let is_inherited = self.parked.as_mut().is_some_and(|parked| parked.has_timer(name));
            let instance = self.instance.as_mut().ok_or(ExitReason::Killed)?;
            if let Some(port) = instance.store.data_mut().port() {
                port.timer_fired(name);
            }
            // What a timer begins was asked for by nobody else.
            match osl_trace::scope(trace::new(), instance.timer(name)).await {
                Ok(()) => {
                    instance.settle(cx).await;
                    return self.settled(cx).await;
                }
                Err(trap) if self.take_back(&trap, cx) => {
                    if !is_inherited {
                        return Ok(());
                    }
                }
                Err(trap) => return self.crash(trap, cx).await,
            }
        }
    }

    /// Ends the incarnation, for its supervisor to start the next. A tree that stops restarts nobody: there the actor
    /// itself goes on with a new instance, so that what is in its mailbox is still handled.
    async fn crash(&mut self, trap: impl Into<Arc<Trap>>, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let trap = trap.into();
        // Told before the question: either this hears that the tree stops, or who stops it hears of this and waits.
        self.blueprint.is_down();
        if !self.blueprint.routes.is_stopping() {
            return Err(ExitReason::Error(trap));
        }
        tracing::warn!(component = &*self.blueprint.name, cause = %trap, "crashed while stopping; going on");
        // The runtime hears of no exit.
        record::exit(&self.blueprint.os, &self.blueprint.name, &trap);
        self.start(cx).await
    }

    /// Makes the first instance of this incarnation. It goes on where the last one's state was kept; one that does not
    /// take it is an exit, and the next incarnation starts anew.
    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let code = self.blueprint.versions.releases.settled();
        let kept = self.blueprint.versions.snapshot();
        self.blueprint.lasting.forget_all();
        let mut prepared = self.blueprint.prepare(&code, kept.as_deref(), Part::Whole, false).await;
        if let Err(Unstarted::Refused(_)) = prepared {
            self.blueprint.versions.keep(None);
            // In a tree that stops there is no next incarnation.
            if self.blueprint.routes.is_stopping() {
                prepared = self.blueprint.prepare(&code, None, Part::Whole, false).await;
            }
        }
        let mut instance = prepared?;
        instance.settle(cx).await;
        (self.instance, self.code, self.since_snapshot) = (Some(instance), code, 0);
        self.blueprint.counters.down.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// Its callers may run it on their stacks, which are fibers where they are guests ([`engine`](crate::engine) leaves room), once
/// it has proven to be quick. That it is not trusted to stay so is bounded by the engine's clock: one that computes on is
/// interrupted at each tick, and after two of them, at the most, a caller hands it to the scheduler.
impl Actor for ComponentActor {
    type Msg = Delivery;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.set_busy(true);
        self.blueprint.counters.set_health(Health::Starting);
        // In memory of its own, which goes when it runs.
        apart(|| async {
            self.start(cx).await?;
            self.become_ready(cx).await
        })
        .await?;
        if !self.queue.is_empty() {
            // Where the mailbox is too full for this, another message is there to wake the actor.
            let _ = cx.actor_ref().try_cast(Delivery::Resume);
        }
        self.set_busy(false);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, delivery: Delivery, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        self.set_busy(true);
        let other = match delivery {
            Delivery::Message(mut envelope) => {
                envelope.until = cx.deadline();
                self.queue.push_back(envelope);
                None
            }
            other => Some(other),
        };
        let mut handled = self.work(cx).await;
        if let (Ok(()), Some(other)) = (&handled, other) {
            handled = apart(|| self.attend_to(other, cx)).await;
        }
        self.set_busy(false);
        handled
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        self.is_done = !reason.is_abnormal();
        let Some(instance) = self.instance.as_mut().filter(|_| !reason.is_abnormal()) else { return };
        let reason =
            if matches!(reason, ExitReason::Normal) { GuestExit::Normal } else { GuestExit::Shutdown };
        match instance.terminate(reason).await {
            Ok(()) => instance.settle(cx).await,
            Err(trap) => tracing::warn!(component = &*self.blueprint.name, cause = %trap, "terminate failed"),
        }
    }
}

impl Drop for ComponentActor {
    /// However an incarnation ends, what it held is there for the next.
    fn drop(&mut self) {
        self.set_busy(false);
        self.blueprint.counters.set_health(Health::Stopped);
        self.blueprint.lasting.forget_all();
        if !self.is_done {
            // Killed, or not ready: who stops the tree waits for the next incarnation, as after a crash.
            self.blueprint.is_down();
        }
        let mut held = self.blueprint.held();
        while let Some(envelope) = self.queue.pop_back() {
            held.push_front(envelope);
        }
    }
}

/// Has what is rare done in memory of its own. It is made here and not where it is waited for: each message would find room
/// for it on the stack else, and step over that.
#[inline(never)]
fn apart<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}
