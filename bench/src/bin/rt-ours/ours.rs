//! airssys-rt as a subject of the driver, by nothing but its public face.

use std::{sync::Arc, time::Duration};

use airssys_bench::rt::{Barrier, Failure, Place, Subject};
use airssys_rt::{
    Actor, ActorRef, ChildSpec, ExitReason, Mailbox, Strategy, Supervisor, SupervisorRef, System,
};
use tokio::sync::oneshot;

use crate::actors::{self, Ball, Branch, Count, Counter, Leaf, Node, Parent};

/// How long a call waits for its answer. Long enough for the last of a million.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// More restarts than any workload has in [`PERIOD`], as giving up is not what is measured.
pub(crate) const INTENSITY: usize = 1_000_000;
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// airssys-rt, with one kind of mailbox.
pub(crate) struct Ours<const BOUNDED: bool> {
    system: System,
    /// Whether counters and the nodes of rings are traced when they start, and then no more.
    traced_before: bool,
}

/// A supervised counter. Its mailbox outlives it, so one reference is good for all its lives.
pub(crate) struct Child {
    pub(crate) counter: ActorRef<Count>,
    _supervisor: SupervisorRef,
}

impl<const BOUNDED: bool> Ours<BOUNDED> {
    pub(crate) fn new(system: System) -> Self {
        Self { system, traced_before: false }
    }

    /// One whose counters and nodes of rings have been traced, and are no more.
    pub(crate) fn traced_before(system: System) -> Self {
        Self { system, traced_before: true }
    }

    pub(crate) fn start_counter(&self) -> ActorRef<Count> {
        self.start(Counter(0))
    }

    fn start<A: Actor>(&self, actor: A) -> ActorRef<A::Msg> {
        let started = actors::spawn::<BOUNDED, _>(&self.system, actor);
        if self.traced_before {
            self.system.trace(started.id(), true);
            self.system.trace(started.id(), false);
        }
        started
    }

    /// Starts a supervisor with so many counters. Each keeps its mailbox over restarts.
    pub(crate) async fn family(&self, count: u64) -> Result<(Vec<ActorRef<Count>>, SupervisorRef), Failure> {
        let mut supervisor = Supervisor::new("family", Strategy::OneForOne).intensity(INTENSITY, PERIOD);
        let mut counters = Vec::new();
        for index in 0..count {
            let mailbox = if BOUNDED { Mailbox::default() } else { Mailbox::unbounded() };
            counters.push(mailbox.actor_ref());
            let child = ChildSpec::actor_with_mailbox(format!("child-{index}"), mailbox, || Counter(0));
            supervisor = supervisor.child(child);
        }
        Ok((counters, self.system.start(supervisor).await?))
    }
}

pub(crate) async fn total(counter: &ActorRef<Count>) -> Result<u64, Failure> {
    Ok(counter.call(Count::Total, TIMEOUT).await?)
}

pub(crate) async fn send<const BOUNDED: bool>(counter: &ActorRef<Count>, what: Count) -> Result<(), Failure> {
    actors::send::<BOUNDED, _>(counter, what).await.map_err(failure)
}

fn failure(reason: ExitReason) -> Failure {
    reason.to_string().into()
}

impl<const BOUNDED: bool> Subject for Ours<BOUNDED> {
    type Counter = ActorRef<Count>;
    type Node = ActorRef<Ball>;
    type Leaf = ActorRef<u64>;
    type Child = Child;

    async fn counter(&self, _: Place) -> Result<Self::Counter, Failure> {
        Ok(self.start_counter())
    }

    async fn add(counter: &Self::Counter, number: u64) -> Result<(), Failure> {
        send::<BOUNDED>(counter, Count::Add(number)).await
    }

    async fn total(counter: &Self::Counter) -> Result<u64, Failure> {
        total(counter).await
    }

    async fn spawn_and_stop(&self, count: u64) -> Result<(), Failure> {
        let counters: Vec<_> = (0..count).map(|_| self.start_counter()).collect();
        for counter in &counters {
            counter.stop(ExitReason::Normal);
        }
        for counter in &counters {
            counter.exited().await;
        }
        Ok(())
    }

    async fn ring(&self, nodes: u64, done: oneshot::Sender<()>) -> Result<Self::Node, Failure> {
        let start = |next, done| self.start(Node::<BOUNDED> { next, done });
        let first = start(None, Some(done));
        let mut next = first.clone();
        for _ in 1..nodes {
            next = start(Some(next), None);
        }
        actors::send::<BOUNDED, _>(&first, Ball::Next(next)).await.map_err(failure)?;
        Ok(first)
    }

    async fn pass(node: &Self::Node, times: u64) -> Result<(), Failure> {
        actors::send::<BOUNDED, _>(node, Ball::Pass(times)).await.map_err(failure)
    }

    async fn skynet(&self, leaves: u64) -> Result<u64, Failure> {
        let (driver, sum) = oneshot::channel();
        let root = Branch::<BOUNDED>::new(0, leaves, Parent::Driver(Some(driver)));
        actors::spawn::<BOUNDED, _>(&self.system, root);
        Ok(sum.await?)
    }

    async fn leaf(&self, _: Place, barrier: Arc<Barrier>) -> Result<Self::Leaf, Failure> {
        Ok(actors::spawn::<BOUNDED, _>(&self.system, Leaf(barrier)))
    }

    async fn hit(leaf: &Self::Leaf, number: u64) -> Result<(), Failure> {
        actors::send::<BOUNDED, _>(leaf, number).await.map_err(failure)
    }

    async fn supervised(&self) -> Result<Self::Child, Failure> {
        let (counters, supervisor) = self.family(1).await?;
        let counter = counters.into_iter().next().ok_or("a family of one has one")?;
        Ok(Child { counter, _supervisor: supervisor })
    }

    async fn crash(child: &Self::Child) -> Result<(), Failure> {
        send::<BOUNDED>(&child.counter, Count::Crash).await
    }

    async fn answers(child: &Self::Child) -> bool {
        total(&child.counter).await.is_ok()
    }
}
