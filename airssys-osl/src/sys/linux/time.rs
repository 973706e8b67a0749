//! Clocks and randomness.

use std::{io, time::Duration};

use rustix::{
    io::retry_on_intr,
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, Timespec, clock_getres, clock_gettime},
};

use crate::clock::Timestamp;

/// The monotonic clock, in nanoseconds since some moment. It lasts 584 years.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub(crate) fn monotonic_resolution() -> Duration {
    duration(clock_getres(ClockId::Monotonic))
}

pub(crate) fn wall_now() -> Timestamp {
    let now = clock_gettime(ClockId::Realtime);
    Timestamp { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
}

pub(crate) fn wall_resolution() -> Duration {
    duration(clock_getres(ClockId::Realtime))
}

/// Fills `bytes` from the kernel's generator.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let drawn = retry_on_intr(|| getrandom(&mut *rest, GetRandomFlags::empty()))?;
        rest = rest.split_at_mut_checked(drawn).map(|(_, rest)| rest).unwrap_or_default();
    }
    Ok(())
}

fn duration(step: Timespec) -> Duration {
    Duration::new(step.tv_sec as u64, step.tv_nsec as u32)
}
