//! The errors of the door and of HTTP, in the words of `wasi:http`.
//!
//! A guest learns *that* it was denied; the audit record says why.

use std::{error, io};

use airssys_osl::ErrorKind;
use wasmtime_wasi_http::{Error, p2::bindings::http::types::ErrorCode};

/// Linux' error numbers for what has a word of its own. (`errno(3)`)
const REFUSED: i32 = 111;
const RESET: i32 = 104;
const UNREACHABLE: [i32; 2] = [101, 113];

/// The error of a connection that was not made.
pub(super) fn of_door(failed: &airssys_osl::Error) -> Error {
    match (failed.kind(), failed.raw_os_error()) {
        (ErrorKind::Denied, _) => Error::HttpRequestDenied,
        (ErrorKind::Invalid, _) => Error::HttpRequestUriInvalid,
        (ErrorKind::NotFound, _) => Error::DestinationNotFound,
        (ErrorKind::TimedOut, _) => Error::ConnectionTimeout,
        (ErrorKind::LimitExceeded, _) => Error::ConnectionLimitReached,
        (_, Some(REFUSED)) => Error::ConnectionRefused,
        (_, Some(RESET)) => Error::ConnectionTerminated,
        (_, Some(number)) if UNREACHABLE.contains(&number) => Error::DestinationIpUnroutable,
        _ => Error::DestinationUnavailable,
    }
}

/// The error of an encrypted connection that was not made.
pub(super) fn of_tls(failed: &airssys_osl::Error) -> Error {
    match (failed.kind(), failed.raw_os_error()) {
        // The kernel has numbers; what rustls says has none.
        (ErrorKind::Io, None) if says(failed, "certificate") => Error::TlsCertificateError,
        (ErrorKind::Io, None) => Error::TlsProtocolError,
        _ => of_door(failed),
    }
}

fn says(failed: &airssys_osl::Error, word: &str) -> bool {
    let mut causes = std::iter::successors(Some(failed as &dyn error::Error), |error| error.source());
    causes.any(|cause| cause.to_string().contains(word))
}

/// The error of a request or an answer that broke off. One of ours, from a body, comes back as it is.
pub(super) fn of_hyper(failed: &hyper::Error) -> Error {
    let causes = std::iter::successors(error::Error::source(failed), |error| error.source());
    for cause in causes {
        match (cause.downcast_ref::<Error>(), cause.downcast_ref::<io::Error>()) {
            (Some(Error::HttpRequestBodySize(size)), _) => return Error::HttpRequestBodySize(*size),
            (Some(Error::HttpRequestTrailerSectionSize(size)), _) => {
                return Error::HttpRequestTrailerSectionSize(*size);
            }
            (Some(Error::ConnectionReadTimeout), _) => return Error::ConnectionWriteTimeout,
            (_, Some(cut)) if cut.kind() == io::ErrorKind::PermissionDenied => {
                return Error::HttpRequestDenied;
            }
            // How hyper says that a body ended before its length.
            (_, Some(cut)) if cut.kind() == io::ErrorKind::UnexpectedEof => {
                return Error::HttpResponseIncomplete;
            }
            (_, Some(late)) if late.kind() == io::ErrorKind::TimedOut => return Error::ConnectionReadTimeout,
            (_, Some(stuck)) if stuck.get_ref().is_some_and(|cause| cause.is::<Error>()) => {
                return Error::ConnectionWriteTimeout;
            }
            _ => {}
        }
    }
    // It is shorter than its header says.
    if failed.is_body_write_aborted() {
        return Error::HttpRequestBodySize(None);
    }
    if failed.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    match failed.is_incomplete_message() || failed.is_closed() || failed.is_canceled() {
        true => Error::HttpResponseIncomplete,
        false => Error::HttpProtocolError,
    }
}

/// As [`of_hyper`], for a request: why its body failed may be the guest's own word, which comes back to it.
pub(super) fn of_request(failed: hyper::Error) -> Error {
    let is_own = error::Error::source(&failed).is_some_and(|cause| cause.is::<Error>());
    match of_hyper(&failed) {
        Error::HttpProtocolError if is_own => Error::Hyper(failed),
        known => known,
    }
}

/// The error code of what broke a stream off, where that was a body's.
pub(super) fn code_of(failed: &wasmtime::Error) -> Option<ErrorCode> {
    let told = failed.downcast_ref::<ErrorCode>().cloned();
    told.or_else(|| failed.downcast_ref::<Error>().map(code))
}

/// The error code of an error that a body can end with.
pub(super) fn code(failed: &Error) -> ErrorCode {
    match failed {
        Error::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(*size),
        Error::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(*size),
        Error::HttpRequestTrailerSectionSize(size) => ErrorCode::HttpRequestTrailerSectionSize(*size),
        Error::HttpResponseHeaderSectionSize(size) => ErrorCode::HttpResponseHeaderSectionSize(*size),
        Error::HttpResponseTrailerSectionSize(size) => ErrorCode::HttpResponseTrailerSectionSize(*size),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpRequestDenied => ErrorCode::HttpRequestDenied,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionWriteTimeout => ErrorCode::ConnectionWriteTimeout,
        _ => ErrorCode::HttpProtocolError,
    }
}
