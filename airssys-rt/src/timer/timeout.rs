//! A future with a deadline, on the wheel of a system.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::driver::{Fire, Timers};
use super::wheel::Key;
use crate::cell::Deadline;

/// Says that the time was over first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for `future`, at most until `deadline`; where there is none, for ever.
///
/// What is ready when it is first asked for costs no timer: that comes with the first wait. Without timers, with
/// those of a runtime that may stand still, and when they end before the time is over, one of tokio's own takes over,
/// of the runtime that the caller runs on.
pub(crate) fn until<F>(timers: Option<&Timers>, deadline: Option<Deadline>, future: F) -> Timeout<'_, F> {
    Timeout { timers, state: deadline.map_or(State::Endless, State::New), future }
}

pub(crate) struct Timeout<'a, F> {
    timers: Option<&'a Timers>,
    state: State,
    future: F,
}

enum State {
    Endless,
    New(Deadline),
    Armed(Key, Instant),
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
        let moment = match (&mut self.state, self.timers) {
            (State::Endless, _) => return Poll::Pending,
            (State::Alone(sleep), _) => return sleep.as_mut().poll(task),
            (State::New(deadline), Some(timers)) if timers.are_driven() => {
                let moment = deadline.instant();
                if let Some(key) = timers.arm(timers.at(moment), Fire::Wake(task.waker().clone())) {
                    self.state = State::Armed(key, moment);
                    return Poll::Pending;
                }
                moment
            }
            (State::Armed(key, moment), Some(timers)) => {
                if timers.renew(*key, task.waker()) {
                    return Poll::Pending;
                }
                // It fired, unless all timers have ended.
                if !timers.is_closed() || *moment <= Instant::now() {
                    return Poll::Ready(());
                }
                *moment
            }
            (State::New(deadline), _) => deadline.instant(),
            (State::Armed(_, moment), _) => *moment,
        };
        let mut alone = Box::pin(sleep_until(moment));
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
