//! What an actor may know of itself, and of the message in hand.

use std::time::Duration;

use crate::host;

/// The name of this component: what others send to.
pub fn name() -> String {
    host::name()
}

/// What the payload of the message in hand is, as its sender said: a media type such as `application/json`. Empty where it said
/// nothing.
pub fn content_type() -> String {
    host::content_type()
}

/// For how long the caller of the message in hand still waits, in whole milliseconds. None where nobody waits.
pub fn remaining() -> Option<Duration> {
    host::remaining_ms().map(Duration::from_millis)
}

/// The trace that what is done now belongs to, in 32 hexadecimal digits: what `airssys audit query --trace` asks for. Empty in
/// [`init`](crate::Actor::init).
pub fn trace() -> String {
    host::trace()
}
