//! Workers: one mailbox, and a fresh instance for each message, so many messages at a time.
//!
//! A trap is the end of one instance, as of a service's: the message is tried again with another, up to the manifest's
//! `max_deliver`, and nobody else notices. Only where no instance can be made the whole is an exit, for its supervisor to
//! start it again; what was in hand then is the next incarnation's.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use airssys_osl::trace as osl_trace;
use airssys_rt::{Actor, ActorRef, Context, ExitReason, Init, Reply};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

use super::{
    Blueprint, Delivery, Envelope, Health, Unstarted, Working,
    health::{self, Ailment, Gate, NotReady},
};
use crate::{error::Error, manifest::HealthSpec, record, releases::Verdict};

/// What all incarnations of one component's workers share.
pub(crate) struct Workers {
    pub(crate) blueprint: Arc<Blueprint>,
    /// One for each message that may be in hand at a time.
    places: Arc<Semaphore>,
    /// Why no instance could be made: the incarnation ends for it.
    failure: Mutex<Option<ExitReason>>,
}

impl Workers {
    pub(crate) fn new(blueprint: Arc<Blueprint>, count: usize) -> Self {
        Self { blueprint, places: Arc::new(Semaphore::new(count)), failure: Mutex::default() }
    }

    fn fail(&self, reason: ExitReason) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn take_failure(&self) -> Option<ExitReason> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks a fresh instance whether it is well.
    async fn ask(&self, health: &HealthSpec) -> Result<Ailment, Error> {
        let code = self.blueprint.versions.releases.settled();
        let asked = async {
            match self.blueprint.prepare(&code, None).await {
                Ok(mut instance) => {
                    let ailment = instance.ask(health).await.unwrap_or_else(|trap| Some(trap.to_string()));
                    instance.send().await;
                    Ok(ailment)
                }
                Err(Unstarted::Trap(trap) | Unstarted::Refused(trap)) => Ok(Some(trap.to_string())),
                Err(Unstarted::Door(error)) => Err(error),
            }
        };
        let late = |_| Ok(Some(format!("it gave no answer within {:?}", health.timeout)));
        timeout(health.timeout, asked).await.unwrap_or_else(late)
    }
}

/// One incarnation: it hands out what is in the mailbox.
pub(crate) struct WorkersActor {
    workers: Arc<Workers>,
    /// What waits for a place.
    queue: VecDeque<Envelope>,
    working: JoinSet<()>,
    /// The question that has no answer yet: nothing waits for it, least of all the end.
    asking: JoinSet<()>,
    is_done: bool,
}

impl WorkersActor {
    pub(crate) fn new(workers: Arc<Workers>) -> Self {
        let (queue, working, asking) = Default::default();
        Self { workers, queue, working, asking, is_done: false }
    }

    /// Hands out what waits, and what an incarnation before had in hand, each as soon as there is a place for it.
    async fn hand_out(&mut self, cx: &Context<Self>) -> Result<(), ExitReason> {
        let workers = self.workers.clone();
        loop {
            if let Some(reason) = workers.take_failure() {
                workers.blueprint.is_down();
                return Err(reason);
            }
            while self.working.try_join_next().is_some() {}
            let held = std::mem::take(&mut *workers.blueprint.held());
            for envelope in held.into_iter().rev() {
                self.queue.push_front(envelope);
            }
            if self.queue.is_empty() {
                return Ok(());
            }
            // It is closed by nobody.
            let Ok(place) = workers.places.clone().acquire_owned().await else { return Ok(()) };
            let Some(envelope) = self.queue.pop_front() else { return Ok(()) };
            let trace = envelope.trace;
            let hand = InHand { workers: workers.clone(), actor: cx.actor_ref(), envelope: Some(envelope) };
            let working = Working::begin(&workers.blueprint.counters);
            self.working.spawn(osl_trace::scope(trace, hand.work(place, working)));
        }
    }

    fn inquire(&mut self, reply: Reply<()>) {
        let workers = self.workers.clone();
        // Of an earlier one the prober waits for no answer any more.
        self.asking = JoinSet::new();
        self.asking.spawn(osl_trace::scope(super::trace::new(), async move {
            let blueprint = &workers.blueprint;
            let Some(health) = &blueprint.spec.health else { return };
            match workers.ask(health).await {
                Ok(ailment) => {
                    health::told(ailment, reply, &blueprint.counters, (&blueprint.name, &*blueprint.watch));
                }
                // Through no fault of the guest's: that says nothing of it.
                Err(error) => {
                    tracing::warn!(component = &*blueprint.name, cause = %error, "cannot ask whether it is well");
                    blueprint.counters.forgive();
                    reply.send(());
                }
            }
        }));
    }
}

