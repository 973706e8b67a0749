//! Percentiles of any number of sizes, in bounded memory.

/// How many bits of a number are kept: numbers that share their highest 8 bits share a bucket.
const KEPT_BITS: u32 = 8;

/// A bucket is at most 1/128 of its numbers wide, and its middle stands for it.
pub(crate) const RELATIVE_ERROR: f64 = 1.0 / 256.0;

/// Counts numbers by their highest bits, as HdrHistogram does: exact below 256, within [`RELATIVE_ERROR`] above.
///
/// At most 7,424 buckets, 58 KiB.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    /// Counts a number.
    pub(crate) fn add(&mut self, value: u64) {
        let bucket = bucket_of(value);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// The sum of all; it stops at the largest number there is.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The nearest-rank percentile: the smallest number that `percent` of all do not exceed.
    pub(crate) fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.map_or(0, |bucket| middle_of(bucket).min(self.max))
    }
}

fn bucket_of(value: u64) -> usize {
    let dropped_bits = (u64::BITS - value.leading_zeros()).saturating_sub(KEPT_BITS);
    // Above 256 a bucket's highest bit is always set: each further bit adds only half as many buckets.
    let bucket = (u64::from(dropped_bits) << (KEPT_BITS - 1)) + (value >> dropped_bits);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let half = 1 << (KEPT_BITS - 1);
    let dropped_bits = (bucket / half).saturating_sub(1);
    let lowest = (bucket - dropped_bits * half) << dropped_bits;
    lowest + ((1_u64 << dropped_bits) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_exact() {
        let mut histogram = Histogram::default();
        (0..256).for_each(|value| histogram.add(value));
        assert_eq!((0..256).map(bucket_of).map(middle_of).collect::<Vec<_>>(), (0..256).collect::<Vec<_>>());
        assert_eq!((histogram.percentile(50), histogram.percentile(100)), (127, 255));
    }

    #[test]
    fn every_number_is_within_the_stated_error_of_its_bucket() {
        let powers = (0..64).map(|bit| 1_u64 << bit);
        let around =
            powers.flat_map(|power| [power - 1, power, power + 1, power + power / 3, power + (power - 1)]);
        for value in around.chain([u64::MAX]) {
            let error = middle_of(bucket_of(value)).abs_diff(value) as f64;
            assert!(error <= value as f64 * RELATIVE_ERROR, "{value}: {error}");
            assert!(bucket_of(value) < 7_424, "{value}");
        }
    }

    #[test]
    fn buckets_grow_with_their_numbers() {
        let mut last = 0;
        for value in 0..100_000 {
            let bucket = bucket_of(value);
            assert!(bucket == last || bucket == last + 1, "{value}");
            last = bucket;
        }
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        // A linear congruential generator: any sequence will do, as long as it is the same every time.
        let mut state = 1_u64;
        let mut values: Vec<u64> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> (40 + state % 20)
            })
            .collect();
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        values.sort_unstable();
        for percent in [1, 50, 95, 99, 100] {
            let exact = values[(values.len() * percent).div_ceil(100) - 1];
            let found = histogram.percentile(percent as u64);
            assert!(
                found.abs_diff(exact) as f64 <= exact as f64 * RELATIVE_ERROR,
                "p{percent}: {found} {exact}"
            );
        }
    }

    #[test]
    fn no_percentile_is_above_the_largest() {
        let mut histogram = Histogram::default();
        histogram.add(65_537);
        assert_eq!((histogram.percentile(50), histogram.max()), (65_537, 65_537));
    }
}
