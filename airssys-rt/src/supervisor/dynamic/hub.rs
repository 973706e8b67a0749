//! The actor that is a dynamic supervisor. Like the other kind, it never waits for a child.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Begun, Entry, Event, Extra, IdHasher, NAME, Phase, Ticket};
use super::slab::Slab;
use super::{Front, Template};
use crate::actor::{Actor, Context, Init};
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, Cold, Notify, Outcome};
use crate::chance::Chance;
use crate::exit::ExitReason;
use crate::observe::EventKind;
use crate::supervisor::admin::{Admin, Answer, ChildError};
use crate::supervisor::child::{Restart, Shutdown};
use crate::supervisor::handle::{ChildCount, SupervisorRef};
use crate::supervisor::intensity::Intensity;
use crate::supervisor::life::{self, Life, Order};
use crate::supervisor::probe::Prober;
use crate::supervisor::{StartError, contained, discard};
use crate::system::System;

/// How many children are stopped before other events get their turn.
const SWEEP: usize = 1024;

/// The fields are dropped in this order: the end is told when the children are gone.
pub(super) struct Hub<T, A: Actor> {
    children: Slab<Entry<T, A::Msg>>,
    places: HashMap<ActorId, u32, BuildHasherDefault<IdHasher>>,
    /// That of the next child.
    serial: u32,
    /// Those that wait for their next start.
    waiting: usize,
    sweep: Option<Sweep>,
    template: Arc<Template<T, A>>,
    system: System,
    intensity: Intensity,
    chance: Chance,
    born: Instant,
    inbox: ActorRef<Event<T, A::Msg>>,
    /// Of all children.
    path: Arc<str>,
    front: Arc<Front<T, A::Msg>>,
    life: Life,
}

/// How far the stopping of all children has come.
#[derive(Clone, Copy)]
struct Sweep {
    next: usize,
    kill: bool,
}

