//! What others do to a cell: messages, orders, exit signals.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::task::coop;

use super::core::{AnyCell, CellRef, Own};
use super::crowd;
use super::queue::{Pop, Pushed};
use super::run::spin;
use super::state::{DRAIN, KILL, NORMAL, STOP, SUSPEND, TRACE, TRAP};
use super::{Deadline, Door, Entry};
use crate::actor::Info;
use crate::actor_ref::ActorId;
use crate::exit::{ExitReason, quietly};
use crate::mailbox::{Bounds, Overflow};
use crate::observe::DeadLetterCause;
use crate::scheduler::Scheduler;
use crate::timer::{self, TimerRef};

/// How often a sender looks whether there is room again, before it goes to sleep, and in what distance.
const LOOKS_FOR_ROOM: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_nanos(500);

/// A message that was not queued.
pub(crate) enum Refused<M> {
    Full(M),
    Closed(M),
}

impl<M: Send + 'static> CellRef<M> {
    /// Queues a message if there is room for it now.
    #[inline(always)]
    pub(crate) fn offer(&self, message: M, until: Option<Deadline>) -> Result<(), Refused<M>> {
        match self.admit(message, until, None)? {
            Pushed::Asleep => self.signal(0),
            Pushed::Crowded => self.make_way(),
            Pushed::Queued => {}
        }
        Ok(())
    }

    /// Leaves the queue to the senders on other threads for a moment.
    #[cold]
    fn make_way(&self) {
        if self.system().is_some_and(|system| system.scheduler().threads() > 1) {
            spin(crowd::LOOK_AWAY, || false);
        }
    }

    /// Queues a message for which there is room; who finds the cell asleep has to wake it.
    #[inline(always)]
    fn admit(
        &self,
        message: M,
        until: Option<Deadline>,
        expires: Option<Deadline>,
    ) -> Result<Pushed, Refused<M>> {
        if self.door() != Door::Open {
            return Err(Refused::Closed(message));
        }
        let Some(bounds) = &self.bounds else {
            return Ok(self.push(Entry::message(message, until, expires)));
        };
        self.queue_within(bounds, message, until, expires)
            .or_else(|message| self.at_the_bound(bounds, message, until, expires))
    }

    /// Queues a message if there is room for it and nobody waits for some; gives it back else.
    #[inline]
    fn queue_within(
        &self,
        bounds: &Bounds,
        message: M,
        until: Option<Deadline>,
        expires: Option<Deadline>,
    ) -> Result<Pushed, M> {
        let entry = Entry::message(message, until, bounds.expiry(expires));
        // What comes back is the message.
        self.push_within(bounds, entry).or_else(|entry| entry.into_message().map_or(Ok(Pushed::Queued), Err))
    }

    /// There is no room: does what the mailbox does then.
    #[cold]
    fn at_the_bound(
        &self,
        bounds: &Bounds,
        mut message: M,
        until: Option<Deadline>,
        expires: Option<Deadline>,
    ) -> Result<Pushed, Refused<M>> {
        if bounds.overflow() == Overflow::DropOldest {
            return self.replace_oldest(bounds, message, until, expires);
        }
        if self.door() == Door::Closed {
            return Err(Refused::Closed(message));
        }
        if super::current() == Some(self.id()) {
            // It runs here, so there may be room that it has made in this turn.
            bounds.settle(&self.made, || self.take_credit());
            message = match self.queue_within(bounds, message, until, expires) {
                Ok(pushed) => return Ok(pushed),
                Err(message) => message,
            };
        }
        if bounds.overflow() == Overflow::DropNewest {
            quietly(|| drop(message));
            self.dead_letters(1, DeadLetterCause::Overflow);
            return Ok(Pushed::Queued);
        }
        Err(Refused::Full(message))
    }

    /// Takes the oldest message away from the reader, for this one to have its room.
    fn replace_oldest(
        &self,
        bounds: &Bounds,
        message: M,
        until: Option<Deadline>,
        expires: Option<Deadline>,
    ) -> Result<Pushed, Refused<M>> {
        let Some(mut reader) = bounds.reader() else { return Err(Refused::Full(message)) };
        // Asked again, because whoever closes it drops what is queued under this lock.
        if self.door() == Door::Closed {
            return Err(Refused::Closed(message));
        }
        bounds.settle(&self.made, || self.take_credit());
        let message = match self.queue_within(bounds, message, until, expires) {
            Ok(pushed) => return Ok(pushed),
            Err(message) => message,
        };
        let oldest = loop {
            // SAFETY: a mailbox that drops its oldest has a lock for those who take, and we have it.
            let own = match unsafe { self.pop() } {
                Pop::Item(Entry::Timer(timer)) => Own::Timer(timer),
                Pop::Item(Entry::Info(info)) => Own::Info(info),
                Pop::Item(oldest) => break Some(oldest),
                // All the room is for messages that are about to be queued.
                Pop::Empty | Pop::Busy => break None,
            };
            // What the actor itself has asked for is never dropped, and keeps its place.
            reader.push_back(own);
        };
        drop(reader);
        let pushed = match oldest {
            Some(oldest) => {
                let pushed = self.push(Entry::message(message, until, bounds.expiry(expires)));
                // It is the user's, and the cell has still to be woken.
                quietly(|| drop(oldest));
                pushed
            }
            // Then this one is the oldest.
            None => {
                quietly(|| drop(message));
                Pushed::Queued
            }
        };
        self.dead_letters(1, DeadLetterCause::Overflow);
        Ok(pushed)
    }

    /// Queues a message that is of no use after `expires`, waiting for room; gives it back where none is taken.
    pub(crate) async fn send_perishable(
        &self,
        message: M,
        expires: Option<Deadline>,
    ) -> Result<(), Refused<M>> {
        match self.admit(message, None, expires) {
            Ok(pushed) => {
                self.wake_if(pushed);
                Ok(())
            }
            Err(Refused::Full(message)) => self.wait_for_room(message, None, expires, None).await,
            Err(refused) => Err(refused),
        }
    }

    /// Queues a message, waiting for room, for a caller who is going to wait for the answer: where the actor rests, it may
    /// handle the message here and now.
    pub(crate) async fn ask(&self, message: M, until: Option<Deadline>) -> Result<(), Refused<M>> {
        self.let_others_go_on();
        match self.admit(message, until, None) {
            Ok(Pushed::Asleep) => {
                self.signal_and_visit();
                Ok(())
            }
            Ok(Pushed::Queued | Pushed::Crowded) => Ok(()),
            Err(Refused::Full(message)) => self.wait_for_room(message, until, None, None).await,
            Err(refused) => Err(refused),
        }
    }

    /// Waits for room, until `give_up` at most, and queues the message then. In memory of its own: what those carry who find
    /// room at once, each time, is then next to nothing.
    #[cold]
    pub(crate) fn wait_for_room(
        &self,
        message: M,
        until: Option<Deadline>,
        expires: Option<Deadline>,
        give_up: Option<Deadline>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Refused<M>>> + Send + '_>> {
        Box::pin(self.wait(message, until, expires, give_up))
    }

    async fn wait(
        &self,
        mut message: M,
        until: Option<Deadline>,
        expires: Option<Deadline>,
        give_up: Option<Deadline>,
    ) -> Result<(), Refused<M>> {
        let Some(bounds) = self.bounds.as_ref().filter(|bounds| bounds.overflow() == Overflow::Wait) else {
            return Err(Refused::Full(message));
        };
        // Who keeps finding room without ever sleeping would keep its thread from all others.
        coop::consume_budget().await;
        if self.sees_room(bounds) {
            message = match self.queue_within(bounds, message, until, expires) {
                Ok(pushed) => {
                    self.wake_if(pushed);
                    return Ok(());
                }
                Err(message) => message,
            };
        }
        // Room is given out in order; the door may have closed meanwhile.
        let room = pin!(bounds.wait(|| self.take_credit()));
        match timer::until(self.timers(), give_up, room).await {
            Ok(true) => {}
            Ok(false) => return Err(Refused::Closed(message)),
            Err(_) => return Err(Refused::Full(message)),
        }
        if self.door() != Door::Open {
            bounds.give(1);
            return Err(Refused::Closed(message));
        }
        self.wake_if(self.push(Entry::message(message, until, bounds.expiry(expires))));
        Ok(())
    }

    fn wake_if(&self, pushed: Pushed) {
        if pushed == Pushed::Asleep {
            self.signal(0);
        }
    }

    /// Whether the actor, which is at work on another thread, makes room before it would pay to sleep.
    fn sees_room(&self, bounds: &Bounds) -> bool {
        let elsewhere = |scheduler: &Scheduler| scheduler.threads() > 1 && scheduler.runs(self.id());
        if super::current() == Some(self.id())
            || !self.system().is_some_and(|system| elsewhere(system.scheduler()))
        {
            return false;
        }
        for _ in 0..LOOKS_FOR_ROOM {
            spin(BETWEEN_LOOKS, || false);
            if self.may_have_room(bounds) {
                return true;
            }
            if bounds.has_line() {
                break;
            }
        }
        false
    }

    /// Queues a message before all others; gives it back where none is taken.
    pub(crate) fn urge(&self, message: M) -> Result<(), M> {
        self.push_urgent(message)?;
        self.signal(0);
        Ok(())
    }
}

