//! Who runs a cell, and what it has been told past its mailbox: one word.
//!
//! A cell rests, or it is `SCHEDULED`: it waits in a run queue or runs. Whoever takes it from rest to `SCHEDULED`
//! queues it, once; whoever has queued it, or took it out of the queue, has it for itself until it lets go. Who finds
//! it `SCHEDULED` asks for another run, `AGAIN`: it may have been looked at already.

use super::sync::{AtomicU32, Ordering};

/// It is queued or runs, or it has no body to run.
pub(super) const SCHEDULED: u32 = 1;
/// There is something to look at that may have been missed.
pub(super) const AGAIN: u32 = 1 << 1;
/// It has ended for good. Late messages are dropped.
pub(super) const DEAD: u32 = 1 << 2;
/// Handle what is queued, then stop.
pub(super) const DRAIN: u32 = 1 << 3;
/// Stop after the message in hand.
pub(super) const STOP: u32 = 1 << 4;
/// Stop at the next `.await`.
pub(super) const KILL: u32 = 1 << 5;
/// There is something in its system lane.
pub(super) const LANE: u32 = 1 << 6;
/// Exit signals become messages.
pub(super) const TRAP: u32 = 1 << 7;
/// A caller runs it on its own stack, and so has it but for a moment.
pub(super) const VISITED: u32 = 1 << 8;
/// What it is ordered to end for is `ExitReason::Normal`.
pub(super) const NORMAL: u32 = 1 << 9;
/// What it does is traced.
pub(super) const TRACE: u32 = 1 << 10;
/// It handles nothing, until it is resumed or told to end.
pub(super) const SUSPEND: u32 = 1 << 11;
/// What it has in hand did not come out of its queue.
pub(super) const ASIDE: u32 = 1 << 12;

/// The orders that end with an incarnation.
pub(super) const ORDERS: u32 = DRAIN | STOP | KILL | TRAP | NORMAL | SUSPEND | ASIDE;

pub(super) struct State(AtomicU32);

/// What to do after a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notified {
    /// Nothing: whoever runs it, or has queued it, will see.
    Known,
    /// Queue it.
    Queue,
    /// Queue it, with a reference: it has none of its own any more.
    QueueDead,
}

impl State {
    /// A cell without a body: it belongs to whoever installs one.
    pub(super) fn vacant() -> Self {
        Self(AtomicU32::new(SCHEDULED))
    }

    pub(super) fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sets `bits` and says that there is something to look at.
    pub(super) fn notify(&self, bits: u32) -> Notified {
        loop {
            let before = self.0.fetch_or(bits | SCHEDULED, Ordering::AcqRel);
            if before & SCHEDULED == 0 {
                return if before & DEAD == 0 { Notified::Queue } else { Notified::QueueDead };
            }
            if before & AGAIN != 0 || self.0.fetch_or(AGAIN, Ordering::AcqRel) & SCHEDULED != 0 {
                return Notified::Known;
            }
            // Whoever had it let go in between.
        }
    }

    /// As [`notify`](Self::notify), for whoever has the cell.
    pub(super) fn again(&self) {
        self.0.fetch_or(AGAIN, Ordering::AcqRel);
    }

    /// What the run queue does for whoever puts a cell into it and whoever takes it out: the one sees what the other
    /// did. loom does not see the queue, so its models have this instead.
    pub(super) fn hand_over(&self) {
        if cfg!(airssys_loom) {
            self.0.fetch_or(0, Ordering::AcqRel);
        }
    }

    /// As [`notify`](Self::notify), for a caller who runs a resting cell instead of queueing it.
    pub(super) fn visit(&self) -> Notified {
        let state = self.0.load(Ordering::Relaxed);
        let mine = state | SCHEDULED | VISITED;
        if state & (SCHEDULED | AGAIN | DEAD) == 0
            && self.0.compare_exchange(state, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            return Notified::Queue;
        }
        let notified = self.notify(0);
        if notified == Notified::Queue {
            self.set(VISITED);
        }
        notified
    }

    /// Whether a caller runs it now.
    pub(super) fn is_visited(&self) -> bool {
        self.0.load(Ordering::Relaxed) & VISITED != 0
    }

    /// Lets go of a cell. True where it has to run again; then the caller still has it, to queue it.
    pub(super) fn end(&self) -> bool {
        let mut state = self.0.load(Ordering::Relaxed);
        while state & AGAIN == 0 {
            let rest = state & !(SCHEDULED | VISITED);
            match self.0.compare_exchange_weak(state, rest, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return false,
                Err(now) => state = now,
            }
        }
        self.0.fetch_and(!AGAIN, Ordering::AcqRel);
        true
    }

    pub(super) fn set(&self, bits: u32) {
        self.0.fetch_or(bits, Ordering::AcqRel);
    }

    /// Clears `former` and sets `bits`, at once.
    pub(super) fn replace(&self, former: u32, bits: u32) {
        let replace = |state: u32| Some((state & !former) | bits);
        let _always_some = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, replace);
    }

    pub(super) fn clear(&self, bits: u32) {
        self.0.fetch_and(!bits, Ordering::AcqRel);
    }
}
