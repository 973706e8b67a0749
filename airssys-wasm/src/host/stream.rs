//! Streams of WASI over things that read and write asynchronously: files and this program's own streams.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

/// The most bytes of one read or write through a stream: the host never allocates what a guest asks for.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

type Pending<T, R> = Pin<Box<dyn Future<Output = (T, wasmtime::Result<R>)> + Send>>;

/// Something that can be read from, a chunk at a time.
pub(crate) trait Source: Sized + Send + 'static {
    /// Reads at most `max` bytes. No bytes is the end.
    fn read(self, max: usize) -> impl Future<Output = (Self, wasmtime::Result<Bytes>)> + Send;
}

/// Something that can be written to.
pub(crate) trait Drain: Sized + Send + 'static {
    /// Writes all of `bytes`.
    fn write(self, bytes: Bytes) -> impl Future<Output = (Self, wasmtime::Result<()>)> + Send;
}

/// For those who look and do not wait.
pub(super) fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Lets what is under way go on as far as it can without being waited for.
fn advance(going_on: impl Future<Output = ()>) {
    let _ = pin!(going_on).poll(&mut now());
}

/// An input stream over a [`Source`]. It reads only when the guest wants something, one chunk ahead.
pub(crate) enum Reading<S> {
    Idle(S),
    Busy(Pending<S, Bytes>),
    Data(S, Bytes),
    Failed(wasmtime::Error),
    Closed,
}

impl<S: Source> Reading<S> {
    pub(crate) fn new(source: S) -> Self {
        Self::Idle(source)
    }

    fn start(&mut self, max: usize) {
        if let Self::Idle(_) = self
            && let Self::Idle(source) = std::mem::replace(self, Self::Closed)
        {
            *self = Self::Busy(Box::pin(source.read(max.clamp(1, CHUNK_BYTES))));
        }
    }

    async fn finish(&mut self) {
        if let Self::Busy(pending) = self {
            *self = match pending.await {
                (_, Ok(bytes)) if bytes.is_empty() => Self::Closed,
                (source, Ok(bytes)) => Self::Data(source, bytes),
                (_, Err(error)) => Self::Failed(error),
            };
        }
    }
}

#[async_trait]
impl<S: Source> Pollable for Reading<S> {
    async fn ready(&mut self) {
        self.start(CHUNK_BYTES);
        self.finish().await;
    }
}

#[async_trait]
impl<S: Source> InputStream for Reading<S> {
    /// Begins to read where nothing is there: a guest may come back later without having waited for the stream.
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 {
            self.start(size);
            advance(self.finish());
        }
        match std::mem::replace(self, Self::Closed) {
            Self::Closed => Err(StreamError::Closed),
            Self::Failed(error) => Err(StreamError::LastOperationFailed(error)),
            Self::Data(source, mut bytes) => {
                let chunk = bytes.split_to(size.min(bytes.len()));
                *self = if bytes.is_empty() { Self::Idle(source) } else { Self::Data(source, bytes) };
                Ok(chunk)
            }
            waiting @ (Self::Idle(_) | Self::Busy(_)) => {
                *self = waiting;
                Ok(Bytes::new())
            }
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 {
            self.start(size);
            self.finish().await;
        }
        self.read(size)
    }
}

/// An output stream over a [`Drain`]: one write is under way at a time.
pub(crate) enum Writing<D> {
    Idle(D),
    Busy(Pending<D, ()>),
    Failed(wasmtime::Error),
    Closed,
}

impl<D: Drain> Writing<D> {
    pub(crate) fn new(drain: D) -> Self {
        Self::Idle(drain)
    }

    async fn finish(&mut self) {
        if let Self::Busy(pending) = self {
            *self = match pending.await {
                (drain, Ok(())) => Self::Idle(drain),
                (_, Err(error)) => Self::Failed(error),
            };
        }
    }
}

#[async_trait]
impl<D: Drain> Pollable for Writing<D> {
    async fn ready(&mut self) {
        self.finish().await;
    }
}

