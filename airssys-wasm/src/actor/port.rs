//! What an actor's guest reaches of the runtime: other actors and timers.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use airssys_rt::{CallError, Context, TimerRef, Topics};
use tokio::time::Instant;
use wasmtime::{Result, bail};

use super::{
    Blueprint, ComponentActor, Counters, Delivery, Envelope, Published, Receiver,
    names::NameHasher,
    outbox::Outbox,
    talk::{Lasting, Talk},
    waits::Waits,
};
use crate::{host::bindings::airssys::actor::types::SendError, manifest::ComponentSpec, watch::Watch};

/// The most timers of one actor. `wit/actor.wit` promises it.
const TIMERS: usize = 64;

/// The longest name of a timer, in bytes. `wit/actor.wit` promises it.
const TIMER_NAME_BYTES: usize = 256;

/// The actors of a system, by name. Their references stay good across restarts.
#[derive(Default)]
pub(crate) struct Routes {
    routes: HashMap<Box<str>, Route, BuildHasherDefault<NameHasher>>,
    /// Where components publish, and subscribe.
    pub(super) topics: Topics<Published>,
    /// Whether the system is being stopped.
    stopping: AtomicBool,
    waits: Arc<Waits>,
}

/// The way to one actor.
pub(crate) struct Route {
    pub(crate) to: Receiver,
    /// The largest payload that it takes.
    pub(crate) payload_bytes: usize,
}

