//! The reading end of a mailbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use super::shared::{Door, Entry, Shared};

/// What an emptied queue may keep of its memory: a burst is not paid for ever.
const KEPT_CAPACITY: usize = 1024;

/// The reading end of a mailbox. Dropped, it gives back what it has not handled, in order.
pub(crate) struct Receiver<M> {
    shared: Arc<Shared<M>>,
    /// What the last swap brought.
    batch: VecDeque<Entry<M>>,
}

impl<M> Receiver<M> {
    pub(super) fn take(shared: &Arc<Shared<M>>) -> Option<Self> {
        let mut state = shared.lock();
        if std::mem::replace(&mut state.has_reader, true) {
            return None;
        }
        if state.door == Door::Draining {
            state.door = Door::Open;
        }
        drop(state);
        Some(Self::over(shared))
    }

    /// Makes the reading end of a mailbox that nobody else knows yet.
    pub(super) fn of_new(shared: &Arc<Shared<M>>) -> Self {
        shared.lock().has_reader = true;
        Self::over(shared)
    }

    fn over(shared: &Arc<Shared<M>>) -> Self {
        Self { shared: Arc::clone(shared), batch: VecDeque::new() }
    }

    /// Takes the next entry; `None` when the mailbox is drained.
    pub(crate) fn poll_next(&mut self, waker: &Waker) -> Poll<Option<Entry<M>>> {
        let entry = match self.batch.pop_front() {
            Some(entry) => entry,
            None => match self.refill(waker) {
                Poll::Ready(Some(entry)) => entry,
                other => return other,
            },
        };
        if self.shared.is_bounded() {
            self.shared.in_hand.store(self.batch.len(), Ordering::SeqCst);
            self.shared.grant();
        } else {
            self.shared.in_hand.store(self.batch.len(), Ordering::Relaxed);
        }
        Poll::Ready(Some(entry))
    }

    /// Swaps the empty batch for the queue and takes its first entry.
    fn refill(&mut self, waker: &Waker) -> Poll<Option<Entry<M>>> {
        let mut state = self.shared.lock();
        if state.queue.is_empty() {
            if state.door != Door::Open {
                return Poll::Ready(None);
            }
            state.reader = Some(waker.clone());
            drop(state);
            self.batch.shrink_to(KEPT_CAPACITY);
            return Poll::Pending;
        }
        std::mem::swap(&mut state.queue, &mut self.batch);
        state.batch = self.batch.len();
        self.shared.in_hand.store(state.batch, Ordering::SeqCst);
        drop(state);
        Poll::Ready(self.batch.pop_front())
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        self.batch.append(&mut state.queue);
        std::mem::swap(&mut state.queue, &mut self.batch);
        state.batch = 0;
        self.shared.in_hand.store(0, Ordering::SeqCst);
        state.reader = None;
        state.has_reader = false;
    }
}
