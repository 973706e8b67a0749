//! The timers of a system: wheels behind locks, and the one task that waits for the next deadline.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::TimerRef;
use super::wheel::{self, Due, Key, NEVER, TICK_NANOS, Wheel};
use crate::cell::AnyCell;
use crate::exit::quietly;

/// More wheels than this are not needed to keep threads apart, and each takes some kilobytes.
const MOST_SHARDS: usize = 64;

/// How many timers fire before other tasks get their turn.
const TURN: usize = 128;

/// What the list of what is due may keep of its memory: a burst is not paid for ever.
const KEPT_CAPACITY: usize = 1024;

/// The longest sleep, in ticks: a year, which every clock can add to its now. After it the ticker looks again.
const LONGEST_SLEEP: u64 = 365 * 24 * 3_600 * 1_000;

/// What happens when a timer is due.
pub(crate) enum Fire {
    Wake(Waker),
    Due(AnyCell, TimerRef),
    /// What a test wants to see.
    #[cfg(test)]
    Tell(Box<dyn FnOnce() + Send + Sync>),
}

/// A point in time on the clock of one system: nanoseconds since its beginning. The latest one, after 584 years,
/// never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

impl Deadline {
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// The first multiple of `period`, counted from `start`, that comes after this point.
    pub(crate) fn next_multiple(self, start: Self, period: Duration) -> Self {
        let period = nanos(period).max(1);
        let passed = self.0.saturating_sub(start.0) / period;
        Self(start.0.saturating_add(period.saturating_mul(passed.saturating_add(1))))
    }

    /// How much time is left at `now`.
    pub(crate) fn since(self, now: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(now.0))
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

/// All timers of a system. Clones are the same timers.
#[derive(Clone)]
pub(crate) struct Timers(Arc<Inner>);

/// The timers of a system, for the system itself: they end when it is dropped.
pub(crate) struct Owner(Timers);

struct Inner {
    runtime: Handle,
    beginning: Instant,
    /// A power of two. A thread uses one of them, so that workers do not meet at a lock.
    shards: Box<[Shard]>,
    ticker: Ticker,
}

/// Two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
struct Shard(Mutex<State>);

struct State {
    wheel: Wheel<Fire>,
    /// The ticker looks at this wheel at this tick or earlier.
    looked_at: u64,
    /// One of the ticks for which the ticker was woken or slept, kept until it has passed.
    promised: u64,
    closed: bool,
}

impl State {
    /// Sets when the ticker looks next.
    ///
    /// What was promised stands, though the timer may have been cancelled. Otherwise each of many calls, one after
    /// the other, would find that no one waits, and wake the ticker, only to be answered first.
    fn promise(&mut self, now: u64) {
        let to_come = |tick: u64| if tick > now { tick } else { NEVER };
        let promised = to_come(self.promised);
        self.looked_at = self.wheel.next().min(to_come(self.looked_at)).min(promised);
        self.promised = if promised == NEVER { self.looked_at } else { promised };
    }
}

/// What the ticker and those who arm timers have to agree upon.
#[derive(Default)]
struct Ticker {
    started: AtomicBool,
    /// It will look at what has been armed before it sleeps: nobody needs to wake it.
    awake: AtomicBool,
    /// Until when it sleeps. Zero, before its first look, is earlier than all.
    ///
    /// INVARIANT: whoever arms an earlier timer lowers it and then looks at `awake`; the ticker lowers `awake` and
    /// then looks here, all sequentially consistent: so one of them sees the other, and no timer is overslept.
    wakes_at: AtomicU64,
    bell: Notify,
    #[cfg(test)]
    passes: AtomicUsize,
}

impl Owner {
    pub(crate) fn new(runtime: Handle) -> Self {
        let shards = match runtime.metrics().num_workers() {
            // One wheel, and so one order of arming.
            1 => 1,
            // Twice as many, because other threads get their numbers in between.
            workers => (workers * 2).next_power_of_two().min(MOST_SHARDS),
        };
        Self(Timers(Arc::new(Inner {
            runtime,
            beginning: Instant::now(),
            shards: (0..shards).map(|_| Shard::new()).collect(),
            ticker: Ticker::default(),
        })))
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.0.close();
        self.0.0.ticker.bell.notify_one();
    }
}

impl Timers {
    pub(crate) fn now(&self) -> Deadline {
        self.at(Instant::now())
    }

