//! Texts as numbers, and whether two are the same: in few steps that are the same for texts of about one length, because
//! what a processor cannot foretell costs it more than what it computes.

/// Numbers whose bits follow no pattern: the fractional digits of π.
const MIX: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// Spreads a text over all numbers.
///
/// It defends against nobody who chooses texts that collide. Nobody can: guests only look things up, and what is in the
/// tables was written by whoever writes the policy.
#[inline]
pub(super) fn hash(text: &[u8]) -> u64 {
    let [a, b, c, d] = MIX;
    let len = text.len() as u64;
    match (text.first_chunk(), text.last_chunk(), text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last), ..) if len <= 32 => {
            let ((one, two), (three, four)) = (halves(first), halves(last));
            fold(one ^ a, two ^ b) ^ fold(three ^ c ^ len, four ^ d)
        }
        (None, _, Some(first), Some(last)) => {
            fold(u64::from_le_bytes(*first) ^ a ^ len, u64::from_le_bytes(*last) ^ b)
        }
        _ => hash_any(text),
    }
}

/// Whether two texts are the same.
#[inline]
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    // The first and the last bytes of each, which may overlap: no loop.
    let sixteens = (one.first_chunk(), one.last_chunk(), other.first_chunk(), other.last_chunk());
    let eights = (one.first_chunk(), one.last_chunk(), other.first_chunk(), other.last_chunk());
    match (one.len() == other.len(), one.len(), sixteens, eights) {
        (false, ..) => false,
        (_, ..=32, (Some(a), Some(b), Some(c), Some(d)), _) => {
            let [a, b, c, d] = [a, b, c, d].map(|bytes| u128::from_le_bytes(*bytes));
            (a ^ c) | (b ^ d) == 0
        }
        (_, ..=16, _, (Some(a), Some(b), Some(c), Some(d))) => {
            let [a, b, c, d] = [a, b, c, d].map(|bytes| u64::from_le_bytes(*bytes));
            (a ^ c) | (b ^ d) == 0
        }
        _ => one == other,
    }
}

/// The hash of a text that is short or long: in a loop, eight bytes at a time.
#[inline(never)]
fn hash_any(text: &[u8]) -> u64 {
    let [a, b, ..] = MIX;
    let (words, rest) = text.as_chunks();
    let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let state =
        words.iter().fold(text.len() as u64, |state, word| fold(state ^ u64::from_le_bytes(*word) ^ a, b));
    fold(state ^ rest ^ a, b)
}

#[inline]
fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*bytes);
    (both as u64, (both >> 64) as u64)
}

/// Multiplies, and folds the upper half of the product onto the lower one, so that every bit reaches every bit.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_every_length_differ() {
        for letter in ["a", "\0", "\u{7f}"] {
            let hashes: HashSet<_> = (0..200).map(|length| hash(letter.repeat(length).as_bytes())).collect();
            assert_eq!(hashes.len(), 200, "{letter:?}");
        }
        let fours: HashSet<_> = (0..10_000).map(|number| hash(format!("{number:04}").as_bytes())).collect();
        assert_eq!(fours.len(), 10_000);
    }

    /// Wherever they differ: at the ends, in the middle, where chunks overlap.
    #[test]
    fn each_byte_counts() {
        for length in 1..100 {
            let mut text = vec![b'x'; length];
            let mut hashes = HashSet::from([hash(&text)]);
            for at in 0..length {
                text[at] = b'y';
                assert!(hashes.insert(hash(&text)), "byte {at} of {length}");
                text[at] = b'x';
            }
        }
    }

    #[test]
    fn names_in_a_row_spread_over_both_ends() {
        let hash = |number| hash(format!("component-{number}").as_bytes());
        let low: HashSet<_> = (0..4096).map(|number| hash(number) & 0xfff).collect();
        let high: HashSet<_> = (0..4096).map(|number| hash(number) >> 57).collect();
        // A perfect spread of 4,096 over as many places fills 63 of 100 on average.
        assert!(low.len() > 2400, "{}", low.len());
        assert_eq!(high.len(), 128);
    }

    proptest! {
        #[test]
        fn same_is_equal(text: Vec<u8>, at: prop::sample::Index, other: Vec<u8>) {
            prop_assert!(same(&text, &text.clone()));
            prop_assert_eq!(same(&text, &other), text == other);
            if !text.is_empty() {
                let mut changed = text.clone();
                changed[at.index(text.len())] ^= 1;
                prop_assert!(!same(&text, &changed));
            }
        }
    }
}
