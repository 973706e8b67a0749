//! An actor as a sink.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use crate::actor_ref::{ActorRef, SendError};

/// An actor as a [`Sink`]: each item is a [`cast`](ActorRef::cast).
///
/// It is ready while the mailbox has taken what was given to it; one item at most waits here for room. Flushing waits
/// until it is in the mailbox, not until it is handled. Closing flushes; the actor goes on. Dropped, it drops the item
/// that waits. Its clones wait in line beside each other.
pub struct ActorSink<M> {
    actor: ActorRef<M>,
    /// The item that waits for room.
    waiting: Option<Cast<M>>,
}

type Cast<M> = Pin<Box<dyn Future<Output = Result<(), SendError<M>>> + Send>>;

impl<M: Send + 'static> ActorRef<M> {
    /// This actor as a sink for messages, with the backpressure of its mailbox.
    pub fn sink(&self) -> ActorSink<M> {
        ActorSink { actor: self.clone(), waiting: None }
    }
}

impl<M: Send + 'static> Sink<M> for ActorSink<M> {
    /// The actor takes no messages; holds the one that did not reach it, where it was on its way.
    type Error = SendError<M>;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(task)
    }

    fn start_send(mut self: Pin<&mut Self>, message: M) -> Result<(), Self::Error> {
        if let Some(earlier) = self.waiting.take() {
            // Whoever did not ask whether it is ready gets no backpressure, but loses nothing and keeps the order.
            let actor = self.actor.clone();
            self.waiting = Some(Box::pin(async move {
                earlier.await?;
                actor.cast(message).await
            }));
            return Ok(());
        }
        match self.actor.try_cast(message) {
            Ok(()) => Ok(()),
            Err(SendError::NoProc(message)) => Err(SendError::NoProc(message)),
            Err(SendError::Full(message)) => {
                let actor = self.actor.clone();
                self.waiting = Some(Box::pin(async move { actor.cast(message).await }));
                Ok(())
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let Some(cast) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let sent = ready!(cast.as_mut().poll(task));
        self.waiting = None;
        Poll::Ready(sent)
    }

    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(task)
    }
}

impl<M: Send + 'static> Clone for ActorSink<M> {
    fn clone(&self) -> Self {
        self.actor.sink()
    }
}

impl<M> fmt::Debug for ActorSink<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorSink({:?})", self.actor)
    }
}
