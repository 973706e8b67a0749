//! The hierarchical timing wheel, as a data structure: no clock, no task, no lock.
//!
//! Eight levels of 64 buckets, each level 64 times as coarse as the one below (Varghese and Lauck, 1987): together
//! they span every deadline that there is, so nothing is too far to be armed. An entry sits on the lowest level on
//! which its tick still shares all higher digits with the wheel's own; when the wheel gets to a bucket, what is not
//! due moves down. That is at most seven moves in the life of an entry, and arming and cancelling touch one bucket.

mod slab;

#[cfg(test)]
mod tests;

pub(crate) use slab::Key;
use slab::{Gap, NONE, Slab};

/// How long a tick is. Deadlines are rounded up to it, so that nothing is early.
pub(super) const TICK_NANOS: u64 = 1_000_000;

/// Says that there is no deadline to wait for.
pub(super) const NEVER: u64 = u64::MAX;

const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
/// 48 bits of ticks: more than a deadline in nanoseconds can have.
const LEVELS: usize = 8;
/// The bucket of what was due when it was armed.
const READY: u16 = (LEVELS * BUCKETS) as u16;

/// What became due.
#[derive(Debug)]
pub(super) struct Due<T> {
    /// Its deadline, in nanoseconds since the wheel's beginning.
    pub(super) at: u64,
    /// Its place in the order of arming.
    pub(super) serial: u64,
    pub(super) value: T,
}

/// Timers, and the tick up to which all of them have been taken out.
pub(super) struct Wheel<T> {
    /// INVARIANT: on each level, every entry's bucket comes after the one that holds this tick.
    elapsed: u64,
    /// A bit for each bucket that holds something.
    occupied: [u64; LEVELS],
    heads: [u32; READY as usize + 1],
    /// No entry of the bucket has an earlier tick. Of an empty bucket it says nothing; after a cancellation it may
    /// be too early.
    earliest: [u64; READY as usize],
    slab: Slab<T>,
}

/// The first tick at which a deadline has been reached.
#[inline]
pub(super) fn tick_of(at: u64) -> u64 {
    at.div_ceil(TICK_NANOS)
}

