//! Where records wait for the writer: bounded, and without a single allocation or wake-up on the way in.
//!
//! Each thread has one of a few shards, so callers rarely meet at a lock. All shards take their sequence numbers from
//! one counter, while they are locked. That gives the writer what it needs to put them in order again:
//!
//! INVARIANT: who reads the counter as `n` and *then* locks each shard once finds all records below `n`. A caller
//! that took such a number held its shard's lock when it did, so it has released it, with the record inside, or the
//! writer waits for it; a caller that locks a shard after the writer did takes its number after the writer read the
//! counter.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    Event, frame,
    record::{self, Draft, Stamp},
};
use crate::sys::log_file;

/// The shards of a queue, and so its share of memory, grow with the machine up to here.
const MAX_SHARDS: usize = 16;
/// The smallest shard: it takes at least some of the longest records.
const MIN_SHARD_BYTES: usize = 64 * 1024;
const _: () = assert!(MIN_SHARD_BYTES > 8 * (frame::HEADER_BYTES + record::MAX_BYTES));

/// The way in.
#[derive(Debug)]
pub(super) struct Queue {
    shards: Box<[Shard]>,
    /// The sequence number that the next record gets.
    next: AtomicU64,
    /// The log cannot be written at the moment.
    refusing: AtomicBool,
    /// The log takes no more records.
    closed: AtomicBool,
    shard_bytes: usize,
    deadline: Duration,
    boot_id: [u8; 16],
    /// By how much the wall clock was ahead of the monotonic one when somebody looked last.
    wall_ahead_ns: AtomicU64,
}

/// A record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Queue {
    /// Makes a queue whose first record gets the number `next`.
    pub(super) fn new(next: u64, shard_bytes: usize, deadline: Duration) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let shard_bytes = shard_bytes.max(MIN_SHARD_BYTES);
        Self {
            shards: (0..(2 * threads).min(MAX_SHARDS)).map(|_| Shard::new(shard_bytes)).collect(),
            next: AtomicU64::new(next),
            refusing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            shard_bytes,
            deadline,
            boot_id: log_file::boot_id(),
            wall_ahead_ns: AtomicU64::new(wall_ahead_ns()),
        }
    }

    /// Looks at the wall clock. The writer does, each time it comes by, so that those who record read one clock and not
    /// two: a clock that was set shows in the records after that.
    pub(super) fn set_wall(&self) {
        self.wall_ahead_ns.store(wall_ahead_ns(), Ordering::Relaxed);
    }

    /// Queues one record. Where there is no room, calls `wake_writer` and waits at most the queue's deadline.
    pub(super) fn push(
        &self,
        event: &Event<'_>,
        redacted: bool,
        wake_writer: impl FnOnce(),
    ) -> Result<u64, Refused> {
        self.put(&Draft::new(event, redacted), |shard, waiting, bytes| {
            wake_writer();
            self.wait_for_room(shard, waiting, bytes)
        })
    }

    fn put<'s>(
        &'s self,
        draft: &Draft<'_>,
        make_room: impl FnOnce(
            &'s Shard,
            MutexGuard<'s, Waiting>,
            usize,
        ) -> Result<MutexGuard<'s, Waiting>, Refused>,
    ) -> Result<u64, Refused> {
        let monotonic_ns = log_file::monotonic_ns();
        let wall_ns = monotonic_ns.wrapping_add(self.wall_ahead_ns.load(Ordering::Relaxed));
        let bytes = frame::HEADER_BYTES + draft.body_bytes();
        let shard = self.shard();
        let mut waiting = shard.lock();
        if waiting.entries.len() + bytes > self.shard_bytes {
            waiting = make_room(shard, waiting, bytes)?;
        }
        if !self.is_open() {
            return Err(Refused);
        }
        // Relaxed is enough: the locks order what the invariant speaks of.
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        frame::begin_record(draft.body_bytes(), &mut waiting.entries);
        draft.encode(&Stamp { sequence, wall_ns, monotonic_ns, boot_id: self.boot_id }, &mut waiting.entries);
        Ok(sequence)
    }

    /// Queues one record if there is room for it now.
    pub(super) fn try_push(&self, event: &Event<'_>, redacted: bool) -> Result<u64, Refused> {
        self.put(&Draft::new(event, redacted), |_, _, _| Err(Refused))
    }

    /// The most bytes that wait at a time.
    pub(super) fn capacity_bytes(&self) -> u64 {
        (self.shards.len() * self.shard_bytes) as u64
    }

    /// The sequence number of the last record that was queued.
    pub(super) fn last(&self) -> u64 {
        self.next.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Takes no records from now on, or takes them again.
    pub(super) fn refuse(&self, refusing: bool) {
        if self.refusing.swap(refusing, Ordering::Relaxed) != refusing {
            self.shards.iter().for_each(|shard| shard.room.notify_all());
        }
    }

    /// Takes no more records. What was queued remains.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.shards.iter().for_each(|shard| shard.room.notify_all());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn is_open(&self) -> bool {
        !self.refusing.load(Ordering::Relaxed) && !self.is_closed()
    }

    fn wait_for_room<'s>(
        &self,
        shard: &'s Shard,
        mut waiting: MutexGuard<'s, Waiting>,
        bytes: usize,
    ) -> Result<MutexGuard<'s, Waiting>, Refused> {
        waiting.callers += 1;
        let full = |waiting: &mut Waiting| self.is_open() && waiting.entries.len() + bytes > self.shard_bytes;
        let (mut waiting, timeout) = shard
            .room
            .wait_timeout_while(waiting, self.deadline, full)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.callers -= 1;
        if timeout.timed_out() { Err(Refused) } else { Ok(waiting) }
    }

    /// The shard of this thread.
    fn shard(&self) -> &Shard {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        let index = THREAD.with(|thread| thread % self.shards.len());
        #[expect(clippy::indexing_slicing, reason = "a remainder by the length is an index")]
        &self.shards[index]
    }
}

