//! What most cells never need: names, watchers, links, and what its supervisor wants to know.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::core::{AnyCell, Core};
use super::state::{LANE, NORMAL};
use super::sync::Ordering;
use super::{Door, Notify};
use crate::actor_ref::ActorId;
use crate::exit::{ExitReason, quietly};
use crate::inspect::{ActorInfo, ActorState, LINKS_SHOWN};
use crate::link::{Exit, Exits, Hook, MonitorRef, Tell, Until, Watcher};
use crate::observe::{DeadLetterCause, EventKind, Reporter};
use crate::system;

/// The rare part of a cell, under its lock.
#[derive(Default)]
pub(crate) struct Cold {
    /// Where it stands in the tree, or its name outside of one.
    pub(super) path: Option<Arc<str>>,
    /// Whether the observer is told nothing of it.
    silent: bool,
    /// Its supervisor, and how often that one has started it again.
    parent: Option<ActorId>,
    restarts: u32,
    /// Who hears of the end of the incarnation.
    pub(super) notify: Option<Notify>,
    /// Those who are told of the next end.
    pub(super) watchers: Vec<Watcher>,
    /// What is done at an end before anyone is told.
    pub(super) hooks: Vec<(MonitorRef, Until, Hook)>,
    /// Those with whom it shares its end.
    pub(super) links: BTreeMap<ActorId, AnyCell>,
    /// The exit signals that it trapped and has not seen yet.
    pub(super) exits: Exits,
    /// Why it is to end, where that is more than the bits in the state tell.
    pub(super) order: Option<ExitReason>,
    /// How the last incarnation ended, where that is more than a code tells.
    pub(super) exit: Option<ExitReason>,
    /// What overtakes the queue.
    pub(super) lane: Option<Lane>,
    /// The systems that the incarnations of a mailbox ran in before.
    pub(super) former_systems: Vec<Arc<system::Inner>>,
    /// How many `Mailbox`es, and incarnations on them, keep it open. None where the mailbox is the actor's own.
    pub(super) owners: usize,
    /// Whether an incarnation reads a mailbox that outlives it.
    pub(super) taken: bool,
}

/// What an incarnation leaves to be told.
#[derive(Default)]
pub(super) struct Legacy {
    watchers: Vec<Watcher>,
    links: BTreeMap<ActorId, AnyCell>,
    pub(super) notify: Option<Notify>,
    /// Whether the mailbox stays.
    pub(super) retained: bool,
    /// The order that the incarnation did not live to follow. What it drops is the user's: not under the lock.
    order: Option<ExitReason>,
}

impl Legacy {
    /// Tells those who watch, and those who are linked.
    pub(super) fn tell(self, id: ActorId, reason: &ExitReason) {
        // Wakers of anybody's run here. Should one panic, the others are told.
        for watcher in self.watchers {
            quietly(|| watcher.tell(id, reason));
        }
        for other in self.links.into_values() {
            quietly(|| other.exit_signal(Some(id), reason, true));
        }
        quietly(|| drop(self.order));
    }
}

impl Cold {
    /// Of an actor with a place in a tree, or a name; and who hears of its end.
    pub(crate) fn named(path: Option<Arc<str>>, notify: Option<Notify>) -> Box<Self> {
        Box::new(Self { path, notify, ..Self::default() })
    }

    /// Of an actor that tells its own life, or none.
    pub(crate) fn silent(path: Option<Arc<str>>) -> Box<Self> {
        Box::new(Self { path, silent: true, ..Self::default() })
    }

    /// Of one that has a supervisor.
    pub(crate) fn below(mut self: Box<Self>, parent: ActorId, restarts: u32) -> Box<Self> {
        (self.parent, self.restarts) = (Some(parent), restarts);
        self
    }

