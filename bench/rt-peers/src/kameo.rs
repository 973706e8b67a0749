//! kameo, with unbounded mailboxes or with its default ones.

use std::{sync::Arc, time::Duration};

use kameo::{
    Actor,
    actor::{ActorRef, Spawn},
    error::Infallible,
    mailbox,
    message::{Context, Message},
    supervision::RestartPolicy,
};
use tokio::sync::oneshot;

use crate::rt::{Barrier, Failure, Place, Subject, program};

/// kameo, with one kind of mailbox.
pub(crate) struct Kameo {
    /// Whether mailboxes are bounded, which is its default.
    pub(crate) bounded: bool,
}

fn start<A: Actor + Spawn>(args: A::Args, bounded: bool) -> ActorRef<A> {
    if bounded { A::spawn(args) } else { A::spawn_with_mailbox(args, mailbox::unbounded()) }
}

pub(crate) struct Counter(u64);

impl Actor for Counter {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self(0))
    }
}

struct Add(u64);

impl Message<Add> for Counter {
    type Reply = ();

    async fn handle(&mut self, Add(number): Add, _: &mut Context<Self, ()>) {
        self.0 += number;
    }
}

struct Total;

impl Message<Total> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _: Total, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

struct Crash;

impl Message<Crash> for Counter {
    type Reply = ();

    async fn handle(&mut self, _: Crash, _: &mut Context<Self, ()>) {
        panic!("{}", program::CRASH)
    }
}

pub(crate) struct Node {
    next: Option<ActorRef<Self>>,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Node {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(node: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(node)
    }
}

/// Says who is next.
struct Next(ActorRef<Node>);

impl Message<Next> for Node {
    type Reply = ();

    async fn handle(&mut self, Next(next): Next, _: &mut Context<Self, ()>) {
        self.next = Some(next);
    }
}

struct Pass(u64);

impl Message<Pass> for Node {
    type Reply = ();

    async fn handle(&mut self, Pass(times): Pass, _: &mut Context<Self, ()>) {
        match &self.next {
            Some(next) if times > 0 => drop(next.tell(Pass(times - 1)).await),
            _ => drop(self.done.take().map(|done| done.send(()))),
        }
    }
}

struct Branch {
    parent: Parent,
    sum: u64,
    missing: u32,
}

enum Parent {
    Branch(ActorRef<Branch>),
    Driver(Option<oneshot::Sender<u64>>),
}

impl Parent {
    async fn tell(&mut self, sum: u64) {
        match self {
            Self::Branch(parent) => drop(parent.tell(Sum(sum)).await),
            Self::Driver(driver) => drop(driver.take().map(|driver| driver.send(sum))),
        }
    }
}

struct Seed {
    number: u64,
    leaves: u64,
    parent: Parent,
    bounded: bool,
}

impl Actor for Branch {
    type Args = Seed;
    type Error = Infallible;

    /// A leaf ends by itself: nobody refers to it any more when it has started.
    async fn on_start(seed: Seed, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        let Seed { number, leaves, mut parent, bounded } = seed;
        if leaves == 1 {
            parent.tell(number).await;
        } else {
            let below = leaves / 10;
            for index in 0..10 {
                let number = number + index * below;
                let parent = Parent::Branch(myself.clone());
                start::<Self>(Seed { number, leaves: below, parent, bounded }, bounded);
            }
        }
        Ok(Self { parent, sum: 0, missing: 10 })
    }
}

struct Sum(u64);

impl Message<Sum> for Branch {
    type Reply = ();

    async fn handle(&mut self, Sum(sum): Sum, context: &mut Context<Self, ()>) {
        self.sum += sum;
        self.missing -= 1;
        if self.missing == 0 {
            self.parent.tell(self.sum).await;
            context.stop();
        }
    }
}

pub(crate) struct Leaf(Arc<Barrier>);

impl Actor for Leaf {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(leaf: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(leaf)
    }
}

struct Hit(#[expect(dead_code, reason = "a message has a content")] u64);

impl Message<Hit> for Leaf {
    type Reply = ();

    async fn handle(&mut self, _: Hit, _: &mut Context<Self, ()>) {
        self.0.arrive();
    }
}

pub(crate) struct Supervisor;

impl Actor for Supervisor {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl Subject for Kameo {
    type Counter = ActorRef<Counter>;
    type Node = ActorRef<Node>;
    type Leaf = ActorRef<Leaf>;
    /// It ends with its supervisor, and that one with its last reference.
    type Child = (ActorRef<Counter>, ActorRef<Supervisor>);

    async fn counter(&self, _: Place) -> Result<Self::Counter, Failure> {
        Ok(start::<Counter>((), self.bounded))
    }

    async fn add(counter: &Self::Counter, number: u64) -> Result<(), Failure> {
        counter.tell(Add(number)).await.map_err(|error| error.to_string().into())
    }

    async fn total(counter: &Self::Counter) -> Result<u64, Failure> {
        counter.ask(Total).await.map_err(|error| error.to_string().into())
    }

    async fn spawn_and_stop(&self, count: u64) -> Result<(), Failure> {
        let counters: Vec<_> = (0..count).map(|_| start::<Counter>((), self.bounded)).collect();
        for counter in &counters {
            counter.stop_gracefully().await.map_err(|error| error.to_string())?;
        }
        for counter in &counters {
            counter.wait_for_shutdown().await;
        }
        Ok(())
    }

    async fn ring(&self, nodes: u64, done: oneshot::Sender<()>) -> Result<Self::Node, Failure> {
        let first = start::<Node>(Node { next: None, done: Some(done) }, self.bounded);
        let mut next = first.clone();
        for _ in 1..nodes {
            next = start::<Node>(Node { next: Some(next), done: None }, self.bounded);
        }
        first.ask(Next(next)).await.map_err(|error| error.to_string())?;
        Ok(first)
    }

    async fn pass(node: &Self::Node, times: u64) -> Result<(), Failure> {
        node.tell(Pass(times)).await.map_err(|error| error.to_string().into())
    }

    async fn skynet(&self, leaves: u64) -> Result<u64, Failure> {
        let (driver, sum) = oneshot::channel();
        let bounded = self.bounded;
        start::<Branch>(Seed { number: 0, leaves, parent: Parent::Driver(Some(driver)), bounded }, bounded);
        Ok(sum.await?)
    }

    async fn leaf(&self, _: Place, barrier: Arc<Barrier>) -> Result<Self::Leaf, Failure> {
        let leaf = start::<Leaf>(Leaf(barrier), self.bounded);
        leaf.wait_for_startup().await;
        Ok(leaf)
    }

    async fn hit(leaf: &Self::Leaf, number: u64) -> Result<(), Failure> {
        leaf.tell(Hit(number)).await.map_err(|error| error.to_string().into())
    }

    async fn supervised(&self) -> Result<Self::Child, Failure> {
        let supervisor = start::<Supervisor>((), self.bounded);
        let child = Counter::supervise_with(&supervisor, || ())
            .restart_policy(RestartPolicy::Permanent)
            .restart_limit(u32::MAX, Duration::from_secs(1))
            .spawn()
            .await;
        Ok((child, supervisor))
    }

    async fn crash((child, _): &Self::Child) -> Result<(), Failure> {
        child.tell(Crash).await.map_err(|error| error.to_string().into())
    }

    async fn answers((child, _): &Self::Child) -> bool {
        child.ask(Total).await.is_ok()
    }
}
