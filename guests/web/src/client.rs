//! The actor: the subject of a message is a method and a URL, its payload the body.

use std::time::Duration;

use airssys_guest::{Actor, Config, Error, Message, http};

use crate::bindings::wasi::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
        },
    },
    io::streams::{InputStream, OutputStream, StreamError},
};

/// The most bytes that a stream takes in one call.
const CHUNK: usize = 4096;

pub(crate) struct Client;

impl Actor for Client {
    fn init(_: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        if message.subject == "handles" {
            hoard();
        }
        let (method, url) = message.subject.split_once(' ').ok_or("give a method and a URL")?;
        if let Some(method) = method.strip_prefix("sdk-") {
            return Ok(Some(by_the_sdk(method, url, message.payload).into_bytes()));
        }
        let answer = match ask(method, url, &message.payload) {
            Ok(answer) => answer,
            Err(code) => format!("{code:?}"),
        };
        Ok(Some(answer.into_bytes()))
    }
}

/// The same through the SDK.
fn by_the_sdk(method: &str, url: &str, body: Vec<u8>) -> String {
    let request = http::Request::new(method, url).header("x-sdk", "yes").body(body).limit(100_000);
    match request.timeout(Duration::from_secs(3600)).send() {
        Ok(answer) => {
            let shown = String::from_utf8_lossy(answer.body.get(..40).unwrap_or(&answer.body)).into_owned();
            let kind = answer.header("content-length").map_or("unknown", |_| "known");
            format!("{}, {} bytes, length {kind}: {shown}", answer.status, answer.body.len())
        }
        Err(error) => format!("{:?}: {}", error.kind(), error.chain()),
    }
}

/// Makes handles and lets none of them go.
pub(crate) fn hoard() -> ! {
    loop {
        core::mem::forget(Fields::new());
    }
}

fn ask(method: &str, url: &str, body: &[u8]) -> Result<String, ErrorCode> {
    let (scheme, rest) = url.split_once("://").ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let headers = Fields::new();
    if path.starts_with("/many-headers") {
        let _ = headers.append("x-large", &[b'x'; 5000]);
    }
    let request = OutgoingRequest::new(headers);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(invalid)?;
    request
        .set_scheme(Some(if scheme == "https" { &Scheme::Https } else { &Scheme::Http }))
        .map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let response = send(request, body)?;
    let (status, (bytes, end)) = (response.status(), read(&response)?);
    let shown = String::from_utf8_lossy(bytes.get(..40).unwrap_or(&bytes)).into_owned();
    Ok(format!("{status}, {} bytes{end}: {shown}", bytes.len()))
}

fn send(request: OutgoingRequest, body: &[u8]) -> Result<IncomingResponse, ErrorCode> {
    let outgoing = if body.is_empty() { None } else { request.body().ok() };
    let future = outgoing_handler::handle(request, None)?;
    if let Some(outgoing) = outgoing {
        if let Ok(stream) = outgoing.write() {
            // Who does not take it all, answers.
            let _ = write(&stream, body);
        }
        let _ = OutgoingBody::finish(outgoing, None);
    }
    future.subscribe().block();
    match future.get() {
        Some(Ok(response)) => response,
        _ => Err(ErrorCode::InternalError(None)),
    }
}

pub(crate) fn write(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes.chunks(CHUNK).try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}

/// Reads it all: the bytes, and what broke it off.
fn read(response: &IncomingResponse) -> Result<(Vec<u8>, String), ErrorCode> {
    let body = response.consume().map_err(|()| ErrorCode::InternalError(None))?;
    let stream = body.stream().map_err(|()| ErrorCode::InternalError(None))?;
    let (bytes, end) = drain(&stream);
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok((bytes, end))
}

pub(crate) fn drain(stream: &InputStream) -> (Vec<u8>, String) {
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK as u64) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return (bytes, String::new()),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = crate::bindings::wasi::http::types::http_error_code(&error);
                return (bytes, format!(" and {code:?}"));
            }
        }
    }
}
