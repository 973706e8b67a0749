//! A body with bounds: how long it is, what its trailers take, and how long it keeps silent.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

use crate::manifest::HttpLimits;

/// What a body is of: its errors are called after that.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    Request,
    Response,
}

impl Message {
    fn body_too_large(self, bytes: Option<u64>) -> Error {
        match self {
            Self::Request => Error::HttpRequestBodySize(bytes),
            Self::Response => Error::HttpResponseBodySize(bytes),
        }
    }

    fn trailers_too_large(self, bytes: usize) -> Error {
        let bytes = u32::try_from(bytes).ok();
        match self {
            Self::Request => Error::HttpRequestTrailerSectionSize(bytes),
            Self::Response => Error::HttpResponseTrailerSectionSize(bytes),
        }
    }
}

/// What headers or trailers take on the wire, in bytes.
pub(super) fn section_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// A body that fails where it grows too long, its trailers are too large, or it keeps silent for too long.
pub(crate) struct Bounded<B> {
    body: B,
    message: Message,
    left: u64,
    trailer_bytes: usize,
    silence: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Bounded<B> {
    /// Bounds `body` to what `limits` has for a body and for headers, and each wait for more of it to `silence`, where that is
    /// given.
    ///
    /// # Errors
    ///
    /// It says itself that it is longer.
    pub(crate) fn new(
        body: B,
        message: Message,
        limits: &HttpLimits,
        silence: Option<Duration>,
    ) -> Result<Self, Error> {
        let (left, trailer_bytes) = (limits.body_bytes, limits.header_bytes);
        match body.size_hint().lower() {
            told if told > left => Err(message.body_too_large(Some(told))),
            _ => Ok(Self { body, message, left, trailer_bytes, silence, timer: None }),
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
        let trailer_bytes = frame.trailers_ref().map_or(0, section_bytes);
        if trailer_bytes > this.trailer_bytes {
            return Poll::Ready(Some(Err(this.message.trailers_too_large(trailer_bytes))));
        }
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(bytes) {
            Some(left) => {
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(this.message.body_too_large(None)))),
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
        let limits = HttpLimits { body_bytes: limit, ..HttpLimits::default() };
        Bounded::new(Full::new(Bytes::from_static(bytes)), Message::Response, &limits, None)
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
        let limits = HttpLimits::default();
        let mut body = Bounded::new(Silent, Message::Response, &limits, Some(SILENCE)).unwrap();
        let started = Instant::now();
        assert!(matches!(body.frame().await, Some(Err(Error::ConnectionReadTimeout))));
        assert!(started.elapsed() >= SILENCE);
    }
}
