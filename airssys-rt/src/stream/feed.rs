//! The task that carries a stream's items to an actor.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{self, Poll, Waker};

use futures_core::Stream;
use tokio::task::{AbortHandle, coop};

use super::StreamEnd;
use crate::actor::{Actor, Context};
use crate::actor_ref::ActorRef;
use crate::exit::ExitReason;

pub(super) fn start<A: Actor, S: Stream + Send + 'static>(
    cx: &Context<A>,
    stream: S,
    on_item: impl FnMut(S::Item) -> A::Msg + Send + 'static,
    on_end: impl FnOnce(StreamEnd) -> Option<A::Msg> + Send + 'static,
) -> AbortHandle {
    let actor = cx.actor_ref();
    let mut gone = Box::pin(async move { actor.exited().await });
    // Asked for the first time here, where this incarnation is sure to run: later it could be the next one's end.
    let is_gone = gone.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_ready();
    let actor = cx.actor_ref();
    let task = cx.system().runtime().spawn(async move {
        if is_gone {
            return;
        }
        let mut fed = pin!(feed(actor, stream, on_item, on_end));
        poll_fn(|task| match gone.as_mut().poll(task) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => fed.as_mut().poll(task),
        })
        .await;
    });
    task.abort_handle()
}

async fn feed<M: Send + 'static, S: Stream>(
    actor: ActorRef<M>,
    stream: S,
    mut on_item: impl FnMut(S::Item) -> M,
    on_end: impl FnOnce(StreamEnd) -> Option<M>,
) {
    let mut stream = pin!(stream);
    let end = loop {
        let next = poll_fn(|task| {
            // A stream that has panicked is not looked at again, only dropped.
            catch_unwind(AssertUnwindSafe(|| {
                stream.as_mut().poll_next(task).map(|item| item.map(&mut on_item).ok_or(StreamEnd::Finished))
            }))
            .unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
        });
        match next.await {
            Ok(message) => {
                if actor.cast(message).await.is_err() {
                    return;
                }
            }
            Err(end) => break end,
        }
        // A stream that is always ready and a mailbox that is never full would hold the thread for ever.
        coop::consume_budget().await;
    };
    if let Some(message) = on_end(end) {
        // Whom it does not reach has ended.
        drop(actor.cast(message).await);
    }
}

fn panicked(payload: Box<dyn std::any::Any + Send>) -> StreamEnd {
    match ExitReason::from_panic(payload) {
        ExitReason::Panic(message) => StreamEnd::Panicked(message),
        other => StreamEnd::Panicked(other.to_string().into()),
    }
}
