//! Streams of the component model over the things that streams of `wasi:io` are over: a [`Source`] or a listing is read, a
//! [`Drain`] is written to, and a future tells how it ended.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{sync::oneshot, task::coop::consume_budget};
use wasmtime::{
    AsContextMut as _, Result, StoreContextMut,
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
        if let Progress::Idle(producer) = std::mem::replace(&mut self.progress, Progress::Ended) {
            self.progress = Progress::Busy(Box::pin(async move {
                // Where both ends of a stream are the host's, no code of the guest's runs that would be interrupted.
                consume_budget().await;
                producer.next(max).await
            }));
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
        if let Progress::Idle(_) = this.progress {
            store.data_mut().count_call()?;
            this.start(max);
        }
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
            self.progress = Progress::Busy(Box::pin(async move {
                consume_budget().await;
                drain.write(bytes).await
            }));
        }
    }
}

impl<D: Drain + Unpin, C: Send + Unpin + 'static> StreamConsumer<State> for Consuming<D, C> {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, State>,
        source: Written<'_, u8>,
        _finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        if let Progress::Idle(_) = this.progress {
            let mut source = source.as_direct(store.as_context_mut());
            let bytes = source.remaining();
            let bytes = Bytes::copy_from_slice(bytes.get(..CHUNK_BYTES).unwrap_or(bytes));
            if bytes.is_empty() {
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            source.mark_read(bytes.len());
            store.data_mut().count_call()?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use airssys_osl::{
        Os,
        policy::{Grant, Policy},
        testing::MemorySink,
    };
    use tokio::task::yield_now;
    use wasmtime::component::StreamReader;

    use super::*;
    use crate::{engine::Engine, host::Stdio, instance::Setup, manifest::Limits};

    /// Has a byte at hand, so often.
    struct Ready(u32);

    impl Source for Ready {
        async fn read(mut self, _max: usize) -> (Self, Result<Bytes>) {
            let read = if self.0 == 0 { Bytes::new() } else { Bytes::from_static(b"x") };
            self.0 = self.0.saturating_sub(1);
            (self, Ok(read))
        }
    }

    struct Sink;

    impl Drain for Sink {
        async fn write(self, _bytes: Bytes) -> (Self, Result<()>) {
            (self, Ok(()))
        }
    }

    #[tokio::test]
    async fn what_goes_from_stream_to_stream_gives_others_their_turn() {
        let policy = Policy::builder().principal("program", [Grant::clock()]).build().unwrap();
        let principal = Os::new(policy, MemorySink::new()).principal("program").unwrap();
        let limits = Limits::default();
        let setup = Setup {
            name: "program".into(),
            principal: &principal,
            preopens: &[],
            arguments: Vec::new(),
            variables: Vec::new(),
            config: Arc::default(),
            stdio: Stdio::Log,
            log: Arc::default(),
            limits: &limits,
            share: None,
            on_credit: false,
            trust: &[],
            port: None,
        };
        let engine = Engine::new().unwrap().concurrent().unwrap();
        let mut store = State::store(&engine, setup).await.unwrap();
        let (read, end) = outcome(Err::<(), _>);
        let (written, _) = outcome(Err::<(), _>);
        let bytes = Producing::new(Some(Bytewise(Ready(10_000))), read);
        let stream = StreamReader::new(&mut store, bytes).unwrap();
        stream.pipe(&mut store, Consuming::new(Sink, written)).unwrap();
        tokio::select! {
            biased;
            ended = store.run_concurrent(async move |_| end.await) => panic!("nobody else had a turn: {ended:?}"),
            () = yield_now() => {}
        }
    }
}
