//! A turn of a cell, and its end.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::task::Context;
use std::time::{Duration, Instant};

use super::cold::Lane;
use super::core::{AnyCell, Core};
use super::queue::Pop;
use super::state::{DEAD, DRAIN, KILL, Notified, STOP, TRACE, VISITED};
use super::sync::Ordering;
use super::{Deadline, Notify, Outcome, Stage, TURN, table, waker};
use crate::actor_ref::ActorId;
use crate::counters::Count;
use crate::exit::{ExitReason, quietly};
use crate::observe::{DeadLetterCause, EventKind, log};
use crate::{security, system};

/// How deep actors may run each other on one stack.
const DEEPEST: u32 = 4;

/// An actor whose turns take longer, for each message in them, is not run on the stack of a caller, who could have
/// given up or gone on meanwhile. Unless the system has another idea of it.
pub(crate) const QUICK: Duration = Duration::from_micros(2);

/// How long a caller runs an actor, turn after turn, that others keep asking.
const LONGEST_VISIT: Duration = Duration::from_micros(50);

/// How many entries an actor handles in a turn that a caller gives it: it may be quick no more.
const VISITED_TURN: u8 = TURN / 4;

/// How long a caller looks away who finds that another one runs the actor; then twice as long,
const FIRST_LOOK: Duration = Duration::from_micros(2);

/// and so on, so many times in all.
const LOOKS: u32 = 2;

/// How long a caller waits for its answer, without going to sleep, while another one runs the actor.
const LONGEST_SPIN: Duration = Duration::from_micros(1);

/// The pace of an actor that was never called: its turns are not timed.
pub(super) const UNKNOWN: u8 = u8::MAX;

/// The pace of an actor that nobody else runs.
pub(super) const NEVER: u8 = UNKNOWN - 1;

/// How many quick turns in a row make an actor one that callers run themselves.
pub(super) const PROVEN: u8 = 16;

/// Of a proven actor's turns, one in so many is timed.
const TIMED: u8 = 32;

/// A cell whose turn it is. There is one at a time, so it stands for the right to run it.
///
/// It holds no reference: a cell with a body has one of its own, and a dead one is queued with one.
pub(crate) struct Runnable(NonNull<Core>);

// SAFETY: see `AnyCell`. A body is `Send`.
unsafe impl Send for Runnable {}

/// How a turn went.
pub(crate) struct Ran {
    /// The cell, where it has more to do.
    pub(crate) again: Option<Runnable>,
    /// How many entries of its queue it has handled, or looked for.
    pub(crate) handled: u32,
}

