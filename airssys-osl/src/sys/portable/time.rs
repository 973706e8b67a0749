//! Clocks, and what else of this program there is no portable word for.

use std::{
    io,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::clock::Timestamp;

/// The monotonic clock, in nanoseconds since the first call.
pub(crate) fn monotonic_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// The standard library does not tell; no platform is coarser.
pub(crate) fn monotonic_resolution() -> Duration {
    Duration::from_millis(16)
}

pub(crate) fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
}

/// As [`monotonic_resolution`].
pub(crate) fn wall_resolution() -> Duration {
    monotonic_resolution()
}

pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    use ring::rand::{SecureRandom as _, SystemRandom};
    SystemRandom::new().fill(bytes).map_err(|_| io::Error::other("the system gives no random bytes"))
}

pub(crate) fn raise_file_limit() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn forbid_tracing() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn user() -> u32 {
    0
}
