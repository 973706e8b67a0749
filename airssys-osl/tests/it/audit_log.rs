//! The audit log as its users see it: written by many threads, closed or not, opened again, read, queried.

use std::{
    collections::HashMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use airssys_osl::{
    Action, ErrorKind, Verdict,
    audit::{
        self, Durability, Event, Log, LogOptions, Outcome, Phase, Query, Reader, Record, Sink as _, State,
    },
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "example.org/log";
/// The kind of a frame that is a record.
pub(crate) const RECORD: u8 = 1;
/// The kind of a frame that is a link.
pub(crate) const LINK: u8 = 3;

#[test]
fn records_of_all_threads_are_there_once_and_in_order() {
    const THREADS: u64 = 6;
    const EACH: u64 = 2_000;
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                let mut last = 0;
                for number in 0..EACH {
                    let sequence = record(log, &format!("thread-{thread}"), &number.to_string());
                    assert!(sequence > last, "{sequence} after {last}");
                    last = sequence;
                }
            });
        }
    });
    log.close().unwrap();

    let mut next = HashMap::new();
    let records = read(dir.path());
    assert_eq!(records.len() as u64, THREADS * EACH);
    for (record, sequence) in records.iter().zip(1..) {
        assert_eq!(record.sequence(), sequence);
        let number = next.entry(record.principal().to_owned()).or_insert(0_u64);
        assert_eq!(record.resource(), number.to_string().as_bytes());
        *number += 1;
    }
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.unsealed, report.torn_bytes), (THREADS * EACH, 0, 0));
    assert_eq!(report.state, State::Closed);
    assert!(report.checkpoints > THREADS * EACH / 1_000, "{} checkpoints", report.checkpoints);
}

#[test]
fn a_small_queue_makes_its_callers_wait_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let options = LogOptions { queue_bytes: 0, ..fast() };
    let log = Log::open(dir.path(), ORIGIN, options).unwrap();
    let resource = "x".repeat(audit::RESOURCE_BYTES);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| _ = record(&log, "reader", &resource)));
        }
    });
    log.close().unwrap();
    assert_eq!(audit::verify(dir.path(), None).unwrap().records, 800);
}

#[test]
fn a_log_goes_on_where_it_was_closed() {
    let dir = TempDir::new().unwrap();
    for (round, before) in [0, 3, 6].into_iter().enumerate() {
        let log = open(dir.path());
        for number in 1..=3 {
            assert_eq!(record(&log, "reader", "x"), before + number, "round {round}");
        }
        drop(log);
        let report = audit::verify(dir.path(), None).unwrap();
        assert_eq!((report.records, report.state), (before + 3, State::Closed));
    }
    assert!(read(dir.path()).iter().all(|record| record.action() == Some(Action::FsRead)));
}

#[test]
fn what_was_recorded_is_read_back() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let denied = Event {
        action: Action::NetConnect,
        verdict: Verdict::Deny,
        outcome: Outcome::Denied,
        rule: "default-deny",
        trace: [7; 16],
        ..event("rogue", b"169.254.169.254:80")
    };
    log.record(&event("reader", b"in\xffbox")).unwrap();
    log.record(&denied).unwrap();
    log.close().unwrap();

    let [first, second] = &read(dir.path())[..] else { panic!("two records") };
    assert_eq!((first.sequence(), first.principal(), first.resource()), (1, "reader", &b"in\xffbox"[..]));
    assert_eq!((first.bytes(), first.duration_ns(), first.epoch()), (11, 12, 13));
    assert_eq!(second.action(), Some(Action::NetConnect));
    assert_eq!((second.verdict(), second.outcome()), (Verdict::Deny, Outcome::Denied));
    assert_eq!((second.rule(), second.trace()), ("default-deny", [7; 16]));
    assert!(first.monotonic_ns() <= second.monotonic_ns() && first.wall_ns() > 0);
    assert_eq!(first.boot_id(), second.boot_id());
}

