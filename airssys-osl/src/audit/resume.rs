//! Where the writer of a log begins: at the start of a new one, or after the last whole record of an old one.

use super::{
    assembly::{OpenLeaf, Start},
    chain::{Chain, Place},
    checkpoint::Terms,
    frame::{self, Frame},
    keys::Keys,
    leaves::Checker,
    note::{self, Signer},
    secrets,
    store::Store,
    walk::{End, Stop, Walk},
};
use crate::{Error, sys::log_file};

/// The end of a log that is about to be written.
pub(super) struct Resumed {
    pub(super) start: Start,
    /// The last of the keys, and where their list ends.
    pub(super) keys: Keys,
    pub(super) keys_end: u64,
    /// The hand-over that is in the log but not in the list of keys.
    pub(super) hand_over: Option<String>,
    /// The file of the secret has another one, too.
    pub(super) stale_secret: bool,
    /// The bytes that are to be cut off at the end, where the last writer did not close the log.
    pub(super) crash: Option<u64>,
}

/// Finds the end of a log, or makes a new log.
pub(super) fn start(store: &Store, origin: &str) -> Result<Resumed, Error> {
    if !note::is_name(origin) {
        let limit = note::MAX_NAME_BYTES;
        let why = format!(
            "the origin `{}` is not 1 to {limit} bytes without space and plus",
            origin.escape_debug()
        );
        return Err(store.invalid(&why));
    }
    match store.read_secrets()? {
        Some(secret) => resume(store, origin, &secret),
        None => create(store, origin),
    }
}

fn resume(store: &Store, origin: &str, secret: &[u8]) -> Result<Resumed, Error> {
    let (signers, stale_secret) =
        secrets::read(secret).map_err(|malformed| store.tampered(&format!("its `key` has {malformed}")))?;
    let name = signers.first().map(|signer| signer.verifier().name()).unwrap_or_default();
    if name != origin {
        return Err(store.invalid(&format!("its origin is `{name}`, not `{origin}`")));
    }
    let first = store.read_public_key()?.ok_or_else(|| store.tampered("its `key.pub` is missing"))?;
    let (head, mut keys, keys_end) = store.read_head_to_write(first)?;
    let known = keys.len();
    let hand_overs = keys.before(&head);

    let mut found = false;
    let mut notes = Vec::new();
    let mut checker = Checker::Inline;
    let walk = Walk::new(store, &mut keys, hand_overs, &mut checker, Chain::resume(&head), head.place);
    let end = walk.run(|passed| {
        let Some((last, note)) = &passed.last else { return Ok(()) };
        found = found || *last == head;
        if last.terms.next.is_some() && notes.last() != Some(note) {
            notes.push(note.clone());
        }
        let other = || Stop::Tampered(format!("{} is not where its `head` was made", head.place));
        if found { Ok(()) } else { Err(other()) }
    });
    let end = end.and_then(|end| end.check_keys().map(|()| end)).map_err(|stop| store.stopped(stop))?;
    // The writer goes on only when a hand-over is in the list, so at most one is not.
    if keys.len() > known + 1 {
        return Err(store.tampered("`keys` is not the list of its keys"));
    }
    let hand_over = (keys.len() > known).then(|| notes.pop().map(String::from)).flatten();
    let signer = signers.into_iter().find(|signer| signer.verifier() == keys.last());
    let signer = signer.ok_or_else(|| store.tampered("its `key` is not the last of its keys"))?;
    // As many as are in the list: the writer adds the other.
    keys.truncate(known);
    let (start, crash) = continued(store, end, signer)?;
    Ok(Resumed { start, keys, keys_end, hand_over, stale_secret, crash })
}

fn continued(store: &Store, end: End, signer: Signer) -> Result<(Start, Option<u64>), Error> {
    let Some((last, _)) = end.passed.last else {
        return Err(store.tampered("it ends before the place where its `head` was made"));
    };
    let unsealed = end.passed.chain.records() - last.records;
    let closed = last.terms.closed && unsealed == 0 && end.torn_bytes == 0;
    // At the beginning of a segment, the span is that of the segment before, unless that is to be written again.
    let same = last.place.segment == end.place.segment;
    let before = last.terms.span.filter(|_| last.place.offset > 0 || !same);
    let span = match (before, end.span) {
        (Some(before), Some(span)) => {
            let first_ns = before.first_ns.min(span.first_ns);
            Some(super::checkpoint::Span { first_ns, last_ns: before.last_ns.max(span.last_ns) })
        }
        (before, span) => before.or(span),
    };
    let start = Start {
        signer,
        chain: end.passed.chain,
        open: end.open,
        unsealed,
        place: end.place,
        span,
        dropped: last.terms.dropped,
    };
    Ok((start, (!closed).then_some(end.torn_bytes)))
}

/// Makes a log without records. The key is written last: where there is none, a log was never finished, or begun.
fn create(store: &Store, origin: &str) -> Result<Resumed, Error> {
    for segment in store.segments().map_err(|error| store.io(error))? {
        let Some(mut scan) = store.scan(segment, 0)? else { continue };
        while let Some(piece) = scan.next().map_err(|error| store.io(error))? {
            if segment > 0 || !matches!(piece.frame, Ok(Frame::Checkpoint(_))) {
                return Err(store.tampered("it has records, but its `key` is missing"));
            }
        }
    }
    let signer = random_signer(origin).map_err(|error| store.io(error))?;
    let chain = Chain::default();
    let place = Place::default();
    let terms = Terms { time_ns: log_file::wall_ns(), ..Terms::default() };
    let note = chain.checkpoint(origin, place, terms).sign(&signer);
    let mut bytes = Vec::new();
    frame::push_checkpoint(&note, &mut bytes);

    store
        .segment(0)
        .and_then(|mut segment| {
            segment.truncate(0)?;
            segment.write_at(0, &bytes)?;
            segment.sync()
        })
        .and_then(|()| store.write_head(&note, true))
        .map_err(|error| store.io(error))?;
    store.write_public_key(signer.verifier())?;
    store.write_secrets(&[&signer]).map_err(|error| store.io(error))?;
    let keys = Keys::new(signer.verifier().clone());
    let open = OpenLeaf::after(&chain);
    let place = Place { segment: 0, offset: bytes.len() as u64 };
    let start = Start { signer, chain, open, unsealed: 0, place, span: None, dropped: 0 };
    Ok(Resumed { start, keys, keys_end: 0, hand_over: None, stale_secret: false, crash: None })
}

/// Makes a key that nobody had before.
pub(super) fn random_signer(origin: &str) -> std::io::Result<Signer> {
    let seed = log_file::random_seed()?;
    Signer::from_seed(origin, &seed).ok_or_else(|| std::io::ErrorKind::InvalidInput.into())
}
