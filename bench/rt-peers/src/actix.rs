//! actix. Its actors belong to one thread each, so there are two arbiters: the driver's thread and one more.
//!
//! A message that is told (`do_send`) is taken whatever the capacity of the mailbox; there is no waiting for room.

use std::sync::Arc;

use actix::prelude::*;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
};

use crate::rt::{self, Barrier, Failure, Measured, Place, Subject, Workload};

/// actix.
pub(crate) struct Actix {
    /// The thread that the driver does not run on.
    other: ArbiterHandle,
}

/// Runs a workload in an actix system of two threads.
pub(crate) fn run(workload: Workload, divisor: u64) -> Result<Option<Measured>, Failure> {
    System::new().block_on(async move {
        let subject = Actix { other: Arbiter::new().handle() };
        rt::run(&subject, workload, divisor).await
    })
}

pub(crate) struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Add(u64);

impl Handler<Add> for Counter {
    type Result = ();

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) {
        self.0 += number;
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Total;

impl Handler<Total> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Total, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Counter {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Context<Self>) {
        context.stop();
    }
}

pub(crate) struct Node {
    next: Option<Addr<Self>>,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Node {
    type Context = Context<Self>;
}

/// Says who is next.
#[derive(Message)]
#[rtype(result = "()")]
struct Next(Addr<Node>);

impl Handler<Next> for Node {
    type Result = ();

    fn handle(&mut self, Next(next): Next, _: &mut Context<Self>) {
        self.next = Some(next);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Pass(u64);

impl Handler<Pass> for Node {
    type Result = ();

    fn handle(&mut self, Pass(times): Pass, _: &mut Context<Self>) {
        match &self.next {
            Some(next) if times > 0 => next.do_send(Pass(times - 1)),
            _ => drop(self.done.take().map(|done| done.send(()))),
        }
    }
}

struct Branch {
    number: u64,
    leaves: u64,
    parent: Parent,
    /// The root's alone, which shares its children out.
    other: Option<ArbiterHandle>,
    sum: u64,
    missing: u32,
}

enum Parent {
    Branch(Addr<Branch>),
    Driver(Option<oneshot::Sender<u64>>),
}

impl Parent {
    fn tell(&mut self, sum: u64) {
        match self {
            Self::Branch(parent) => parent.do_send(Sum(sum)),
            Self::Driver(driver) => drop(driver.take().map(|driver| driver.send(sum))),
        }
    }
}

impl Branch {
    fn new(number: u64, leaves: u64, parent: Parent, other: Option<ArbiterHandle>) -> Self {
        Self { number, leaves, parent, other, sum: 0, missing: 10 }
    }
}

impl Actor for Branch {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if self.leaves == 1 {
            self.parent.tell(self.number);
            context.stop();
            return;
        }
        let below = self.leaves / 10;
        for index in 0..10 {
            let parent = Parent::Branch(context.address());
            let child = Self::new(self.number + index * below, below, parent, None);
            match &self.other {
                Some(other) if index % 2 == 0 => drop(Self::start_in_arbiter(other, |_| child)),
                _ => drop(child.start()),
            }
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Sum(u64);

impl Handler<Sum> for Branch {
    type Result = ();

    fn handle(&mut self, Sum(sum): Sum, context: &mut Context<Self>) {
        self.sum += sum;
        self.missing -= 1;
        if self.missing == 0 {
            self.parent.tell(self.sum);
            context.stop();
        }
    }
}

pub(crate) struct Leaf(Arc<Barrier>);

impl Actor for Leaf {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hit(#[expect(dead_code, reason = "a message has a content")] u64);

impl Handler<Hit> for Leaf {
    type Result = ();

    fn handle(&mut self, _: Hit, _: &mut Context<Self>) {
        self.0.arrive();
    }
}

impl Actix {
    fn start<A: Actor<Context = Context<A>> + Send>(&self, actor: A, place: Place) -> Addr<A> {
        match place {
            Place::Near => actor.start(),
            Place::Far => A::start_in_arbiter(&self.other, |_| actor),
        }
    }
}

impl Subject for Actix {
    type Counter = Addr<Counter>;
    type Node = Addr<Node>;
    type Leaf = Addr<Leaf>;
    type Child = ();

    /// Its supervisor starts an actor again that stopped itself, and never one that panicked.
    const RESTARTS_AFTER_PANIC: bool = false;

    fn task(
        job: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> JoinHandle<Result<(), Failure>> {
        actix::spawn(job)
    }

    async fn counter(&self, place: Place) -> Result<Self::Counter, Failure> {
        Ok(self.start(Counter(0), place))
    }

    async fn add(counter: &Self::Counter, number: u64) -> Result<(), Failure> {
        counter.do_send(Add(number));
        Ok(())
    }

    async fn total(counter: &Self::Counter) -> Result<u64, Failure> {
        Ok(counter.send(Total).await?)
    }

    async fn spawn_and_stop(&self, count: u64) -> Result<(), Failure> {
        let start = |index| self.start(Counter(0), Place::alternating(index));
        let counters: Vec<_> = (0..count).map(start).collect();
        let stops: Vec<_> = counters.iter().map(|counter| counter.send(Stop)).collect();
        for stop in stops {
            stop.await?;
        }
        for counter in &counters {
            while counter.connected() {
                yield_now().await;
            }
        }
        Ok(())
    }

    async fn ring(&self, nodes: u64, done: oneshot::Sender<()>) -> Result<Self::Node, Failure> {
        let first = Node { next: None, done: Some(done) }.start();
        let mut next = first.clone();
        for _ in 1..nodes {
            next = Node { next: Some(next), done: None }.start();
        }
        first.send(Next(next)).await?;
        Ok(first)
    }

    async fn pass(node: &Self::Node, times: u64) -> Result<(), Failure> {
        node.do_send(Pass(times));
        Ok(())
    }

    async fn skynet(&self, leaves: u64) -> Result<u64, Failure> {
        let (driver, sum) = oneshot::channel();
        Branch::new(0, leaves, Parent::Driver(Some(driver)), Some(self.other.clone())).start();
        Ok(sum.await?)
    }

    async fn leaf(&self, place: Place, barrier: Arc<Barrier>) -> Result<Self::Leaf, Failure> {
        Ok(self.start(Leaf(barrier), place))
    }

    async fn hit(leaf: &Self::Leaf, number: u64) -> Result<(), Failure> {
        leaf.do_send(Hit(number));
        Ok(())
    }

    async fn supervised(&self) -> Result<Self::Child, Failure> {
        Err("nothing starts an actor again that panicked".into())
    }

    async fn crash((): &Self::Child) -> Result<(), Failure> {
        Err("nothing starts an actor again that panicked".into())
    }

    async fn answers((): &Self::Child) -> bool {
        false
    }
}
