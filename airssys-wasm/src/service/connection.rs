//! One connection of a client: its requests, one after the other.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use airssys_osl::{
    Principal,
    net::{Exchanges, TcpStream},
    trace as osl_trace,
};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::{sync::watch, task::JoinSet};
use wasmtime_wasi_http::{WasiBody, io::TokioIo};

use super::{Service, progress::Progress, request, timer::TokioTimer, told};
use crate::{
    actor::trace,
    host::http::{BUFFER_BYTES, HEADERS},
};

/// What a connection's requests share.
pub(super) struct Client {
    pub(super) service: Arc<Service>,
    pub(super) principal: Principal,
    pub(super) exchanges: Exchanges,
    /// The guests that work for it. They end with it.
    pub(super) guests: Mutex<JoinSet<()>>,
}

/// Answers requests until the client has no more, or until it is told to stop and has answered the one in hand.
pub(super) async fn serve(
    service: Arc<Service>,
    principal: Principal,
    stream: TcpStream,
    mut stop: watch::Receiver<bool>,
) {
    let limits = &service.spec.limits.http;
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer)
        .header_read_timeout(limits.timeout)
        .max_headers(HEADERS)
        .max_buf_size(limits.header_bytes.max(BUFFER_BYTES));
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(cause = %error, "cannot send small pieces at once");
    }
    let exchanges = stream.exchanges();
    let client = Arc::new(Client { service, principal, exchanges, guests: Mutex::default() });
    let answer = service_fn({
        let client = client.clone();
        move |request: Request<Incoming>| {
            let client = client.clone();
            // Each request begins something of its own.
            let answering = async move { Ok::<_, Infallible>(request::answer(&client, request).await) };
            osl_trace::scope(trace::new(), answering)
        }
    });
    let stream = Progress::new(stream, client.service.http.timeout);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let mut guests = std::mem::take(&mut *client.guests.lock().unwrap_or_else(PoisonError::into_inner));
    match ended {
        // What they still have to do after the last byte, they do; their deadline bounds it.
        Ok(()) => while guests.join_next().await.is_some() {},
        Err(error) => {
            tracing::debug!(component = &*client.service.name, cause = %error, "a client broke off")
        }
    }
}

/// An answer of the host's own: a status, and no more.
pub(super) fn plain(status: http::StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(request::empty());
    *response.status_mut() = status;
    response
}
