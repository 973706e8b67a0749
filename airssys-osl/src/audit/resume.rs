//! Where the writer of a log begins: at the start of a new one, or after the last whole record of an old one.

use super::{
    chain::Chain,
    frame::{self, Frame},
    note::{self, Signer},
    store::Store,
    walk::{Stop, walk},
};
use crate::{Error, sys::log_file};

/// The end of a log that is about to be written.
pub(super) struct Start {
    pub(super) signer: Signer,
    pub(super) chain: Chain,
    /// How many of its records follow the last checkpoint.
    pub(super) unsealed: u64,
    pub(super) offset: u64,
    /// The bytes after `offset` that are to be cut off, where the last writer did not close the log.
    pub(super) crash: Option<u64>,
}

/// Finds the end of a log, or makes a new log.
pub(super) fn start(store: &Store, origin: &str) -> Result<Start, Error> {
    if !note::is_name(origin) {
        let limit = note::MAX_NAME_BYTES;
        let why = format!(
            "the origin `{}` is not 1 to {limit} bytes without space and plus",
            origin.escape_debug()
        );
        return Err(store.invalid(&why));
    }
    match store.read_key()? {
        Some(key) => resume(store, origin, &key),
        None => create(store, origin),
    }
}

fn resume(store: &Store, origin: &str, key: &str) -> Result<Start, Error> {
    let signer = Signer::from_text(key.trim_end())
        .map_err(|malformed| store.tampered(&format!("its `key` has {malformed}")))?;
    if signer.verifier().name() != origin {
        return Err(store.invalid(&format!("its origin is `{}`, not `{origin}`", signer.verifier().name())));
    }
    match store.read_public_key()? {
        None => store.write_public_key(&signer.verifier().to_text())?,
        Some(verifier) if verifier == *signer.verifier() => {}
        Some(_) => return Err(store.tampered("`key.pub` belongs to another key")),
    }
    let head = store.read_head(signer.verifier())?;
    let scan = store.scan(head.offset)?.ok_or_else(|| store.tampered("its records are missing"))?;

    let mut found = false;
    let end = walk(scan, Chain::resume(&head), signer.verifier(), |place| {
        found = found || place.last.as_ref().is_some_and(|(checkpoint, _)| *checkpoint == head);
        let other = || Stop::Tampered(format!("byte {} is not where its `head` was made", head.offset));
        if found { Ok(()) } else { Err(other()) }
    });
    let end = end.map_err(|stop| store.stopped(stop))?;
    let Some((last, _)) = end.place.last else {
        return Err(
            store.tampered(&format!("it ends before byte {}, where its `head` was made", head.offset))
        );
    };
    let unsealed = end.place.chain.size() - last.size();
    let closed = last.closed && unsealed == 0 && end.torn_bytes == 0;
    let crash = (!closed).then_some(end.torn_bytes);
    Ok(Start { signer, chain: end.place.chain, unsealed, offset: end.offset, crash })
}

/// Makes a log without records. The key is written last: where there is none, a log was never finished, or begun.
fn create(store: &Store, origin: &str) -> Result<Start, Error> {
    if let Some(mut scan) = store.scan(0)? {
        while let Some(piece) = scan.next().map_err(|error| store.io(error))? {
            if !matches!(piece.frame, Ok(Frame::Checkpoint(_))) {
                return Err(store.tampered("it has records, but its `key` is missing"));
            }
        }
    }
    let seed = log_file::random_seed().map_err(|error| store.io(error))?;
    let signer = Signer::from_seed(origin, &seed).ok_or_else(|| store.invalid("its origin is no name"))?;
    let chain = Chain::default();
    let note = chain.checkpoint(origin, log_file::wall_ns(), 0, false).sign(&signer);
    let mut bytes = Vec::new();
    frame::push_checkpoint(&note, &mut bytes);

    let mut segment = store.segment()?;
    segment
        .truncate(0)
        .and_then(|()| segment.write_at(0, &bytes))
        .and_then(|()| segment.sync())
        .and_then(|()| store.write_head(&note, true))
        .map_err(|error| store.io(error))?;
    store.write_keys(&signer.to_text(), &signer.verifier().to_text())?;
    Ok(Start { signer, chain, unsealed: 0, offset: bytes.len() as u64, crash: None })
}
