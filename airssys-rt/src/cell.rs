//! One incarnation of an actor, from its birth to the news of its death.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::actor::{Actor, Context, Info, Init};
use crate::exit::ExitReason;
use crate::mailbox::{Entry, Mailbox, Receiver, Shared};
use crate::observe::{EventKind, Reporter};
use crate::system::System;

/// How many messages an actor handles before it lets others run on its thread: as many as a tokio task gets from
/// tokio's own channels.
const TURN: u32 = 128;

/// What becomes of an incarnation, for its supervisor: `Up` and later `Exited`, or only one of the others.
pub(crate) enum Outcome {
    Up,
    Ignored,
    InitFailed(ExitReason),
    Exited(ExitReason),
}

/// Takes the outcomes of one incarnation.
pub(crate) type Notify = Box<dyn FnMut(Outcome) + Send>;

/// What an incarnation is born with.
pub(crate) struct Birth<M> {
    pub(crate) system: System,
    pub(crate) reporter: Reporter,
    pub(crate) mailbox: Mailbox<M>,
    pub(crate) receiver: Receiver<M>,
    pub(crate) notify: Option<Notify>,
}

/// Starts an incarnation on a task of its own. `make` runs there too, so that its panic is a failed start.
pub(crate) fn spawn<A: Actor>(
    birth: Birth<A::Msg>,
    make: impl FnOnce() -> A + Send + 'static,
) -> Arc<Control> {
    let Birth { system, reporter, mailbox, receiver, notify } = birth;
    let control = Arc::new(Control::default());
    mailbox.shared().begin(&reporter);
    let shared = Arc::clone(mailbox.shared());
    let cx = Context::new(shared, system.clone(), reporter.clone(), Arc::clone(&control));
    let will = Will {
        mailbox: Some(mailbox),
        reporter,
        control: Arc::clone(&control),
        notify,
        stage: Stage::Starting,
        reason: ExitReason::Killed,
    };
    let body = Body { receiver, cx, will };
    system.runtime().spawn(run(body, make));
    control
}

/// What belongs to an incarnation beside its actor, in the order in which it goes.
struct Body<A: Actor> {
    receiver: Receiver<A::Msg>,
    cx: Context<A>,
    will: Will<A::Msg>,
}

/// The task of an incarnation. Nothing is moved inside: that would be a second copy of everything in the task.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has a copy of its arguments beside its arguments")]
fn run<A: Actor>(
    mut body: Body<A>,
    make: impl FnOnce() -> A + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    async move {
        // As a whole, lest its parts are captured, and dropped, one by one.
        let Body { receiver, cx, will } = &mut body;
        let control = Arc::clone(&will.control);
        let reason = contain(pin!(Some(live(make, cx, receiver, &control, will))), &control).await;
        will.reason = reason;
    }
}

/// The whole life of an actor; what it returns is why it ended.
async fn live<A: Actor>(
    make: impl FnOnce() -> A,
    cx: &mut Context<A>,
    receiver: &mut Receiver<A::Msg>,
    control: &Control,
    will: &mut Will<A::Msg>,
) -> ExitReason {
    let mut actor = make();
    match actor.init(cx).await {
        Ok(Init::Ready) => will.up(),
        Ok(Init::Ignore) => {
            will.stage = Stage::Ignored;
            return ExitReason::Normal;
        }
        Err(reason) => return reason,
    }
    let reason = match serve(&mut actor, cx, receiver, control).await {
        Ok(()) => ExitReason::Shutdown,
        Err(reason) => reason,
    };
    actor.terminate(&reason, cx).await;
    reason
}

