//! The ends of a program's pipes.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Cause;
use crate::{
    Error, ErrorKind,
    sys::{Killer, PipeReader, PipeWriter},
};

/// What a program reads: an [`AsyncWrite`]. Shutting it down, or dropping it, is the end of the program's input.
pub struct Input(pub(super) Option<PipeWriter>);

/// What a program writes: an [`AsyncRead`].
///
/// Where the program wrote more than is taken from it
/// ([`Limits::output_bytes`](super::Limits::output_bytes), output and errors together), it is killed, and reading fails
/// with an [`Error`] of the kind [`LimitExceeded`](ErrorKind::LimitExceeded) within the [`io::Error`]. As long as nobody
/// reads, the program waits when the pipe is full.
pub struct Output {
    pub(super) pipe: PipeReader,
    /// How many bytes may still be read, of both streams.
    pub(super) left: Arc<AtomicU64>,
    pub(super) killer: Killer,
}

impl AsyncRead for Output {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // One byte more than is left tells the end from too much.
        let left = usize::try_from(this.left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let room = buffer.initialize_unfilled();
        let end = room.len().min(left.saturating_add(1));
        let mut limited = ReadBuf::new(room.get_mut(..end).unwrap_or_default());
        ready!(Pin::new(&mut this.pipe).poll_read(cx, &mut limited))?;
        let count = limited.filled().len();
        let fits = this
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count as u64));
        if fits.is_err() {
            this.killer.kill(Cause::OutputLimit);
            let error = Error::new(ErrorKind::LimitExceeded, "read the output of a program");
            return Poll::Ready(Err(io::Error::other(error)));
        }
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Input {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is in the pipe.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0 = None;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Input")
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}
