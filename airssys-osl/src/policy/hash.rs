use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A table whose keys come from a policy.
///
/// The standard hasher defends against keys that someone chose to collide. Here nobody can: guests only look things
/// up, and what is in the table was written by whoever writes the policy. Without that defence a decision takes half
/// the time.
pub(super) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Folding>>;

/// Multiplies each word into the state and folds the upper half of the product onto the lower one, so that every bit
/// of the input reaches every bit that the table looks at.
#[derive(Default)]
pub(super) struct Folding(u64);

/// An odd number whose bits follow no pattern: the fractional part of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if rest.is_empty() {
            return;
        }
        // Their number tells texts apart that repeat what they end in.
        let count = (rest.len() as u64) << 56;
        let word = match (bytes.last_chunk(), rest.first_chunk(), rest.last_chunk()) {
            (Some(last), ..) => u64::from_le_bytes(*last).rotate_left(8),
            (None, Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            _ => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        self.fold(word ^ count);
    }

    /// What marks the end of a text: the state is mixed already.
    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Folding {
    fn fold(&mut self, word: u64) {
        // Without the constant, words of zeros would leave a fresh state as it is.
        let product = u128::from(self.0 ^ word ^ FACTOR.rotate_left(32)) * u128::from(FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        hash::{BuildHasher as _, BuildHasherDefault},
    };

    use super::Folding;

    /// The table takes the lowest bits for the place and the highest seven for a first comparison.
    #[test]
    fn texts_of_every_length_differ() {
        let hash = |text: &str| BuildHasherDefault::<Folding>::default().hash_one(text);
        for letter in ["a", "\0", "\u{7f}"] {
            let hashes: HashSet<_> = (0..100).map(|length| hash(&letter.repeat(length))).collect();
            assert_eq!(hashes.len(), 100, "{letter:?}");
        }
        let pairs: HashSet<_> = (0..10_000).map(|number| hash(&format!("{number:04}"))).collect();
        assert_eq!(pairs.len(), 10_000);
    }

    #[test]
    fn names_in_a_row_spread_over_both_ends() {
        let hash = |number| BuildHasherDefault::<Folding>::default().hash_one(format!("component-{number}"));
        let low: HashSet<_> = (0..4096).map(|number| hash(number) & 0xfff).collect();
        let high: HashSet<_> = (0..4096).map(|number| hash(number) >> 57).collect();
        // A perfect spread of 4,096 over as many places fills 63 of 100 on average.
        assert!(low.len() > 2400, "{}", low.len());
        assert_eq!(high.len(), 128);
    }
}
