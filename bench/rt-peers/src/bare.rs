//! The floor: a tokio task, a channel of tokio's and its oneshot, nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::rt::{Barrier, Failure, Place, Subject, program};

/// The capacity of a bounded channel: that of airssys-rt's default mailbox.
const CAPACITY: usize = 1024;

/// Bare tokio, with one kind of channel.
pub(crate) struct Tokio<C>(pub(crate) C);

/// `mpsc::unbounded_channel`.
pub(crate) struct Unbounded;

/// `mpsc::channel`.
pub(crate) struct Bounded;

/// A kind of channel.
pub(crate) trait Channel: Send + Sync + 'static {
    type Sender<M: Send + 'static>: Sender<M>;
    type Receiver<M: Send + 'static>: Receiver<M>;

    fn open<M: Send + 'static>() -> (Self::Sender<M>, Self::Receiver<M>);
}

pub(crate) trait Sender<M>: Clone + Send + Sync + 'static {
    /// False where nobody receives any more.
    fn send(&self, message: M) -> impl Future<Output = bool> + Send;
}

pub(crate) trait Receiver<M>: Send + 'static {
    fn receive(&mut self) -> impl Future<Output = Option<M>> + Send;
}

impl Channel for Unbounded {
    type Sender<M: Send + 'static> = mpsc::UnboundedSender<M>;
    type Receiver<M: Send + 'static> = mpsc::UnboundedReceiver<M>;

    fn open<M: Send + 'static>() -> (Self::Sender<M>, Self::Receiver<M>) {
        mpsc::unbounded_channel()
    }
}

impl<M: Send + 'static> Sender<M> for mpsc::UnboundedSender<M> {
    async fn send(&self, message: M) -> bool {
        self.send(message).is_ok()
    }
}

impl<M: Send + 'static> Receiver<M> for mpsc::UnboundedReceiver<M> {
    async fn receive(&mut self) -> Option<M> {
        self.recv().await
    }
}

impl Channel for Bounded {
    type Sender<M: Send + 'static> = mpsc::Sender<M>;
    type Receiver<M: Send + 'static> = mpsc::Receiver<M>;

    fn open<M: Send + 'static>() -> (Self::Sender<M>, Self::Receiver<M>) {
        mpsc::channel(CAPACITY)
    }
}

impl<M: Send + 'static> Sender<M> for mpsc::Sender<M> {
    async fn send(&self, message: M) -> bool {
        self.send(message).await.is_ok()
    }
}

impl<M: Send + 'static> Receiver<M> for mpsc::Receiver<M> {
    async fn receive(&mut self) -> Option<M> {
        self.recv().await
    }
}

pub(crate) enum Message {
    Add(u64),
    Total(oneshot::Sender<u64>),
    Crash,
}

fn counter<C: Channel>() -> (C::Sender<Message>, JoinHandle<()>) {
    let (sender, mut receiver) = C::open();
    let task = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(message) = receiver.receive().await {
            match message {
                Message::Add(number) => sum += number,
                Message::Total(reply) => drop(reply.send(sum)),
                Message::Crash => panic!("{}", program::CRASH),
            }
        }
    });
    (sender, task)
}

async fn total(counter: &impl Sender<Message>) -> Option<u64> {
    let (reply, answer) = oneshot::channel();
    if !counter.send(Message::Total(reply)).await {
        return None;
    }
    answer.await.ok()
}

fn sent(sent: bool) -> Result<(), Failure> {
    if sent { Ok(()) } else { Err("the receiver is gone".into()) }
}

/// The child's sender, which a task that watches over it puts there anew after each crash.
pub(crate) struct Child<S>(Arc<Mutex<S>>);

impl<S: Clone> Child<S> {
    fn current(&self) -> S {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<C: Channel> Subject for Tokio<C> {
    type Counter = C::Sender<Message>;
    type Node = C::Sender<u64>;
    type Leaf = C::Sender<u64>;
    type Child = Child<C::Sender<Message>>;

    async fn counter(&self, _: Place) -> Result<Self::Counter, Failure> {
        Ok(counter::<C>().0)
    }

    async fn add(counter: &Self::Counter, number: u64) -> Result<(), Failure> {
        sent(counter.send(Message::Add(number)).await)
    }

    async fn total(counter: &Self::Counter) -> Result<u64, Failure> {
        total(counter).await.ok_or_else(|| "the counter is gone".into())
    }

    async fn spawn_and_stop(&self, count: u64) -> Result<(), Failure> {
        let counters: Vec<_> = (0..count).map(|_| counter::<C>()).collect();
        let mut tasks = Vec::with_capacity(counters.len());
        for (sender, task) in counters {
            drop(sender);
            tasks.push(task);
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    }

    async fn ring(&self, nodes: u64, done: oneshot::Sender<()>) -> Result<Self::Node, Failure> {
        let (first, mut balls) = C::open::<u64>();
        let mut next = first.clone();
        for _ in 1..nodes {
            let (node, mut balls) = C::open::<u64>();
            let next = std::mem::replace(&mut next, node);
            tokio::spawn(async move {
                while let Some(times) = balls.receive().await {
                    next.send(times - 1).await;
                }
            });
        }
        tokio::spawn(async move {
            while let Some(times @ 1..) = balls.receive().await {
                next.send(times - 1).await;
            }
            done.send(())
        });
        Ok(first)
    }

    async fn pass(node: &Self::Node, times: u64) -> Result<(), Failure> {
        sent(node.send(times).await)
    }

    async fn skynet(&self, leaves: u64) -> Result<u64, Failure> {
        let (sender, mut receiver) = C::open();
        skynet::<C>(0, leaves, sender);
        receiver.receive().await.ok_or_else(|| "the tree is gone".into())
    }

    async fn leaf(&self, _: Place, barrier: Arc<Barrier>) -> Result<Self::Leaf, Failure> {
        let (leaf, mut hits) = C::open::<u64>();
        tokio::spawn(async move {
            while hits.receive().await.is_some() {
                barrier.arrive();
            }
        });
        Ok(leaf)
    }

    async fn hit(leaf: &Self::Leaf, number: u64) -> Result<(), Failure> {
        sent(leaf.send(number).await)
    }

    /// A supervisor written by hand: it waits for the task's end, starts another and tells where it is.
    async fn supervised(&self) -> Result<Self::Child, Failure> {
        let (sender, mut task) = counter::<C>();
        let current = Arc::new(Mutex::new(sender));
        let child = Child(Arc::clone(&current));
        tokio::spawn(async move {
            while task.await.is_err() {
                let (sender, next) = counter::<C>();
                *current.lock().unwrap_or_else(PoisonError::into_inner) = sender;
                task = next;
            }
        });
        Ok(child)
    }

    async fn crash(child: &Self::Child) -> Result<(), Failure> {
        sent(child.current().send(Message::Crash).await)
    }

    async fn answers(child: &Self::Child) -> bool {
        total(&child.current()).await.is_some()
    }
}

/// Every actor has a channel of its own, a leaf too.
fn skynet<C: Channel>(number: u64, leaves: u64, parent: C::Sender<u64>) {
    let (sender, mut receiver) = C::open::<u64>();
    tokio::spawn(async move {
        if leaves == 1 {
            parent.send(number).await;
            return;
        }
        let below = leaves / 10;
        for index in 0..10 {
            skynet::<C>(number + index * below, below, sender.clone());
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += receiver.receive().await.unwrap_or_default();
        }
        parent.send(sum).await;
    });
}
