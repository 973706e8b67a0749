//! A log in segments: rotation, retention, keys that change, and what somebody may do with either.

use std::{fs, path::Path, time::Duration};

use airssys_osl::{
    Action, ErrorKind,
    audit::{self, Log, LogOptions, Query, Reader, Retention, State},
};
use tempfile::TempDir;

use crate::{
    audit_attacks::{expect_tampered, forge_links},
    audit_log::{ORIGIN, RECORD, copy, fast, frames, read, record},
};

#[test]
fn a_log_goes_on_in_another_segment_and_reads_and_verifies_as_one() {
    let dir = segmented(LogOptions { segment_bytes: 2_000, ..fast() }, 100);
    assert!(segments(dir.path()).len() >= 10, "{:?}", segments(dir.path()));
    let numbers: Vec<u64> = read(dir.path()).iter().map(|record| record.sequence()).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.dropped, report.state), (100, 0, State::Closed));
    assert_eq!(report.segments, segments(dir.path()).len() as u64);

    // And it goes on there when it is opened again.
    let log = Log::open(dir.path(), ORIGIN, fast()).unwrap();
    assert_eq!(record(&log, "reader", "x"), 101);
    log.close().unwrap();
    assert_eq!(audit::verify(dir.path(), None).unwrap().records, 101);
}

#[test]
fn a_segment_ends_when_it_is_old_and_an_empty_one_never_does() {
    let dir = segmented(LogOptions { segment_age: Duration::ZERO, ..fast() }, 5);
    // After each record that was flushed; the passes without one made none.
    assert_eq!(segments(dir.path()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(audit::verify(dir.path(), None).unwrap().records, 5);
}

#[test]
fn a_reader_follows_from_segment_to_segment() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), ORIGIN, LogOptions { segment_bytes: 1_500, ..fast() }).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    for number in 1..=50 {
        record(&log, "reader", "x");
        log.flush().unwrap();
        assert_eq!(reader.next().unwrap().unwrap().sequence(), number);
        assert!(reader.next().is_none());
        let mut later = Reader::open_at(dir.path(), reader.position()).unwrap();
        assert!(later.next().is_none(), "after {number}");
    }
    assert!(reader.position().segment() > 10);
}

#[test]
fn a_segment_that_was_taken_out_is_found() {
    let dir = segmented(LogOptions { segment_bytes: 2_000, ..fast() }, 100);
    let all = segments(dir.path());
    for (index, segment) in all.iter().enumerate() {
        let dir = copy(dir.path());
        fs::remove_file(path(dir.path(), *segment)).unwrap();
        let expected = if index == 0 { "its beginning was cut off" } else { "its end was cut off" };
        expect_tampered(dir.path(), None, expected);
    }
    // Or put in the place of another.
    let dir = copy(dir.path());
    fs::copy(path(dir.path(), all[3]), path(dir.path(), all[2])).unwrap();
    expect_tampered(dir.path(), None, "counts");
}

#[test]
fn every_segment_is_checked() {
    let dir = segmented(LogOptions { segment_bytes: 2_000, ..fast() }, 60);
    for segment in segments(dir.path()) {
        let changed = copy(dir.path());
        let mut bytes = fs::read(path(dir.path(), segment)).unwrap();
        let frame = frames(&bytes).into_iter().find(|frame| bytes[frame.start + 4] == RECORD);
        // The last segment may have none yet.
        let Some(frame) = frame else { continue };
        bytes[frame.end - 1] ^= 1;
        fs::write(path(changed.path(), segment), bytes).unwrap();
        expect_tampered(changed.path(), None, "the link of records ");
    }
}

