//! What an actor is, and what it sees of its surroundings.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use crate::actor_ref::{ActorId, ActorRef};
use crate::exit::ExitReason;
use crate::link::{Down, MonitorRef, Monitors, Tell, Watcher};
use crate::mailbox::Shared;
use crate::observe::Reporter;
use crate::system::System;
use crate::timer::{Clockwork, Own, Ring, TimerRef};

/// State with a mailbox, which handles one message at a time.
///
/// The methods are `async`; write them as `async fn`. While one waits, the actor handles nothing else and other
/// actors run. A panic in any of them ends the actor with [`ExitReason::Panic`], and nothing but the actor.
///
/// # Cancel safety
///
/// A kill drops the future of the method that runs, at the `.await` where it is. [`terminate`](Self::terminate) is
/// not called then.
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
    /// No message came for as long as [`Context::set_idle_timeout`] says.
    Timeout,
}

/// An actor's view of itself, lent to each of its methods.
///
/// Timers and monitors belong to the incarnation: when it ends, so do they.
pub struct Context<A: Actor> {
    shared: Arc<Shared<A::Msg>>,
    system: System,
    reporter: Reporter,
    timers: Own<A::Msg>,
    monitors: Monitors,
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(shared: Arc<Shared<A::Msg>>, system: System, reporter: Reporter) -> Self {
        Self { shared, system, reporter, timers: Own::new(), monitors: Monitors::default() }
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
    ///
    /// It is never early and up to two milliseconds late; without a delay it is in the mailbox at once. What is due
    /// together comes in the order of the deadlines, and where they are equal in the order of arming. There is no
    /// longest delay.
    pub fn send_after(&mut self, delay: Duration, message: A::Msg) -> TimerRef {
        self.timers.send_after(clockwork(&self.system, &self.shared), delay, message)
    }

    /// Sends this actor what `make` makes, each `period`, for the first time after one period.
    ///
    /// The times are multiples of `period` from now, so they do not drift. At most one message of an interval waits
    /// in the mailbox: what comes due before that one is handled is left out, as with tokio's
    /// [`MissedTickBehavior::Skip`](tokio::time::MissedTickBehavior::Skip). `make` runs in the actor when its turn
    /// has come. A period below one millisecond counts as one.
    ///
    /// ```
    /// # use airssys_rt::{Actor, Context, ExitReason, Init, System};
    /// # use std::time::Duration;
    /// struct Pulse(u32);
    ///
    /// impl Actor for Pulse {
    ///     type Msg = u32;
    ///
    ///     async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
    ///         let mut beat = 0;
    ///         cx.send_interval(Duration::from_millis(10), move || {
    ///             beat += 1;
    ///             beat
    ///         });
    ///         Ok(Init::Ready)
    ///     }
    ///
    ///     async fn handle(&mut self, beat: u32, _: &mut Context<Self>) -> Result<(), ExitReason> {
    ///         if beat == self.0 { Err(ExitReason::Normal) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert!(!System::new().spawn(Pulse(3)).exited().await.is_abnormal());
    /// # }
    /// ```
    pub fn send_interval(
        &mut self,
        period: Duration,
        make: impl FnMut() -> A::Msg + Send + 'static,
    ) -> TimerRef {
        self.timers.send_interval(clockwork(&self.system, &self.shared), period, Box::new(make))
    }

    /// Disarms a timer. True means that its message does not come any more, even where it was due already; false
    /// that there was nothing to disarm: it has been handled or cancelled, or belonged to an earlier incarnation.
    pub fn cancel(&mut self, timer: TimerRef) -> bool {
        self.timers.cancel(self.system.timers(), timer)
    }

    /// How long it takes until a timer is due: zero where it is and waits for its turn, `None` where
    /// [`cancel`](Self::cancel) would find nothing. Of an interval, the time until its next message.
    pub fn read_timer(&self, timer: TimerRef) -> Option<Duration> {
        self.timers.read(self.system.timers(), timer)
    }

    /// Asks for one [`Info::Timeout`] whenever this actor has waited for `limit` and no message came: what a
    /// `gen_server` gets by returning a timeout, but it stands until it is set anew or taken back with `None`.
    ///
    /// The time counts from where the actor begins to wait; a handler that takes long is not idle. Everything that
    /// is handled begins it anew: messages, timers, and what else the runtime says. After an `Info::Timeout`, the
    /// next message does; or set the limit once more.
    pub fn set_idle_timeout(&mut self, limit: Option<Duration>) {
        self.timers.set_idle_timeout(self.system.timers(), limit);
    }

    pub(crate) fn take_timer(&mut self, timer: TimerRef) -> Option<Ring<A::Msg>> {
        self.timers.take(clockwork(&self.system, &self.shared), timer)
    }

    /// Notes that there is something to handle.
    pub(crate) fn stir(&mut self) {
        self.timers.stir();
    }

    /// Notes that there is nothing to handle.
    pub(crate) fn rest(&mut self) {
        if self.timers.wants_rest() {
            self.timers.rest(clockwork(&self.system, &self.shared));
        }
    }

    pub(crate) fn take_monitor(&mut self, monitor: MonitorRef) -> bool {
        self.monitors.take(monitor)
    }
}

/// The timers end with the incarnation.
impl<A: Actor> Drop for Context<A> {
    fn drop(&mut self) {
        self.timers.end(self.system.timers());
    }
}

fn clockwork<'a, M: Send + 'static>(system: &'a System, mailbox: &Arc<Shared<M>>) -> Clockwork<'a> {
    Clockwork { timers: system.timers(), mailbox: Arc::clone(mailbox) as _ }
}
