//! Notices turns that do not end. Drainers leave a mark at each turn; a thread of its own looks at the marks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::actor_ref::ActorId;
use crate::cell;

/// How long a turn may last where nobody chose.
pub(crate) const DEFAULT_LIMIT: Duration = Duration::from_millis(100);

/// How often the marks are looked at within the limit: what is reported is late by one look at most.
const LOOKS: u32 = 4;

/// The shortest time between two looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// What one drainer tells of itself; it alone writes. Two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
pub(super) struct Mark {
    /// Odd within a turn, and another number at each.
    turn: AtomicU64,
    actor: AtomicU64,
    parked: AtomicBool,
}

/// The marks of a scheduler, and the thread that looks at them. It has nothing else, so it keeps nothing alive.
pub(super) struct Watch {
    marks: Vec<Arc<Mark>>,
    thread: OnceLock<Thread>,
    /// The thread sleeps until it is called, because all drainers are parked.
    ///
    /// INVARIANT: a drainer takes its `parked` back and then looks here; the thread sets this and then looks whether
    /// all are parked; with a fence between, on both sides. So one of them sees the other.
    dozes: AtomicBool,
    closed: AtomicBool,
}

impl Mark {
    fn new() -> Self {
        Self { turn: AtomicU64::new(0), actor: AtomicU64::new(0), parked: AtomicBool::new(false) }
    }

    /// A turn of this actor begins.
    #[inline]
    pub(super) fn begin(&self, actor: ActorId) {
        self.actor.store(actor.to_bits(), Ordering::Relaxed);
        let turn = self.turn.load(Ordering::Relaxed);
        // Whoever sees this sees whose turn it is.
        self.turn.store((turn | 1).wrapping_add(2), Ordering::Release);
    }

    /// The drainer lets others run.
    pub(super) fn rest(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store((turn | 1).wrapping_add(1), Ordering::Release);
    }

    fn is_at(&self, actor: ActorId) -> bool {
        let in_turn = self.turn.load(Ordering::Acquire) % 2 == 1;
        in_turn && self.actor.load(Ordering::Relaxed) == actor.to_bits()
    }

    pub(super) fn park(&self) {
        self.parked.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    /// Makes the marks of so many drainers, and starts to look at them where there is a limit.
    pub(super) fn start(drainers: usize, limit: Option<Duration>) -> Arc<Self> {
        let watch = Arc::new(Self {
            marks: (0..drainers).map(|_| Arc::new(Mark::new())).collect(),
            thread: OnceLock::new(),
            dozes: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        if let Some(limit) = limit {
            let watched = Arc::clone(&watch);
            let look = move || watched.look_on(limit);
            // Where there are no more threads, there is no watchdog either; all else works.
            if let Ok(handle) = thread::Builder::new().name("actor-watchdog".to_owned()).spawn(look) {
                watch.thread.get_or_init(|| handle.thread().clone());
            }
        }
        watch
    }

    pub(super) fn mark(&self, drainer: usize) -> Arc<Mark> {
        self.marks.get(drainer).map_or_else(|| Arc::new(Mark::new()), Arc::clone)
    }

    pub(super) fn runs(&self, actor: ActorId) -> bool {
        self.marks.iter().any(|mark| mark.is_at(actor))
    }

    /// A drainer that was parked is not any more.
    pub(super) fn unpark(&self, mark: &Mark) {
        mark.parked.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.dozes.load(Ordering::Relaxed) && self.dozes.swap(false, Ordering::Relaxed) {
            self.call();
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.call();
    }

    fn call(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn all_parked(&self) -> bool {
        self.marks.iter().all(|mark| mark.parked.load(Ordering::Relaxed))
    }

    fn look_on(&self, limit: Duration) {
        // `call` finds nobody before it is known who this is.
        self.thread.get_or_init(thread::current);
        let period = (limit / LOOKS).max(SHORTEST_LOOK);
        let mut seen: Vec<Seen> = self.marks.iter().map(|_| Seen::default()).collect();
        while !self.is_closed() {
            self.dozes.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if self.all_parked() {
                // A wake-up that comes for nothing leads back here.
                if !self.is_closed() {
                    thread::park();
                }
                continue;
            }
            self.dozes.store(false, Ordering::Relaxed);
            thread::park_timeout(period);
            let now = Instant::now();
            for (mark, seen) in self.marks.iter().zip(&mut seen) {
                if let Some((actor, elapsed)) = seen.look(mark, now, limit) {
                    report(actor, elapsed);
                }
            }
        }
    }
}

fn report(actor: ActorId, elapsed: Duration) {
    // What is dropped here may be the last of the actor, and run code of its messages.
    let report = || {
        if let Some(cell) = cell::find(actor) {
            cell.is_blocked(elapsed);
        }
    };
    drop(catch_unwind(AssertUnwindSafe(report)));
}

/// What the thread has seen of a mark.
#[derive(Default)]
struct Seen {
    turn: u64,
    /// When it saw this turn first; none where it is none.
    since: Option<Instant>,
    /// How long it may last until it is told of, for the first time or again.
    due: Duration,
}

impl Seen {
    /// Who is in a turn for longer than the limit, and for how long; and again when it has lasted twice as long.
    fn look(&mut self, mark: &Mark, now: Instant, limit: Duration) -> Option<(ActorId, Duration)> {
        let turn = mark.turn.load(Ordering::Acquire);
        if turn != self.turn {
            self.turn = turn;
            self.since = (turn % 2 == 1).then_some(now);
            self.due = limit;
            return None;
        }
        let elapsed = now.saturating_duration_since(self.since?);
        if elapsed < self.due {
            return None;
        }
        let actor = ActorId::from_bits(mark.actor.load(Ordering::Relaxed));
        // It has not been overwritten for another turn meanwhile.
        fence(Ordering::Acquire);
        if mark.turn.load(Ordering::Relaxed) != turn {
            return None;
        }
        self.due = elapsed.saturating_mul(2);
        Some((actor, elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[test]
    fn a_turn_is_told_of_when_it_lasts_too_long() {
        let (mark, mut seen, start) = (Mark::new(), Seen::default(), Instant::now());
        let mut look = |mark: &Mark, ms| seen.look(mark, start + Duration::from_millis(ms), LIMIT);
        assert_eq!(look(&mark, 0), None, "it rests");
        let (first, second) = (ActorId::new(1, 0), ActorId::new(2, 0));
        mark.begin(first);
        assert_eq!((look(&mark, 500), look(&mark, 599)), (None, None), "known since 500");
        assert_eq!(look(&mark, 600), Some((first, LIMIT)));
        assert_eq!(look(&mark, 699), None, "it was told of");
        assert_eq!(look(&mark, 700), Some((first, 2 * LIMIT)), "twice as long");
        assert_eq!(look(&mark, 899), None);
        mark.begin(second);
        assert_eq!(
            (look(&mark, 901), look(&mark, 1_002)),
            (None, Some((second, LIMIT + Duration::from_millis(1))))
        );
        mark.rest();
        assert_eq!((look(&mark, 1_003), look(&mark, 9_000)), (None, None), "it rests");
        mark.begin(second);
        mark.begin(second);
        assert_eq!((look(&mark, 9_001), look(&mark, 9_050)), (None, None));
        mark.begin(second);
        assert_eq!((look(&mark, 9_110), look(&mark, 9_200)), (None, None), "another turn of the same");
    }
}
