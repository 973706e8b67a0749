//! One request: a place, an instance, an answer.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::AtomicBool},
};

use airssys_osl::{Principal, net::Exchange};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};
use wasmtime::Store;
use wasmtime_wasi_http::{
    Error as HttpError, WasiBody, WasiHttpView as _,
    p2::bindings::{
        Proxy,
        http::types::{ErrorCode, Scheme},
    },
};

use super::{
    Release, Service, Working,
    connection::{Client, plain},
};
use crate::{
    error::Error,
    host::{
        Stdio,
        http::{Alarm, Bounded, Whole},
    },
    instance::{Setup, State},
    trap::Trap,
};

type Body = Bounded<http_body_util::combinators::UnsyncBoxBody<Bytes, HttpError>>;
type Head = Result<Response<WasiBody>, ErrorCode>;

/// Why a guest gave no answer.
pub(super) enum Failure {
    Instance(Error),
    Trap(Trap),
    Late,
    /// It returned without one.
    Silent,
}

/// Answers one request. Whatever the guest does, there is an answer.
pub(super) async fn answer(client: &Arc<Client>, request: Request<Incoming>) -> Response<WasiBody> {
    let service = &client.service;
    let now = Instant::now();
    // Who has waited for half of its time for a place would hardly be done in the other half.
    let (waits_until, until) = (now + service.http.timeout / 2, now + service.http.timeout);
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = || request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority = authority.or_else(host).unwrap_or_default();
    let exchange = client.exchanges.begin(request.method().as_str(), "http", authority);
    if authority.is_empty() {
        return refuse(exchange, StatusCode::BAD_REQUEST, io::ErrorKind::InvalidInput);
    }
    let limits = &service.spec.limits.http;
    let (parts, body) = request.into_parts();
    let body = body.map_err(|_| HttpError::HttpProtocolError).boxed_unsync();
    let body = Bounded::new(body, limits.body_bytes, Some(limits.timeout), HttpError::HttpRequestBodySize);
    let Ok(body) = body else {
        return refuse(exchange, StatusCode::PAYLOAD_TOO_LARGE, io::ErrorKind::InvalidData);
    };
    let Ok(Ok(place)) = timeout_at(waits_until, service.places.clone().acquire_owned()).await else {
        return refuse(exchange, StatusCode::SERVICE_UNAVAILABLE, io::ErrorKind::TimedOut);
    };
    match ask(client, Request::from_parts(parts, body), until, place).await {
        Ok(response) => {
            exchange.answered();
            service.answered();
            response
        }
        Err(status) => {
            let kind = match status {
                StatusCode::GATEWAY_TIMEOUT => io::ErrorKind::TimedOut,
                _ => io::ErrorKind::Other,
            };
            refuse(exchange, status, kind)
        }
    }
}

fn refuse(exchange: Exchange, status: StatusCode, kind: io::ErrorKind) -> Response<WasiBody> {
    exchange.failed(&kind.into());
    plain(status)
}

pub(super) fn empty() -> WasiBody {
    Empty::new().map_err(HttpError::from).boxed_unsync()
}

/// Has a guest work on a request, as a task that the connection holds, and waits for the head of its answer.
async fn ask(
    client: &Arc<Client>,
    request: Request<Body>,
    until: Instant,
    place: OwnedSemaphorePermit,
) -> Result<Response<WasiBody>, StatusCode> {
    let (tell, head) = oneshot::channel();
    let (fail, failed) = oneshot::channel();
    let (service, principal) = (client.service.clone(), client.principal.clone());
    let release = service.releases.next();
    let at_work = release.clone();
    let trace = airssys_osl::trace::current();
    let crashed = Arc::<AtomicBool>::default();
    let alarm = Alarm::new(crashed.clone());
    let work = async move {
        let _working = Working::begin(&service);
        let handling = handle(&service, &at_work, &principal, request, tell, alarm);
        let handled = match timeout_at(until, handling).await {
            Ok(handled) => handled,
            Err(_late) => Err(Failure::Late),
        };
        if let Err(failure) = handled {
            if let Some(why) = failure.broke() {
                service.releases.ended(&at_work, Some(why));
            }
            // Where the head has been sent, nobody waits for this; the client sees its body break off.
            let _ = fail.send(failure.told(&service.name));
        }
        drop(place);
    };
    {
        let mut guests = client.guests.lock().unwrap_or_else(PoisonError::into_inner);
        while guests.try_join_next().is_some() {}
        guests.spawn(airssys_osl::trace::scope(trace, work));
    }
    match head.await {
        Ok(Ok(response)) => {
            client.service.releases.ended(&release, None);
            Ok(response.map(|body| Whole::new(body, crashed).boxed_unsync()))
        }
        // An answer that the guest itself made of an error.
        Ok(Err(_)) => Err(StatusCode::INTERNAL_SERVER_ERROR),
        Err(_none) => Err(match failed.await {
            Ok(status) => status,
            Err(_returned) => {
                let silent = Failure::Silent;
                client.service.releases.ended(&release, silent.broke());
                silent.told(&client.service.name)
            }
        }),
    }
}

async fn handle(
    service: &Service,
    release: &Release,
    principal: &Principal,
    request: Request<Body>,
    tell: oneshot::Sender<Head>,
    alarm: Alarm,
) -> Result<(), Failure> {
    let (guest, mut store) = instance(service, release, principal).await?;
    // Declared behind the store, it is dropped before it.
    let alarm = alarm;
    let trapped = |error| Failure::Trap(Trap::new(error));
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request).map_err(trapped)?;
    let out = http.new_response_outparam(tell).map_err(trapped)?;
    guest.wasi_http_incoming_handler().call_handle(&mut store, request, out).await.map_err(trapped)?;
    alarm.disarm();
    Ok(())
}

/// Makes an instance of a version.
pub(super) async fn instance(
    service: &Service,
    release: &Release,
    principal: &Principal,
) -> Result<(Proxy, Store<State>), Failure> {
    let setup = Setup {
        name: service.name.clone(),
        principal,
        preopens: &service.preopens(),
        arguments: Vec::new(),
        variables: Vec::new(),
        config: service.config.clone(),
        stdio: Stdio::Log,
        limits: &service.spec.limits,
        trust: &service.spec.trust,
        port: None,
    };
    let mut store = State::store(&service.engine, setup).await.map_err(Failure::Instance)?;
    let guest = release.pre.instantiate_async(&mut store).await;
    Ok((guest.map_err(|error| Failure::Trap(Trap::new(error)))?, store))
}

impl Failure {
    /// What the guest did, where it was the guest.
    fn broke(&self) -> Option<&dyn std::fmt::Display> {
        match self {
            Self::Instance(_) => None,
            Self::Trap(trap) => Some(trap),
            Self::Late => Some(&"it took longer for a request than it may (http.timeout)"),
            Self::Silent => Some(&"it gave no answer"),
        }
    }

    /// Says in the log why there is no answer, and which one the client gets instead.
    fn told(self, component: &str) -> StatusCode {
        match self {
            Self::Instance(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(component, %error, cause, "cannot answer a request");
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Trap(trap) => {
                tracing::warn!(component, cause = %trap, "crashed at a request");
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Late => {
                tracing::warn!(component, "took longer for a request than it may (http.timeout)");
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Silent => {
                tracing::warn!(component, "did not answer a request");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}
