//! `wasi:random`: bytes of the door's generator, which is secure; the insecure interfaces use it too.

use wasmtime::{Result, bail, error::Context as _};

use super::{
    Host,
    bindings::wasi::random::{insecure, insecure_seed, random},
};

/// The most bytes of one call: more would be a way to make the host allocate.
pub(super) const CALL_BYTES: u64 = 1 << 20;

impl Host {
    pub(super) fn random_bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill_random(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn random_vec(&mut self, len: u64) -> Result<Vec<u8>> {
        if len > CALL_BYTES {
            bail!("{len} random bytes in one call; the most is {CALL_BYTES}");
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        self.fill_random(&mut bytes)?;
        Ok(bytes)
    }

    /// WASI's random has no errors, so a denial ends the guest.
    pub(super) fn fill_random(&mut self, bytes: &mut [u8]) -> Result<()> {
        let random = match self.random.take() {
            Some(random) => random,
            None => self.principal.random().context("random bytes are not granted")?,
        };
        Ok(self.random.insert(random).fill(bytes)?)
    }
}

impl random::Host for Host {
    fn get_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        self.random_vec(len)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        Ok(u64::from_ne_bytes(self.random_bytes()?))
    }
}

impl insecure::Host for Host {
    fn get_insecure_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        self.random_vec(len)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        Ok(u64::from_ne_bytes(self.random_bytes()?))
    }
}

impl insecure_seed::Host for Host {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((u64::from_ne_bytes(self.random_bytes()?), u64::from_ne_bytes(self.random_bytes()?)))
    }
}
