//! Messages that a handler sent and that have not left yet.

use std::sync::{Arc, atomic::Ordering};

use airssys_rt::{ActorId, ActorRef, TrySendError};

use super::{Counters, Delivery, Envelope};

/// The most messages that wait for the handler to return. `wit/actor.wit` promises it.
const MESSAGES: usize = 256;

/// The most bytes that wait for the handler to return. `wit/actor.wit` promises it.
const BYTES: usize = 1 << 20;

/// Holds what a handler sends until the handler returns: one that traps has sent nothing.
pub(crate) struct Outbox {
    name: Arc<str>,
    /// The sender's own mailbox: it cannot wait for room in that one.
    own: Option<ActorId>,
    counters: Arc<Counters>,
    waiting: Vec<(ActorRef<Delivery>, Envelope)>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(name: Arc<str>, own: Option<ActorId>, counters: Arc<Counters>) -> Self {
        Self { name, own, counters, waiting: Vec::new(), bytes: 0 }
    }

    pub(crate) fn push(&mut self, to: ActorRef<Delivery>, envelope: Envelope) {
        self.bytes += envelope.payload.len() + envelope.subject.len();
        self.waiting.push((to, envelope));
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
        self.counters.sent.fetch_add(self.waiting.len() as u64, Ordering::Relaxed);
        for (to, envelope) in self.waiting.drain(..) {
            let subject_bytes = envelope.subject.len();
            let undelivered = match to.try_cast(Delivery::Message(envelope)) {
                Ok(()) => false,
                Err(TrySendError::Full(_)) if self.own == Some(to.id()) => true,
                Err(TrySendError::Full(delivery)) => to.cast(delivery).await.is_err(),
                Err(TrySendError::NoProc(_)) => true,
            };
            if undelivered {
                self.counters.dead.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(component = &*self.name, to = %to.id(), subject_bytes, "a message was not delivered");
            }
        }
    }
}
