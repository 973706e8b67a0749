//! What a component is: an actor with a mailbox.

use crate::{Config, Error};

/// One message from the mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The component that sent it. The host says so: a sender cannot lie about it.
    pub sender: String,
    /// What it is about, in the words that sender and receiver agreed on.
    pub subject: String,
    /// The content, as the sender wrote it.
    pub payload: Vec<u8>,
}

/// Why the actor stops in an orderly way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is done.
    Normal,
    /// Its supervisor stops it.
    Shutdown,
}

/// A component that handles one message or timer at a time.
///
/// An error from any of these is an exit, and a panic is a crash; the supervisor decides what follows. What
/// [`send`](crate::send) queued in a handler that crashes has not been sent.
///
/// # Examples
///
/// ```
/// use airssys_guest::{Actor, Config, Error, Message};
///
/// /// Answers every message with how many there have been.
/// struct Counter(u64);
///
/// impl Actor for Counter {
///     fn init(_: &Config) -> Result<Self, Error> {
///         Ok(Counter(0))
///     }
///
///     fn handle(&mut self, _: Message) -> Result<Option<Vec<u8>>, Error> {
///         self.0 += 1;
///         Ok(Some(self.0.to_string().into_bytes()))
///     }
/// }
///
/// airssys_guest::export!(Counter);
/// # fn main() {}
/// ```
pub trait Actor: Sized {
    /// Starts with the `config` table of the manifest. An error is a failed start.
    fn init(config: &Config) -> Result<Self, Error>;

    /// Handles one message. The answer goes to the caller; where nobody waits for one it is discarded.
    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error>;

    /// Handles a timer that [`timers::set`](crate::timers::set) armed.
    fn timer(&mut self, name: &str) -> Result<(), Error> {
        Err(format!("the timer `{name}` has no handler").into())
    }

    /// Says good-bye: the last call of an orderly stop.
    fn terminate(&mut self, reason: Reason) {
        let _ = reason;
    }
}