impl<T: Clone + Send + 'static, A: Actor> Hub<T, A> {
    /// Starts a dynamic supervisor without children.
    pub(super) fn spawn(
        system: &System,
        template: &Arc<Template<T, A>>,
        front: &Arc<Front<T, A::Msg>>,
        path: Arc<str>,
        notify: Notify,
    ) -> SupervisorRef {
        life::spawn(system, &path, notify, |life, inbox| Self {
            children: Slab::new(),
            places: HashMap::default(),
            serial: 0,
            waiting: 0,
            sweep: None,
            template: Arc::clone(template),
            system: system.clone(),
            intensity: Intensity::new(template.max_restarts, template.period),
            chance: Chance::new(template.seed, &path),
            born: Instant::now(),
            path: format!("{path}/{NAME}").into(),
            front: Arc::clone(front),
            life,
            inbox,
        })
    }

    /// Starts an incarnation at a place. The code of the user that runs here is contained.
    fn launch(
        &self,
        place: u32,
        restarts: u32,
        argument: impl FnOnce() -> T,
    ) -> Result<ActorRef<A::Msg>, ExitReason> {
        let actor = cell::make(|| (self.template.make)(argument()))?;
        let to = self.inbox.clone();
        // A supervisor listens as long as it has children.
        let notify = move |id| -> Notify {
            Box::new(move |outcome| drop(to.try_cast(Event::Child { place, id, outcome })))
        };
        let path = Some(Arc::clone(&self.path));
        let cold = |id| Some(Cold::named(path, Some(notify(id))).below(self.inbox.id(), restarts));
        let bounds = self.template.mailbox.bounds();
        Ok(ActorRef::new(cell::spawn_by(&self.system, bounds, cold, |_| actor)))
    }

    fn on_start(&mut self, argument: T, answer: Answer<Begun<A::Msg>>) {
        let place = self.children.vacant().filter(|_| self.children.len() < self.template.max_children);
        let place = match place {
            _ if self.life.ending().is_some() => Err(ChildError::NoProc),
            Some(place) => Ok(place),
            None => Err(ChildError::MaxChildren),
        };
        let place = match place {
            Ok(place) => place,
            Err(refusal) => {
                discard(argument);
                // An asker that is gone needs no answer; so it is with every answer here.
                return drop(answer.send(Err(refusal)));
            }
        };
        let kept = (self.template.restart != Restart::Temporary).then(|| contained(|| argument.clone()));
        let started = match kept.transpose() {
            Ok(kept) => self.launch(place, 0, || argument).map(|started| (kept, started)),
            Err(reason) => {
                discard(argument);
                Err(reason)
            }
        };
        match started {
            Ok((argument, actor)) => {
                self.places.insert(actor.id(), place);
                let extra = Some(Box::new(Extra { starter: Some(answer), ..Extra::default() }));
                let (phase, serial) = (Phase::Starting, self.serial);
                self.serial = serial.wrapping_add(1);
                self.children.push(Entry { actor, argument, phase, restarts: 0, serial, extra });
            }
            Err(reason) => drop(answer.send(Err(self.failed(reason)))),
        }
    }

    fn failed(&self, reason: ExitReason) -> ChildError {
        ChildError::Failed(StartError { path: Arc::clone(&self.path), reason })
    }

    fn entry(&mut self, place: u32, id: ActorId) -> Option<&mut Entry<T, A::Msg>> {
        self.children.get_mut(place).filter(|entry| entry.actor.id() == id)
    }

    fn on_child(&mut self, place: u32, id: ActorId, outcome: Outcome, cx: &mut Context<Self>) {
        let (reason, failed_start) = match outcome {
            Outcome::Up => return self.on_up(place, id, cx),
            Outcome::Ignored => return self.forget(place, ChildError::Ignored, cx),
            Outcome::InitFailed(reason) => (reason, true),
            Outcome::Exited(reason) => (reason, false),
        };
        let ending = self.life.ending().is_some();
        let restart = self.template.restart;
        let Some(entry) = self.entry(place, id) else { return };
        if let Some(extra) = &mut entry.extra {
            extra.prober = None;
        }
        let wanted = ending || entry.phase == Phase::Stopping;
        let first = failed_start && entry.extra.as_ref().is_some_and(|extra| extra.starter.is_some());
        if wanted || first || !failed_start && !restart.applies_to(&reason) {
            let refusal = self.failed(reason);
            self.forget(place, refusal, cx);
        } else {
            self.restart(place, cx);
        }
    }

    fn on_up(&mut self, place: u32, id: ActorId, cx: &mut Context<Self>) {
        let now = self.born.elapsed();
        let remembers = self.template.backoff.is_some();
        let probe = self.template.probe.clone();
        let system = self.system.clone();
        let Some(entry) = self.entry(place, id).filter(|entry| entry.phase == Phase::Starting) else {
            return;
        };
        entry.phase = Phase::Up;
        let child = entry.actor.clone();
        let ticket = Ticket { place, serial: entry.serial };
        let starter = entry.extra.as_mut().and_then(|extra| extra.starter.take());
        if remembers {
            entry.extra().strikes.up(now);
        } else {
            entry.extra = None;
        }
        if let Some(probe) = &probe {
            let prober = Prober::start(&system, probe, child.clone());
            entry.extra().prober = Some(prober);
        }
        // Nobody would know of a child whose starter has gone.
        if starter.is_some_and(|starter| starter.send(Ok(Begun { actor: child, ticket })).is_err()) {
            self.on_abandon(ticket, cx);
        }
    }

    /// Forgets a child that has ended. Who still waits for it to start hears why it will not.
    fn forget(&mut self, place: u32, refusal: ChildError, cx: &mut Context<Self>) {
        let Some(entry) = self.children.remove(place) else { return };
        self.places.remove(&entry.actor.id());
        self.waiting -= usize::from(entry.phase == Phase::Waiting);
        if let Some(extra) = entry.extra {
            if let Some(timer) = extra.timer {
                cx.cancel(timer);
            }
            if let Some(starter) = extra.starter {
                drop(starter.send(Err(refusal)));
            }
            extra.stoppers.into_iter().for_each(|stopper| drop(stopper.send(Ok(()))));
        }
        discard(entry.argument);
    }

    fn restart(&mut self, place: u32, cx: &mut Context<Self>) {
        let now = self.born.elapsed();
        if !self.intensity.add_restart(now) {
            self.life.reporter().tell(EventKind::GaveUp);
            let reason = ExitReason::GaveUp;
            let refusal = self.failed(reason.clone());
            // It has ended: there is nothing of it to stop.
            self.forget(place, refusal, cx);
            return self.end(reason, cx);
        }
        let Some(backoff) = &self.template.backoff else { return self.again(place) };
        let Some(entry) = self.children.get_mut(place) else { return };
        let failures = entry.extra().strikes.strike(backoff, now);
        let delay = backoff.delay(failures, self.chance.roll());
        if delay == Duration::ZERO {
            return self.again(place);
        }
        let id = entry.actor.id();
        entry.phase = Phase::Waiting;
        entry.extra().timer = Some(cx.send_after(delay, Event::Due { place, id }));
        self.waiting += 1;
    }

    /// Starts a child of its argument once more.
    fn again(&mut self, place: u32) {
        let Some(entry) = self.children.get_mut(place) else { return };
        entry.restarts = entry.restarts.saturating_add(1);
        entry.phase = Phase::Starting;
        let (before, attempt) = (entry.actor.id(), entry.restarts);
        let argument = entry.argument.as_ref().map(|argument| contained(|| argument.clone()));
        let Some(argument) = argument else { return };
        self.system.reporter(Some(Arc::clone(&self.path)), before).tell(EventKind::Restarting { attempt });
        match argument.and_then(|argument| self.launch(place, attempt, || argument)) {
            Ok(actor) => {
                self.places.remove(&before);
                self.places.insert(actor.id(), place);
                if let Some(entry) = self.children.get_mut(place) {
                    entry.actor = actor;
                }
            }
            // Through the mailbox, like every other failure, so that an order to stop can come between.
            Err(reason) => {
                let outcome = Outcome::InitFailed(reason);
                drop(self.inbox.try_cast(Event::Child { place, id: before, outcome }));
            }
        }
    }

    fn on_due(&mut self, place: u32, id: ActorId) {
        let ending = self.life.ending().is_some();
        let Some(entry) = self.entry(place, id) else { return };
        entry.extra().timer = None;
        match entry.phase {
            Phase::Stopping => entry.actor.kill(),
            // The end will come to it.
            Phase::Waiting if ending => {}
            Phase::Waiting => {
                self.waiting -= 1;
                self.again(place);
            }
            Phase::Starting | Phase::Up => {}
        }
    }

    fn on_terminate(&mut self, id: ActorId, answer: Answer<()>, cx: &mut Context<Self>) {
        match self.places.get(&id) {
            Some(&place) => self.stop(place, Some(answer), cx),
            None => drop(answer.send(Err(ChildError::NotFound))),
        }
    }

    fn on_abandon(&mut self, Ticket { place, serial }: Ticket, cx: &mut Context<Self>) {
        if self.children.get_mut(place).is_some_and(|entry| entry.serial == serial) {
            self.stop(place, None, cx);
        }
    }

    fn stop(&mut self, place: u32, answer: Option<Answer<()>>, cx: &mut Context<Self>) {
        let template = Arc::clone(&self.template);
        let Some(entry) = self.children.get_mut(place) else { return };
        let id = entry.actor.id();
        entry.extra().stoppers.extend(answer);
        match entry.phase {
            Phase::Waiting => {
                let refusal = self.failed(ExitReason::Shutdown);
                self.forget(place, refusal, cx);
            }
            Phase::Stopping => {}
            Phase::Starting | Phase::Up => {
                template.stop(entry);
                if let Shutdown::Timeout(time) = template.shutdown {
                    let timer = cx.send_after(time, Event::Due { place, id });
                    entry.extra().timer = Some(timer);
                }
            }
        }
    }

    fn obey(&mut self, cx: &mut Context<Self>) {
        match self.life.new_order() {
            None | Some(Order::Run) => {}
            Some(Order::Stop | Order::StopForGood) => self.end(ExitReason::Shutdown, cx),
            Some(Order::Kill) => {
                self.life.end(ExitReason::Killed);
                self.sweep_all(true, cx);
            }
        }
    }

    /// Begins the end: all children are stopped, at once.
    fn end(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        if self.life.ending().is_some() {
            return;
        }
        self.life.end(reason);
        if let Shutdown::Timeout(time) = self.template.shutdown {
            cx.send_after(time, Event::Late);
        }
        self.sweep_all(self.template.shutdown == Shutdown::BrutalKill, cx);
    }

    fn sweep_all(&mut self, kill: bool, cx: &mut Context<Self>) {
        // Nobody asks any more, lest the end waits behind a crowd.
        self.front.set(None);
        let under_way = self.sweep.replace(Sweep { next: 0, kill }).is_some();
        // One that is under way has its next turn in the mailbox already.
        if !under_way {
            self.sweep(cx);
        }
    }

    /// Stops some of the children, and leaves the rest to a later turn.
    fn sweep(&mut self, cx: &mut Context<Self>) {
        let Some(Sweep { next, kill }) = self.sweep else { return };
        let end = self.children.end().min(next.saturating_add(SWEEP));
        let template = Arc::clone(&self.template);
        for place in (next..end).filter_map(|place| u32::try_from(place).ok()) {
            let Some(entry) = self.children.get_mut(place) else { continue };
            match entry.phase {
                Phase::Waiting => self.forget(place, ChildError::NoProc, cx),
                _ if kill => {
                    entry.phase = Phase::Stopping;
                    entry.actor.kill();
                }
                Phase::Starting | Phase::Up => template.stop(entry),
                Phase::Stopping => {}
            }
        }
        let done = end >= self.children.end();
        self.sweep = (!done).then_some(Sweep { next: end, kill });
        if !done {
            drop(self.inbox.try_cast(Event::Sweep));
        }
    }

    fn counts(&self) -> ChildCount {
        let workers = self.children.len();
        ChildCount { specs: 1, active: workers - self.waiting, supervisors: 0, workers }
    }

    fn on_request(&self, request: Admin) {
        match request {
            Admin::Obey => {}
            Admin::Which(answer) => drop(answer.send(self.children.iter().map(Entry::info).collect())),
            Admin::Count(answer) => drop(answer.send(self.counts())),
            Admin::Start(_, answer) | Admin::Restart(_, answer) => {
                drop(answer.send(Err(ChildError::Dynamic)))
            }
            Admin::Terminate(_, answer) | Admin::Delete(_, answer) => {
                drop(answer.send(Err(ChildError::Dynamic)));
            }
        }
    }
}