#[test]
fn queries_match_on_all_that_is_set() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    record(&log, "reader", "/srv/inbox/a");
    log.close().unwrap();
    let record = read(dir.path()).pop().unwrap();

    let exact = Query {
        since_ns: Some(record.wall_ns()),
        until_ns: Some(record.wall_ns() + 1),
        principal: Some("reader".into()),
        action: Some(Action::FsRead),
        resource_prefix: Some(b"/srv/".to_vec()),
        verdict: Some(Verdict::Allow),
        trace: Some([0; 16]),
    };
    assert!(Query::default().matches(&record));
    assert!(exact.matches(&record));
    let others = [
        Query { since_ns: Some(record.wall_ns() + 1), ..exact.clone() },
        Query { until_ns: Some(record.wall_ns()), ..exact.clone() },
        Query { principal: Some("read".into()), ..exact.clone() },
        Query { action: Some(Action::FsWrite), ..exact.clone() },
        Query { resource_prefix: Some(b"srv".to_vec()), ..exact.clone() },
        Query { verdict: Some(Verdict::Deny), ..exact.clone() },
        Query { trace: Some([1; 16]), ..exact.clone() },
    ];
    for query in others {
        assert!(!query.matches(&record), "{query:?}");
    }
}

#[test]
fn what_was_moved_away_is_found_by_where_it_was() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let moved = event("mover", b"/srv/out/a\0/srv/in/a");
    log.record(&Event { action: Action::FsRename, ..moved }).unwrap();
    // It asks for one path, which nobody has.
    record(&log, "liar", "/elsewhere\0/srv/in/a");
    log.close().unwrap();
    let found = |prefix: &str| {
        let query = Query { resource_prefix: Some(prefix.into()), ..Query::default() };
        Reader::query(dir.path(), query).unwrap().count()
    };
    assert_eq!([found("/srv/out"), found("/srv/in/"), found("/srv/in/a")], [1; 3]);
    assert_eq!([found("/in"), found("srv/in"), found("/srv/in/ab")], [0; 3]);
}

#[test]
fn a_reader_follows_a_log_that_is_written() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    assert!(reader.next().is_none());
    let mut position = reader.position();
    for number in 1..=3 {
        record(&log, "reader", "x");
        log.flush().unwrap();
        assert_eq!(reader.next().unwrap().unwrap().sequence(), number);
        assert!(reader.next().is_none());
        if number == 2 {
            position = reader.position();
        }
    }
    let rest: Vec<_> =
        Reader::open_at(dir.path(), position).unwrap().map(|record| record.unwrap().sequence()).collect();
    assert_eq!(rest, [3]);
}

#[test]
fn a_reader_stops_at_what_is_no_record() {
    let dir = crashed(3);
    append(dir.path(), &[0xff; 64]);
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.by_ref().take(3).map(|record| record.unwrap().sequence()).sum::<u64>(), 6);
    assert_eq!(reader.next().unwrap().unwrap_err().kind(), ErrorKind::Tampered);
    assert!(reader.next().is_none());
}

#[test]
fn there_is_nothing_to_read_where_there_is_no_log() {
    let dir = TempDir::new().unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(audit::verify(dir.path(), None).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn an_open_log_can_be_verified_but_not_written_by_another() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    record(&log, "reader", "x");
    log.flush().unwrap();
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.state), (1, State::Open));

    let error = Log::open(dir.path(), ORIGIN, fast()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("another program writes it"), "{error}");
    log.close().unwrap();
    open(dir.path());
}

#[test]
fn of_many_who_would_write_a_log_one_does() {
    let dir = TempDir::new().unwrap();
    let opened: Vec<_> = thread::scope(|scope| {
        let open = || Log::open(dir.path(), ORIGIN, fast());
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (winners, others): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(winners.len(), 1);
    assert!(others.iter().all(|other| other.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy)));
    for log in winners {
        record(log.as_ref().unwrap(), "reader", "x");
    }
    assert_eq!(audit::verify(dir.path(), None).unwrap().records, 1);
}

#[test]
fn progress_is_told_to_the_end() {
    let dir = closed(5_000);
    let mut told = Vec::new();
    let report = audit::verify_with(dir.path(), None, |progress| told.push(progress)).unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.records, last.bytes), (5_000, last.total_bytes));
    assert_eq!(told.len() as u64, report.checkpoints);
    assert!(told.is_sorted_by_key(|progress| progress.bytes));
}

