//! The life of an actor: the future in its cell.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use super::core::{AnyCell, CellRef, Core};
use super::queue::Pop;
use super::run::{NEVER, UNKNOWN, spin};
use super::state::{ASIDE, DRAIN, KILL, LANE, ORDERS, STOP, SUSPEND, TRACE, VISITED};
use super::sync::Ordering;
use super::{Cold, Door, Entry, Notify, Outcome, Perishable, Stage, TURN};
use crate::actor::{Actor, Context, Info, Init};
use crate::actor_ref::{ActorId, ActorRef};
use crate::exit::{ExitReason, quietly};
use crate::mailbox::{Bounds, Mailbox, MailboxInUse};
use crate::observe::{DeadLetterCause, EventKind, Input};
use crate::stash::Early;
use crate::system::System;
use crate::timer::{Ring, TimerRef};

/// A turn with no more than so much left of its budget has met a flood.
const FLOODED: u8 = TURN - 16;

/// How long a reader leaves the queue to its senders.
const LONGEST_WAIT: Duration = Duration::from_micros(2);

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
        live(actor(ActorRef::new(cell.clone())), Context::new(lent))
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
    // What was said to nobody, or to the one before, is not meant for this one.
    cell.state.clear(ORDERS);
    let order = known.order.take();
    drop(cold);
    quietly(|| drop(order));
    cell.join(system.inner());
    cell.set_pace::<A>();
    // SAFETY: only `Mailbox::new` makes the cells of mailboxes, vacant; and we have just taken this one. What is lent
    // becomes part of its body.
    unsafe { cell.install(Box::pin(live(actor, Context::new(cell.lend())))) };
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
            let Some(next) = Following(&mut cx).await else { break cx.cell().stopped_by() };
            match step(&mut actor, &mut cx, next).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => break reason,
                // It says no good-bye. Should it panic once more where it is dropped, the first panic is the reason.
                Err(panic) => {
                    let reason = ExitReason::from_panic(panic);
                    drop(cx);
                    quietly(|| drop(actor));
                    return reason;
                }
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
}

/// Begins to handle what is next. No `async` block, which would keep a copy of all that passes through it.
fn step<'a, A: Actor>(
    actor: &'a mut A,
    cx: &'a mut Context<A>,
    next: Next<A::Msg>,
) -> Step<impl Future<Output = Result<(), ExitReason>> + 'a, impl Future<Output = Result<(), ExitReason>> + 'a>
{
    let rings = matches!(next, Next::Timer(_));
    let (message, info) = match next {
        Next::Message(message) => (Some(message), None),
        Next::Timer(timer) => match cx.take_timer(timer) {
            Some(Ring::Message(message)) => (Some(message), None),
            Some(Ring::Silence) => {
                cx.trace(|| Input::Timeout);
                return Step::Info(actor.handle_info(Info::Timeout, cx));
            }
            None => (None, None),
        },
        Next::Info(info) => (None, cx.take_info(*info)),
    };
    match (message, info) {
        (Some(message), _) => {
            cx.stir(|| if rings { Input::Timer } else { Input::Message });
            Step::Message(actor.handle(message, cx))
        }
        (None, Some(info)) => {
            cx.stir(|| Input::of(&info));
            Step::Info(actor.handle_info(info, cx))
        }
        (None, None) => Step::Nothing,
    }
}

/// Either of the two ways to handle something. A panic is caught here already, right where it begins: each function
/// more that it goes through costs as much as many messages, and the actor would be dropped on the way, where one more
/// panic ends the process.
enum Step<H, I> {
    Message(H),
    Info(I),
    Nothing,
}

impl<H, I> Future for Step<H, I>
where
    H: Future<Output = Result<(), ExitReason>>,
    I: Future<Output = Result<(), ExitReason>>,
{
    type Output = std::thread::Result<Result<(), ExitReason>>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        // What is returned through `catch_unwind` would be moved once more.
        let mut polled = Poll::Pending;
        // SAFETY: what is inside is never moved while it is pinned, and there is no `Drop` that could.
        let poll = || unsafe {
            polled = match self.get_unchecked_mut() {
                Self::Message(handle) => Pin::new_unchecked(handle).poll(task),
                Self::Info(handle) => Pin::new_unchecked(handle).poll(task),
                Self::Nothing => Poll::Ready(Ok(())),
            };
        };
        // What has panicked is not polled again, only dropped.
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(()) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Waits for what is next; `None` where the actor is to stop. Only the body of a cell does.
///
/// No `poll_fn`: that is not inlined, and what it returns would be moved once more.
struct Following<'a, A: Actor>(&'a mut Context<A>);