/// By how much the wall clock is ahead of the monotonic one, as a number that wraps.
fn wall_ahead_ns() -> u64 {
    log_file::wall_ns().wrapping_sub(log_file::monotonic_ns())
}

/// The way out: the records of all shards in the order of their numbers.
#[derive(Debug)]
pub(super) struct Merge {
    lanes: Box<[Lane]>,
    /// The lane that the last record came from: the next one is likely to be there too.
    at: usize,
    /// The sequence number of the next record.
    next: u64,
    /// All records below this number are in the lanes.
    before: u64,
}

impl Merge {
    /// Takes records off `queue`, of which none has been taken yet.
    pub(super) fn new(queue: &Queue) -> Self {
        let next = queue.last() + 1;
        let lanes = queue.shards.iter().map(|_| Lane::new(queue.shard_bytes)).collect();
        Self { lanes, at: 0, next, before: next }
    }

    /// Empties the shards. What cannot be put in order yet stays for the next time.
    pub(super) fn fill(&mut self, queue: &Queue) {
        self.before = queue.next.load(Ordering::Relaxed);
        for (lane, shard) in self.lanes.iter_mut().zip(&queue.shards) {
            let mut waiting = shard.lock();
            lane.take_over(&mut waiting.entries);
            if waiting.callers > 0 {
                shard.room.notify_all();
            }
        }
    }

    /// Returns the frame of the next record, and when it was made.
    pub(super) fn next(&mut self) -> Option<(&[u8], u64)> {
        if self.next >= self.before {
            return None;
        }
        let count = self.lanes.len();
        let holds_next = |at: &usize| self.lanes.get(*at).and_then(Lane::sequence) == Some(self.next);
        self.at = (0..count).map(|turn| (self.at + turn) % count).find(holds_next)?;
        self.next += 1;
        self.lanes.get_mut(self.at)?.pop()
    }
}

/// Two cache lines apart, so that callers with different shards do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    waiting: Mutex<Waiting>,
    room: Condvar,
}

#[derive(Debug)]
struct Waiting {
    entries: Vec<u8>,
    /// How many callers wait for room.
    callers: u32,
}

impl Shard {
    fn new(bytes: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting { entries: Vec::with_capacity(bytes), callers: 0 }),
            room: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was taken from one shard and is not written yet.
#[derive(Debug)]
struct Lane {
    entries: Vec<u8>,
    start: usize,
}

impl Lane {
    /// Reserves as much as a shard holds: the two change places.
    fn new(bytes: usize) -> Self {
        Self { entries: Vec::with_capacity(bytes), start: 0 }
    }

    fn take_over(&mut self, entries: &mut Vec<u8>) {
        self.entries.drain(..self.start);
        self.start = 0;
        if self.entries.is_empty() {
            std::mem::swap(&mut self.entries, entries);
        } else {
            self.entries.append(entries);
        }
    }

    fn rest(&self) -> &[u8] {
        self.entries.get(self.start..).unwrap_or_default()
    }