#[test]
fn a_log_in_use_is_verified_again_and_again() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), ORIGIN, LogOptions { checkpoint_records: 10, ..fast() }).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| (0..20_000).for_each(|_| _ = record(&log, "reader", "x")));
        let mut records = 0;
        while !writer.is_finished() {
            let report = audit::verify(dir.path(), None).unwrap();
            assert!(report.records >= records, "{} after {records}", report.records);
            records = report.records;
        }
    });
}

#[test]
fn an_idle_log_leaves_nothing_unsigned() {
    let dir = TempDir::new().unwrap();
    let options = LogOptions { checkpoint_interval: Duration::MAX, ..fast() };
    let log = Log::open(dir.path(), ORIGIN, options).unwrap();
    record(&log, "reader", "x");
    log.flush().unwrap();
    // It takes a tenth of a second; the test's own time limit is the deadline.
    while audit::verify(dir.path(), None).unwrap().unsealed > 0 {
        thread::yield_now();
    }
    assert_eq!(audit::verify(dir.path(), None).unwrap().state, State::Open);
}

#[test]
fn a_closed_log_refuses_records() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let clone = log.clone();
    log.close().unwrap();
    assert_eq!(clone.record(&event("reader", b"x")).unwrap_err().kind(), ErrorKind::AuditUnavailable);
    clone.flush().unwrap();
    clone.close().unwrap();
}

#[test]
fn the_origin_is_a_name_and_stays_the_same() {
    let dir = TempDir::new().unwrap();
    for origin in ["", "a b", "a+b", "a\nb"] {
        assert_eq!(
            Log::open(dir.path(), origin, fast()).unwrap_err().kind(),
            ErrorKind::Invalid,
            "{origin:?}"
        );
    }
    open(dir.path());
    let error = Log::open(dir.path(), "example.org/other", fast()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("its origin is `example.org/log`"), "{error}");
}

#[cfg(unix)]
#[test]
fn others_may_not_look_into_the_folder() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("a/b");
    drop(open(&folder));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let expected = ["000000000000.log", "head", "key", "key.pub", "lock"].map(|name| folder.join(name));
    assert_eq!(names, expected);
    assert!(names.iter().all(|name| mode(name) == 0o600));
}

#[test]
fn a_crashed_log_is_repaired_and_says_so() {
    let dir = crashed(5);
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.state, report.torn_bytes), (5, State::Crashed, 0));

    drop(open(dir.path()));
    let records = read(dir.path());
    let recovered = &records[5];
    assert_eq!((records.len(), recovered.action()), (6, Some(Action::AuditRecovered)));
    assert_eq!(recovered.resource(), b"cut 0 torn bytes, kept 5 records after the last checkpoint");
    assert_eq!(audit::verify(dir.path(), None).unwrap().state, State::Closed);
}

#[test]
fn a_frame_that_was_cut_off_anywhere_is_cut_away() {
    let whole = crashed(3);
    let bytes = fs::read(segment(whole.path())).unwrap();
    let last = last_record(&bytes);
    for end in last.start + 1..last.end {
        let dir = copy(whole.path());
        truncate(dir.path(), end as u64);
        expect_repair(dir.path(), 2, (end - last.start) as u64);
    }
}

#[test]
fn a_link_that_was_cut_off_is_made_again() {
    let whole = crashed(3);
    let bytes = fs::read(segment(whole.path())).unwrap();
    let link = frames(&bytes).pop().unwrap();
    for end in link.start..link.end {
        let dir = copy(whole.path());
        truncate(dir.path(), end as u64);
        expect_repair(dir.path(), 3, (end - link.start) as u64);
    }
}

