//! The thread that writes a log.
//!
//! It polls: a caller that had to wake it up would pay ten times for its record; only one that waits for the device does.
//! What it cannot write it keeps and tries again, and the queue takes nothing until that succeeded.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    Event, Outcome,
    assembly::Assembly,
    flood::Flood,
    folder::Medium,
    keys::Keys,
    log::{Durability, LogOptions, host_event},
    note::Signer,
    queue::{Merge, Queue},
    resume,
    retention::dropped,
};
use crate::{Action, Verdict, sys::log_file};

/// The pause between two passes while records come, and the longest pause when none do.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// After so long without a record the log is idle: it is sealed, so that nothing waits unsigned for the next record.
const IDLE_NS: u64 = 100_000_000;
/// How soon a key is tried to be changed again that could not be.
const KEY_RETRY: Duration = Duration::from_secs(60);
/// How many bytes the checkpoint and the head of a removal take, and what a file system needs beside them.
const PROMISE_BYTES: u64 = 64 * 1024;
/// How often the head is replaced while records come.
const HEAD_INTERVAL_NS: u64 = 1_000_000_000;

/// What the writer and those who use the log share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) flood: Flood,
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The sequence number of the last record in the file.
    pub(super) written: u64,
    /// How many passes were made.
    pub(super) passes: u64,
    /// The error number of the last pass, where it failed.
    pub(super) failure: Option<i32>,
    /// The writer is gone.
    pub(super) stopped: bool,
}

impl Shared {
    pub(super) fn new(queue: Queue, flood: Flood) -> Self {
        let progress = Progress { written: queue.last(), ..Progress::default() };
        Self { queue, flood, progress: Mutex::new(progress), moved: Condvar::new() }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as `unchanged` says so of the progress, and no longer than `patience`.
    pub(super) fn wait_while(
        &self,
        patience: Option<Duration>,
        unchanged: impl FnMut(&mut Progress) -> bool,
    ) -> MutexGuard<'_, Progress> {
        let Some(patience) = patience else {
            let waited = self.moved.wait_while(self.progress(), unchanged);
            return waited.unwrap_or_else(PoisonError::into_inner);
        };
        let waited = self.moved.wait_timeout_while(self.progress(), patience, unchanged);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Records how many denials were not recorded, where that is due or `must` be. What finds no room is told later.
    pub(super) fn tell_suppressed(&self, must: bool) {
        for summary in self.flood.summaries(log_file::monotonic_ns(), must) {
            let resource = summary.text();
            let event = Event {
                principal: &summary.principal,
                verdict: Verdict::Deny,
                outcome: Outcome::Denied,
                ..host_event(Action::AuditSuppressed, resource.as_bytes())
            };
            if self.queue.try_push(&event, false).is_err() {
                self.flood.put_back(&summary);
            }
        }
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.moved.notify_all();
    }
}

/// The state of the thread.
pub(super) struct Writer<M> {
    pub(super) shared: Arc<Shared>,
    pub(super) medium: M,
    pub(super) options: LogOptions,
    pub(super) merge: Merge,
    pub(super) assembly: Assembly,
    pub(super) keys: Keys,
    /// Where their list ends.
    pub(super) keys_end: u64,
    /// The note of a hand-over that is not in the list of keys yet.
    pub(super) hand_over: Option<String>,
    /// The file of the secret also has one that is not, or no more, the key.
    pub(super) stale_secret: bool,
    /// The segment that the medium has open.
    pub(super) opened: u64,
    /// Some of what is pending may be in the file already.
    pub(super) half_written: bool,
    /// The segments before this one are removed.
    pub(super) removed: u64,
    pub(super) times: Times,
}

/// When things were done for the last time (monotonic).
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    record_ns: u64,
    seal_ns: u64,
    head_ns: u64,
    segment_ns: u64,
    key_ns: u64,
    /// How many records there were when the key changed.
    key_records: u64,
    /// How long it stays.
    key_pause: Duration,
    /// The key changes as soon as there is something to protect.
    key_due: bool,
}

impl Times {
    /// Begins with so many records, whose key changes as soon as there is one more where that is `key_due`.
    pub(super) fn start(key_records: u64, key_pause: Duration, key_due: bool) -> Self {
        let now_ns = log_file::monotonic_ns();
        Self {
            record_ns: now_ns,
            seal_ns: now_ns,
            head_ns: now_ns,
            segment_ns: now_ns,
            key_ns: now_ns,
            key_records,
            key_pause,
            key_due,
        }
    }
}