#[test]
fn what_retention_removed_is_no_tampering_and_what_somebody_else_removed_is() {
    let retention = Retention { segments: Some(3), ..Retention::default() };
    let dir = segmented(LogOptions { segment_bytes: 2_000, retention, ..fast() }, 100);
    let kept = segments(dir.path());
    assert_eq!(kept.len(), 3);
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.dropped, report.state), (100, kept[0], State::Closed));
    let numbers: Vec<u64> = read(dir.path()).iter().map(|record| record.sequence()).collect();
    assert_eq!(numbers, (kept[0] + 1..=100).collect::<Vec<_>>());

    let cut = copy(dir.path());
    fs::remove_file(path(cut.path(), kept[0])).unwrap();
    expect_tampered(cut.path(), None, "its beginning was cut off");
    // Nor does it help to give the next segment the name of the one that is missing.
    fs::rename(path(cut.path(), kept[1]), path(cut.path(), kept[0])).unwrap();
    expect_tampered(cut.path(), None, "begins with a checkpoint of another place");

    // It goes on, and what was dropped stays dropped.
    let log = Log::open(dir.path(), ORIGIN, fast()).unwrap();
    record(&log, "reader", "x");
    log.close().unwrap();
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.dropped), (101, kept[0]));
}

#[test]
fn retention_by_bytes_and_by_age_keeps_the_segment_that_is_written() {
    for retention in [
        Retention { bytes: Some(0), ..Retention::default() },
        Retention { age: Some(Duration::ZERO), ..Retention::default() },
    ] {
        let dir = segmented(LogOptions { segment_bytes: 2_000, retention, ..fast() }, 60);
        assert_eq!(segments(dir.path()).len(), 1, "{retention:?}");
        assert_eq!(audit::verify(dir.path(), None).unwrap().records, 60);
    }
}

#[test]
fn retention_that_a_crash_interrupted_is_finished() {
    let retention = Retention { segments: Some(2), ..Retention::default() };
    let all = segmented(LogOptions { segment_bytes: 2_000, ..fast() }, 40);
    let oldest = fs::read(path(all.path(), 0)).unwrap();
    let log = Log::open(all.path(), ORIGIN, LogOptions { segment_bytes: 1, retention, ..fast() }).unwrap();
    record(&log, "reader", "x");
    log.flush().unwrap();
    log.close().unwrap();
    assert!(!path(all.path(), 0).exists());

    // As if the program had died after its promise and before the deed.
    fs::write(path(all.path(), 0), oldest).unwrap();
    assert_eq!(audit::verify(all.path(), None).unwrap().records, 41);
    drop(Log::open(all.path(), ORIGIN, fast()).unwrap());
    assert!(!path(all.path(), 0).exists());
}

#[test]
fn an_anchor_of_what_was_dropped_proves_nothing_and_a_later_one_does() {
    let dir = TempDir::new().unwrap();
    let retention = Retention { segments: Some(2), ..Retention::default() };
    let mut anchors = Vec::new();
    for round in 0..6 {
        let options = LogOptions { segment_bytes: 1, retention, ..fast() };
        let log = Log::open(dir.path(), ORIGIN, options).unwrap();
        record(&log, "reader", &round.to_string());
        log.flush().unwrap();
        log.close().unwrap();
        anchors.push(audit::verify(dir.path(), None).unwrap().checkpoint);
    }
    let error = audit::verify(dir.path(), Some(&anchors[0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("the anchor was made after 1 records, but the first"), "{error}");
    assert_eq!(audit::verify(dir.path(), Some(&anchors[5])).unwrap().records, 6);
}

#[test]
fn a_crash_in_the_middle_of_a_rotation_is_repaired() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), ORIGIN, LogOptions { segment_bytes: 1, ..fast() }).unwrap();
    let mut before = Vec::new();
    for _ in 0..2 {
        record(&log, "reader", "x");
        log.flush().unwrap();
        // The flush ends when the record is written, and the rotation comes after.
        before.push(fs::read(dir.path().join("head")).unwrap());
    }
    log.close().unwrap();
    let last = *segments(dir.path()).last().unwrap();
    let whole = fs::read(path(dir.path(), last)).unwrap();
    let header = frames(&whole).remove(0);
    // The head is of the segment before as long as the header of the next one is not written.
    let sealed = read_head_of(dir.path(), last);
    for bytes in 0..header.end {
        let dir = copy(dir.path());
        fs::write(dir.path().join("head"), &sealed).unwrap();
        fs::write(path(dir.path(), last), &whole[..bytes]).unwrap();
        truncate_keys(dir.path(), last);
        let report = audit::verify(dir.path(), None).unwrap();
        assert_eq!((report.state, report.records), (State::Crashed, 2), "{bytes} bytes");
    }
}

