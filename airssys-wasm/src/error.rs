//! The one error of this crate, and how those of the door become it.

use std::{error, fmt};

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are no component that this version can run. Change the component.
    InvalidComponent,
    /// The component is not the one that the manifest names: its digest differs.
    DigestMismatch,
    /// What is named does not exist.
    NotFound,
    /// Policy said no. Change the grants, or do without.
    Denied,
    /// A guest ended in a trap or with an error of its own; see `source()`.
    Guest,
    /// The component did not answer: it is gone, or the time ran out; see `source()`. Perhaps later.
    Unavailable,
    /// A limit would be exceeded. Ask for less.
    LimitExceeded,
    /// This machine, or this version, cannot do it.
    Unsupported,
    /// The operating system refused; see `source()`.
    Io,
    /// A broken invariant in this crate. Please report it.
    Bug,
}

/// Why a component could not be loaded, started or run.
///
/// `Display` says what was not possible; the cause is in [`source`](error::Error::source).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: Box<str>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error about `what`, which completes the sentence "cannot …".
    pub(crate) fn new(kind: ErrorKind, what: impl Into<Box<str>>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Makes the error of an operation that the door did not do.
    pub(crate) fn door(what: impl Into<Box<str>>, error: airssys_osl::Error) -> Self {
        let kind = match error.kind() {
            airssys_osl::ErrorKind::Denied => ErrorKind::Denied,
            airssys_osl::ErrorKind::NotFound => ErrorKind::NotFound,
            airssys_osl::ErrorKind::LimitExceeded => ErrorKind::LimitExceeded,
            airssys_osl::ErrorKind::Unsupported => ErrorKind::Unsupported,
            airssys_osl::ErrorKind::Bug => ErrorKind::Bug,
            _ => ErrorKind::Io,
        };
        Self::new(kind, what).caused_by(error)
    }

    /// Adds the cause.
    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