#[test]
fn zeros_that_a_power_loss_left_at_the_end_are_cut_away() {
    let whole = crashed(3);
    let bytes = fs::read(segment(whole.path())).unwrap();
    let (first, last) = (frames(&bytes).remove(1), last_record(&bytes));
    for (end, zeros) in
        [(last.start, 1), (last.start, 9_000), (last.start + 3, 4_096), (last.end - 20, 300_000)]
    {
        let dir = copy(whole.path());
        truncate(dir.path(), end as u64);
        append(dir.path(), &vec![0; zeros]);
        // What no link stands for may have zeros in it too.
        expect_repair(dir.path(), 0, (end - first.start + zeros) as u64);
    }
}

#[test]
fn a_log_that_does_not_match_its_head_does_not_open() {
    expect_refused("`head` is missing", |dir| fs::remove_file(dir.join("head")).unwrap());
    expect_refused("`head` has", |dir| fs::write(dir.join("head"), "x\n\ny\n").unwrap());
    expect_refused("its records are missing", |dir| fs::remove_file(segment(dir)).unwrap());
    expect_refused("it ends before the place where its `head` was made", |dir| {
        truncate(dir, fs::metadata(segment(dir)).unwrap().len() - 1)
    });
    expect_refused("it ends before the place where its `head` was made", |dir| {
        // A record that follows well, in the place of the closing checkpoint.
        let original = fs::read(segment(dir)).unwrap();
        let longer = copy(dir);
        record(&open(longer.path()), "reader", "x");
        let bytes = fs::read(segment(longer.path())).unwrap();
        let is_next =
            |frame: &Range<usize>| frame.start >= original.len() && bytes[frame.start + 4] == RECORD;
        let next = frames(&bytes).into_iter().find(is_next).unwrap();
        let checkpoint = frames(&original).pop().unwrap();
        fs::write(segment(dir), [&original[..checkpoint.start], &bytes[next]].concat()).unwrap();
    });
    expect_refused("its `key` is missing", |dir| fs::remove_file(dir.join("key")).unwrap());
    expect_refused("its `key` has", |dir| fs::write(dir.join("key"), [0xff]).unwrap());
    expect_refused("its `key` has", |dir| fs::write(dir.join("key"), "x").unwrap());
    expect_refused("`key.pub` is missing", |dir| fs::remove_file(dir.join("key.pub")).unwrap());
    expect_refused("its `key` is not the last of its keys", |dir| {
        fs::copy(closed(0).path().join("key"), dir.join("key")).unwrap();
    });
    expect_refused("`keys` has no signature of the log's key", |dir| {
        fs::copy(closed(0).path().join("key.pub"), dir.join("key.pub")).unwrap();
    });
    expect_refused("what follows record 3", |dir| append(dir, &[0xff; 5]));
}

#[test]
fn a_folder_in_which_no_log_was_finished_gets_a_new_one() {
    // The key is written last; whatever else there is may be half of what it should be.
    let dir = copy(closed(0).path());
    fs::remove_file(dir.path().join("key")).unwrap();
    truncate(dir.path(), 100);
    drop(open(dir.path()));
    assert_eq!(audit::verify(dir.path(), None).unwrap().records, 0);
}