/// The note of the last checkpoint before a segment.
fn read_head_of(dir: &Path, segment: u64) -> Vec<u8> {
    let before = segments(dir).into_iter().rfind(|other| *other < segment).unwrap();
    let bytes = fs::read(path(dir, before)).unwrap();
    let frame = frames(&bytes).pop().unwrap();
    bytes[frame.start + 5..frame.end].to_vec()
}

/// Takes out the hand-overs of a segment and those after it.
fn truncate_keys(dir: &Path, segment: u64) {
    let bytes = fs::read(dir.join("keys")).unwrap();
    let is_before = |text: &str| {
        let place = text.lines().find_map(|line| line.strip_prefix("place ")).unwrap();
        place.split(' ').next().unwrap().parse::<u64>().unwrap() < segment
    };
    let frames = frames(&bytes).into_iter();
    let kept = frames.filter(|frame| is_before(str::from_utf8(&bytes[frame.start + 5..frame.end]).unwrap()));
    let kept: Vec<u8> = kept.flat_map(|frame| bytes[frame].to_vec()).collect();
    fs::write(dir.join("keys"), kept).unwrap();
}

#[test]
fn queries_by_time_skip_segments_whatever_the_clock_did() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), ORIGIN, LogOptions { segment_bytes: 1, ..fast() }).unwrap();
    for number in 0..10 {
        record(&log, "reader", &number.to_string());
        log.flush().unwrap();
    }
    log.close().unwrap();
    let records = read(dir.path());
    // What is not read is not missed: the oldest segments are spoilt.
    for segment in segments(dir.path()).into_iter().take(3) {
        let bytes = fs::read(path(dir.path(), segment)).unwrap();
        let header = frames(&bytes).remove(0).end;
        fs::write(path(dir.path(), segment), [&bytes[..header], &[0xff; 100]].concat()).unwrap();
    }
    let since = Query { since_ns: Some(records[6].wall_ns()), ..Query::default() };
    let found: Vec<u64> =
        Reader::query(dir.path(), since).unwrap().map(|record| record.unwrap().sequence()).collect();
    assert_eq!(found, [7, 8, 9, 10]);
    let between = Query {
        since_ns: Some(records[4].wall_ns()),
        until_ns: Some(records[6].wall_ns()),
        action: Some(Action::FsRead),
        ..Query::default()
    };
    let found: Vec<u64> =
        Reader::query(dir.path(), between).unwrap().map(|record| record.unwrap().sequence()).collect();
    assert_eq!(found, [5, 6]);
}

#[test]
fn the_key_changes_and_the_log_still_verifies() {
    let dir = segmented(LogOptions { key_interval: Duration::ZERO, segment_bytes: 3_000, ..fast() }, 40);
    let report = audit::verify(dir.path(), None).unwrap();
    assert!(report.key_changes >= 20, "{report:?}");
    assert_eq!((report.records, report.state), (40, State::Closed));
    // The file holds one secret, and it is not the first.
    let key = secrets(dir.path()).remove(0);
    assert_eq!(secrets(dir.path()), std::slice::from_ref(&key));
    let public = fs::read_to_string(dir.path().join("key.pub")).unwrap();
    assert_ne!(key.split('+').nth(3), public.split('+').nth(1), "the key never changed");
    // And so it does where retention removed the segments of the first keys.
    let retention = Retention { segments: Some(2), ..Retention::default() };
    let options = LogOptions { segment_bytes: 1, retention, ..fast() };
    let log = Log::open(dir.path(), ORIGIN, options).unwrap();
    record(&log, "reader", "x");
    log.flush().unwrap();
    log.close().unwrap();
    let report = audit::verify(dir.path(), None).unwrap();
    assert!(report.dropped > 0 && report.records == 41, "{report:?}");
}

