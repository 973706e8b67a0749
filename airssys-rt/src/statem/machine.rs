//! The actor that runs a state machine.

use std::collections::{BTreeMap, VecDeque};

use super::next::{Actions, Begin, Enter, Next, SetTimer, Timer, Transition};
use super::{Event, StateMachine};
use crate::actor::{Actor, Context, Info, Init};
use crate::exit::ExitReason;
use crate::observe::Reporter;
use crate::stash::{LimitReached, bury, drop_each};
use crate::timer::TimerRef;

/// The actor that a [`StateMachine`] is.
///
/// What it still keeps when it ends, of the messages that it postponed, becomes dead letters.
pub struct Machine<S: StateMachine> {
    data: S,
    /// `None` before it has begun.
    state: Option<S::State>,
    /// What is handled before the mailbox.
    queue: VecDeque<Event<S::Msg>>,
    /// What waits for a change of state, oldest first.
    postponed: VecDeque<Event<S::Msg>>,
    /// Timeouts of no duration: due as soon as the queue is empty.
    at_once: VecDeque<(Timer, S::Msg)>,
    timers: Timers,
    reporter: Option<Reporter>,
}

/// The armed timers, and which is which.
#[derive(Default)]
struct Timers {
    armed: BTreeMap<Timer, TimerRef>,
    kinds: BTreeMap<TimerRef, Timer>,
}

impl<S: StateMachine> Machine<S> {
    /// Makes an actor of a state machine that has not begun.
    pub fn new(data: S) -> Self {
        Self {
            data,
            state: None,
            queue: VecDeque::new(),
            postponed: VecDeque::new(),
            at_once: VecDeque::new(),
            timers: Timers::default(),
            reporter: None,
        }
    }

    /// Handles one event, and sees to it that the next one follows.
    async fn step(&mut self, event: Event<S::Msg>, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        // Any event does that, whatever comes of it.
        self.cancel(&Timer::Event, cx);
        let Some(state) = &self.state else { return Ok(()) };
        let Next { transition, postponed, inserted, actions } =
            self.data.handle_event(state, event, cx).await?;
        let Actions { timers, replies } = actions;
        if let Transition::Stop(reason) = transition {
            replies.into_iter().for_each(|reply| reply());
            return Err(reason);
        }
        self.postponed.extend(postponed);
        let entry = self.transit(transition, cx);
        for content in inserted.into_iter().rev() {
            self.queue.push_front(Event::Internal(content));
        }
        if self.queue.len() + self.postponed.len() > S::QUEUE_LIMIT {
            return Err(LimitReached { what: "events kept", limit: S::QUEUE_LIMIT }.into());
        }
        replies.into_iter().for_each(|reply| reply());
        let entered = match entry {
            Some(entry) => self.enter(entry, cx).await?,
            None => Vec::new(),
        };
        timers.into_iter().chain(entered).for_each(|timer| self.set(timer, cx));
        self.go_on(cx);
        Ok(())
    }

    /// Changes the state; hands out how the state is to be entered, where it is.
    fn transit(&mut self, transition: Transition<S::State>, cx: &mut Context<Self>) -> Option<Entry<S>> {
        match transition {
            Transition::Repeat => Some(Entry::Again),
            Transition::Goto(state) if self.state.as_ref() != Some(&state) => {
                let old = self.state.replace(state);
                self.cancel(&Timer::State, cx);
                self.postponed.append(&mut self.queue);
                std::mem::swap(&mut self.postponed, &mut self.queue);
                Some(Entry::From(old))
            }
            Transition::Goto(_) | Transition::Keep | Transition::Stop(_) => None,
        }
    }

    /// Enters the present state; hands out the timers that are to be set.
    async fn enter(
        &mut self,
        entry: Entry<S>,
        cx: &mut Context<Self>,
    ) -> Result<Vec<SetTimer<S::Msg>>, ExitReason> {
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        let old = match &entry {
            Entry::Again => Some(state),
            Entry::From(old) => old.as_ref(),
        };
        let Enter { stop, actions: Actions { timers, replies } } = self.data.enter(old, state, cx).await?;
        replies.into_iter().for_each(|reply| reply());
        stop.map_or(Ok(timers), Err)
    }

    /// Lets what is due before the mailbox be handled next.
    fn go_on(&self, cx: &mut Context<Self>) {
        if !self.queue.is_empty() || !self.at_once.is_empty() {
            cx.continue_next();
        }
    }

    fn set(&mut self, timer: SetTimer<S::Msg>, cx: &mut Context<Self>) {
        let SetTimer { kind, set } = timer;
        self.cancel(&kind, cx);
        let Some((after, content)) = set else { return };
        if after.is_zero() {
            self.at_once.push_back((kind, content));
        } else {
            let timer = cx.send_after(after, content);
            self.timers.armed.insert(kind.clone(), timer);
            self.timers.kinds.insert(timer, kind);
        }
    }

    fn cancel(&mut self, kind: &Timer, cx: &mut Context<Self>) {
        if let Some(timer) = self.timers.armed.remove(kind) {
            self.timers.kinds.remove(&timer);
            cx.cancel(timer);
        }
        if !self.at_once.is_empty() {
            self.at_once.retain(|(other, _)| other != kind);
        }
    }
}

/// How a state is entered.
enum Entry<S: StateMachine> {
    Again,
    From(Option<S::State>),
}

impl<S: StateMachine> Actor for Machine<S> {
    type Msg = S::Msg;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.reporter = Some(cx.reporter());
        // From now on it is told which message is a timer's.
        cx.front();
        let Begin { state, inserted } = self.data.init(cx).await?;
        let Some(state) = state else { return Ok(Init::Ignore) };
        self.state = Some(state);
        self.queue.extend(inserted.into_iter().map(Event::Internal));
        let timers = self.enter(Entry::From(None), cx).await?;
        timers.into_iter().for_each(|timer| self.set(timer, cx));
        self.go_on(cx);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: S::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let kind = cx.take_due().and_then(|timer| self.timers.kinds.remove(&timer));
        let event = match kind {
            Some(kind) => {
                self.timers.armed.remove(&kind);
                kind.event(message)
            }
            None => Event::Message(message),
        };
        self.step(event, cx).await
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let event = match info {
            Info::Continue => self
                .queue
                .pop_front()
                .or_else(|| self.at_once.pop_front().map(|(kind, content)| kind.event(content))),
            _ => None,
        };
        self.step(event.unwrap_or(Event::Info(info)), cx).await
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        if let Some(state) = &self.state {
            self.data.terminate(reason, state, cx).await;
        }
    }
}

impl Timer {
    fn event<M>(self, content: M) -> Event<M> {
        match self {
            Self::State => Event::StateTimeout(content),
            Self::Event => Event::EventTimeout(content),
            Self::Named(name) => Event::Timeout(name, content),
        }
    }
}

impl<S: StateMachine> Drop for Machine<S> {
    fn drop(&mut self) {
        let kept = self.queue.iter().chain(&self.postponed);
        let letters = kept.filter(|event| matches!(event, Event::Message(_))).count();
        if let Some(reporter) = &self.reporter {
            bury(reporter, letters);
        }
        drop_each(self.queue.drain(..));
        drop_each(self.postponed.drain(..));
        drop_each(self.at_once.drain(..));
    }
}