    /// Adds what is known only here.
    pub(super) fn describe(&self, info: &mut ActorInfo) {
        info.path.clone_from(&self.path);
        (info.parent, info.restarts) = (self.parent, self.restarts);
        info.links = self.links.keys().copied().take(LINKS_SHOWN).collect();
        info.link_count = self.links.len();
        info.monitored_by =
            self.watchers.iter().filter(|watcher| matches!(watcher.tell, Tell::Actor(_))).count();
        if self.owners > 0 && !self.taken {
            info.state = ActorState::Down;
        }
        let lane = self.lane.as_ref().map(|lane| (lane.waiting, lane.taken, lane.message_bytes));
        let (waiting, taken, message_bytes) = lane.unwrap_or_default();
        info.depth += waiting;
        info.handled += taken;
        info.memory_bytes += size_of::<Self>() + waiting * message_bytes;
    }

    /// Of a mailbox that one `Mailbox` keeps open.
    pub(crate) fn owned() -> Box<Self> {
        Box::new(Self { owners: 1, ..Self::default() })
    }

    /// Of an actor that is linked from the beginning.
    pub(crate) fn linked(path: Option<Arc<str>>, notify: Option<Notify>, other: &AnyCell) -> Box<Self> {
        let links = BTreeMap::from([(other.id(), other.clone())]);
        Box::new(Self { path, notify, links, ..Self::default() })
    }

    /// Whether this is a mailbox that outlives incarnations and has none.
    pub(super) fn is_vacant(&self) -> bool {
        self.owners > 0 && !self.taken
    }

    fn take_hooks(&mut self, which: impl Fn(Until) -> bool) -> Vec<(MonitorRef, Until, Hook)> {
        self.hooks.extract_if(.., |(_, until, _)| which(*until)).collect()
    }

    fn legacy(&mut self, retained: bool) -> Legacy {
        self.exits.clear();
        Legacy {
            order: self.order.take(),
            watchers: std::mem::take(&mut self.watchers),
            links: std::mem::take(&mut self.links),
            notify: self.notify.take(),
            retained,
        }
    }
}

/// Messages that overtake the queue, of a type that the cell knows.
pub(super) struct Lane {
    queue: Box<dyn Any + Send>,
    /// How many there are in it, and how many were taken out of it.
    waiting: usize,
    taken: u64,
    message_bytes: usize,
    drop_first: fn(&mut (dyn Any + Send)) -> bool,
}

impl Lane {
    fn new<M: Send + 'static>() -> Self {
        Self {
            queue: Box::new(VecDeque::<M>::new()),
            waiting: 0,
            taken: 0,
            message_bytes: size_of::<M>(),
            drop_first: |queue| queue.downcast_mut::<VecDeque<M>>().and_then(VecDeque::pop_front).is_some(),
        }
    }

    fn messages<M: Send + 'static>(&mut self) -> Option<&mut VecDeque<M>> {
        self.queue.downcast_mut()
    }

    /// Drops what is in it; says how many messages that were.
    pub(super) fn discard(mut self) -> usize {
        let mut count = 0;
        loop {
            // As in the queue: a message may panic.
            match quietly(|| (self.drop_first)(&mut *self.queue)) {
                Some(false) => return count,
                Some(true) | None => count += 1,
            }
        }
    }
}

/// The values of `Core::exit`. The first is also where there was no end yet.
const IN_COLD: u8 = 0;
const ENDED: u8 = 1;
const SHUT_DOWN: u8 = 2;
const KILLED: u8 = 3;

impl Core {
    /// Runs `change` on the cold part, which is there from now on.
    pub(super) fn with_cold<T>(&self, change: impl FnOnce(&mut Cold) -> T) -> T {
        change(self.cold().get_or_insert_default())
    }

    pub(crate) fn path(&self) -> Option<Arc<str>> {
        self.cold().as_ref().and_then(|cold| cold.path.clone())
    }

    /// Who tells of this actor, where anybody listens.
    pub(crate) fn reporter(&self) -> Option<Reporter> {
        let system = self.system().filter(|system| system.is_observed())?;
        let cold = self.cold();
        if cold.as_ref().is_some_and(|cold| cold.silent) {
            return None;
        }
        let path = cold.as_ref().and_then(|cold| cold.path.clone());
        Some(Reporter::new(system, path, self.id()))
    }

