//! The queue of messages before an actor: how long it may be, and how long it lives.

mod room;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::actor_ref::ActorRef;
use crate::cell::{CellRef, Cold, Deadline, Mutex, MutexGuard, Own};
use room::Room;

/// How many messages a mailbox holds, and what it does with more.
///
/// Timers, monitors and exits of the actor itself, and urgent messages, are never refused; they may exceed the
/// capacity.
///
/// Senders take room in shares of up to an eighth of the capacity, 128 at most, for themselves and those who come next. So
/// one who comes while another takes the last of it may find the mailbox full with as much left; and those who wait are
/// woken when that much is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxOptions {
    capacity: Option<usize>,
    overflow: Overflow,
    ttl: Option<Duration>,
}

/// What a full mailbox does with one more message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Lets its sender wait for room: [`cast`](ActorRef::cast) and [`call`](ActorRef::call) wait,
    /// [`try_cast`](ActorRef::try_cast) says [`Full`](crate::SendError::Full).
    #[default]
    Wait,
    /// Gives it back at once, as [`Full`](crate::SendError::Full).
    Reject,
    /// Drops it. Its sender is not told; the observer is, of a dead letter.
    DropNewest,
    /// Drops the message that has waited longest, and takes this one. The observer is told of a dead letter.
    DropOldest,
}

impl MailboxOptions {
    /// The capacity of a mailbox where nobody chose one. Enough to ride out a burst; small enough that a receiver
    /// which cannot keep up slows its senders down before memory runs out.
    pub const DEFAULT_CAPACITY: usize = 1024;

    /// At most `capacity` messages, at least one and at most 2^31; those who send more wait.
    pub const fn bounded(capacity: usize) -> Self {
        Self { capacity: Some(capacity), overflow: Overflow::Wait, ttl: None }
    }

    /// Without a bound. Only for senders whose number of messages is bounded otherwise.
    pub const fn unbounded() -> Self {
        Self { capacity: None, overflow: Overflow::Wait, ttl: None }
    }

    /// Sets what happens at the bound.
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets how long a message may wait for its turn. One that has waited longer is not handled: when its turn comes
    /// it is dropped, a dead letter that has [expired](crate::DeadLetterCause::Expired).
    ///
    /// A call that expires is answered with [`Dropped`](crate::CallError::Dropped), unless its caller has given up
    /// already. What the actor has asked for itself, as timers and monitors, and urgent messages do not expire; and
    /// nothing does while it is handled. A message in such a mailbox takes one more allocation.
    /// [`cast_for`](ActorRef::cast_for) is the same for one message.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn bounds(self) -> Option<Box<Bounds>> {
        let capacity =
            self.capacity.map(|capacity| u32::try_from(capacity).unwrap_or(u32::MAX).clamp(1, LARGEST_BOUND));
        let capacity = capacity.or(self.ttl.map(|_| LARGEST_BOUND))?;
        Some(Box::new(Bounds::new(capacity, self)))
    }
}

/// More than fits into memory.
const LARGEST_BOUND: u32 = 1 << 31;

impl Default for MailboxOptions {
    fn default() -> Self {
        Self::bounded(Self::DEFAULT_CAPACITY)
    }
}

/// The bound of a mailbox. Each actor has one unless it says otherwise, so what is rare lies apart.
pub(crate) struct Bounds {
    room: Room,
    rare: Option<Box<Rare>>,
    capacity: u32,
    overflow: Overflow,
}

/// The reader's part of a bound: apart from the other, lest senders and reader share a line per message.
pub(crate) struct Made {
    /// Room that the reader has made and not given out yet.
    room: AtomicU8,
    /// How much room is given out at a time; zero where there is no bound.
    batch: u8,
    /// Whether senders take out of the queue, too.
    pub(crate) is_shared: bool,
}

/// What few bounds have.
struct Rare {
    /// Who takes, where that is not the reader alone; and what senders had to take out on their way to the oldest
    /// message, which comes before all that is queued.
    reader: Option<Mutex<VecDeque<Own>>>,
    ttl: Option<Duration>,
}

