//! What an actor is, and what it sees of its surroundings.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::Control;
use crate::exit::ExitReason;
use crate::link::{Down, MonitorRef, Monitors, Tell, Watcher};
use crate::mailbox::{Entry, Shared};
use crate::observe::Reporter;
use crate::stash::Front;
use crate::system::System;
use crate::timer::{TimerRef, Timers};

/// State with a mailbox, which handles one message at a time.
///
/// The methods are `async`; write them as `async fn`. While one waits, the actor handles nothing else and other
/// actors run. A panic in any of them ends the actor with [`ExitReason::Panic`], and nothing but the actor.
///
/// # Cancel safety
///
/// A kill drops the future of the method that runs, at the `.await` where it is. [`terminate`](Self::terminate) is
/// not called then.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    label = "not an actor",
    note = "implement `airssys_rt::Actor` for it; a `StateMachine` is run by `airssys_rt::statem::Machine`"
)]
pub trait Actor: Sized + Send + 'static {
    /// What it understands. Usually an enum; a request carries a [`Reply`](crate::Reply).
    type Msg: Send + 'static;

    /// Prepares the actor, before its first message. Its supervisor waits for it before it starts the next child.
    ///
    /// # Errors
    ///
    /// An error is a failed start: at the start of the tree it ends the supervisor, at a restart it counts as one
    /// more failure.
    fn init(&mut self, cx: &mut Context<Self>) -> impl Future<Output = Result<Init, ExitReason>> + Send {
        let _ = cx;
        ready(Ok(Init::Ready))
    }

    /// Handles one message.
    ///
    /// # Errors
    ///
    /// An error ends the actor with this reason; [`ExitReason::Normal`] is how it says that it is done.
    fn handle(
        &mut self,
        message: Self::Msg,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send;

    /// Handles what the runtime has to say. Ignores it, unless implemented.
    ///
    /// # Errors
    ///
    /// As in [`handle`](Self::handle).
    fn handle_info(
        &mut self,
        info: Info,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        let _ = (info, cx);
        ready(Ok(()))
    }

    /// Says good-bye: the last call, whatever the reason, except after a panic, a kill or a failed `init`.
    fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = (reason, cx);
        ready(())
    }
}

/// What an actor decided in [`init`](Actor::init).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// It runs.
    Ready,
    /// It has nothing to do here. That is no failure: its supervisor goes on without it.
    Ignore,
}

/// What the runtime tells an actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Info {
    /// An actor that it monitors ended.
    Down(Down),
    /// It is to go on with what it put off by [`Context::continue_next`].
    Continue,
}

/// An actor's view of itself, lent to each of its methods.
///
/// Timers and monitors belong to the incarnation: when it ends, so do they.
pub struct Context<A: Actor> {
    shared: Arc<Shared<A::Msg>>,
    system: System,
    reporter: Reporter,
    timers: Timers<A::Msg>,
    monitors: Monitors,
    control: Arc<Control>,
    /// What comes before the mailbox. Most actors never put anything there, so it is made at its first use.
    front: Option<Box<Front<A::Msg>>>,
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(
        shared: Arc<Shared<A::Msg>>,
        system: System,
        reporter: Reporter,
        control: Arc<Control>,
    ) -> Self {
        let (timers, monitors) = (Timers::new(), Monitors::default());
        Self { shared, system, reporter, timers, monitors, control, front: None }
    }

    /// The identity of this actor.
    pub fn id(&self) -> ActorId {
        self.shared.id()
    }

    /// The name that it was started under; empty where it has none.
    pub fn name(&self) -> &str {
        self.reporter.name()
    }

    /// The address of this actor, to hand out.
    pub fn actor_ref(&self) -> ActorRef<A::Msg> {
        ActorRef::new(Arc::clone(&self.shared))
    }

    /// The system that this actor runs in.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Asks for one [`Info::Down`] when `target` ends; at once, with [`ExitReason::NoProc`], where it is dead.
    ///
    /// As in OTP, it comes after every message that `target` had sent to this actor.
    pub fn monitor<M: Send + 'static>(&mut self, target: &ActorRef<M>) -> MonitorRef {
        let monitor = MonitorRef::unique();
        self.monitors.insert(monitor, Arc::clone(target.shared()) as _);
        let tell = Tell::Actor(Arc::clone(&self.shared) as _);
        if let Err(watcher) = target.shared().watch(Watcher { monitor, tell }) {
            watcher.tell(target.id(), &ExitReason::NoProc);
        }
        monitor
    }

    /// Takes a monitor back. Its `Down` does not come any more, even where the actor has ended already.
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        self.monitors.remove(monitor);
    }

    /// Sends `message` to this actor after `delay`; it then waits for its turn like any other.
    pub fn send_after(&mut self, delay: Duration, message: A::Msg) -> TimerRef {
        self.timers.arm(self.system.runtime(), Arc::clone(&self.shared), delay, message)
    }

    /// Disarms a timer. True means that its message does not come any more, even where it was due already.
    pub fn cancel(&mut self, timer: TimerRef) -> bool {
        self.timers.cancel(timer)
    }

    /// Makes [`Info::Continue`] the next thing that this actor handles, before any message.
    ///
    /// As OTP's `{continue, _}`: so `init` lets the supervisor go on and finishes the rest here, and a long piece of
    /// work is cut into steps between which the actor can be stopped. Asked twice in one step it comes once.
    pub fn continue_next(&mut self) {
        self.front().continue_next();
    }

    pub(crate) fn take_timer(&mut self, timer: TimerRef) -> Option<A::Msg> {
        let message = self.timers.take(timer)?;
        if let Some(front) = &mut self.front {
            front.due = Some(timer);
        }
        Some(message)
    }

    /// The timer that the message in hand comes from. Known only to those who have used [`front`](Self::front).
    pub(crate) fn take_due(&mut self) -> Option<TimerRef> {
        self.front.as_mut()?.due.take()
    }

    pub(crate) fn front(&mut self) -> &mut Front<A::Msg> {
        let reporter = &self.reporter;
        self.front.get_or_insert_with(|| Box::new(Front::new(reporter.clone())))
    }

    /// Takes what is to be handled before the mailbox. To be asked before each entry of the mailbox is taken.
    pub(crate) fn take_front(&mut self) -> Option<Entry<A::Msg>> {
        self.front.as_mut()?.take()
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Whether the actor has been told to stop after what it has in hand.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.control.is_stopping()
    }

    pub(crate) fn take_monitor(&mut self, monitor: MonitorRef) -> bool {
        self.monitors.take(monitor)
    }

    /// Lends everything to an actor inside this one, with the same messages. To be
    /// [taken back](Self::take_back) before this one goes on; dropped instead, it takes timers and monitors with it, as
    /// at the actor's end.
    #[cfg(feature = "testing")]
    pub(crate) fn lend<B: Actor<Msg = A::Msg>>(&mut self) -> Context<B> {
        Context {
            shared: Arc::clone(&self.shared),
            system: self.system.clone(),
            reporter: self.reporter.clone(),
            timers: std::mem::replace(&mut self.timers, Timers::new()),
            monitors: std::mem::take(&mut self.monitors),
            control: Arc::clone(&self.control),
            front: self.front.take(),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn take_back<B: Actor<Msg = A::Msg>>(&mut self, lent: Context<B>) {
        let Context { timers, monitors, front, .. } = lent;
        (self.timers, self.monitors, self.front) = (timers, monitors, front);
    }
}