    /// The sequence number of the first entry.
    fn sequence(&self) -> Option<u64> {
        number_at(self.rest(), record::SEQUENCE_AT)
    }

    fn pop(&mut self) -> Option<(&[u8], u64)> {
        let whole = frame::length(self.rest()).ok()??;
        let start = self.start;
        self.start += whole;
        let entry = self.entries.get(start..self.start)?;
        Some((entry, number_at(entry, record::WALL_AT)?))
    }
}

/// The number at a byte of the body of a frame.
fn number_at(frame: &[u8], at: usize) -> Option<u64> {
    frame.get(frame::HEADER_BYTES + at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{
        Action, Verdict,
        audit::{Outcome, Phase},
    };

    const SHARD_BYTES: usize = 1024 * 1024;

    #[test]
    fn a_writer_that_keeps_draining_gets_every_record_once_and_in_order() {
        const THREADS: u64 = 4;
        const EACH: u64 = 20_000;
        let queue = Queue::new(1, SHARD_BYTES, Duration::from_secs(60));
        let mut merge = Merge::new(&queue);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..EACH).for_each(|_| _ = queue.push(&event(), false, || {}).unwrap()));
            }
            let mut last = 0;
            while last < THREADS * EACH {
                merge.fill(&queue);
                while let Some((entry, _)) = merge.next() {
                    let sequence = entry[frame::HEADER_BYTES + record::SEQUENCE_AT..].first_chunk().unwrap();
                    assert_eq!(u64::from_le_bytes(*sequence), last + 1);
                    last += 1;
                }
                // All that had a number when the shards were locked is out: the writer never waits for a caller.
                assert_eq!(merge.before, last + 1);
            }
        });
        assert_eq!(queue.last(), THREADS * EACH);
    }

    #[test]
    fn a_full_shard_refuses_after_its_deadline_and_never_grows() {
        let queue = Queue::new(1, 0, Duration::ZERO);
        let mut woken = 0;
        let queued = (0..).take_while(|_| queue.push(&event(), false, || woken += 1).is_ok()).count();
        let (entries, capacity) = {
            let waiting = queue.shard().lock();
            (waiting.entries.len(), waiting.entries.capacity())
        };
        assert_eq!((woken, capacity), (1, MIN_SHARD_BYTES));
        assert!(entries / queued * (queued + 1) > MIN_SHARD_BYTES);

        Merge::new(&queue).fill(&queue);
        assert_eq!(queue.push(&event(), false, || {}), Ok(queued as u64 + 1));
        assert_eq!(queue.shard().lock().entries.capacity(), MIN_SHARD_BYTES);
    }

    #[test]
    fn a_waiting_caller_gets_the_room_that_the_writer_makes() {
        let queue = Queue::new(1, 0, Duration::from_secs(60));
        let mut merge = Merge::new(&queue);
        thread::scope(|scope| {
            let (wake, woken) = std::sync::mpsc::channel();
            let caller = scope.spawn({
                let queue = &queue;
                move || (0..1_000).all(|_| queue.push(&event(), false, || wake.send(()).unwrap()).is_ok())
            });
            // Whoever finds no room says so before it waits.
            woken.iter().for_each(|()| merge.fill(&queue));
            assert!(caller.join().unwrap());
        });
    }

    #[test]
    fn who_waits_is_refused_when_the_queue_closes() {
        let queue = Queue::new(1, 0, Duration::from_secs(60));
        let accepted = (0..).take_while(|_| queue.push(&event(), false, || queue.close()).is_ok()).count();
        assert_eq!(queue.last(), accepted as u64);
    }

    #[test]
    fn a_queue_that_refuses_takes_records_again() {
        let queue = Queue::new(5, SHARD_BYTES, Duration::ZERO);
        assert_eq!(queue.push(&event(), false, || {}), Ok(5));
        queue.refuse(true);
        assert_eq!(queue.push(&event(), false, || {}), Err(Refused));
        queue.refuse(false);
        assert_eq!(queue.push(&event(), false, || {}), Ok(6));
        queue.close();
        queue.refuse(false);
        assert_eq!(queue.push(&event(), false, || {}), Err(Refused));
    }

    fn event() -> Event<'static> {
        Event {
            principal: "reader",
            action: Action::FsRead,
            resource: b"/srv/inbox/access.log",
            verdict: Verdict::Allow,
            rule: "grants.fs[0]",
            epoch: 1,
            phase: Phase::Done,
            outcome: Outcome::Success,
            bytes: 1,
            duration_ns: 1,
            intent: 0,
            trace: [0; 16],
        }
    }
}
