//! Answers that are given later.

use crate::{Error, host};

/// The right to answer one call, once, after its handler has returned. Dropped, it tells the caller at once that there is no
/// answer.
///
/// ```
/// use airssys_guest::{Actor, Config, Error, Message, Pending, later, testing::Host};
///
/// /// Answers each question with what is said next.
/// #[derive(Default)]
/// struct Oracle(Option<Pending>);
///
/// impl Actor for Oracle {
///     fn init(_: &Config) -> Result<Self, Error> {
///         Ok(Oracle::default())
///     }
///     fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
///         if message.subject == "ask" {
///             self.0 = Some(later()?);
///         } else if let Some(caller) = self.0.take() {
///             caller.answer(&message.payload)?;
///         }
///         Ok(None)
///     }
/// }
///
/// let host = Host::new();
/// let mut oracle = Oracle::default();
/// oracle.handle(Host::message("alice", "ask", b"")).unwrap();
/// oracle.handle(Host::message("bob", "say", b"yes")).unwrap();
/// assert_eq!(host.take_answers(), [(1, Some(b"yes".to_vec()))]);
/// ```
#[derive(Debug)]
pub struct Pending(u64);

/// Keeps the caller of the message in hand waiting, until it is answered by what this gives. What the handler returns counts for
/// nothing then.
///
/// An upgrade that hands the state on leaves the caller waiting: [`Pending::keep`] says how the next version goes on. After a
/// crash it hears at once that there is no answer.
///
/// # Errors
///
/// * [`Invalid`](crate::ErrorKind::Invalid): nobody waits for an answer.
/// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): 1,024 callers wait already.
pub fn later() -> Result<Pending, Error> {
    host::later().map(Pending).map_err(|failure| failure.cannot("answer later"))
}

impl Pending {
    /// Gives the answer, when the handler returns. A caller that does not wait any more is no error.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound): nobody waits by this number: it was answered, or the instance that was asked
    /// has crashed.
    pub fn answer(self, payload: &[u8]) -> Result<(), Error> {
        self.give(Some(payload))
    }

    /// Tells the caller that there is no answer, as to drop this does, and says whether anybody waited.
    ///
    /// # Errors
    ///
    /// As for [`answer`](Self::answer).
    pub fn refuse(self) -> Result<(), Error> {
        self.give(None)
    }

    /// The number that the caller waits by, for a snapshot; the caller goes on waiting.
    pub fn keep(self) -> u64 {
        let number = self.0;
        std::mem::forget(self);
        number
    }

    /// Who waits by a number that [`keep`](Self::keep) gave. One that nobody waits by any more cannot be answered, and does no
    /// harm.
    pub fn resume(number: u64) -> Self {
        Self(number)
    }

    /// The number that the caller waits by.
    pub fn number(&self) -> u64 {
        self.0
    }

    fn give(self, payload: Option<&[u8]>) -> Result<(), Error> {
        host::answer(self.keep(), payload).map_err(|failure| failure.cannot("answer a caller that waited"))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Where nobody waits any more, there is nobody to tell.
        let _ = host::answer(self.0, None);
    }
}
