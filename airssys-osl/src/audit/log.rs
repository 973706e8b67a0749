//! The log that is written: the sink that a program gives to its [`Os`](crate::Os).

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use super::{
    Event, Outcome, Phase, Sink,
    assembly::Assembly,
    flood::{DenialLimit, Flood},
    folder::{Folder, Medium},
    queue::{Merge, Queue},
    redact::Redaction,
    resume::{self, Resumed},
    retention::Retention,
    store::Store,
    writer::{Progress, Shared, Times, Writer},
};
use crate::{
    Action, Error, ErrorKind, Verdict,
    policy::rule,
    sys::{
        errno,
        log_file::{self, Lock},
    },
};

/// How often, and how long apart, the lock is tried: somebody who looks whether the log is open holds it for a moment.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What a record has survived when it is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the program. After a power loss the log may be shorter than its head says, and then it does not
    /// open again.
    None,
    /// A power loss as well: all that was written is forced to the device (`fdatasync`), once each few milliseconds
    /// while records come. Callers do not wait for that, unless they [`flush`](Log::flush).
    #[default]
    Batch,
    /// As [`Batch`](Self::Batch), and whatever changes something waits until its intent is on the device:
    /// [`record`](Sink::record) of a [`Phase::Intent`] blocks the thread until then. Callers that come at the same time
    /// share one wait.
    Durable,
}

/// How a [`Log`] is written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// What records survive.
    pub durability: Durability,
    /// How many bytes of records wait in one shard of the queue; there are two shards for each processor, at most
    /// 16. Less than 64 KiB counts as 64 KiB.
    pub queue_bytes: usize,
    /// How long [`record`](Sink::record) waits where there is no room in the queue, and for the device where it is to wait
    /// for that. What took longer is refused, though its intent may still come into the log.
    pub queue_deadline: Duration,
    /// The most records that stay unsigned.
    pub checkpoint_records: u64,
    /// The longest time that a record stays unsigned. When no more records come, it is signed sooner.
    pub checkpoint_interval: Duration,
    /// How large a segment gets, in bytes, before the next one is begun. It may get some records larger.
    pub segment_bytes: u64,
    /// How old a segment gets before the next one is begun.
    pub segment_age: Duration,
    /// Which old segments are kept.
    pub retention: Retention,
    /// How long a key signs. What was recorded before the last change, nobody can forge any more, with whatever key; it
    /// also changes when the log is closed.
    pub key_interval: Duration,
    /// How many denials of one principal are recorded one by one.
    pub denials: DenialLimit,
    /// Which parts of resources are replaced before they are recorded.
    pub redaction: Redaction,
}

impl Default for LogOptions {
    /// Batch durability, 1 MiB a shard, one second of patience, a checkpoint each 1,000 records or each second, segments
    /// of 64 MiB or a day, which are all kept, a new key each hour, and nothing redacted.
    fn default() -> Self {
        Self {
            durability: Durability::Batch,
            queue_bytes: 1024 * 1024,
            queue_deadline: Duration::from_secs(1),
            checkpoint_records: 1000,
            checkpoint_interval: Duration::from_secs(1),
            segment_bytes: 64 * 1024 * 1024,
            segment_age: Duration::from_secs(24 * 60 * 60),
            retention: Retention::default(),
            key_interval: Duration::from_secs(60 * 60),
            denials: DenialLimit::default(),
            redaction: Redaction::default(),
        }
    }
}

/// A tamper-evident log in a folder, written by a thread of its own.
///
/// Cheap to clone; all clones are the same log. It is closed in order by [`close`](Self::close) or when the last
/// clone is dropped. A program that ends without that leaves a log that the next [`open`](Self::open) repairs.
///
/// While the log cannot be written (a full disk, say), it refuses records, keeps those that it has taken, and tries
/// again until it can.
///
/// # Examples
///
/// ```
/// use airssys_osl::audit::{self, Log, LogOptions, Reader, State};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path();
/// let log = Log::open(dir, "example.org/log", LogOptions::default())?;
/// // … `Os::new(policy, log.clone())`, and all that the program does …
/// log.close()?;
///
/// for record in Reader::open(dir)? {
///     println!("{} {}", record?.sequence(), "…");
/// }
/// assert_eq!(audit::verify(dir, None)?.state, State::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    thread: Thread,
    /// Taken by whoever closes the log.
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    store: Store,
    /// Whether an intent waits for the device.
    durable: bool,
    /// How long anybody waits.
    patience: Duration,
    redaction: Redaction,
}

