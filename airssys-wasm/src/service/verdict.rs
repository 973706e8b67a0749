//! What a request says about the version that had it. What its client did, or what the host lacked, is not held against it.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::request::Failure;
use crate::releases::Verdict;

/// What is noted of a request while a guest works on it.
#[derive(Default)]
pub(super) struct Observed {
    /// The head of the answer: its status, or the error that the guest gave instead.
    head: OnceLock<Result<StatusCode, String>>,
    /// Whether the whole body of the request was received.
    is_whole: AtomicBool,
    /// Whether it broke off: too large, too slow, or against the protocol.
    is_broken_off: AtomicBool,
}

impl Observed {
    /// Watches how the body of the request arrives.
    pub(super) fn watch<B: Body>(self: &Arc<Self>, body: B) -> Received<B> {
        if body.is_end_stream() {
            self.is_whole.store(true, Ordering::Relaxed);
        }
        Received { body, observed: self.clone() }
    }

    /// Notes the head of the answer.
    pub(super) fn head<B>(&self, head: &Result<Response<B>, String>) {
        // A guest can set it once only.
        let _ = self.head.set(head.as_ref().map(Response::status).map_err(Clone::clone));
    }

    pub(super) fn is_answered(&self) -> bool {
        self.head.get().is_some()
    }

    /// What it comes to, once the guest has ended.
    pub(super) fn verdict(&self, handled: &Result<(), Failure>) -> Verdict {
        let broke = Verdict::Broke;
        let is_broken_off = self.is_broken_off.load(Ordering::Relaxed);
        match (handled, self.head.get()) {
            (Err(Failure::Instance(_)), _) => Verdict::Open,
            (Err(Failure::Trap(trap)), _) => broke(trap.to_string()),
            (Err(Failure::Late), None) if self.is_whole.load(Ordering::Relaxed) => {
                broke("it took longer for a request than it may (http.timeout)".to_owned())
            }
            // It may have waited for its client.
            (Err(Failure::Late), None) => Verdict::Open,
            (Ok(()) | Err(Failure::Silent), None) => broke("it gave no answer".to_owned()),
            // It may say so of what its client sent.
            (_, Some(Err(_))) if is_broken_off => Verdict::Open,
            (_, Some(Ok(status))) if is_broken_off && status.is_server_error() => Verdict::Open,
            (_, Some(Err(code))) => broke(format!("it answered with an error: {code}")),
            (_, Some(Ok(status))) if status.is_server_error() => {
                broke(format!("it answered with the status {}", status.as_u16()))
            }
            // The client may not have taken its answer.
            (Err(Failure::Late | Failure::Silent), Some(Ok(_))) => Verdict::Open,
            (Ok(()), Some(Ok(_))) => Verdict::Good,
        }
    }
}

/// The body of a request, of which is noted how it ends.
pub(super) struct Received<B> {
    body: B,
    observed: Arc<Observed>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Received<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Err(_))) => this.observed.is_broken_off.store(true, Ordering::Relaxed),
            Poll::Ready(Some(Ok(_))) if !this.body.is_end_stream() => {}
            Poll::Ready(_) => this.observed.is_whole.store(true, Ordering::Relaxed),
        }
        polled
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
    use crate::error::{Error, ErrorKind};

    fn answered(status: u16) -> Observed {
        let observed = Observed::default();
        observed.head(&Ok(Response::builder().status(status).body(()).unwrap()));
        observed
    }

    fn is_broke(observed: &Observed, handled: Result<(), Failure>) -> bool {
        matches!(observed.verdict(&handled), Verdict::Broke(_))
    }

    #[test]
    fn an_answer_counts_when_its_guest_has_returned() {
        assert_eq!(answered(200).verdict(&Ok(())), Verdict::Good);
        assert_eq!(answered(404).verdict(&Ok(())), Verdict::Good);
        assert!(is_broke(&answered(200), Err(Failure::Trap(crate::trap::Trap::error("late")))));
        assert_eq!(answered(200).verdict(&Err(Failure::Late)), Verdict::Open, "its client may not take it");
    }

    #[test]
    fn an_error_of_its_own_is_held_against_it() {
        assert!(is_broke(&answered(500), Ok(())));
        assert!(is_broke(&answered(503), Ok(())));
        assert!(is_broke(&Observed::default(), Ok(())), "no answer");
        let observed = Observed::default();
        observed.head::<()>(&Err("ConfigurationError".to_owned()));
        assert!(is_broke(&observed, Ok(())));
    }

    #[tokio::test]
    async fn what_its_client_or_the_host_did_is_not() {
        let observed = Arc::<Observed>::default();
        let body = observed.watch(Full::new(Bytes::from_static(b"abc")));
        assert_eq!(observed.verdict(&Err(Failure::Late)), Verdict::Open, "its client is slow");
        body.collect().await.unwrap();
        assert!(is_broke(&observed, Err(Failure::Late)), "all was there");

        let observed = answered(500);
        observed.is_broken_off.store(true, Ordering::Relaxed);
        assert_eq!(observed.verdict(&Ok(())), Verdict::Open);
        let shortage = Error::new(ErrorKind::Unavailable, "make an instance");
        assert_eq!(Observed::default().verdict(&Err(Failure::Instance(shortage))), Verdict::Open);
    }
}
