//! Random bytes from the kernel's generator; for tests, from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::{Action, Error, ErrorKind, Principal, limits::RANDOM_BYTES, os::Lease, sys};

/// The permission to draw random bytes.
///
/// As with [`Clock`](crate::clock::Clock), getting hold of it is decided and recorded, a single draw is not.
#[derive(Clone, Debug)]
pub struct Random {
    lease: Lease,
}

/// Where a door's random bytes come from.
#[derive(Debug)]
pub(crate) enum Generator {
    Kernel,
    Seeded {
        seed: u64,
        /// How many blocks were drawn.
        drawn: AtomicU64,
    },
}

impl Principal {
    /// Gets hold of random bytes.
    ///
    /// Leaves one record; single draws leave none. Where the door was told to take them from a seed
    /// ([`OsBuilder::insecure_random`](crate::OsBuilder::insecure_random)) it says `insecure`.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): no grant permits it.
    pub fn random(&self) -> Result<Random, Error> {
        let what = match self.os().generator() {
            Generator::Kernel => "",
            Generator::Seeded { .. } => "insecure",
        };
        Ok(Random { lease: Lease::acquire(self, Action::RandomRead, what)? })
    }
}

impl Random {
    /// Fills `bytes` with bytes that are fit for keys, unless they come from a seed
    /// ([`is_secure`](Self::is_secure)).
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
        self.lease.os().generator().fill(bytes).map_err(|source| Error::io("draw random bytes", source))
    }

    /// Whether nobody can know the bytes beforehand: false where the door takes them from a seed.
    pub fn is_secure(&self) -> bool {
        matches!(self.lease.os().generator(), Generator::Kernel)
    }
}

impl Generator {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded { seed, drawn: AtomicU64::new(0) }
    }

    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        match self {
            Self::Kernel => sys::random(bytes),
            Self::Seeded { seed, drawn } => {
                for part in bytes.chunks_mut(32) {
                    let block = drawn.fetch_add(1, Ordering::Relaxed);
                    let hash =
                        Sha256::new().chain_update(seed.to_le_bytes()).chain_update(block.to_le_bytes());
                    part.iter_mut().zip(hash.finalize()).for_each(|(byte, drawn)| *byte = drawn);
                }
                Ok(())
            }
        }
    }
}
