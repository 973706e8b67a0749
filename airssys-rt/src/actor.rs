//! What an actor is, and what it sees of its surroundings.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::{self, AnyCell, CellRef, Cold, Deadline, Lent};
use crate::exit::ExitReason;
use crate::link::{Down, Exit, MonitorRef, Monitors, Tell, Watcher};
use crate::observe::{Input, Reporter, Trace};
use crate::stash::{Early, Front};
use crate::system::{SpawnOptions, System};
use crate::timer::{self, Clockwork, Ring, TimerRef};

/// State with a mailbox, which handles one message at a time.
///
/// The methods are `async`; write them as `async fn`. While one waits, the actor handles nothing else and other
/// actors run. A panic in any of them ends the actor with [`ExitReason::Panic`], and nothing but the actor.
///
/// # Cancel safety
///
/// A kill drops the future of the method that runs, at the `.await` where it is. [`terminate`](Self::terminate) is
/// not called then.
///
/// # What OTP says, and where
///
/// An actor is a `gen_server` of OTP's stdlib, and the rules are those of its callbacks; those of processes are in the Erlang
/// reference manual, *Processes*.
///
/// | rule | in OTP | here |
/// |---|---|---|
/// | whoever starts it goes on when it is initialised | `init/1`; `ignore`, `{stop, Reason}`, `{error, Reason}` | [`init`](Self::init), [`Init::Ignore`], an error; for supervisors: `spawn` does not wait |
/// | one message at a time, in the order of each sender | `handle_call/3`, `handle_cast/2` | [`handle`](Self::handle) |
/// | a request may be answered later, and by others | `gen_server:reply/2`, `From` | [`Reply`](crate::Reply) |
/// | what the runtime says | `handle_info/2`: `'DOWN'`, `'EXIT'`, `timeout` | [`handle_info`](Self::handle_info), [`Info`] |
/// | work right after the start, before any message | `{continue, _}`, `handle_continue/2` | [`Context::continue_next`] |
/// | it stops by itself | `{stop, Reason, State}` | the error of a handler; [`Normal`](ExitReason::Normal) is one |
/// | the last word | `terminate/2` | [`terminate`](Self::terminate): also without `trap_exit`, but not after a panic |
/// | others stop it | `gen_server:stop/3`, `exit/2` | [`stop`](ActorRef::stop), [`exit`](ActorRef::exit), [`kill`](ActorRef::kill) |
/// | links and monitors | *Links*, *Monitors*; `link/1`, `monitor/2`, `demonitor/2` with `flush` | [`Context::link`], [`Context::monitor`], [`Context::demonitor`] |
/// | messages to its later self | `erlang:send_after/3`, `cancel_timer/1`, `read_timer/1` | [`Context::send_after`], [`cancel`](Context::cancel), [`read_timer`](Context::read_timer) |
/// | messages that overtake | priority messages, EEP 76 | [`cast_urgent`](ActorRef::cast_urgent) |
///
/// Two things differ: messages have a type, apart from what the runtime says; and a call has no time limit that nobody
/// has said, but never lasts longer than the one on whose behalf it is made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    label = "not an actor",
    note = "implement `airssys_rt::Actor` for it; a `StateMachine` is run by `airssys_rt::statem::Machine`"
)]
pub trait Actor: Sized + Send + 'static {
    /// What it understands. Usually an enum; a request carries a [`Reply`](crate::Reply).
    type Msg: Send + 'static;

    /// Whether callers may run it on their own stacks, once it has proven to be quick; what one has proven holds for the next on
    /// the same [`Mailbox`](crate::Mailbox). True, unless set.
    ///
    /// A [`call`](ActorRef::call) then costs no change of tasks. The actor cannot tell, except by what belongs to the
    /// thread or to the tokio task that polls it, which are its caller's: `tokio::task_local!`, `tokio::task::id`,
    /// thread-locals. What it computes without an `.await`, the caller cannot time out. While others ask as well, the
    /// caller goes on for up to 16 messages or some 50 microseconds, whichever comes last. Set it to false where any of this
    /// matters, as for code that is not trusted to be quick.
    const RUNS_ON_CALLERS: bool = true;

    /// Prepares the actor, before its first message: OTP's `init/1`. Its supervisor waits for it before it starts the next child.
    ///
    /// # Errors
    ///
    /// An error is a failed start: at the start of the tree it ends the supervisor, at a restart it counts as one
    /// more failure.
    fn init(&mut self, cx: &mut Context<Self>) -> impl Future<Output = Result<Init, ExitReason>> + Send {
        let _ = cx;
        ready(Ok(Init::Ready))
    }

    /// Handles one message: OTP's `handle_call/3` and `handle_cast/2`, for a message with a [`Reply`](crate::Reply) or
    /// without.
    ///
    /// # Errors
    ///
    /// An error ends the actor with this reason; [`ExitReason::Normal`] is how it says that it is done.
    fn handle(
        &mut self,
        message: Self::Msg,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send;

    /// Handles what the runtime has to say, as OTP's `handle_info/2`. Ignores it, unless implemented.
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

    /// Says good-bye: the last call, whatever the reason, except after a panic, a kill or a failed `init`. OTP's `terminate/2`,
    /// which a process that does not trap exits has only where it stops by itself.
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
    /// It has nothing to do here: OTP's `ignore`. That is no failure: its supervisor goes on without it.
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
    /// It is to go on with what it put off by [`Context::continue_next`].
    Continue,
    /// An exit signal came, and it [traps](Context::trap_exit) them.
    Exit(Exit),
}

