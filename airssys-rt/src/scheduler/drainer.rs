//! The task that runs actors on one thread of the runtime.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crossbeam_deque::{Steal, Worker};
use tokio::runtime::Handle;
use tokio::task::{coop, yield_now};

use super::watchdog::Mark;
use super::{HOME, LOCAL, Scheduler, Stealers};
use crate::cell::{self, Runnable};

/// After so many turns the other tasks of the thread run,
const TURNS: u32 = 8192;

/// or after so many messages,
const MESSAGES: u32 = 8192;

/// or after so much time, which is looked at where a turn may have been long,
const SLICE: Duration = Duration::from_micros(500);

/// and every so many turns.
const LOOK: u32 = 16;

/// After so many in a row that woke each other, those that wait in the queue come;
const IN_A_ROW: u32 = 64;

/// and after so many newborn ones.
const BIRTHS_IN_A_ROW: u32 = 8;

/// Every so many turns, what came from outside goes first; and half-way between, the eldest of the newborn, which
/// would else wait for all that are born after it.
const FROM_OUTSIDE: u32 = 61;
const HALF_WAY: u32 = FROM_OUTSIDE / 2;

/// What a drainer has for itself. It lies in a thread-local while the drainer is polled.
pub(super) struct Local {
    scheduler: Arc<Scheduler>,
    index: usize,
    queues: Queues,
    /// The one that was woken last: it runs next.
    next: Option<Runnable>,
    in_a_row: u32,
    births: u32,
    turns: u32,
}

/// What waits at a drainer.
pub(super) struct Queues {
    /// The first one that came is the first to run.
    woken: Worker<Runnable>,
    /// The last one that came is the first to run.
    newborn: Worker<Runnable>,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self { woken: Worker::new_fifo(), newborn: Worker::new_lifo() }
    }

    pub(super) fn stealers(&self) -> Stealers {
        Stealers { woken: self.woken.stealer(), newborn: self.newborn.stealer() }
    }

    fn is_empty(&self) -> bool {
        self.woken.is_empty() && self.newborn.is_empty()
    }
}

impl Local {
    pub(super) fn belongs_to(&self, scheduler: &Scheduler) -> bool {
        std::ptr::eq(&*self.scheduler, scheduler)
    }

    /// Adds one that was woken by the one that runs. True where there is now something to steal.
    pub(super) fn push(&mut self, runnable: Runnable) -> bool {
        let Some(displaced) = self.next.replace(runnable) else { return false };
        self.queues.woken.push(displaced);
        true
    }

    /// As [`push`](Self::push), for one that is to run for the first time.
    pub(super) fn push_newborn(&mut self, runnable: Runnable) -> bool {
        self.queues.newborn.push(runnable);
        true
    }

    fn take(&mut self) -> Option<Runnable> {
        self.turns = self.turns.wrapping_add(1);
        let first = match self.turns % FROM_OUTSIDE {
            0 => self.steal_from_outside(),
            HALF_WAY => self.eldest(),
            _ => None,
        };
        if first.is_some() {
            return first;
        }
        if self.in_a_row < IN_A_ROW {
            if let Some(next) = self.next.take() {
                self.in_a_row += 1;
                return Some(next);
            }
            if self.births < BIRTHS_IN_A_ROW
                && let Some(newborn) = self.queues.newborn.pop()
            {
                self.births += 1;
                return Some(newborn);
            }
        }
        (self.in_a_row, self.births) = (0, 0);
        if let Some(next) = self.next.take() {
            self.queues.woken.push(next);
        }
        let own = self.queues.woken.pop().or_else(|| self.queues.newborn.pop());
        own.or_else(|| self.steal_from_outside()).or_else(|| self.steal_from_others())
    }

    fn eldest(&self) -> Option<Runnable> {
        self.scheduler.stealers.get(self.index).and_then(|own| persist(|| own.newborn.steal()))
    }

    fn steal_from_outside(&self) -> Option<Runnable> {
        persist(|| self.scheduler.injector.steal_batch_with_limit_and_pop(&self.queues.woken, 32))
    }

    fn steal_from_others(&self) -> Option<Runnable> {
        let stealers = &self.scheduler.stealers;
        let others = (1..stealers.len()).map(|step| (self.index + step) % stealers.len());
        others
            .filter_map(|other| stealers.get(other))
            // Of the newborn one is enough: the eldest has the most to do.
            .find_map(|other| {
                persist(|| other.woken.steal_batch_and_pop(&self.queues.woken))
                    .or_else(|| persist(|| other.newborn.steal()))
            })
    }

    fn has_work(&self) -> bool {
        self.next.is_some() || !self.queues.is_empty()
    }
}