    pub(crate) fn at(&self, moment: Instant) -> Deadline {
        Deadline(nanos(moment.duration_since(self.0.beginning)))
    }

    /// Arms a timer. It fires at `at` or up to two milliseconds later, never earlier: the wheel rounds up to its
    /// ticks, and tokio to its own. `None`, and `fire` is dropped, where the timers have ended.
    #[inline]
    pub(crate) fn arm(&self, at: Deadline, fire: Fire) -> Option<Key> {
        let shard = thread_number() & (self.0.shards.len() - 1);
        let tick = wheel::tick_of(at.0);
        let mut state = self.0.shards.get(shard)?.lock();
        if state.closed {
            drop(state);
            return None;
        }
        let key = state.wheel.arm(at.0, fire).in_shard(shard as u32);
        let earlier = tick < state.looked_at;
        if earlier {
            state.looked_at = tick;
        }
        drop(state);
        if earlier {
            self.wake_ticker(tick);
        }
        Some(key)
    }

    /// Disarms a timer; false where it fired, is just about to, or was cancelled before.
    #[inline]
    pub(crate) fn cancel(&self, key: Key) -> bool {
        let fire = self.shard(key).and_then(|mut state| state.wheel.cancel(key));
        // Only now is the lock free, and what is dropped may be anything.
        fire.is_some()
    }

    /// Sees to it that an armed timer wakes `waker`. False where it is not armed any more.
    pub(crate) fn renew(&self, key: Key, waker: &Waker) -> bool {
        let knows = |fire: &mut Fire| matches!(fire, Fire::Wake(known) if known.will_wake(waker));
        match self.shard(key).and_then(|mut state| state.wheel.get_mut(key).map(knows)) {
            Some(false) => {}
            known => return known.is_some(),
        }
        // Cloned without the lock, because a waker's code may be anybody's.
        let mut fire = Fire::Wake(waker.clone());
        let swap = |known: &mut Fire| std::mem::swap(known, &mut fire);
        self.shard(key).and_then(|mut state| state.wheel.get_mut(key).map(swap)).is_some()
    }

    /// How many are armed.
    pub(crate) fn armed(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().wheel.len()).sum()
    }

    /// Whether they have ended, with their system or with the runtime: nothing fires any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.shards.first().is_none_or(|shard| shard.lock().closed)
    }

    /// Whether they go on by themselves while the caller waits. A runtime with one thread stands still where that
    /// thread is not in it, or is held by the very actor that is waited for; a caller on it knows no better clock,
    /// but another one does.
    pub(crate) fn are_driven(&self) -> bool {
        let here = || Handle::try_current().is_ok_and(|current| current.id() == self.0.runtime.id());
        self.0.shards.len() > 1 || here()
    }

    #[inline]
    fn shard(&self, key: Key) -> Option<MutexGuard<'_, State>> {
        self.0.shards.get(key.shard() as usize).map(Shard::lock)
    }

    /// Tells the ticker of a timer that may come before all that it knows of.
    #[cold]
    fn wake_ticker(&self, tick: u64) {
        let ticker = &self.0.ticker;
        if !ticker.started.swap(true, Ordering::SeqCst) {
            // Where the runtime has shut down, the task is dropped at once, and closes what it was to drive.
            self.0.runtime.spawn(Driver { inner: Arc::clone(&self.0), due: Vec::new() }.run());
        } else if ticker.wakes_at.fetch_min(tick, Ordering::SeqCst) > tick
            && !ticker.awake.load(Ordering::SeqCst)
        {
            ticker.bell.notify_one();
        }
    }
}

impl Inner {
    fn tick(&self) -> u64 {
        nanos(Instant::now().duration_since(self.beginning)) / TICK_NANOS
    }