impl<M: Medium> Writer<M> {
    /// Writes until the queue is closed and empty. Then it returns an error where some records could not be written.
    pub(super) fn run(mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        // Also after a panic: nobody waits for a writer that is gone.
        let _stopped = OnDrop(|| {
            shared.queue.close();
            shared.report(|progress| progress.stopped = true);
        });
        self.reserve();
        let mut pause = BUSY_PAUSE;
        while !self.shared.queue.is_closed() {
            pause = match self.pass() {
                Ok(true) => BUSY_PAUSE,
                Ok(false) => (2 * pause).min(IDLE_PAUSE),
                Err(_) => IDLE_PAUSE,
            };
            thread::park_timeout(pause);
        }
        self.finish()
    }

    /// Moves all queued records to the file. Returns whether there were any.
    fn pass(&mut self) -> io::Result<bool> {
        let records = self.assembly.records();
        self.shared.queue.set_wall();
        self.shared.tell_suppressed(false);
        self.assemble();
        let busy = self.assembly.records() > records;
        let now_ns = log_file::monotonic_ns();
        if busy {
            self.times.record_ns = now_ns;
        }
        let idle = now_ns - self.times.record_ns >= IDLE_NS;
        let old = past(self.times.seal_ns, now_ns, self.options.checkpoint_interval);
        if self.assembly.unsealed() > 0 && (idle || old) {
            self.seal(false);
        }
        let settled = self.assembly.unsealed() == 0 && !busy;
        self.deliver(settled || now_ns - self.times.head_ns >= HEAD_INTERVAL_NS)?;
        if self.times.key_due || past(self.times.key_ns, now_ns, self.times.key_pause) {
            self.change_key()?;
        }
        let full = self.assembly.segment_bytes() >= self.options.segment_bytes;
        if full || past(self.times.segment_ns, now_ns, self.options.segment_age) {
            self.rotate()?;
        }
        Ok(busy)
    }

    /// Appends all queued records, and a link behind the last, so that nothing is written that no link stands for.
    fn assemble(&mut self) {
        self.merge.fill(&self.shared.queue);
        while let Some((entry, wall_ns)) = self.merge.next() {
            self.assembly.push(entry, wall_ns);
            if self.assembly.unsealed() >= self.options.checkpoint_records {
                self.assembly.seal(log_file::wall_ns(), false);
                self.times.seal_ns = log_file::monotonic_ns();
            }
        }
        self.assembly.link();
    }

    fn seal(&mut self, closed: bool) {
        self.assembly.seal(log_file::wall_ns(), closed);
        self.times.seal_ns = log_file::monotonic_ns();
    }

    /// Signs with a new key from here on, and destroys the old one.
    fn change_key(&mut self) -> io::Result<()> {
        if self.hand_over_key() { self.deliver(true) } else { Ok(()) }
    }

    /// Has a new key sign from here on: the old one is destroyed when that is written. Where nothing was recorded since the
    /// last time, the old one has nothing to forge. Returns whether there is another key.
    fn hand_over_key(&mut self) -> bool {
        let records = self.assembly.records();
        if records == self.times.key_records || self.hand_over.is_some() {
            return false;
        }
        self.times.key_ns = log_file::monotonic_ns();
        self.times.key_due = false;
        let Ok(next) = self.prepare_key() else {
            // The old one is as good as it was.
            self.times.key_pause = self.options.key_interval.min(KEY_RETRY);
            return false;
        };
        self.hand_over = Some(self.assembly.hand_over(log_file::wall_ns(), next));
        self.times.key_records = records;
        self.times.key_pause = self.options.key_interval;
        true
    }

    /// Makes the next key. Whichever of the two signed last when the program dies is in the file.
    fn prepare_key(&mut self) -> io::Result<Signer> {
        let next = resume::random_signer(self.assembly.signer().verifier().name())?;
        self.medium.write_secrets(&[self.assembly.signer(), &next])?;
        Ok(next)
    }

    /// Goes on in a new segment, and removes old ones as the options say.
    fn rotate(&mut self) -> io::Result<()> {
        self.times.segment_ns = log_file::monotonic_ns();
        if self.assembly.records() == self.assembly.segment() {
            return Ok(());
        }
        if self.assembly.unsealed() > 0 {
            self.seal(false);
            self.deliver(false)?;
        }
        self.assembly.rotate(log_file::wall_ns());
        self.deliver(true)?;
        if self.promise_removal()? {
            self.deliver(true)?;
        }
        self.remove_old()
    }

    /// Signs that old segments go, where the options say so and who exports has seen them. Returns whether any do.
    fn promise_removal(&mut self) -> io::Result<bool> {
        let kept = self.medium.segments()?;
        let due = dropped(&kept, log_file::wall_ns(), &self.options.retention);
        let drop_before = self.medium.exported()?.map_or(due, |exported| due.min(exported));
        let more = drop_before > self.assembly.dropped();
        if more {
            self.assembly.drop_before(log_file::wall_ns(), drop_before);
        }
        Ok(more)
    }

