//! Many tasks, a few at a time.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::Task;
use crate::exit::ExitReason;
use crate::system::System;

/// Maps `items` by `work`, each in a [`Task`] of its own, at most `limit` (at least one) at a time: Elixir's
/// `Task.async_stream`.
///
/// Nothing is started before the first result is asked for. The results come in the order of the items; those that
/// are there and not yet taken count against the limit, so a slow consumer slows the work down and nothing piles up.
/// Work that ends without a result, by a panic, is an error in its place and touches no other.
pub fn map<I, F, W>(system: &System, items: I, limit: usize, work: F) -> Map<I::IntoIter, F, W::Output>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> W,
    W: Future + Send + 'static,
    W::Output: Send + 'static,
{
    let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
    Map { system: system.clone(), items: Some(items.into_iter()), limit, work, tasks: VecDeque::new() }
}

/// The results of [`map`], as they come. Dropped, it kills what still runs.
#[must_use = "it starts nothing by itself"]
pub struct Map<I, F, T> {
    system: System,
    /// `None` when there are no more.
    items: Option<I>,
    limit: NonZeroUsize,
    work: F,
    /// What was started, in the order of the items.
    tasks: VecDeque<Task<T>>,
}

impl<I, F, W> Map<I, F, W::Output>
where
    I: Iterator,
    F: FnMut(I::Item) -> W,
    W: Future + Send + 'static,
    W::Output: Send + 'static,
{
    /// Waits for the next result; `None` when all items are done.
    ///
    /// # Errors
    ///
    /// Inside: why the task of this item ended without a result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; the tasks run on.
    pub async fn next(&mut self) -> Option<Result<W::Output, ExitReason>> {
        poll_fn(|task| self.poll_next(task)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<W::Output, ExitReason>>> {
        while self.tasks.len() < self.limit.get()
            && let Some(items) = &mut self.items
        {
            match items.next() {
                Some(item) => self.tasks.push_back(self.system.task((self.work)(item))),
                None => self.items = None,
            }
        }
        let Some(first) = self.tasks.front_mut() else { return Poll::Ready(None) };
        let outcome = ready!(Pin::new(first).poll(task));
        self.tasks.pop_front();
        Poll::Ready(Some(outcome))
    }
}

/// As [`next`](Map::next).
#[cfg(feature = "stream")]
impl<I, F, W> futures_core::Stream for Map<I, F, W::Output>
where
    I: Iterator + Unpin,
    F: FnMut(I::Item) -> W + Unpin,
    W: Future + Send + 'static,
    W::Output: Send + 'static,
{
    type Item = Result<W::Output, ExitReason>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Map::poll_next(self.get_mut(), task)
    }
}
