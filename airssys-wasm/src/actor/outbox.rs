//! Messages that a handler sent and that have not left yet.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use airssys_rt::{ActorId, SendError};
use tokio::time::Instant;

use super::{
    Counters, Envelope, Receiver,
    waits::{Ring, Waits},
};
use crate::watch::{Event, Watch};

/// The most messages that wait for the handler to return. `wit/actor.wit` promises it.
pub(super) const MESSAGES: usize = 256;

/// The most bytes that wait for the handler to return. `wit/actor.wit` promises it.
pub(super) const BYTES: usize = 1 << 20;

/// How often one who seems to wait for itself looks whether that is so, and how long apart. Looks are counted and not the
/// time: where the machine stands still, nobody goes on. Who has been given room needs but a turn to take it.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A message on its way.
struct Addressed {
    receiver: String,
    to: Receiver,
    envelope: Box<Envelope>,
}

/// Holds what a handler sends until the handler returns: one that traps has sent nothing.
pub(crate) struct Outbox {
    post: Post,
    waiting: VecDeque<Addressed>,
    bytes: usize,
}

/// Hands messages on.
struct Post {
    /// The sender's own mailbox: it cannot wait for room in that one.
    own: Option<ActorId>,
    /// How many of its component's instances have to wait until nobody reads that.
    places: usize,
    waits: Arc<Waits>,
    /// The ring for which a message was given up last.
    ring: Option<Ring>,
    watch: Arc<dyn Watch>,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(
        own: Option<ActorId>,
        places: usize,
        waits: Arc<Waits>,
        watch: Arc<dyn Watch>,
        counters: Arc<Counters>,
    ) -> Self {
        let post = Post { own, places, waits, ring: None, watch, counters };
        Self { post, waiting: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn push(&mut self, receiver: String, to: Receiver, envelope: Box<Envelope>) {
        self.bytes += envelope.bytes();
        self.waiting.push_back(Addressed { receiver, to, envelope });
    }

    /// Whether it holds so much that it must be flushed before the handler returns.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MESSAGES || self.bytes >= BYTES
    }

    /// Sends everything, in order. Where a mailbox is full, this waits: the sender is as slow as its receiver. Only
    /// what would wait for ever is given up then: what a component sends to itself, or to one who waits for it.
    pub(crate) async fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.bytes = 0;
        self.post.counters.sent.fetch_add(self.waiting.len() as u64, Ordering::Relaxed);
        for message in self.waiting.drain(..) {
            if let Some(message) = self.post.try_hand_on(message) {
                // Rare, and so in memory of its own: who sends nothing carries none of it.
                Box::pin(self.post.hand_on(message)).await;
            }
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.post.ring.is_none()
    }

    /// Sends what is left when a handler has returned. From here on its own mailbox is read, which may let others go on.
    pub(super) async fn settle(&mut self) {
        self.flush().await;
        self.post.ring = None;
    }

    /// As [`flush`](Self::flush), but waits for `time` at most: false where the rest stays here.
    pub(crate) async fn flush_within(&mut self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        while let Some(message) = self.waiting.pop_front() {
            self.bytes -= message.envelope.bytes();
            let unsent = match self.post.try_hand_on(message) {
                Some(message) => Box::pin(self.post.hand_on_before(message, until)).await,
                None => None,
            };
            if let Some(message) = unsent {
                self.bytes += message.envelope.bytes();
                self.waiting.push_front(message);
                return false;
            }
            self.post.counters.sent.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

impl Post {
    /// Hands a message on; gives it back where its receiver has no room now. Who does not take it at all is no reason to keep
    /// it.
    fn try_hand_on(&self, message: Addressed) -> Option<Addressed> {
        let Addressed { receiver, to, envelope } = message;
        let (undelivered, reason) = match to.takes(&envelope.payload) {
            false => (Some(envelope), UNREADABLE),
            true => match to.try_send(envelope) {
                Ok(()) => (None, GONE),
                Err(SendError::Full(envelope)) if self.own == Some(to.id()) => (envelope, OWN_FULL),
                Err(SendError::Full(Some(envelope))) => return Some(Addressed { receiver, to, envelope }),
                Err(SendError::Full(None)) => (None, GONE),
                Err(SendError::NoProc(envelope)) => (envelope, GONE),
            },
        };
        if let Some(envelope) = undelivered {
            self.bury(&receiver, &envelope, reason);
        }
        None
    }

    /// Hands a message on, and waits for room as long as somebody can make some.
    async fn hand_on(&mut self, message: Addressed) {
        let Addressed { receiver, to, mut envelope } = message;
        let wait = self.own.map(|own| self.waits.begin(own, self.places, to.id()));
        let (mut seen, mut looks) = (None, 0);
        loop {
            let ring = wait.as_ref().and_then(|wait| wait.ring());
            let time = ring.is_some().then_some(BETWEEN_LOOKS);
            if ring.is_some() {
                looks = if ring == seen { looks + 1 } else { 0 };
                if looks == LOOKS || ring == self.ring {
                    self.ring = ring;
                    return self.bury(&receiver, &envelope, RING);
                }
            }
            seen = ring;
            envelope = match to.send(envelope, time).await {
                Ok(()) => return,
                Err(SendError::Full(Some(envelope))) => envelope,
                Err(SendError::NoProc(Some(envelope))) => return self.bury(&receiver, &envelope, GONE),
                Err(SendError::Full(None) | SendError::NoProc(None)) => return,
            };
        }
    }

    /// Hands a message on, and waits for room until then; gives it back where none came.
    async fn hand_on_before(&self, message: Addressed, until: Option<Instant>) -> Option<Addressed> {
        let Addressed { receiver, to, envelope } = message;
        let time = until.map(|until| until.saturating_duration_since(Instant::now()));
        match to.send(envelope, time).await {
            Err(SendError::Full(Some(envelope))) => return Some(Addressed { receiver, to, envelope }),
            Err(SendError::NoProc(Some(envelope))) => self.bury(&receiver, &envelope, GONE),
            Ok(()) | Err(SendError::Full(None) | SendError::NoProc(None)) => {}
        }
        None
    }

    fn bury(&self, receiver: &str, envelope: &Envelope, reason: &str) {
        self.counters.dead.fetch_add(1, Ordering::Relaxed);
        self.watch.event(&Event::DeadLetter(&envelope.dead_letter(receiver, &envelope.payload, &reason)));
    }
}

const OWN_FULL: &str = "its receiver is its sender, whose mailbox is full";
const RING: &str =
    "its receiver waits for room in the mailbox of its sender, and that for room in the receiver's";
const UNREADABLE: &str = "its receiver would not read it as one message: a line feed in a line, or no JSON";
const GONE: &str = "its receiver was stopped";
