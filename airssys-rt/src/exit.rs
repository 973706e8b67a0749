//! Why an actor ended, and what that means to its supervisor.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why an actor, or a supervisor, ended.
///
/// Any error becomes one with `?`, so a handler that fails exits with the error and its whole cause chain.
/// That is also why the type does not implement [`Error`] itself; [`error`](Self::error) has the error inside.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was done.
    Normal,
    /// Its supervisor stopped it.
    Shutdown,
    /// It was shut down for this cause, or did so itself. Orderly, as OTP's `{shutdown, Term}` is.
    ShutdownFor(Arc<str>),
    /// A supervisor stopped because its children failed more often than its intensity allows.
    /// Orderly, as OTP's `shutdown` is: what follows is for the parent's restart type to say.
    GaveUp,
    /// It was ended without being asked: a brutal kill, or a shutdown time that ran out.
    Killed,
    /// There was no such actor any more when it was asked for.
    NoProc,
    /// It failed.
    Error(Arc<dyn Error + Send + Sync>),
    /// It panicked, with this message.
    Panic(Arc<str>),
}

impl ExitReason {
    /// Whether a [`Transient`](crate::Restart::Transient) actor is restarted after it.
    ///
    /// As in OTP, only a normal end and a shutdown, for whatever cause, are orderly.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownFor(_) | Self::GaveUp)
    }

    /// The error, where one was the reason. Its `source()` leads to the causes.
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Error(error) => Some(&**error),
            _ => None,
        }
    }

    /// Makes a reason of what `catch_unwind` caught.
    pub(crate) fn from_panic(payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast::<String>() {
            Ok(message) => Arc::from(*message),
            Err(payload) => Arc::from(*payload.downcast::<&'static str>().unwrap_or(Box::new("no message"))),
        };
        Self::Panic(message)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownFor(cause) => write!(f, "shutdown: {cause}"),
            Self::GaveUp => f.write_str("restart intensity reached"),
            Self::Killed => f.write_str("killed"),
            Self::NoProc => f.write_str("no such actor"),
            Self::Error(error) => error.fmt(f),
            Self::Panic(message) => write!(f, "panicked: {message}"),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ExitReason {
    fn from(error: E) -> Self {
        Self::Error(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn only_normal_ends_and_shutdowns_are_orderly() {
        let abnormal = |reason: ExitReason| reason.is_abnormal();
        assert!(!abnormal(ExitReason::Normal));
        assert!(!abnormal(ExitReason::Shutdown));
        assert!(!abnormal(ExitReason::ShutdownFor("upgrade".into())));
        assert!(!abnormal(ExitReason::GaveUp));
        assert!(abnormal(ExitReason::Killed));
        assert!(abnormal(ExitReason::NoProc));
        assert!(abnormal(std::io::Error::other("disk").into()));
        assert!(abnormal(ExitReason::Panic("boom".into())));
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let said = |payload| ExitReason::from_panic(payload).to_string();
        assert_eq!(said(catch_unwind(|| panic!("boom")).unwrap_err()), "panicked: boom");
        assert_eq!(said(catch_unwind(|| panic!("boom {}", 2)).unwrap_err()), "panicked: boom 2");
        assert_eq!(said(Box::new(7_u8)), "panicked: no message");
    }

    #[test]
    fn an_error_keeps_its_type_and_causes() {
        let reason = ExitReason::from(std::io::Error::other(fmt::Error));
        let error = reason.error().unwrap();
        assert!(error.is::<std::io::Error>());
        assert_eq!(reason.to_string(), fmt::Error.to_string());
    }
}
