//! The life of an actor: the future in its cell.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use super::core::{AnyCell, CellRef, Core};
use super::queue::Pop;
use super::state::{ASIDE, DRAIN, LANE, STOP, SUSPEND, TRACE};
use super::{Cold, Door, Entry, Notify, Outcome, Perishable, Stage};
use crate::actor::{Actor, Context, Info, Init};
use crate::actor_ref::{ActorId, ActorRef};
use crate::exit::ExitReason;
use crate::mailbox::{Bounds, Mailbox, MailboxInUse};
use crate::observe::{DeadLetterCause, EventKind, Input};
use crate::stash::Early;
use crate::system::System;
use crate::timer::{Ring, TimerRef};

/// Starts an actor in a cell of its own.
pub(crate) fn spawn<A: Actor>(
    system: &System,
    bounds: Option<Box<Bounds>>,
    cold: Option<Box<Cold>>,
    actor: A,
) -> CellRef<A::Msg> {
    spawn_by(system, bounds, |_| cold, |_| actor)
}

/// Starts an actor in a cell of its own, where its cold part or its state knows who it is.
pub(crate) fn spawn_by<A: Actor>(
    system: &System,
    bounds: Option<Box<Bounds>>,
    cold: impl FnOnce(ActorId) -> Option<Box<Cold>>,
    actor: impl FnOnce(ActorRef<A::Msg>) -> A,
) -> CellRef<A::Msg> {
    CellRef::spawn(system.inner(), bounds, cold, |cell, lent| {
        live(actor(ActorRef::new(cell.clone())), Context::new(lent, system.clone()))
    })
}

/// Starts an actor on a mailbox that outlives it.
///
/// # Errors
///
/// Another incarnation reads it.
pub(crate) fn spawn_on<A: Actor>(
    system: &System,
    mailbox: &Mailbox<A::Msg>,
    path: Option<Arc<str>>,
    notify: Option<Notify>,
    actor: A,
) -> Result<(), MailboxInUse> {
    let cell = mailbox.cell();
    let mut cold = cell.cold();
    let known = cold.as_mut().filter(|cold| !cold.taken).ok_or(MailboxInUse)?;
    known.taken = true;
    known.owners += 1;
    known.path = path;
    known.notify = notify;
    if cell.door() == Door::Draining {
        cell.set_door(Door::Open);
    }
    drop(cold);
    cell.join(system.inner());
    // SAFETY: only `Mailbox::new` makes the cells of mailboxes, vacant; and we have just taken this one. What is lent
    // becomes part of its body.
    unsafe { cell.install(Box::pin(live(actor, Context::new(cell.lend(), system.clone())))) };
    Ok(())
}

/// Makes an actor; a panic on the way is its reason not to start.
pub(crate) fn make<A>(make: impl FnOnce() -> A) -> Result<A, ExitReason> {
    catch_unwind(AssertUnwindSafe(make)).map_err(ExitReason::from_panic)
}

/// The whole life of an actor; what it returns is why it ended.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has a copy of its arguments beside its arguments")]
fn live<A: Actor>(mut actor: A, mut cx: Context<A>) -> impl Future<Output = ExitReason> + Send + 'static {
    async move {
        match actor.init(&mut cx).await {
            Ok(Init::Ready) => cx.cell().up(),
            Ok(Init::Ignore) => {
                cx.cell().stage.set(Stage::Ignored);
                return ExitReason::Normal;
            }
            Err(reason) => return reason,
        }
        let reason = loop {
            let done = match next(&mut cx).await {
                Next::Message(message) => {
                    cx.stir(|| Input::Message);
                    actor.handle(message, &mut cx).await
                }
                Next::Timer(timer) => match cx.take_timer(timer) {
                    Some(Ring::Message(message)) => {
                        cx.stir(|| Input::Timer);
                        actor.handle(message, &mut cx).await
                    }
                    Some(Ring::Silence) => {
                        cx.trace(|| Input::Timeout);
                        actor.handle_info(Info::Timeout, &mut cx).await
                    }
                    None => Ok(()),
                },
                Next::Info(info) => match cx.take_info(*info) {
                    Some(info) => actor.handle_info(info, &mut cx).await,
                    None => Ok(()),
                },
                Next::Stop => break cx.cell().stopped_by(),
            };
            if let Err(reason) = done {
                break reason;
            }
        };
        cx.trace_done();
        cx.cell().stage.set(Stage::Ending);
        actor.terminate(&reason, &mut cx).await;
        reason
    }
}

/// What an actor does next.
enum Next<M> {
    Message(M),
    Timer(TimerRef),
    Info(Box<Info>),
    Stop,
}

