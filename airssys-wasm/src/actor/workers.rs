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
use airssys_rt::{Actor, ActorRef, Context, ExitReason, Init};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use super::{
    Blueprint, Code, Delivery, Envelope, Health, Unstarted, Working,
    guest::Instance,
    health::{self, Ailment, Gate, NotReady, Unanswered},
    port::Part,
    trace,
};
use crate::{
    error::{Error, ErrorKind},
    manifest::HealthSpec,
    record,
    releases::Verdict,
};

/// How often it is looked whether there is room for an instance again, and how long apart: a minute, and longer where the
/// machine stands still. What others of the system hold may be held for ever.
const LOOKS_FOR_ROOM: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What all incarnations of one component's workers share.
pub(crate) struct Workers {
    pub(crate) blueprint: Arc<Blueprint>,
    /// How many messages may be in hand at a time.
    count: usize,
    /// One for each message that may be in hand at a time.
    places: Arc<Semaphore>,
    /// Why no instance could be made: the incarnation ends for it.
    failure: Mutex<Option<ExitReason>>,
}

impl Workers {
    pub(crate) fn new(blueprint: Arc<Blueprint>, count: usize) -> Self {
        Self { blueprint, count, places: Arc::new(Semaphore::new(count)), failure: Mutex::default() }
    }

    fn fail(&self, reason: ExitReason) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Why no instance could be made. None where that is the fault of a version that was on trial, or has been replaced.
    fn why_unmade(&self, code: &Arc<Code>, unstarted: Unstarted) -> Option<ExitReason> {
        let releases = &self.blueprint.versions.releases;
        let is_its_own = matches!(unstarted, Unstarted::Trap(_) | Unstarted::Refused(_));
        let reason = ExitReason::from(unstarted);
        if is_its_own {
            releases.ended(code, Verdict::Broke(reason.to_string()));
            if !Arc::ptr_eq(code, &releases.settled()) {
                return None;
            }
        }
        Some(reason)
    }

    fn take_failure(&self) -> Option<ExitReason> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks a fresh instance whether it is well.
    async fn ask(&self, health: &HealthSpec) -> Result<Ailment, Error> {
        let code = self.blueprint.versions.releases.settled();
        let asked = async {
            match self.blueprint.prepare(&code, None, Part::Beside, true).await {
                Ok(mut instance) => {
                    let ailment = instance.ask(health).await.unwrap_or_else(|trap| Some(trap.to_string()));
                    instance.send().await;
                    Ok(ailment)
                }
                Err(Unstarted::Trap(trap) | Unstarted::Refused(trap)) => Ok(Some(trap.to_string())),
                Err(Unstarted::NoRoom(trap)) => {
                    Err(Error::new(ErrorKind::Unavailable, "make an instance").caused_by(trap))
                }
                Err(Unstarted::Door(error)) => Err(error),
            }
        };
        let late = |_| Ok(Some(format!("it gave no answer within {:?}", health.timeout)));
        timeout(health.timeout, asked).await.unwrap_or_else(late)
    }

    /// Asks from time to time, whatever is in hand and whoever waits in the mailbox. Too many questions in a row without a good
    /// answer are the end of this incarnation.
    async fn attend(self: Arc<Self>, actor: ActorRef<Delivery>) {
        let blueprint = &self.blueprint;
        let Some(health) = &blueprint.spec.health else { return };
        let mut misses = 0;
        while misses < health.failures {
            sleep(health.every).await;
            // The questions of a tree that stops are nobody's end: what waits there is handled first.
            if blueprint.routes.is_stopping() {
                return;
            }
            let is_well = osl_trace::scope(trace::new(), self.inquire(health)).await;
            misses = if is_well { 0 } else { misses + 1 };
        }
        if !blueprint.routes.is_stopping() {
            actor.exit(ExitReason::Error(Arc::new(Unanswered { misses })));
        }
    }

    async fn inquire(&self, health: &HealthSpec) -> bool {
        let blueprint = &self.blueprint;
        blueprint.counters.asked(health.timeout);
        match self.ask(health).await {
            Ok(ailment) => health::told(ailment, &blueprint.counters, (&blueprint.name, &*blueprint.watch)),
            // Through no fault of the guest's: that says nothing of it.
            Err(error) => {
                tracing::warn!(component = &*blueprint.name, cause = %error, "cannot ask whether it is well");
                blueprint.counters.forgive();
                true
            }
        }
    }
}

