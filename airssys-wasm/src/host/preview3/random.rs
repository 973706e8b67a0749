//! `wasi:random`. A guest says how much it takes at most, and may get less.

use wasmtime::Result;

use super::{
    super::{Host, random::CALL_BYTES},
    bindings::wasi::random::{insecure, insecure_seed, random},
};

impl random::Host for Host {
    fn get_random_bytes(&mut self, max_len: u64) -> Result<Vec<u8>> {
        self.random_vec(max_len.min(CALL_BYTES))
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        Ok(u64::from_ne_bytes(self.random_bytes()?))
    }
}

impl insecure::Host for Host {
    fn get_insecure_random_bytes(&mut self, max_len: u64) -> Result<Vec<u8>> {
        self.random_vec(max_len.min(CALL_BYTES))
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        Ok(u64::from_ne_bytes(self.random_bytes()?))
    }
}

impl insecure_seed::Host for Host {
    fn get_insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((u64::from_ne_bytes(self.random_bytes()?), u64::from_ne_bytes(self.random_bytes()?)))
    }
}
