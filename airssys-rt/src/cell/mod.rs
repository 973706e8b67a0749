//! The cell of an actor, and how it runs: the only unsafe code of the crate.
//!
//! A cell is one allocation with a mailbox, a few words of state and the future that is the actor. A message is
//! pushed without a lock; who pushes to a sleeping cell queues it, and a drainer (see `scheduler`) or a caller runs
//! it for a turn: it polls the future, which takes messages out until there are none or the turn is over.
//!
//! * `arena`, `queue`: memory of messages, and the queue of them. `crowd`: when senders get in each other's way.
//! * `state`: who runs a cell, and what it has been told past its mailbox.
//! * `core`: the allocation itself and references to it. `waker`: references that futures keep.
//! * `reply`: the place of the answer to a call.
//! * `table`: which actors there are.
//! * `run`: a turn, and the end. `life`: the future of an actor.
//! * `send`, `cold`: what others do to a cell: messages, signals, monitors, links. `inspect`: what they see of it.
//!
//! What each message passes through, from its sender's call to its handler, is inlined whatever the compiler thinks: it
//! would have the message moved from function to function, and a move that is read in larger pieces than it was written
//! in takes as long as all the rest of the function.
//!
//! INVARIANT: whoever sets `SCHEDULED` in a resting cell owns the one [`Runnable`] of it, until it is run; whoever has
//! set `SCHEDULED` owns the runner's part of the cell (its body, the reading end of its queue, its `Cell`s), until it
//! clears it. A vacant cell belongs to whoever has taken its mailbox.
#![expect(unsafe_code, reason = "one allocation for mailbox, state and future: see ADR 0007")]

#[cfg_attr(airssys_loom, allow(dead_code, reason = "loom watches nodes in memory of their own"))]
mod arena;
mod cold;
mod core;
mod crowd;
mod inspect;
mod life;
mod queue;
mod reply;
mod run;
mod send;
mod state;
mod sync;
mod table;
mod waker;

#[cfg(all(test, airssys_loom))]
mod models;

use std::num::{NonZeroI64, NonZeroU8};
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use arena::settle;
pub(crate) use cold::Cold;
pub(crate) use core::{AnyCell, CellRef, Lent, Loan, Own, lend_system};
pub(crate) use life::{make, spawn, spawn_by, spawn_on};
#[cfg(all(test, airssys_loom))]
pub(crate) use models::explore;
pub(crate) use reply::{Answer, Answerer, channel};
pub(crate) use run::{QUICK, Runnable, current, deadline};
pub(crate) use send::Refused;
pub(crate) use sync::{AtomicU32, Mutex, MutexGuard, Ordering, fence};
#[cfg(feature = "testing")]
pub(crate) use table::Births;
pub(crate) use table::{find, page};

use crate::actor::Info;
use crate::exit::ExitReason;
use crate::timer::TimerRef;
use sync::AtomicU8;

/// How many entries an actor handles before it lets others run on its thread.
const TURN: u8 = 64;

/// One thing in the queue of a cell.
pub(crate) enum Entry<M> {
    /// A message, and until when its sender is interested in it.
    Message(M, Option<Deadline>),
    /// A message that is of no use after some time. Boxed, because its second deadline must not make every entry
    /// larger.
    Perishable(Box<Perishable<M>>),
    /// A timer of the actor is due.
    Timer(TimerRef),
    /// The runtime has something to say. Boxed, because it is rare and must not make every entry larger.
    Info(Box<Info>),
}

impl<M> From<Own> for Entry<M> {
    fn from(own: Own) -> Self {
        match own {
            Own::Timer(timer) => Self::Timer(timer),
            Own::Info(info) => Self::Info(info),
        }
    }
}

/// A message that is of no use after some time.
pub(crate) struct Perishable<M> {
    message: M,
    until: Option<Deadline>,
    expires: Deadline,
}

impl<M> Entry<M> {
    /// A message, with the time when it is of no use any more, where there is one.
    fn message(message: M, until: Option<Deadline>, expires: Option<Deadline>) -> Self {
        match expires {
            None => Self::Message(message, until),
            Some(expires) => Self::Perishable(Box::new(Perishable { message, until, expires })),
        }
    }

    /// What was sent; none where it is the runtime's own.
    fn into_message(self) -> Option<M> {
        match self {
            Self::Message(message, _) => Some(message),
            Self::Perishable(perishable) => Some(perishable.message),
            Self::Timer(_) | Self::Info(_) => None,
        }
    }

    /// Whether somebody sent it, and not the runtime.
    fn is_message(&self) -> bool {
        matches!(self, Self::Message(..) | Self::Perishable(_))
    }
}

/// Whether messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Door {
    Open,
    /// No new messages: the actor handles what is queued and stops. Opens again with the next incarnation.
    Draining,
    /// For ever.
    Closed,
}

/// How far an incarnation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Starting,
    Up,
    Ignored,
    /// It was up, and says good-bye.
    Ending,
}

/// A stage that the runner sets and others may look at.
pub(crate) struct StageCell(AtomicU8);

impl StageCell {
    fn new(stage: Stage) -> Self {
        Self(AtomicU8::new(stage as u8))
    }

    fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    fn get(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Up,
            2 => Stage::Ignored,
            _ => Stage::Ending,
        }
    }
}

/// What becomes of an incarnation, for its supervisor: `Up` and later `Exited`, or only one of the others.
pub(crate) enum Outcome {
    Up,
    Ignored,
    InitFailed(ExitReason),
    Exited(ExitReason),
}

/// Takes the outcomes of one incarnation.
pub(crate) type Notify = Box<dyn FnMut(Outcome) + Send>;

/// A moment in the future of a message, in the space of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(NonZeroI64);

impl Deadline {
    /// So far from now, as exact as a nanosecond; `None` where that is more than 292 years.
    pub(crate) fn after(time: Duration) -> Option<Self> {
        let nanos = now().checked_add(i64::try_from(time.as_nanos()).ok()?)?;
        // Zero itself is one nanosecond early: what has no time left has none.
        Some(Self(NonZeroI64::new(nanos).unwrap_or(-NonZeroI64::from(NonZeroU8::MIN))))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0.get() <= now()
    }

    pub(crate) fn instant(self) -> Instant {
        let distance = Duration::from_nanos(self.0.get().unsigned_abs());
        let moment =
            if self.0.get() > 0 { zero().checked_add(distance) } else { zero().checked_sub(distance) };
        moment.unwrap_or_else(zero)
    }
}

/// So many nanoseconds after [`zero`], or before it.
fn now() -> i64 {
    let (zero, now) = (zero(), Instant::now());
    let nanos = |distance: Duration| i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX);
    now.checked_duration_since(zero).map_or_else(|| -nanos(zero - now), nanos)
}

/// The moment that deadlines are counted from: any, as long as it stays.
fn zero() -> Instant {
    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ZERO.get_or_init(Instant::now)
}
