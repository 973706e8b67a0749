//! A request to a guest of WASI 0.3, which goes on behind its answer.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, header::HOST, uri::Scheme};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, p3};

use super::request::{Head, Watched, told};
use crate::{host::http::newer, instance::State};

/// Has a guest handle a request, and waits until it has nothing more to do and nobody reads its answer any more: what it
/// writes passes through its store.
pub(super) async fn call(
    store: &mut Store<State>,
    guest: &p3::bindings::Service,
    request: Request<Watched>,
    tell: impl FnOnce(Head) + Send,
) -> wasmtime::Result<()> {
    let ended = store.run_concurrent(async move |store| {
        let request = store.with(|mut access| {
            let view = newer(access.get());
            let (parts, body) = request.into_parts();
            let host = || parts.headers.get(HOST)?.to_str().ok()?.parse().ok();
            let authority = parts.uri.authority().cloned().or_else(host);
            let path = parts.uri.path_and_query().cloned();
            let headers = FieldMap::new_immutable(view.hooks, parts.headers);
            // What the guest says of how it got the body, its answer says to the client.
            let (request, _got) =
                p3::Request::new(parts.method, Some(Scheme::HTTP), authority, path, headers, None, body);
            view.table.push(request)
        })?;
        let (reads, read) = oneshot::channel();
        match guest.wasi_http_handler().call_handle(store, request).await? {
            Ok(response) => {
                let (sent, transmitted) = oneshot::channel();
                let transmitted = async move { transmitted.await.unwrap_or(Ok(())) };
                let response = store.with(|mut access| {
                    let response = newer(access.get()).table.delete(response)?;
                    response.into_http_with_getter(&mut access, transmitted, newer)
                })?;
                tell(Ok(response.map(|body| Answer::new(body, sent, reads).boxed_unsync())));
            }
            Err(code) => {
                drop(reads);
                tell(Err(told(code)));
            }
        }
        poll_fn(|cx| store.poll_no_interesting_tasks(cx)).await;
        // It only ever ends by the other side's going.
        let _: Result<Infallible, _> = read.await;
        Ok(())
    });
    ended.await?
}

/// The body of an answer, which tells its guest what became of it.
struct Answer {
    body: WasiBody,
    sent: Option<oneshot::Sender<Result<(), Error>>>,
    /// Whether any of it was asked for: of an answer to a `HEAD` nothing is.
    is_begun: bool,
    _reads: oneshot::Sender<Infallible>,
}

impl Answer {
    fn new(
        body: WasiBody,
        sent: oneshot::Sender<Result<(), Error>>,
        reads: oneshot::Sender<Infallible>,
    ) -> Self {
        Self { body, sent: Some(sent), is_begun: false, _reads: reads }
    }

    fn tell(&mut self, sent: Result<(), Error>) {
        if let Some(told) = self.sent.take() {
            // The guest may not want to know.
            let _ = told.send(sent);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.is_begun = true;
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.tell(Ok(())),
            Poll::Ready(Some(Err(_))) => self.tell(Err(Error::HttpResponseIncomplete)),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
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

impl Drop for Answer {
    fn drop(&mut self) {
        // As much as its length said has left: nobody asks for what is behind it.
        let is_whole = !self.is_begun || self.body.size_hint().exact() == Some(0);
        self.tell(if is_whole { Ok(()) } else { Err(Error::ConnectionTerminated) });
    }
}