impl Actor for WorkersActor {
    type Msg = Delivery;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let workers = self.workers.clone();
        let blueprint = &workers.blueprint;
        blueprint.counters.set_health(Health::Starting);
        workers.take_failure();
        // Of one that cannot be made it is better known before its first message.
        let code = blueprint.versions.releases.settled();
        blueprint.prepare(&code, None).await?.send().await;
        if let Some(health) = &blueprint.spec.health {
            let mut gate = Gate::new(health, &blueprint.name, &*blueprint.watch);
            let asked =
                async || Ok::<_, NotReady>(workers.ask(health).await.unwrap_or_else(|e| Some(e.to_string())));
            while !gate.pass(asked()).await? {
                if cx.is_stopping() || blueprint.routes.is_stopping() {
                    break;
                }
            }
        }
        blueprint.counters.set_health(Health::Ready);
        blueprint.counters.down.store(false, Ordering::SeqCst);
        if !blueprint.held().is_empty() {
            // Where the mailbox is too full for this, another message is there to wake the actor.
            let _ = cx.actor_ref().try_cast(Delivery::Resume);
        }
        Ok(Init::Ready)
    }

    async fn handle(&mut self, delivery: Delivery, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match delivery {
            Delivery::Message(envelope) => self.queue.push_back(envelope),
            Delivery::Health(reply) => self.inquire(reply),
            Delivery::Resume | Delivery::Timer { .. } => {}
        }
        self.hand_out(cx).await
    }

    /// What is in hand is done first, within the time that its end may take.
    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        self.is_done = !reason.is_abnormal();
        if self.is_done {
            while self.working.join_next().await.is_some() {}
        }
    }
}

impl Drop for WorkersActor {
    /// As of any component's actor: what it held is there for the next.
    fn drop(&mut self) {
        let blueprint = &self.workers.blueprint;
        blueprint.counters.set_health(Health::Stopped);
        if !self.is_done {
            blueprint.is_down();
        }
        let mut held = blueprint.held();
        while let Some(envelope) = self.queue.pop_back() {
            held.push_front(envelope);
        }
    }
}

/// A message that is worked on. Where that is broken off, it waits for the next incarnation.
struct InHand {
    workers: Arc<Workers>,
    actor: ActorRef<Delivery>,
    envelope: Option<Envelope>,
}

impl InHand {
    /// Has fresh instances handle it, until one has, or it was tried often enough.
    async fn work(mut self, _place: OwnedSemaphorePermit, _working: Working) {
        let workers = self.workers.clone();
        let (blueprint, releases) = (&workers.blueprint, &workers.blueprint.versions.releases);
        while let Some(envelope) = &mut self.envelope {
            // One that was killed each time that it had this message in hand had no time to say so.
            if envelope.deliveries >= blueprint.spec.max_deliver {
                return self.bury(&"its receiver was killed at it");
            }
            let code = releases.next();
            let mut instance = match blueprint.prepare(&code, None).await {
                Ok(instance) => instance,
                Err(unstarted) => {
                    let reason = ExitReason::from(unstarted);
                    releases.ended(&code, Verdict::Broke(reason.to_string()));
                    if !Arc::ptr_eq(&code, &releases.settled()) {
                        continue;
                    }
                    return workers.fail(reason);
                }
            };
            // As for any component: a policy may have been changed meanwhile.
            if envelope.is_published && !instance.hears(&envelope.subject) {
                self.envelope = None;
                return;
            }
            envelope.deliveries += 1;
            match instance.handle(envelope).await {
                Ok(answer) => {
                    instance.send().await;
                    if let Some(reply) = self.envelope.take().and_then(|envelope| envelope.reply) {
                        reply.send(answer);
                    }
                    blueprint.handled();
                    releases.ended(&code, Verdict::Good);
                }
                Err(trap) => {
                    tracing::warn!(component = &*blueprint.name, cause = %trap, "crashed at a message");
                    record::exit(&blueprint.os, &blueprint.name, &trap);
                    releases.ended(&code, Verdict::Broke(trap.to_string()));
                    if !Arc::ptr_eq(&code, &releases.settled()) {
                        // Another version tries it: what this one did is not the message's fault.
                        envelope.deliveries -= 1;
                    } else if envelope.deliveries >= blueprint.spec.max_deliver {
                        return self.bury(&trap);
                    }
                }
            }
        }
    }

    fn bury(&mut self, reason: &dyn std::fmt::Display) {
        if let Some(envelope) = self.envelope.take() {
            self.workers.blueprint.dead_letter(envelope, reason);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let Some(envelope) = self.envelope.take() else { return };
        self.workers.blueprint.held().push_back(envelope);
        // Where the mailbox is too full for this, another message is there to wake the actor.
        let _ = self.actor.try_cast(Delivery::Resume);
    }
}
