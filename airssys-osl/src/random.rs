//! Random bytes from the kernel's generator.

use crate::{Action, Error, ErrorKind, Principal, limits::RANDOM_BYTES, os::Lease, sys};

/// The permission to draw random bytes.
///
/// As with [`Clock`](crate::clock::Clock), getting hold of it is decided and recorded, a single draw is not.
#[derive(Clone, Debug)]
pub struct Random {
    lease: Lease,
}

impl Principal {
    /// Gets hold of random bytes.
    ///
    /// Leaves one record; single draws leave none.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): no grant permits it.
    pub fn random(&self) -> Result<Random, Error> {
        Ok(Random { lease: Lease::acquire(self, Action::RandomRead)? })
    }
}

impl Random {
    /// Fills `bytes` with bytes that are fit for keys.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the principal was revoked, or a new policy does not grant it.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): more than [`RANDOM_BYTES`] at once.
    /// * [`Io`](ErrorKind::Io): the kernel's generator refused.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        self.lease.check()?;
        if bytes.len() > RANDOM_BYTES {
            let what = format!("draw {} random bytes at once, the limit is {RANDOM_BYTES}", bytes.len());
            return Err(Error::new(ErrorKind::LimitExceeded, what));
        }
        sys::random(bytes).map_err(|source| Error::io("draw random bytes", source))
    }
}
