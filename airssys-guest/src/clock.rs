//! The clocks of the host.

use std::time::{Duration, SystemTime};

use crate::host;

/// The time since some moment in the past. It never goes backwards; only differences mean something.
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic_ns())
}

/// The time of day.
pub fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + host::wall()
}
