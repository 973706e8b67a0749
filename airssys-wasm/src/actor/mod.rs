//! A component is an actor: one incarnation is one instance, a trap is an exit, a restart is a new instance.
//!
//! The mailbox outlives the incarnations, and so does the message in hand: it is tried again, up to the manifest's
//! `max_deliver`, and goes to the dead letters after that. What a handler sends leaves when it has returned, so a
//! handler that crashed has sent nothing and trying again doubles nothing.

mod envelope;
mod outbox;
mod port;
mod receiver;
pub(crate) mod trace;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use airssys_osl::{Os, Principal, trace as osl_trace};
use airssys_rt::{Actor, Context, ExitReason, Init};
use wasmtime::Store;

pub(crate) use self::{
    envelope::{Delivery, Envelope, SUBJECT_BYTES},
    port::{Port, Route, Routes},
    receiver::Receiver,
};
use crate::{
    component::Component,
    engine::Engine,
    error::Error,
    grant::{Preopen, principal_name},
    host::{
        Stdio,
        bindings::{
            Everything, EverythingPre,
            airssys::actor::types::Message,
            exports::airssys::actor::actor::{ExitReason as GuestExit, Guest},
        },
    },
    instance::{Setup, State},
    manifest::ComponentSpec,
    trap::Trap,
    watch::{DeadLetter, Event, Watch},
};

/// What all incarnations of one component share.
pub(crate) struct Blueprint {
    pub(crate) name: Arc<str>,
    pub(crate) spec: ComponentSpec,
    pub(crate) engine: Engine,
    pub(crate) pre: EverythingPre<State>,
    /// Each incarnation is a life of its own of the component's principal.
    pub(crate) os: Os,
    pub(crate) preopens: Arc<Mutex<Vec<Preopen>>>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) counters: Arc<Counters>,
    /// Messages that an incarnation held when it ended: the one in hand first.
    held: Mutex<VecDeque<Envelope>>,
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
}

impl Blueprint {
    #[expect(clippy::too_many_arguments, reason = "each is one thing that incarnations share; called once")]
    pub(crate) fn new(
        spec: ComponentSpec,
        engine: Engine,
        component: &Component,
        os: Os,
        preopens: Arc<Mutex<Vec<Preopen>>>,
        routes: Arc<Routes>,
        watch: Arc<dyn Watch>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        Ok(Self {
            name: spec.name.as_str().into(),
            pre: component.actor()?,
            held: Mutex::default(),
            spec,
            engine,
            os,
            preopens,
            routes,
            watch,
            counters,
        })
    }

    fn dead_letter(&self, envelope: Envelope, reason: &dyn std::fmt::Display) {
        self.counters.dead.fetch_add(1, Ordering::Relaxed);
        self.watch.event(&Event::DeadLetter(&DeadLetter {
            component: &self.name,
            sender: &envelope.sender,
            subject: &envelope.subject,
            payload: &envelope.payload,
            deliveries: envelope.deliveries,
            reason,
        }));
    }
}

impl Drop for Blueprint {
    /// No next incarnation comes: what the last one held is given up.
    fn drop(&mut self) {
        let held = std::mem::take(self.held.get_mut().unwrap_or_else(PoisonError::into_inner));
        for envelope in held {
            self.dead_letter(envelope, &"its receiver was stopped");
        }
    }
}

/// One incarnation.
pub(crate) struct ComponentActor {
    blueprint: Arc<Blueprint>,
    /// What is to be handled: the message in hand, and before it what the last incarnation left.
    queue: VecDeque<Envelope>,
    instance: Option<Instance>,
}

struct Instance {
    store: Store<State>,
    guest: Everything,
    _life: Life,
}

/// The principal of one incarnation. It ends with it: a handle that got away, into a task that nobody waits for any more,
/// opens nothing.
struct Life {
    os: Os,
    principal: Principal,
}

impl Life {
    fn begin(os: &Os, component: &str) -> Result<Self, Error> {
        let principal = os.principal(&principal_name(component));
        let principal = principal.map_err(|error| Error::door(format!("start `{component}`"), error))?;
        Ok(Self { os: os.clone(), principal })
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.os.revoke(&self.principal);
    }
}

impl ComponentActor {
    pub(crate) fn new(blueprint: Arc<Blueprint>) -> Self {
        let queue = std::mem::take(&mut *blueprint.held.lock().unwrap_or_else(PoisonError::into_inner));
        Self { blueprint, queue, instance: None }
    }

    /// Handles everything in the queue, in order.
    async fn work(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        while let Some(envelope) = self.queue.front_mut() {
            let instance = self.instance.as_mut().ok_or(ExitReason::Killed)?;
            envelope.deliveries += 1;
            match osl_trace::scope(envelope.trace, instance.handle(envelope)).await {
                Ok(answer) => {
                    instance.settle(cx).await;
                    if let Some(reply) = self.queue.pop_front().and_then(|envelope| envelope.reply) {
                        reply.send(answer);
                    }
                    self.handled();
                }
                Err(trap) => {
                    if envelope.deliveries >= self.blueprint.spec.max_deliver
                        && let Some(poison) = self.queue.pop_front()
                    {
                        self.blueprint.dead_letter(poison, &trap);
                    }
                    self.crash(trap, cx).await?;
                }
            }
        }
        Ok(())
    }

    fn handled(&self) {
        if self.blueprint.counters.handled.fetch_add(1, Ordering::Relaxed) == 0 {
            self.blueprint.watch.event(&Event::FirstMessage { component: &self.blueprint.name });
        }
    }