    /// Removes the segments that a written checkpoint says are gone.
    fn remove_old(&mut self) -> io::Result<()> {
        if self.removed < self.assembly.dropped() {
            // Only what is durable explains that something is missing.
            self.medium.sync()?;
            self.medium.remove_before(self.assembly.dropped())?;
            self.removed = self.assembly.dropped();
        }
        Ok(())
    }

    /// Frees space on a full disk as retention lets it, now and not at the next segment. What was reserved for this takes
    /// what is pending and the promise. Returns whether there is hope.
    fn make_room(&mut self) -> io::Result<bool> {
        if !self.options.retention.is_bounded() {
            return Ok(false);
        }
        let more = self.promise_removal()?;
        if more || self.removed < self.assembly.dropped() {
            self.medium.reserve(0)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Writes; where the disk is full, once more with what retention frees.
    fn write_or_make_room(&mut self, with_head: bool) -> io::Result<()> {
        let result = self.write(with_head);
        let is_full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        if !result.as_ref().is_err_and(is_full) || !self.make_room().unwrap_or(false) {
            return result;
        }
        self.write(true)?;
        self.remove_old()?;
        self.reserve();
        Ok(())
    }

    /// Sets space aside for the day that the disk is full. On one that nearly is, there may be none.
    pub(super) fn reserve(&mut self) {
        if self.options.retention.is_bounded() {
            let _ = self.medium.reserve(self.shared.queue.capacity_bytes() + PROMISE_BYTES);
        }
    }

    /// Writes what is pending and tells those who wait whether that succeeded.
    fn deliver(&mut self, with_head: bool) -> io::Result<()> {
        let result = self.write_or_make_room(with_head);
        self.shared.queue.refuse(result.is_err());
        self.shared.report(|progress| {
            progress.passes += 1;
            progress.failure = result.as_ref().err().map(|error| error.raw_os_error().unwrap_or_default());
            if self.assembly.pending().1.is_empty() {
                progress.written = self.assembly.records();
            }
        });
        result
    }

    fn write(&mut self, with_head: bool) -> io::Result<()> {
        let durable = self.options.durability != Durability::None;
        if self.opened != self.assembly.segment() {
            self.medium.open_segment(self.assembly.segment())?;
            self.opened = self.assembly.segment();
        }
        let (offset, bytes) = self.assembly.pending();
        if !bytes.is_empty() {
            if self.half_written {
                self.medium.truncate(offset)?;
            }
            self.half_written = true;
            self.medium.write_at(offset, bytes)?;
            // A failed sync may have dropped what was written; so the next pass writes it again.
            if durable || self.hand_over.is_some() {
                self.medium.sync()?;
            }
            self.half_written = false;
            self.assembly.written();
        }
        if let Some(note) = &self.hand_over {
            self.keys_end = self.medium.append_key(self.keys_end, note)?;
            // It was signed a moment ago by the key that is the last one here.
            self.keys.push(note).map_err(|malformed| io::Error::other(malformed.to_string()))?;
            self.hand_over = None;
            self.stale_secret = true;
        }
        if self.stale_secret {
            self.medium.write_secrets(&[self.assembly.signer()])?;
            self.stale_secret = false;
        }
        if let Some(note) = self.assembly.head()
            && with_head
        {
            self.medium.write_head(note, durable)?;
            self.assembly.head_written();
            self.times.head_ns = log_file::monotonic_ns();
        }
        Ok(())
    }

    /// Writes what is left and the closing checkpoint. Where the file cannot be written, tries for as long as a
    /// caller would have waited.
    fn finish(mut self) -> io::Result<()> {
        let start_ns = log_file::monotonic_ns();
        let patience_ns = self.options.queue_deadline.as_nanos() as u64;
        // A caller that found the queue open just before it was closed has queued its record when the first look at
        // its shard is over. It may have drawn its number too late for that look, but not for a second one.
        self.assemble();
        self.assemble();
        // The key that lies about until the next start can forge nothing of what is there now. Where the key cannot be
        // changed, the log is closed all the same. Both are written at once: who ends a program waits for this.
        self.hand_over_key();
        self.seal(true);
        loop {
            match self.deliver(true) {
                Err(_) if log_file::monotonic_ns() - start_ns < patience_ns => {
                    thread::park_timeout(IDLE_PAUSE)
                }
                result => return result,
            }
        }
    }
}

/// Whether so long a time went by.
fn past(since_ns: u64, now_ns: u64, time: Duration) -> bool {
    u128::from(now_ns.saturating_sub(since_ns)) >= time.as_nanos()
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
