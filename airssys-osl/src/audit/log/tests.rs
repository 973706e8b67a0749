//! A disk that fails: what is refused, what is kept, and what the file looks like afterwards.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::audit::{Reader, State, note::Signer, retention::Kept, verify};

/// `ENOSPC`, as a number: the tests run where it may have no name.
const NO_SPACE: i32 = 28;

#[test]
fn a_full_disk_refuses_records_until_it_has_room_again_and_loses_none() {
    let (dir, disk, log) = open_on_a_failing_disk(LogOptions::default());
    fill(&log, 10);
    log.flush().unwrap();
    settle(dir.path(), &log);

    disk.fail_after(50);
    // Some, or all, come before the writer knows; the first one does.
    let queued = fill(&log, 10);
    assert!(queued >= 1);
    assert_unavailable(log.flush());
    assert_unavailable(log.record(&event()).map(drop));
    assert_eq!(verify(dir.path(), None).unwrap().records, 10);

    disk.recover();
    log.flush().unwrap();
    assert_eq!(fill(&log, 5), 5);
    log.close().unwrap();
    assert_complete(dir.path(), 10 + queued + 5);
}

#[test]
fn a_failed_sync_is_not_believed_until_all_is_written_again() {
    let (dir, disk, log) = open_on_a_failing_disk(LogOptions::default());
    disk.fail_sync.store(true, Ordering::Relaxed);
    fill(&log, 1);
    assert_unavailable(log.flush());
    // What a kernel does that dropped the pages it could not write.
    disk.wipe.store(true, Ordering::Relaxed);
    disk.recover();
    log.flush().unwrap();
    log.close().unwrap();
    assert_complete(dir.path(), 1);
}

#[test]
fn a_head_that_cannot_be_replaced_is_a_log_that_cannot_be_written() {
    let options = LogOptions { checkpoint_records: 1, ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    disk.fail_head.store(true, Ordering::Relaxed);
    fill(&log, 1);
    let failure = log.0.shared.wait_while(None, |progress| progress.failure.is_none()).failure;
    assert_eq!(failure, Some(NO_SPACE));
    assert_unavailable(log.record(&event()).map(drop));
    // The record itself is safe.
    log.flush().unwrap();
    disk.recover();
    drop(log);
    assert_complete(dir.path(), 1);
}

#[test]
fn closing_on_a_full_disk_gives_up_and_says_what_is_lost() {
    let options = LogOptions { queue_deadline: Duration::from_millis(50), ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    disk.fail_after(100);
    let queued = fill(&log, 3);
    let error = log.close().unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Io, Some(NO_SPACE)));
    assert!(error.to_string().contains(&format!("{queued} records could not be written")), "{error}");

    // The next writer finds a torn record and cuts it off.
    let log = Log::open(dir.path(), "log", LogOptions::default()).unwrap();
    log.close().unwrap();
    let records: Vec<_> = Reader::open(dir.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        records.iter().map(|record| record.action()).collect::<Vec<_>>(),
        [Some(Action::AuditRecovered)]
    );
    assert_eq!(records[0].resource(), b"cut 100 torn bytes, kept 0 records after the last checkpoint");
}

#[test]
fn a_full_queue_waits_for_its_deadline_and_refuses() {
    let options =
        LogOptions { queue_deadline: Duration::from_millis(20), queue_bytes: 0, ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    let stuck = disk.stall.lock().unwrap();
    let queued = fill(&log, 100_000);
    assert!(queued < 100_000);
    drop(stuck);
    log.close().unwrap();
    assert_complete(dir.path(), queued);
}

#[test]
fn a_panic_of_the_writer_is_no_silence() {
    let (_dir, disk, log) = open_on_a_failing_disk(LogOptions::default());
    disk.panic.store(true, Ordering::Relaxed);
    fill(&log, 1);
    assert_unavailable_kind(log.flush());
    assert_unavailable_kind(log.record(&event()).map(drop));
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Bug);
}

