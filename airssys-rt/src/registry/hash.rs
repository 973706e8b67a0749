//! A quick hash for names, with secret keys.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers with keys of their own, so that nobody can prepare names that all meet in one bucket.
///
/// Names are short and looked up at every send: the standard library's hash, made for anything, costs as much as the
/// rest of a lookup.
pub(super) struct Keys {
    seed: u64,
    factor: u64,
}

impl Default for Keys {
    fn default() -> Self {
        let random = RandomState::new();
        // An odd factor loses no bit of what it multiplies.
        Self { seed: random.hash_one(0_u8), factor: random.hash_one(1_u8) | 1 }
    }
}

impl BuildHasher for Keys {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher { state: self.seed, factor: self.factor }
    }
}

pub(super) struct NameHasher {
    state: u64,
    factor: u64,
}

impl NameHasher {
    fn mix(&mut self, word: u64) {
        self.state = folded(self.state ^ word, self.factor);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        // The length tells `a` from `a\0`.
        let rest = rest.iter().fold(bytes.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        self.mix(rest);
    }

    /// What ends a string; the length has said it already.
    fn write_u8(&mut self, _: u8) {}

    /// Mixed by a factor that is known to be good: one random factor in some hundreds is not, and alike names meet.
    fn finish(&self) -> u64 {
        folded(self.state, 0xD6E8_FEB8_6659_FD93)
    }
}

/// Both halves of a product, so that each bit of it counts.
fn folded(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn similar_names_have_different_hashes() {
        let mut names: Vec<String> = (0..10_000).map(|n| format!("tree/branch/worker-{n}")).collect();
        names.extend(["", "a", "a\0", "a\0\0", "\0a"].map(str::to_owned));
        // Whatever the keys are: the factors with few bits too, which a random one seldom is.
        let poor = (0..64).map(|bit| Keys { seed: bit, factor: 1 << bit | 1 });
        for keys in poor.chain((0..64).map(|_| Keys::default())) {
            let hashes: HashSet<u64> = names.iter().map(|name| keys.hash_one(&**name)).collect();
            assert_eq!(hashes.len(), names.len(), "{:x}", keys.factor);
            // A map takes its buckets from the low bits.
            let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xFFFF).collect();
            assert!(low.len() > 8_500, "{:x}: {} of 65536 buckets", keys.factor, low.len());
        }
    }

    #[test]
    fn each_map_has_its_own_keys() {
        assert_ne!(Keys::default().hash_one("a"), Keys::default().hash_one("a"));
    }
}
