//! What a system of actors has to be able to do to be measured.

use std::sync::Arc;
use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::Failure;

/// A system of actors. The driver asks for what a workload needs; how it is done is up to the system's own ways.
///
/// An actor that is handed out stays alive at least as long as its handle.
pub trait Subject: Send + Sync + 'static {
    /// An actor that adds up numbers and tells their sum.
    type Counter: Clone + Send + Sync + 'static;
    /// An actor in a ring, which passes what it gets to the next one, less one.
    type Node: Send + Sync + 'static;
    /// An actor that reports every message to a [`Barrier`].
    type Leaf: Send + Sync + 'static;
    /// A counter with a supervisor, as one finds it again after a restart.
    type Child: Send + Sync + 'static;

    /// Whether a supervisor starts a child again that panicked.
    const RESTARTS_AFTER_PANIC: bool = true;

    /// Starts a task of the driver.
    fn task(
        job: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> JoinHandle<Result<(), Failure>> {
        tokio::spawn(job)
    }

    /// Starts a counter.
    fn counter(&self, place: Place) -> impl Future<Output = Result<Self::Counter, Failure>> + Send;

    /// Tells a counter a number.
    fn add(counter: &Self::Counter, number: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks a counter for the sum.
    fn total(counter: &Self::Counter) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Starts so many counters; then stops them; then waits until each has ended.
    fn spawn_and_stop(&self, count: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Starts a ring of actors and returns its first, which tells `done` when it gets a zero.
    fn ring(
        &self,
        nodes: u64,
        done: oneshot::Sender<()>,
    ) -> impl Future<Output = Result<Self::Node, Failure>> + Send;

    /// Gives the ball to an actor of a ring, to be passed so many times.
    fn pass(node: &Self::Node, times: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Starts an actor that starts ten which start ten each … until there are so many, numbered from zero; each
    /// sends the sum of what is below it to the one that started it. Returns the sum.
    fn skynet(&self, leaves: u64) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Starts an actor that reports to the barrier.
    fn leaf(
        &self,
        place: Place,
        barrier: Arc<Barrier>,
    ) -> impl Future<Output = Result<Self::Leaf, Failure>> + Send;

    /// Tells a leaf a number.
    fn hit(leaf: &Self::Leaf, number: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Starts a supervisor with one counter, which it may start again any number of times.
    fn supervised(&self) -> impl Future<Output = Result<Self::Child, Failure>> + Send;

    /// Tells a child to panic.
    fn crash(child: &Self::Child) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks a child for its sum; false where it is not there, or not any more.
    fn answers(child: &Self::Child) -> impl Future<Output = bool> + Send;
}

/// Where an actor is to run, for a system that has its actors on one thread each: the driver has the choice that
/// suits such a system best. The others need not care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the driver's thread.
    Near,
    /// On the other one.
    Far,
}

impl Place {
    /// Every other one on the driver's thread.
    pub fn alternating(index: u64) -> Self {
        if index.is_multiple_of(2) { Self::Near } else { Self::Far }
    }
}

/// Lets the driver wait until every actor has had its message.
#[derive(Debug, Default)]
pub struct Barrier {
    missing: AtomicU64,
    all_there: Notify,
}

impl Barrier {
    /// Reports one message.
    pub fn arrive(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_there.notify_one();
        }
    }

    pub(super) fn expect(&self, count: u64) {
        self.missing.store(count, Ordering::Release);
    }

    pub(super) async fn wait(&self) {
        self.all_there.notified().await;
    }
}
