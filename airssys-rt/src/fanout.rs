//! One message to many, without waiting for any.

use crate::actor_ref::{ActorRef, SendError};

/// What became of a message that went to many actors. Nobody was waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fanout {
    /// How many have it in their mailbox.
    pub sent: usize,
    /// How many have not got it because their mailbox was full.
    pub full: usize,
    /// How many have not got it because they take no messages any more.
    pub no_proc: usize,
}

impl Fanout {
    pub(crate) fn send<M: Send + 'static>(&mut self, actor: &ActorRef<M>, message: M) {
        match actor.try_cast(message) {
            Ok(()) => self.sent += 1,
            Err(SendError::Full(_)) => self.full += 1,
            Err(SendError::NoProc(_)) => self.no_proc += 1,
        }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.sent += more.sent;
        self.full += more.full;
        self.no_proc += more.no_proc;
    }
}
