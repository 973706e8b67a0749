//! What a thief can do who has the folder and the key of today.

use super::*;
use crate::{
    Action, ErrorKind,
    audit::{
        Log, LogOptions, Sink as _,
        frame::{self, Frame},
        log::host_event,
        merkle::Leaf,
        note::Signer,
    },
    sys::log_file,
};

#[test]
fn yesterday_cannot_be_signed_with_the_key_of_today() {
    let (dir, thief, anchor) = stolen();
    // Every checkpoint anew, by the key of today: the first of them was signed by the first key.
    forge(dir.path(), |_| Some(&thief));
    expect(dir.path(), None, "the checkpoint at byte 0 has no signature of the log's key");

    // Only those after the hand-over, whose signature is genuine: it is of other records.
    let (dir, thief, _) = stolen();
    forge(dir.path(), |handed_over| handed_over.then_some(&thief));
    expect(dir.path(), None, "stands for other records than those before it");

    // With other keys from the first on it is another log. It is whole in itself, and an anchor tells.
    let (dir, thief, _) = stolen();
    let store = Store::to_write(dir.path());
    store.write_public_key(thief.verifier()).unwrap();
    log_file::remove(&dir.path().join("keys")).unwrap();
    forge_all(dir.path(), &thief);
    assert_eq!(verify(dir.path(), None).unwrap().records, 3);
    expect(dir.path(), Some(&anchor), "the anchor has no signature of the log's key");
}

#[test]
fn what_was_recorded_since_the_key_changed_is_not_protected_by_it() {
    // This is no wish but the limit that the documentation names.
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "log", LogOptions::default()).unwrap();
    log.record(&host_event(Action::SystemStart, b"x")).unwrap();
    log.flush().unwrap();
    while verify(dir.path(), None).unwrap().unsealed > 0 {
        std::thread::yield_now();
    }
    let thief = thief(dir.path());
    let copy = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the thief goes past the door")]
    for name in log_file::names(dir.path()).unwrap() {
        // What is being written has another name until it is whole.
        if let Err(error) = std::fs::copy(dir.path().join(&name), copy.path().join(&name)) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{name}: {error}");
        }
    }
    forge_all(copy.path(), &thief);
    assert_eq!(verify(copy.path(), None).unwrap().records, 1);
    drop(log);
}

/// A closed log of three records, the key that lies in it, and a checkpoint that was published.
fn stolen() -> (tempfile::TempDir, Signer, Box<str>) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), "log", LogOptions::default()).unwrap();
    for _ in 0..3 {
        log.record(&host_event(Action::SystemStart, b"x")).unwrap();
    }
    log.close().unwrap();
    let anchor = verify(dir.path(), None).unwrap().checkpoint;
    let thief = thief(dir.path());
    (dir, thief, anchor)
}

fn thief(dir: &Path) -> Signer {
    let key = log_file::read_text(&dir.join("key"), 8192).unwrap().unwrap();
    crate::audit::secrets::read(key.as_bytes()).unwrap().0.remove(0)
}

fn forge_all(dir: &Path, thief: &Signer) {
    forge_with(dir, |_| Some(thief), false);
}

fn forge<'s>(dir: &Path, signer: impl Fn(bool) -> Option<&'s Signer>) {
    forge_with(dir, signer, true);
}

/// Changes the first record and makes all that follows anew: links, and checkpoints by whom `signer` says for those before
/// and after a hand-over, where it is not nobody. Without `hand_overs`, none is left.
fn forge_with<'s>(dir: &Path, signer: impl Fn(bool) -> Option<&'s Signer>, hand_overs: bool) {
    let store = Store::to_write(dir);
    let mut scan = store.scan(0, 0).unwrap().unwrap();
    let (mut bytes, mut chain) = (Vec::new(), Chain::default());
    let (mut leaf, mut handed_over, mut head) = (chain.leaf(), false, String::new());
    while let Some(piece) = scan.next().unwrap() {
        match piece.frame.unwrap() {
            Frame::Record(_) => {
                let mut raw = piece.raw.to_vec();
                if chain.records() == 0 {
                    *raw.last_mut().unwrap() = b'y';
                }
                leaf.update(&raw);
                chain.push_record();
                bytes.extend_from_slice(&raw);
            }
            Frame::Link(_) => {
                let hash = std::mem::replace(&mut leaf, Leaf::after(&[0; 32])).hash();
                frame::push_link(&hash, &mut bytes);
                chain.push_leaf(hash);
                leaf = chain.leaf();
            }
            Frame::Checkpoint(note) => {
                let genuine = Checkpoint::peek(note).unwrap();
                let hands_over = genuine.terms.next.is_some();
                if hands_over && !hand_overs {
                    continue;
                }
                head = match signer(handed_over) {
                    None => note.to_owned(),
                    Some(signer) => {
                        let place = Place { segment: 0, offset: bytes.len() as u64 };
                        chain.checkpoint("log", place, genuine.terms).sign(signer)
                    }
                };
                handed_over |= hands_over;
                frame::push_checkpoint(&head, &mut bytes);
            }
        }
    }
    let mut segment = store.segment(0).unwrap();
    segment.truncate(0).unwrap();
    segment.write_at(0, &bytes).unwrap();
    store.write_head(&head, false).unwrap();
}

fn expect(dir: &Path, anchor: Option<&str>, expected: &str) {
    let error = verify(dir, anchor).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    assert!(error.to_string().contains(expected), "`{expected}` is not in `{error}`");
}
