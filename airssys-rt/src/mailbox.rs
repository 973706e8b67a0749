//! The queue of messages before an actor.
//!
//! `Shared` is the queue with all that senders need; `Receiver` is its reading end, held by the one incarnation
//! that runs; `Mailbox` is what keeps it open.

mod receiver;
mod shared;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use receiver::Receiver;
pub(crate) use shared::{Entry, Refused, Shared};

use crate::actor_ref::ActorRef;

/// Keeps a queue of messages open, independent of the actor that reads it.
///
/// An actor started without one gets its own, which closes when it ends: that is OTP's rule, and references to it
/// are dead for ever. A mailbox that is given to [`ChildSpec::actor_with_mailbox`](crate::ChildSpec) or
/// [`System::spawn_with`](crate::System::spawn_with) outlives the incarnations of its actor: references stay valid,
/// messages wait while none runs, and the next one goes on with what is queued, in order. Only the message that was
/// being handled is gone.
///
/// It closes when its last owner (a clone of it, or a child specification that holds one) is dropped. Senders are
/// refused from then on, and messages still in it become dead letters.
pub struct Mailbox<M> {
    shared: Arc<Shared<M>>,
}

impl<M: Send + 'static> Mailbox<M> {
    /// The capacity of a mailbox where nobody chose one. Enough to ride out a burst; small enough that a receiver
    /// which cannot keep up slows its senders down before memory runs out.
    pub const DEFAULT_CAPACITY: usize = 1024;

    /// Makes a mailbox that holds at most `capacity` messages, at least one. Senders wait for room.
    ///
    /// Timers and monitors of the actor itself are never refused; they may exceed the capacity.
    pub fn bounded(capacity: usize) -> Self {
        Self { shared: Arc::new(Shared::new(capacity.max(1))) }
    }

    /// Makes a mailbox without a bound. Only for senders whose number of messages is bounded otherwise.
    pub fn unbounded() -> Self {
        Self { shared: Arc::new(Shared::new(usize::MAX)) }
    }

    /// The actor, to send messages to; before its first start and across restarts.
    pub fn actor_ref(&self) -> ActorRef<M> {
        ActorRef::new(Arc::clone(&self.shared))
    }

    /// Makes a mailbox of the default capacity, together with its reading end.
    pub(crate) fn with_receiver() -> (Self, Receiver<M>) {
        let mailbox = Self::default();
        let receiver = Receiver::of_new(&mailbox.shared);
        (mailbox, receiver)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<M>> {
        &self.shared
    }

    /// Takes the reading end.
    ///
    /// # Errors
    ///
    /// Another incarnation has it.
    pub(crate) fn receiver(&self) -> Result<Receiver<M>, MailboxInUse> {
        Receiver::take(&self.shared).ok_or(MailboxInUse)
    }
}

/// Another actor runs on this mailbox; a mailbox has one reader at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxInUse;

impl fmt::Display for MailboxInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another actor runs on this mailbox")
    }
}

impl Error for MailboxInUse {}

impl<M: Send + 'static> Default for Mailbox<M> {
    fn default() -> Self {
        Self::bounded(Self::DEFAULT_CAPACITY)
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        self.shared.owners.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        // As in `Arc`: what the other owners did happens before the last one closes.
        if self.shared.owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.close();
        }
    }
}