    /// Who tells of this actor, whether anybody listens or not.
    pub(crate) fn told_by(&self) -> Reporter {
        self.reporter().unwrap_or_else(|| {
            let counts = !self.cold().as_ref().is_some_and(|cold| cold.silent);
            Reporter::silent(self.system().filter(|_| counts), self.id())
        })
    }

    pub(super) fn report(&self, kind: impl FnOnce() -> EventKind) {
        if let Some(reporter) = self.reporter() {
            reporter.tell(kind());
        }
    }

    /// Counts and tells of messages that nobody will handle.
    #[cold]
    pub(super) fn dead_letters(&self, count: usize, cause: DeadLetterCause) {
        if count > 0 {
            self.told_by().tell(EventKind::DeadLetters { count, cause });
        }
    }

    /// Tells that its turn does not end, even of those that tell their own life.
    pub(crate) fn is_blocked(&self, elapsed: Duration) {
        if let Some(system) = self.system() {
            Reporter::new(system, self.path(), self.id()).tell(EventKind::Blocked { elapsed });
        }
    }

    /// Notes who its supervisor is.
    pub(crate) fn adopt(&self, parent: ActorId, restarts: u32) {
        self.with_cold(|cold| (cold.parent, cold.restarts) = (Some(parent), restarts));
    }

    /// Notes how the incarnation ended; the common ways cost no memory. Returns how the one before did, to be dropped
    /// without the lock.
    fn note_exit(&self, cold: &mut Option<Box<Cold>>, reason: &ExitReason) -> Option<ExitReason> {
        let code = match reason {
            ExitReason::Normal => ENDED,
            ExitReason::Shutdown => SHUT_DOWN,
            ExitReason::Killed => KILLED,
            _ => IN_COLD,
        };
        let former = if code == IN_COLD {
            cold.get_or_insert_default().exit.replace(reason.clone())
        } else {
            cold.as_mut().and_then(|cold| cold.exit.take())
        };
        self.exit.store(code, Ordering::Release);
        former
    }

    /// Takes the reason for which it was told to end, unless that is the usual one.
    pub(super) fn ordered(&self) -> Option<ExitReason> {
        if self.state.load() & NORMAL != 0 {
            return Some(ExitReason::Normal);
        }
        self.cold().as_mut().and_then(|cold| cold.order.take())
    }

    /// How the last incarnation ended; `NoProc` where there was none.
    pub(crate) fn last_exit(&self) -> ExitReason {
        match self.exit.load(Ordering::Acquire) {
            ENDED => ExitReason::Normal,
            SHUT_DOWN => ExitReason::Shutdown,
            KILLED => ExitReason::Killed,
            _ => self.cold().as_ref().and_then(|cold| cold.exit.clone()).unwrap_or(ExitReason::NoProc),
        }
    }

    /// Adds one to those who are told of the next end; gives it back where there will be none.
    pub(crate) fn watch(&self, watcher: Watcher) -> Result<(), Watcher> {
        let mut cold = self.cold();
        if self.door() == Door::Closed {
            return Err(watcher);
        }
        cold.get_or_insert_default().watchers.push(watcher);
        Ok(())
    }

    pub(crate) fn unwatch(&self, monitor: MonitorRef) {
        let mut guard = self.cold();
        let Some(cold) = guard.as_mut() else { return };
        let watcher = cold.watchers.iter().position(|watcher| watcher.monitor == monitor);
        let watcher = watcher.map(|at| cold.watchers.remove(at));
        let hook = cold.hooks.iter().position(|(hook, _, _)| *hook == monitor);
        let hook = hook.map(|at| cold.hooks.remove(at));
        // What they drop may be the last of another cell, with its messages: not under the lock.
        drop(guard);
        drop((watcher, hook));
    }

