//! Actors that fail where a test wants them to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::actor::{Actor, Context, Info, Init};
use crate::exit::ExitReason;

/// What goes wrong, in place of or before the handling of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The actor panics with this text; the message is gone. The panic hook is not called, so a test's output stays
    /// readable.
    Panic(&'static str),
    /// The actor ends with this reason; the message is gone.
    Exit(ExitReason),
    /// The message is dropped, and the actor goes on.
    Lose,
    /// The message is handled so much later; the actor handles nothing else meanwhile.
    Delay(Duration),
}

/// Which messages go wrong, and how.
///
/// Its clones are one and the same: messages and starts are counted over all incarnations of an actor. Where several
/// rules apply the one that was added first does.
pub struct Faults<M>(Arc<Mutex<Plan<M>>>);

struct Plan<M> {
    rules: Vec<Rule<M>>,
    starts: u64,
    messages: u64,
    fired: u64,
}

struct Rule<M> {
    when: When<M>,
    fault: Fault,
}

enum When<M> {
    Start(u64),
    Nth(u64),
    Matching(Box<dyn FnMut(&M) -> bool + Send>),
}

impl<M> Faults<M> {
    /// Makes a plan by which nothing goes wrong.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Plan { rules: Vec::new(), starts: 0, messages: 0, fired: 0 })))
    }

    /// Adds a fault at the `n`th message, counted from one.
    pub fn nth(self, n: u64, fault: Fault) -> Self {
        self.with(When::Nth(n), fault)
    }

    /// Adds a fault at every message that `fits`. It may count, and so choose some of them.
    pub fn matching(self, fits: impl FnMut(&M) -> bool + Send + 'static, fault: Fault) -> Self {
        self.with(When::Matching(Box::new(fits)), fault)
    }

    /// Adds a fault at the `n`th start, counted from one, before the actor's `init`. ([`Fault::Lose`] does nothing
    /// there.)
    pub fn at_start(self, n: u64, fault: Fault) -> Self {
        self.with(When::Start(n), fault)
    }

    /// How many messages have come so far, those that went wrong included.
    pub fn messages(&self) -> u64 {
        self.plan().messages
    }

    /// How often something went wrong so far. A test whose faults never come is no test.
    pub fn fired(&self) -> u64 {
        self.plan().fired
    }

    fn with(self, when: When<M>, fault: Fault) -> Self {
        self.plan().rules.push(Rule { when, fault });
        self
    }

    fn plan(&self) -> MutexGuard<'_, Plan<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Plan<M> {
    /// The fault at a message, or, without one, at a start.
    fn next(&mut self, message: Option<&M>) -> Option<Fault> {
        let count = if message.is_some() { &mut self.messages } else { &mut self.starts };
        *count += 1;
        let count = *count;
        let applies = |rule: &mut Rule<M>| match (&mut rule.when, message) {
            (When::Start(n), None) | (When::Nth(n), Some(_)) => *n == count,
            (When::Matching(fits), Some(message)) => fits(message),
            _ => false,
        };
        let fault = self.rules.iter_mut().find_map(|rule| applies(rule).then(|| rule.fault.clone()))?;
        self.fired += 1;
        Some(fault)
    }
}

impl<M> Default for Faults<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Faults<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An actor around another one, which fails by plan and is like it in everything else.
pub struct Faulty<A: Actor> {
    actor: A,
    faults: Faults<A::Msg>,
}

impl<A: Actor> Faulty<A> {
    /// Wraps an actor.
    pub fn new(actor: A, faults: Faults<A::Msg>) -> Self {
        Self { actor, faults }
    }
}

/// What a fault leaves to be done.
#[derive(PartialEq, Eq)]
enum Then {
    Handle,
    Skip,
}

async fn commit(fault: Option<Fault>) -> Result<Then, ExitReason> {
    match fault {
        None => Ok(Then::Handle),
        Some(Fault::Panic(text)) => std::panic::resume_unwind(Box::new(text)),
        Some(Fault::Exit(reason)) => Err(reason),
        Some(Fault::Lose) => Ok(Then::Skip),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(Then::Handle)
        }
    }
}

impl<A: Actor> Actor for Faulty<A> {
    type Msg = A::Msg;

    const RUNS_ON_CALLERS: bool = A::RUNS_ON_CALLERS;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let fault = self.faults.plan().next(None);
        commit(fault).await?;
        let mut inner = cx.lend();
        let outcome = self.actor.init(&mut inner).await;
        cx.take_back(inner);
        outcome
    }

    async fn handle(&mut self, message: A::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let fault = self.faults.plan().next(Some(&message));
        if commit(fault).await? == Then::Skip {
            return Ok(());
        }
        let mut inner = cx.lend();
        let outcome = self.actor.handle(message, &mut inner).await;
        cx.take_back(inner);
        outcome
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let mut inner = cx.lend();
        let outcome = self.actor.handle_info(info, &mut inner).await;
        cx.take_back(inner);
        outcome
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        let mut inner = cx.lend();
        self.actor.terminate(reason, &mut inner).await;
        cx.take_back(inner);
    }
}
