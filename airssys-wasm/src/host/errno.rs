//! The errors of the door, in WASI's words.
//!
//! A guest learns *that* it was denied; the audit record says why.

use airssys_osl::ErrorKind;

use super::bindings::wasi::filesystem::types::ErrorCode;

/// Linux' error numbers, as far as WASI has a word for them. (`errno(3)`)
const NUMBERS: &[(i32, ErrorCode)] = &[
    (1, ErrorCode::NotPermitted),
    (2, ErrorCode::NoEntry),
    (4, ErrorCode::Interrupted),
    (5, ErrorCode::Io),
    (9, ErrorCode::BadDescriptor),
    (11, ErrorCode::WouldBlock),
    (12, ErrorCode::InsufficientMemory),
    (13, ErrorCode::Access),
    (16, ErrorCode::Busy),
    (17, ErrorCode::Exist),
    (18, ErrorCode::CrossDevice),
    (19, ErrorCode::NoDevice),
    (20, ErrorCode::NotDirectory),
    (21, ErrorCode::IsDirectory),
    (22, ErrorCode::Invalid),
    (26, ErrorCode::TextFileBusy),
    (27, ErrorCode::FileTooLarge),
    (28, ErrorCode::InsufficientSpace),
    (29, ErrorCode::InvalidSeek),
    (30, ErrorCode::ReadOnly),
    (31, ErrorCode::TooManyLinks),
    (32, ErrorCode::Pipe),
    (36, ErrorCode::NameTooLong),
    (39, ErrorCode::NotEmpty),
    (40, ErrorCode::Loop),
    (75, ErrorCode::Overflow),
    (84, ErrorCode::IllegalByteSequence),
    (95, ErrorCode::Unsupported),
    (122, ErrorCode::Quota),
];

/// The WASI error code of an error of the door.
pub(super) fn error_code(error: &airssys_osl::Error) -> ErrorCode {
    if let Some(number) = error.raw_os_error()
        && let Some((_, code)) = NUMBERS.iter().find(|(known, _)| *known == number)
    {
        return *code;
    }
    match error.kind() {
        ErrorKind::Denied => ErrorCode::NotPermitted,
        ErrorKind::NotFound => ErrorCode::NoEntry,
        ErrorKind::AlreadyExists => ErrorCode::Exist,
        ErrorKind::Invalid => ErrorCode::Invalid,
        ErrorKind::LimitExceeded => ErrorCode::InsufficientMemory,
        ErrorKind::Unsupported => ErrorCode::Unsupported,
        _ => ErrorCode::Io,
    }
}
