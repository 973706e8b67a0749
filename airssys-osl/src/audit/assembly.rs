//! Turns queued records into the bytes of a log: links them, and seals them with checkpoints.

use super::{
    chain::{Chain, LEAF_BYTES, LEAF_RECORDS, Place},
    checkpoint::{Span, Terms},
    frame,
    merkle::Leaf,
    note::Signer,
};

/// Where an assembly begins.
pub(super) struct Start {
    pub(super) signer: Signer,
    pub(super) chain: Chain,
    /// The records behind the last link.
    pub(super) open: OpenLeaf,
    /// How many of the records follow the last checkpoint.
    pub(super) unsealed: u64,
    pub(super) place: Place,
    pub(super) span: Option<Span>,
    pub(super) dropped: u64,
}

/// The records behind the last link.
#[derive(Clone, Debug)]
pub(super) struct OpenLeaf {
    pub(super) leaf: Leaf,
    pub(super) records: u64,
    pub(super) bytes: usize,
}

impl OpenLeaf {
    pub(super) fn after(chain: &Chain) -> Self {
        Self { leaf: chain.leaf(), records: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, frame: &[u8]) {
        self.leaf.update(frame);
        self.records += 1;
        self.bytes += frame.len();
    }
}

/// Bytes that are to be written next, and what the log is once they are.
pub(super) struct Assembly {
    at: Start,
    /// What is to be written, at `at.place`.
    bytes: Vec<u8>,
    /// The last checkpoint, where it is not in the head yet.
    head: Option<String>,
}

impl Assembly {
    pub(super) fn new(start: Start) -> Self {
        Self { at: start, bytes: Vec::new(), head: None }
    }

    /// The number of records in the log, with those that are to be written.
    pub(super) fn records(&self) -> u64 {
        self.at.chain.records()
    }

    pub(super) fn unsealed(&self) -> u64 {
        self.at.unsealed
    }

    pub(super) fn dropped(&self) -> u64 {
        self.at.dropped
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.at.signer
    }

    pub(super) fn segment(&self) -> u64 {
        self.at.place.segment
    }

    /// How long the segment is once all is written.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.at.place.offset + self.bytes.len() as u64
    }

    /// Appends a record as it comes from the queue: a frame. `wall_ns` is when it was made.
    pub(super) fn push(&mut self, frame: &[u8], wall_ns: u64) {
        self.bytes.extend_from_slice(frame);
        self.at.open.push(frame);
        self.at.chain.push_record();
        self.at.span = Some(Span::with(self.at.span, wall_ns));
        self.at.unsealed += 1;
        if self.at.open.records >= LEAF_RECORDS || self.at.open.bytes >= LEAF_BYTES {
            self.link();
        }
    }

    /// Appends the link of the records that have none.
    pub(super) fn link(&mut self) {
        if self.at.open.records == 0 {
            return;
        }
        let hash = self.at.open.leaf.clone().hash();
        frame::push_link(&hash, &mut self.bytes);
        self.at.chain.push_leaf(hash);
        self.at.open = OpenLeaf::after(&self.at.chain);
    }

    /// Appends a checkpoint of all records so far.
    pub(super) fn seal(&mut self, time_ns: u64, closed: bool) {
        self.checkpoint(Terms { time_ns, closed, ..Terms::default() });
    }

    /// Appends a checkpoint that names `next` as the key from here on, and returns its note.
    pub(super) fn hand_over(&mut self, time_ns: u64, next: Signer) -> String {
        let key = next.verifier().clone();
        let note = self.checkpoint(Terms { time_ns, next: Some(key), ..Terms::default() });
        self.at.signer = next;
        note
    }

    /// Appends a checkpoint that says that retention removes the records before this one.
    pub(super) fn drop_before(&mut self, time_ns: u64, dropped: u64) {
        self.at.dropped = dropped;
        self.seal(time_ns, false);
    }

    /// Goes on in a new segment, where all that came before is written and sealed.
    pub(super) fn rotate(&mut self, time_ns: u64) {
        debug_assert!(self.bytes.is_empty() && self.at.unsealed == 0);
        self.at.place = Place { segment: self.records(), offset: 0 };
        self.begin_segment(time_ns);
    }

    /// Begins a segment with a checkpoint that says, among other things, when the records of the one before were made.
    pub(super) fn begin_segment(&mut self, time_ns: u64) {
        self.seal(time_ns, false);
        self.at.span = None;
    }

    /// What is to be written, and where.
    pub(super) fn pending(&self) -> (u64, &[u8]) {
        (self.at.place.offset, &self.bytes)
    }

    /// Forgets what was to be written: it is.
    pub(super) fn written(&mut self) {
        self.at.place.offset += self.bytes.len() as u64;
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

    fn checkpoint(&mut self, terms: Terms) -> String {
        self.link();
        let place = Place { offset: self.segment_bytes(), ..self.at.place };
        let terms = Terms { span: self.at.span, dropped: self.at.dropped, ..terms };
        let origin = self.at.signer.verifier().name();
        let note = self.at.chain.checkpoint(origin, place, terms).sign(&self.at.signer);
        frame::push_checkpoint(&note, &mut self.bytes);
        self.at.unsealed = 0;
        self.head = Some(note.clone());
        note
    }
}
