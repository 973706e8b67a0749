//! Who runs a cell, and what it has been told past its mailbox: one word.
//!
//! A cell rests (neither bit), waits in a run queue (`NOTIFIED`), runs (`RUNNING`), or runs and has to run again
//! (both). Whoever takes it from rest to `NOTIFIED` queues it, once; whoever holds `RUNNING` has it for itself.

use super::sync::{AtomicU32, Ordering};

/// Someone runs it, or it has no body to run.
pub(super) const RUNNING: u32 = 1;
/// It has something to look at.
pub(super) const NOTIFIED: u32 = 1 << 1;
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
/// What it does is traced.
pub(super) const TRACE: u32 = 1 << 8;
/// It handles nothing, until it is resumed or told to end.
pub(super) const SUSPEND: u32 = 1 << 9;
/// What it has in hand did not come out of its queue.
pub(super) const ASIDE: u32 = 1 << 10;

/// The orders that end with an incarnation.
pub(super) const ORDERS: u32 = DRAIN | STOP | KILL | TRAP | SUSPEND | ASIDE;

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
        Self(AtomicU32::new(RUNNING))
    }

    pub(super) fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sets `bits` and says that there is something to look at.
    pub(super) fn notify(&self, bits: u32) -> Notified {
        let before = self.0.fetch_or(bits | NOTIFIED, Ordering::AcqRel);
        match before & (RUNNING | NOTIFIED) {
            0 if before & DEAD == 0 => Notified::Queue,
            0 => Notified::QueueDead,
            _ => Notified::Known,
        }
    }

    /// Takes a cell that was queued to run it.
    pub(super) fn begin(&self) -> u32 {
        // Both bits change, and nobody else changes them meanwhile: `NOTIFIED` can only be set, and it is.
        self.0.fetch_xor(RUNNING | NOTIFIED, Ordering::AcqRel) ^ (RUNNING | NOTIFIED)
    }

    /// Takes a resting cell to run it here and now.
    pub(super) fn begin_at_rest(&self) -> bool {
        let state = self.0.load(Ordering::Relaxed);
        state & (RUNNING | NOTIFIED | DEAD | KILL) == 0
            && self.0.compare_exchange(state, state | RUNNING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets go of a cell. True where it has to run again; then it stays `NOTIFIED`, for the caller to queue.
    pub(super) fn end(&self) -> bool {
        self.0.fetch_and(!RUNNING, Ordering::AcqRel) & NOTIFIED != 0
    }

    pub(super) fn set(&self, bits: u32) {
        self.0.fetch_or(bits, Ordering::AcqRel);
    }

    pub(super) fn clear(&self, bits: u32) {
        self.0.fetch_and(!bits, Ordering::AcqRel);
    }
}