/// Waits for what is next. Only the body of a cell calls it.
fn next<A: Actor>(cx: &mut Context<A>) -> impl Future<Output = Next<A::Msg>> + '_ {
    poll_fn(|_| {
        let state = cx.cell().state.load();
        if state & (STOP | LANE | SUSPEND | ASIDE | TRACE) != 0
            && let Some(now) = out_of_turn(cx, state)
        {
            return now;
        }
        let cell = cx.cell();
        let Some(budget) = cell.budget.get().checked_sub(1) else {
            // It goes to the end of the run queue.
            cell.signal(0);
            return Poll::Pending;
        };
        cell.budget.set(budget);
        if let Some(early) = cx.take_front() {
            cx.cell().state.set(ASIDE);
            return Poll::Ready(match early {
                Early::Message(message) => Next::Message(message),
                Early::Continue => Next::Info(Box::new(Info::Continue)),
            });
        }
        let cell = cx.cell();
        match cell.take() {
            Pop::Item(Entry::Message(message, until)) => {
                cell.until.set(until);
                Poll::Ready(Next::Message(message))
            }
            Pop::Item(Entry::Perishable(fresh)) => {
                let Perishable { message, until, .. } = *fresh;
                cell.until.set(until);
                Poll::Ready(Next::Message(message))
            }
            Pop::Item(Entry::Timer(timer)) => Poll::Ready(Next::Timer(timer)),
            Pop::Item(Entry::Info(info)) => Poll::Ready(Next::Info(info)),
            Pop::Empty if state & DRAIN != 0 => Poll::Ready(Next::Stop),
            Pop::Empty => {
                cx.rest();
                Poll::Pending
            }
            Pop::Busy => {
                // The sender has to run to finish its push.
                cell.signal(0);
                Poll::Pending
            }
        }
    })
}

/// What comes before the queue, or instead of it; and the end of what was traced.
#[cold]
fn out_of_turn<A: Actor>(cx: &mut Context<A>, state: u32) -> Option<Poll<Next<A::Msg>>> {
    if state & TRACE != 0 {
        cx.trace_next();
    }
    let cell = cx.cell();
    if state & ASIDE != 0 {
        cell.state.clear(ASIDE);
    }
    if state & STOP != 0 {
        return Some(Poll::Ready(Next::Stop));
    }
    if state & SUSPEND != 0 && state & DRAIN == 0 {
        return Some(Poll::Pending);
    }
    let message = if state & LANE != 0 { cell.pop_urgent()? } else { return None };
    cell.state.set(ASIDE);
    cell.until.set(None);
    Some(Poll::Ready(Next::Message(message)))
}

impl<M: Send + 'static> CellRef<M> {
    /// Takes the oldest entry that has not expired, for the body of this cell.
    fn take(&self) -> Pop<Entry<M>> {
        let mut expired = 0;
        let taken = loop {
            match self.take_any() {
                Pop::Item(Entry::Perishable(message)) if message.expires.has_passed() => {
                    expired += 1;
                    // Code of the message's own runs here, and it is not this actor's.
                    drop(catch_unwind(AssertUnwindSafe(|| drop(message))));
                }
                taken => break taken,
            }
            // Others have their turn after as many as if they had been handled.
            match self.budget.get().checked_sub(1) {
                Some(budget) => self.budget.set(budget),
                None => break Pop::Busy,
            }
        };
        self.dead_letters(expired, DeadLetterCause::Expired);
        taken
    }

    fn take_any(&self) -> Pop<Entry<M>> {
        let Some(bounds) = &self.bounds else {
            // SAFETY: a body is only polled by who holds `RUNNING`, and without a bound nobody else takes.
            return unsafe { self.pop() };
        };
        let reader = bounds.reader();
        // SAFETY: as above; and where the bound lets senders take as well, we have its lock.
        let popped = unsafe { self.pop() };
        drop(reader);
        match &popped {
            Pop::Item(entry) if entry.is_message() => bounds.taken(),
            Pop::Item(_) => {}
            Pop::Empty | Pop::Busy => bounds.settle(),
        }
        popped
    }
}

impl Core {
    fn up(&self) {
        self.stage.set(Stage::Up);
        self.report(|| EventKind::Started);
        let notify = self.cold().as_mut().and_then(|cold| cold.notify.take());
        let Some(mut notify) = notify else { return };
        notify(Outcome::Up);
        if let Some(cold) = self.cold().as_mut() {
            cold.notify = Some(notify);
        }
    }

    /// Why an actor stops that was told to.
    fn stopped_by(&self) -> ExitReason {
        let order = self.cold().as_mut().and_then(|cold| cold.order.take());
        order.unwrap_or(ExitReason::Shutdown)
    }
}

impl AnyCell {
    /// Leaves the mailbox to the next incarnation. Nothing of the runner's is touched afterwards.
    pub(super) fn vacate(&self) {
        if let Some(cold) = self.cold().as_mut() {
            cold.taken = false;
        }
    }
}
