//! The error numbers of WASI 0.1.

use wasmtime::Result;
use wasmtime_wasi_io::streams::StreamError;

use crate::host::{bindings::wasi::filesystem::types::ErrorCode, errno::error_code, filesystem::FsError};

/// A number as the specification has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(pub(super) u16);

impl Errno {
    pub(super) const SUCCESS: Self = Self(0);
    pub(super) const BADF: Self = Self(8);
    pub(super) const ILSEQ: Self = Self(25);
    pub(super) const INVAL: Self = Self(28);
    pub(super) const IO: Self = Self(29);
    pub(super) const ISDIR: Self = Self(31);
    pub(super) const NAMETOOLONG: Self = Self(37);
    pub(super) const NOTDIR: Self = Self(54);
    pub(super) const NOTSOCK: Self = Self(57);
    pub(super) const NOTSUP: Self = Self(58);
    pub(super) const OVERFLOW: Self = Self(61);
    pub(super) const PIPE: Self = Self(64);
    pub(super) const SPIPE: Self = Self(70);

    /// What a function returns to the guest.
    pub(super) fn answer(outcome: std::result::Result<(), Fault>) -> Result<u32> {
        match outcome {
            Ok(()) => Ok(Self::SUCCESS.0.into()),
            Err(Fault::Errno(errno)) => Ok(errno.0.into()),
            Err(Fault::Trap(error)) => Err(error),
        }
    }
}

/// Why a function did not do it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The guest is told.
    Errno(Errno),
    /// The guest ends.
    Trap(wasmtime::Error),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<wasmtime::component::ResourceTableError> for Fault {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<airssys_osl::Error> for Fault {
    fn from(error: airssys_osl::Error) -> Self {
        FsError::from(error).into()
    }
}

impl From<FsError> for Fault {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Code(code) => Self::Errno(code.into()),
            FsError::Trap(error) => Self::Trap(error),
        }
    }
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed => Self::Errno(Errno::PIPE),
            StreamError::Trap(error) => Self::Trap(error),
            StreamError::LastOperationFailed(error) => {
                Self::Errno(if let Some(error) = error.downcast_ref::<airssys_osl::Error>() {
                    error_code(error).into()
                } else if let Some(error) = error.downcast_ref::<std::io::Error>()
                    && error.kind() == std::io::ErrorKind::BrokenPipe
                {
                    Errno::PIPE
                } else {
                    Errno::IO
                })
            }
        }
    }
}

impl From<ErrorCode> for Errno {
    fn from(code: ErrorCode) -> Self {
        Self(match code {
            ErrorCode::Access => 2,
            ErrorCode::WouldBlock => 6,
            ErrorCode::Already => 7,
            ErrorCode::BadDescriptor => 8,
            ErrorCode::Busy => 10,
            ErrorCode::Deadlock => 16,
            ErrorCode::Quota => 19,
            ErrorCode::Exist => 20,
            ErrorCode::FileTooLarge => 22,
            ErrorCode::IllegalByteSequence => 25,
            ErrorCode::InProgress => 26,
            ErrorCode::Interrupted => 27,
            ErrorCode::Invalid => 28,
            ErrorCode::Io => 29,
            ErrorCode::IsDirectory => 31,
            ErrorCode::Loop => 32,
            ErrorCode::TooManyLinks => 34,
            ErrorCode::MessageSize => 35,
            ErrorCode::NameTooLong => 37,
            ErrorCode::NoDevice => 43,
            ErrorCode::NoEntry => 44,
            ErrorCode::NoLock => 46,
            ErrorCode::InsufficientMemory => 48,
            ErrorCode::InsufficientSpace => 51,
            ErrorCode::NotDirectory => 54,
            ErrorCode::NotEmpty => 55,
            ErrorCode::NotRecoverable => 56,
            ErrorCode::Unsupported => 58,
            ErrorCode::NoTty => 59,
            ErrorCode::NoSuchDevice => 60,
            ErrorCode::Overflow => 61,
            ErrorCode::NotPermitted => 63,
            ErrorCode::Pipe => 64,
            ErrorCode::ReadOnly => 69,
            ErrorCode::InvalidSeek => 70,
            ErrorCode::TextFileBusy => 74,
            ErrorCode::CrossDevice => 75,
        })
    }
}
