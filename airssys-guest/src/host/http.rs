//! Requests of a component over HTTP, by its host's imports.

use std::time::Duration;

use super::Refusal;
use crate::{
    ErrorKind,
    bindings::http::wasi::{
        http::{
            outgoing_handler,
            types::{
                ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
                RequestOptions, Scheme, http_error_code,
            },
        },
        io::streams::StreamError,
    },
    http::{Parts, Request, Response},
};

/// The most bytes that a stream takes, and is asked for, in one call.
const CHUNK_BYTES: usize = 4096;

pub(crate) fn exchange(request: &Request, parts: &Parts<'_>) -> Result<Response, Refusal> {
    let invalid = |what: &str| Refusal(ErrorKind::Invalid, what.to_owned());
    let headers = Fields::from_list(&request.headers)
        .map_err(|_| invalid("a header is none, or not one's own to set"))?;
    let outgoing = OutgoingRequest::new(headers);
    outgoing.set_method(&method(&request.method)).map_err(|()| invalid("there is no such method"))?;
    let scheme = if parts.is_tls { Scheme::Https } else { Scheme::Http };
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("there is no such scheme"))?;
    outgoing.set_authority(Some(parts.authority)).map_err(|()| invalid("there is no such host"))?;
    outgoing
        .set_path_with_query(Some(&parts.path_with_query))
        .map_err(|()| invalid("there is no such path"))?;
    let body = match request.body.is_empty() {
        true => None,
        false => Some(outgoing.body().map_err(|()| invalid("it has no body"))?),
    };
    let options = request.timeout.map(options);
    let future = outgoing_handler::handle(outgoing, options).map_err(|code| refusal(&code))?;
    if let Some(body) = body {
        if let Ok(stream) = body.write() {
            // Who does not take it all, answers; why else it broke off, is told there as well.
            let _ =
                request.body.chunks(CHUNK_BYTES).try_for_each(|chunk| stream.blocking_write_and_flush(chunk));
        }
        let _ = OutgoingBody::finish(body, None);
    }
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => read(&response, request.limit),
        Some(Ok(Err(code))) => Err(refusal(&code)),
        _ => Err(Refusal(ErrorKind::Io, "the host has no answer".to_owned())),
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// A host that cannot keep one of them keeps its own, which are what the manifest says.
fn options(timeout: Duration) -> RequestOptions {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(Some(timeout));
    let _ = options.set_first_byte_timeout(Some(timeout));
    let _ = options.set_between_bytes_timeout(Some(timeout));
    options
}

fn read(response: &IncomingResponse, limit: usize) -> Result<Response, Refusal> {
    let broken = || Refusal(ErrorKind::Io, "the answer has no body".to_owned());
    let (status, headers) = (response.status(), response.headers().entries());
    let body = response.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK_BYTES as u64) {
            Ok(more) if bytes.len() + more.len() > limit => {
                return Err(Refusal(
                    ErrorKind::LimitExceeded,
                    format!("the answer is longer than {limit} bytes"),
                ));
            }
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(http_error_code(&error).map_or_else(broken, |code| refusal(&code)));
            }
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok(Response { status, headers, body: bytes })
}

fn refusal(code: &ErrorCode) -> Refusal {
    use ErrorCode as Code;
    let kind = match code {
        Code::HttpRequestDenied | Code::DestinationIpProhibited => {
            return Refusal(ErrorKind::Denied, String::new());
        }
        Code::DnsTimeout
        | Code::ConnectionTimeout
        | Code::ConnectionReadTimeout
        | Code::ConnectionWriteTimeout
        | Code::HttpResponseTimeout => ErrorKind::TimedOut,
        Code::DnsError(_)
        | Code::DestinationNotFound
        | Code::DestinationUnavailable
        | Code::DestinationIpUnroutable
        | Code::ConnectionRefused
        | Code::ConnectionTerminated
        | Code::HttpResponseIncomplete => ErrorKind::Unavailable,
        Code::HttpRequestMethodInvalid
        | Code::HttpRequestUriInvalid
        | Code::HttpRequestUriTooLong
        | Code::HttpRequestLengthRequired => ErrorKind::Invalid,
        Code::ConnectionLimitReached
        | Code::HttpRequestBodySize(_)
        | Code::HttpRequestHeaderSize(_)
        | Code::HttpRequestHeaderSectionSize(_)
        | Code::HttpResponseBodySize(_)
        | Code::HttpResponseHeaderSize(_)
        | Code::HttpResponseHeaderSectionSize(_) => ErrorKind::LimitExceeded,
        _ => ErrorKind::Io,
    };
    Refusal(kind, format!("{code:?}"))
}
