//! A stream that an actor fills.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

/// Makes a stream and its other end, with a buffer of at most `capacity` items, at least one.
///
/// The [`Outlet`] is part of an actor's state (or travels to it in a message). The stream ends when it and its clones
/// are dropped: with the actor, at the latest.
pub fn source<T>(capacity: usize) -> (Outlet<T>, Source<T>) {
    let capacity = capacity.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
    let (sender, receiver) = mpsc::channel(capacity);
    (Outlet(sender), Source(receiver))
}

/// Where items are put that come out of a [`Source`].
pub struct Outlet<T>(mpsc::Sender<T>);

/// A stream of what was put into its [`Outlet`], in that order. Dropped, it closes the outlet.
pub struct Source<T>(mpsc::Receiver<T>);

impl<T> Outlet<T> {
    /// Puts an item into the stream, and waits for room where its buffer is full. An actor that does this in its
    /// handler handles nothing else meanwhile; so its mailbox fills, and its senders wait in turn.
    ///
    /// # Errors
    ///
    /// The stream was dropped; the error holds the item.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops the item: it is not in the stream.
    pub async fn emit(&self, item: T) -> Result<(), EmitError<T>> {
        self.0.send(item).await.map_err(|refused| EmitError::Closed(refused.0))
    }

    /// Puts an item into the stream if there is room for it now.
    ///
    /// # Errors
    ///
    /// The buffer is full, or the stream was dropped; the error holds the item.
    pub fn try_emit(&self, item: T) -> Result<(), EmitError<T>> {
        self.0.try_send(item).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(item) => EmitError::Full(item),
            mpsc::error::TrySendError::Closed(item) => EmitError::Closed(item),
        })
    }

    /// Whether the stream was dropped: nobody will see another item.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Source<T> {
    /// Waits for the next item; `None` when the stream has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        self.0.recv().await
    }
}

impl<T> Stream for Source<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(task)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), None)
    }
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Why an item did not get into a stream. Holds it.
pub enum EmitError<T> {
    /// The buffer is full. Try again later, or wait with [`emit`](Outlet::emit).
    Full(T),
    /// The stream was dropped.
    Closed(T),
}

impl<T> fmt::Debug for EmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for EmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the stream's buffer is full",
            Self::Closed(_) => "the stream was dropped",
        })
    }
}

impl<T> Error for EmitError<T> {}