pub(super) fn persist(mut attempt: impl FnMut() -> Steal<Runnable>) -> Option<Runnable> {
    loop {
        match attempt() {
            Steal::Success(runnable) => return Some(runnable),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

/// Starts the drainer with this index.
pub(super) fn start(runtime: &Handle, scheduler: &Arc<Scheduler>, index: usize, queues: Queues) {
    let local = Local {
        scheduler: Arc::clone(scheduler),
        index,
        queues,
        next: None,
        in_a_row: 0,
        births: 0,
        turns: 0,
    };
    let mark = scheduler.watch.mark(index);
    let mut drainer = Drainer { local: Some(local), parked: false, called: false, mark };
    runtime.spawn(poll_fn(move |cx| drainer.poll(cx)));
}

struct Drainer {
    /// Here while it is not polled.
    local: Option<Local>,
    /// Whether it is on the list of those that are parked, unless somebody took it off to call it.
    parked: bool,
    /// Whether it was called and has not found anything yet.
    called: bool,
    mark: Arc<Mark>,
}

impl Drainer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(local) = self.local.take() else { return Poll::Ready(()) };
        let scheduler = Arc::clone(&local.scheduler);
        if std::mem::take(&mut self.parked) {
            self.called = scheduler.unpark(local.index);
            scheduler.watch.unpark(&self.mark);
        }
        if scheduler.threads() > 1 {
            HOME.set(scheduler.number);
        }
        // A drainer of another system may be polled around this one.
        let outer = LOCAL.replace(Some(local));
        let polled = self.drain(&scheduler, cx);
        self.local = LOCAL.replace(outer);
        self.mark.rest();
        polled
    }

    fn drain(&mut self, scheduler: &Scheduler, cx: &mut Context<'_>) -> Poll<()> {
        let mut handled = 0;
        let began = Instant::now();
        let mut again: Option<Runnable> = None;
        for turn in 1..=TURNS {
            if scheduler.is_closed() {
                again.into_iter().for_each(|again| scheduler.injector.push(again));
                return Poll::Ready(());
            }
            let next = again.take().or_else(|| with(|local| local.and_then(Local::take)));
            let Some(runnable) = next else {
                if self.park(scheduler, cx) {
                    cell::settle();
                    return Poll::Pending;
                }
                continue;
            };
            self.found(scheduler);
            self.mark.begin(runnable.id());
            let ran = runnable.run();
            handled += ran.handled;
            // An actor that gave way in the middle of its work may have worked long.
            let mut late = turn % LOOK == 0 || ran.again.is_some();
            late = late && began.elapsed() >= SLICE;
            again = ran.again;
            // To the end of the queue of all, where others have waited.
            if let Some(again) = again.take_if(|_| has_work_here() || !scheduler.injector.is_empty()) {
                scheduler.injector.push(again);
            }
            // What belongs to tokio counts against the budget of the task, and is not ready once that is used up.
            if late || handled >= MESSAGES || !coop::has_budget_remaining() {
                break;
            }
        }
        self.found(scheduler);
        again.into_iter().for_each(|again| scheduler.injector.push(again));
        if has_work_here() {
            scheduler.call_for_help();
        }
        give_way(cx);
        Poll::Pending
    }

    /// It has something to do; where there may be more, another one is called.
    fn found(&mut self, scheduler: &Scheduler) {
        if std::mem::take(&mut self.called) && scheduler.searching.fetch_sub(1, Ordering::Relaxed) == 1 {
            let more = !scheduler.injector.is_empty() || !scheduler.stealers.iter().all(Stealers::is_empty);
            if more {
                scheduler.call_for_help();
            }
        }
    }

    /// Parks, unless something has come meanwhile.
    fn park(&mut self, scheduler: &Scheduler, cx: &mut Context<'_>) -> bool {
        if std::mem::take(&mut self.called) {
            scheduler.searching.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(index) = with(|local| local.map(|local| local.index)) else { return true };
        let mut parked = scheduler.parked();
        parked.push((index, cx.waker().clone()));
        scheduler.idle.store(parked.len(), Ordering::Relaxed);
        drop(parked);
        std::sync::atomic::fence(Ordering::SeqCst);
        let nothing = scheduler.injector.is_empty() && scheduler.stealers.iter().all(Stealers::is_empty);
        if nothing && !scheduler.is_closed() {
            self.parked = true;
            self.mark.park();
            return true;
        }
        self.called = scheduler.unpark(index);
        false
    }
}

/// Has the task run again when the runtime has looked at its sockets and timers, and the others of the thread have run. Woken at
/// once, it could run 60 times more before that, and each time would call another thread, for nothing: what there is to
/// share is called for by [`Scheduler::call_for_help`].
fn give_way(cx: &mut Context<'_>) {
    // Its first poll is what does it.
    let _pending = pin!(yield_now()).poll(cx);
}

/// Runs `use_it` on what the drainer has that is polled on this thread.
fn with<T>(use_it: impl FnOnce(Option<&mut Local>) -> T) -> T {
    LOCAL.with_borrow_mut(|local| use_it(local.as_mut()))
}

/// Whether something waits at the drainer that is polled on this thread.
pub(super) fn has_work_here() -> bool {
    with(|local| local.is_some_and(|local| local.has_work()))
}

impl Scheduler {
    /// Takes a drainer off the list of those that are parked. True where somebody has done that already, to call it.
    fn unpark(&self, index: usize) -> bool {
        let mut parked = self.parked();
        let found = parked.iter().position(|(other, _)| *other == index);
        let waker = found.map(|at| parked.swap_remove(at));
        self.idle.store(parked.len(), Ordering::Relaxed);
        drop(parked);
        waker.is_none()
    }
}

/// Where the runtime ends its tasks, the last drainer ends what they would have run.
impl Drop for Drainer {
    fn drop(&mut self) {
        let Some(local) = &mut self.local else { return };
        if let Some(next) = local.next.take() {
            local.scheduler.injector.push(next);
        }
        if local.scheduler.drainers.fetch_sub(1, Ordering::AcqRel) == 1 {
            local.scheduler.end();
        }
    }
}