    async fn timer(&mut self, name: &str, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let instance = self.instance.as_mut().ok_or(ExitReason::Killed)?;
        if let Some(port) = instance.store.data_mut().port() {
            port.timer_fired(name);
        }
        // What a timer begins was asked for by nobody else.
        match osl_trace::scope(trace::new(), instance.timer(name)).await {
            Ok(()) => {
                instance.settle(cx).await;
                Ok(())
            }
            Err(trap) => self.crash(trap, cx).await,
        }
    }

    /// Ends the incarnation, for its supervisor to start the next. A tree that stops restarts nobody: there the actor
    /// itself goes on with a new instance, so that what is in its mailbox is still handled.
    async fn crash(&mut self, trap: Trap, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if !self.blueprint.routes.is_stopping() {
            return Err(trap.into());
        }
        tracing::warn!(component = &*self.blueprint.name, cause = %trap, "crashed while stopping; going on");
        self.start(cx).await
    }

    /// Makes an instance and has it initialised.
    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let blueprint = &self.blueprint;
        let life = Life::begin(&blueprint.os, &blueprint.name)?;
        let preopens = blueprint.preopens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let setup = Setup {
            name: blueprint.name.clone(),
            principal: &life.principal,
            preopens: &preopens,
            arguments: Vec::new(),
            variables: Vec::new(),
            stdio: Stdio::Log,
            limits: &blueprint.spec.limits,
            port: Some(Port::new(blueprint)),
        };
        let mut store = State::store(&blueprint.engine, setup).await?;
        let guest = blueprint.pre.instantiate_async(&mut store).await.map_err(Trap::new)?;
        let mut instance = Instance { store, guest, _life: life };
        instance.init(&blueprint.spec.config).await?;
        instance.settle(cx).await;
        self.instance = Some(instance);
        Ok(())
    }
}

impl Actor for ComponentActor {
    type Msg = Delivery;

    // How quick a guest was does not tell how quick it will be.
    const RUNS_ON_CALLERS: bool = false;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let counters = self.blueprint.counters.clone();
        let _busy = Busy::new(&counters);
        self.start(cx).await?;
        if !self.queue.is_empty() {
            // Where the mailbox is too full for this, another message is there to wake the actor.
            let _ = cx.actor_ref().try_cast(Delivery::Resume);
        }
        Ok(Init::Ready)
    }

    async fn handle(&mut self, delivery: Delivery, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let counters = self.blueprint.counters.clone();
        let _busy = Busy::new(&counters);
        match delivery {
            Delivery::Message(envelope) => self.queue.push_back(envelope),
            Delivery::Resume => {}
            Delivery::Timer { name } => {
                self.work(cx).await?;
                return self.timer(&name, cx).await;
            }
        }
        self.work(cx).await
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
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
        let mut held = self.blueprint.held.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(envelope) = self.queue.pop_back() {
            held.push_front(envelope);
        }
    }
}

impl Instance {
    /// Refills the guest's time and gives its exports.
    fn enter(&mut self) -> (&Guest, &mut Store<State>) {
        self.store.data_mut().refill();
        (self.guest.airssys_actor_actor(), &mut self.store)
    }

    async fn init(&mut self, config: &[(String, String)]) -> Result<(), Trap> {
        let config: Vec<_> = config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let (actor, store) = self.enter();
        flatten(actor.call_init(store, &config).await)
    }

    async fn handle(&mut self, envelope: &Envelope) -> Result<Option<Vec<u8>>, Trap> {
        let message =
            Message { sender: &envelope.sender, subject: &envelope.subject, payload: &envelope.payload };
        let (actor, store) = self.enter();
        flatten(actor.call_handle_message(store, message).await)
    }

    async fn timer(&mut self, name: &str) -> Result<(), Trap> {
        let (actor, store) = self.enter();
        flatten(actor.call_handle_timer(store, name).await)
    }

    async fn terminate(&mut self, reason: GuestExit) -> Result<(), Trap> {
        let (actor, store) = self.enter();
        actor.call_terminate(store, reason).await.map_err(Trap::new)
    }

    /// Does what the handler asked for and is done only now that it has returned: messages leave, timers are armed.
    async fn settle(&mut self, cx: &mut Context<ComponentActor>) {
        if let Some(port) = self.store.data_mut().port() {
            port.outbox.flush().await;
            port.arm_timers(cx);
        }
    }
}

fn flatten<T>(called: wasmtime::Result<Result<T, String>>) -> Result<T, Trap> {
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(Trap::error(&message)),
        Err(error) => Err(Trap::new(error)),
    }
}

/// Marks a component as busy for as long as it lives.
struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.busy.store(true, Ordering::Release);
        Self(&counters.busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use airssys_osl::{
        policy::{Grant, Policy},
        testing::MemorySink,
    };

    use super::*;

    #[test]
    fn what_outlives_its_incarnation_opens_nothing() {
        let policy =
            Policy::builder().principal("component.a", [Grant::clock()]).build().expect("it is sound");
        let os = Os::new(policy, MemorySink::new());
        let (life, next) =
            (Life::begin(&os, "a").expect("it is known"), Life::begin(&os, "a").expect("again"));
        let (left, kept) =
            (life.principal.clock().expect("granted"), next.principal.clock().expect("granted"));
        drop(life);
        assert_eq!(left.monotonic_now().expect_err("its life is over").rule(), Some("revoked"));
        assert!(kept.monotonic_now().is_ok(), "the next incarnation is another life");
    }
}