    /// Has `hook` run at an end, before anyone is told of it. What is returned takes it back; `None` where the
    /// cell is closed, and then it does not run.
    pub(crate) fn at_end(&self, until: Until, hook: Hook) -> Option<MonitorRef> {
        let mut cold = self.cold();
        if self.door() == Door::Closed {
            return None;
        }
        let monitor = MonitorRef::unique();
        cold.get_or_insert_default().hooks.push((monitor, until, hook));
        Some(monitor)
    }

    /// Notes the end of an incarnation (or of a mailbox without one, where there is no `reason`), runs the hooks,
    /// and closes the door unless the mailbox has other owners. Returns what is left to be told.
    ///
    /// INVARIANT: a closed door has no hooks, and gets none. So whoever finds it closed finds the names free.
    pub(super) fn conclude(&self, reason: Option<&ExitReason>) -> Legacy {
        let mut cold = self.cold();
        let mut hooks = Vec::new();
        let mut former = None;
        if let Some(reason) = reason {
            former = self.note_exit(&mut cold, reason);
            hooks =
                cold.as_mut().map(|cold| cold.take_hooks(|until| until == Until::Exit)).unwrap_or_default();
        }
        if former.is_some() {
            drop(cold);
            quietly(|| drop(former));
            cold = self.cold();
        }
        loop {
            if !hooks.is_empty() {
                drop(cold);
                let said = reason.cloned().unwrap_or_else(|| self.last_exit());
                for (_, _, hook) in std::mem::take(&mut hooks) {
                    // Hooks are the runtime's own, but what they drop may not be.
                    quietly(|| hook(&said));
                }
                cold = self.cold();
            }
            let Some(known) = cold.as_mut() else {
                self.set_door(Door::Closed);
                return Legacy::default();
            };
            if known.owners > 1 {
                known.owners -= 1;
                return known.legacy(true);
            }
            hooks = known.take_hooks(|_| true);
            if hooks.is_empty() {
                known.owners = 0;
                self.set_door(Door::Closed);
                return known.legacy(false);
            }
        }
    }

    /// Adds a message that overtakes the queue. Gives it back where none is taken.
    pub(super) fn push_urgent<M: Send + 'static>(&self, message: M) -> Result<(), M> {
        let mut cold = self.cold();
        if self.door() != Door::Open {
            return Err(message);
        }
        let lane = cold.get_or_insert_default().lane.get_or_insert_with(Lane::new::<M>);
        match lane.messages() {
            Some(messages) => messages.push_back(message),
            None => return Err(message),
        }
        lane.waiting += 1;
        // Under the lock, under which it is cleared.
        self.state.set(LANE);
        Ok(())
    }

    /// Takes a message that overtakes the queue.
    pub(crate) fn pop_urgent<M: Send + 'static>(&self) -> Option<M> {
        let mut cold = self.cold();
        let lane = cold.as_mut()?.lane.as_mut()?;
        let messages = lane.messages()?;
        let message = messages.pop_front();
        if messages.is_empty() {
            // Under the lock, under which it is set.
            self.state.clear(LANE);
        }
        if message.is_some() {
            lane.waiting -= 1;
            lane.taken += 1;
        }
        message
    }

    /// Adds `other` to those who hear of the next end as an exit signal. False where there will be none.
    pub(crate) fn add_link(&self, other: &AnyCell) -> bool {
        let mut cold = self.cold();
        if self.door() == Door::Closed {
            return false;
        }
        cold.get_or_insert_default().links.insert(other.id(), other.clone());
        true
    }

    /// Takes a link back; what came over it and still waits is not wanted any more.
    pub(crate) fn remove_link(&self, other: ActorId) {
        let removed = self.cold().as_mut().and_then(|cold| {
            cold.exits.flush(other);
            cold.links.remove(&other)
        });
        // It may be the last of another cell, with its messages: not under the lock.
        drop(removed);
    }

    /// Whether a trapped exit signal that was queued is still wanted, by this incarnation.
    pub(crate) fn take_exit(&self, exit: &Exit) -> bool {
        self.cold().as_mut().is_some_and(|cold| cold.exits.take(exit))
    }
}