#[test]
fn whoever_steals_the_key_cannot_forge_what_was_before() {
    let dir = segmented(fast(), 30);
    let stolen = fs::read_to_string(dir.path().join("key")).unwrap();
    // The thief changes a record, makes all links anew and signs every checkpoint with the key of today.
    let file = path(dir.path(), 0);
    let mut bytes = fs::read(&file).unwrap();
    let frame = frames(&bytes).into_iter().find(|frame| bytes[frame.start + 4] == RECORD).unwrap();
    let name = bytes[frame.clone()].windows(6).position(|window| window == b"reader").unwrap();
    bytes[frame.start + name] = b'R';
    forge_links(&mut bytes);
    fs::write(&file, &bytes).unwrap();
    expect_tampered(dir.path(), None, "stands for other records");

    // With a log of its own, of the same records, signed by that key from the first: `key.pub` has another.
    let own = TempDir::new().unwrap();
    let log = Log::open(own.path(), ORIGIN, fast()).unwrap();
    log.close().unwrap();
    fs::write(own.path().join("key"), stolen).unwrap();
    let error = Log::open(own.path(), ORIGIN, fast()).unwrap_err();
    assert!(error.to_string().contains("its `key` is not the last of its keys"), "{error}");
}

/// A log of so many records, each of which was flushed.
fn segmented(options: LogOptions, records: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), ORIGIN, options).unwrap();
    for number in 1..=records {
        record(&log, "reader", &format!("/srv/inbox/{number}"));
        log.flush().unwrap();
    }
    log.close().unwrap();
    dir
}

fn path(dir: &Path, segment: u64) -> std::path::PathBuf {
    dir.join(format!("{segment:012}.log"))
}

fn segments(dir: &Path) -> Vec<u64> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut segments: Vec<u64> =
        names.filter_map(|name| name.strip_suffix(".log").map(|number| number.parse().unwrap())).collect();
    segments.sort_unstable();
    segments
}

#[test]
fn a_crash_in_the_middle_of_a_change_of_keys_is_repaired() {
    let whole = segmented(fast(), 3);
    let bytes = fs::read(path(whole.path(), 0)).unwrap();
    let text = |frame: &std::ops::Range<usize>| {
        String::from_utf8_lossy(&bytes[frame.start + 5..frame.end]).into_owned()
    };
    let all = frames(&bytes);
    let hand_over = all.iter().find(|frame| text(frame).contains("\nnext ")).unwrap();
    let secret = |dir: &Path| secrets(dir).concat();
    let other = secret(segmented(fast(), 0).path());

    // The list of keys is not written, the head is that of the hand-over, the old secret is not destroyed.
    let dir = copy(whole.path());
    fs::remove_file(dir.path().join("keys")).unwrap();
    fs::write(dir.path().join("head"), text(hand_over)).unwrap();
    fs::write(path(dir.path(), 0), &bytes[..hand_over.end]).unwrap();
    fs::write(dir.path().join("key"), format!("{other}{}", secret(dir.path()))).unwrap();
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.state, report.key_changes), (3, State::Crashed, 1));
    expect_reopened(dir.path());

    // The next secret is there, and nothing else: the old one goes on.
    let dir = copy(whole.path());
    fs::write(dir.path().join("key"), format!("{}{other}", secret(dir.path()))).unwrap();
    expect_reopened(dir.path());

    // The last write of all, with the hand-over and the closing checkpoint, is in the log, and nothing else is.
    let own = TempDir::new().unwrap();
    let log = Log::open(own.path(), ORIGIN, fast()).unwrap();
    record(&log, "reader", "x");
    log.flush().unwrap();
    let (head, old) = (fs::read(own.path().join("head")).unwrap(), secret(own.path()));
    log.close().unwrap();
    let dir = copy(own.path());
    fs::remove_file(dir.path().join("keys")).unwrap();
    assert_ne!(head, fs::read(own.path().join("head")).unwrap());
    fs::write(dir.path().join("head"), head).unwrap();
    assert_ne!(old, secret(own.path()));
    fs::write(dir.path().join("key"), format!("{old}{}", secret(own.path()))).unwrap();
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.state, report.key_changes), (1, State::Closed, 1));
    expect_reopened(dir.path());
}

