//! How names of components are looked up: for each message, and so by a hash that costs little.

use std::hash::Hasher;

/// Odd, and without a pattern: a golden ratio of 64 bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes a name. It has no key: all names that are kept are the manifest's, and who looks one up adds none.
#[derive(Default)]
pub(super) struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(SPREAD);
        self.0 = (product >> 64) as u64 ^ (product as u64).rotate_left(32);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        self.add(rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    }

    fn write_u8(&mut self, byte: u8) {
        self.add(byte.into());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        hash::{BuildHasher, BuildHasherDefault},
    };

    use super::*;

    #[test]
    fn names_that_differ_little_have_other_hashes() {
        let hash = |name: &str| BuildHasherDefault::<NameHasher>::default().hash_one(name);
        let names: Vec<String> = (0..10_000)
            .map(|number| format!("a{number}"))
            .chain((0..100).map(|length| "x".repeat(length)))
            .chain((0..1000).map(|number| format!("worker-of-the-department-{number:06}")))
            .collect();
        let hashes: HashSet<u64> = names.iter().map(|name| hash(name)).collect();
        assert_eq!(hashes.len(), names.len());
        // A table looks at the upper bits first, and finds a place by the lower ones.
        let upper: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        let lower: HashSet<u64> = hashes.iter().map(|hash| hash & 0xFF).collect();
        assert_eq!((upper.len(), lower.len()), (128, 256), "some bits are the same for all");
    }
}