    /// Ends all timers. Those that would wake somebody do so now: they can see that it was not the time.
    fn close(&self) {
        let mut left = Vec::new();
        for shard in &self.shards {
            let mut state = shard.lock();
            state.closed = true;
            state.wheel.clear(|fire| left.push(fire));
        }
        for fire in left {
            guard(|| match fire {
                Fire::Wake(waker) => waker.wake(),
                fire => drop(fire),
            });
        }
    }
}

impl Shard {
    fn new() -> Self {
        Self(Mutex::new(State { wheel: Wheel::new(), looked_at: NEVER, promised: NEVER, closed: false }))
    }

    /// No code but ours runs under the lock, so a poisoned one holds a sound state.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that fires. It holds the wheels and nothing else: no system, and no actor but for its timers.
struct Driver {
    inner: Arc<Inner>,
    /// What it took out of the wheels and has to fire, the last one first.
    due: Vec<Due<Fire>>,
}

impl Driver {
    async fn run(mut self) {
        let mut fired = 0;
        loop {
            let Some(mut next) = self.look() else { return };
            while let Some(due) = self.due.pop() {
                fire(due.value);
                fired += 1;
                if fired % TURN == 0 {
                    tokio::task::yield_now().await;
                }
                // Firing took time.
                next = 0;
            }
            self.due.shrink_to(KEPT_CAPACITY);
            if next > 0 {
                self.sleep(next).await;
            }
        }
    }

    /// Takes out what is due, and says when the next is; `None` where the timers have ended.
    fn look(&mut self) -> Option<u64> {
        let ticker = &self.inner.ticker;
        #[cfg(test)]
        ticker.passes.fetch_add(1, Ordering::Relaxed);
        ticker.awake.store(true, Ordering::SeqCst);
        ticker.wakes_at.store(NEVER, Ordering::SeqCst);
        let now = self.inner.tick();
        let mut next = NEVER;
        for shard in &self.inner.shards {
            let mut state = shard.lock();
            if state.closed {
                return None;
            }
            state.wheel.advance(now, |due| self.due.push(due));
            state.promise(now);
            next = next.min(state.looked_at);
        }
        wheel::sort(&mut self.due);
        self.due.reverse();
        Some(next)
    }

    /// Sleeps until `next`, or until a timer is armed that is earlier.
    async fn sleep(&self, next: u64) {
        let ticker = &self.inner.ticker;
        ticker.wakes_at.fetch_min(next, Ordering::SeqCst);
        ticker.awake.store(false, Ordering::SeqCst);
        let until = ticker.wakes_at.load(Ordering::SeqCst);
        let now = self.inner.tick();
        if until == NEVER {
            ticker.bell.notified().await;
        } else if until > now {
            let until = Duration::from_millis(until.min(now + LONGEST_SLEEP));
            // Which of the two it was, the wheels tell.
            drop(tokio::time::timeout_at(self.inner.beginning + until, ticker.bell.notified()).await);
        }
    }
}

/// Where the runtime shuts down, or lacks a time driver, those who wait must not wait for ever.
impl Drop for Driver {
    fn drop(&mut self) {
        self.inner.close();
        for due in self.due.drain(..) {
            guard(|| match due.value {
                Fire::Wake(waker) => waker.wake(),
                fire => drop(fire),
            });
        }
    }
}

fn fire(fire: Fire) {
    guard(|| match fire {
        Fire::Wake(waker) => waker.wake(),
        Fire::Due(cell, timer) => cell.timer_due(timer),
        #[cfg(test)]
        Fire::Tell(tell) => tell(),
    });
}

/// Runs code that may be anybody's: a waker's, or that of a message which is dropped with its mailbox. Should it
/// panic, the timers of the others go on.
fn guard(code: impl FnOnce()) {
    quietly(code);
}

/// The number of this thread among those that ever asked for theirs.
#[inline]
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const UNKNOWN: usize = usize::MAX;
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(UNKNOWN) };
    }
    NUMBER.with(|number| {
        if number.get() == UNKNOWN {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed) % UNKNOWN);
        }
        number.get()
    })
}
