//! A connection that breaks off where nothing of what is sent gets away.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use wasmtime_wasi_http::Error;

/// Bounds each wait to write. Reading is bounded by whoever reads.
pub(super) struct Moving<S> {
    stream: S,
    silence: Duration,
    /// Since when nothing moves.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Moving<S> {
    pub(super) fn new(stream: S, silence: Duration) -> Self {
        Self { stream, silence, timer: None }
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = work(Pin::new(&mut self.stream), cx) {
            self.timer = None;
            return Poll::Ready(done);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.silence)));
        timer.as_mut().poll(cx).map(|()| Err(io::Error::other(Error::ConnectionWriteTimeout)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Moving<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Moving<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, |stream, cx| stream.poll_write_vectored(cx, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_breaks_off() {
        let (ours, _theirs) = duplex(8);
        let failed = Moving::new(ours, SILENCE).write_all(&[7; 9]).await.unwrap_err();
        let told = failed.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        assert!(matches!(told, Some(Error::ConnectionWriteTimeout)), "{failed}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_slowly_goes_on() {
        let (ours, mut theirs) = duplex(1);
        let taken = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(SILENCE / 2).await;
                theirs.read_u8().await.unwrap();
            }
        });
        Moving::new(ours, SILENCE).write_all(&[7; 10]).await.unwrap();
        taken.await.unwrap();
    }
}
