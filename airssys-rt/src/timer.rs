//! Messages that an actor sends to its later self.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::cell::CellRef;

/// An armed timer, as [`Context::send_after`](crate::Context::send_after) made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerRef(u64);

impl TimerRef {
    /// Makes a reference that no other in this program equals.
    fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The timers of one incarnation.
///
/// A timer that is due puts its reference at the end of the mailbox; the message waits here. So it is handled in
/// the order of arrival, it can be cancelled until it is handled, and it never reaches the next incarnation.
pub(crate) struct Timers<M>(BTreeMap<TimerRef, Armed<M>>);

struct Armed<M> {
    message: M,
    clock: AbortHandle,
}

impl<M> Default for Timers<M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<M: Send + 'static> Timers<M> {
    pub(crate) fn arm(
        &mut self,
        runtime: &Handle,
        cell: CellRef<M>,
        delay: Duration,
        message: M,
    ) -> TimerRef {
        let timer = TimerRef::unique();
        let clock = runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            cell.timer_due(timer);
        });
        self.0.insert(timer, Armed { message, clock: clock.abort_handle() });
        timer
    }

    /// Takes the message of a timer that is due; `None` where it was cancelled or belonged to an earlier incarnation.
    pub(crate) fn take(&mut self, timer: TimerRef) -> Option<M> {
        self.0.remove(&timer).map(|armed| armed.message)
    }

    pub(crate) fn cancel(&mut self, timer: TimerRef) -> bool {
        self.0.remove(&timer).inspect(|armed| armed.clock.abort()).is_some()
    }
}

impl<M> Drop for Timers<M> {
    fn drop(&mut self) {
        for armed in self.0.values() {
            armed.clock.abort();
        }
    }
}
