//! What a state machine decides.

use std::borrow::Cow;
use std::time::Duration;

use super::{Event, StateMachine};
use crate::call::Reply;
use crate::exit::ExitReason;

/// What becomes of the state after an event, and what else is to be done. The order of the actions does not matter
/// between kinds; within one kind it is that of the calls.
#[must_use = "it is the handler's answer"]
pub struct Next<S: StateMachine> {
    pub(super) transition: Transition<S::State>,
    pub(super) postponed: Option<Event<S::Msg>>,
    pub(super) inserted: Vec<S::Msg>,
    pub(super) actions: Actions<S::Msg>,
}

pub(super) enum Transition<T> {
    Keep,
    Repeat,
    Goto(T),
    Stop(ExitReason),
}

/// What may be done at an event as well as at the entry of a state.
pub(super) struct Actions<M> {
    pub(super) timers: Vec<SetTimer<M>>,
    pub(super) replies: Vec<Box<dyn FnOnce() + Send>>,
}

pub(super) struct SetTimer<M> {
    pub(super) kind: Timer,
    /// `None` cancels.
    pub(super) set: Option<(Duration, M)>,
}

/// The timers of a machine. There is one of each at most: setting it again cancels the one before.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    State,
    Event,
    Named(Cow<'static, str>),
}

impl<S: StateMachine> Next<S> {
    /// Stays in the present state.
    pub fn keep() -> Self {
        Self::new(Transition::Keep)
    }

    /// Stays in the present state, and [enters](StateMachine::enter) it once more. That is no change of state:
    /// postponed events stay where they are, and the state timeout runs on.
    pub fn repeat() -> Self {
        Self::new(Transition::Repeat)
    }

    /// Goes to `state`.
    ///
    /// Where it differs from the present one, the state timeout is cancelled, the new state is
    /// [entered](StateMachine::enter), and postponed events are handled again.
    pub fn goto(state: S::State) -> Self {
        Self::new(Transition::Goto(state))
    }

    /// Ends the machine. Replies are sent before that; every other action is void.
    pub fn stop(reason: ExitReason) -> Self {
        Self::new(Transition::Stop(reason))
    }

    fn new(transition: Transition<S::State>) -> Self {
        Self { transition, postponed: None, inserted: Vec::new(), actions: Actions::new() }
    }

    /// Puts the event in hand off until the state changes. It is given back for that.
    pub fn postpone(mut self, event: Event<S::Msg>) -> Self {
        self.postponed = Some(event);
        self
    }

    /// Inserts an [internal event](Event::Internal) before all others. Several come in the order of the calls.
    pub fn next_event(mut self, content: S::Msg) -> Self {
        self.inserted.push(content);
        self
    }

    /// Answers a call, after the state has changed and before the new one is entered.
    pub fn reply<T: Send + 'static>(mut self, reply: Reply<T>, answer: T) -> Self {
        self.actions.reply(reply, answer);
        self
    }

    /// Sets the timeout of the state that the machine goes to, or stays in. A change of state cancels it.
    pub fn state_timeout(mut self, after: Duration, content: S::Msg) -> Self {
        self.actions.set(Timer::State, after, content);
        self
    }

    /// Takes the timeout of the state back.
    pub fn cancel_state_timeout(mut self) -> Self {
        self.actions.cancel(Timer::State);
        self
    }

    /// Sets a timeout that any event cancels, whatever it is. (One of no duration is due only where no event waits
    /// to be handled before the mailbox.)
    pub fn event_timeout(mut self, after: Duration, content: S::Msg) -> Self {
        self.actions.set(Timer::Event, after, content);
        self
    }

    /// Sets the timeout called `name`. Neither events nor changes of state cancel it.
    pub fn timeout(mut self, name: impl Into<Cow<'static, str>>, after: Duration, content: S::Msg) -> Self {
        self.actions.set(Timer::Named(name.into()), after, content);
        self
    }

    /// Takes the timeout called `name` back.
    pub fn cancel_timeout(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.actions.cancel(Timer::Named(name.into()));
        self
    }
}

/// What is done at the entry of a state. It can neither change the state nor postpone or insert events: that would be
/// an entry that does not end.
#[must_use = "it is the machine's answer"]
pub struct Enter<S: StateMachine> {
    pub(super) stop: Option<ExitReason>,
    pub(super) actions: Actions<S::Msg>,
}

impl<S: StateMachine> Enter<S> {
    /// Goes on in the state.
    pub fn keep() -> Self {
        Self { stop: None, actions: Actions::new() }
    }

    /// Ends the machine. Replies are sent before that; every other action is void.
    pub fn stop(reason: ExitReason) -> Self {
        Self { stop: Some(reason), actions: Actions::new() }
    }

    /// Answers a call.
    pub fn reply<T: Send + 'static>(mut self, reply: Reply<T>, answer: T) -> Self {
        self.actions.reply(reply, answer);
        self
    }

    /// As [`Next::state_timeout`].
    pub fn state_timeout(mut self, after: Duration, content: S::Msg) -> Self {
        self.actions.set(Timer::State, after, content);
        self
    }

    /// As [`Next::event_timeout`].
    pub fn event_timeout(mut self, after: Duration, content: S::Msg) -> Self {
        self.actions.set(Timer::Event, after, content);
        self
    }

    /// As [`Next::timeout`].
    pub fn timeout(mut self, name: impl Into<Cow<'static, str>>, after: Duration, content: S::Msg) -> Self {
        self.actions.set(Timer::Named(name.into()), after, content);
        self
    }

    /// As [`Next::cancel_timeout`].
    pub fn cancel_timeout(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.actions.cancel(Timer::Named(name.into()));
        self
    }
}

/// How a machine begins. Its first timeouts are set where its first state is [entered](StateMachine::enter).
#[must_use = "it is the machine's answer"]
pub struct Begin<S: StateMachine> {
    pub(super) state: Option<S::State>,
    pub(super) inserted: Vec<S::Msg>,
}

impl<S: StateMachine> Begin<S> {
    /// Begins in `state`.
    pub fn state(state: S::State) -> Self {
        Self { state: Some(state), inserted: Vec::new() }
    }

    /// Does not begin: there is nothing to do here. As [`Init::Ignore`](crate::Init::Ignore).
    pub fn ignore() -> Self {
        Self { state: None, inserted: Vec::new() }
    }

    /// Has an [internal event](Event::Internal) handled before the first message.
    pub fn next_event(mut self, content: S::Msg) -> Self {
        self.inserted.push(content);
        self
    }
}

impl<M> Actions<M> {
    fn new() -> Self {
        Self { timers: Vec::new(), replies: Vec::new() }
    }

    fn set(&mut self, kind: Timer, after: Duration, content: M) {
        self.timers.push(SetTimer { kind, set: Some((after, content)) });
    }

    fn cancel(&mut self, kind: Timer) {
        self.timers.push(SetTimer { kind, set: None });
    }

    fn reply<T: Send + 'static>(&mut self, reply: Reply<T>, answer: T) {
        self.replies.push(Box::new(move || reply.send(answer)));
    }
}
