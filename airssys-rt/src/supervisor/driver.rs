//! The loop of a supervisor.
//!
//! It never waits for a child. Each event changes what is wanted of the children, and `step` then does what is
//! possible now to get there: stop one, from the end; when none is left to stop, start one, from the beginning.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::child::{ChildSpec, Handle, Restart, Shutdown};
use super::handle::{ChildInfo, ChildState, SupervisorRef};
use super::intensity::Intensity;
use super::{DuplicateName, StartError, Strategy, Supervisor};
use crate::actor_ref::ActorId;
use crate::cell::{Notify, Outcome, Slot};
use crate::exit::ExitReason;
use crate::observe::{EventKind, Reporter};
use crate::system::System;

/// What a supervisor reacts to.
pub(super) enum Event {
    Child {
        key: usize,
        outcome: Outcome,
    },
    /// Stop in order; `last` says that the tree is not about to be started again.
    Stop {
        last: bool,
    },
    Kill,
    Ask(oneshot::Sender<Vec<(ChildInfo, Option<SupervisorRef>)>>),
}

/// Starts a supervisor on a task of its own; it tells `notify` when its whole tree is up.
pub(super) fn spawn(
    system: &System,
    supervisor: &Supervisor,
    path: Arc<str>,
    notify: Notify,
) -> SupervisorRef {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let (exit, exit_watch) = watch::channel(None);
    let slot = Slot::claim();
    let handle = SupervisorRef { id: slot.id(), events: events.clone(), exit: exit_watch };
    let children = supervisor.children.iter().cloned().enumerate();
    let mut driver = Driver {
        reporter: system.reporter(Some(Arc::clone(&path)), slot.id()),
        system: system.clone(),
        path,
        strategy: supervisor.strategy,
        intensity: Intensity::new(supervisor.max_restarts, supervisor.period),
        born: Instant::now(),
        children: children.map(|(key, spec)| Child::new(key, spec)).collect(),
        up: false,
        last: false,
        ending: None,
        events,
        exit,
        notify,
        _slot: slot,
    };
    system.runtime().spawn(async move { driver.run(&mut inbox).await });
    handle
}

struct Driver {
    system: System,
    reporter: Reporter,
    path: Arc<str>,
    strategy: Strategy,
    intensity: Intensity,
    born: Instant,
    /// In start order.
    children: Vec<Child>,
    /// Whether every child has been started.
    up: bool,
    /// Whether the tree stops for good.
    last: bool,
    /// Why the supervisor ends, once it does.
    ending: Option<ExitReason>,
    events: mpsc::UnboundedSender<Event>,
    exit: watch::Sender<Option<ExitReason>>,
    notify: Notify,
    _slot: Slot,
}

struct Child {
    /// Tells its events apart from its siblings'.
    key: usize,
    spec: Arc<ChildSpec>,
    phase: Phase,
    id: Option<ActorId>,
    handle: Option<Box<dyn Handle>>,
    /// When its shutdown time is over.
    kill_at: Option<Instant>,
    stop_wanted: bool,
    start_wanted: bool,
    /// Whether its first start succeeded: the failure of a later one is a failure like any other.
    booted: bool,
    restarts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down,
    Starting,
    Up,
    Stopping,
}

impl Driver {
    async fn run(&mut self, inbox: &mut mpsc::UnboundedReceiver<Event>) {
        let mut names = HashSet::new();
        if let Some(twin) = self.children.iter().find(|child| !names.insert(&child.spec.name)) {
            self.end(DuplicateName(Arc::clone(&twin.spec.name)).into());
        }
        self.step();
        while !self.is_over() {
            match next_event(inbox, self.kill_at()).await {
                Some(event) => self.on_event(event),
                None => self.kill_late(),
            }
            self.step();
        }
    }

    fn is_over(&self) -> bool {
        self.ending.is_some() && self.children.iter().all(|child| child.phase == Phase::Down)
    }

