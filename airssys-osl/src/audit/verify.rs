//! Proves that a log is what it was when it was written.

use std::path::Path;

use super::{
    chain::Chain,
    checkpoint::Checkpoint,
    store::Store,
    walk::{Place, Stop, walk},
};
use crate::Error;

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
    /// The number of records.
    pub records: u64,
    /// The number of checkpoints.
    pub checkpoints: u64,
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

/// Recomputes every hash, link, number, checkpoint and signature of the log in the folder `dir`.
///
/// It finds records that were changed, removed, inserted, doubled or moved, checkpoints that another key signed, and
/// an end that was cut off before the last checkpoint that the log's `head` knows. A log may be read by this while it
/// is written.
///
/// Whoever holds the log's key can write another log, and whoever can write the folder can put an older log, with its
/// older head, in the place of this one. Against both helps an `anchor`: the text of a checkpoint of this log that was
/// kept elsewhere (see [`Report::checkpoint`]). The log must have been signed by the key of the anchor, and its
/// beginning must be what the anchor stands for.
///
/// # Errors
///
/// * [`Tampered`](crate::ErrorKind::Tampered): the log is not what it was; the error tells what is wrong and where.
/// * [`Invalid`](crate::ErrorKind::Invalid): there is no log in this folder.
/// * [`Io`](crate::ErrorKind::Io): the system refused.
pub fn verify(dir: &Path, anchor: Option<&str>) -> Result<Report, Error> {
    let store = Store::to_verify(dir);
    let is_open = store.is_locked()?;
    let Some(verifier) = store.read_public_key()? else {
        return Err(match store.scan(0)? {
            Some(_) => store.tampered("its `key.pub` is missing"),
            None => store.invalid("there is none in this folder"),
        });
    };
    let anchor = anchor
        .map(|note| Checkpoint::open(note, &verifier))
        .transpose()
        .map_err(|malformed| store.tampered(&format!("the anchor has {malformed}")))?;
    // Before the records: all that the head knows of is in the file by now.
    let head = store.read_head(&verifier)?;
    let scan = store.scan(0)?.ok_or_else(|| store.tampered("its records are missing"))?;

    let mut marks = Marks { head: Mark::new(head), anchor: anchor.map(Mark::new) };
    let end = walk(scan, Chain::default(), &verifier, |place| marks.look(place))
        .and_then(|end| marks.check(end.place.chain.size()).map(|()| end))
        .map_err(|stop| store.stopped(stop))?;
    let Some((last, checkpoint)) = end.place.last else {
        return Err(store.tampered("it has no checkpoint"));
    };
    let records = end.place.chain.size();
    let unsealed = records - last.size();
    let state = match is_open {
        true => State::Open,
        false if last.closed && unsealed == 0 && end.torn_bytes == 0 => State::Closed,
        false => State::Crashed,
    };
    Ok(Report {
        records,
        checkpoints: end.place.checkpoints,
        last_checkpoint_ns: last.time_ns,
        unsealed,
        torn_bytes: end.torn_bytes,
        state,
        checkpoint,
    })
}

/// The checkpoints that a log has to pass by.
struct Marks {
    head: Mark,
    anchor: Option<Mark>,
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
    fn look(&mut self, place: &Place) -> Result<(), Stop> {
        if let Some((last, _)) = &place.last
            && !self.head.seen
        {
            self.head.seen = *last == self.head.checkpoint;
        }
        let Some(anchor) = &mut self.anchor else { return Ok(()) };
        if !anchor.seen && place.chain.size() == anchor.checkpoint.size() {
            anchor.seen = true;
            if place.chain.root() != anchor.checkpoint.frontier.root() {
                let size = anchor.checkpoint.size();
                return Err(Stop::Tampered(format!("its first {size} records are not those of the anchor")));
            }
        }
        Ok(())
    }

    fn check(&self, records: u64) -> Result<(), Stop> {
        for (mark, name) in [(Some(&self.head), "`head`"), (self.anchor.as_ref(), "the anchor")] {
            let Some(Mark { checkpoint, seen: false }) = mark else { continue };
            let size = checkpoint.size();
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