impl AnyCell {
    /// Queues what the runtime has to say, whatever the bound.
    pub(crate) fn inform(&self, info: Info) {
        self.tell(Own::Info(Box::new(info)));
    }

    /// Queues that a timer is due, whatever the bound.
    pub(crate) fn timer_due(&self, timer: TimerRef) {
        self.tell(Own::Timer(timer));
    }

    fn tell(&self, own: Own) {
        if self.door() != Door::Closed && self.push_own(own) {
            self.signal(0);
        }
    }

    /// Stops the actor after the message in hand.
    pub(crate) fn stop(&self, reason: ExitReason) {
        self.order(reason, STOP, ExitReason::Shutdown);
    }

    /// Stops the actor when it has handled what is queued. Refuses messages from now on.
    pub(crate) fn drain(&self) {
        let cold = self.cold();
        if self.door() == Door::Open {
            self.set_door(Door::Draining);
        }
        // As an order, it is for the incarnation that runs.
        if !cold.as_ref().is_some_and(|cold| cold.is_vacant()) {
            self.state.set(DRAIN);
        }
        drop(cold);
        self.signal(0);
    }

    /// Ends the actor at its next `.await`.
    pub(crate) fn kill(&self) {
        self.end_with(ExitReason::Killed);
    }

    /// Ends the actor at its next `.await`, for this reason.
    pub(crate) fn end_with(&self, reason: ExitReason) {
        self.order(reason, KILL, ExitReason::Killed);
    }

