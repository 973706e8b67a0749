//! Messages that a handler sent and that have not left yet.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use airssys_rt::{ActorId, SendError};
use tokio::time::Instant;

use super::{Counters, Envelope, Receiver};
use crate::watch::{Event, Watch};

/// The most messages that wait for the handler to return. `wit/actor.wit` promises it.
pub(super) const MESSAGES: usize = 256;

/// The most bytes that wait for the handler to return. `wit/actor.wit` promises it.
pub(super) const BYTES: usize = 1 << 20;

/// How often a mailbox that is full is looked at again, where that is not waited for to the end.
const LOOKS_FOR_ROOM: Duration = Duration::from_millis(5);

/// A message on its way.
struct Addressed {
    receiver: String,
    to: Receiver,
    envelope: Envelope,
}

/// Holds what a handler sends until the handler returns: one that traps has sent nothing.
pub(crate) struct Outbox {
    post: Post,
    waiting: Vec<Addressed>,
    bytes: usize,
}

/// Hands messages on.
struct Post {
    /// The sender's own mailbox: it cannot wait for room in that one.
    own: Option<ActorId>,
    watch: Arc<dyn Watch>,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(own: Option<ActorId>, watch: Arc<dyn Watch>, counters: Arc<Counters>) -> Self {
        Self { post: Post { own, watch, counters }, waiting: Vec::new(), bytes: 0 }
    }

    pub(crate) fn push(&mut self, receiver: String, to: Receiver, envelope: Envelope) {
        self.bytes += envelope.bytes();
        self.waiting.push(Addressed { receiver, to, envelope });
    }

    /// Whether it holds so much that it must be flushed before the handler returns.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MESSAGES || self.bytes >= BYTES
    }

    /// Sends everything, in order. Where a mailbox is full, this waits: the sender is as slow as its receiver. Only
    /// what a component sends to itself is given up then: nobody else could make room for it.
    pub(crate) async fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.bytes = 0;
        self.post.counters.sent.fetch_add(self.waiting.len() as u64, Ordering::Relaxed);
        for message in self.waiting.drain(..) {
            if let Some(Addressed { receiver, to, envelope }) = self.post.try_hand_on(message)
                && let Err(Some(envelope)) = to.send(envelope).await
            {
                self.post.bury(&receiver, &envelope, GONE);
            }
        }
    }

    /// As [`flush`](Self::flush), but waits for `time` at most: false where the rest stays here.
    pub(super) async fn flush_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let mut messages = std::mem::take(&mut self.waiting).into_iter();
            let full = messages.by_ref().find_map(|message| {
                self.bytes -= message.envelope.bytes();
                let full = self.post.try_hand_on(message);
                if full.is_none() {
                    self.post.counters.sent.fetch_add(1, Ordering::Relaxed);
                }
                full
            });
            let Some(Addressed { receiver, to, envelope }) = full else { return true };
            self.push(receiver, to, envelope);
            self.waiting.extend(messages);
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOKS_FOR_ROOM).await;
        }
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

    fn bury(&self, receiver: &str, envelope: &Envelope, reason: &str) {
        self.counters.dead.fetch_add(1, Ordering::Relaxed);
        self.watch.event(&Event::DeadLetter(&envelope.dead_letter(receiver, &envelope.payload, &reason)));
    }
}

const OWN_FULL: &str = "its receiver is its sender, whose mailbox is full";
const UNREADABLE: &str = "its receiver would not read it as one message: a line feed in a line, or no JSON";
const GONE: &str = "its receiver was stopped";