/// Spoils a log and expects that it does not open then, and why.
fn expect_refused(expected: &str, spoil: impl FnOnce(&Path)) {
    let dir = closed(3);
    spoil(dir.path());
    let error = Log::open(dir.path(), ORIGIN, fast()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    assert!(error.to_string().contains(expected), "`{expected}` is not in `{error}`");
    assert!(error.to_string().contains("rename the folder"), "{error}");
}

/// Opens the log after a crash and expects that it has `kept` of its records, and lost `torn_bytes`.
fn expect_repair(dir: &Path, kept: u64, torn_bytes: u64) {
    let report = audit::verify(dir, None).unwrap();
    assert_eq!((report.records, report.torn_bytes, report.state), (kept, torn_bytes, State::Crashed));
    drop(open(dir));
    let recovered = read(dir).pop().unwrap();
    assert_eq!((recovered.sequence(), recovered.action()), (kept + 1, Some(Action::AuditRecovered)));
    let expected = format!("cut {torn_bytes} torn bytes, kept {kept} records after the last checkpoint");
    assert_eq!(recovered.resource(), expected.as_bytes());
    assert_eq!(audit::verify(dir, None).unwrap().state, State::Closed);
}

/// Options that do not wait for the device, and do not mind a machine that is busy with other tests.
pub(crate) fn fast() -> LogOptions {
    let queue_deadline = Duration::from_secs(60);
    LogOptions { durability: Durability::None, queue_deadline, ..LogOptions::default() }
}

pub(crate) fn open(dir: &Path) -> Log {
    Log::open(dir, ORIGIN, fast()).unwrap()
}

pub(crate) fn record(log: &Log, principal: &str, resource: &str) -> u64 {
    log.record(&event(principal, resource.as_bytes())).unwrap()
}

pub(crate) fn event<'a>(principal: &'a str, resource: &'a [u8]) -> Event<'a> {
    Event {
        principal,
        action: Action::FsRead,
        resource,
        verdict: Verdict::Allow,
        rule: "component.reader.grants.fs[0]",
        epoch: 13,
        phase: Phase::Done,
        outcome: Outcome::Success,
        bytes: 11,
        duration_ns: 12,
        intent: 0,
        trace: [0; 16],
    }
}

pub(crate) fn read(dir: &Path) -> Vec<Record> {
    Reader::open(dir).unwrap().map(Result::unwrap).collect()
}

/// A log that was closed in order.
pub(crate) fn closed(records: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    (1..=records).for_each(|number| _ = record(&log, "reader", &format!("/srv/inbox/{number}")));
    log.close().unwrap();
    dir
}

/// What is left of a log when its writer dies before it signs the first record.
pub(crate) fn crashed(records: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let left = copy(dir.path());
    (1..=records).for_each(|number| _ = record(&log, "reader", &format!("/srv/inbox/{number}")));
    log.flush().unwrap();
    // On a busy machine a link or a checkpoint may have come in between. The head that was copied knows of none.
    let bytes = fs::read(segment(dir.path())).unwrap();
    let frames = frames(&bytes).into_iter().enumerate();
    let kept = frames.filter(|(index, frame)| *index == 0 || bytes[frame.start + 4] == RECORD);
    let mut kept: Vec<u8> = kept.flat_map(|(_, frame)| bytes[frame].to_vec()).collect();
    let header = fs::metadata(segment(left.path())).unwrap().len() as usize;
    let link = Sha256::new().chain_update([0; 33]).chain_update(&kept[header..]).finalize();
    kept.extend_from_slice(&[32, 0, 0, 0, LINK]);
    kept.extend_from_slice(&link);
    fs::write(segment(left.path()), kept).unwrap();
    left
}

pub(crate) fn copy(dir: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, to.path().join(from.file_name().unwrap())).unwrap();
    }
    to
}

pub(crate) fn segment(dir: &Path) -> PathBuf {
    dir.join("000000000000.log")
}

pub(crate) fn truncate(dir: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(segment(dir)).unwrap().set_len(bytes).unwrap();
}

pub(crate) fn append(dir: &Path, bytes: &[u8]) {
    let mut all = fs::read(segment(dir)).unwrap();
    all.extend_from_slice(bytes);
    fs::write(segment(dir), all).unwrap();
}

fn last_record(segment: &[u8]) -> Range<usize> {
    frames(segment).into_iter().rfind(|frame| segment[frame.start + 4] == RECORD).unwrap()
}

/// Where the frames of a segment are.
pub(crate) fn frames(segment: &[u8]) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut start = 0;
    while let Some(length) = segment[start..].first_chunk() {
        let end = start + 5 + u32::from_le_bytes(*length) as usize;
        frames.push(start..end);
        start = end;
    }
    frames
}
