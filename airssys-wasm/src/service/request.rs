//! One request: a place, an instance, an answer.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, atomic::AtomicBool},
};

use airssys_osl::{Principal, net::Exchange};
use bytes::Bytes;
use http::{Request, Response, StatusCode, uri::Authority};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};
use wasmtime::Store;
use wasmtime_wasi_http::{
    Error as HttpError, WasiBody, WasiHttpView as _,
    p2::bindings::{Proxy, http::types::Scheme},
    p3,
};

use super::{
    Release, Service,
    connection::{Client, plain},
    newer, told_with_cause,
    verdict::{Observed, Received},
};
use crate::{
    actor::{Working, health::Ailment},
    component::Handler,
    error::{Error, ErrorKind},
    host::{
        Stdio,
        http::{Alarm, Bounded, Message, Whole},
        printable,
    },
    instance::{Setup, State},
    record,
    trap::Trap,
};

type Body = Bounded<http_body_util::combinators::UnsyncBoxBody<Bytes, HttpError>>;
pub(super) type Watched = Received<Body>;

/// The head of an answer, or the error that the guest made of it.
pub(super) type Head = Result<Response<WasiBody>, String>;

/// An instance of what answers requests: of WASI 0.2, or of 0.3.
pub(super) enum Guest {
    Older(Proxy),
    Newer(p3::bindings::Service),
}

/// Why a guest gave no answer, or did not end it.
pub(super) enum Failure {
    /// There was no instance, through no fault of the guest's.
    Instance(Error),
    Trap(Trap),
    Late,
    /// It returned without one.
    Silent,
}

/// Answers one request. Whatever the guest does, there is an answer.
pub(super) async fn answer(client: &Arc<Client>, request: Request<Incoming>) -> Response<WasiBody> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = || request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority = authority.or_else(host).unwrap_or_default();
    let exchange = client.exchanges.begin(request.method().as_str(), "http", authority);
    if authority.parse::<Authority>().is_err() {
        return refuse(exchange, StatusCode::BAD_REQUEST, io::ErrorKind::InvalidInput);
    }
    let Some(service) = client.service.routed(without_port(authority), request.uri().path()) else {
        return refuse(exchange, StatusCode::NOT_FOUND, io::ErrorKind::NotFound);
    };
    let principal = match Arc::ptr_eq(service, &client.service) {
        true => client.principal.clone(),
        false => match service.running().clone() {
            Some(principal) if principal.may_answer(service.http.listen).is_ok() => principal,
            // It is stopped, about to be started again, or may not listen here any more.
            _ => return refuse(exchange, StatusCode::SERVICE_UNAVAILABLE, io::ErrorKind::NotConnected),
        },
    };
    let now = Instant::now();
    // Who has waited for half of its time for a place would hardly be done in the other half.
    let (waits_until, until) = (now + service.http.timeout / 2, now + service.http.timeout);
    let limits = &service.spec.limits.http;
    let (parts, body) = request.into_parts();
    let body = body.map_err(|_| HttpError::HttpProtocolError).boxed_unsync();
    let body = Bounded::new(body, Message::Request, limits, Some(limits.timeout));
    let Ok(body) = body else {
        return refuse(exchange, StatusCode::PAYLOAD_TOO_LARGE, io::ErrorKind::InvalidData);
    };
    let Ok(Ok(place)) = timeout_at(waits_until, service.places.clone().acquire_owned()).await else {
        return refuse(exchange, StatusCode::SERVICE_UNAVAILABLE, io::ErrorKind::TimedOut);
    };
    let request = Request::from_parts(parts, body);
    match ask(client, (service.clone(), principal), request, until, place).await {
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

/// The host of an authority.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => authority,
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
    (service, principal): (Arc<Service>, Principal),
    request: Request<Body>,
    until: Instant,
    place: OwnedSemaphorePermit,
) -> Result<Response<WasiBody>, StatusCode> {
    let (tell, head) = oneshot::channel();
    let (fail, failed) = oneshot::channel();
    let name = service.name.clone();
    let release = service.releases.next();
    let observed = Arc::<Observed>::default();
    let request = request.map(|body| observed.watch(body));
    let trace = airssys_osl::trace::current();
    let crashed = Arc::<AtomicBool>::default();
    let alarm = Alarm::new(crashed.clone());
    let work = async move {
        let _working = Working::begin(&service.counters);
        let handling = handle(&service, &release, (&principal, false), request, tell, alarm, &observed);
        let handled = match timeout_at(until, handling).await {
            Ok(Ok(())) if !observed.is_answered() => Err(Failure::Silent),
            Ok(handled) => handled,
            Err(_late) => Err(Failure::Late),
        };
        // Before the client hears of it: a version that breaks costs one request, not the next one, too.
        service.releases.ended(&release, observed.verdict(&handled));
        if let Err(failure) = handled {
            if let Failure::Trap(trap) = &failure {
                record::exit(&service.os, &service.name, trap);
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
        Ok(Ok(response)) => Ok(response.map(|body| Whole::new(body, crashed).boxed_unsync())),
        // An answer that the guest itself made of an error.
        Ok(Err(_)) => Err(StatusCode::INTERNAL_SERVER_ERROR),
        // Where nobody says why, the work was broken off.
        Err(_none) => Err(failed.await.unwrap_or_else(|_gone| Failure::Silent.told(&name))),
    }
}

async fn handle(
    service: &Service,
    release: &Release,
    (principal, on_credit): (&Principal, bool),
    request: Request<Watched>,
    tell: oneshot::Sender<Head>,
    alarm: Alarm,
    observed: &Arc<Observed>,
) -> Result<(), Failure> {
    let (guest, mut store) = instance(service, release, principal, on_credit).await?;
    // Declared behind the store, they are dropped before it.
    let (alarm, _gone) = (alarm, store.data().host.http.alarm());
    let trapped = |error| match Trap::lacks_room(&error) {
        true => Failure::Instance(no_room(service, error)),
        false => Failure::Trap(Trap::new(error)),
    };
    let observed = observed.clone();
    let head = move |head: Head| {
        observed.head(&head);
        // Who asked may be gone.
        let _ = tell.send(head);
    };
    let called = match &guest {
        Guest::Older(guest) => call(&mut store, guest, request, head).await,
        Guest::Newer(guest) => newer::call(&mut store, guest, request, head).await,
    };
    called.map_err(trapped)?;
    alarm.disarm();
    Ok(())
}

/// Has a guest of WASI 0.2 handle a request.
async fn call(
    store: &mut Store<State>,
    guest: &Proxy,
    request: Request<Watched>,
    tell: impl FnOnce(Head) + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam_from_callback(move |head| tell(head.map_err(told)))?;
    guest.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await
}

/// An error code of a guest's, for people.
pub(super) fn told(code: impl fmt::Debug) -> String {
    printable(&format!("{code:?}"))
}

/// Has a fresh instance of a version handle a GET for `path`, over no connection and whatever its places are taken by. What
/// ails it is a status of 400 or more, or whatever else is no answer; the error is where there is no room for an instance.
pub(super) async fn probe(
    service: &Service,
    release: &Release,
    principal: &Principal,
    path: &str,
) -> Result<Ailment, Error> {
    let limits = &service.spec.limits.http;
    let authority = service.http.listen.to_string();
    let body = Bounded::new(empty(), Message::Request, limits, Some(limits.timeout));
    let bug = |cause: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Bug, format!("ask `{}` for `{path}`: {cause}", service.name))
    };
    let body = body.map_err(|error| bug(&error))?;
    let request = Request::get(format!("http://{authority}{path}")).header(http::header::HOST, authority);
    let observed = Arc::<Observed>::default();
    let request = request.body(observed.watch(body)).map_err(|error| bug(&error))?;
    let (tell, head) = oneshot::channel();
    let alarm = Alarm::new(Arc::default());
    let handling = handle(service, release, (principal, true), request, tell, alarm, &observed);
    // A guest may wait for somebody to take what it says.
    let taking = async {
        let response = match head.await {
            Ok(Ok(response)) => response,
            Ok(Err(code)) => return Err(format!("it answered with an error: {code}")),
            Err(_none) => return Err("it gave no answer".to_owned()),
        };
        let (parts, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| format!("its answer broke off: {error}"))?;
        }
        Ok(parts.status)
    };
    let (handled, status) = tokio::join!(handling, taking);
    match (handled, status) {
        (Err(Failure::Instance(error)), _) if error.kind() == ErrorKind::Unavailable => Err(error),
        (Err(Failure::Instance(error)), _) => Ok(Some(told_with_cause(&error))),
        (Err(Failure::Trap(trap)), _) => Ok(Some(trap.to_string())),
        (_, Err(why)) => Ok(Some(why)),
        (_, Ok(status)) if status.as_u16() >= 400 => {
            Ok(Some(format!("it answered with the status {}", status.as_u16())))
        }
        _ => Ok(None),
    }
}