    fn order(&self, reason: ExitReason, bit: u32, plain: ExitReason) {
        // What is replaced may be the last of an error, whose drop is not ours to run under the lock.
        let replaced;
        let mut cold = self.cold();
        // INVARIANT: orders of a mailbox that outlives its incarnations are set under the lock under which it becomes
        // vacant. So none is left to an incarnation that it was not meant for.
        if self.door() == Door::Closed || cold.as_ref().is_some_and(|cold| cold.is_vacant()) {
            return;
        }
        // The first order stands, unless a stronger one follows.
        if self.state.load() & (bit | KILL) == 0 {
            // The common reasons cost no memory.
            let is_plain = std::mem::discriminant(&reason) == std::mem::discriminant(&plain);
            let is_normal = matches!(reason, ExitReason::Normal);
            replaced = if is_plain || is_normal {
                cold.as_mut().and_then(|cold| cold.order.take())
            } else {
                cold.get_or_insert_default().order.replace(reason)
            };
            self.state.replace(NORMAL, if is_normal { bit | NORMAL } else { bit });
            drop(cold);
            self.signal(0);
            // What it drops is anybody's.
            quietly(|| drop(replaced));
        }
    }

    /// Takes an exit signal, as OTP's `exit/2` and, `linked`, its links send them.
    pub(crate) fn exit_signal(&self, from: Option<ActorId>, reason: &ExitReason, linked: bool) {
        // It may be the last of another cell, with its messages: not to be dropped under the lock.
        let link;
        let mut cold = self.cold();
        if linked {
            link = from.and_then(|from| cold.as_mut()?.links.remove(&from));
            // Taken back meanwhile, or an earlier incarnation's.
            if link.is_none() {
                return;
            }
        }
        if self.door() == Door::Closed || cold.as_ref().is_some_and(|cold| cold.is_vacant()) {
            return;
        }
        if self.state.load() & TRAP != 0 {
            let exit = cold.get_or_insert_default().exits.make(from, reason, linked);
            drop(cold);
            return self.inform(Info::Exit(exit));
        }
        drop(cold);
        // As in OTP: what is normal ends nobody but the one who says it of itself.
        if !matches!(reason, ExitReason::Normal) || (!linked && from == Some(self.id())) {
            self.end_with(reason.clone());
        }
    }

    pub(crate) fn trap_exit(&self, trap: bool) {
        if trap { self.state.set(TRAP) } else { self.state.clear(TRAP) }
    }

    /// Whether it is to stop after what it has in hand.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.state.load() & (STOP | KILL) != 0
    }

    /// Whether it is to stop, at the latest when it has handled what is queued.
    pub(crate) fn is_draining(&self) -> bool {
        self.state.load() & (STOP | DRAIN | KILL) != 0
    }

    /// Has it handle nothing from now on, or go on.
    pub(crate) fn suspend(&self, on: bool) {
        if on {
            self.state.set(SUSPEND);
        } else {
            self.state.clear(SUSPEND);
            self.wake();
        }
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.state.load() & TRACE != 0
    }

    pub(crate) fn trace(&self, on: bool) {
        if on { self.state.set(TRACE) } else { self.state.clear(TRACE) }
    }
}
