//! The actors of the workloads, written as a user of airssys-rt would.

use std::sync::Arc;

use airssys_bench::rt::{Barrier, program};
use airssys_rt::{Actor, ActorRef, Context, ExitReason, Init, MailboxOptions, Reply, SpawnOptions, System};
use tokio::sync::oneshot;

/// Starts an actor with one kind of mailbox.
pub(crate) fn spawn<const BOUNDED: bool, A: Actor>(system: &System, actor: A) -> ActorRef<A::Msg> {
    if BOUNDED {
        return system.spawn(actor);
    }
    system.spawn_with(SpawnOptions { mailbox: MailboxOptions::unbounded(), name: None }, actor)
}

/// Sends a message to an actor with one kind of mailbox.
///
/// An unbounded mailbox always has room, so there is nothing to wait for, and `try_cast` sends at once. To a bounded
/// one the sender waits for room: it never drops a message.
pub(crate) async fn send<const BOUNDED: bool, M: Send + Sync + 'static>(
    to: &ActorRef<M>,
    message: M,
) -> Result<(), ExitReason> {
    if BOUNDED {
        to.cast(message).await?;
    } else {
        to.try_cast(message)?;
    }
    Ok(())
}

/// Adds up numbers, and says what it comes to.
pub(crate) struct Counter(pub(crate) u64);

pub(crate) enum Count {
    Add(u64),
    Total(Reply<u64>),
    Crash,
}

impl Actor for Counter {
    type Msg = Count;

    async fn handle(&mut self, message: Count, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Count::Add(number) => self.0 += number,
            Count::Total(reply) => reply.send(self.0),
            Count::Crash => crash(),
        }
        Ok(())
    }
}

#[expect(clippy::panic, reason = "that is what the workload is about")]
fn crash() -> ! {
    panic!("{}", program::CRASH)
}

/// Passes the ball on, less one.
pub(crate) struct Node<const BOUNDED: bool> {
    pub(crate) next: Option<ActorRef<Ball>>,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

pub(crate) enum Ball {
    /// Says who is next.
    Next(ActorRef<Ball>),
    Pass(u64),
}

impl<const BOUNDED: bool> Actor for Node<BOUNDED> {
    type Msg = Ball;

    async fn handle(&mut self, ball: Ball, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match (ball, &self.next) {
            (Ball::Next(next), _) => self.next = Some(next),
            (Ball::Pass(times @ 1..), Some(next)) => send::<BOUNDED, _>(next, Ball::Pass(times - 1)).await?,
            (Ball::Pass(_), _) => drop(self.done.take().map(|done| done.send(()))),
        }
        Ok(())
    }
}

/// Starts ten like it, and sends their sum to the one that started it.
pub(crate) struct Branch<const BOUNDED: bool> {
    number: u64,
    leaves: u64,
    parent: Parent,
    sum: u64,
    missing: u32,
}

pub(crate) enum Parent {
    Branch(ActorRef<u64>),
    Driver(Option<oneshot::Sender<u64>>),
}

impl Parent {
    async fn tell<const BOUNDED: bool>(&mut self, sum: u64) -> Result<(), ExitReason> {
        match self {
            Self::Branch(parent) => send::<BOUNDED, _>(parent, sum).await?,
            Self::Driver(driver) => drop(driver.take().map(|driver| driver.send(sum))),
        }
        Ok(())
    }
}

impl<const BOUNDED: bool> Branch<BOUNDED> {
    pub(crate) fn new(number: u64, leaves: u64, parent: Parent) -> Self {
        Self { number, leaves, parent, sum: 0, missing: 10 }
    }
}

impl<const BOUNDED: bool> Actor for Branch<BOUNDED> {
    type Msg = u64;

    /// A leaf has nothing more to do when it has told its number.
    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        if self.leaves == 1 {
            self.parent.tell::<BOUNDED>(self.number).await?;
            return Ok(Init::Ignore);
        }
        let below = self.leaves / 10;
        for index in 0..10 {
            let parent = Parent::Branch(cx.actor_ref());
            let child = Self::new(self.number + index * below, below, parent);
            spawn::<BOUNDED, _>(cx.system(), child);
        }
        Ok(Init::Ready)
    }

    async fn handle(&mut self, sum: u64, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.sum += sum;
        self.missing -= 1;
        if self.missing > 0 {
            return Ok(());
        }
        self.parent.tell::<BOUNDED>(self.sum).await?;
        Err(ExitReason::Normal)
    }
}

/// Reports every message to a barrier.
pub(crate) struct Leaf(pub(crate) Arc<Barrier>);

impl Actor for Leaf {
    type Msg = u64;

    async fn handle(&mut self, _: u64, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.0.arrive();
        Ok(())
    }
}
