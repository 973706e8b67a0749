//! The actor that is a supervisor.
//!
//! It never waits for a child. Each event changes what is wanted of the children, and `step` then does what is
//! possible now to get there: stop one, from the end; when none is left to stop, start one, from the beginning.
//! Children that do not depend on each other need no such order: they are stopped and started at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::admin::{Admin, Answer, ChildError, Inbox};
use super::auto_shutdown::AutoShutdown;
use super::child::{ChildSpec, Shutdown};
use super::children::{Child, Children, Key, Phase, Purpose};
use super::handle::SupervisorRef;
use super::intensity::Intensity;
use super::life::{self, Life, Order};
use super::{DuplicateName, StartError, Strategy, Supervisor, discard};
use crate::actor::{Actor, Context, Init};
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, Notify, Outcome};
use crate::chance::Chance;
use crate::exit::ExitReason;
use crate::observe::EventKind;
use crate::system::System;
use crate::timer::TimerRef;

/// What a supervisor reacts to.
pub(super) enum Event {
    Child {
        key: Key,
        outcome: Outcome,
    },
    /// The timer of a child.
    Due(Key),
    Admin(Admin),
}

impl From<Admin> for Event {
    fn from(request: Admin) -> Self {
        Self::Admin(request)
    }
}

impl Inbox for Event {
    const DYNAMIC: bool = false;
}

/// Starts a supervisor; it tells `notify` when its whole tree is up.
pub(super) fn spawn(
    system: &System,
    supervisor: &Supervisor,
    path: Arc<str>,
    notify: Notify,
) -> SupervisorRef {
    life::spawn(system, &path, notify, |life, inbox| Driver {
        specs: supervisor.children.clone(),
        children: Children::new(supervisor.strategy),
        system: system.clone(),
        strategy: supervisor.strategy,
        auto_shutdown: supervisor.auto_shutdown,
        intensity: Intensity::new(supervisor.max_restarts, supervisor.period),
        chance: Chance::new(supervisor.seed, &path),
        born: Instant::now(),
        path: Arc::clone(&path),
        life,
        inbox,
    })
}

/// The fields are dropped in this order: the end is told when the children are gone.
struct Driver {
    /// The children that it is born with.
    specs: Vec<Arc<ChildSpec>>,
    children: Children,
    system: System,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    intensity: Intensity,
    chance: Chance,
    born: Instant,
    inbox: ActorRef<Event>,
    path: Arc<str>,
    life: Life,
}

/// What its end means to a child's supervisor.
struct Fall {
    /// The supervisor wanted it.
    wanted: bool,
    purpose: Purpose,
    applies: bool,
    significant: bool,
}

impl Actor for Driver {
    type Msg = Event;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        for spec in std::mem::take(&mut self.specs) {
            let name = Arc::clone(&spec.name);
            let fault = self.auto_shutdown.check(spec.significant, spec.restart).err();
            let child = Child::new(spec, &self.path, Purpose::Boot);
            if let Some(fault) = fault {
                let path = Arc::clone(&child.path);
                self.end(StartError { path, reason: fault.into() }.into(), cx);
                break;
            }
            if !self.children.push(child) {
                self.end(DuplicateName(name).into(), cx);
                break;
            }
        }
        self.obey(cx);
        self.go_on(cx).map(|()| Init::Ready)
    }

    async fn handle(&mut self, event: Event, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        self.obey(cx);
        match event {
            Event::Child { key, outcome } => self.on_child(key, outcome, cx),
            Event::Due(key) => self.on_due(key),
            Event::Admin(request) => self.on_request(request, cx),
        }
        self.go_on(cx)
    }
}