impl Routes {
    pub(crate) fn insert(&mut self, name: &str, route: Route) {
        self.routes.insert(name.into(), route);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Route> {
        self.routes.get(name)
    }

    /// Notes that the system is being stopped.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// What an instance is of its component: what waits where it waits.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// All of it: nobody reads its mailbox meanwhile.
    Whole,
    /// One of so many that work at a time: its mailbox is read until all of them wait.
    Place(usize),
    /// Nothing that the mailbox waits for.
    Beside,
}

/// Belongs to one incarnation.
pub(crate) struct Port {
    pub(crate) outbox: Outbox,
    /// Its number among those of its component.
    pub(super) id: u64,
    pub(crate) routes: Arc<Routes>,
    /// The largest answer to a call that it takes.
    payload_bytes: usize,
    pub(crate) talk: Talk,
    counters: Arc<Counters>,
    /// Whether its instance goes on when what it has in hand is done.
    goes_on: bool,
    /// The timers by name; without a reference while they wait for the handler to return.
    timers: HashMap<Arc<str>, Option<TimerRef>>,
    /// What the handler asked for, to be done when it has returned.
    requested: Vec<(Arc<str>, Duration)>,
    cancelled: Vec<TimerRef>,
    /// The timers that the version after this one replaced, and when they are due: they are its own again where that is
    /// taken back.
    replaced: Vec<(Arc<str>, Instant)>,
}

impl Port {
    pub(super) fn new(blueprint: &Blueprint, part: Part) -> Self {
        let own = blueprint.routes.get(&blueprint.name).map(|route| route.to.id());
        let (places, waits) = match part {
            Part::Whole => (1, blueprint.routes.waits.clone()),
            Part::Place(count) => (count, blueprint.routes.waits.clone()),
            Part::Beside => (1, Arc::default()),
        };
        Self {
            outbox: Outbox::new(own, places, waits, blueprint.watch.clone(), blueprint.counters.clone()),
            id: blueprint.ports.fetch_add(1, Ordering::Relaxed),
            routes: blueprint.routes.clone(),
            payload_bytes: blueprint.spec.limits.payload_bytes,
            talk: Talk::new(blueprint.lasting.clone()),
            counters: blueprint.counters.clone(),
            goes_on: blueprint.spec.workers.is_none(),
            timers: HashMap::new(),
            requested: Vec::new(),
            cancelled: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// For what has no mailbox.
    pub(crate) fn without_mailbox(
        spec: &ComponentSpec,
        routes: &Arc<Routes>,
        watch: &Arc<dyn Watch>,
        counters: &Arc<Counters>,
    ) -> Self {
        let lasting = Lasting::new(&spec.name.as_str().into(), routes, watch, counters);
        Self {
            outbox: Outbox::new(None, 1, routes.waits.clone(), watch.clone(), counters.clone()),
            id: 0,
            routes: routes.clone(),
            payload_bytes: spec.limits.payload_bytes,
            talk: Talk::new(Arc::new(lasting)),
            counters: counters.clone(),
            goes_on: false,
            timers: HashMap::new(),
            requested: Vec::new(),
            cancelled: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// Waits for the answer to a message, no longer than the caller of the message in hand waits. What was sent before the
    /// call arrives before it: without room for that in time there is no call.
    pub(crate) async fn call(
        &mut self,
        to: &Receiver,
        envelope: Box<Envelope>,
        timeout: Duration,
    ) -> Result<Vec<u8>, SendError> {
        let own = Instant::now().checked_add(timeout);
        let until = own.into_iter().chain(self.talk.deadline()).min();
        let left = || until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
        if !self.outbox.flush_within(left()).await {
            return Err(SendError::TimedOut);
        }
        self.talk.leave();
        match to.call(envelope, left()).await {
            // As for a message: a guest would have to find room for what another one has chosen.
            Ok(Some(payload)) if payload.len() > self.payload_bytes => Err(SendError::TooLarge),
            Ok(Some(payload)) => Ok(payload),
            Ok(None) => Err(SendError::NoReply),
            Err(CallError::Timeout) => Err(SendError::TimedOut),
            Err(_) => Err(SendError::Gone),
        }
    }

    /// Fails where an instance ends with what it has in hand: nobody would be there for what comes later.
    pub(crate) fn check_that_it_goes_on(&self, function: &str) -> Result<()> {
        if !self.goes_on {
            bail!(
                "{function}: its instance ends with what it has in hand (`job` and `workers` in the manifest)"
            );
        }
        Ok(())
    }

    pub(crate) fn set_timer(&mut self, name: String, delay: Duration) -> Result<()> {
        self.check_that_it_goes_on("timers.set")?;
        if name.len() > TIMER_NAME_BYTES {
            bail!("timers.set: a name of {} bytes; the most is {TIMER_NAME_BYTES}", name.len());
        }
        let name: Arc<str> = name.into();
        self.cancel_timer(&name);
        if self.timers.len() >= TIMERS {
            bail!("timers.set: more than {TIMERS} timers");
        }
        self.timers.insert(name.clone(), None);
        self.requested.push((name, delay));
        Ok(())
    }

    pub(crate) fn cancel_timer(&mut self, name: &str) -> bool {
        let Some(timer) = self.timers.remove(name) else { return false };
        self.cancelled.extend(timer);
        self.requested.retain(|(requested, _)| &**requested != name);
        true
    }

    /// Whether a handler that has returned has asked for nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.outbox.is_settled()
            && self.talk.is_settled()
            && self.cancelled.is_empty()
            && self.requested.is_empty()
    }

    pub(super) fn arm_timers(&mut self, cx: &mut Context<ComponentActor>) {
        for timer in self.cancelled.drain(..) {
            cx.cancel(timer);
        }
        for (name, delay) in self.requested.drain(..) {
            if delay.is_zero() {
                self.counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            let timer = cx.send_after(delay, Delivery::Timer { name: name.clone(), port: self.id });
            self.timers.insert(name, Some(timer));
        }
    }

    /// Notes that a timer fired: it is not armed any more.
    pub(super) fn timer_fired(&mut self, name: &str) {
        self.timers.remove(name);
    }

    /// Goes on with the timers of the version before this one. Those that its `init` set anew replace them.
    pub(super) fn inherit_timers(&mut self, old: &mut Self, cx: &Context<ComponentActor>) {
        let now = Instant::now();
        for (name, timer) in old.timers.extract_if(|name, _| self.timers.contains_key(name)) {
            let Some(timer) = timer else { continue };
            let due = cx.read_timer(timer).and_then(|left| now.checked_add(left));
            old.replaced.extend(due.map(|due| (name, due)));
            self.cancelled.push(timer);
        }
        self.timers.extend(old.timers.iter().map(|(name, timer)| (name.clone(), *timer)));
    }

    /// Goes on with its timers as they were when `new` took over, which has handled nothing to its end since: what that has
    /// set is disarmed, and what that replaced is armed again.
    pub(super) fn reclaim_timers(&mut self, new: &mut Self) {
        let set = new.timers.drain().filter_map(|(_, timer)| timer).chain(new.cancelled.drain(..));
        let is_own = |timer: &TimerRef| self.timers.values().any(|own| own.as_ref() == Some(timer));
        self.cancelled.extend(set.filter(|timer| !is_own(timer)));
        let now = Instant::now();
        for (name, due) in self.replaced.drain(..) {
            self.timers.insert(name.clone(), None);
            self.requested.push((name, due.saturating_duration_since(now)));
        }
    }

    pub(super) fn has_timer(&self, name: &str) -> bool {
        self.timers.contains_key(name)
    }
}
