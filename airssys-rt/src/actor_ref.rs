//! How an actor is reached, and how it is told apart from every other.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::call::{CallError, Reply};
use crate::cell::{self, CellRef, Deadline, Door, Refused};
use crate::exit::ExitReason;
use crate::link::{Hook, MonitorRef, Tell, Until, Watcher};
use crate::timer;

/// The identity of an actor: a slot, and the generation of its use.
///
/// A slot is used again after its actor is gone, with the next generation; so an id never names two actors.
/// Displayed as `<slot.generation>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(u64);

impl ActorId {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(generation))
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn generation(self) -> u32 {
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
    cell: CellRef<M>,
}

impl<M: Send + 'static> ActorRef<M> {
    pub(crate) fn new(cell: CellRef<M>) -> Self {
        Self { cell }
    }

    pub(crate) fn cell(&self) -> &CellRef<M> {
        &self.cell
    }

    /// Has `hook` run at the end of the actor, before anybody else hears of it. What is returned takes it back;
    /// `None` where the actor is dead, and then the hook does not run.
    pub(crate) fn at_end(&self, until: Until, hook: Hook) -> Option<MonitorRef> {
        self.cell.at_end(until, hook)
    }

    /// Sends a message, and waits for room where the mailbox is full. OTP's `gen_server:cast/2` never waits, because no mailbox
    /// of OTP's is ever full.
    ///
    /// Messages of one sender arrive in the order in which they were sent; waiting senders get room in the order
    /// in which they began to wait. An actor that waits for room in its own mailbox waits for itself, for ever.
    ///
    /// # Errors
    ///
    /// * [`SendError::NoProc`]: the actor is dead or takes no new messages.
    /// * [`SendError::Full`]: only where the mailbox [rejects](crate::Overflow::Reject) what it has no room for.
    ///
    /// The error holds the message.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops the message: it was not and will not be delivered.
    pub async fn cast(&self, message: M) -> Result<(), SendError<M>> {
        match self.cell.offer(message, None) {
            Ok(()) => Ok(()),
            Err(Refused::Full(message)) => Ok(self.cell.wait_for_room(message, None, None, None).await?),
            Err(refused) => Err(refused.into()),
        }
    }

    /// As [`cast`](Self::cast), but waits for room for `time` at most.
    ///
    /// # Errors
    ///
    /// As those of [`cast`](Self::cast), and [`SendError::Full`] where no room came in time. The error holds the message.
    ///
    /// # Cancel safety
    ///
    /// As that of [`cast`](Self::cast).
    pub async fn cast_within(&self, message: M, time: Duration) -> Result<(), SendError<M>> {
        match self.cell.offer(message, None) {
            Ok(()) => Ok(()),
            Err(Refused::Full(message)) => {
                Ok(self.cell.wait_for_room(message, None, None, Deadline::after(time)).await?)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Sends a message if there is room for it now. On an unbounded mailbox there always is.
    ///
    /// # Errors
    ///
    /// The mailbox is full (or others wait for room), or the actor takes no messages; the error holds the message.
    pub fn try_cast(&self, message: M) -> Result<(), SendError<M>> {
        self.cell.offer(message, None).map_err(SendError::from)
    }

    /// Sends a message that is of no use to the actor later than `ttl` from now, and waits for room where the mailbox
    /// is full; that counts, too.
    ///
    /// Where its turn comes later, it is dropped instead of handled: a dead letter that has
    /// [expired](crate::DeadLetterCause::Expired). Where the mailbox has a [`ttl`](crate::MailboxOptions::ttl) of its
    /// own, the shorter one counts.
    ///
    /// # Errors
    ///
    /// As those of [`cast`](Self::cast). That it has expired is no error: nobody knows yet.
    ///
    /// # Cancel safety
    ///
    /// As that of [`cast`](Self::cast).
    pub async fn cast_for(&self, message: M, ttl: Duration) -> Result<(), SendError<M>> {
        self.cell.send_perishable(message, Deadline::after(ttl)).await.map_err(SendError::from)
    }

    /// Sends a message that overtakes all that wait, in the order of those sent in this way: a priority message of OTP 28
    /// (EEP 76).
    ///
    /// It needs no room: meant for the few messages that must get through to an actor that has too much to do. Only
    /// what the actor has [put off](crate::Context::continue_next) comes before it.
    ///
    /// # Errors
    ///
    /// The actor is dead or takes no new messages; the error holds the message.
    pub fn cast_urgent(&self, message: M) -> Result<(), SendError<M>> {
        self.cell.urge(message).map_err(SendError::NoProc)
    }

    /// Sends a request made around a [`Reply`] and waits for the answer: OTP's `gen_server:call/3`.
    ///
    /// `timeout` covers all of it: waiting for room, for its turn and for the answer. A call that an actor makes
    /// while it handles a call does not wait longer than the one who called it. That holds for the message in hand: a
    /// request that was stashed and is handled later has no deadline any more; nor has a [task](crate::Context::task), but
    /// [`join`](crate::Task::join) waits no longer, either. Without time the request is sent all
    /// the same, as in OTP.
    ///
    /// An actor that rests and has proven to be quick may handle the request on the stack of the caller; see
    /// [`RUNS_ON_CALLERS`](crate::Actor::RUNS_ON_CALLERS). One that calls itself, or calls back whoever waits for it,
    /// gets no answer before its timeout.
    ///
    /// # Errors
    ///
    /// * [`CallError::NoProc`]: the actor is dead; known at once.
    /// * [`CallError::Full`]: only where the mailbox [rejects](crate::Overflow::Reject) what it has no room for.
    /// * [`CallError::Timeout`]: no answer in time. A late one is discarded.
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
        let deadline = Deadline::after(timeout).into_iter().chain(cell::deadline()).min();
        let (reply, answer) = Reply::channel();
        let request = request(reply);
        let exchange = pin!(async {
            self.cell.ask(request, deadline).await.map_err(|refused| match refused {
                Refused::Full(_) => CallError::Full,
                Refused::Closed(_) => CallError::NoProc,
            })?;
            self.cell.await_visitor(|| answer.is_there());
            answer.await.ok_or(CallError::Dropped)
        });
        timer::until(self.cell.timers(), deadline, exchange).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Tells the actor to stop after the message in hand: OTP's `gen_server:stop`. It says good-bye in
    /// [`terminate`](crate::Actor::terminate), with this reason. What waits in its mailbox becomes dead letters.
    ///
    /// Where it stops already, the first reason stands. One that starts still stops after its `init`. Like all that
    /// ends an actor, it is nothing to a mailbox on which none runs.
    pub fn stop(&self, reason: ExitReason) {
        self.cell.stop(reason);
    }

    /// Sends an exit signal: OTP's `exit/2`.
    ///
    /// An actor that [traps exits](crate::Context::trap_exit) gets [`Info::Exit`](crate::Info::Exit). Another one
    /// ends at its next `.await` with this reason, without `terminate`; [`ExitReason::Normal`] does nothing to it,
    /// unless it sends that to itself. [`ExitReason::Killed`] can be trapped like any other: what cannot is
    /// [`kill`](Self::kill).
    pub fn exit(&self, reason: ExitReason) {
        self.cell.exit_signal(cell::current(), &reason, false);
    }

    /// Ends the actor at its next `.await` with [`ExitReason::Killed`], without `terminate`, whatever it traps. Those
    /// that are linked to it get an exit signal with that reason, which they may trap.
    pub fn kill(&self) {
        self.cell.kill();
    }

    /// Waits until the actor ends, and says why. Of a dead actor it says why it ended.
    ///
    /// Where the mailbox outlives the actor, this is the end of the incarnation that runs or comes next.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn exited(&self) -> ExitReason {
        if self.cell.door() == Door::Closed {
            return self.cell.last_exit();
        }
        let (tell, told) = oneshot::channel();
        let monitor = MonitorRef::unique();
        if self.cell.watch(Watcher { monitor, tell: Tell::Waiter(tell) }).is_ok() {
            let _forget = Forget { cell: &self.cell, monitor };
            if let Ok(reason) = told.await {
                return reason;
            }
        }
        self.cell.last_exit()
    }

    /// The identity of the actor.
    pub fn id(&self) -> ActorId {
        self.cell.id()
    }

    /// Whether the actor takes messages. A `true` may be outdated at once; a `false` is final, except after a drain
    /// where the mailbox is used again.
    pub fn is_alive(&self) -> bool {
        self.cell.door() == Door::Open
    }

    /// The number of messages that wait for their turn, urgent ones apart.
    pub fn depth(&self) -> usize {
        self.cell.depth()
    }
}

impl<M> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone() }
    }
}