#[async_trait]
impl<D: Drain> OutputStream for Writing<D> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match std::mem::replace(self, Self::Closed) {
            Self::Idle(_) if bytes.len() > CHUNK_BYTES => {
                Err(StreamError::trap("write more than check-write permitted"))
            }
            Self::Idle(drain) => {
                // It begins at once; that it is done is told by check-write.
                let mut pending = Box::pin(drain.write(bytes));
                *self = Self::Busy(match pending.as_mut().poll(&mut now()) {
                    Poll::Ready(done) => Box::pin(std::future::ready(done)),
                    Poll::Pending => pending,
                });
                Ok(())
            }
            Self::Closed => Err(StreamError::Closed),
            Self::Busy(_) | Self::Failed(_) => {
                Err(StreamError::trap("write without a permit of check-write"))
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(|_| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        advance(self.finish());
        match self {
            Self::Idle(_) => Ok(CHUNK_BYTES),
            Self::Busy(_) => Ok(0),
            Self::Closed => Err(StreamError::Closed),
            Self::Failed(_) => match std::mem::replace(self, Self::Closed) {
                Self::Failed(error) => Err(StreamError::LastOperationFailed(error)),
                _ => Err(StreamError::Closed),
            },
        }
    }

    /// Ends the write that is under way: a guest that drops its stream has still written what it wrote.
    async fn cancel(&mut self) {
        self.finish().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in two reads, then ends or fails.
    struct Script(Vec<wasmtime::Result<Bytes>>);

    impl Source for Script {
        async fn read(mut self, _max: usize) -> (Self, wasmtime::Result<Bytes>) {
            let next = if self.0.is_empty() { Ok(Bytes::new()) } else { self.0.remove(0) };
            (self, next)
        }
    }

    #[tokio::test]
    async fn reads_in_pieces_and_ends() {
        let mut stream = Reading::new(Script(vec![Ok(Bytes::from_static(b"abc"))]));
        stream.ready().await;
        assert_eq!(&stream.read(2).unwrap()[..], b"ab");
        assert_eq!(&stream.blocking_read(9).await.unwrap()[..], b"c");
        assert!(matches!(stream.blocking_read(9).await, Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn a_read_that_does_not_wait_takes_what_is_there_and_begins_the_next() {
        let mut stream = Reading::new(Slow(vec![b'a', b'b']));
        assert!(stream.read(0).unwrap().is_empty(), "nothing is wanted, and nothing begun");
        assert!(matches!(stream, Reading::Idle(_)));
        assert!(stream.read(1).unwrap().is_empty(), "it comes the next time");
        assert_eq!(&stream.read(1).unwrap()[..], b"b");
        assert!(stream.read(1).unwrap().is_empty());
        assert_eq!(&stream.read(1).unwrap()[..], b"a");
        assert!(stream.read(1).unwrap().is_empty());
        assert!(matches!(stream.read(1), Err(StreamError::Closed)));
    }

    /// Gives a byte at a time, from the last on, each when it is asked for the second time.
    struct Slow(Vec<u8>);

    impl Source for Slow {
        async fn read(mut self, _max: usize) -> (Self, wasmtime::Result<Bytes>) {
            tokio::task::yield_now().await;
            let byte = self.0.pop();
            (self, Ok(byte.into_iter().collect()))
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_once_and_then_closed() {
        let mut stream = Reading::new(Script(vec![Err(wasmtime::format_err!("gone"))]));
        assert!(matches!(stream.blocking_read(9).await, Err(StreamError::LastOperationFailed(_))));
        assert!(matches!(stream.blocking_read(9).await, Err(StreamError::Closed)));
    }

    #[derive(Default)]
    struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Drain for Sink {
        async fn write(self, bytes: Bytes) -> (Self, wasmtime::Result<()>) {
            tokio::task::yield_now().await;
            self.0.lock().unwrap().extend_from_slice(&bytes);
            (self, Ok(()))
        }
    }

    #[tokio::test]
    async fn a_dropped_stream_has_written_what_it_took() {
        let sink = Sink::default();
        let written = sink.0.clone();
        let mut stream = Writing::new(sink);
        stream.write(Bytes::from_static(b"abc")).unwrap();
        assert!(written.lock().unwrap().is_empty());
        stream.cancel().await;
        assert_eq!(*written.lock().unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_write_goes_on_for_who_only_looks_at_it() {
        let sink = Sink::default();
        let written = sink.0.clone();
        let mut stream = Writing::new(sink);
        stream.write(Bytes::from_static(b"abc")).unwrap();
        assert_eq!(stream.check_write().unwrap(), CHUNK_BYTES);
        assert_eq!(*written.lock().unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_write_without_a_permit_is_a_trap() {
        let mut stream = Writing::new(Sink::default());
        stream.write(Bytes::from_static(b"a")).unwrap();
        assert!(matches!(stream.write(Bytes::from_static(b"b")), Err(StreamError::Trap(_))));
    }
}
