//! The actor that a task is.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Task;
use crate::actor::{Actor, Context, Info, Init};
use crate::actor_ref::ActorRef;
use crate::cell::{self, AnyCell, Cold, Outcome};
use crate::exit::ExitReason;
use crate::system::System;

/// Does one piece of work and ends; `done` says how.
struct Job<F, D> {
    work: Option<(F, D)>,
}

/// Starts a task outside of any supervision tree.
pub(super) fn start<T: Send + 'static>(
    system: &System,
    owner: Option<&AnyCell>,
    work: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    let (tell, outcome) = oneshot::channel();
    let result = Arc::new(Mutex::new(None));
    let done = {
        let result = Arc::clone(&result);
        move |value| {
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            ExitReason::Normal
        }
    };
    let mut tell = Some(tell);
    let notify = move |outcome| {
        let (Outcome::Exited(reason) | Outcome::InitFailed(reason)) = outcome else { return };
        let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tell) = tell.take() {
            // Whoever does not wait any more has said so.
            drop(tell.send(result.ok_or(reason)));
        }
    };
    let cold = match owner {
        Some(owner) => Cold::linked(None, Some(Box::new(notify)), owner),
        None => Cold::named(None, Some(Box::new(notify))),
    };
    let job = |task: ActorRef<Infallible>| {
        if let Some(owner) = owner {
            owner.add_link(task.cell());
        }
        Job { work: Some((work, done)) }
    };
    // Nobody can send it anything, so its mailbox needs no bound.
    let actor = ActorRef::new(cell::spawn_by(system, None, |_| Some(cold), job));
    Task { actor, owner: owner.cloned(), is_detached: false, outcome }
}

/// Makes a task that a supervisor starts.
pub(super) fn supervised(
    work: impl Future<Output = Result<(), ExitReason>> + Send + 'static,
) -> impl Actor<Msg = Infallible> {
    Job { work: Some((work, |result: Result<(), ExitReason>| result.err().unwrap_or(ExitReason::Normal))) }
}

impl<T, F, D> Actor for Job<F, D>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    D: FnOnce(T) -> ExitReason + Send + 'static,
{
    type Msg = Infallible;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.continue_next();
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: Infallible, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {}
    }

    async fn handle_info(&mut self, _: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let Some((work, done)) = self.work.take() else { return Err(ExitReason::Normal) };
        let mut work = pin!(work);
        let finished = poll_fn(|task| {
            // It traps no exits: an order to stop ends it where it is.
            if cx.is_told_to_stop() {
                return std::task::Poll::Ready(None);
            }
            work.as_mut().poll(task).map(Some)
        });
        Err(finished.await.map_or(ExitReason::Shutdown, done))
    }
}
