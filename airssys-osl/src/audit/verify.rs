//! Proves that a log is what it was when it was written.

use std::path::Path;

use super::{
    chain::{Chain, Place},
    checkpoint::Checkpoint,
    keys::Keys,
    leaves, note,
    store::Store,
    walk::{End, Passed, Stop, Walk},
};
use crate::Error;

/// How often the beginning of a log is looked for, where its writer removes what is old at the same time.
const TRIES: u32 = 3;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A program writes it now.
    Open,
    /// Its last writer closed it in order.
    Closed,
    /// Its last writer died. The next one repairs it.
    Crashed,
}

/// What a log that was verified consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The number of records, those that retention removed included.
    pub records: u64,
    /// How many of them, from the first on, retention removed. A signed checkpoint says so.
    pub dropped: u64,
    /// The number of segments.
    pub segments: u64,
    /// The number of checkpoints.
    pub checkpoints: u64,
    /// How often the key was changed.
    pub key_changes: u64,
    /// When the last checkpoint was made; nanoseconds since 1970.
    pub last_checkpoint_ns: u64,
    /// The records after the last checkpoint. They are linked, but not signed yet.
    pub unsealed: u64,
    /// The bytes after the last whole record or checkpoint: what a crash left half-written, or, in an open log, what
    /// is being written.
    pub torn_bytes: u64,
    /// How the log ends.
    pub state: State,
    /// The last checkpoint, a signed note. Kept elsewhere, it is the anchor of a later [`verify`].
    pub checkpoint: Box<str>,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes were read.
    pub bytes: u64,
    /// How many bytes the log had when it began. One that is written at the same time gets longer.
    pub total_bytes: u64,
    /// The number of the last record that was read.
    pub records: u64,
}

/// Recomputes every hash, link, number, checkpoint and signature of the log in the folder `dir`.
///
/// It finds records that were changed, removed, inserted, doubled or moved, checkpoints that a key signed whose time it
/// was not, an end that was cut off before the last checkpoint that the log's `head` knows, and a beginning that was cut
/// off though no signed checkpoint says that it was dropped. A log may be read by this while it is written. The hashes
/// are computed by as many threads as the machine runs at a time.
///
/// Whoever steals the key can sign for the time since it was last changed, not for the time before; and whoever can
/// write the folder can put an older log, with its older head, in the place of this one, or one with other keys from
/// the first on. Against these helps an `anchor`: the text of a checkpoint of this log that was kept elsewhere (see
/// [`Report::checkpoint`]). The log must have been signed by the key of the anchor, and its beginning must be what the
/// anchor stands for. It may also be a file of many such texts, as [`Anchors`](super::export::Anchors) make one.
///
/// # Errors
///
/// * [`Tampered`](crate::ErrorKind::Tampered): the log is not what it was; the error tells what is wrong and where.
/// * [`Invalid`](crate::ErrorKind::Invalid): there is no log in this folder, or the anchor is older than what
///   retention kept.
/// * [`Io`](crate::ErrorKind::Io): the system refused.
pub fn verify(dir: &Path, anchor: Option<&str>) -> Result<Report, Error> {
    verify_with(dir, anchor, |_| {})
}

/// As [`verify`], and calls `progress` again and again on the way, after each thousand records or so.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with(
    dir: &Path,
    anchor: Option<&str>,
    mut progress: impl FnMut(Progress),
) -> Result<Report, Error> {
    let store = Store::to_verify(dir);
    for _ in 1..TRIES {
        let result = attempt(&store, anchor, &mut progress)?;
        if let Some(report) = result {
            return Ok(report);
        }
    }
    attempt(&store, anchor, &mut progress)?.ok_or_else(|| match store.segments() {
        Ok(segments) if segments.is_empty() => store.tampered("its records are missing"),
        _ => store.tampered("its beginning was cut off"),
    })
}

/// Verifies the log, unless its beginning was removed since its head was read.
fn attempt(
    store: &Store,
    anchor: Option<&str>,
    progress: &mut impl FnMut(Progress),
) -> Result<Option<Report>, Error> {
    let is_open = store.is_locked()?;
    let segments = store.segments().unwrap_or_default();
    let Some(first) = store.read_public_key()? else {
        return Err(match segments.is_empty() {
            false => store.tampered("its `key.pub` is missing"),
            true => store.invalid("there is none in this folder"),
        });
    };
    // Before the records: all that the head knows of is in the files by now.
    let (head, _, mut keys) = store.read_head(first)?;
    let Some(begin) = begin(store, &head, &keys)? else { return Ok(None) };
    let anchors = anchor.map(|notes| open_anchors(store, &keys, &begin, notes)).transpose()?;
    let sizes = segments.iter().filter(|segment| **segment >= head.terms.dropped);
    let total_bytes = sizes.filter_map(|segment| store.segment_bytes(*segment).ok()).sum();

    let hand_overs = keys.before_segment(begin.place.segment);
    let mut marks = Marks { head: Mark::new(head), anchors: anchors.unwrap_or_default(), at: 0 };
    let mut checkpoints = 0;
    let end = leaves::with_pool(|checker| {
        let chain = Chain::resume(&begin);
        Walk::new(store, &mut keys, hand_overs, checker, chain, begin.place).run(|passed| {
            if passed.checkpoints > checkpoints {
                checkpoints = passed.checkpoints;
                let records = passed.chain.records();
                progress(Progress { bytes: passed.bytes, total_bytes, records });
            }
            marks.look(passed)
        })
    });
    let end = end.and_then(|end| marks.check(&end.passed).and_then(|()| end.check_keys()).map(|()| end));
    match end {
        Ok(end) => report(store, &keys, &begin, is_open, end).map(Some),
        Err(Stop::Missing) => Ok(None),
        Err(stop) => Err(store.stopped(stop)),
    }
}