#[test]
fn a_next_secret_that_was_torn_within_a_letter_hides_none() {
    let origin = "exämple.org/log";
    let dir = TempDir::new().unwrap();
    let open = || Log::open(dir.path(), origin, fast());
    open().unwrap().close().unwrap();
    let key = dir.path().join("key");
    let whole = fs::read(&key).unwrap();
    // Each secret is in a block of its own: a drive that loses power in a write spoils the one it writes.
    assert_eq!(whole.len(), 2 * 4096);
    let at = whole.iter().position(|byte| !byte.is_ascii()).unwrap() % 4096 + 1;
    for blocks in whole.chunks(4096).map(|secret| [secret, &secret[..at]].concat()) {
        if blocks.trim_ascii().is_empty() {
            continue;
        }
        fs::write(&key, blocks).unwrap();
        let log = open().unwrap();
        record(&log, "reader", "x");
        log.close().unwrap();
        assert_eq!(audit::verify(dir.path(), None).unwrap().state, State::Closed);
        assert_eq!(fs::read_to_string(&key).unwrap().split_ascii_whitespace().count(), 1);
    }
}

/// Opens and closes the log, and expects that it verifies, with one secret left.
fn expect_reopened(dir: &Path) {
    let log = Log::open(dir, ORIGIN, fast()).unwrap();
    record(&log, "reader", "x");
    log.close().unwrap();
    assert_eq!(audit::verify(dir, None).unwrap().state, State::Closed);
    assert_eq!(secrets(dir).len(), 1);
    drop(Log::open(dir, ORIGIN, fast()).unwrap());
}

/// The secrets of a log: the lines of its key that are not blank.
fn secrets(dir: &Path) -> Vec<String> {
    let key = fs::read_to_string(dir.join("key")).unwrap();
    key.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_log_is_opened_by_the_last_of_its_keys_and_verified_by_all() {
    // More than are read at once.
    const TIMES: u64 = 50;
    let dir = TempDir::new().unwrap();
    let reopen = || {
        let log = Log::open(dir.path(), ORIGIN, fast()).unwrap();
        record(&log, "reader", "x");
        log.close().unwrap();
    };
    (0..TIMES).for_each(|_| reopen());
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.key_changes, report.state), (TIMES, TIMES, State::Closed));

    let keys = dir.path().join("keys");
    let bytes = fs::read(&keys).unwrap();
    let all = frames(&bytes);
    assert!(all.len() as u64 == TIMES && bytes.len() > 20 * 1024, "{} bytes", bytes.len());
    let spoil = |number: usize| {
        let mut spoilt = bytes.clone();
        let frame = &all[number];
        // In the middle of the signature, so that it is still one.
        let at = frame.end - 40;
        spoilt[at] = if spoilt[at] == b'A' { b'B' } else { b'A' };
        fs::write(&keys, spoilt).unwrap();
        expect_tampered(dir.path(), None, "`keys` has a signature that is wrong");
    };
    spoil(all.len() - 1);
    let error = Log::open(dir.path(), ORIGIN, fast()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    assert!(error.to_string().contains("`keys` has a signature that is wrong"), "{error}");
    // One of long ago costs nothing to open the log: who verifies it finds it out.
    spoil(1);
    Log::open(dir.path(), ORIGIN, fast()).unwrap().close().unwrap();
    // What a crash left half-written at the end is written over.
    fs::write(&keys, [&bytes[..], &bytes[all[1].start..all[1].end - 1]].concat()).unwrap();
    reopen();
    assert_eq!(audit::verify(dir.path(), None).unwrap().key_changes, TIMES + 1);
    // A list that lost its end, or its beginning.
    fs::write(&keys, &bytes[..all[all.len() - 2].end]).unwrap();
    let error = Log::open(dir.path(), ORIGIN, fast()).unwrap_err();
    assert!(error.to_string().contains("`head` has no signature of the log's key"), "{error}");
    fs::write(&keys, &bytes[all[30].start..]).unwrap();
    expect_tampered(dir.path(), None, "no signature of the log's key");
}
