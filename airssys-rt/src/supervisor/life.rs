//! What every supervisor has, whatever its children: orders that overtake its mailbox, and an end that is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use super::admin::Inbox;
use super::handle::SupervisorRef;
use crate::actor::Actor;
use crate::actor_ref::ActorRef;
use crate::cell::{self, Cold, Notify, Outcome};
use crate::exit::ExitReason;
use crate::observe::{EventKind, Reporter};
use crate::system::System;

/// What a supervisor is told by whoever is above it. A later one is a stronger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run,
    /// Stop in order, maybe to be started again.
    Stop,
    /// Stop in order, for good.
    StopForGood,
    Kill,
}

/// The strongest order so far. It is not in the mailbox, lest it wait behind whatever else is there.
pub(super) struct Orders(AtomicU8);

impl Orders {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(Order::Run as u8)))
    }

    pub(super) fn raise(&self, order: Order) {
        self.0.fetch_max(order as u8, Ordering::Release);
    }

    pub(super) fn strongest(&self) -> Order {
        let now = self.0.load(Ordering::Acquire);
        [Order::Kill, Order::StopForGood, Order::Stop]
            .into_iter()
            .find(|&order| order as u8 <= now)
            .unwrap_or(Order::Run)
    }
}

/// The life of one incarnation of a supervisor.
///
/// Its drop tells the end, so that it is told even where the tokio runtime shuts down and drops the actor.
pub(super) struct Life {
    reporter: Reporter,
    orders: Arc<Orders>,
    /// The strongest order that was obeyed.
    obeyed: Order,
    exit: watch::Sender<Option<ExitReason>>,
    notify: Notify,
    up: bool,
    /// Why the supervisor ends, once it does.
    ending: Option<ExitReason>,
}

/// Starts a supervisor at `path`, made with its life and its own reference.
pub(super) fn spawn<A>(
    system: &System,
    path: &Arc<str>,
    notify: Notify,
    make: impl FnOnce(Life, ActorRef<A::Msg>) -> A,
) -> SupervisorRef
where
    A: Actor,
    A::Msg: Inbox,
{
    let orders = Orders::new();
    let (exit, exit_watch) = watch::channel(None);
    let obeying = Arc::clone(&orders);
    let supervisor = |inbox: ActorRef<A::Msg>| {
        let reporter = system.reporter(Some(Arc::clone(path)), inbox.id());
        let life =
            Life { reporter, orders: obeying, obeyed: Order::Run, exit, notify, up: false, ending: None };
        make(life, inbox)
    };
    // Its mailbox has no bound: its events are bounded by its children and by those who wait for its answers. It
    // tells its own life: that it is up when its whole tree is, and how it ended in its drop.
    let cold = |_| Some(Cold::silent(Some(Arc::clone(path))));
    let inbox = ActorRef::new(cell::spawn_by(system, None, cold, supervisor));
    SupervisorRef { id: inbox.id(), lane: Arc::new(inbox), orders, exit: exit_watch }
}

impl Life {
    pub(super) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// The order to obey now, where there is a new one.
    pub(super) fn new_order(&mut self) -> Option<Order> {
        let order = self.orders.strongest();
        (order > self.obeyed).then(|| {
            self.obeyed = order;
            order
        })
    }

    /// Whether the tree stops for good.
    pub(super) fn for_good(&self) -> bool {
        self.obeyed >= Order::StopForGood
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// The whole tree is up.
    pub(super) fn up(&mut self) {
        self.up = true;
        self.reporter.tell(EventKind::Started);
        (self.notify)(Outcome::Up);
    }

    pub(super) fn ending(&self) -> Option<&ExitReason> {
        self.ending.as_ref()
    }

    /// Begins the end. The first reason stands, except that a kill is a kill.
    pub(super) fn end(&mut self, reason: ExitReason) {
        match reason {
            ExitReason::Killed => self.ending = Some(reason),
            reason => drop(self.ending.get_or_insert(reason)),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let reason = self.ending.take().unwrap_or(ExitReason::Killed);
        let said = reason.clone();
        let (event, outcome) = match &reason {
            _ if !self.up => (EventKind::InitFailed { reason: said.clone() }, Outcome::InitFailed(said)),
            ExitReason::Shutdown if self.obeyed > Order::Run => (EventKind::Stopped, Outcome::Exited(said)),
            _ => (EventKind::Exited { reason: said.clone() }, Outcome::Exited(said)),
        };
        self.reporter.tell(event);
        self.exit.send_replace(Some(reason));
        (self.notify)(outcome);
    }
}
