//! ractor. Its mailboxes are all unbounded.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent, call, registry};
use tokio::sync::oneshot;

use crate::rt::{Barrier, Failure, Place, Subject, program};

/// What a callback of ractor's returns.
type Handled<T> = Result<T, ActorProcessingErr>;

/// ractor.
pub(crate) struct Ractor;

pub(crate) enum Message {
    Add(u64),
    Total(RpcReplyPort<u64>),
    Crash,
}

struct Counter;

impl Actor for Counter {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Handled<u64> {
        Ok(0)
    }

    async fn handle(&self, _: ActorRef<Message>, message: Message, sum: &mut u64) -> Handled<()> {
        match message {
            Message::Add(number) => *sum += number,
            Message::Total(reply) => drop(reply.send(*sum)),
            Message::Crash => panic!("{}", program::CRASH),
        }
        Ok(())
    }
}

pub(crate) enum Ball {
    /// Says who is next.
    Next(ActorRef<Ball>),
    Pass(u64),
}

struct Node;

pub(crate) struct NodeState {
    next: Option<ActorRef<Ball>>,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Node {
    type Msg = Ball;
    type State = NodeState;
    type Arguments = NodeState;

    async fn pre_start(&self, _: ActorRef<Ball>, state: NodeState) -> Handled<NodeState> {
        Ok(state)
    }

    async fn handle(&self, _: ActorRef<Ball>, ball: Ball, state: &mut NodeState) -> Handled<()> {
        match (ball, &state.next) {
            (Ball::Next(next), _) => state.next = Some(next),
            (Ball::Pass(times @ 1..), Some(next)) => next.cast(Ball::Pass(times - 1))?,
            (Ball::Pass(_), _) => drop(state.done.take().map(|done| done.send(()))),
        }
        Ok(())
    }
}

struct Skynet;

struct Branch {
    number: u64,
    leaves: u64,
    parent: Parent,
    sum: u64,
    missing: u32,
}

enum Parent {
    Branch(ActorRef<u64>),
    Driver(Option<oneshot::Sender<u64>>),
}

impl Parent {
    fn tell(&mut self, sum: u64) -> Handled<()> {
        match self {
            Self::Branch(parent) => parent.cast(sum)?,
            Self::Driver(driver) => drop(driver.take().map(|driver| driver.send(sum))),
        }
        Ok(())
    }
}

impl Branch {
    fn new(number: u64, leaves: u64, parent: Parent) -> Self {
        Self { number, leaves, parent, sum: 0, missing: 10 }
    }

    /// Boxed, because the tree is as deep as it is.
    fn grow(self) -> std::pin::Pin<Box<dyn Future<Output = Result<(), SpawnErr>> + Send>> {
        Box::pin(async move { Actor::spawn(None, Skynet, self).await.map(drop) })
    }
}

impl Actor for Skynet {
    type Msg = u64;
    type State = Branch;
    type Arguments = Branch;

    async fn pre_start(&self, _: ActorRef<u64>, branch: Branch) -> Handled<Branch> {
        Ok(branch)
    }

    async fn post_start(&self, myself: ActorRef<u64>, branch: &mut Branch) -> Handled<()> {
        if branch.leaves == 1 {
            branch.parent.tell(branch.number)?;
            myself.stop(None);
            return Ok(());
        }
        let below = branch.leaves / 10;
        for index in 0..10 {
            Branch::new(branch.number + index * below, below, Parent::Branch(myself.clone())).grow().await?;
        }
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<u64>, sum: u64, branch: &mut Branch) -> Handled<()> {
        branch.sum += sum;
        branch.missing -= 1;
        if branch.missing == 0 {
            branch.parent.tell(branch.sum)?;
            myself.stop(None);
        }
        Ok(())
    }
}

struct Leaf;

impl Actor for Leaf {
    type Msg = u64;
    type State = Arc<Barrier>;
    type Arguments = Arc<Barrier>;

    async fn pre_start(&self, _: ActorRef<u64>, barrier: Arc<Barrier>) -> Handled<Arc<Barrier>> {
        Ok(barrier)
    }

