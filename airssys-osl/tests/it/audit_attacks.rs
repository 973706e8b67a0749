//! What somebody who can write the folder of a log may do to it, and what `verify` says then.

use std::{fs, iter, ops::Range, path::Path, sync::LazyLock};

use airssys_osl::{
    ErrorKind,
    audit::{self, Log, State},
};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::audit_log::{
    LINK, RECORD, append, closed, copy, crashed, fast, frames, open, read, record, segment, truncate,
};

const RECORDS: u64 = 2_500;

#[test]
fn an_untouched_log_is_what_it_was() {
    let report = audit::verify(LOG.path(), None).unwrap();
    assert_eq!(
        (report.records, report.state, report.unsealed, report.torn_bytes),
        (RECORDS, State::Closed, 0, 0)
    );
    assert_eq!(audit::verify(LOG.path(), Some(&report.checkpoint)).unwrap(), report);
}

#[test]
fn every_flipped_bit_of_a_record_is_found() {
    let small = closed(3);
    let bytes = fs::read(segment(small.path())).unwrap();
    for at in frames(&bytes)[2].clone() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let dir = copy(small.path());
            fs::write(segment(dir.path()), bytes).unwrap();
            let error = audit::verify(dir.path(), None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Tampered, "bit {bit} of byte {at}: {error}");
        }
    }
}

#[test]
fn flipped_bits_all_over_the_log_are_found() {
    for at in (0..fs::metadata(segment(LOG.path())).unwrap().len() as usize).step_by(9_973) {
        expect("", |bytes, _| bytes[at] ^= 0x10);
    }
}

#[test]
fn a_changed_record_is_named_with_those_that_share_its_link() {
    let error = expect("the link of records ", |bytes, records| bytes[records[1_500].end - 40] ^= 1);
    let numbers: Vec<u64> = error.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] <= 1_501 && numbers[1] >= 1_501 && numbers[1] - numbers[0] < 64, "{error}");
}

#[test]
fn a_dropped_record_is_found() {
    // Where the writer happened to end a leaf with it, its link tells first.
    let first = "has the number 2 where 1 should follow | stands for other records";
    expect(first, |bytes, records| drop(bytes.drain(records[0].clone())));
    expect("has the number 1502 where 1501 should follow | stands for other records", |bytes, records| {
        bytes.drain(records[1_500].clone());
    });
    // The last one before a checkpoint has no successor that would miss it.
    expect("stands for other records", |bytes, records| drop(bytes.drain(records[999].clone())));
}

#[test]
fn swapped_records_are_found() {
    expect("has the number 702 where 701 should follow", |bytes, records| {
        let (first, second) = (bytes[records[700].clone()].to_vec(), bytes[records[701].clone()].to_vec());
        bytes.splice(records[700].start..records[701].end, [second, first].concat());
    });
}

#[test]
fn a_doubled_record_is_found() {
    expect("has the number 701 where 702 should follow", |bytes, records| {
        let twin = bytes[records[700].clone()].to_vec();
        bytes.splice(records[701].start..records[701].start, twin);
    });
}

#[test]
fn an_inserted_record_is_found_even_where_all_links_are_made_anew() {
    // Nothing but the key's signature stands in the way of whoever recomputes numbers and hashes.
    expect("the checkpoint at byte", |bytes, records| {
        let twin = bytes[records[700].clone()].to_vec();
        bytes.splice(records[701].start..records[701].start, twin);
        forge_links(bytes);
    });
    expect("stands for other records than those before it", |bytes, records| {
        let name = bytes[records[700].clone()].windows(6).position(|window| window == b"reader").unwrap();
        bytes[records[700].start + name] = b'R';
        forge_links(bytes);
    });
}

