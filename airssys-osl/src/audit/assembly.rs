//! Turns queued records into the bytes of a log: links them, and seals them with checkpoints.

use super::{chain::Chain, frame, note::Signer};

/// Bytes that are to be written next, and what the log is once they are.
pub(super) struct Assembly {
    signer: Signer,
    chain: Chain,
    /// How many records follow the last checkpoint.
    unsealed: u64,
    bytes: Vec<u8>,
    /// Where in the file `bytes` belong.
    offset: u64,
    /// The last checkpoint, where it is not in the head yet.
    head: Option<String>,
}

impl Assembly {
    /// Goes on at a byte of the file, after `chain`, of which so many records follow its last checkpoint.
    pub(super) fn new(signer: Signer, chain: Chain, unsealed: u64, offset: u64) -> Self {
        Self { signer, chain, unsealed, bytes: Vec::new(), offset, head: None }
    }

    /// The number of records in the log, with those that are to be written.
    pub(super) fn size(&self) -> u64 {
        self.chain.size()
    }

    pub(super) fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// Appends a record as it comes from the queue: a header, and a body that lacks the link at its end.
    pub(super) fn push(&mut self, entry: &[u8]) {
        let body = self.bytes.len() + frame::HEADER_BYTES;
        self.bytes.extend_from_slice(entry);
        self.bytes.extend_from_slice(self.chain.last());
        self.chain.push(self.bytes.get(body..).unwrap_or_default());
        self.unsealed += 1;
    }

    /// Appends a checkpoint of all records so far.
    pub(super) fn seal(&mut self, time_ns: u64, closed: bool) {
        let offset = self.offset + self.bytes.len() as u64;
        let origin = self.signer.verifier().name();
        let note = self.chain.checkpoint(origin, time_ns, offset, closed).sign(&self.signer);
        frame::push_checkpoint(&note, &mut self.bytes);
        self.unsealed = 0;
        self.head = Some(note);
    }

    /// What is to be written, and where.
    pub(super) fn pending(&self) -> (u64, &[u8]) {
        (self.offset, &self.bytes)
    }

    /// Forgets what was to be written: it is.
    pub(super) fn written(&mut self) {
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
    }

    /// The note that is to become the head.
    pub(super) fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// Forgets the note that was to become the head: it is.
    pub(super) fn head_written(&mut self) {
        self.head = None;
    }
}
