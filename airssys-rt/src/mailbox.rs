//! The queue of messages before an actor: how long it may be, and how long it lives.

use std::error::Error;
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::actor_ref::ActorRef;
use crate::cell::{CellRef, Cold, Mutex, MutexGuard};

/// How many messages a mailbox holds, and what it does with more.
///
/// Timers, monitors and exits of the actor itself, and urgent messages, are never refused; they may exceed the
/// capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxOptions {
    capacity: Option<usize>,
    overflow: Overflow,
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
        Self { capacity: Some(capacity), overflow: Overflow::Wait }
    }

    /// Without a bound. Only for senders whose number of messages is bounded otherwise.
    pub const fn unbounded() -> Self {
        Self { capacity: None, overflow: Overflow::Wait }
    }

    /// Sets what happens at the bound.
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    pub(crate) fn bounds(self) -> Option<Box<Bounds>> {
        let capacity =
            self.capacity.map(|capacity| u32::try_from(capacity).unwrap_or(u32::MAX).clamp(1, LARGEST_BOUND));
        capacity.map(|capacity| Box::new(Bounds::new(capacity, self.overflow)))
    }
}

/// More than fits into memory.
const LARGEST_BOUND: u32 = 1 << 31;

impl Default for MailboxOptions {
    fn default() -> Self {
        Self::bounded(Self::DEFAULT_CAPACITY)
    }
}

/// The bound of a mailbox.
pub(crate) struct Bounds {
    /// The room that is left, and those who wait for some, in order.
    room: Semaphore,
    /// Who takes, where that is not the reader alone.
    reader: Mutex<()>,
    capacity: u32,
    /// Room that the reader has made and not given out yet: senders and reader share no line per message.
    made: AtomicU32,
    /// How many messages were taken in without room.
    excess: AtomicU32,
    /// How much room is given out at a time.
    batch: u8,
    overflow: Overflow,
}

impl Bounds {
    fn new(capacity: u32, overflow: Overflow) -> Self {
        Self {
            room: Semaphore::new(capacity as usize),
            reader: Mutex::new(()),
            capacity,
            made: AtomicU32::new(0),
            excess: AtomicU32::new(0),
            batch: (capacity / 8).clamp(1, 64) as u8,
            overflow,
        }
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// The number of messages that wait, or are about to be queued.
    pub(crate) fn depth(&self) -> usize {
        let free = self.room.available_permits() + self.made.load(Ordering::Relaxed) as usize;
        (self.capacity as usize).saturating_sub(free)
    }

    /// Takes room for one message, if there is some and nobody waits for it.
    pub(crate) fn enter(&self) -> bool {
        self.room.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Waits for room for one message; `None` where there will not be any.
    pub(crate) async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Notes that the reader has taken a message.
    pub(crate) fn taken(&self) {
        let made = self.made.load(Ordering::Relaxed) + 1;
        self.made.store(made, Ordering::Relaxed);
        if made >= u32::from(self.batch) {
            self.settle();
        }
    }

    /// Gives out the room that the reader has made.
    pub(crate) fn settle(&self) {
        let made = self.made.load(Ordering::Relaxed);
        if made > 0 {
            self.made.store(0, Ordering::Relaxed);
            let paid = self.pay(made);
            self.room.add_permits((made - paid) as usize);
        }
    }

    /// Notes that a message was taken in without room. The next that is taken out makes none.
    pub(crate) fn exceed(&self) {
        self.excess.fetch_add(1, Ordering::Relaxed);
    }

    /// How much of the room that was `made` there was none of before.
    fn pay(&self, made: u32) -> u32 {
        if self.excess.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let pay = |excess: u32| Some(excess.saturating_sub(made));
        let excess = self.excess.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        excess.unwrap_or_else(|excess| excess).min(made)
    }

    /// No more room, for ever: those who wait for some are told.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    /// Has to be held by who takes messages.
    pub(crate) fn reader(&self) -> Option<MutexGuard<'_, ()>> {
        (self.overflow == Overflow::DropOldest)
            .then(|| self.reader.lock().unwrap_or_else(PoisonError::into_inner))
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