#[test]
fn a_change_waits_until_its_intent_is_on_the_device() {
    let queue_deadline = Duration::from_secs(60);
    let options = LogOptions { durability: Durability::Durable, queue_deadline, ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    let intent = Event { phase: Phase::Intent, outcome: Outcome::Pending, ..event() };
    for number in 1..=3 {
        assert_eq!(log.record(&intent).unwrap(), number);
        let report = verify(dir.path(), None).unwrap();
        assert_eq!(report.records, number, "it went on without its record");
    }
    settle(dir.path(), &log);
    // What a kernel says that cannot write: nobody may go on, though the bytes are in the file.
    disk.fail_sync.store(true, Ordering::Relaxed);
    assert_unavailable(log.record(&intent).map(drop));
    disk.recover();
    log.flush().unwrap();
    assert_eq!(log.record(&intent).unwrap(), 5);
    log.close().unwrap();
    assert_complete(dir.path(), 5);
}

#[test]
fn a_device_that_does_not_answer_is_waited_for_no_longer_than_the_deadline() {
    let queue_deadline = Duration::from_millis(20);
    let options = LogOptions { durability: Durability::Durable, queue_deadline, ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    let intent = Event { phase: Phase::Intent, outcome: Outcome::Pending, ..event() };
    let stuck = disk.stall.lock().unwrap();
    let error = log.record(&intent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AuditUnavailable);
    assert_eq!(error.raw_os_error(), Some(errno::TIMED_OUT));
    drop(stuck);
    log.close().unwrap();
    let records: Vec<_> = Reader::open(dir.path()).unwrap().map(Result::unwrap).collect();
    let outcomes: Vec<_> = records.iter().map(|record| (record.outcome(), record.intent())).collect();
    assert_eq!(outcomes, [(Outcome::Pending, 0), (Outcome::Cancelled, 1)], "and nothing came of it");
}

#[test]
fn what_only_reads_does_not_wait_for_the_device() {
    let options = LogOptions { durability: Durability::Durable, ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    let stuck = disk.stall.lock().unwrap();
    assert_eq!(fill(&log, 3), 3);
    drop(stuck);
    log.close().unwrap();
    assert_complete(dir.path(), 3);
}

#[test]
fn a_key_that_cannot_be_changed_is_changed_later() {
    let options = LogOptions { key_interval: Duration::ZERO, ..LogOptions::default() };
    let (dir, disk, log) = open_on_a_failing_disk(options);
    disk.fail_keys.store(true, Ordering::Relaxed);
    fill(&log, 1);
    log.flush().unwrap();
    // Recording goes on: the old key is as good as it was.
    assert_eq!(fill(&log, 1), 1);
    log.flush().unwrap();
    assert_eq!(verify(dir.path(), None).unwrap().key_changes, 0);
    disk.recover();
    fill(&log, 1);
    log.close().unwrap();
    assert_complete(dir.path(), 3);
    assert!(verify(dir.path(), None).unwrap().key_changes > 0);
}

/// What goes wrong with the disk.
#[derive(Debug)]
struct Disk {
    bytes_left: AtomicU64,
    fail_sync: AtomicBool,
    fail_head: AtomicBool,
    fail_keys: AtomicBool,
    panic: AtomicBool,
    /// What was written since the last sync is gone.
    wipe: AtomicBool,
    stall: Mutex<()>,
}

impl Disk {
    fn fail_after(&self, bytes: u64) {
        self.bytes_left.store(bytes, Ordering::Relaxed);
    }

    fn recover(&self) {
        self.fail_after(u64::MAX);
        self.fail_sync.store(false, Ordering::Relaxed);
        self.fail_head.store(false, Ordering::Relaxed);
        self.fail_keys.store(false, Ordering::Relaxed);
    }
}

struct FailingDisk {
    folder: Folder,
    disk: Arc<Disk>,
    synced: u64,
    end: u64,
}

impl Medium for FailingDisk {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _stall = self.disk.stall.lock();
        assert!(!self.disk.panic.load(Ordering::Relaxed), "the test wants it");
        if self.disk.wipe.swap(false, Ordering::Relaxed) {
            self.folder.truncate(self.synced)?;
        }
        let room = self.disk.bytes_left.load(Ordering::Relaxed).min(bytes.len() as u64) as usize;
        self.folder.write_at(offset, &bytes[..room])?;
        self.end = offset + room as u64;
        if room < bytes.len() { Err(io::Error::from_raw_os_error(NO_SPACE)) } else { Ok(()) }
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.folder.truncate(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.fail_sync.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        self.synced = self.end;
        self.folder.sync()
    }

    fn write_head(&mut self, note: &str, durable: bool) -> io::Result<()> {
        if self.disk.fail_head.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        self.folder.write_head(note, durable)
    }

    fn open_segment(&mut self, segment: u64) -> io::Result<()> {
        (self.synced, self.end) = (0, 0);
        self.folder.open_segment(segment)
    }

    fn write_secrets(&mut self, signers: &[&Signer]) -> io::Result<()> {
        if self.disk.fail_keys.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        self.folder.write_secrets(signers)
    }

    fn append_key(&mut self, end: u64, note: &str) -> io::Result<u64> {
        self.folder.append_key(end, note)
    }

    fn segments(&mut self) -> io::Result<Vec<Kept>> {
        self.folder.segments()
    }

    fn exported(&mut self) -> io::Result<Option<u64>> {
        self.folder.exported()
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.folder.reserve(bytes)
    }

    fn remove_before(&mut self, segment: u64) -> io::Result<()> {
        self.folder.remove_before(segment)
    }
}

fn open_on_a_failing_disk(options: LogOptions) -> (tempfile::TempDir, Arc<Disk>, Log) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::to_write(dir.path());
    let lock = lock(&store).unwrap();
    let resumed = resume::start(&store, "log").unwrap();
    let synced = resumed.start.place.offset;
    let disk = Arc::new(Disk {
        bytes_left: AtomicU64::new(u64::MAX),
        fail_sync: AtomicBool::new(false),
        fail_head: AtomicBool::new(false),
        fail_keys: AtomicBool::new(false),
        panic: AtomicBool::new(false),
        wipe: AtomicBool::new(false),
        stall: Mutex::new(()),
    });
    let folder = Folder { store: store.clone(), segment: store.segment(0).unwrap(), _lock: lock };
    let medium = FailingDisk { folder, disk: Arc::clone(&disk), synced, end: synced };
    (dir, disk, Log::start(store, resumed, medium, options).unwrap())
}

/// Records until one is refused, and returns how many were not.
fn fill(log: &Log, records: u64) -> u64 {
    (0..records).map_while(|_| log.record(&event()).ok()).count() as u64
}

/// Waits until all that was written is sealed: the writer writes nothing then until another record comes.
fn settle(dir: &Path, log: &Log) {
    while verify(dir, None).unwrap().unsealed > 0 {
        thread::yield_now();
    }
    // The pass that sealed it may not be over.
    let passes = log.0.shared.progress().passes;
    drop(log.0.shared.wait_while(None, |progress| progress.passes == passes));
}

fn assert_unavailable(result: Result<(), Error>) {
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind(), error.raw_os_error()),
        (ErrorKind::AuditUnavailable, Some(NO_SPACE)),
        "{error}"
    );
}

fn assert_unavailable_kind(result: Result<(), Error>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AuditUnavailable);
}

fn assert_complete(dir: &Path, records: u64) {
    let report = verify(dir, None).unwrap();
    assert_eq!((report.records, report.torn_bytes, report.state), (records, 0, State::Closed));
    assert_eq!(Reader::open(dir).unwrap().count() as u64, records);
}

fn event() -> Event<'static> {
    host_event(Action::SystemStart, b"x")
}