/// An actor's view of itself, lent to each of its methods.
///
/// Timers, monitors and links belong to the incarnation: when it ends, so do they.
pub struct Context<A: Actor> {
    cell: Lent<A::Msg>,
    /// What most actors never have.
    own: Option<Box<Own<A::Msg>>>,
}

struct Own<M> {
    timers: timer::Own<M>,
    monitors: Monitors,
    /// What comes before the mailbox.
    front: Option<Box<Front<M>>>,
    /// There once it was traced.
    trace: Option<Box<Trace>>,
    /// Those who end with the incarnation.
    #[cfg(all(feature = "port", any(target_os = "linux", target_os = "macos", windows)))]
    lives: Vec<crate::security::Life>,
}

impl<M> Default for Own<M> {
    fn default() -> Self {
        Self {
            timers: timer::Own::new(),
            monitors: Monitors::default(),
            front: None,
            trace: None,
            #[cfg(all(feature = "port", any(target_os = "linux", target_os = "macos", windows)))]
            lives: Vec::new(),
        }
    }
}

/// The timers end with the incarnation. Nothing here panics: the actor itself is dropped before or after.
impl<A: Actor> Drop for Context<A> {
    fn drop(&mut self) {
        self.trace_done();
        if let Some(own) = &mut self.own {
            own.timers.end(self.cell.home().timers());
        }
    }
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(cell: Lent<A::Msg>) -> Self {
        Self { cell, own: None }
    }

    pub(crate) fn cell(&self) -> &CellRef<A::Msg> {
        &self.cell
    }

    /// The identity of this actor.
    pub fn id(&self) -> ActorId {
        self.cell.id()
    }

    /// The name that it was started under; empty where it has none.
    pub fn name(&self) -> Arc<str> {
        let path = self.cell.path().unwrap_or_default();
        path.rsplit('/').next().map(Arc::from).unwrap_or_default()
    }

    /// The address of this actor, to hand out.
    pub fn actor_ref(&self) -> ActorRef<A::Msg> {
        ActorRef::new(CellRef::clone(&self.cell))
    }

    /// The system that this actor runs in.
    pub fn system(&self) -> &System {
        self.cell.home_system()
    }

    /// Until when the caller of the message in hand waits for its answer. `None` where nobody does: for what was cast, for
    /// timers, and for a message that was put off.
    pub fn deadline(&self) -> Option<Instant> {
        cell::deadline().map(Deadline::instant)
    }

