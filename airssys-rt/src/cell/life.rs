//! The life of an actor: the future in its cell.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use super::core::{AnyCell, CellRef, Core};
use super::queue::Pop;
use super::run::{NEVER, UNKNOWN};
use super::state::{DRAIN, KILL, LANE, ORDERS, STOP};
use super::{Cold, Door, Entry, Notify, Outcome, Stage};
use crate::actor::{Actor, Context, Info, Init};
use crate::actor_ref::{ActorId, ActorRef};
use crate::exit::ExitReason;
use crate::mailbox::{Bounds, Mailbox, MailboxInUse};
use crate::observe::EventKind;
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
        cell.set_pace::<A>();
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
    cell.set_pace::<A>();
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
                    cx.stir();
                    actor.handle(message, &mut cx).await
                }
                Next::Timer(timer) => match cx.take_timer(timer) {
                    Some(Ring::Message(message)) => {
                        cx.stir();
                        actor.handle(message, &mut cx).await
                    }
                    Some(Ring::Silence) => actor.handle_info(Info::Timeout, &mut cx).await,
                    None => Ok(()),
                },
                Next::Info(info) => match cx.take_info(*info) {
                    Some(info) => {
                        cx.stir();
                        actor.handle_info(info, &mut cx).await
                    }
                    None => Ok(()),
                },
                Next::Stop => break cx.cell().stopped_by(),
            };
            if let Err(reason) = done {
                break reason;
            }
        };
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
        let cell = cx.cell();
        // Nobody waits for what comes next, unless it says so.
        cell.until.set(None);
        let state = cell.state.load();
        if state & (STOP | KILL) != 0 {
            // Who is to end where it stands ends when its turn does.
            return if state & KILL != 0 { Poll::Pending } else { Poll::Ready(Next::Stop) };
        }
        let Some(budget) = cell.budget.get().checked_sub(1) else {
            // It goes to the end of the run queue.
            cell.signal(0);
            return Poll::Pending;
        };
        cell.budget.set(budget);
        if state & LANE != 0
            && let Some(message) = cx.take_urgent()
        {
            return Poll::Ready(Next::Message(message));
        }
        match cx.take_front() {
            Some(Early::Message(message)) => return Poll::Ready(Next::Message(message)),
            Some(Early::Continue) => return Poll::Ready(Next::Info(Box::new(Info::Continue))),
            None => {}
        }
        let cell = cx.cell();
        match cell.take() {
            Pop::Item(Entry::Message(message, until)) => {
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

impl<M: Send + 'static> CellRef<M> {
    /// Takes the oldest entry, for the body of this cell.
    fn take(&self) -> Pop<Entry<M>> {
        let Some(bounds) = &self.bounds else {
            // SAFETY: a body is only polled by who holds `RUNNING`, and without a bound nobody else takes.
            return unsafe { self.pop() };
        };
        let mut reader = bounds.reader();
        if let Some(own) = reader.as_mut().and_then(|passed| passed.pop_front()) {
            return Pop::Item(own.into());
        }
        // SAFETY: as above; and where the bound lets senders take as well, we have its lock.
        let popped = unsafe { self.pop() };
        match &popped {
            Pop::Item(Entry::Message(..)) => bounds.taken(),
            Pop::Item(_) => {}
            Pop::Empty | Pop::Busy => bounds.settle(),
        }
        popped
    }
}

impl Core {
    /// Nothing is known of how quick it is, and there may be no need to know.
    fn set_pace<A: Actor>(&self) {
        self.pace.store(if A::RUNS_ON_CALLERS { UNKNOWN } else { NEVER }, Ordering::Relaxed);
    }

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
        let mut cold = self.cold();
        // Under the lock, under which they are given.
        self.state.clear(ORDERS);
        if let Some(cold) = cold.as_mut() {
            cold.taken = false;
        }
    }
}