/// Makes an instance of a version; on credit it is not held back for its share of a processor.
pub(super) async fn instance(
    service: &Service,
    release: &Release,
    principal: &Principal,
    on_credit: bool,
) -> Result<(Guest, Store<State>), Failure> {
    let setup = Setup {
        name: service.name.clone(),
        principal,
        preopens: &service.preopens(),
        arguments: Vec::new(),
        variables: Vec::new(),
        config: service.config.clone(),
        stdio: Stdio::Log,
        log: service.log.clone(),
        limits: &service.spec.limits,
        share: service.counters.share.clone(),
        on_credit,
        trust: &service.spec.trust,
        port: None,
    };
    let mut store = State::store(&release.engine, setup).await.map_err(Failure::Instance)?;
    let guest = match &release.handler {
        Handler::Older(handler) => handler.instantiate_async(&mut store).await.map(Guest::Older),
        Handler::Newer(handler) => handler.instantiate_async(&mut store).await.map(Guest::Newer),
    };
    match guest {
        Ok(guest) => Ok((guest, store)),
        Err(error) if Trap::is_shortage(&error) => Err(Failure::Instance(no_room(service, error))),
        Err(error) => Err(Failure::Trap(Trap::new(error))),
    }
}

/// The error where the host has no room for an instance.
fn no_room(service: &Service, cause: wasmtime::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("make an instance of `{}`", service.name)).caused_by(cause)
}

impl Failure {
    /// Says in the log why there is no answer, and which one the client gets instead.
    fn told(self, component: &str) -> StatusCode {
        match self {
            Self::Instance(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(component, %error, cause, "cannot answer a request");
                match error.kind() {
                    ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                }
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
