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

/// Which versions of a component hand state on: the digests of their files, `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The one that gave the snapshot.
    pub made_by: String,
    /// The one that runs now.
    pub taken_by: String,
}

/// An actor whose state outlives its instance: through an upgrade, and through a crash where the manifest says
/// `on_restart = "snapshot"`. Its face is made by `export!(Counter, stateful)`.
///
/// # Examples
///
/// ```
/// use airssys_guest::{Actor, Config, Error, Message, Stateful, Versions};
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
/// impl Stateful for Counter {
///     fn snapshot(&mut self) -> Result<Vec<u8>, Error> {
///         Ok(self.0.to_le_bytes().to_vec())
///     }
///
///     fn restore(&mut self, _: &Versions, snapshot: &[u8]) -> Result<(), Error> {
///         let bytes = snapshot.try_into().map_err(|_| Error::new("this is no count"))?;
///         self.0 = u64::from_le_bytes(bytes);
///         Ok(())
///     }
/// }
///
/// airssys_guest::export!(Counter, stateful);
/// # fn main() {}
/// ```
pub trait Stateful: Actor {
    /// Gives all that the next instance needs to go on, in a form that later versions read. Called between messages.
    ///
    /// An error stops an upgrade and leaves this instance as it is; where a restart is to find the snapshot, it is an
    /// exit.
    fn snapshot(&mut self) -> Result<Vec<u8>, Error>;

    /// Takes over what an instance before this one gave. Called right after [`init`](Actor::init), before any message.
    ///
    /// An error refuses it: an upgrade is taken back then, and a restart starts anew.
    fn restore(&mut self, versions: &Versions, snapshot: &[u8]) -> Result<(), Error>;
}
