//! The timers of one incarnation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::driver::{Deadline, Fire, Timers};
use super::wheel::Key;
use super::{SHORTEST_PERIOD, TimerRef};
use crate::cell::AnyCell;
use crate::stash::drop_each;

/// The timers of one incarnation.
///
/// A timer that is due puts its reference at the end of the mailbox; the message waits here. So it is handled in
/// the order of arrival, it can be cancelled until it is handled, and it never reaches the next incarnation.
pub(crate) struct Own<M> {
    armed: BTreeMap<TimerRef, Armed<M>>,
    /// Boxed, because most actors have none.
    idle: Option<Box<Idle>>,
}

/// What a timer that is due comes to.
pub(crate) enum Ring<M> {
    Message(M),
    /// No message came for as long as the actor said.
    Silence,
}

/// The system's timers, and where what is due is told to.
pub(crate) struct Clockwork<'a> {
    pub(crate) timers: &'a Timers,
    pub(crate) cell: &'a AnyCell,
}

struct Armed<M> {
    key: Option<Key>,
    at: Deadline,
    what: What<M>,
}

enum What<M> {
    Once(M),
    Every { make: Make<M>, start: Deadline, period: Duration },
}

/// Makes the messages of an interval. The mutex is never locked: it is `Sync`, and so a context can be.
type Make<M> = Mutex<Box<dyn FnMut() -> M + Send>>;

struct Idle {
    limit: Duration,
    /// A message was handled since the actor last waited, or the limit is new.
    stirred: bool,
    /// Since when the actor waits, unless it was stirred.
    since: Deadline,
    armed: Option<(TimerRef, Deadline, Option<Key>)>,
}

impl Clockwork<'_> {
    fn arm(self, at: Deadline, timer: TimerRef) -> Option<Key> {
        self.timers.arm(at, Fire::Due(self.cell.clone(), timer))
    }
}

impl<M> Own<M> {
    pub(crate) fn new() -> Self {
        Self { armed: BTreeMap::new(), idle: None }
    }

    pub(crate) fn send_after(&mut self, clockwork: Clockwork<'_>, delay: Duration, message: M) -> TimerRef {
        let now = clockwork.timers.now();
        if delay.is_zero() {
            // Not even for the next tick.
            let timer = TimerRef::unique();
            self.armed.insert(timer, Armed { key: None, at: now, what: What::Once(message) });
            clockwork.cell.timer_due(timer);
            return timer;
        }
        self.insert(clockwork, now.after(delay), What::Once(message))
    }

    pub(crate) fn send_interval(
        &mut self,
        clockwork: Clockwork<'_>,
        period: Duration,
        make: Box<dyn FnMut() -> M + Send>,
    ) -> TimerRef {
        let (start, period) = (clockwork.timers.now(), period.max(SHORTEST_PERIOD));
        let what = What::Every { make: Mutex::new(make), start, period };
        self.insert(clockwork, start.after(period), what)
    }

    fn insert(&mut self, clockwork: Clockwork<'_>, at: Deadline, what: What<M>) -> TimerRef {
        let timer = TimerRef::unique();
        let key = clockwork.arm(at, timer);
        self.armed.insert(timer, Armed { key, at, what });
        timer
    }

    /// Takes what a timer that is due stands for; `None` where it was cancelled or belonged to an earlier
    /// incarnation.
    pub(crate) fn take(&mut self, clockwork: Clockwork<'_>, timer: TimerRef) -> Option<Ring<M>> {
        let Some(armed) = self.armed.get_mut(&timer) else {
            let idle = self.idle.as_deref_mut()?;
            return idle.is_over(clockwork, timer).then_some(Ring::Silence);
        };
        if let What::Every { make, start, period } = &mut armed.what {
            // Armed again only now that it is handled: so there is one in the mailbox at most.
            armed.at = clockwork.timers.now().next_multiple(*start, *period);
            armed.key = clockwork.arm(armed.at, timer);
            return Some(Ring::Message((make.get_mut().unwrap_or_else(PoisonError::into_inner))()));
        }
        match self.armed.remove(&timer)?.what {
            What::Once(message) => Some(Ring::Message(message)),
            What::Every { .. } => None,
        }
    }

    pub(crate) fn cancel(&mut self, timers: &Timers, timer: TimerRef) -> bool {
        let Some(armed) = self.armed.remove(&timer) else { return false };
        armed.disarm(timers);
        true
    }

    pub(crate) fn read(&self, timers: &Timers, timer: TimerRef) -> Option<Duration> {
        self.armed.get(&timer).map(|armed| armed.at.since(timers.now()))
    }

    pub(crate) fn set_idle_timeout(&mut self, timers: &Timers, limit: Option<Duration>) {
        match (limit, &mut self.idle) {
            // A timer that is armed stays: it is looked at when the actor waits, and when it fires.
            (Some(limit), Some(idle)) => (idle.limit, idle.stirred) = (limit, true),
            (Some(limit), none) => {
                *none = Some(Box::new(Idle { limit, stirred: true, since: timers.now(), armed: None }));
            }
            (None, idle) => {
                if let Some(idle) = idle.take() {
                    idle.disarm(timers);
                }
            }
        }
    }

    /// Notes that a message is handled.
    pub(crate) fn stir(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.stirred = true;
        }
    }

    /// Whether somebody wants to know that the actor has begun to wait.
    pub(crate) fn wants_rest(&self) -> bool {
        self.idle.as_ref().is_some_and(|idle| idle.stirred)
    }

    /// Notes that the actor waits for a message: from now on it is idle.
    pub(crate) fn rest(&mut self, clockwork: Clockwork<'_>) {
        if let Some(idle) = &mut self.idle {
            idle.stirred = false;
            idle.since = clockwork.timers.now();
            idle.arm(clockwork);
        }
    }

    /// Disarms all, and drops what they would have said.
    pub(crate) fn end(&mut self, timers: &Timers) {
        self.armed.values().for_each(|armed| armed.disarm(timers));
        drop_each(std::mem::take(&mut self.armed));
        if let Some(idle) = self.idle.take() {
            idle.disarm(timers);
        }
    }
}

impl<M> Armed<M> {
    fn disarm(&self, timers: &Timers) {
        if let Some(key) = self.key {
            timers.cancel(key);
        }
    }
}

impl Idle {
    /// Arms a timer for the end of the limit, unless one is armed that comes before: it will arm the next.
    fn arm(&mut self, clockwork: Clockwork<'_>) {
        let at = self.since.after(self.limit);
        if self.armed.as_ref().is_some_and(|(_, armed, _)| *armed <= at) {
            return;
        }
        self.disarm(clockwork.timers);
        let timer = TimerRef::unique();
        self.armed = Some((timer, at, clockwork.arm(at, timer)));
    }

    /// Whether `timer` found the actor idle for long enough. If not, the next one is armed when it is known when
    /// that could be.
    fn is_over(&mut self, clockwork: Clockwork<'_>, timer: TimerRef) -> bool {
        if self.armed.take_if(|(armed, ..)| *armed == timer).is_none() || self.stirred {
            return false;
        }
        let over = self.since.after(self.limit) <= clockwork.timers.now();
        if !over {
            self.arm(clockwork);
        }
        over
    }

    fn disarm(&self, timers: &Timers) {
        if let Some((.., Some(key))) = self.armed {
            timers.cancel(key);
        }
    }
}
