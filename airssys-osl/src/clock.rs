//! The clocks, under the names that WASI gives them.
//!
//! To get hold of a [`Clock`] is the operation that is decided and recorded. A single reading only checks that the
//! handle still holds: it changes nothing, tells nothing about the system's data, and one record for each would
//! drown the log in what a busy program asks a million times a second.

use std::time::Duration;

use crate::{Action, Error, Principal, os::Lease, sys};

/// A moment in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds of the second that began then, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// The permission to read the clocks.
#[derive(Clone, Debug)]
pub struct Clock {
    lease: Lease,
}

impl Principal {
    /// Gets hold of the clocks.
    ///
    /// Leaves one record; single readings leave none (see [the module](crate::clock)).
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): no grant permits it.
    pub fn clock(&self) -> Result<Clock, Error> {
        Ok(Clock { lease: Lease::acquire(self, Action::ClockRead, "")? })
    }
}

impl Clock {
    /// Reads the monotonic clock: the time since the [`Os`](crate::Os) was made. It never goes back, and it does not
    /// tell how long the machine has been up.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): the principal was revoked, or a new policy does not grant it.
    pub fn monotonic_now(&self) -> Result<Duration, Error> {
        self.lease.check()?;
        Ok(Duration::from_nanos(sys::monotonic_ns().saturating_sub(self.lease.os().started_ns())))
    }

    /// The step of the monotonic clock.
    ///
    /// # Errors
    ///
    /// As [`monotonic_now`](Self::monotonic_now).
    pub fn monotonic_resolution(&self) -> Result<Duration, Error> {
        self.lease.check()?;
        Ok(sys::monotonic_resolution())
    }

    /// Reads the wall clock. It may jump, in both directions, when someone sets it.
    ///
    /// # Errors
    ///
    /// As [`monotonic_now`](Self::monotonic_now).
    pub fn wall_now(&self) -> Result<Timestamp, Error> {
        self.lease.check()?;
        Ok(sys::wall_now())
    }

    /// The step of the wall clock.
    ///
    /// # Errors
    ///
    /// As [`monotonic_now`](Self::monotonic_now).
    pub fn wall_resolution(&self) -> Result<Duration, Error> {
        self.lease.check()?;
        Ok(sys::wall_resolution())
    }
}
