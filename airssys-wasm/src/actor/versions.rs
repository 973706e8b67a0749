//! Which code of a component runs, which ran before, and which is to take over; and the state between two instances.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;
use wasmtime::component::InstancePre;

use crate::{
    component::{Component, Digest},
    error::{Error, ErrorKind},
    host::bindings::{EverythingIndices, stateful::StatefulIndices},
    instance::State,
    lineage::{Change, Switched, Versioned},
    releases::Releases,
};

/// One version of a component's code, ready to be instantiated.
pub(crate) struct Code {
    pub(crate) digest: Digest,
    pub(crate) pre: InstancePre<State>,
    pub(super) actor: EverythingIndices,
    /// Where it exports the interface `state`.
    pub(super) state: Option<StatefulIndices>,
}

impl Code {
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export the actor interface.
    pub(crate) fn new(component: &Component) -> Result<Self, Error> {
        let pre = component.pre().clone();
        let state = StatefulIndices::new(&pre).ok();
        Ok(Self { digest: component.digest(), actor: component.actor()?, state, pre })
    }
}

impl Code {
    /// Whether it can hand its state on.
    pub(crate) fn is_stateful(&self) -> bool {
        self.state.is_some()
    }
}

impl Versioned for Code {
    const HANDLES: &str = "messages";

    fn digest(&self) -> Digest {
        self.digest
    }
}

/// What an instance gave for the next one.
pub(crate) struct Snapshot {
    pub(crate) made_by: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of a component's state when another version takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The old version gives a snapshot and the new one restores it. Where the old version has no state to give, this is
    /// [`Fresh`](Self::Fresh).
    State,
    /// The new version starts with nothing: what the old one knew is lost.
    Fresh,
}

/// Asks a component's actor to go on with other code.
pub(crate) struct Order {
    pub(crate) code: Arc<Code>,
    pub(crate) change: Change,
    pub(crate) handover: Handover,
    pub(crate) answer: oneshot::Sender<Result<Switched, Error>>,
}

/// Shared by all incarnations of a component, and whoever changes its version.
pub(crate) struct Versions {
    pub(crate) releases: Arc<Releases<Code>>,
    inner: Mutex<Inner>,
    /// Whether an order waits: looked at between messages, where a lock would be one too many.
    is_ordered: AtomicBool,
}

struct Inner {
    /// The order that waits, and its number.
    order: Option<(u64, Order)>,
    orders: u64,
    /// What the next incarnation finds, where its state outlives crashes.
    snapshot: Option<Arc<Snapshot>>,
    /// No incarnation comes any more.
    is_closed: bool,
}

impl Versions {
    pub(crate) fn new(code: Code) -> Self {
        let inner = Inner { order: None, orders: 0, snapshot: None, is_closed: false };
        let releases = Arc::new(Releases::new(Arc::new(code)));
        Self { releases, inner: Mutex::new(inner), is_ordered: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an order for the actor, which looks for it between two messages. The number is for taking it back.
    pub(crate) fn order(&self, order: Order) -> Result<u64, Error> {
        let unavailable = |what: &str| Err(Error::new(ErrorKind::Unavailable, what));
        let mut inner = self.lock();
        if inner.is_closed {
            return unavailable("change the version: the component was stopped for good");
        }
        if inner.order.as_ref().is_some_and(|(_, waiting)| !waiting.answer.is_closed()) {
            return unavailable("change the version: another change of it waits for its turn");
        }
        inner.orders += 1;
        let number = inner.orders;
        inner.order = Some((number, order));
        self.is_ordered.store(true, Ordering::Release);
        Ok(number)
    }

    /// Takes an order back. False where the actor has begun with it.
    pub(crate) fn withdraw(&self, number: u64) -> bool {
        let mut inner = self.lock();
        let is_waiting = inner.order.as_ref().is_some_and(|(waiting, _)| *waiting == number);
        if is_waiting {
            inner.order = None;
            self.is_ordered.store(false, Ordering::Release);
        }
        is_waiting
    }

    /// Whether an order waits.
    pub(super) fn is_ordered(&self) -> bool {
        self.is_ordered.load(Ordering::Acquire)
    }

    /// Takes the order that waits, unless nobody waits for its answer any more.
    pub(super) fn take_order(&self) -> Option<Order> {
        let mut inner = self.lock();
        self.is_ordered.store(false, Ordering::Release);
        let (_, order) = inner.order.take()?;
        (!order.answer.is_closed()).then_some(order)
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lock().snapshot.clone()
    }

    /// Keeps a snapshot for the next incarnation, or forgets the last one.
    pub(crate) fn keep(&self, snapshot: Option<Arc<Snapshot>>) {
        self.lock().snapshot = snapshot;
    }

    /// Notes that no incarnation comes any more. Who waits for an order learns it.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.order = None;
        inner.snapshot = None;
    }
}