impl<T: Clone + Send + 'static, A: Actor> Actor for Hub<T, A> {
    type Msg = Event<T, A::Msg>;

    async fn init(&mut self, _: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.front.set(Some(self.inbox.clone()));
        self.life.up();
        Ok(Init::Ready)
    }

    async fn handle(&mut self, event: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        self.obey(cx);
        match event {
            Event::Start { argument, answer } => self.on_start(argument, answer),
            Event::Child { place, id, outcome } => self.on_child(place, id, outcome, cx),
            Event::Due { place, id } => self.on_due(place, id),
            Event::Terminate { id, answer } => self.on_terminate(id, answer, cx),
            Event::Abandon(ticket) => self.on_abandon(ticket, cx),
            Event::List(answer) => {
                let up = self.children.iter().filter(|entry| entry.phase == Phase::Up);
                drop(answer.send(up.map(|entry| entry.actor.clone()).collect()));
            }
            Event::Sweep => self.sweep(cx),
            Event::Late => self.sweep_all(true, cx),
            Event::Admin(request) => self.on_request(request),
        }
        match self.life.ending() {
            Some(reason) if self.children.is_empty() => Err(reason.clone()),
            _ => Ok(()),
        }
    }
}

/// None is left to kill where the end was orderly.
impl<T, A: Actor> Drop for Hub<T, A> {
    fn drop(&mut self) {
        self.front.set(None);
        self.children.iter().for_each(|entry| entry.actor.kill());
        while let Some(entry) = self.children.pop() {
            discard(entry.argument);
        }
    }
}