/// The checkpoint that the log begins with: an empty log, or what is left of one that retention cut. Whether it is signed
/// is found on the way; `None` where it is not there.
fn begin(store: &Store, head: &Checkpoint, keys: &Keys) -> Result<Option<Checkpoint>, Error> {
    let dropped = head.terms.dropped;
    let origin = keys.last().name();
    if dropped == 0 {
        let place = Place::default();
        return Ok(Some(Chain::default().checkpoint(origin, place, Default::default())));
    }
    let begin = store.peek(dropped).map_err(|error| store.io(error))?;
    match begin {
        Some(begin) if begin.place != (Place { segment: dropped, offset: 0 }) => {
            Err(store.tampered(&format!("segment {dropped} begins with a checkpoint of another place")))
        }
        begin => Ok(begin),
    }
}

/// Reads anchors, one or a file of many. Those that are older than what retention kept prove nothing any more.
fn open_anchors(
    store: &Store,
    keys: &Keys,
    begin: &Checkpoint,
    notes: &str,
) -> Result<Vec<Checkpoint>, Error> {
    let mut anchors = Vec::new();
    for note in note::split_all(notes) {
        let anchor = note.and_then(|note| keys.open(note));
        anchors.push(anchor.map_err(|malformed| store.tampered(&format!("the anchor has {malformed}")))?);
    }
    anchors.sort_by_key(|anchor| anchor.place);
    let newest = anchors.last().map(|anchor| anchor.records);
    anchors.retain(|anchor| anchor.records >= begin.records);
    match (newest, anchors.is_empty()) {
        (None, _) => Err(store.tampered("the anchor has no signature")),
        (Some(size), true) => {
            let dropped = begin.records;
            let why =
                format!("the anchor was made after {size} records, but the first {dropped} were dropped");
            Err(store.invalid(&why))
        }
        _ => Ok(anchors),
    }
}

fn report(store: &Store, keys: &Keys, begin: &Checkpoint, is_open: bool, end: End) -> Result<Report, Error> {
    let Some((last, checkpoint)) = end.passed.last else {
        return Err(store.tampered("it has no checkpoint"));
    };
    let records = end.passed.chain.records();
    let unsealed = records - last.records;
    let state = match is_open {
        true => State::Open,
        false if last.terms.closed && unsealed == 0 && end.torn_bytes == 0 => State::Closed,
        false => State::Crashed,
    };
    Ok(Report {
        records,
        dropped: begin.records,
        segments: end.passed.segments,
        checkpoints: end.passed.checkpoints,
        key_changes: keys.len() as u64,
        last_checkpoint_ns: last.terms.time_ns,
        unsealed,
        torn_bytes: end.torn_bytes,
        state,
        checkpoint,
    })
}

/// The checkpoints that a log has to pass by.
struct Marks {
    head: Mark,
    /// In the order of their places.
    anchors: Vec<Checkpoint>,
    /// Which of them comes next.
    at: usize,
}

struct Mark {
    checkpoint: Checkpoint,
    seen: bool,
}

impl Mark {
    fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, seen: false }
    }
}

impl Marks {
    fn look(&mut self, passed: &Passed) -> Result<(), Stop> {
        if let Some((last, _)) = &passed.last
            && !self.head.seen
        {
            self.head.seen = *last == self.head.checkpoint;
        }
        while let Some(anchor) = self.anchors.get(self.at) {
            let is_here =
                passed.chain.records() == anchor.records && passed.chain.leaves() == anchor.frontier.size();
            if !is_here {
                break;
            }
            if passed.chain.root() != anchor.frontier.root() {
                let how = format!("its first {} records are not those of the anchor", anchor.records);
                return Err(Stop::Tampered(how));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn check(&self, passed: &Passed) -> Result<(), Stop> {
        let records = passed.chain.records();
        let head = Some(&self.head).filter(|head| !head.seen).map(|head| &head.checkpoint);
        for (missed, name) in [(head, "`head`"), (self.anchors.get(self.at), "the anchor")] {
            let Some(checkpoint) = missed else { continue };
            let size = checkpoint.records;
            let how = if size > records {
                format!("its end was cut off: it has {records} records, but {name} was made after {size}")
            } else {
                format!("the checkpoint of {name}, after {size} records, is not in it")
            };
            return Err(Stop::Tampered(how));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