/// One incarnation: it hands out what is in the mailbox.
pub(crate) struct WorkersActor {
    workers: Arc<Workers>,
    /// What waits for a place.
    queue: VecDeque<Box<Envelope>>,
    working: JoinSet<()>,
    /// Who asks whether instances are well: nothing waits for that, least of all the end.
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
                // As an actor that crashes: told before the question.
                workers.blueprint.is_down();
                if !workers.blueprint.routes.is_stopping() {
                    return Err(reason);
                }
                tracing::warn!(component = &*workers.blueprint.name, cause = %reason, "failed while stopping; going on");
                workers.blueprint.counters.down.store(false, Ordering::SeqCst);
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
}

impl Actor for WorkersActor {
    type Msg = Delivery;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let workers = self.workers.clone();
        let blueprint = &workers.blueprint;
        let _working = Working::begin(&blueprint.counters);
        blueprint.counters.set_health(Health::Starting);
        workers.take_failure();
        // Of one that cannot be made it is better known before its first message.
        let code = blueprint.versions.releases.settled();
        blueprint.prepare(&code, None, Part::Whole, false).await?.send().await;
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
        self.asking.spawn(workers.clone().attend(cx.actor_ref()));
        if !blueprint.held().is_empty() {
            // Where the mailbox is too full for this, another message is there to wake the actor.
            let _ = cx.actor_ref().try_cast(Delivery::Resume);
        }
        Ok(Init::Ready)
    }

    async fn handle(&mut self, delivery: Delivery, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match delivery {
            Delivery::Message(mut envelope) => {
                envelope.until = cx.deadline();
                self.queue.push_back(envelope);
            }
            Delivery::Resume | Delivery::Health(_) | Delivery::Timer { .. } => {}
        }
        self.hand_out(cx).await
    }

    /// What is in hand is done first, within the time that its end may take.
    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        self.is_done = !reason.is_abnormal();
        self.asking = JoinSet::new();
        while self.is_done {
            while self.working.join_next().await.is_some() {}
            // What came back of those has no next incarnation in a tree that stops.
            let goes_on = self.workers.blueprint.routes.is_stopping() && self.hand_out(cx).await.is_ok();
            if !goes_on || self.working.is_empty() {
                break;
            }
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
    envelope: Option<Box<Envelope>>,
}

impl InHand {
    /// Has fresh instances handle it, until one has, or it was tried often enough.
    async fn work(mut self, _place: OwnedSemaphorePermit, _working: Working) {
        let workers = self.workers.clone();
        let (blueprint, releases) = (&workers.blueprint, &workers.blueprint.versions.releases);
        let mut looks = 0;
        while let Some(envelope) = &mut self.envelope {
            // One that was killed each time that it had this message in hand had no time to say so.
            if envelope.deliveries >= blueprint.spec.max_deliver {
                return self.bury(&"its receiver was killed at it");
            }
            let code = releases.next();
            let mut instance = match blueprint.prepare(&code, None, Part::Place(workers.count), false).await {
                Ok(instance) => instance,
                Err(Unstarted::NoRoom(_)) if looks < LOOKS_FOR_ROOM => {
                    looks += 1;
                    sleep(BETWEEN_LOOKS).await;
                    continue;
                }
                Err(unstarted) => match workers.why_unmade(&code, unstarted) {
                    None => continue,
                    // There is no next incarnation for it.
                    Some(reason) if blueprint.routes.is_stopping() => return self.bury(&reason),
                    Some(reason) => return workers.fail(reason),
                },
            };
            // As for any component: a policy may have been changed meanwhile.
            if envelope.is_published && !instance.hears(&envelope.subject) {
                self.envelope = None;
                return;
            }
            if !Arc::ptr_eq(&code, &releases.settled()) {
                instance.begin_trial();
            }
            envelope.deliveries += 1;
            match instance.handle(envelope).await {
                Ok(answer) => return self.has_handled(instance, &code, answer).await,
                Err(trap) if trap.is_for_want_of_room() && looks < LOOKS_FOR_ROOM => {
                    envelope.deliveries -= 1;
                    looks += 1;
                    drop(instance);
                    sleep(BETWEEN_LOOKS).await;
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

    async fn has_handled(mut self, mut instance: Instance, code: &Arc<Code>, answer: Option<Vec<u8>>) {
        let blueprint = &self.workers.blueprint;
        let releases = &blueprint.versions.releases;
        instance.send().await;
        if let Some(reply) = self.envelope.take().and_then(|envelope| envelope.reply) {
            reply.send(answer);
        }
        blueprint.handled();
        releases.ended(code, Verdict::Good);
        if Arc::ptr_eq(code, &releases.settled()) {
            // This one may have been the last that its version had to do.
            instance.end_trial();
        }
    }

    fn bury(&mut self, reason: &dyn std::fmt::Display) {
        if let Some(envelope) = self.envelope.take() {
            self.workers.blueprint.dead_letter(&envelope, reason);
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