/// Puts what is due in the order of deadlines; of equal ones, what was armed first comes first.
pub(super) fn sort<T>(due: &mut [Due<T>]) {
    due.sort_unstable_by_key(|due| (due.at, due.serial));
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Self {
            elapsed: 0,
            occupied: [0; LEVELS],
            heads: [NONE; READY as usize + 1],
            earliest: [NEVER; READY as usize],
            slab: Slab::new(),
        }
    }

    /// Arms a timer; hands `value` out with what is due at the first tick that is not before `at`.
    #[inline]
    pub(super) fn arm(&mut self, at: u64, value: T) -> Key {
        let tick = tick_of(at);
        let bucket = self.bucket_of(tick);
        let next = self.head(bucket);
        let key = self.slab.insert(at, value, bucket, next);
        self.put_first(key.index(), bucket, tick, next);
        key
    }

    /// Takes a timer back; `None` where it became due or was cancelled before.
    #[inline]
    pub(super) fn cancel(&mut self, key: Key) -> Option<T> {
        let (value, Gap { bucket, next, previous }) = self.slab.take(key)?;
        if let Some(slot) = self.slab.slot_mut(next) {
            slot.previous = previous;
        }
        if let Some(slot) = self.slab.slot_mut(previous) {
            slot.next = next;
        } else if let Some(head) = self.heads.get_mut(usize::from(bucket)) {
            *head = next;
            if next == NONE {
                self.mark(bucket, false);
            }
        }
        Some(value)
    }

    /// What a timer that is armed will hand out.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slab.get_mut(key)
    }

    /// How many are armed.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// When to call [`advance`](Self::advance) next: no timer is due before this tick.
    pub(super) fn next(&self) -> u64 {
        if self.head(READY) != NONE {
            return self.elapsed;
        }
        self.first().and_then(|bucket| self.earliest.get(usize::from(bucket)).copied()).unwrap_or(NEVER)
    }

    /// Takes out what is due at tick `now`, in no order.
    pub(super) fn advance(&mut self, now: u64, mut due: impl FnMut(Due<T>)) {
        self.sift(READY, now, &mut due);
        while let Some(bucket) = self.first() {
            let begins = self.beginning(bucket);
            if begins > now {
                break;
            }
            self.elapsed = begins;
            self.sift(bucket, now, &mut due);
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// Takes out everything, in no order.
    pub(super) fn clear(&mut self, mut all: impl FnMut(T)) {
        self.sift(READY, NEVER, &mut |due| all(due.value));
        while let Some(bucket) = self.first() {
            self.sift(bucket, NEVER, &mut |due| all(due.value));
        }
    }

    /// The first bucket in time that holds something. All on a level come before all on the next.
    fn first(&self) -> Option<u16> {
        let (level, occupied) = self.occupied.iter().enumerate().find(|(_, occupied)| **occupied != 0)?;
        Some((level * BUCKETS) as u16 + occupied.trailing_zeros() as u16)
    }

    /// The first tick of a bucket.
    fn beginning(&self, bucket: u16) -> u64 {
        let shift = u32::from(bucket) / BUCKETS as u32 * BITS;
        let higher = self.elapsed >> (shift + BITS) << (shift + BITS);
        higher | (u64::from(bucket) % BUCKETS as u64) << shift
    }

    /// Empties a bucket: hands out what is due and moves the rest to lower levels.
    fn sift(&mut self, bucket: u16, now: u64, due: &mut impl FnMut(Due<T>)) {
        let Some(head) = self.heads.get_mut(usize::from(bucket)) else { return };
        let mut index = std::mem::replace(head, NONE);
        self.mark(bucket, false);
        while let Some(slot) = self.slab.slot(index) {
            let (next, tick) = (slot.next, tick_of(slot.at));
            if tick > now {
                self.link(index, tick);
            } else if let Some(entry) = self.slab.remove(index) {
                due(entry);
            }
            index = next;
        }
    }

    /// Moves an entry to the bucket that is right for it now.
    fn link(&mut self, index: u32, tick: u64) {
        let bucket = self.bucket_of(tick);
        let next = self.head(bucket);
        if let Some(slot) = self.slab.slot_mut(index) {
            (slot.bucket, slot.next, slot.previous) = (bucket, next, NONE);
        }
        self.put_first(index, bucket, tick, next);
    }

    /// Makes an entry the first of its bucket, where `next` was.
    #[inline]
    fn put_first(&mut self, index: u32, bucket: u16, tick: u64, next: u32) {
        if let Some(earliest) = self.earliest.get_mut(usize::from(bucket)) {
            *earliest = if next == NONE { tick } else { tick.min(*earliest) };
        }
        if let Some(head) = self.heads.get_mut(usize::from(bucket)) {
            *head = index;
        }
        if next == NONE {
            self.mark(bucket, true);
        } else if let Some(slot) = self.slab.slot_mut(next) {
            slot.previous = index;
        }
    }

    #[inline]
    fn head(&self, bucket: u16) -> u32 {
        self.heads.get(usize::from(bucket)).copied().unwrap_or(NONE)
    }

    #[inline]
    fn bucket_of(&self, tick: u64) -> u16 {
        if tick <= self.elapsed {
            return READY;
        }
        let level = (tick ^ self.elapsed).ilog2() / BITS;
        let place = (tick >> (level * BITS)) % BUCKETS as u64;
        (level as usize * BUCKETS) as u16 + place as u16
    }

    /// Notes whether a bucket holds something.
    #[inline]
    fn mark(&mut self, bucket: u16, holds: bool) {
        let bit = 1 << (usize::from(bucket) % BUCKETS);
        if let Some(occupied) = self.occupied.get_mut(usize::from(bucket) / BUCKETS) {
            *occupied = if holds { *occupied | bit } else { *occupied & !bit };
        }
    }
}