impl Log {
    /// Opens the log in the folder `dir` to write it, and makes folder, log and key where there are none.
    ///
    /// `origin` names the log and its key in checkpoints: a URL without a schema by custom, such as
    /// `example.org/web-1`; at most 128 bytes, no space, no plus.
    ///
    /// Where the last writer did not close the log, what it left half-written at the end is cut off, whole records
    /// are kept, and a record `audit.recovered` says so.
    ///
    /// # Errors
    ///
    /// * [`Tampered`](ErrorKind::Tampered): the log does not match its head, or is shorter: somebody changed it.
    ///   Nothing was touched.
    /// * [`Invalid`](ErrorKind::Invalid): `origin` is not a name, or the log has another one.
    /// * [`Busy`](ErrorKind::Busy): another program writes this log.
    /// * [`Io`](ErrorKind::Io): the system refused.
    pub fn open(dir: &Path, origin: &str, options: LogOptions) -> Result<Self, Error> {
        let store = Store::to_write(dir);
        store.create()?;
        let lock = lock(&store)?;
        let resumed = resume::start(&store, origin)?;
        let place = resumed.start.place;
        let mut segment = store.segment(place.segment).map_err(|error| store.io(error))?;
        if resumed.crash.is_some() {
            segment.truncate(place.offset).map_err(|error| store.io(error))?;
        }
        let recovered = resumed.crash.map(|torn_bytes| {
            let unsealed = resumed.start.unsealed;
            format!("cut {torn_bytes} torn bytes, kept {unsealed} records after the last checkpoint")
        });
        let mut folder = Folder { store: store.clone(), segment, _lock: lock };
        // Retention may have been interrupted behind its promise.
        folder.remove_before(resumed.start.dropped).map_err(|error| store.io(error))?;
        let log = Self::start(store, resumed, folder, options)?;
        if let Some(resource) = recovered {
            log.record(&host_event(Action::AuditRecovered, resource.as_bytes()))?;
            log.flush()?;
        }
        Ok(log)
    }

    /// Waits until all records that were queued before are in the log, and durable as its options say.
    ///
    /// Blocks the thread, for some milliseconds at most unless the disk is slow: then as long as that takes.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`](ErrorKind::AuditUnavailable): the log cannot be written. The records stay queued.
    pub fn flush(&self) -> Result<(), Error> {
        let last = self.0.shared.queue.last();
        let progress = self.wait_for(last, None);
        if progress.written >= last {
            Ok(())
        } else {
            Err(unavailable(self.0.store.what(), progress.failure))
        }
    }

    /// Waits until a record is written, or could not be, or for as long as `patience` says.
    fn wait_for(&self, sequence: u64, patience: Option<Duration>) -> MutexGuard<'_, Progress> {
        let Inner { shared, thread, .. } = &*self.0;
        // The pass that is under way may have begun before the record came; the next one did not.
        let passes = shared.progress().passes + 2;
        thread.unpark();
        shared.wait_while(patience, |progress| {
            let failed = progress.failure.is_some() && progress.passes >= passes;
            progress.written < sequence && !failed && !progress.stopped
        })
    }

    /// Records that nothing came of an intent which may still come into the log, if there is room for that.
    fn withdraw(&self, intent: &Event<'_>, sequence: u64) {
        let (phase, outcome) = (Phase::Done, Outcome::Cancelled);
        let end = Event { phase, outcome, intent: sequence, ..*intent };
        let push = |event: &Event<'_>, redacted| self.0.shared.queue.try_push(event, redacted);
        let _ = self.0.redaction.apply(&end, push);
    }

    /// Writes all that is queued and a closing checkpoint, and unlocks the folder. Other clones refuse records then.
    ///
    /// Blocks the thread until that is done, and so does dropping the last clone.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io): after trying for [`queue_deadline`](LogOptions::queue_deadline), some records could not
    /// be written and are lost, or the head could not be replaced.
    pub fn close(self) -> Result<(), Error> {
        self.0.close()
    }

    /// Starts the writer.
    fn start<M: Medium>(
        store: Store,
        resumed: Resumed,
        medium: M,
        options: LogOptions,
    ) -> Result<Self, Error> {
        let Resumed { start, keys, keys_end, hand_over, stale_secret, crash } = resumed;
        let records = start.chain.records();
        let queue = Queue::new(records + 1, options.queue_bytes, options.queue_deadline);
        let merge = Merge::new(&queue);
        let shared = Arc::new(Shared::new(queue, Flood::new(options.denials)));
        let opened = start.place.segment;
        let dropped = start.dropped;
        let mut assembly = Assembly::new(start);
        if assembly.segment_bytes() == 0 {
            assembly.begin_segment(log_file::wall_ns());
        }
        let patience = options.queue_deadline;
        let durable = options.durability == Durability::Durable;
        let key_interval = options.key_interval;
        let redaction = options.redaction.clone();
        let writer = Writer {
            shared: Arc::clone(&shared),
            medium,
            options,
            merge,
            assembly,
            keys,
            keys_end,
            hand_over,
            stale_secret,
            opened,
            half_written: false,
            removed: dropped,
            // The key of a writer that died has not been changed since.
            times: Times::start(records, key_interval, crash.is_some()),
        };
        let writer = thread::Builder::new().name("airssys-audit".into()).spawn(move || writer.run());
        let writer = writer.map_err(|error| store.io(error))?;
        let thread = writer.thread().clone();
        let writer = Mutex::new(Some(writer));
        Ok(Self(Arc::new(Inner { shared, thread, writer, store, durable, patience, redaction })))
    }
}

