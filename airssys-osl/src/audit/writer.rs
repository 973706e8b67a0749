//! The thread that writes a log.
//!
//! It polls: a caller that had to wake it up would pay ten times for its record. What it cannot write it keeps and
//! tries again, and the queue takes nothing until that succeeded.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    assembly::Assembly,
    log::{Durability, LogOptions},
    queue::{Merge, Queue},
    store::Store,
};
use crate::sys::log_file;

/// The pause between two passes while records come, and the longest pause when none do.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// After so long without a record the log is idle: it is sealed, so that nothing waits unsigned for the next record.
const IDLE_NS: u64 = 100_000_000;
/// How often the head is replaced while records come.
const HEAD_INTERVAL_NS: u64 = 1_000_000_000;

/// What a log is written to.
pub(super) trait Medium: Send + 'static {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn write_head(&mut self, note: &str, durable: bool) -> io::Result<()>;
}

/// The folder of a log. Locked as long as this exists.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) store: Store,
    pub(super) segment: log_file::Segment,
    pub(super) _lock: log_file::Lock,
}

impl Medium for Folder {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.segment.write_at(offset, bytes)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.segment.truncate(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment.sync()
    }

    fn write_head(&mut self, note: &str, durable: bool) -> io::Result<()> {
        self.store.write_head(note, durable)
    }
}

/// What the writer and those who use the log share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
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
    pub(super) fn new(queue: Queue) -> Self {
        let progress = Progress { written: queue.last(), ..Progress::default() };
        Self { queue, progress: Mutex::new(progress), moved: Condvar::new() }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as `unchanged` says so of the progress.
    pub(super) fn wait_while(
        &self,
        unchanged: impl FnMut(&mut Progress) -> bool,
    ) -> MutexGuard<'_, Progress> {
        self.moved.wait_while(self.progress(), unchanged).unwrap_or_else(PoisonError::into_inner)
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
    /// Some of what is pending may be in the file already.
    pub(super) half_written: bool,
    /// When records came, when they were sealed and when the head was replaced for the last time (monotonic).
    pub(super) times: Times,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    record_ns: u64,
    seal_ns: u64,
    head_ns: u64,
}

impl Times {
    pub(super) fn start() -> Self {
        let now_ns = log_file::monotonic_ns();
        Self { record_ns: now_ns, seal_ns: now_ns, head_ns: now_ns }
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
        let size = self.assembly.size();
        self.assemble();
        let busy = self.assembly.size() > size;
        let now_ns = log_file::monotonic_ns();
        if busy {
            self.times.record_ns = now_ns;
        }
        let idle = now_ns - self.times.record_ns >= IDLE_NS;
        let old = now_ns - self.times.seal_ns >= self.options.checkpoint_interval.as_nanos() as u64;
        if self.assembly.unsealed() > 0 && (idle || old) {
            self.seal(false);
        }
        let settled = self.assembly.unsealed() == 0 && !busy;
        self.deliver(settled || now_ns - self.times.head_ns >= HEAD_INTERVAL_NS)?;
        Ok(busy)
    }

    fn assemble(&mut self) {
        self.merge.fill(&self.shared.queue);
        while let Some(entry) = self.merge.next() {
            self.assembly.push(entry);
            if self.assembly.unsealed() >= self.options.checkpoint_records {
                self.seal(false);
            }
        }
    }

    fn seal(&mut self, closed: bool) {
        self.assembly.seal(log_file::wall_ns(), closed);
        self.times.seal_ns = log_file::monotonic_ns();
    }

    /// Writes what is pending and tells those who wait whether that succeeded.
    fn deliver(&mut self, with_head: bool) -> io::Result<()> {
        let result = self.write(with_head);
        self.shared.queue.refuse(result.is_err());
        self.shared.report(|progress| {
            progress.passes += 1;
            progress.failure = result.as_ref().err().map(|error| error.raw_os_error().unwrap_or_default());
            if self.assembly.pending().1.is_empty() {
                progress.written = self.assembly.size();
            }
        });
        result
    }

    fn write(&mut self, with_head: bool) -> io::Result<()> {
        let durable = self.options.durability == Durability::Batch;
        let (offset, bytes) = self.assembly.pending();
        if !bytes.is_empty() {
            if self.half_written {
                self.medium.truncate(offset)?;
            }
            self.half_written = true;
            self.medium.write_at(offset, bytes)?;
            // A failed sync may have dropped what was written; so the next pass writes it again.
            if durable {
                self.medium.sync()?;
            }
            self.half_written = false;
            self.assembly.written();
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

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
