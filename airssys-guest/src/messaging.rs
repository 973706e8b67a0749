//! Messages to other actors.

use std::time::Duration;

use crate::{Error, host};

/// Sends a message and does not wait for it to be handled.
///
/// It leaves when the handler returns: a handler that crashes has sent nothing. Where the receiver's mailbox is
/// full, the sender waits.
///
/// # Errors
///
/// * [`Denied`](crate::ErrorKind::Denied): the grants do not name the receiver.
/// * [`NotFound`](crate::ErrorKind::NotFound): the manifest has no such actor.
/// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): more than the receiver takes.
/// * [`Unavailable`](crate::ErrorKind::Unavailable): the receiver was stopped for good.
pub fn send(to: &str, subject: &str, payload: &[u8]) -> Result<(), Error> {
    host::send(to, subject, payload)
        .map_err(|failure| failure.cannot(format_args!("send `{subject}` to `{to}`")))
}

/// Sends a message and waits for the answer, in whole milliseconds and for at most 49 days.
///
/// # Errors
///
/// Those of [`send`], and
/// * [`TimedOut`](crate::ErrorKind::TimedOut): no answer in time: a late one is discarded. Or no room in time for what was
///   sent before: then nobody was called.
/// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): an answer of more than this component takes, too.
/// * [`Invalid`](crate::ErrorKind::Invalid): the receiver handled the message and had no answer to give.
pub fn call(to: &str, subject: &str, payload: &[u8], timeout: Duration) -> Result<Vec<u8>, Error> {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    host::call(to, subject, payload, timeout_ms)
        .map_err(|failure| failure.cannot(format_args!("call `{to}` about `{subject}`")))
}

/// As [`send`], and says what the payload is: a media type of at most 256 bytes, which [`content_type`](crate::context::content_type)
/// tells the receiver.
///
/// # Errors
///
/// Those of [`send`].
pub fn send_typed(to: &str, subject: &str, content_type: &str, payload: &[u8]) -> Result<(), Error> {
    host::send_typed(to, subject, content_type, payload)
        .map_err(|failure| failure.cannot(format_args!("send `{subject}` to `{to}`")))
}

/// As [`call`], and says what the payload is.
///
/// # Errors
///
/// Those of [`call`].
pub fn call_typed(
    to: &str,
    subject: &str,
    content_type: &str,
    payload: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    host::call_typed(to, subject, content_type, payload, timeout_ms)
        .map_err(|failure| failure.cannot(format_args!("call `{to}` about `{subject}`")))
}
