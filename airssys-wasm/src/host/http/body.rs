//! A body with bounds: how long it is, and how long it keeps silent.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

/// A body that fails where it grows too long or keeps silent for too long.
pub(crate) struct Bounded<B> {
    body: B,
    left: u64,
    too_large: fn(Option<u64>) -> Error,
    silence: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Bounded<B> {
    /// Bounds `body` to `limit` bytes, and each wait for more of it to `silence`, where that is given.
    ///
    /// # Errors
    ///
    /// It says itself that it is longer.
    pub(crate) fn new(
        body: B,
        limit: u64,
        silence: Option<Duration>,
        too_large: fn(Option<u64>) -> Error,
    ) -> Result<Self, Error> {
        match body.size_hint().lower() {
            told if told > limit => Err(too_large(Some(told))),
            _ => Ok(Self { body, left: limit, too_large, silence, timer: None }),
        }
    }

    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(silence) = self.silence else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(silence)));
        timer.as_mut().poll(cx).is_ready()
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(failed))) => return Poll::Ready(Some(Err(failed.into()))),
            Poll::Pending if this.is_silent(cx) => {
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            }
            Poll::Pending => return Poll::Pending,
        };
        if let (Some(timer), Some(silence)) = (&mut this.timer, this.silence) {
            timer.as_mut().reset(Instant::now() + silence);
        }
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(bytes) {
            Some(left) => {
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err((this.too_large)(None)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    fn bounded(bytes: &'static [u8], limit: u64) -> Result<Bounded<Full<Bytes>>, Error> {
        Bounded::new(Full::new(Bytes::from_static(bytes)), limit, None, Error::HttpResponseBodySize)
    }

    #[tokio::test]
    async fn what_fits_passes() {
        let body = bounded(b"abc", 3).unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"abc");
    }

    #[test]
    fn a_length_that_is_told_is_refused_at_once() {
        assert!(matches!(bounded(b"abcd", 3), Err(Error::HttpResponseBodySize(Some(4)))));
    }

    /// Says nothing, and does not end.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_ends_it() {
        let mut body = Bounded::new(Silent, 9, Some(SILENCE), Error::HttpResponseBodySize).unwrap();
        let started = Instant::now();
        assert!(matches!(body.frame().await, Some(Err(Error::ConnectionReadTimeout))));
        assert!(started.elapsed() >= SILENCE);
    }
}
