//! The one error of this crate.

use std::{error, fmt};

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
    /// The request itself is malformed, or its receiver has no answer to such a one. Change the request.
    Invalid,
    /// A limit would be exceeded. Ask for less.
    LimitExceeded,
    /// The other side is not there. It may be back later.
    Unavailable,
    /// No answer in time. What was asked for may have happened all the same.
    TimedOut,
    /// This host cannot do it.
    Unsupported,
    /// The system refused; see `source()`.
    Io,
    /// The component's own failure, made by [`Error::new`].
    Failed,
}

/// Why something was not done.
///
/// `Display` names the action and its object; the cause is in [`source`](error::Error::source).
///
/// # Examples
///
/// ```
/// use airssys_guest::{Error, ErrorKind};
///
/// fn port(text: &str) -> Result<u16, Error> {
///     text.parse().map_err(|cause| Error::new(format!("`{text}` is no port")).caused_by(cause))
/// }
/// let error = port("http").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Failed);
/// assert_eq!(error.to_string(), "`http` is no port");
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: Box<str>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of the component's own.
    pub fn new(what: impl Into<Box<str>>) -> Self {
        Self { kind: ErrorKind::Failed, what: what.into(), source: None }
    }

    /// Makes the error of a request; `what` completes the sentence "cannot …".
    pub(crate) fn cannot(kind: ErrorKind, what: impl fmt::Display) -> Self {
        let denial = if kind == ErrorKind::Denied { ": denied by policy" } else { "" };
        Self { kind, what: format!("cannot {what}{denial}").into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error and all its causes in one line, as a log or the host wants it.
    pub fn chain(&self) -> String {
        let mut text = self.what.to_string();
        let mut cause = error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<&str> for Error {
    fn from(what: &str) -> Self {
        Self::new(what)
    }
}

impl From<String> for Error {
    fn from(what: String) -> Self {
        Self::new(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = Error::cannot(ErrorKind::Io, "sync `a`").caused_by("no space");
        let outer = Error::new("the report is lost").caused_by(inner);
        assert_eq!(outer.chain(), "the report is lost: cannot sync `a`: no space");
        assert_eq!(outer.to_string(), "the report is lost");
    }

    #[test]
    fn a_denial_says_so() {
        let error = Error::cannot(ErrorKind::Denied, "open `/etc/passwd`");
        assert_eq!(error.to_string(), "cannot open `/etc/passwd`: denied by policy");
    }
}
