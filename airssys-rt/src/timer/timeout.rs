//! A future with a deadline, on the wheel of a system.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::driver::{Deadline, Fire, Timers};
use super::wheel::Key;

/// Says that the time was over first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for `future`, at most for `limit`.
///
/// What is ready when it is first asked for costs neither a look at the clock nor a timer: both come with the first
/// wait, and the time counts from there. Without timers, with those of a runtime that may stand still, and when they
/// end before the time is over, one of tokio's own takes over, of the runtime that the caller runs on.
pub(crate) fn timeout<F>(timers: Option<&Timers>, limit: Duration, future: F) -> Timeout<'_, F> {
    Timeout { timers, state: State::New(limit), future }
}

pub(crate) struct Timeout<'a, F> {
    timers: Option<&'a Timers>,
    state: State,
    future: F,
}

enum State {
    New(Duration),
    Armed(Key, Deadline),
    /// Boxed, because it is rare and must not make every call larger.
    Alone(Pin<Box<Sleep>>),
}

impl<F: Future + Unpin> Future for Timeout<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(task) {
            return Poll::Ready(Ok(output));
        }
        ready!(self.poll_time(task));
        Poll::Ready(Err(Elapsed))
    }
}

impl<F> Timeout<'_, F> {
    fn poll_time(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let left = match (&mut self.state, self.timers) {
            (State::Alone(sleep), _) => return sleep.as_mut().poll(task),
            (State::New(limit), _) if limit.is_zero() => return Poll::Ready(()),
            (State::New(limit), Some(timers)) if timers.are_driven() => {
                let at = timers.now().after(*limit);
                if let Some(key) = timers.arm(at, Fire::Wake(task.waker().clone())) {
                    self.state = State::Armed(key, at);
                    return Poll::Pending;
                }
                *limit
            }
            (State::Armed(key, at), Some(timers)) => {
                if timers.renew(*key, task.waker()) {
                    return Poll::Pending;
                }
                // It fired, unless all timers have ended.
                let left = at.since(timers.now());
                if left.is_zero() || !timers.is_closed() {
                    return Poll::Ready(());
                }
                left
            }
            (State::New(limit), _) => *limit,
            (State::Armed(..), None) => return Poll::Ready(()),
        };
        let mut alone = Box::pin(sleep(left));
        let poll = alone.as_mut().poll(task);
        self.state = State::Alone(alone);
        poll
    }
}

impl<F> Drop for Timeout<'_, F> {
    fn drop(&mut self) {
        if let (State::Armed(key, _), Some(timers)) = (&self.state, self.timers) {
            timers.cancel(*key);
        }
    }
}