impl Bounds {
    fn new(capacity: u32, options: MailboxOptions) -> Self {
        let reader = (options.overflow == Overflow::DropOldest).then(Mutex::default);
        let is_rare = reader.is_some() || options.ttl.is_some();
        Self {
            room: Room::new(capacity),
            rare: is_rare.then(|| Box::new(Rare { reader, ttl: options.ttl })),
            capacity,
            overflow: options.overflow,
        }
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// When a message that is queued now, and is of no use after `own`, expires.
    #[inline]
    pub(crate) fn expiry(&self, own: Option<Deadline>) -> Option<Deadline> {
        let Some(ttl) = self.rare.as_ref().and_then(|rare| rare.ttl) else { return own };
        own.into_iter().chain(Deadline::after(ttl)).min()
    }

    /// The number of messages that wait, or are about to be queued.
    pub(crate) fn depth(&self, made: &Made, credit: u32) -> usize {
        let free = self.room.left() + usize::from(made.room.load(Ordering::Relaxed)) + credit as usize;
        (self.capacity as usize).saturating_sub(free)
    }

    /// Takes room for one message, and for some that others may send, as far as there is any and nobody waits for it.
    /// Returns for how many.
    pub(crate) fn take(&self) -> u32 {
        self.room.take()
    }

    /// Whether there is room.
    pub(crate) fn has_room(&self) -> bool {
        self.room.left() > 0
    }

    /// Whether senders wait for room already.
    pub(crate) fn has_line(&self) -> bool {
        self.room.has_line()
    }

    /// Waits for room for one message; false where there will not be any. What was taken for messages to come is given
    /// back first.
    pub(crate) async fn wait(&self, back: impl FnOnce() -> u32) -> bool {
        self.room.wait(back).await
    }

    /// Gives back room that was taken for so many messages which are not queued.
    pub(crate) fn give(&self, back: u32) {
        self.room.make(back);
    }

    /// Gives out the room that the reader has made; `back` as in [`wait`](Self::wait).
    pub(crate) fn settle(&self, made: &Made, back: impl FnOnce() -> u32) {
        let room = made.room.load(Ordering::Relaxed);
        if room > 0 {
            made.room.store(0, Ordering::Relaxed);
            self.room.settle(room.into(), back);
        }
    }

    /// No more room, for ever: those who wait for some are told.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    /// Has to be held by whoever takes out of the queue, or accounts for it.
    pub(crate) fn reader(&self) -> Option<MutexGuard<'_, VecDeque<Own>>> {
        let reader = self.rare.as_ref()?.reader.as_ref()?;
        Some(reader.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Made {
    pub(crate) fn of(bounds: Option<&Bounds>) -> Self {
        let batch = bounds.map_or(0, |bounds| bounds.room.share() as u8);
        let is_shared = bounds.is_some_and(|bounds| bounds.overflow == Overflow::DropOldest);
        Self { room: AtomicU8::new(0), batch, is_shared }
    }

    /// Whether there is a bound.
    pub(crate) fn is_bounded(&self) -> bool {
        self.batch > 0
    }

    /// Notes that the reader has taken a message. True where it should give out what it has made.
    pub(crate) fn one(&self) -> bool {
        let room = self.room.load(Ordering::Relaxed) + 1;
        self.room.store(room, Ordering::Relaxed);
        // INVARIANT: it is never more than a batch.
        room >= self.batch
    }
}

/// Keeps a queue of messages open, independent of the actor that reads it.
///
/// An actor started without one gets its own, which closes when it ends: that is OTP's rule, and references to it
/// are dead for ever. A mailbox that is given to [`ChildSpec::actor_with_mailbox`](crate::ChildSpec) or
/// [`System::spawn_on`](crate::System::spawn_on) outlives the incarnations of its actor: references stay valid,
/// messages wait while none runs, and the next one goes on with what is queued, in order. Only the message that was
/// being handled is gone.
///
/// It closes when its last owner (a clone of it, or a child specification that holds one) is dropped. Senders are
/// refused from then on, and messages still in it become dead letters.
pub struct Mailbox<M: Send + 'static> {
    cell: CellRef<M>,
}

impl<M: Send + 'static> Mailbox<M> {
    /// Makes a mailbox.
    pub fn new(options: MailboxOptions) -> Self {
        Self { cell: CellRef::vacant(options.bounds(), Cold::owned()) }
    }

    /// Makes a mailbox that holds at most `capacity` messages, at least one. Senders wait for room.
    pub fn bounded(capacity: usize) -> Self {
        Self::new(MailboxOptions::bounded(capacity))
    }

    /// Makes a mailbox without a bound. Only for senders whose number of messages is bounded otherwise.
    pub fn unbounded() -> Self {
        Self::new(MailboxOptions::unbounded())
    }

    /// The actor, to send messages to; before its first start and across restarts.
    pub fn actor_ref(&self) -> ActorRef<M> {
        ActorRef::new(self.cell.clone())
    }

    pub(crate) fn cell(&self) -> &CellRef<M> {
        &self.cell
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
        Self::new(MailboxOptions::default())
    }
}

impl<M: Send + 'static> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        self.cell.own();
        Self { cell: self.cell.clone() }
    }
}

impl<M: Send + 'static> Drop for Mailbox<M> {
    fn drop(&mut self) {
        self.cell.disown();
    }
}