#[test]
fn a_cut_off_end_is_found() {
    let len = fs::metadata(segment(LOG.path())).unwrap().len();
    // In the middle of the closing checkpoint, behind a record, inside a record, all of it.
    let records = record_frames(&fs::read(segment(LOG.path())).unwrap());
    for end in [len - 1, records[2_400].end as u64, records[2_400].end as u64 - 1, 0] {
        let dir = copy(LOG.path());
        truncate(dir.path(), end);
        let error = audit::verify(dir.path(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    }
    expect("its end was cut off: it has 2401 records, but `head` was made after 2500", |bytes, records| {
        bytes.truncate(records[2_400].end);
    });
}

#[test]
fn a_piece_cut_out_of_the_middle_is_found() {
    expect("record 501 at byte", |bytes, records| drop(bytes.drain(records[500].start..records[600].start)));
    expect("", |bytes, records| drop(bytes.drain(records[500].start + 7..records[600].start + 3)));
}

#[test]
fn garbage_at_the_end_is_found() {
    expect("what follows record 2500", |bytes, _| bytes.extend_from_slice(b"garbage that is no frame"));
}

#[test]
fn checkpoints_that_were_taken_out_are_missed() {
    expect("record 1 at byte 0 stands where a segment has a checkpoint", |bytes, records| {
        *bytes = records.iter().flat_map(|range| bytes[range.clone()].to_vec()).collect();
    });
    expect("the checkpoint of `head`, after 2500 records, is not in it", |bytes, _| {
        let kept = frames(bytes).into_iter().filter(|frame| frame.start == 0 || bytes[frame.start + 4] != 2);
        *bytes = kept.flat_map(|frame| bytes[frame].to_vec()).collect();
    });
    let dir = copy(LOG.path());
    fs::remove_file(dir.path().join("head")).unwrap();
    expect_tampered(dir.path(), None, "its `head` is missing");
}

#[test]
fn a_log_that_was_sealed_again_is_found() {
    // The same records, but another key: whoever made it has not got ours.
    let forged = closed(RECORDS);
    let dir = copy(LOG.path());
    for name in ["head", "000000000000.log"] {
        fs::copy(forged.path().join(name), dir.path().join(name)).unwrap();
    }
    expect_tampered(dir.path(), None, "its `head` has no signature of the log's key");

    // With its public key the forgery is a sound log; but it is not the one that the anchor was made of.
    assert_eq!(audit::verify(forged.path(), None).unwrap().records, RECORDS);
    expect_tampered(forged.path(), Some(&anchor()), "the anchor has no signature of the log's key");
}

#[test]
fn records_of_another_host_are_found() {
    let other = TempDir::new().unwrap();
    let log = Log::open(other.path(), "example.org/other", fast()).unwrap();
    (0..RECORDS).for_each(|number| _ = record(&log, "reader", &number.to_string()));
    log.close().unwrap();
    let others = fs::read(segment(other.path())).unwrap();

    expect("the checkpoint at byte 0 has no signature of the log's key", |bytes, _| {
        bytes.clone_from(&others)
    });
    expect("the link of records ", |bytes, records| {
        let spliced = others[record_frames(&others)[500].clone()].to_vec();
        bytes.splice(records[500].clone(), spliced);
    });
    let foreign = audit::verify(other.path(), None).unwrap().checkpoint;
    expect_tampered(LOG.path(), Some(&foreign), "the anchor has no signature of the log's key");
}

#[test]
fn an_older_log_in_the_place_of_a_newer_is_found_with_an_anchor() {
    let dir = closed(10);
    let older = copy(dir.path());
    let old_anchor = audit::verify(dir.path(), None).unwrap().checkpoint;
    let log = open(dir.path());
    record(&log, "reader", "the record that shall be forgotten");
    log.close().unwrap();
    let anchor = audit::verify(dir.path(), None).unwrap().checkpoint;

    // Both anchors are of this log, whichever is the later.
    assert_eq!(audit::verify(dir.path(), Some(&old_anchor)).unwrap().records, 11);
    assert_eq!(audit::verify(older.path(), None).unwrap().records, 10);
    // The key that signed the anchor is none that the older log knows of.
    expect_tampered(older.path(), Some(&anchor), "the anchor has no signature of the log's key");

    // And so it is when other records are written in their place, with the right key.
    let log = open(older.path());
    (0..5).for_each(|_| _ = record(&log, "reader", "nothing happened"));
    log.close().unwrap();
    assert_eq!(audit::verify(older.path(), Some(&old_anchor)).unwrap().records, 15);
    expect_tampered(older.path(), Some(&anchor), "the anchor has no signature of the log's key");
}

#[test]
fn missing_files_are_found() {
    for (name, expected) in
        [("key.pub", "`key.pub` is missing"), ("000000000000.log", "its records are missing")]
    {
        let dir = copy(LOG.path());
        fs::remove_file(dir.path().join(name)).unwrap();
        expect_tampered(dir.path(), None, expected);
    }
}

#[test]
fn what_is_no_checkpoint_is_no_anchor() {
    for text in ["", "x\n\n— x y\n", &anchor().replace("records 2500", "records 2501")] {
        expect_tampered(LOG.path(), Some(text), "the anchor has");
    }
}

#[test]
fn the_torn_end_of_a_crashed_log_is_reported_and_no_error() {
    let dir = crashed(20);
    let bytes = fs::read(segment(dir.path())).unwrap();
    truncate(dir.path(), bytes.len() as u64 - 1);
    let report = audit::verify(dir.path(), None).unwrap();
    // What is torn is the link of the last records.
    assert_eq!((report.records, report.unsealed, report.state), (20, 20, State::Crashed));
    assert_eq!(report.torn_bytes, frames(&bytes).last().unwrap().len() as u64 - 1);
    assert_eq!(read(dir.path()).len(), 20);

    append(dir.path(), &[0xff; 300]);
    expect_tampered(dir.path(), None, "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_that_is_changed_in_a_closed_log_goes_unnoticed(
        at in any::<prop::sample::Index>(), bytes in 0..300_usize, with in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let original = fs::read(segment(SMALL.path())).unwrap();
        let start = at.index(original.len());
        let end = (start + bytes).min(original.len());
        let mut changed = original.clone();
        changed.splice(start..end, with);
        prop_assume!(changed != original);
        let dir = copy(SMALL.path());
        fs::write(segment(dir.path()), changed).unwrap();
        prop_assert_eq!(audit::verify(dir.path(), None).unwrap_err().kind(), ErrorKind::Tampered);
    }
}

/// A log whose checkpoints are where their number of records puts them: none is there because a busy machine let the
/// log seem idle.
static LOG: LazyLock<TempDir> = LazyLock::new(|| {
    let regular = |log: &TempDir| audit::verify(log.path(), None).unwrap().checkpoints == 3 + RECORDS / 1_000;
    iter::repeat_with(|| closed(RECORDS)).find(regular).unwrap()
});
static SMALL: LazyLock<TempDir> = LazyLock::new(|| closed(20));

fn anchor() -> Box<str> {
    audit::verify(LOG.path(), None).unwrap().checkpoint
}

/// Changes a copy of the log, which is given as its bytes and the places of its records, and expects that it is found:
/// in these words, or in others behind a `|`.
/// Returns what was said.
fn expect(error: &str, change: impl FnOnce(&mut Vec<u8>, &[Range<usize>])) -> String {
    let dir = copy(LOG.path());
    let mut bytes = fs::read(segment(dir.path())).unwrap();
    let records = record_frames(&bytes);
    change(&mut bytes, &records);
    fs::write(segment(dir.path()), bytes).unwrap();
    expect_tampered(dir.path(), None, error)
}

pub(crate) fn expect_tampered(dir: &Path, anchor: Option<&str>, expected: &str) -> String {
    let error = audit::verify(dir, anchor).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    let is_in = |words| error.to_string().contains(words);
    assert!(expected.split(" | ").any(is_in), "`{expected}` is not in `{error}`");
    error.to_string()
}

fn record_frames(segment: &[u8]) -> Vec<Range<usize>> {
    frames(segment).into_iter().filter(|frame| segment[frame.start + 4] == RECORD).collect()
}

/// Numbers and links all records as if nothing had been changed.
pub(crate) fn forge_links(segment: &mut [u8]) {
    let (mut previous, mut number) = ([0; 32], 1_u64);
    let mut leaf = Sha256::new().chain_update([0]).chain_update(previous);
    for frame in frames(segment) {
        match segment[frame.start + 4] {
            RECORD => {
                segment[frame.start + 13..][..8].copy_from_slice(&number.to_le_bytes());
                leaf.update(&segment[frame]);
                number += 1;
            }
            LINK => {
                previous = leaf.finalize().into();
                segment[frame.start + 5..frame.end].copy_from_slice(&previous);
                leaf = Sha256::new().chain_update([0]).chain_update(previous);
            }
            _ => {}
        }
    }
}
