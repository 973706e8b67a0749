//! One-shot timers of this actor. They do not survive a restart.

use std::time::Duration;

use crate::host;

/// Calls [`Actor::timer`](crate::Actor::timer) with this name after `delay`, in whole milliseconds. Arming a name
/// again moves it.
///
/// # Panics
///
/// The host ends the component that arms more than 64 names at a time.
pub fn set(name: &str, delay: Duration) {
    host::timer_set(name, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
}

/// Disarms a timer. False where none of this name was armed.
pub fn cancel(name: &str) -> bool {
    host::timer_cancel(name)
}