impl Sink for Log {
    fn record(&self, event: &Event<'_>) -> Result<u64, Error> {
        let Inner { shared, thread, durable, redaction, .. } = &*self.0;
        let is_denial = event.verdict == Verdict::Deny;
        if is_denial && let Err(like) = shared.flood.count(event.principal, log_file::monotonic_ns()) {
            return Ok(like);
        }
        let push = |event: &Event<'_>, redacted| shared.queue.push(event, redacted, || thread.unpark());
        let sequence = redaction.apply(event, push).map_err(|_| refused(event, shared.progress().failure))?;
        if is_denial {
            shared.flood.recorded(event.principal, sequence);
        }
        if *durable && event.phase == Phase::Intent {
            let progress = self.wait_for(sequence, Some(self.0.patience));
            if progress.written < sequence {
                let failure = progress.failure.or(Some(errno::TIMED_OUT));
                drop(progress);
                self.withdraw(event, sequence);
                return Err(refused(event, failure));
            }
        }
        Ok(sequence)
    }
}

impl Inner {
    fn close(&self) -> Result<(), Error> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return Ok(()) };
        self.shared.tell_suppressed(true);
        self.shared.queue.close();
        self.thread.unpark();
        match writer.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let lost = self.shared.queue.last() - self.shared.progress().written;
                Err(Error::io(format!("close the audit log: {lost} records could not be written"), error))
            }
            Err(_) => Err(Error::new(ErrorKind::Bug, "close the audit log: its writer panicked")),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left who could do something about an error; the next `open` finds what is missing.
        let _ = self.close();
    }
}

fn lock(store: &Store) -> Result<Lock, Error> {
    for _ in 0..LOCK_TRIES {
        match store.lock()? {
            Some(lock) => return Ok(lock),
            None => thread::sleep(LOCK_PAUSE),
        }
    }
    let what = format!("{}: another program writes it", store.what());
    Err(Error::io(what, io::Error::from(io::ErrorKind::ResourceBusy)))
}

/// The error of a record that was not taken, or is not known to be on the device.
fn refused(event: &Event<'_>, errno: Option<i32>) -> Error {
    let resource = String::from_utf8_lossy(event.resource);
    unavailable(format!("record {} of `{}`", event.action, resource.escape_debug()), errno)
}

fn unavailable(what: String, errno: Option<i32>) -> Error {
    let error = Error::new(ErrorKind::AuditUnavailable, what);
    match errno {
        Some(errno) if errno != 0 => error.caused_by(io::Error::from_raw_os_error(errno)),
        _ => error,
    }
}

/// Something that the log itself did.
pub(super) fn host_event(action: Action, resource: &[u8]) -> Event<'_> {
    Event {
        principal: rule::HOST,
        action,
        resource,
        verdict: Verdict::Allow,
        rule: rule::HOST,
        epoch: 0,
        phase: Phase::Done,
        outcome: Outcome::Success,
        bytes: 0,
        duration_ns: 0,
        intent: 0,
        trace: [0; 16],
    }
}

#[cfg(test)]
mod tests;