    async fn handle(&self, _: ActorRef<u64>, _: u64, barrier: &mut Arc<Barrier>) -> Handled<()> {
        barrier.arrive();
        Ok(())
    }
}

/// ractor tells a supervisor of a failure; starting the child again is the user's to write.
struct Supervisor;

const CHILD: &str = "child";

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Handled<()> {
        Actor::spawn_linked(Some(CHILD.into()), Counter, (), myself.get_cell()).await?;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Handled<()> {
        if !matches!(event, SupervisionEvent::ActorFailed(..)) {
            return Ok(());
        }
        // The dying child gives its name back only after it has told us of its end.
        while let Err(error) = Actor::spawn_linked(Some(CHILD.into()), Counter, (), myself.get_cell()).await {
            if !matches!(error, SpawnErr::ActorAlreadyRegistered(_)) {
                return Err(error.into());
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

fn child() -> Option<ActorRef<Message>> {
    registry::where_is(CHILD).map(ActorRef::from)
}

impl Subject for Ractor {
    type Counter = ActorRef<Message>;
    type Node = ActorRef<Ball>;
    type Leaf = ActorRef<u64>;
    /// It is found by its name.
    type Child = ();

    async fn counter(&self, _: Place) -> Result<Self::Counter, Failure> {
        Ok(Actor::spawn(None, Counter, ()).await?.0)
    }

    async fn add(counter: &Self::Counter, number: u64) -> Result<(), Failure> {
        counter.cast(Message::Add(number)).map_err(|error| error.to_string().into())
    }

    async fn total(counter: &Self::Counter) -> Result<u64, Failure> {
        call!(counter, Message::Total).map_err(|error| error.to_string().into())
    }

    async fn spawn_and_stop(&self, count: u64) -> Result<(), Failure> {
        let mut counters = Vec::with_capacity(usize::try_from(count)?);
        for _ in 0..count {
            counters.push(Actor::spawn(None, Counter, ()).await?);
        }
        for (counter, _) in &counters {
            counter.stop(None);
        }
        for (_, task) in counters {
            task.await?;
        }
        Ok(())
    }

    async fn ring(&self, nodes: u64, done: oneshot::Sender<()>) -> Result<Self::Node, Failure> {
        let (first, _) = Actor::spawn(None, Node, NodeState { next: None, done: Some(done) }).await?;
        let mut next = first.clone();
        for _ in 1..nodes {
            next = Actor::spawn(None, Node, NodeState { next: Some(next), done: None }).await?.0;
        }
        first.cast(Ball::Next(next)).map_err(|error| error.to_string())?;
        Ok(first)
    }

    async fn pass(node: &Self::Node, times: u64) -> Result<(), Failure> {
        node.cast(Ball::Pass(times)).map_err(|error| error.to_string().into())
    }

    async fn skynet(&self, leaves: u64) -> Result<u64, Failure> {
        let (driver, sum) = oneshot::channel();
        Branch::new(0, leaves, Parent::Driver(Some(driver))).grow().await?;
        Ok(sum.await?)
    }

    async fn leaf(&self, _: Place, barrier: Arc<Barrier>) -> Result<Self::Leaf, Failure> {
        Ok(Actor::spawn(None, Leaf, barrier).await?.0)
    }

    async fn hit(leaf: &Self::Leaf, number: u64) -> Result<(), Failure> {
        leaf.cast(number).map_err(|error| error.to_string().into())
    }

    async fn supervised(&self) -> Result<Self::Child, Failure> {
        Actor::spawn(None, Supervisor, ()).await?;
        Ok(())
    }

    async fn crash((): &Self::Child) -> Result<(), Failure> {
        let child = child().ok_or("the child has no name")?;
        child.cast(Message::Crash).map_err(|error| error.to_string().into())
    }

    async fn answers((): &Self::Child) -> bool {
        match child() {
            Some(child) => call!(child, Message::Total).is_ok(),
            None => false,
        }
    }
}