    /// When the next shutdown time is over.
    fn kill_at(&self) -> Option<Instant> {
        self.children.iter().filter_map(|child| child.kill_at).min()
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Child { key, outcome } => self.on_child(key, outcome),
            Event::Stop { last } => {
                self.last |= last;
                self.end(ExitReason::Shutdown);
            }
            Event::Kill => {
                self.ending = Some(ExitReason::Killed);
                self.children.iter_mut().for_each(Child::kill);
            }
            // An asker that has gone needs no answer.
            Event::Ask(reply) => drop(reply.send(self.children.iter().map(Child::info).collect())),
        }
    }

    fn on_child(&mut self, key: usize, outcome: Outcome) {
        let Some(index) = self.children.iter().position(|child| child.key == key) else { return };
        let Some(child) = self.children.get_mut(index) else { return };
        let (reason, failed_start) = match outcome {
            Outcome::Up => return child.up(),
            Outcome::Ignored => {
                child.booted = true;
                child.down();
                return self.forget_temporary(index);
            }
            Outcome::InitFailed(reason) => (reason, true),
            Outcome::Exited(reason) => (reason, false),
        };
        let asked_to = self.ending.is_some() || child.stop_wanted || child.phase == Phase::Stopping;
        child.down();
        if asked_to {
            self.forget_temporary(index);
        } else if !child.booted {
            let path = child.path(&self.path);
            self.end(StartError { path, reason }.into());
        } else if failed_start || child.spec.restart.applies_to(&reason) {
            self.restart(index);
        } else {
            self.forget_temporary(index);
        }
    }

    fn restart(&mut self, failed: usize) {
        if !self.intensity.add_restart(self.born.elapsed()) {
            self.reporter.tell(EventKind::GaveUp);
            return self.end(ExitReason::GaveUp);
        }
        let concerned = self.strategy.restart_set(failed, self.children.len());
        for child in self.children.get_mut(concerned).into_iter().flatten() {
            child.stop_wanted = matches!(child.phase, Phase::Starting | Phase::Up);
            child.start_wanted = true;
        }
    }

    /// Begins the end: from now on, children only stop. The first reason stands.
    fn end(&mut self, reason: ExitReason) {
        self.ending.get_or_insert(reason);
        for child in &mut self.children {
            child.start_wanted = false;
            child.stop_wanted = matches!(child.phase, Phase::Starting | Phase::Up);
        }
    }

    /// Does what is possible now to get to what is wanted.
    fn step(&mut self) {
        let last = self.ending.is_some() && self.last;
        if self.children.iter().any(|child| child.phase == Phase::Stopping) {
            return;
        }
        if let Some(child) = self.children.iter_mut().rev().find(|child| child.stop_wanted) {
            return child.stop(last);
        }
        // Children of `OneForOne` do not depend on each other: only the first start is in order.
        let independent = self.strategy == Strategy::OneForOne;
        let mut starting = self.children.iter().any(|child| child.phase == Phase::Starting);
        for child in &mut self.children {
            let its_turn = !starting || independent && child.booted;
            if child.start_wanted && its_turn {
                child.start(&self.system, &self.path, &self.events);
                starting = true;
            }
        }
        if !self.up && self.ending.is_none() && self.children.iter().all(|child| child.booted) {
            self.up = true;
            self.reporter.tell(EventKind::Started);
            (self.notify)(Outcome::Up);
        }
    }

    fn kill_late(&mut self) {
        let now = Instant::now();
        let late = |child: &&mut Child| child.kill_at.is_some_and(|at| at <= now);
        self.children.iter_mut().filter(late).for_each(Child::kill);
    }

    fn forget_temporary(&mut self, index: usize) {
        if self.children.get(index).is_some_and(|child| child.spec.restart == Restart::Temporary) {
            self.children.remove(index);
        }
    }
}

/// Waits for an event; `None` when it is `kill_at` first.
async fn next_event(inbox: &mut mpsc::UnboundedReceiver<Event>, kill_at: Option<Instant>) -> Option<Event> {
    match kill_at {
        Some(at) => tokio::time::timeout_at(at, inbox.recv()).await.ok().flatten(),
        None => inbox.recv().await,
    }
}