/// Handles messages until the actor is told to stop (`Ok`) or ends itself.
async fn serve<A: Actor>(
    actor: &mut A,
    cx: &mut Context<A>,
    receiver: &mut Receiver<A::Msg>,
    control: &Control,
) -> Result<(), ExitReason> {
    let mut turn = 0;
    loop {
        let next = poll_fn(|task| {
            if control.signal() >= STOP {
                return Poll::Ready(None);
            }
            if turn == TURN {
                turn = 0;
                // To the end of the queue of tasks. (tokio's `yield_now` asks the driver for events as well.)
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            let next = match cx.take_front() {
                Some(entry) => Poll::Ready(Some(entry)),
                None => receiver.poll_next(task.waker()),
            };
            turn = if next.is_ready() { turn + 1 } else { 0 };
            next
        });
        match next.await {
            Some(Entry::Message(message)) => actor.handle(message, cx).await?,
            Some(Entry::Timer(timer)) => {
                if let Some(message) = cx.take_timer(timer) {
                    actor.handle(message, cx).await?;
                }
            }
            Some(Entry::Down(down)) => {
                if cx.take_monitor(down.monitor) {
                    actor.handle_info(Info::Down(*down), cx).await?;
                }
            }
            Some(Entry::Continue) => actor.handle_info(Info::Continue, cx).await?,
            None => return Ok(()),
        }
    }
}

/// Runs a life so that neither its panics nor a kill go further than its own end.
async fn contain(
    mut life: Pin<&mut Option<impl Future<Output = ExitReason>>>,
    control: &Control,
) -> ExitReason {
    let mut known: Option<Waker> = None;
    let reason = poll_fn(|task| {
        if !known.as_ref().is_some_and(|known| known.will_wake(task.waker())) {
            control.wake_with(task.waker());
            known = Some(task.waker().clone());
        }
        if control.signal() == KILL {
            return Poll::Ready(ExitReason::Killed);
        }
        let Some(life) = life.as_mut().as_pin_mut() else {
            return Poll::Ready(ExitReason::Killed);
        };
        // A life that has panicked is not looked at again, only dropped.
        catch_unwind(AssertUnwindSafe(|| life.poll(task)))
            .unwrap_or_else(|panic| Poll::Ready(ExitReason::from_panic(panic)))
    })
    .await;
    // Drops the actor, which is its code once more.
    match catch_unwind(AssertUnwindSafe(|| life.set(None))) {
        Ok(()) => reason,
        Err(panic) => ExitReason::from_panic(panic),
    }
}

/// What remains to be done when the incarnation has ended. Its drop does it: so it is done even where the tokio
/// runtime shuts down and drops the task.
struct Will<M: Send + 'static> {
    mailbox: Option<Mailbox<M>>,
    reporter: Reporter,
    control: Arc<Control>,
    notify: Option<Notify>,
    stage: Stage,
    reason: ExitReason,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Up,
    Ignored,
}

impl<M: Send + 'static> Will<M> {
    fn up(&mut self) {
        self.stage = Stage::Up;
        self.reporter.tell(EventKind::Started);
        self.notify(Outcome::Up);
    }

    fn notify(&mut self, outcome: Outcome) {
        if let Some(notify) = &mut self.notify {
            notify(outcome);
        }
    }
}

impl<M: Send + 'static> Drop for Will<M> {
    fn drop(&mut self) {
        let reason = self.reason.clone();
        let Some(mailbox) = self.mailbox.take() else { return };
        let shared = Arc::clone(mailbox.shared());
        let watchers = shared.end(&reason);
        // Closes the mailbox where nobody else owns it, and then drops messages, whose code may panic.
        drop(catch_unwind(AssertUnwindSafe(|| drop(mailbox))));
        watchers.into_iter().for_each(|watcher| watcher.tell(shared.id(), &reason));

        let stopped = self.control.signal() > RUN && matches!(reason, ExitReason::Shutdown);
        let (event, outcome) = match self.stage {
            Stage::Starting => {
                (EventKind::InitFailed { reason: reason.clone() }, Outcome::InitFailed(reason))
            }
            Stage::Ignored => (EventKind::Ignored, Outcome::Ignored),
            Stage::Up if stopped => (EventKind::Stopped, Outcome::Exited(reason)),
            Stage::Up => (EventKind::Exited { reason: reason.clone() }, Outcome::Exited(reason)),
        };
        self.reporter.tell(event);
        self.notify(outcome);
    }
}

const RUN: u8 = 0;
/// Handle what is queued, then stop. It is the mailbox that comes to an end; this only says that it was asked for.
const DRAIN: u8 = 1;
/// Stop after the message in hand.
const STOP: u8 = 2;
/// Stop where it is.
const KILL: u8 = 3;

/// The system lane of one incarnation: what it is told past its mailbox.
#[derive(Default)]
pub(crate) struct Control {
    /// The strongest signal so far.
    signal: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Control {
    fn signal(&self) -> u8 {
        self.signal.load(Ordering::Acquire)
    }

    /// Whether it is told to stop without handling more. The actor's task is woken when that changes.
    pub(crate) fn is_stopping(&self) -> bool {
        self.signal() >= STOP
    }

    fn wake_with(&self, waker: &Waker) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    fn raise(&self, signal: u8) {
        self.signal.fetch_max(signal, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Stops the actor after the message in hand.
    pub(crate) fn stop(&self) {
        self.raise(STOP);
    }

    /// Stops the actor when it has handled what is queued.
    pub(crate) fn drain<M>(&self, mailbox: &Shared<M>) {
        self.raise(DRAIN);
        mailbox.drain();
    }

    /// Ends the actor at its next `.await`.
    pub(crate) fn kill(&self) {
        self.raise(KILL);
    }
}