thread_local! {
    /// The cell that runs on this thread, innermost.
    static CURRENT: Cell<Option<NonNull<Core>>> = const { Cell::new(None) };
    /// How many cells run on this thread, one inside the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Until when the caller of the message waits that the running actor has in hand.
pub(crate) fn deadline() -> Option<Deadline> {
    // SAFETY: it is the cell that runs on this thread, and this is its runner's thread.
    CURRENT.get().and_then(|core| unsafe { core.as_ref() }.until.get())
}

/// The actor that runs on this thread.
pub(crate) fn current() -> Option<ActorId> {
    // SAFETY: as in `deadline`.
    CURRENT.get().map(|core| unsafe { core.as_ref() }.id())
}

impl Runnable {
    /// Runs the cell for a turn. Where it has more to do then, it is the caller's again.
    pub(crate) fn run(self) -> Ran {
        self.run_for(TURN)
    }

    /// As [`run`](Self::run), for a turn of at most `budget` entries of its queue.
    pub(crate) fn run_for(self, budget: u8) -> Ran {
        // SAFETY: whoever has the `Runnable` of a cell may look at it; see the type.
        let state = &unsafe { self.0.as_ref() }.state;
        state.hand_over();
        if state.load() & DEAD != 0 {
            // SAFETY: the reference that it was queued with.
            let cell = unsafe { AnyCell::take_over(self.0) };
            return Ran { again: cell.bury(), handled: 1 };
        }
        // SAFETY: a live cell has a reference of its own, until `finish` takes it.
        let cell = ManuallyDrop::new(unsafe { AnyCell::take_over(self.0) });
        turn(&cell, budget)
    }

    pub(crate) fn id(&self) -> ActorId {
        // SAFETY: as in `run`.
        unsafe { self.0.as_ref() }.id()
    }

    /// Makes sure that it ends when it runs.
    pub(crate) fn condemn(&self) {
        // SAFETY: as in `run`.
        unsafe { self.0.as_ref() }.state.set(KILL);
    }
}

impl AnyCell {
    /// Says that there is something to look at.
    pub(crate) fn wake(&self) {
        if self.state.load() & DEAD == 0 {
            self.signal(0);
        }
    }

    /// Sets `bits`, and sees to it that they are looked at.
    #[inline(always)]
    pub(super) fn signal(&self, bits: u32) {
        match self.state.notify(bits) {
            Notified::Known => {}
            Notified::Queue => self.queue_up(),
            Notified::QueueDead => self.clone().queue_dead(),
        }
    }

    /// Puts a cell into the run queue of its system. For whoever has just taken it from rest to `SCHEDULED`.
    #[inline(always)]
    pub(super) fn queue_up(&self) {
        self.state.hand_over();
        if let Some(system) = self.system() {
            system.enqueue(Runnable(self.ptr()));
        }
    }

    /// As [`queue_up`](Self::queue_up), for a cell that has just been given a body.
    pub(super) fn queue_newborn(&self) {
        self.state.hand_over();
        if let Some(system) = self.system() {
            system.enqueue_newborn(Runnable(self.ptr()));
        }
    }

    fn queue_dead(self) {
        self.clone().run_late(Some(Runnable(self.into_ptr())));
    }

    /// Has a dead cell run once more, to drop what came too late.
    fn run_late(self, mut late: Option<Runnable>) {
        if let Some(system) = self.system() {
            return late.into_iter().for_each(|late| system.enqueue(late));
        }
        // It belongs to no system, so nobody else will.
        while let Some(runnable) = late {
            late = runnable.run().again;
        }
    }

    /// As [`signal`](Self::signal), for a caller who is going to wait for the answer: it has nothing better to do than
    /// to run the cell here and now, where that rests and its turns have been short.
    pub(super) fn signal_and_visit(&self) {
        let Some(system) = self.may_visit() else { return self.signal(0) };
        match self.state.visit() {
            Notified::Known => {}
            Notified::Queue => security::apart(|| self.visit(system)),
            Notified::QueueDead => self.clone().queue_dead(),
        }
    }

    /// Where whoever runs this code may run the cell: the cell's system.
    fn may_visit(&self) -> Option<&system::Inner> {
        let pace = self.pace.load(Ordering::Relaxed);
        if pace == UNKNOWN {
            self.pace.store(0, Ordering::Relaxed);
        }
        if !(PROVEN..NEVER).contains(&pace) || DEPTH.get() >= DEEPEST {
            return None;
        }
        // Not on the thread of another runtime, whose timers and sockets the actor would then use.
        self.system().filter(|system| system.runs_here())
    }

    /// Runs the cell, whose turn it is by [`State::visit`](super::state::State::visit).
    fn visit(&self, system: &system::Inner) {
        let mut ran = turn(self, VISITED_TURN);
        let mut since: Option<Instant> = None;
        while let Some(again) = ran.again {
            // Others ask meanwhile. To hand the actor over would cost more than to go on for a while.
            // No model has a clock: there a visit has two turns.
            if since.is_some_and(|since| cfg!(airssys_loom) || since.elapsed() >= LONGEST_VISIT) {
                self.state.clear(VISITED);
                return system.enqueue(again);
            }
            since.get_or_insert_with(Instant::now);
            ran = again.run_for(VISITED_TURN);
        }
    }

    /// For a caller who is about to ask: where another one runs the cell now, lets it go on for a while. They would
    /// else take turns at it, and most of their time would go into moving its memory from processor to processor.
    #[inline]
    pub(super) fn let_others_go_on(&self) {
        if self.state.is_visited() {
            self.look_away();
        }
    }

    #[cold]
    fn look_away(&self) {
        let mut time = FIRST_LOOK;
        for _ in 0..LOOKS {
            spin(time, || false);
            if !self.state.is_visited() {
                return;
            }
            time *= 2;
        }
    }

    /// For a caller who has asked: where another one runs the cell now, that is about to answer, before it would pay
    /// to sleep.
    #[inline]
    pub(crate) fn await_visitor(&self, answered: impl Fn() -> bool) {
        if self.state.is_visited() {
            spin(LONGEST_SPIN, answered);
        }
    }

    /// Drops what came too late for a dead cell.
    fn bury(self) -> Option<Runnable> {
        self.dead_letters(self.discard_all(), DeadLetterCause::Late);
        if self.state.end() { Some(Runnable(self.into_ptr())) } else { None }
    }

    fn settle_bounds(&self) {
        if self.made.is_bounded()
            && let Some(bounds) = &self.bounds
        {
            let _reader = bounds.reader();
            bounds.settle(&self.made, || self.take_credit());
        }
    }

    /// Drops what is in the queue; says how many messages that were.
    fn discard_all(&self) -> usize {
        let mut count = 0;
        loop {
            // Code of the messages' own runs here. One that panics is dropped like the others.
            // SAFETY: only those who hold `SCHEDULED` call this.
            match quietly(|| unsafe { self.discard() }) {
                Some(Pop::Item(message)) => count += usize::from(message),
                Some(Pop::Empty) => return count,
                Some(Pop::Busy) => {
                    // Someone is in the middle of a push: looked at again.
                    self.state.again();
                    return count;
                }
                None => count += 1,
            }
        }
    }
}

/// Does nothing for so long, or until `done`.
pub(super) fn spin(time: Duration, done: impl Fn() -> bool) {
    if cfg!(airssys_loom) {
        // No model has a clock.
        return;
    }
    let began = Instant::now();
    while !done() && began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Puts the marks of a running cell on this thread, and takes them away again.
struct Here {
    outer: Option<NonNull<Core>>,
}

impl Here {
    fn enter(cell: &AnyCell) -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self { outer: CURRENT.replace(Some(cell.ptr())) }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Runs a cell, for whoever has set `SCHEDULED`, and lets go of it. Where it has more to do, it is the caller's to
/// queue.
#[inline(always)]
fn turn(cell: &AnyCell, budget: u8) -> Ran {
    cell.budget.set(budget);
    let here = Here::enter(cell);
    let ended = match step(cell, budget) {
        Some(reason) => Some(reason),
        // Told to end while it ran.
        None if cell.state.load() & KILL != 0 => Some(cell.killed_by()),
        None => None,
    };
    drop(here);
    cell.settle_bounds();
    let handled = budget.saturating_sub(cell.budget.get()).into();
    let again = match ended {
        None => cell.state.end().then(|| Runnable(cell.ptr())),
        Some(reason) => finish(cell, reason),
    };
    Ran { again, handled }
}

/// Polls the body, unless the cell is told to end; what it returns is why it did.
fn step(cell: &AnyCell, budget: u8) -> Option<ExitReason> {
    let state = cell.state.load();
    if state & KILL != 0 {
        return Some(cell.killed_by());
    }
    let _span = if state & TRACE != 0 { log::turn(cell) } else { None };
    let timed = is_timed(cell);
    let waker = waker::borrowed(cell);
    let mut cx = Context::from_waker(&waker);
    let mut ended = None;
    // A body that has panicked is not polled again, only dropped.
    // SAFETY: we hold `SCHEDULED`; and there is a body, since whoever ends one ends the cell or leaves it vacant.
    let polled = catch_unwind(AssertUnwindSafe(|| unsafe { cell.poll_body(&mut cx, &mut ended) }));
    if let Some(since) = timed {
        let handled = u32::from(budget.saturating_sub(cell.budget.get()).max(1));
        let pace = match cell.pace.load(Ordering::Relaxed) {
            _ if since.elapsed() >= cell.system().map_or(QUICK, system::Inner::quick) * handled => 0,
            pace if pace + 1 >= PROVEN => PROVEN + TIMED,
            pace => pace + 1,
        };
        cell.pace.store(pace, Ordering::Relaxed);
    }
    match polled {
        Ok(()) => ended,
        Err(panic) => Some(ExitReason::from_panic(panic)),
    }
}

/// Whether this turn is timed: once it is called, each until it has proven to be quick; then some.
fn is_timed(cell: &AnyCell) -> Option<Instant> {
    let pace = cell.pace.load(Ordering::Relaxed);
    if pace > PROVEN {
        if pace < NEVER {
            cell.pace.store(pace - 1, Ordering::Relaxed);
        }
        return None;
    }
    Some(Instant::now())
}

impl Core {
    /// Why a cell ends that was told to end where it stands.
    fn killed_by(&self) -> ExitReason {
        self.ordered().unwrap_or(ExitReason::Killed)
    }
}

/// Ends an incarnation: drops its body and tells everybody, in OTP's order. Its caller holds `SCHEDULED`.
fn finish(cell: &AnyCell, mut reason: ExitReason) -> Option<Runnable> {
    // SAFETY: there is a body, and we hold `SCHEDULED`.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { cell.drop_body() })) {
        reason = ExitReason::from_panic(panic);
    }
    // SAFETY: the body has just been dropped.
    let cell = unsafe { cell.take_back() };
    let asked_to = cell.state.load() & (STOP | DRAIN) != 0;
    let stopped = asked_to && matches!(reason, ExitReason::Shutdown);
    let stage = cell.stage.get();
    cell.until.set(None);
    if let Some(counters) = cell.system().map(system::Inner::counters) {
        counters.add(Count::Ended, 1);
        if reason.is_abnormal() {
            counters.add(Count::Crashed, 1);
        }
    }

    let mut legacy = cell.conclude(Some(&reason));
    let mut orphaned = false;
    let mut again = None;
    if legacy.retained {
        orphaned = !cell.vacate();
    } else {
        again = cell.clone().die();
    }
    let notify = legacy.notify.take();
    legacy.tell(cell.id(), &reason);
    // What the reason drops is the user's.
    quietly(|| tell(&cell, stage, stopped, notify, reason));
    if orphaned {
        again = cell.close();
    }
    again
}

/// Tells the observer and the supervisor.
fn tell(cell: &AnyCell, stage: Stage, stopped: bool, notify: Option<Notify>, reason: ExitReason) {
    let exited = |reason: ExitReason| (EventKind::Exited { reason: reason.clone() }, Outcome::Exited(reason));
    let (event, outcome) = match stage {
        Stage::Starting => (EventKind::InitFailed { reason: reason.clone() }, Outcome::InitFailed(reason)),
        Stage::Ignored => (EventKind::Ignored, Outcome::Ignored),
        Stage::Up | Stage::Ending if stopped => (EventKind::Stopped, Outcome::Exited(reason)),
        Stage::Up | Stage::Ending => exited(reason),
    };
    cell.report(|| event);
    if let Some(mut notify) = notify {
        notify(outcome);
    }
}

impl AnyCell {
    /// Keeps the mailbox open once more.
    pub(crate) fn own(&self) {
        self.with_cold(|cold| cold.owners += 1);
    }

    /// Keeps the mailbox open once less; the last time it closes.
    pub(crate) fn disown(&self) {
        let mut cold = self.cold();
        let Some(known) = cold.as_mut() else { return };
        if known.taken || known.owners > 1 {
            known.owners = known.owners.saturating_sub(1);
            return;
        }
        drop(cold);
        // An incarnation would be an owner. So there is none, and nobody is left to start one: the cell is ours.
        let again = self.close();
        self.clone().run_late(again);
    }

    /// Closes a vacant cell, for whoever it belongs to.
    fn close(&self) -> Option<Runnable> {
        let legacy = self.conclude(None);
        let reason = self.last_exit();
        let again = self.clone().die();
        legacy.tell(self.id(), &reason);
        again
    }

    /// The end of a cell that holds `SCHEDULED`: nothing is taken any more, and what waits is dropped.
    pub(super) fn die(self) -> Option<Runnable> {
        self.state.set(DEAD);
        table::leave(self.id());
        // Only now, lest whoever adds up counts it twice.
        if let Some(system) = self.system() {
            system.counters().add(Count::Handled, self.taken());
        }
        if let Some(bounds) = &self.bounds {
            bounds.close();
        }
        let overtaking = self.cold().as_mut().and_then(|cold| cold.lane.take());
        let dropped = overtaking.map_or(0, Lane::discard);
        self.dead_letters(dropped + self.discard_all(), DeadLetterCause::Closed);
        // Late messages from now on are dropped by whoever is queued for them.
        if self.state.end() { Some(Runnable(self.into_ptr())) } else { None }
    }
}
