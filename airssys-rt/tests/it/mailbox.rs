//! Order, bounds and fairness of a mailbox.
//!
//! After the Erlang reference manual's *Signal Delivery* and `signal_SUITE`: `fifo_per_sender_unbounded` and its like; OTP has no
//! bound. Its priority messages (EEP 76) are in `overflow`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, Context, ExitReason, Mailbox, MailboxOptions, Reply, SendError, SpawnOptions, System,
};

use crate::stage::{Do, LONG, settle};

/// Takes what it is given, and keeps it.
#[derive(Default)]
struct Collector(Vec<(u32, u32)>);

enum Give {
    One(u32, u32),
    All(Reply<Vec<(u32, u32)>>),
}

impl Actor for Collector {
    type Msg = Give;

    async fn handle(&mut self, give: Give, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match give {
            Give::One(from, number) => self.0.push((from, number)),
            Give::All(reply) => reply.send(std::mem::take(&mut self.0)),
        }
        Ok(())
    }
}

fn collect(mailbox: Mailbox<Give>) -> ActorRef<Give> {
    System::new().spawn_on(&mailbox, None, Collector::default()).unwrap()
}

async fn all(collector: &ActorRef<Give>) -> Vec<u32> {
    let given = collector.call(Give::All, LONG).await.unwrap();
    given.into_iter().map(|(_, number)| number).collect()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Task::from_waker(Waker::noop()))
}