impl<A: Actor> Future for Following<'_, A> {
    type Output = Option<Next<A::Msg>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Self::Output> {
        let cx = &mut *self.0;
        let cell = cx.cell();
        // Nobody waits for what comes next, unless it says so.
        let was_called = cell.until.take().is_some();
        let state = cell.state.load();
        if state & (STOP | KILL | SUSPEND | ASIDE | TRACE) != 0
            && let Some(now) = out_of_turn(cx, state)
        {
            return now;
        }
        let cell = cx.cell();
        let Some(budget) = cell.budget.get().checked_sub(1) else {
            // It goes to the end of the run queue, where others wait.
            cell.state.again();
            return Poll::Pending;
        };
        cell.budget.set(budget);
        if state & LANE != 0
            && let Some(message) = cx.take_urgent()
        {
            cx.cell().state.set(ASIDE);
            return Poll::Ready(Some(Next::Message(message)));
        }
        if let Some(early) = cx.take_front() {
            cx.cell().state.set(ASIDE);
            return Poll::Ready(Some(match early {
                Early::Message(message) => Next::Message(message),
                Early::Continue => Next::Info(Box::new(Info::Continue)),
            }));
        }
        let cell = cx.cell();
        if !was_called && budget < FLOODED && state & VISITED == 0 {
            cell.let_senders_go_on();
        }
        match cell.take() {
            Pop::Item(Entry::Message(message, until)) => {
                cell.until.set(until);
                Poll::Ready(Some(Next::Message(message)))
            }
            Pop::Item(Entry::Perishable(fresh)) => {
                let Perishable { message, until, .. } = *fresh;
                cell.until.set(until);
                Poll::Ready(Some(Next::Message(message)))
            }
            Pop::Item(Entry::Timer(timer)) => Poll::Ready(Some(Next::Timer(timer))),
            Pop::Item(Entry::Info(info)) => Poll::Ready(Some(Next::Info(info))),
            Pop::Empty if state & DRAIN != 0 => Poll::Ready(None),
            Pop::Empty => {
                cx.rest();
                Poll::Pending
            }
            Pop::Busy => {
                // The sender has to run to finish its push.
                cell.state.again();
                Poll::Pending
            }
        }
    }
}

/// What keeps it from what is next; and the end of what was traced.
#[cold]
fn out_of_turn<A: Actor>(cx: &mut Context<A>, state: u32) -> Option<Poll<Option<Next<A::Msg>>>> {
    if state & TRACE != 0 {
        cx.trace_next();
    }
    let cell = cx.cell();
    if state & ASIDE != 0 {
        cell.state.clear(ASIDE);
    }
    if state & (STOP | KILL) != 0 {
        // Who is to end where it stands ends when its turn does.
        return Some(if state & KILL != 0 { Poll::Pending } else { Poll::Ready(None) });
    }
    (state & SUSPEND != 0 && state & DRAIN == 0).then_some(Poll::Pending)
}

impl<M: Send + 'static> CellRef<M> {
    /// Takes the oldest entry that has not expired, for the body of this cell.
    #[inline(always)]
    fn take(&self) -> Pop<Entry<M>> {
        let mut expired = 0;
        let taken = loop {
            match self.take_any() {
                Pop::Item(Entry::Perishable(message)) if message.expires.has_passed() => {
                    expired += 1;
                    // Code of the message's own runs here, and it is not this actor's.
                    quietly(|| drop(message));
                }
                taken => break taken,
            }
            // Others have their turn after as many as if they had been handled.
            match self.budget.get().checked_sub(1) {
                Some(budget) => self.budget.set(budget),
                None => break Pop::Busy,
            }
        };
        if expired > 0 {
            self.dead_letters(expired, DeadLetterCause::Expired);
        }
        taken
    }

    /// In the middle of a flood, for the body of this cell: leaves the queue alone for a while where there is nothing
    /// more to take. Where sender and reader run side by side, most of their time would else go into moving its memory
    /// from processor to processor, message by message, and into putting the reader to sleep and waking it.
    fn let_senders_go_on(&self) {
        // SAFETY: as in `take_any`.
        let is_empty = !self.made.is_shared && !unsafe { self.has_next() };
        if is_empty && self.system().is_some_and(|system| system.scheduler().may_idle()) {
            spin(LONGEST_WAIT, || false);
        }
    }

    #[inline(always)]
    fn take_any(&self) -> Pop<Entry<M>> {
        if self.made.is_shared {
            return self.take_shared();
        }
        // SAFETY: a body is only polled by who holds `SCHEDULED`, and nobody else takes.
        let popped = unsafe { self.pop() };
        if self.made.is_bounded() {
            self.make_room(&popped);
        }
        popped
    }

    /// As [`take_any`](Self::take_any), where senders take as well.
    fn take_shared(&self) -> Pop<Entry<M>> {
        let mut reader = self.bounds.as_ref().and_then(|bounds| bounds.reader());
        if let Some(own) = reader.as_mut().and_then(|passed| passed.pop_front()) {
            // Its queue may be asleep meanwhile.
            self.state.set(ASIDE);
            return Pop::Item(own.into());
        }
        // SAFETY: as in `take_any`; and we have the lock of those who take.
        let popped = unsafe { self.pop() };
        self.make_room(&popped);
        popped
    }

    /// Accounts for what was taken.
    fn make_room(&self, popped: &Pop<Entry<M>>) {
        let settles = match popped {
            Pop::Item(entry) => entry.is_message() && self.made.one(),
            Pop::Empty | Pop::Busy => true,
        };
        if settles && let Some(bounds) = &self.bounds {
            bounds.settle(&self.made, || self.take_credit());
        }
    }
}

impl Core {
    /// Nothing is known of how quick it is, but for what is known of those before it on its mailbox; and there may be no need
    /// to know.
    fn set_pace<A: Actor>(&self) {
        let pace = match self.pace.load(Ordering::Relaxed) {
            _ if !A::RUNS_ON_CALLERS => NEVER,
            NEVER => UNKNOWN,
            known => known,
        };
        self.pace.store(pace, Ordering::Relaxed);
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
        self.ordered().unwrap_or(ExitReason::Shutdown)
    }
}

impl AnyCell {
    /// Leaves the mailbox to the next incarnation; nothing of the runner's is touched afterwards. False where its last
    /// owner has left meanwhile, trusting that there was an incarnation to close it: then it is the caller's to do.
    pub(super) fn vacate(&self) -> bool {
        let mut cold = self.cold();
        // Under the lock, under which they are given.
        self.state.clear(ORDERS | VISITED);
        let Some(cold) = cold.as_mut() else { return true };
        cold.taken = false;
        cold.owners > 0
    }
}
