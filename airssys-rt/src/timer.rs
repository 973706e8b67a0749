//! Messages that an actor sends to its later self, and deadlines: all on the wheels of the system.
//!
//! `wheel` decides what is due; `driver` waits and fires; `own` holds the messages of an incarnation; `timeout` is
//! what a call waits with.

mod driver;
mod own;
mod timeout;
mod wheel;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use driver::{Owner, Timers, thread_number};
pub(crate) use own::{Clockwork, Own, Ring};
pub(crate) use timeout::until;

/// The shortest period of an interval: a tick of the wheel, which could not tell shorter ones apart.
const SHORTEST_PERIOD: Duration = Duration::from_nanos(wheel::TICK_NANOS);

/// An armed timer, as [`Context::send_after`](crate::Context::send_after) or
/// [`Context::send_interval`](crate::Context::send_interval) made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerRef(u64);

impl TimerRef {
    /// Makes a reference that no other in this program equals.
    fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
