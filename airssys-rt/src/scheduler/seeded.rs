//! Runs actors in an order that a seed decides and nothing else does: for simulations.
//!
//! All that can run wait in one list. Which of them is next, for how many messages, and after how many turns the
//! other tasks of the runtime come, is drawn. Callers never run actors themselves.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::coop;

use super::Scheduler;
use crate::cell::{self, Runnable};
use crate::chance::Chance;

/// Half of the turns are over after one message, the others after 1, 2, 4 … or so many: both find things.
const LONGEST_TURN_LOG2: u64 = 6;

/// The other tasks of the runtime come after 1, 2, 4 or so many turns.
const MOST_TURNS_LOG2: u64 = 3;

/// In a simulation, of so many turns anything from none to all but one go to who was woken last. What only goes wrong
/// where one waits for long is rare where each turn is as likely everybody's.
const HASTE: u64 = 4;

pub(crate) struct Seeded {
    seed: u64,
    steps: Arc<Steps>,
    state: Mutex<State>,
}

struct State {
    chance: Chance,
    haste: u64,
    /// Those that can run, in no order that means anything.
    waiting: Vec<Runnable>,
    /// Of the drainer, while it has nothing to do.
    parked: Option<Waker>,
}

/// How much a simulation has done, over all of its systems.
pub(crate) struct Steps {
    done: AtomicU64,
    limit: u64,
    /// Who wants to know when the limit is reached.
    watcher: Mutex<Option<Waker>>,
}

impl Seeded {
    pub(crate) fn new(seed: u64, steps: Arc<Steps>) -> Self {
        let mut chance = Chance::new(seed, "");
        let haste = chance.below(HASTE);
        let state = State { chance, haste, waiting: Vec::new(), parked: None };
        Self { seed, steps, state: Mutex::new(state) }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `bound`, drawn as everything is.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.state().chance.below(bound)
    }

    /// Adds one that is to run.
    pub(super) fn push(&self, runnable: Runnable) {
        self.state().waiting.push(runnable);
        self.wake();
    }

    /// Has the drainer look again.
    pub(super) fn wake(&self) {
        let parked = self.state().parked.take();
        parked.into_iter().for_each(Waker::wake);
    }

    /// Takes the one whose turn it is.
    pub(super) fn pop(&self) -> Option<Runnable> {
        self.state().pop()
    }

    /// Starts the one drainer.
    pub(super) fn start(&self, runtime: &Handle, scheduler: &Arc<Scheduler>) {
        let is_alone = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        assert!(is_alone, "with several threads, no seed decides what is next");
        let drainer = Drainer(Arc::clone(scheduler));
        runtime.spawn(poll_fn(move |cx| drainer.poll(cx)));
    }

    /// Takes the one whose turn it is, and how long that is. Where there is none, `cx` is woken for the next.
    fn draw(&self, cx: &Context<'_>) -> Option<(Runnable, u8)> {
        let mut state = self.state();
        let Some(runnable) = state.pop() else {
            state.parked = Some(cx.waker().clone());
            return None;
        };
        let longest = if state.chance.below(2) == 0 { 0 } else { LONGEST_TURN_LOG2 };
        Some((runnable, 1 << state.chance.below(longest + 1)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<Runnable> {
        match self.waiting.len() {
            // Nothing is drawn where there is no choice.
            0 | 1 => self.waiting.pop(),
            _ if self.chance.below(HASTE) < self.haste => self.waiting.pop(),
            count => Some(self.waiting.swap_remove(self.chance.below(count as u64) as usize)),
        }
    }
}

struct Drainer(Arc<Scheduler>);

impl Drainer {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(seeded) = self.0.seeded().filter(|_| !self.0.is_closed()) else { return Poll::Ready(()) };
        for _ in 0..1_u64 << seeded.below(MOST_TURNS_LOG2 + 1) {
            let Some((runnable, budget)) = seeded.draw(cx) else {
                cell::settle();
                // Whoever closes it from now on wakes the drainer.
                return if self.0.is_closed() { Poll::Ready(()) } else { Poll::Pending };
            };
            seeded.steps.step();
            let mark = self.0.watch.mark(0);
            mark.begin(runnable.id());
            let ran = runnable.run_for(budget);
            mark.rest();
            if let Some(again) = ran.again {
                seeded.push(again);
            }
            // What belongs to tokio is not ready once the budget of the task is used up.
            if !coop::has_budget_remaining() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Where the runtime ends its tasks, it ends what it would have run.
impl Drop for Drainer {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Steps {
    pub(crate) fn limit(limit: u64) -> Self {
        Self { done: AtomicU64::new(0), limit, watcher: Mutex::new(None) }
    }

    pub(crate) fn step(&self) {
        if self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.limit {
            let watcher = self.watcher().take();
            watcher.into_iter().for_each(Waker::wake);
        }
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether the limit is reached; where it is not, `cx` is woken when it is.
    pub(crate) fn is_over(&self, cx: &Context<'_>) -> bool {
        *self.watcher() = Some(cx.waker().clone());
        self.done() >= self.limit
    }

    fn watcher(&self) -> MutexGuard<'_, Option<Waker>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
