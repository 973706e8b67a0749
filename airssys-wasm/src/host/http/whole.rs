//! A body that ends only where its guest ended it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

/// A body that breaks off where the guest that wrote it crashed: what Wasmtime makes of that looks like an end, and whoever
/// reads it would take half of it for the whole.
pub(crate) struct Whole {
    body: WasiBody,
    crashed: Arc<AtomicBool>,
}

impl Whole {
    pub(crate) fn new(body: WasiBody, crashed: Arc<AtomicBool>) -> Self {
        Self { body, crashed }
    }

    fn is_crashed(&self) -> bool {
        self.crashed.load(Ordering::Acquire)
    }
}

/// Notes that a guest crashed or was stopped, unless it is told that the guest returned. To be dropped before the guest's
/// store, with which its half of the body goes.
pub(crate) struct Alarm {
    crashed: Option<Arc<AtomicBool>>,
}

impl Alarm {
    pub(crate) fn new(crashed: Arc<AtomicBool>) -> Self {
        Self { crashed: Some(crashed) }
    }

    pub(crate) fn disarm(mut self) {
        self.crashed = None;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(crashed) = &self.crashed {
            crashed.store(true, Ordering::Release);
        }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) if self.is_crashed() => Poll::Ready(Some(Err(Error::HttpResponseIncomplete))),
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.is_crashed()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
