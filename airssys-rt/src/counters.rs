//! What a system counts: for each thread apart, so that none waits for another's cache line.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::DeadLetterCause;
use crate::timer::thread_number;

/// More shards than this are not needed to keep threads apart.
const MOST_SHARDS: usize = 64;

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Started,
    Ended,
    Crashed,
    Restarts,
    /// Entries that were taken by actors that are gone; those that live have their own counts.
    Handled,
    Blocked,
    Closed,
    Overflow,
    Expired,
    Late,
}

const COUNTS: usize = Count::Late as usize + 1;

impl Count {
    pub(crate) fn of(cause: DeadLetterCause) -> Self {
        match cause {
            DeadLetterCause::Closed => Self::Closed,
            DeadLetterCause::Overflow => Self::Overflow,
            DeadLetterCause::Expired => Self::Expired,
            DeadLetterCause::Late => Self::Late,
        }
    }
}

pub(crate) struct Counters {
    /// A power of two.
    shards: Box<[Shard]>,
    /// The most that was ever told to be handled.
    highest: AtomicU64,
}

/// Two cache lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard([AtomicU64; COUNTS]);

impl Counters {
    pub(crate) fn new(workers: usize) -> Self {
        let shards = (workers * 2).next_power_of_two().min(MOST_SHARDS);
        Self { shards: (0..shards).map(|_| Shard::default()).collect(), highest: AtomicU64::new(0) }
    }

    /// The most that this was ever called with.
    pub(crate) fn highest(&self, count: u64) -> u64 {
        self.highest.fetch_max(count, Ordering::Relaxed).max(count)
    }

    #[inline]
    pub(crate) fn add(&self, what: Count, count: u64) {
        let shard = self.shards.get(thread_number() & (self.shards.len() - 1));
        if let Some(counter) = shard.and_then(|shard| shard.0.get(what as usize)) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn sum(&self, what: Count) -> u64 {
        let counters = self.shards.iter().filter_map(|shard| shard.0.get(what as usize));
        counters.map(|counter| counter.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn threads_count_apart_and_are_summed() {
        let counters = Arc::new(Counters::new(2));
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let counters = Arc::clone(&counters);
                std::thread::spawn(move || (0..1_000).for_each(|_| counters.add(Count::Late, 2)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((counters.sum(Count::Late), counters.sum(Count::Expired)), (40_000, 0));
    }
}
