//! How an actor is reached, and how it is told apart from every other.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::call::{CallError, Reply};
use crate::exit::ExitReason;
use crate::mailbox::{Refused, Shared};
use crate::timer;

/// The identity of an actor: a slot, and the generation of its use.
///
/// A slot is used again after its actor is gone, with the next generation; so an id never names two actors.
/// Displayed as `<slot.generation>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(u64);

impl ActorId {
    fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(generation))
    }

    fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}>", self.slot(), self.generation())
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where messages for an actor are sent.
///
/// Cheap to clone. It does not keep the actor alive, and it never reaches another actor than its own: when that
/// one is dead, sending fails. (A restart on a [`Mailbox`](crate::Mailbox) that outlives it is no death.)
pub struct ActorRef<M> {
    shared: Arc<Shared<M>>,
}

impl<M: Send + 'static> ActorRef<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<M>> {
        &self.shared
    }

    /// Sends a message, and waits for room where the mailbox is full.
    ///
    /// Messages of one sender arrive in the order in which they were sent; waiting senders get room in the order
    /// in which they began to wait.
    ///
    /// # Errors
    ///
    /// The actor is dead or takes no new messages; the error holds the message.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops the message: it was not and will not be delivered.
    pub async fn cast(&self, message: M) -> Result<(), SendError<M>> {
        self.shared.send(message).await.map_err(SendError)
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// The mailbox is full (or others wait for room), or the actor takes no messages; the error holds the message.
    pub fn try_cast(&self, message: M) -> Result<(), TrySendError<M>> {
        self.shared.try_send(message).map_err(|refused| match refused {
            Refused::Full(message) => TrySendError::Full(message),
            Refused::Closed(message) => TrySendError::NoProc(message),
        })
    }

    /// Sends a request made around a [`Reply`] and waits for the answer.
    ///
    /// `timeout` covers all of it: waiting for room, for its turn and for the answer.
    ///
    /// # Errors
    ///
    /// * [`CallError::NoProc`]: the actor is dead; known at once.
    /// * [`CallError::Timeout`]: no answer in time.
    /// * [`CallError::Dropped`]: the reply was dropped, by choice or because the actor ended; known at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes a request that still waits for room back; one that is queued is handled, and its
    /// answer discarded.
    pub async fn call<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> M,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let (reply, answer) = Reply::channel();
        let request = request(reply);
        let exchange = pin!(async {
            self.shared.send(request).await.map_err(|_| CallError::NoProc)?;
            answer.await.map_err(|_| CallError::Dropped)
        });
        timer::timeout(self.shared.timers(), timeout, exchange).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Waits until the actor ends, and says why. Of a dead actor it says why it ended.
    ///
    /// Where the mailbox outlives the actor, this is the end of the incarnation that runs or comes next.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn exited(&self) -> ExitReason {
        self.shared.exited().await
    }

    /// The identity of the actor.
    pub fn id(&self) -> ActorId {
        self.shared.id()
    }

    /// Whether the actor takes messages. A `true` may be outdated at once; a `false` is final, except after a drain
    /// where the mailbox is used again.
    pub fn is_alive(&self) -> bool {
        self.shared.is_open()
    }

    /// The number of messages that wait for their turn.
    pub fn depth(&self) -> usize {
        self.shared.depth()
    }
}

impl<M> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.shared.id())
    }
}

/// The actor takes no messages. Holds the message that was not sent.
pub struct SendError<M>(pub M);

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError")
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the actor takes no messages")
    }
}

impl<M> Error for SendError<M> {}

/// Why a message was not sent at once. Holds the message.
pub enum TrySendError<M> {
    /// No room now. Try again later, or wait with [`cast`](ActorRef::cast).
    Full(M),
    /// The actor is dead or takes no new messages.
    NoProc(M),
}

impl<M> TrySendError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::NoProc(message) => message,
        }
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::NoProc(_) => "NoProc",
        })
    }
}

impl<M> fmt::Display for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the mailbox is full",
            Self::NoProc(_) => "the actor takes no messages",
        })
    }
}

impl<M> Error for TrySendError<M> {}

/// A claimed [`ActorId`]. Dropped, its slot is free for the next generation.
pub(crate) struct Slot(ActorId);

impl Slot {
    pub(crate) fn claim() -> Self {
        let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        Self(slots.free.pop().unwrap_or_else(|| {
            let slot = slots.unused;
            // Each claimed slot belongs to something far larger than one byte.
            assert!(slot < u32::MAX, "four thousand million actors at once");
            slots.unused = slot + 1;
            ActorId::new(slot, 0)
        }))
    }

    pub(crate) fn id(&self) -> ActorId {
        self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A slot whose generations are used up is retired: better a hole than an id that names two actors.
        if let Some(generation) = self.0.generation().checked_add(1) {
            let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
            slots.free.push(ActorId::new(self.0.slot(), generation));
        }
    }
}

/// The slots of this program. A mailbox exists before it belongs to any system, so they are not a system's.
static SLOTS: Mutex<Slots> = Mutex::new(Slots { free: Vec::new(), unused: 0 });

struct Slots {
    /// Slots that were used, each with its next generation.
    free: Vec<ActorId>,
    /// The first slot that was never used.
    unused: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_slot_and_generation() {
        assert_eq!(ActorId::new(7, 42).to_string(), "<7.42>");
        assert_eq!(format!("{:?}", ActorId::new(u32::MAX, u32::MAX)), "<4294967295.4294967295>");
    }

    #[test]
    fn no_id_is_given_twice() {
        let mut seen = std::collections::HashSet::new();
        let mut held = Vec::new();
        for round in 0..1_000 {
            let slot = Slot::claim();
            assert!(seen.insert(slot.id()), "{} in round {round}", slot.id());
            if round % 3 == 0 {
                held.push(slot);
            }
        }
    }
}
