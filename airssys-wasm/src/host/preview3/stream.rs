//! Streams of the component model over the things that streams of `wasi:io` are over: a [`Source`] or a listing is read, a
//! [`Drain`] is written to, and a future tells how it ended.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::{
    Result, StoreContextMut,
    component::{Destination, Source as Written, StreamConsumer, StreamProducer, StreamResult, WriteBuffer},
};

use super::super::stream::{CHUNK_BYTES, Drain, Source};
use crate::instance::State;

type Pending<T, R> = Pin<Box<dyn Future<Output = (T, Result<R>)> + Send>>;

/// Something that gives items, some at a time.
pub(super) trait Produce: Sized + Send + Unpin + 'static {
    type Item: Send + Sync + 'static;
    type Buffer: WriteBuffer<Self::Item> + Default;

    /// At most `max` items. None is the end.
    fn next(self, max: usize) -> impl Future<Output = (Self, Result<Option<Self::Buffer>>)> + Send;
}

/// A [`Source`] as items that are bytes.
pub(super) struct Bytewise<S>(pub(super) S);

impl<S: Source + Unpin> Produce for Bytewise<S> {
    type Item = u8;
    type Buffer = Bytes;

    async fn next(self, max: usize) -> (Self, Result<Option<Bytes>>) {
        let (source, read) = self.0.read(max.clamp(1, CHUNK_BYTES)).await;
        (Self(source), read.map(|bytes| (!bytes.is_empty()).then_some(bytes)))
    }
}

/// How a stream ended, for the future beside it: well, unless something else is told before it goes.
pub(super) struct Outcome<C> {
    told: Option<oneshot::Sender<std::result::Result<(), C>>>,
    /// An error as a code for the guest. One that has none ends the guest.
    code: fn(wasmtime::Error) -> Result<C>,
}

/// An outcome, and what waits for it.
pub(super) fn outcome<C>(
    code: fn(wasmtime::Error) -> Result<C>,
) -> (Outcome<C>, oneshot::Receiver<std::result::Result<(), C>>) {
    let (told, waits) = oneshot::channel();
    (Outcome { told: Some(told), code }, waits)
}

impl<C> Outcome<C> {
    pub(super) fn fail(&mut self, error: wasmtime::Error) -> Result<()> {
        let code = (self.code)(error)?;
        if let Some(told) = self.told.take() {
            // Who dropped the future does not want to know.
            let _ = told.send(Err(code));
        }
        Ok(())
    }
}

impl<C> Drop for Outcome<C> {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            let _ = told.send(Ok(()));
        }
    }
}

enum Progress<T, R> {
    Idle(T),
    Busy(Pending<T, R>),
    Ended,
}

/// A stream that the guest reads. It reads only when the guest wants something.
pub(super) struct Producing<P: Produce, C> {
    progress: Progress<P, Option<P::Buffer>>,
    outcome: Option<Outcome<C>>,
}

impl<P: Produce, C> Producing<P, C> {
    /// Over `producer`, or at its end from the start.
    pub(super) fn new(producer: Option<P>, outcome: Outcome<C>) -> Self {
        let progress = producer.map_or(Progress::Ended, Progress::Idle);
        Self { progress, outcome: Some(outcome) }
    }

    fn start(&mut self, max: usize) {
        if let Progress::Idle(_) = self.progress
            && let Progress::Idle(producer) = std::mem::replace(&mut self.progress, Progress::Ended)
        {
            self.progress = Progress::Busy(Box::pin(producer.next(max)));
        }
    }
}

impl<P: Produce, C: Send + Unpin + 'static> StreamProducer<State> for Producing<P, C> {
    type Item = P::Item;
    type Buffer = P::Buffer;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, P::Item, P::Buffer>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let max = destination.remaining(&mut store).unwrap_or(CHUNK_BYTES);
        if max == 0 {
            // Who reads nothing asks whether it may read: it may, and waits then.
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        this.start(max);
        let Progress::Busy(pending) = &mut this.progress else {
            this.outcome = None;
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        let (producer, read) = match pending.as_mut().poll(cx) {
            Poll::Ready(ready) => ready,
            // What is under way is for the next read.
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        this.progress = Progress::Ended;
        match read {
            Ok(Some(items)) => {
                this.progress = Progress::Idle(producer);
                destination.set_buffer(items);
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            Ok(None) => this.outcome = None,
            Err(error) => {
                if let Some(mut outcome) = this.outcome.take() {
                    outcome.fail(error)?;
                }
            }
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

/// A stream that the guest writes. A write of its is complete when it is written: one is under way at a time.
pub(super) struct Consuming<D, C> {
    progress: Progress<D, ()>,
    outcome: Option<Outcome<C>>,
}

impl<D: Drain, C> Consuming<D, C> {
    pub(super) fn new(drain: D, outcome: Outcome<C>) -> Self {
        Self { progress: Progress::Idle(drain), outcome: Some(outcome) }
    }

    fn start(&mut self, bytes: Bytes) {
        if let Progress::Idle(drain) = std::mem::replace(&mut self.progress, Progress::Ended) {
            self.progress = Progress::Busy(Box::pin(drain.write(bytes)));
        }
    }
}

impl<D: Drain + Unpin, C: Send + Unpin + 'static> StreamConsumer<State> for Consuming<D, C> {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, State>,
        source: Written<'_, u8>,
        _finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        if let Progress::Idle(_) = this.progress {
            let mut source = source.as_direct(store);
            let bytes = source.remaining();
            let bytes = Bytes::copy_from_slice(bytes.get(..CHUNK_BYTES).unwrap_or(bytes));
            if bytes.is_empty() {
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            source.mark_read(bytes.len());
            this.start(bytes);
        }
        let Progress::Busy(pending) = &mut this.progress else {
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        // What was taken is written to its end, also where the guest does not wait for it any more.
        let (drain, written) = match pending.as_mut().poll(cx) {
            Poll::Ready(ready) => ready,
            Poll::Pending => return Poll::Pending,
        };
        match written {
            Ok(()) => {
                this.progress = Progress::Idle(drain);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => {
                this.progress = Progress::Ended;
                if let Some(mut outcome) = this.outcome.take() {
                    outcome.fail(error)?;
                }
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}
