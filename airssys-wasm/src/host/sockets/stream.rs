//! The two streams of one TCP connection.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use airssys_osl::net::TcpStream;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use super::now;
use crate::host::stream::CHUNK_BYTES;

/// A connection, which its socket and its two streams share. It closes when the last of them is gone.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Mutex<State>>);

struct State {
    stream: TcpStream,
    input: Input,
    output: Output,
    /// What the guest wrote and the system has not taken yet: at most [`CHUNK_BYTES`].
    unsent: Bytes,
}

enum Input {
    Open,
    /// Read while the guest waited.
    Read(Bytes),
    Failed(io::Error),
    Closed,
}

#[derive(Debug)]
enum Output {
    /// The guest may write so many bytes.
    Open(usize),
    /// What is unsent goes out, then the end.
    Closing,
    Failed(io::Error),
    Closed,
}

pub(super) struct Receiver(pub(super) Connection);

pub(super) struct Sender(pub(super) Connection);

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let state = State { stream, input: Input::Open, output: Output::Open(0), unsent: Bytes::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Looks at the connection beneath.
    pub(super) fn with<T>(&self, look: impl FnOnce(&TcpStream) -> T) -> T {
        look(&self.lock().stream)
    }

    /// Waits until there is something to read, or the end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_input(cx)
    }

    /// Reads into `buffer`. No bytes are the end.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        match std::mem::replace(&mut state.input, Input::Closed) {
            Input::Read(mut bytes) => {
                let read = bytes.len().min(buffer.len());
                if let Some(to) = buffer.get_mut(..read) {
                    bytes.copy_to_slice(to);
                }
                state.input = if bytes.is_empty() { Input::Open } else { Input::Read(bytes) };
                Poll::Ready(Ok(read))
            }
            Input::Failed(error) => Poll::Ready(Err(error)),
            Input::Closed => Poll::Ready(Ok(0)),
            Input::Open => {
                state.input = Input::Open;
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut state.stream).poll_read(cx, &mut read))?;
                Poll::Ready(Ok(read.filled().len()))
            }
        }
    }

    /// Writes some of `bytes`.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write(cx, bytes)
    }

    /// The guest wants to hear no more: what comes is not read.
    pub(crate) fn close_input(&self) {
        self.lock().input = Input::Closed;
    }

    /// The guest has nothing more to say: the peer learns it behind what was written.
    pub(crate) fn close_output(&self) {
        let mut state = self.lock();
        if matches!(state.output, Output::Open(_)) {
            state.output = Output::Closing;
            let _ = state.poll_sent(&mut now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads what is there, `max` bytes at most.
    fn poll_read(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut buffer = vec![0; max.clamp(1, CHUNK_BYTES)];
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        // The buffer is as long as could be, and mostly little comes.
        Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
    }

    /// Reads ahead, unless something is there to be told.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Who waits for an answer still has to send the question.
        let _ = self.poll_sent(cx);
        if matches!(self.input, Input::Open) {
            self.input = match ready!(self.poll_read(CHUNK_BYTES, cx)) {
                Ok(bytes) if bytes.is_empty() => Input::Closed,
                Ok(bytes) => Input::Read(bytes),
                Err(error) => Input::Failed(error),
            };
        }
        Poll::Ready(())
    }

    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 && !matches!(self.input, Input::Closed) {
            return Ok(Bytes::new());
        }
        if matches!(self.input, Input::Open) && self.poll_input(&mut now()).is_pending() {
            return Ok(Bytes::new());
        }
        match std::mem::replace(&mut self.input, Input::Closed) {
            Input::Read(mut bytes) => {
                let read = bytes.split_to(size.min(bytes.len()));
                self.input = if bytes.is_empty() { Input::Open } else { Input::Read(bytes) };
                Ok(read)
            }
            Input::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            Input::Open | Input::Closed => Err(StreamError::Closed),
        }
    }

    /// Sends what is unsent, and then the end where that is wanted.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent)) {
                Ok(sent) => self.unsent.advance(sent),
                Err(error) => {
                    self.unsent.clear();
                    self.output = Output::Failed(error);
                }
            }
        }
        if matches!(self.output, Output::Closing) {
            self.output = match ready!(Pin::new(&mut self.stream).poll_shutdown(cx)) {
                Ok(()) => Output::Closed,
                Err(error) => Output::Failed(error),
            };
        }
        Poll::Ready(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let is_sent = self.poll_sent(&mut now()).is_ready();
        match &mut self.output {
            Output::Open(permit) => {
                *permit = if is_sent { CHUNK_BYTES } else { 0 };
                Ok(*permit)
            }
            Output::Closing | Output::Closed => Err(StreamError::Closed),
            Output::Failed(_) => match std::mem::replace(&mut self.output, Output::Closed) {
                Output::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
                _ => Err(StreamError::Closed),
            },
        }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match &mut self.output {
            Output::Open(permit) if bytes.len() <= *permit => *permit -= bytes.len(),
            Output::Open(_) => return Err(StreamError::trap("write without a permit of check-write")),
            _ => return self.check_write().map(drop),
        }
        // One permit can be used up by several writes.
        self.unsent = match self.unsent.is_empty() {
            true => bytes,
            false => [&self.unsent[..], &bytes].concat().into(),
        };
        let _ = self.poll_sent(&mut now());
        Ok(())
    }
}

#[async_trait]
impl Pollable for Receiver {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.lock().poll_input(cx)).await;
    }
}

#[async_trait]
impl InputStream for Receiver {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.0.lock().read(size)
    }
}

#[async_trait]
impl Pollable for Sender {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.lock().poll_sent(cx)).await;
    }
}

#[async_trait]
impl OutputStream for Sender {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        let mut state = self.0.lock();
        let _ = state.poll_sent(&mut now());
        match &state.output {
            Output::Open(_) | Output::Closing => Ok(()),
            Output::Failed(_) | Output::Closed => state.check_write().map(drop),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.lock().check_write()
    }

    /// Sends what the guest wrote before it dropped the stream; the limits of the connection bound how long that takes.
    async fn cancel(&mut self) {
        self.ready().await;
    }
}
