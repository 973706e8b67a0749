//! The one error of this crate.

use std::{error, fmt, io};

use crate::sys::errno;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Policy said no. Nothing was touched. Asking again will not help.
    Denied,
    /// What the request names does not exist.
    NotFound,
    /// What the request would create exists already.
    AlreadyExists,
    /// The request itself is malformed: a bad path, a bad argument, a closed handle. Change the request.
    Invalid,
    /// A limit would be exceeded. Ask for less, or retry once something is released.
    LimitExceeded,
    /// Somebody else holds it. Retry when they are done.
    Busy,
    /// It took longer than its deadline. What it would change may be changed all the same.
    TimedOut,
    /// The operation cannot be recorded, so it was not executed. Retry when the audit log takes records again.
    AuditUnavailable,
    /// The audit log is not what it was when it was written.
    Tampered,
    /// This platform, or this version, cannot do it.
    Unsupported,
    /// The operating system refused; see `source()`.
    Io,
    /// A broken invariant in this crate. Please report it.
    Bug,
}

/// Why an operation was not done.
///
/// `Display` names the action and the resource; the cause is in [`source`](error::Error::source).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    /// Completes "cannot …": an action and its resource.
    what: Box<str>,
    /// Where policy said no: the rule, and what would lift it.
    rule: Option<Box<str>>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error about `what`, which completes the sentence "cannot …".
    pub(crate) fn new(kind: ErrorKind, what: impl Into<Box<str>>) -> Self {
        Self { kind, what: what.into(), rule: None, source: None }
    }

    /// Makes the error of a refused system call; its kind follows from the error number.
    pub(crate) fn io(what: impl Into<Box<str>>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => ErrorKind::Invalid,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => ErrorKind::Busy,
            io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::LimitExceeded,
            io::ErrorKind::CrossesDevices => ErrorKind::Unsupported,
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            _ if source.raw_os_error() == Some(errno::TOO_MANY_OPEN) => ErrorKind::LimitExceeded,
            _ => ErrorKind::Io,
        };
        Self { kind, what: what.into(), rule: None, source: Some(Box::new(source)) }
    }

    /// Makes the error of a denial by `rule`.
    pub(crate) fn denied(what: impl Into<Box<str>>, rule: impl Into<Box<str>>) -> Self {
        Self { kind: ErrorKind::Denied, what: what.into(), rule: Some(rule.into()), source: None }
    }

    /// Adds the cause.
    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Makes the error of a [`Sink`](crate::audit::Sink) that cannot take a record.
    pub fn unrecorded(cause: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::AuditUnavailable, "record an operation").caused_by(cause)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The rule that denied, where one did.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// The error number of the operating system, where it was the one that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.as_ref()?.downcast_ref::<io::Error>()?.raw_os_error()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)?;
        match (&self.rule, self.kind) {
            (Some(rule), _) => write!(f, ": denied by {rule}"),
            (None, ErrorKind::LimitExceeded) => f.write_str(": over the limit"),
            (None, ErrorKind::TimedOut) => f.write_str(": over the deadline"),
            (None, ErrorKind::AuditUnavailable) => f.write_str(": the audit log takes no records"),
            (None, ErrorKind::Unsupported) => f.write_str(": not supported here"),
            (None, _) => Ok(()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