impl<M> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.cell.id())
    }
}

/// Why a message was not sent. Holds the message.
pub enum SendError<M> {
    /// No room now. Try again later, or wait with [`cast`](ActorRef::cast).
    Full(M),
    /// The actor is dead or takes no new messages.
    NoProc(M),
}

impl<M> SendError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::NoProc(message) => message,
        }
    }
}

impl<M> From<Refused<M>> for SendError<M> {
    fn from(refused: Refused<M>) -> Self {
        match refused {
            Refused::Full(message) => Self::Full(message),
            Refused::Closed(message) => Self::NoProc(message),
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::NoProc(_) => "NoProc",
        })
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the mailbox is full",
            Self::NoProc(_) => "the actor takes no messages",
        })
    }
}

impl<M> Error for SendError<M> {}

/// Takes a waiter off the list when its future is dropped.
struct Forget<'a, M> {
    cell: &'a CellRef<M>,
    monitor: MonitorRef,
}

impl<M> Drop for Forget<'_, M> {
    fn drop(&mut self) {
        self.cell.unwatch(self.monitor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_slot_and_generation() {
        assert_eq!(ActorId::new(7, 42).to_string(), "<7.42>");
        assert_eq!(format!("{:?}", ActorId::new(u32::MAX, u32::MAX)), "<4294967295.4294967295>");
    }
}
