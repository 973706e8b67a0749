//! The children of a supervisor in start order, and which of them are next.
//!
//! Whatever changes a child goes through [`Children::update`], which keeps the indexes: so an event costs what the
//! tree of children is deep, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeBounds;
use std::sync::Arc;

use super::admin::{Answer, ChildError};
use super::backoff::Strikes;
use super::child::{ChildSpec, Handle, Restart};
use super::handle::{ChildCount, ChildInfo, ChildKind, ChildState};
use super::probe::Prober;
use super::strategy::Strategy;
use crate::actor_ref::ActorId;
use crate::timer::TimerRef;

/// Tells a child's events apart from its siblings'. Never used again; later children have greater ones.
pub(super) type Key = u64;

pub(super) struct Child {
    pub(super) spec: Arc<ChildSpec>,
    pub(super) path: Arc<str>,
    pub(super) phase: Phase,
    pub(super) id: Option<ActorId>,
    pub(super) handle: Option<Box<dyn Handle>>,
    pub(super) prober: Option<Prober>,
    /// While it stops: when its shutdown time is over. While it is down: when it may be started again.
    pub(super) timer: Option<TimerRef>,
    pub(super) stop_wanted: bool,
    pub(super) start_wanted: bool,
    /// What its next start is for, or the one that is under way.
    pub(super) purpose: Purpose,
    pub(super) restarts: u32,
    pub(super) strikes: Strikes,
    /// Whoever waits for it to run.
    pub(super) starter: Option<Answer<Option<ActorId>>>,
    /// Those who wait for its end.
    pub(super) stoppers: Vec<Answer<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Down,
    Starting,
    Up,
    Stopping,
}

/// What a start is for: that is who hears of its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The tree comes up. Its failure is the supervisor's.
    Boot,
    /// Someone added the child. Its failure is the last of it.
    Added,
    /// Someone asked for a child that did not run.
    Again,
    /// A failure, its own or a sibling's. One more failure counts like any other.
    Restart,
}

impl Child {
    pub(super) fn new(spec: Arc<ChildSpec>, above: &str, purpose: Purpose) -> Self {
        Self {
            path: format!("{above}/{}", spec.name).into(),
            spec,
            phase: Phase::Down,
            id: None,
            handle: None,
            prober: None,
            timer: None,
            stop_wanted: false,
            start_wanted: true,
            purpose,
            restarts: 0,
            strikes: Strikes::default(),
            starter: None,
            stoppers: Vec::new(),
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up)
    }

    /// Whether it is down and nothing is about to change that.
    pub(super) fn rests(&self) -> bool {
        self.phase == Phase::Down && !self.start_wanted
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.spec.restart == Restart::Temporary
    }

    /// Notes its end. Hands out its timer, to be cancelled.
    pub(super) fn down(&mut self) -> Option<TimerRef> {
        self.phase = Phase::Down;
        self.handle = None;
        self.prober = None;
        self.stop_wanted = false;
        for stopper in self.stoppers.drain(..) {
            // One that is gone needs no answer; so it is with every answer here.
            drop(stopper.send(Ok(())));
        }
        self.timer.take()
    }

    pub(super) fn kill(&mut self) {
        self.stop_wanted = false;
        self.prober = None;
        if let Some(handle) = &self.handle {
            self.phase = Phase::Stopping;
            handle.kill();
        }
    }

    pub(super) fn answer_starter(&mut self, answer: Result<Option<ActorId>, ChildError>) {
        if let Some(starter) = self.starter.take() {
            drop(starter.send(answer));
        }
    }

    pub(super) fn info(&self) -> ChildInfo {
        let state = match self.phase {
            Phase::Down if self.start_wanted => ChildState::Starting,
            Phase::Down => ChildState::Stopped,
            Phase::Starting => ChildState::Starting,
            Phase::Up => ChildState::Running,
            Phase::Stopping => ChildState::Stopping,
        };
        ChildInfo {
            name: Arc::clone(&self.spec.name),
            id: self.handle.as_ref().and(self.id),
            kind: self.spec.kind,
            state,
            restarts: self.restarts,
            children: Vec::new(),
            supervisor: self.handle.as_ref().and_then(|handle| handle.supervisor()),
        }
    }
}

pub(super) struct Children {
    strategy: Strategy,
    next: Key,
    by_key: BTreeMap<Key, Child>,
    by_name: HashMap<Arc<str>, Key>,
    supervisors: usize,
    to_stop: BTreeSet<Key>,
    /// To be started, each when it likes.
    free: BTreeSet<Key>,
    /// To be started one after the other.
    queue: BTreeSet<Key>,
    /// They hold up the part of the queue after them.
    waiting: BTreeSet<Key>,
    starting: usize,
    stopping: usize,
    live: usize,
    significant: usize,
}

/// What the indexes know of a child.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Marks {
    next: Next,
    phase: Phase,
    in_turn: bool,
    significant: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    Stop,
    StartFree,
    StartInTurn,
    Wait,
}

