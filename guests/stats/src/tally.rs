//! The most frequent of any number of names, in bounded memory.

use std::collections::HashMap;

/// Counts names, and forgets rare ones when there are too many.
///
/// A name's count is exact until more than twice `capacity` names were seen. Then the median of all counts is
/// subtracted from each, and those that reach zero are forgotten: the *frequent items* algorithm of Misra and Gries,
/// with the batching of Anderson et al. (2017). From then on a count may be too low, by
/// [`undercount`](Tally::undercount) at most, which never exceeds the lines counted divided by `capacity`.
pub(crate) struct Tally {
    counts: HashMap<Box<[u8]>, u64>,
    capacity: usize,
    undercount: u64,
}

impl Tally {
    /// Counts at least `capacity` names, and never more than twice that.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { counts: HashMap::new(), capacity, undercount: 0 }
    }

    /// Counts a name.
    pub(crate) fn add(&mut self, name: &[u8]) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return;
        }
        if self.counts.len() >= self.capacity * 2 {
            self.forget_the_rare();
        }
        self.counts.insert(name.into(), 1);
    }

    fn forget_the_rare(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let middle = counts.len() / 2;
        let (_, &mut median, _) = counts.select_nth_unstable(middle);
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(median);
            *count > 0
        });
        self.undercount += median;
    }

    /// How many names are being counted.
    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    /// By how much a count may be too low.
    pub(crate) fn undercount(&self) -> u64 {
        self.undercount
    }

    /// The most frequent names; of equally frequent ones, the first in order.
    pub(crate) fn top(&self, limit: usize) -> Vec<(&[u8], u64)> {
        let mut all: Vec<(&[u8], u64)> = self.counts.iter().map(|(name, count)| (&**name, *count)).collect();
        let by_rank = |(name_a, count_a): &(&[u8], u64), (name_b, count_b): &(&[u8], u64)| {
            count_b.cmp(count_a).then_with(|| name_a.cmp(name_b))
        };
        if all.len() > limit {
            all.select_nth_unstable_by(limit, by_rank);
            all.truncate(limit);
        }
        all.sort_unstable_by(by_rank);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_names_are_exact() {
        let mut tally = Tally::new(5);
        for index in 0..10_u32 {
            (0..=index).for_each(|_| tally.add(&index.to_be_bytes()));
        }
        assert_eq!((tally.len(), tally.undercount()), (10, 0));
        let nine = 9_u32.to_be_bytes();
        assert_eq!(tally.top(1), [(&nine[..], 10)]);
    }

    #[test]
    fn a_frequent_name_survives_any_number_of_rare_ones_within_the_stated_error() {
        let mut tally = Tally::new(100);
        let lines = 100_000_u32;
        for index in 0..lines {
            // One line in ten is the frequent one, and it arrives last in each ten.
            if index % 10 == 9 {
                tally.add(b"frequent")
            } else {
                tally.add(&index.to_be_bytes())
            }
            assert!(tally.len() <= 200);
        }
        let (name, count) = tally.top(1)[0];
        assert_eq!(name, b"frequent");
        assert!(count <= 10_000 && count + tally.undercount() >= 10_000, "{count} + {}", tally.undercount());
        assert!(tally.undercount() <= u64::from(lines) / 100, "{}", tally.undercount());
    }
}
