//! Choosing by number. Pure, so the same turns choose the same workers.

/// Two different indices below `size` for a turn, or the only one twice, as if at random.
pub(super) fn two_of(turn: u64, size: usize) -> (usize, usize) {
    let random = scatter(turn);
    let one = (random as u32 as u64 % size as u64) as usize;
    let step = match size as u64 - 1 {
        0 => 0,
        others => 1 + (random >> 32) % others,
    };
    (one, (one + step as usize) % size)
}

/// One step of SplitMix64: neighbouring numbers become unrelated ones.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Gives a key one of `size` buckets, so that another size moves as few keys as possible.
///
/// Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014).
pub(super) fn jump(mut key: u64, size: usize) -> usize {
    let (mut bucket, mut next) = (0, 0.0_f64);
    while next < size as f64 {
        bucket = next as usize;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket as f64 + 1.0) * (f64::from(1_u32 << 31) / ((key >> 33) as f64 + 1.0))).floor();
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 20_000;

    #[test]
    fn two_are_different_where_there_are_two() {
        for size in 1..20 {
            let mut hits = vec![0_usize; size];
            for turn in 0..2_000 {
                let (one, other) = two_of(turn, size);
                assert_eq!(one == other, size == 1);
                hits[one] += 1;
                hits[other] += 1;
            }
            let fair = 4_000 / size;
            assert!(hits.iter().all(|hits| (fair / 2..=fair * 2).contains(hits)), "{size}: {hits:?}");
        }
    }

    #[test]
    fn keys_are_spread_evenly() {
        for size in [1, 2, 7, 64] {
            let mut hits = vec![0_usize; size];
            (0..KEYS).for_each(|key| hits[jump(scatter(key), size)] += 1);
            let fair = KEYS as usize / size;
            assert!(hits.iter().all(|hits| (fair * 3 / 4..=fair * 5 / 4).contains(hits)), "{size}: {hits:?}");
        }
    }

    #[test]
    fn a_larger_pool_moves_keys_only_to_the_new_worker() {
        for size in 1..30 {
            let moved = (0..KEYS).filter(|key| {
                let (before, after) = (jump(scatter(*key), size), jump(scatter(*key), size + 1));
                assert!(after == before || after == size);
                after != before
            });
            let (moved, fair) = (moved.count(), KEYS as usize / (size + 1));
            assert!((fair * 3 / 4..=fair * 5 / 4).contains(&moved), "{size}: {moved}");
        }
    }
}