    /// Asks for one [`Info::Down`] when `target` ends; at once, with [`ExitReason::NoProc`], where it is dead.
    ///
    /// As in OTP, it comes after every message that `target` had sent to this actor.
    pub fn monitor<M: Send + 'static>(&mut self, target: &ActorRef<M>) -> MonitorRef {
        let monitor = MonitorRef::unique();
        self.own.get_or_insert_with(Box::default).monitors.insert(monitor, AnyCell::clone(target.cell()));
        let tell = Tell::Actor(AnyCell::clone(&self.cell));
        if let Err(watcher) = target.cell().watch(Watcher { monitor, tell }) {
            watcher.tell(target.id(), &ExitReason::NoProc);
        }
        monitor
    }

    /// Takes a monitor back. Its `Down` does not come any more, even where the actor has ended already (OTP's
    /// `demonitor` with `flush`).
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        if let Some(own) = &mut self.own {
            own.monitors.remove(monitor);
        }
    }

    /// Links this actor and `other`: when one ends, the other gets an exit signal with its reason. Linked already,
    /// they stay so.
    ///
    /// The signal ends an actor that does not [trap exits](Self::trap_exit), unless the reason is
    /// [`Normal`](ExitReason::Normal). A dead `other` sends it at once, with [`NoProc`](ExitReason::NoProc). Where the
    /// mailbox of `other` outlives it, the link is with the incarnation that runs or comes next. To itself, an actor
    /// need not be linked.
    pub fn link<M: Send + 'static>(&mut self, other: &ActorRef<M>) {
        if other.id() == self.id() {
            return;
        }
        // First this side: the other may end as soon as it knows.
        self.cell.add_link(other.cell());
        if !other.cell().add_link(&self.cell) {
            self.cell.exit_signal(Some(other.id()), &ExitReason::NoProc, true);
        }
    }

    /// Starts an actor that is linked to this one from the beginning: OTP's `spawn_link`. However early it ends, the
    /// exit signal comes, with its own reason.
    pub fn spawn_link<B: Actor>(&mut self, actor: B) -> ActorRef<B::Msg> {
        self.spawn_link_with(SpawnOptions::default(), actor)
    }

    /// [`spawn_link`](Self::spawn_link), with a choice of mailbox or a name.
    pub fn spawn_link_with<B: Actor>(&mut self, options: SpawnOptions, actor: B) -> ActorRef<B::Msg> {
        let path = options.name.map(Arc::from);
        let child = cell::spawn_by(
            self.system(),
            options.mailbox.bounds(),
            |_| Some(Cold::linked(path, None, &self.cell)),
            |child| {
                // Before its first turn; this one cannot end before that either.
                self.cell.add_link(child.cell());
                actor
            },
        );
        ActorRef::new(child)
    }

    /// Takes a link back, whoever of the two made it. No exit signal comes over it any more, even where `other` has
    /// ended already and the signal waits as a message (what OTP's manual does with a `receive` after `unlink`).
    pub fn unlink<M: Send + 'static>(&mut self, other: &ActorRef<M>) {
        self.cell.remove_link(other.id());
        other.cell().remove_link(self.id());
    }

    /// Sets whether exit signals become [`Info::Exit`] instead of ending this actor: OTP's `trap_exit` flag.
    pub fn trap_exit(&mut self, trap: bool) {
        self.cell.trap_exit(trap);
    }

    /// Sends `message` to this actor after `delay`, as `erlang:send_after/3`; it then waits for its turn like any other.
    ///
    /// It is never early and up to two milliseconds late; without a delay it is in the mailbox at once. What is due
    /// together comes in the order of the deadlines, and where they are equal in the order of arming. There is no
    /// longest delay.
    pub fn send_after(&mut self, delay: Duration, message: A::Msg) -> TimerRef {
        let (own, clockwork) = self.timing();
        own.timers.send_after(clockwork, delay, message)
    }

    /// Sends this actor what `make` makes, each `period`, for the first time after one period: `timer:send_interval/2`.
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
        let (own, clockwork) = self.timing();
        own.timers.send_interval(clockwork, period, Box::new(make))
    }

    /// Disarms a timer: `erlang:cancel_timer/1`. True means that its message does not come any more, even where it was due already; false
    /// that there was nothing to disarm: it has been handled or cancelled, or belonged to an earlier incarnation.
    pub fn cancel(&mut self, timer: TimerRef) -> bool {
        self.own.as_mut().is_some_and(|own| own.timers.cancel(self.cell.home().timers(), timer))
    }

    /// How long it takes until a timer is due, as `erlang:read_timer/1` says it: zero where it is and waits for its turn, `None` where
    /// [`cancel`](Self::cancel) would find nothing. Of an interval, the time until its next message.
    pub fn read_timer(&self, timer: TimerRef) -> Option<Duration> {
        self.own.as_ref()?.timers.read(self.cell.home().timers(), timer)
    }

    /// Asks for one [`Info::Timeout`] whenever this actor has waited for `limit` and no message came: what a
    /// `gen_server` gets by returning a timeout, but it stands until it is set anew or taken back with `None`.
    ///
    /// The time counts from where the actor begins to wait; a handler that takes long is not idle. Everything that
    /// is handled begins it anew: messages, timers, and what else the runtime says. After an `Info::Timeout`, the
    /// next message does; or set the limit once more.
    pub fn set_idle_timeout(&mut self, limit: Option<Duration>) {
        let (own, clockwork) = self.timing();
        own.timers.set_idle_timeout(clockwork.timers, limit);
    }

    /// Makes [`Info::Continue`] the next thing that this actor handles, before any message.
    ///
    /// As OTP's `{continue, _}`: so `init` lets the supervisor go on and finishes the rest here, and a long piece of
    /// work is cut into steps between which the actor can be stopped. Asked twice in one step it comes once.
    pub fn continue_next(&mut self) {
        self.front().continue_next();
    }

    pub(crate) fn take_timer(&mut self, timer: TimerRef) -> Option<Ring<A::Msg>> {
        let own = self.own.as_mut()?;
        let ring =
            own.timers.take(Clockwork { timers: self.cell.home().timers(), cell: &self.cell }, timer)?;
        if let Some(front) = &mut own.front {
            front.due = Some(timer);
        }
        Some(ring)
    }

    /// The timer that the message in hand comes from. Known only to those who have used [`front`](Self::front).
    pub(crate) fn take_due(&mut self) -> Option<TimerRef> {
        self.own.as_mut()?.front.as_mut()?.due.take()
    }

    pub(crate) fn front(&mut self) -> &mut Front<A::Msg> {
        let reporter = || Box::new(Front::new(self.cell.told_by()));
        self.own.get_or_insert_with(Box::default).front.get_or_insert_with(reporter)
    }

    /// Takes what is to be handled before the mailbox. To be asked before each entry of the mailbox is taken.
    pub(crate) fn take_front(&mut self) -> Option<Early<A::Msg>> {
        self.own.as_mut()?.front.as_mut()?.take()
    }

    /// Takes a message that overtakes all others; nothing comes before what the actor itself has put off.
    pub(crate) fn take_urgent(&mut self) -> Option<A::Msg> {
        if let Some(front) = self.own.as_mut().and_then(|own| own.front.as_mut())
            && !front.give_way()
        {
            return None;
        }
        self.cell.pop_urgent()
    }

    pub(crate) fn reporter(&self) -> Reporter {
        self.cell.told_by()
    }

    /// Whether the actor has been told to stop after what it has in hand. It is polled when that changes.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.cell.is_told_to_stop()
    }

    /// Whether the actor has been told to stop, at once or after what is in its mailbox. An `init` that takes long looks at this
    /// and returns, as it is not broken off for it; its `terminate` follows.
    pub fn is_stopping(&self) -> bool {
        self.cell.is_draining()
    }

    /// As [`is_told_to_stop`](Self::is_told_to_stop), or after what is in its mailbox.
    #[cfg(feature = "port")]
    pub(crate) fn is_draining(&self) -> bool {
        self.cell.is_draining()
    }

    /// Keeps a life until this incarnation ends.
    #[cfg(all(feature = "port", any(target_os = "linux", target_os = "macos", windows)))]
    pub(crate) fn hold(&mut self, life: crate::security::Life) {
        self.own.get_or_insert_default().lives.push(life);
    }

    /// Lends everything to an actor inside this one, with the same messages. To be
    /// [taken back](Self::take_back) before this one goes on; dropped instead, it takes timers and monitors with it, as
    /// at the actor's end.
    #[cfg(feature = "testing")]
    pub(crate) fn lend<B: Actor<Msg = A::Msg>>(&mut self) -> Context<B> {
        Context { cell: self.cell.again(), own: self.own.take() }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn take_back<B: Actor<Msg = A::Msg>>(&mut self, mut lent: Context<B>) {
        self.own = lent.own.take();
    }

    /// Notes that there is something to handle.
    pub(crate) fn stir(&mut self, input: impl FnOnce() -> Input) {
        if let Some(own) = &mut self.own {
            own.timers.stir();
            if let Some(trace) = &mut own.trace {
                trace.begin(&self.cell, input());
            }
        }
    }

    /// Notes what is handled, and that it is nothing that makes the actor less idle.
    pub(crate) fn trace(&mut self, input: impl FnOnce() -> Input) {
        if let Some(trace) = self.own.as_mut().and_then(|own| own.trace.as_mut()) {
            trace.begin(&self.cell, input());
        }
    }

    /// Notes that what was in hand is done, where that is traced.
    pub(crate) fn trace_done(&mut self) {
        if let Some(trace) = self.own.as_mut().and_then(|own| own.trace.as_mut()) {
            trace.done(&self.cell);
        }
    }

    /// As [`trace_done`](Self::trace_done); and what comes next is traced.
    pub(crate) fn trace_next(&mut self) {
        self.own.get_or_insert_default().trace.get_or_insert_default();
        self.trace_done();
    }

    /// Notes that there is nothing to handle.
    pub(crate) fn rest(&mut self) {
        if let Some(own) = &mut self.own
            && own.timers.wants_rest()
        {
            own.timers.rest(Clockwork { timers: self.cell.home().timers(), cell: &self.cell });
        }
    }

    fn timing(&mut self) -> (&mut Own<A::Msg>, Clockwork<'_>) {
        let clockwork = Clockwork { timers: self.cell.home().timers(), cell: &self.cell };
        (self.own.get_or_insert_with(Box::default), clockwork)
    }

    /// Gives out what the runtime says, unless this incarnation does not want to know any more.
    pub(crate) fn take_info(&mut self, info: Info) -> Option<Info> {
        let wanted = match &info {
            Info::Down(down) => self.own.as_mut().is_some_and(|own| own.monitors.take(down.monitor)),
            Info::Exit(exit) => self.cell.take_exit(exit),
            Info::Timeout | Info::Continue => true,
        };
        wanted.then_some(info)
    }
}
