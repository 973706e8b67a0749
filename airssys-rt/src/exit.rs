//! Why an actor ended, and what that means to its supervisor.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Why an actor, or a supervisor, ended.
///
/// Any error becomes one with `?`, so a handler that fails exits with the error and its whole cause chain.
/// That is also why the type does not implement [`Error`] itself; [`error`](Self::error) has the error inside.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was done: OTP's `normal`.
    Normal,
    /// Its supervisor stopped it: OTP's `shutdown`.
    Shutdown,
    /// It was shut down for this cause, or did so itself. Orderly, as OTP's `{shutdown, Term}` is.
    ShutdownFor(Arc<str>),
    /// A supervisor stopped because its children failed more often than its intensity allows.
    /// Orderly, as OTP's `shutdown` is: what follows is for the parent's restart type to say.
    GaveUp,
    /// It was ended without being asked: a brutal kill, or a shutdown time that ran out. OTP's `killed`.
    Killed,
    /// There was no such actor any more when it was asked for: OTP's `noproc`.
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
        let message = match payload.downcast_ref::<String>() {
            Some(message) => message,
            None => payload.downcast_ref::<&'static str>().copied().unwrap_or("no message"),
        };
        let message = Arc::from(message);
        drop_payload(payload);
        Self::Panic(message)
    }
}

/// Runs code that may be anybody's: an observer's, a waker's, or that of a value which is dropped here. Should it panic,
/// then that is all that ends; the panic hook has printed what there is to say.
pub(crate) fn quietly<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).map_err(drop_payload).ok()
}

/// How often in a row what somebody panicked with may panic where it is dropped. Then it is leaked.
const PANICS_IN_A_ROW: usize = 8;

fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..PANICS_IN_A_ROW {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(again) => payload = again,
        }
    }
    std::mem::forget(payload);
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
    fn a_payload_may_panic_when_it_is_dropped() {
        struct Bomb(u32);
        impl Drop for Bomb {
            fn drop(&mut self) {
                if self.0 > 0 {
                    std::panic::panic_any(Self(self.0 - 1));
                }
            }
        }
        let payload = catch_unwind(|| std::panic::panic_any(Bomb(2))).unwrap_err();
        assert_eq!(ExitReason::from_panic(payload).to_string(), "panicked: no message");
        assert!(quietly(|| std::panic::panic_any(Bomb(2))).is_none());
    }

    #[test]
    fn an_error_keeps_its_type_and_causes() {
        let reason = ExitReason::from(std::io::Error::other(fmt::Error));
        let error = reason.error().unwrap();
        assert!(error.is::<std::io::Error>());
        assert_eq!(reason.to_string(), fmt::Error.to_string());
    }
}