impl Children {
    pub(super) fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            next: 0,
            by_key: BTreeMap::new(),
            by_name: HashMap::new(),
            supervisors: 0,
            to_stop: BTreeSet::new(),
            free: BTreeSet::new(),
            queue: BTreeSet::new(),
            waiting: BTreeSet::new(),
            starting: 0,
            stopping: 0,
            live: 0,
            significant: 0,
        }
    }

    /// Adds a child after all others. False where its name is taken.
    pub(super) fn push(&mut self, child: Child) -> bool {
        if self.by_name.contains_key(&child.spec.name) {
            return false;
        }
        let key = self.next;
        self.next += 1;
        self.by_name.insert(Arc::clone(&child.spec.name), key);
        self.supervisors += usize::from(child.spec.kind == ChildKind::Supervisor);
        let marks = self.marks(&child);
        self.by_key.insert(key, child);
        self.count(key, marks);
        true
    }

    /// Forgets a child. Whoever drops it drops what its description owns.
    pub(super) fn remove(&mut self, key: Key) -> Option<Child> {
        let child = self.by_key.remove(&key)?;
        self.by_name.remove(&child.spec.name);
        self.supervisors -= usize::from(child.spec.kind == ChildKind::Supervisor);
        self.discount(key, self.marks(&child));
        Some(child)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Child> {
        self.by_key.get(&key)
    }

    pub(super) fn find(&self, name: &str) -> Option<(Key, &Child)> {
        let key = *self.by_name.get(name)?;
        Some((key, self.by_key.get(&key)?))
    }

    pub(super) fn update<R>(&mut self, key: Key, change: impl FnOnce(&mut Child) -> R) -> Option<R> {
        let child = self.by_key.get_mut(&key)?;
        let before = marks(self.strategy, child);
        let result = change(child);
        let after = marks(self.strategy, child);
        if before != after {
            self.discount(key, before);
            self.count(key, after);
        }
        Some(result)
    }

    pub(super) fn update_all(&mut self, range: impl RangeBounds<Key>, mut change: impl FnMut(&mut Child)) {
        let keys: Vec<Key> = self.by_key.range(range).map(|(&key, _)| key).collect();
        for key in keys {
            self.update(key, &mut change);
        }
    }

    /// For the end, when indexes do not matter any more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Child> + use<> {
        std::mem::take(&mut self.by_key).into_values()
    }

    pub(super) fn infos(&self) -> Vec<ChildInfo> {
        self.by_key.values().map(Child::info).collect()
    }

    pub(super) fn counts(&self) -> ChildCount {
        let specs = self.by_key.len();
        let supervisors = self.supervisors;
        ChildCount { specs, active: self.live, supervisors, workers: specs - supervisors }
    }

    /// Whether nothing runs.
    pub(super) fn all_down(&self) -> bool {
        self.live == 0
    }

    /// Whether every child has been started that was to be.
    pub(super) fn all_settled(&self) -> bool {
        self.starting == 0 && self.stopping == 0 && self.queue.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn any_stopping(&self) -> bool {
        self.stopping > 0
    }

    /// Whether any significant child runs, or is about to.
    pub(super) fn any_significant(&self) -> bool {
        self.significant > 0
    }

    /// The last of those to be stopped.
    pub(super) fn next_stop(&self) -> Option<Key> {
        self.to_stop.last().copied()
    }

    /// A child to be started now, whatever the others do.
    pub(super) fn next_free_start(&self) -> Option<Key> {
        self.free.first().copied()
    }

    /// The child whose turn to be started it is, if it is anybody's.
    pub(super) fn next_start_in_turn(&self) -> Option<Key> {
        let first = self.queue.first().copied()?;
        let held_up = self.waiting.first().is_some_and(|&waiting| waiting < first);
        (self.starting == 0 && !held_up).then_some(first)
    }

    fn marks(&self, child: &Child) -> Marks {
        marks(self.strategy, child)
    }

    fn count(&mut self, key: Key, marks: Marks) {
        if let Some(index) = self.index(marks.next) {
            index.insert(key);
        }
        self.starting += usize::from(marks.phase == Phase::Starting && marks.in_turn);
        self.stopping += usize::from(marks.phase == Phase::Stopping);
        self.live += usize::from(marks.phase != Phase::Down);
        self.significant += usize::from(marks.significant);
    }

    fn discount(&mut self, key: Key, marks: Marks) {
        if let Some(index) = self.index(marks.next) {
            index.remove(&key);
        }
        self.starting -= usize::from(marks.phase == Phase::Starting && marks.in_turn);
        self.stopping -= usize::from(marks.phase == Phase::Stopping);
        self.live -= usize::from(marks.phase != Phase::Down);
        self.significant -= usize::from(marks.significant);
    }

    fn index(&mut self, next: Next) -> Option<&mut BTreeSet<Key>> {
        match next {
            Next::Nothing => None,
            Next::Stop => Some(&mut self.to_stop),
            Next::StartFree => Some(&mut self.free),
            Next::StartInTurn => Some(&mut self.queue),
            Next::Wait => Some(&mut self.waiting),
        }
    }
}

fn marks(strategy: Strategy, child: &Child) -> Marks {
    // Children of `OneForOne` do not depend on each other: only the first start is in order.
    let in_turn = strategy != Strategy::OneForOne || child.purpose == Purpose::Boot;
    let next = match child.phase {
        Phase::Starting | Phase::Up if child.stop_wanted => Next::Stop,
        Phase::Down if child.start_wanted => match (child.timer.is_some(), in_turn) {
            (false, false) => Next::StartFree,
            (false, true) => Next::StartInTurn,
            (true, false) => Next::Nothing,
            (true, true) => Next::Wait,
        },
        _ => Next::Nothing,
    };
    let significant = child.spec.significant && !child.rests();
    Marks { next, phase: child.phase, in_turn, significant }
}