/// Tells of the end. In a drop, so that it is told even where the tokio runtime shuts down and drops the task.
impl Drop for Driver {
    fn drop(&mut self) {
        let reason = self.ending.take().unwrap_or(ExitReason::Killed);
        // None is left to kill where the end was orderly. With them go the mailboxes that their specifications own.
        self.children.iter_mut().for_each(Child::kill);
        self.children.clear();
        let said = reason.clone();
        let (event, outcome) = match &reason {
            _ if !self.up => (EventKind::InitFailed { reason: said.clone() }, Outcome::InitFailed(said)),
            ExitReason::Shutdown => (EventKind::Stopped, Outcome::Exited(said)),
            _ => (EventKind::Exited { reason: said.clone() }, Outcome::Exited(said)),
        };
        self.reporter.tell(event);
        self.exit.send_replace(Some(reason));
        (self.notify)(outcome);
    }
}

impl Child {
    fn new(key: usize, spec: Arc<ChildSpec>) -> Self {
        Self {
            key,
            spec,
            phase: Phase::Down,
            id: None,
            handle: None,
            kill_at: None,
            stop_wanted: false,
            start_wanted: true,
            booted: false,
            restarts: 0,
        }
    }

    fn start(&mut self, system: &System, above: &str, events: &mpsc::UnboundedSender<Event>) {
        let path: Arc<str> = self.path(above);
        if self.booted {
            self.restarts += 1;
            if let Some(id) = self.id {
                let attempt = self.restarts;
                system.reporter(Some(Arc::clone(&path)), id).tell(EventKind::Restarting { attempt });
            }
        }
        self.start_wanted = false;
        self.phase = Phase::Starting;
        let key = self.key;
        let inbox = events.clone();
        // A supervisor listens as long as it has children.
        let notify: Notify = Box::new(move |outcome| drop(inbox.send(Event::Child { key, outcome })));
        match self.spec.start(system, path, notify) {
            Ok(started) => {
                self.id = Some(started.id);
                self.handle = Some(started.handle);
            }
            // Through the loop, like every other failure, so that an order to stop can come between.
            Err(reason) => drop(events.send(Event::Child { key, outcome: Outcome::InitFailed(reason) })),
        }
    }

    fn up(&mut self) {
        self.booted = true;
        if self.phase == Phase::Starting {
            self.phase = Phase::Up;
        }
    }

    fn stop(&mut self, last: bool) {
        self.stop_wanted = false;
        self.phase = Phase::Stopping;
        let Some(handle) = &self.handle else { return };
        match self.spec.shutdown {
            Shutdown::BrutalKill => handle.kill(),
            Shutdown::Timeout(time) => {
                handle.stop(last);
                self.kill_at = Instant::now().checked_add(time);
            }
            Shutdown::Infinity => handle.stop(last),
        }
    }

    fn kill(&mut self) {
        self.stop_wanted = false;
        self.start_wanted = false;
        self.kill_at = None;
        if let Some(handle) = &self.handle {
            self.phase = Phase::Stopping;
            handle.kill();
        }
    }

    fn down(&mut self) {
        self.phase = Phase::Down;
        self.handle = None;
        self.kill_at = None;
        self.stop_wanted = false;
    }

    fn path(&self, above: &str) -> Arc<str> {
        format!("{above}/{}", self.spec.name).into()
    }

    fn info(&self) -> (ChildInfo, Option<SupervisorRef>) {
        let state = match self.phase {
            Phase::Down if self.start_wanted => ChildState::Starting,
            Phase::Down => ChildState::Stopped,
            Phase::Starting => ChildState::Starting,
            Phase::Up => ChildState::Running,
            Phase::Stopping => ChildState::Stopping,
        };
        let info = ChildInfo {
            name: Arc::clone(&self.spec.name),
            id: self.handle.as_ref().and(self.id),
            kind: self.spec.kind,
            state,
            restarts: self.restarts,
            children: Vec::new(),
        };
        (info, self.handle.as_ref().and_then(|handle| handle.supervisor()))
    }
}
