//! The errors of the door, in the words of `wasi:sockets`. A guest learns *that* it was denied; the record says why.

use std::io;

use airssys_osl::ErrorKind;

use crate::host::bindings::wasi::sockets::network::ErrorCode;

/// Linux' error numbers, as far as WASI has a word for them. (`errno(3)`)
const NUMBERS: &[(i32, ErrorCode)] = &[
    (1, ErrorCode::AccessDenied),
    (11, ErrorCode::WouldBlock),
    (12, ErrorCode::OutOfMemory),
    (13, ErrorCode::AccessDenied),
    (22, ErrorCode::InvalidArgument),
    (23, ErrorCode::NewSocketLimit),
    (24, ErrorCode::NewSocketLimit),
    (32, ErrorCode::ConnectionReset),
    (90, ErrorCode::DatagramTooLarge),
    (95, ErrorCode::NotSupported),
    (97, ErrorCode::NotSupported),
    (98, ErrorCode::AddressInUse),
    (99, ErrorCode::AddressNotBindable),
    (100, ErrorCode::RemoteUnreachable),
    (101, ErrorCode::RemoteUnreachable),
    (103, ErrorCode::ConnectionAborted),
    (104, ErrorCode::ConnectionReset),
    (105, ErrorCode::OutOfMemory),
    (110, ErrorCode::Timeout),
    (111, ErrorCode::ConnectionRefused),
    (112, ErrorCode::RemoteUnreachable),
    (113, ErrorCode::RemoteUnreachable),
];

fn of_number(number: i32) -> Option<ErrorCode> {
    NUMBERS.iter().find(|(known, _)| *known == number).map(|(_, code)| *code)
}

/// The code of an operation that was not done.
pub(crate) fn error_code(error: &airssys_osl::Error) -> ErrorCode {
    if let Some(code) = error.raw_os_error().and_then(of_number) {
        return code;
    }
    match error.kind() {
        ErrorKind::Denied => ErrorCode::AccessDenied,
        ErrorKind::LimitExceeded => ErrorCode::NewSocketLimit,
        ErrorKind::Invalid => ErrorCode::InvalidArgument,
        ErrorKind::TimedOut => ErrorCode::Timeout,
        ErrorKind::Unsupported => ErrorCode::NotSupported,
        ErrorKind::NotFound => ErrorCode::NameUnresolvable,
        _ => ErrorCode::Unknown,
    }
}

/// The code of a connection that failed while it was used.
pub(crate) fn of_io(error: &io::Error) -> ErrorCode {
    // What the door itself says stands within.
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<airssys_osl::Error>()) {
        return error_code(inner);
    }
    error.raw_os_error().and_then(of_number).unwrap_or(match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorCode::AccessDenied,
        io::ErrorKind::TimedOut => ErrorCode::Timeout,
        _ => ErrorCode::Unknown,
    })
}

/// The code of a lookup that failed.
pub(crate) fn of_lookup(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::Timeout => ErrorCode::TemporaryResolverFailure,
        ErrorCode::NewSocketLimit => ErrorCode::TemporaryResolverFailure,
        ErrorCode::Unknown => ErrorCode::PermanentResolverFailure,
        other => other,
    }
}
