//! A connection whose writing fails when the other end takes nothing for too long: one that reads slowly is waited for, one
//! that does not read is not.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, Sleep, sleep},
};

pub(super) struct Progress<S> {
    stream: S,
    most: Duration,
    /// Runs while something waits to be written.
    stalled: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<S> Progress<S> {
    pub(super) fn new(stream: S, most: Duration) -> Self {
        Self { stream, most, stalled: Box::pin(sleep(most)), is_waiting: false }
    }

    /// Gives on what came of writing, or the error where nothing did for too long.
    fn check<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        if !std::mem::replace(&mut self.is_waiting, true) {
            // A moment that is too far away to be told never comes.
            if let Some(end) = Instant::now().checked_add(self.most) {
                self.stalled.as_mut().reset(end);
            }
        }
        ready!(self.stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.check(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.check(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const MOST: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_waited_for_and_who_does_not_read_is_not() {
        let (own, mut other) = tokio::io::duplex(4);
        let mut own = Progress::new(own, MOST);
        let write = tokio::spawn(async move {
            own.write_all(&[7; 40]).await.unwrap();
            let began = Instant::now();
            (own.write_all(&[7; 8]).await.unwrap_err().kind(), began.elapsed())
        });
        let mut taken = [0; 4];
        for _ in 0..9 {
            tokio::time::sleep(MOST - Duration::from_secs(1)).await;
            other.read_exact(&mut taken).await.unwrap();
        }
        assert_eq!(write.await.unwrap(), (io::ErrorKind::TimedOut, MOST));
    }
}
