//! Asks a child from time to time whether it is well.

use std::error::Error;
use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::contained;
use crate::actor::{Actor, Context, Init};
use crate::actor_ref::ActorRef;
use crate::call::{CallError, Reply};
use crate::cell::{self, AnyCell, Cold};
use crate::exit::ExitReason;
use crate::system::System;

/// As in Kubernetes's probes of containers.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// As in Kubernetes.
const DEFAULT_THRESHOLD: u32 = 3;

/// A question that a child has to answer from time to time, for as long as it runs.
///
/// An option that OTP's `supervisor` lacks. The question is a call like any other: it waits for room in the mailbox
/// and for its turn, so it finds an actor that hangs as well as one that does not keep up. A child that leaves too
/// many unanswered in a row is killed; that counts as a failure, and its exit reason is a [`ProbeFailed`].
///
/// ```
/// use airssys_rt::{Actor, ChildOptions, ChildSpec, Context, ExitReason, Probe, Reply};
/// use std::time::Duration;
///
/// struct Worker;
/// enum Msg { Ping(Reply<()>) }
/// impl Actor for Worker {
///     type Msg = Msg;
///     async fn handle(&mut self, Msg::Ping(reply): Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
///         reply.send(());
///         Ok(())
///     }
/// }
///
/// let probe = Probe::new(Duration::from_secs(10), Msg::Ping).timeout(Duration::from_secs(2)).threshold(2);
/// let spec = ChildSpec::actor_with("worker", ChildOptions { probe: Some(probe), ..Default::default() }, || Worker);
/// # let _ = spec;
/// ```
pub struct Probe<M> {
    every: Duration,
    timeout: Duration,
    threshold: u32,
    question: Box<dyn Fn(Reply<()>) -> M + Send + Sync>,
}

impl<M> Probe<M> {
    /// Asks the question that `question` makes around a reply, `every` so often after the last one was answered or
    /// given up. Three in a row without an answer within a second are a failure.
    pub fn new(every: Duration, question: impl Fn(Reply<()>) -> M + Send + Sync + 'static) -> Self {
        let question = Box::new(question);
        Self { every, timeout: DEFAULT_TIMEOUT, threshold: DEFAULT_THRESHOLD, question }
    }

    /// Sets how long an answer may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many unanswered questions in a row are a failure; at least one.
    pub fn threshold(mut self, misses: u32) -> Self {
        self.threshold = misses.max(1);
        self
    }
}

/// A child did not answer its [`Probe`]. This is the error in its exit reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeFailed {
    /// How many questions in a row it left unanswered.
    pub misses: u32,
}

impl fmt::Display for ProbeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { misses } = self;
        write!(f, "killed: no answer to {misses} health probes in a row")
    }
}

impl Error for ProbeFailed {}

/// The one who asks: an actor of its own, because a supervisor never waits for a child. Dropped, it ends.
pub(super) struct Prober(AnyCell);

impl Prober {
    /// Begins to ask `target`.
    pub(super) fn start<M: Send + 'static>(
        system: &System,
        probe: &Arc<Probe<M>>,
        target: ActorRef<M>,
    ) -> Self {
        let inquiry = Inquiry { probe: Arc::clone(probe), target, misses: 0 };
        // Not an actor of the user's: its life is not told.
        Self(AnyCell::clone(&cell::spawn(system, None, Some(Cold::silent(None)), inquiry)))
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.0.kill();
    }
}

struct Inquiry<M> {
    probe: Arc<Probe<M>>,
    target: ActorRef<M>,
    misses: u32,
}

/// Time to ask.
struct Due;

impl<M: Send + 'static> Actor for Inquiry<M> {
    type Msg = Due;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.send_after(self.probe.every, Due);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, Due: Due, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let mut call = pin!(self.target.call(&self.probe.question, self.probe.timeout));
        // The question is code of the user. One that panics is one without an answer.
        let answer = poll_fn(|task| {
            contained(|| call.as_mut().poll(task)).unwrap_or(Poll::Ready(Err(CallError::Dropped)))
        });
        match answer.await {
            Ok(()) => self.misses = 0,
            // It ended, or was told to: there is nobody to judge.
            Err(CallError::NoProc) => return Err(ExitReason::Normal),
            Err(_) => self.misses += 1,
        }
        if self.misses >= self.probe.threshold {
            self.target.cell().end_with(ProbeFailed { misses: self.misses }.into());
            return Err(ExitReason::Normal);
        }
        cx.send_after(self.probe.every, Due);
        Ok(())
    }
}