/// Four senders on other threads; each one's messages arrive in its order, and all arrive.
async fn keeps_order_per_sender(mailbox: Mailbox<Give>) {
    const SENDERS: u32 = 4;
    const MESSAGES: u32 = 20_000;
    let collector = collect(mailbox);
    let senders: Vec<_> = (0..SENDERS)
        .map(|from| {
            let collector = collector.clone();
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    collector.cast(Give::One(from, number)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let given = collector.call(Give::All, LONG).await.unwrap();
    for from in 0..SENDERS {
        let numbers = given.iter().filter(|given| given.0 == from).map(|given| given.1);
        assert!(numbers.eq(0..MESSAGES), "messages of sender {from}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifo_per_sender_unbounded() {
    keeps_order_per_sender(Mailbox::unbounded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifo_per_sender_bounded() {
    keeps_order_per_sender(Mailbox::bounded(64)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifo_per_sender_with_room_for_one() {
    keeps_order_per_sender(Mailbox::bounded(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_gives_the_message_back() {
    let mailbox = Mailbox::bounded(2);
    let actor = mailbox.actor_ref();
    for number in 0..2 {
        actor.try_cast(Give::One(0, number)).unwrap();
    }
    let refused = actor.try_cast(Give::One(0, 7)).unwrap_err();
    assert!(matches!(refused, SendError::Full(Give::One(0, 7))));
    assert_eq!(actor.depth(), 2);
    let collector = collect(mailbox);
    assert_eq!(all(&collector).await, [0, 1]);
    assert_eq!(actor.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_actor_gives_the_message_back() {
    let mailbox = Mailbox::bounded(2);
    let actor = mailbox.actor_ref();
    assert!(actor.is_alive());
    drop(mailbox);
    assert!(!actor.is_alive());
    let refused = actor.try_cast(Give::One(0, 7)).unwrap_err();
    assert!(matches!(refused, SendError::NoProc(Give::One(0, 7))));
    assert!(matches!(actor.cast(Give::One(0, 8)).await.unwrap_err().into_message(), Give::One(0, 8)));
}

#[tokio::test(start_paused = true)]
async fn room_for_nothing_is_room_for_one() {
    let mailbox = Mailbox::bounded(0);
    mailbox.actor_ref().cast(Give::One(0, 1)).await.unwrap();
    assert_eq!(all(&collect(mailbox)).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn waiting_senders_get_room_in_order() {
    let mailbox = Mailbox::bounded(1);
    let actor = mailbox.actor_ref();
    let senders: Vec<_> = (0..5)
        .map(|number| {
            let actor = actor.clone();
            tokio::spawn(async move { actor.cast(Give::One(0, number)).await.unwrap() })
        })
        .collect();
    settle().await;
    assert_eq!(actor.depth(), 1);
    let collector = collect(mailbox);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(all(&collector).await, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_waiting_sender() {
    let mailbox = Mailbox::bounded(1);
    let actor = mailbox.actor_ref();
    actor.try_cast(Give::One(0, 0)).unwrap();
    let mut waiting = Box::pin(actor.cast(Give::One(0, 1)));
    assert!(poll(waiting.as_mut()).is_pending());
    let collector = collect(mailbox);
    settle().await;
    // There is room now, but it is promised.
    let refused = actor.try_cast(Give::One(0, 2)).unwrap_err();
    assert!(matches!(refused, SendError::Full(_)));
    waiting.await.unwrap();
    assert_eq!(all(&collector).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_cast_that_is_dropped_was_not_sent() {
    let mailbox = Mailbox::bounded(1);
    let actor = mailbox.actor_ref();
    actor.try_cast(Give::One(0, 0)).unwrap();
    let mut waiting: Vec<_> = (1..5).map(|number| Box::pin(actor.cast(Give::One(0, number)))).collect();
    for cast in &mut waiting {
        assert!(poll(cast.as_mut()).is_pending());
    }
    // One gives up in line; one when it has been promised its room: that goes to the next.
    drop(waiting.remove(1));
    let collector = collect(mailbox);
    settle().await;
    drop(waiting.remove(0));
    settle().await;
    for cast in waiting {
        cast.await.unwrap();
    }
    assert_eq!(all(&collector).await, [0, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_some_time_only_gets_the_message_back() {
    let mailbox = Mailbox::bounded(1);
    let actor = mailbox.actor_ref();
    let second = Duration::from_secs(1);
    actor.cast_within(Give::One(0, 0), Duration::ZERO).await.unwrap();
    for time in [Duration::ZERO, second] {
        let refused = actor.cast_within(Give::One(0, 7), time).await.unwrap_err();
        assert!(matches!(refused, SendError::Full(Give::One(0, 7))), "{time:?}");
    }
    let mut patient = Box::pin(actor.cast_within(Give::One(0, 1), Duration::MAX));
    assert!(poll(patient.as_mut()).is_pending());
    // It has its place in line, before who comes later.
    let later = actor.cast_within(Give::One(0, 2), LONG);
    let collector = collect(mailbox);
    let (patient, later) = tokio::join!(patient, later);
    patient.and(later).unwrap();
    assert_eq!(all(&collector).await, [0, 1, 2]);
    collector.kill();
    collector.exited().await;
    let refused = collector.cast_within(Give::One(0, 3), second).await.unwrap_err();
    assert!(matches!(refused, SendError::NoProc(Give::One(0, 3))));
}

#[tokio::test(start_paused = true)]
async fn waiting_senders_are_refused_when_the_mailbox_closes() {
    let mailbox = Mailbox::bounded(1);
    let actor = mailbox.actor_ref();
    actor.try_cast(Give::One(0, 0)).unwrap();
    let waiting = tokio::spawn(async move { actor.cast(Give::One(0, 1)).await });
    settle().await;
    drop(mailbox);
    assert!(matches!(waiting.await.unwrap().unwrap_err().into_message(), Give::One(0, 1)));
}

/// Holds the message in hand while it looks whether there is room for another.
struct Doorkeeper;

impl Actor for Doorkeeper {
    type Msg = Do;

    async fn handle(&mut self, order: Do, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Do::Echo(value, reply) = order {
            cx.actor_ref().cast(Do::Note(1)).await?;
            reply.send(value);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_message_in_hand_takes_no_room() {
    let options = SpawnOptions { mailbox: MailboxOptions::bounded(1), ..SpawnOptions::default() };
    let actor = System::new().spawn_with(options, Doorkeeper);
    assert_eq!(actor.call(|reply| Do::Echo(5, reply), LONG).await, Ok(5));
}
