//! Who waits for an answer of a component although the handler of the question has returned.

use std::collections::BTreeMap;

use airssys_rt::Reply;
use tokio::time::Instant;

use super::Envelope;

/// The most callers that wait so for one component. `wit/actor.wit` promises it.
const CALLERS: usize = 1024;

/// Callers by their numbers, of which none is given twice.
#[derive(Default)]
pub(super) struct Callers {
    waiting: BTreeMap<u64, Caller>,
    last: u64,
}

struct Caller {
    reply: Reply<Option<Vec<u8>>>,
    until: Option<Instant>,
}

impl Callers {
    /// A number for one more. None where too many wait, and all of them still do.
    pub(super) fn number(&mut self, now: Instant) -> Option<u64> {
        if self.waiting.len() >= CALLERS {
            self.waiting.retain(|_, caller| caller.until.is_none_or(|until| until > now));
        }
        (self.waiting.len() < CALLERS).then(|| {
            self.last += 1;
            self.last
        })
    }

    /// Keeps the caller of a message waiting.
    pub(super) fn keep(&mut self, number: u64, envelope: &mut Envelope) {
        if let Some(reply) = envelope.reply.take() {
            self.waiting.insert(number, Caller { reply, until: envelope.until });
        }
    }

    pub(super) fn is_waiting(&self, number: u64) -> bool {
        self.waiting.contains_key(&number)
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.waiting.keys().copied().collect()
    }

    /// Gives up waiting: dropped, the answer tells its caller that there will be none.
    pub(super) fn take(&mut self, number: u64) -> Option<Reply<Option<Vec<u8>>>> {
        self.waiting.remove(&number).map(|caller| caller.reply)
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<Reply<Option<Vec<u8>>>> {
        std::mem::take(&mut self.waiting).into_values().map(|caller| caller.reply).collect()
    }
}