impl Driver {
    /// Does what is possible now; the error is the end.
    fn go_on(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        self.step(cx);
        match self.life.ending() {
            Some(reason) if self.children.all_down() => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    fn obey(&mut self, cx: &mut Context<Self>) {
        match self.life.new_order() {
            None | Some(Order::Run) => {}
            Some(Order::Stop | Order::StopForGood) => self.end(ExitReason::Shutdown, cx),
            Some(Order::Kill) => {
                self.end(ExitReason::Killed, cx);
                self.children.update_all(.., Child::kill);
            }
        }
    }

    fn on_child(&mut self, key: Key, outcome: Outcome, cx: &mut Context<Self>) {
        match outcome {
            Outcome::Up => self.on_up(key),
            Outcome::Ignored => self.on_ignored(key, cx),
            Outcome::InitFailed(reason) => self.on_down(key, reason, true, cx),
            Outcome::Exited(reason) => self.on_down(key, reason, false, cx),
        }
    }

    fn on_up(&mut self, key: Key) {
        let (now, system) = (self.born.elapsed(), &self.system);
        self.children.update(key, |child| {
            child.purpose = Purpose::Restart;
            if child.phase == Phase::Starting {
                child.phase = Phase::Up;
                child.strikes.up(now);
                child.prober = child.handle.as_ref().and_then(|handle| handle.probe(system));
                child.answer_starter(Ok(child.id));
            }
        });
    }

    fn on_ignored(&mut self, key: Key, cx: &mut Context<Self>) {
        let timer = self.children.update(key, |child| {
            child.purpose = Purpose::Restart;
            let timer = child.down();
            child.answer_starter(Ok(None));
            timer
        });
        cancel(timer.flatten(), cx);
        self.forget_temporary(key);
    }

    fn on_down(&mut self, key: Key, reason: ExitReason, failed_start: bool, cx: &mut Context<Self>) {
        let ending = self.life.ending().is_some();
        let fallen = self.children.update(key, |child| {
            let fall = Fall {
                wanted: ending || child.stop_wanted || child.phase == Phase::Stopping,
                purpose: child.purpose,
                applies: child.spec.restart.applies_to(&reason),
                significant: child.spec.significant,
            };
            (fall, child.down())
        });
        let Some((fall, timer)) = fallen else { return };
        cancel(timer, cx);
        if fall.wanted {
            self.rest(key, reason);
        } else if failed_start && fall.purpose == Purpose::Boot {
            let path = self
                .children
                .get(key)
                .map_or_else(|| Arc::clone(&self.path), |child| Arc::clone(&child.path));
            self.end(StartError { path, reason }.into(), cx);
        } else if failed_start && fall.purpose != Purpose::Restart {
            self.rest(key, reason);
            if fall.purpose == Purpose::Added {
                discard(self.children.remove(key));
            }
        } else if failed_start || fall.applies {
            self.restart(key, cx);
        } else {
            self.rest(key, reason);
            if fall.significant && self.auto_shutdown.ends(self.children.any_significant()) {
                self.end(ExitReason::Shutdown, cx);
            }
        }
    }

    /// Leaves a child be that ended, unless more is wanted of it.
    fn rest(&mut self, key: Key, reason: ExitReason) {
        self.children.update(key, |child| {
            if !child.start_wanted || child.is_temporary() {
                let path = Arc::clone(&child.path);
                child.answer_starter(Err(ChildError::Failed(StartError { path, reason })));
            }
        });
        self.forget_temporary(key);
    }

    fn restart(&mut self, failed: Key, cx: &mut Context<Self>) {
        let now = self.born.elapsed();
        if !self.intensity.add_restart(now) {
            self.life.reporter().tell(EventKind::GaveUp);
            return self.end(ExitReason::GaveUp, cx);
        }
        let delay = self.delay(failed, now);
        self.children.update(failed, |child| {
            child.timer = (delay > Duration::ZERO).then(|| cx.send_after(delay, Event::Due(failed)));
        });
        self.children.update_all(self.strategy.restart_set(failed), |child| {
            // Who waits for a start goes on waiting for that one: whose first start fails is its asker's affair.
            let waits = child.phase == Phase::Down && child.start_wanted;
            if child.purpose != Purpose::Boot && !waits {
                child.purpose = Purpose::Restart;
            }
            child.stop_wanted = child.runs();
            child.start_wanted = true;
        });
    }

    /// How long a child that failed has to wait for its next start.
    fn delay(&mut self, failed: Key, now: Duration) -> Duration {
        let chance = &mut self.chance;
        let delay = self.children.update(failed, |child| {
            let backoff = child.spec.backoff.as_ref()?;
            Some(backoff.delay(child.strikes.strike(backoff, now), chance.roll()))
        });
        delay.flatten().unwrap_or(Duration::ZERO)
    }

    /// Begins the end: from now on, children only stop.
    fn end(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        self.life.end(reason);
        self.children.update_all(.., |child| {
            child.start_wanted = false;
            child.stop_wanted = child.runs();
            if child.phase == Phase::Down {
                cancel(child.timer.take(), cx);
                child.answer_starter(Err(ChildError::NoProc));
            }
        });
    }

    /// Does what is possible now to get to what is wanted.
    fn step(&mut self, cx: &mut Context<Self>) {
        let in_order = self.strategy != Strategy::OneForOne || self.life.ending().is_some();
        while let Some(key) = self.children.next_stop() {
            if in_order && self.children.any_stopping() {
                return;
            }
            self.stop(key, cx);
        }
        if in_order && self.children.any_stopping() {
            return;
        }
        while let Some(key) = self.children.next_free_start() {
            self.start(key);
        }
        if let Some(key) = self.children.next_start_in_turn() {
            self.start(key);
        }
        if !self.life.is_up() && self.life.ending().is_none() && self.children.all_settled() {
            self.life.up();
        }
    }

    fn start(&mut self, key: Key) {
        let (system, inbox) = (&self.system, &self.inbox);
        self.children.update(key, |child| {
            if child.purpose == Purpose::Restart
                && let Some(id) = child.id
            {
                child.restarts = child.restarts.saturating_add(1);
                let reporter = system.reporter(Some(Arc::clone(&child.path)), id);
                reporter.tell(EventKind::Restarting { attempt: child.restarts });
            }
            child.start_wanted = false;
            child.phase = Phase::Starting;
            let to = inbox.clone();
            // A supervisor listens as long as it has children.
            let notify: Notify = Box::new(move |outcome| drop(to.try_cast(Event::Child { key, outcome })));
            match child.spec.start(system, Arc::clone(&child.path), notify) {
                Ok(started) => {
                    if let Some(cell) = cell::find(started.id) {
                        cell.adopt(inbox.id(), child.restarts);
                    }
                    child.id = Some(started.id);
                    child.handle = Some(started.handle);
                }
                // Through the mailbox, like every other failure, so that an order to stop can come between.
                Err(reason) => {
                    let outcome = Outcome::InitFailed(reason);
                    drop(inbox.try_cast(Event::Child { key, outcome }));
                }
            }
        });
    }

    fn stop(&mut self, key: Key, cx: &mut Context<Self>) {
        let last = self.life.ending().is_some() && self.life.for_good();
        self.children.update(key, |child| {
            child.stop_wanted = false;
            child.phase = Phase::Stopping;
            child.prober = None;
            let Some(handle) = &child.handle else { return };
            match child.spec.shutdown {
                Shutdown::BrutalKill => handle.kill(),
                Shutdown::Timeout(time) => {
                    handle.stop(last);
                    child.timer = Some(cx.send_after(time, Event::Due(key)));
                }
                Shutdown::Infinity => handle.stop(last),
            }
        });
    }

    fn on_due(&mut self, key: Key) {
        self.children.update(key, |child| {
            child.timer = None;
            if child.phase == Phase::Stopping {
                child.kill();
            }
        });
    }

    fn forget_temporary(&mut self, key: Key) {
        if self.children.get(key).is_some_and(Child::is_temporary) {
            discard(self.children.remove(key));
        }
    }

    fn on_request(&mut self, request: Admin, cx: &mut Context<Self>) {
        let ending = self.life.ending().is_some();
        match request {
            Admin::Obey => {}
            Admin::Which(answer) => drop(answer.send(self.children.infos())),
            Admin::Count(answer) => drop(answer.send(self.children.counts())),
            // Their answers are dropped with them, which says that it ends.
            Admin::Start(..) | Admin::Terminate(..) | Admin::Restart(..) | Admin::Delete(..) if ending => {}
            Admin::Start(spec, answer) => self.on_start(*spec, answer),
            Admin::Terminate(name, answer) => self.on_terminate(&name, answer, cx),
            Admin::Restart(name, answer) => self.on_restart(&name, answer),
            Admin::Delete(name, answer) => drop(answer.send(self.delete(&name))),
        }
    }

    fn on_start(&mut self, spec: ChildSpec, answer: Answer<Option<ActorId>>) {
        let refusal = match self.children.find(&spec.name) {
            Some((_, child)) if child.rests() => Some(ChildError::AlreadyPresent),
            Some((_, child)) => Some(ChildError::AlreadyStarted(child.handle.as_ref().and(child.id))),
            None => self.auto_shutdown.check(spec.significant, spec.restart).err().map(ChildError::Invalid),
        };
        if let Some(refusal) = refusal {
            return drop(answer.send(Err(refusal)));
        }
        let mut child = Child::new(Arc::new(spec), &self.path, Purpose::Added);
        child.starter = Some(answer);
        self.children.push(child);
    }

    fn on_terminate(&mut self, name: &str, answer: Answer<()>, cx: &mut Context<Self>) {
        let Some((key, _)) = self.children.find(name) else {
            return drop(answer.send(Err(ChildError::NotFound)));
        };
        self.children.update(key, |child| {
            child.start_wanted = false;
            // It is not missing any more.
            child.purpose = Purpose::Restart;
            if child.phase == Phase::Down {
                cancel(child.timer.take(), cx);
                let (path, reason) = (Arc::clone(&child.path), ExitReason::Shutdown);
                child.answer_starter(Err(ChildError::Failed(StartError { path, reason })));
                drop(answer.send(Ok(())));
            } else {
                child.stop_wanted = child.runs();
                child.stoppers.push(answer);
            }
        });
        let rests = self.children.get(key).is_some_and(Child::rests);
        if rests {
            self.forget_temporary(key);
        }
    }

    fn on_restart(&mut self, name: &str, answer: Answer<Option<ActorId>>) {
        let key = match self.children.find(name) {
            None => return drop(answer.send(Err(ChildError::NotFound))),
            Some((key, child)) if child.rests() => key,
            Some((_, child)) => return drop(answer.send(Err(refusal(child)))),
        };
        self.children.update(key, |child| {
            child.purpose = Purpose::Again;
            child.start_wanted = true;
            child.starter = Some(answer);
        });
    }

    fn delete(&mut self, name: &str) -> Result<(), ChildError> {
        let (key, child) = self.children.find(name).ok_or(ChildError::NotFound)?;
        if !child.rests() {
            return Err(refusal(child));
        }
        discard(self.children.remove(key));
        Ok(())
    }
}

/// Why a child that does not rest can be neither restarted nor deleted.
fn refusal(child: &Child) -> ChildError {
    let restarting =
        child.start_wanted || child.phase == Phase::Starting && child.purpose == Purpose::Restart;
    if restarting { ChildError::Restarting } else { ChildError::Running }
}

fn cancel(timer: Option<TimerRef>, cx: &mut Context<Driver>) {
    if let Some(timer) = timer {
        cx.cancel(timer);
    }
}

/// None is left to kill where the end was orderly. With the children go the mailboxes that their descriptions own.
impl Drop for Driver {
    fn drop(&mut self) {
        for mut child in self.children.drain() {
            child.kill();
            discard(child);
        }
        std::mem::take(&mut self.specs).into_iter().for_each(discard);
    }
}
