//! What a full mailbox does, and what overtakes it.
//!
//! OTP has no bound. Priority messages are after EEP 76: `urgent_messages_overtake_in_their_order`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::Overflow::{DropNewest, DropOldest, Reject, Wait};
use airssys_rt::{
    Actor, ActorRef, CallError, ChildSpec, Context, Event, EventKind, ExitReason, Info, Mailbox,
    MailboxOptions, Observer, Overflow, Reply, SendError, SpawnOptions, Stash, Strategy, Supervisor, System,
};

use crate::cell::Bomb;
use crate::node::{Act, Node};
use crate::stage::{LONG, crash, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Counts dead letters.
#[derive(Default)]
struct DeadLetters(AtomicUsize);

impl Observer for DeadLetters {
    fn event(&self, event: &Event) {
        if let EventKind::DeadLetters { count, .. } = event.kind {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl DeadLetters {
    fn count(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

fn observed() -> (System, Arc<DeadLetters>) {
    let letters = Arc::<DeadLetters>::default();
    (System::builder().observer(Arc::<DeadLetters>::clone(&letters)).build(), letters)
}

enum Give {
    One(usize),
    Ask(Reply<usize>),
    All(Reply<Vec<usize>>),
    /// Says how many messages it can send to itself.
    Fill(Reply<usize>),
    Keep(Bomb),
    Work(Duration),
    /// Has a timer that is due at once.
    Later,
    Crash,
}

#[derive(Default)]
struct Collector(Vec<usize>);

impl Actor for Collector {
    type Msg = Give;

    async fn handle(&mut self, give: Give, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match give {
            Give::One(number) => self.0.push(number),
            Give::Ask(reply) => reply.send(self.0.len()),
            Give::All(reply) => reply.send(std::mem::take(&mut self.0)),
            Give::Fill(reply) => reply.send(fill(&cx.actor_ref())),
            Give::Keep(bomb) => std::mem::forget(bomb),
            Give::Work(time) => tokio::time::sleep(time).await,
            Give::Later => {
                cx.send_after(Duration::ZERO, Give::One(0));
            }
            Give::Crash => return Err(crash()),
        }
        Ok(())
    }
}

/// Sends until there is no room; says how many fitted.
fn fill(actor: &ActorRef<Give>) -> usize {
    (0..100_000).take_while(|_| actor.try_cast(Give::One(0)).is_ok()).count()
}

fn spawn(system: &System, capacity: usize, overflow: Overflow) -> ActorRef<Give> {
    let mailbox = MailboxOptions::bounded(capacity).overflow(overflow);
    system.spawn_with(SpawnOptions { mailbox, ..SpawnOptions::default() }, Collector::default())
}

/// Starts a collector that is busy for a second, so that its mailbox can be filled.
async fn busy(system: &System, capacity: usize, overflow: Overflow) -> ActorRef<Give> {
    let actor = spawn(system, capacity, overflow);
    actor.try_cast(Give::Work(SECOND)).unwrap();
    settle().await;
    actor
}

/// What it got, once it is not busy any more.
async fn got(actor: &ActorRef<Give>) -> Vec<usize> {
    tokio::time::sleep(2 * SECOND).await;
    actor.call(Give::All, LONG).await.unwrap()
}

/// Sends twice as much as fits, and looks at what came of it.
async fn check(capacity: usize, overflow: Overflow, kept: impl Iterator<Item = usize>, dead: usize) {
    let (system, letters) = observed();
    let actor = busy(&system, capacity, overflow).await;
    for number in 0..capacity {
        actor.try_cast(Give::One(number)).unwrap();
    }
    assert_eq!((actor.depth(), letters.count()), (capacity, 0));
    for number in capacity..2 * capacity {
        let full = actor.try_cast(Give::One(number)).is_err();
        assert_eq!(full, matches!(overflow, Wait | Reject));
    }
    assert_eq!((actor.depth(), letters.count()), (capacity, dead));
    assert!(got(&actor).await.into_iter().eq(kept));
    // As much room as before.
    actor.try_cast(Give::Work(SECOND)).unwrap();
    settle().await;
    for number in 0..capacity {
        actor.try_cast(Give::One(number)).unwrap();
    }
    assert_eq!(letters.count(), 0);
    assert_eq!(actor.try_cast(Give::One(0)).is_err(), matches!(overflow, Wait | Reject));
    assert_eq!(letters.count(), dead.min(1));
}

#[tokio::test(start_paused = true)]
async fn the_capacity_is_exact() {
    for capacity in [1, 2, 100, 1024] {
        check(capacity, Wait, 0..capacity, 0).await;
        check(capacity, Reject, 0..capacity, 0).await;
        check(capacity, DropNewest, 0..capacity, capacity).await;
        check(capacity, DropOldest, capacity..2 * capacity, capacity).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_capacity_is_exact_for_the_actor_itself() {
    let system = System::new();
    for (capacity, overflow) in [(1, Wait), (100, Wait), (1024, Wait), (100, Reject)] {
        let actor = spawn(&system, capacity, overflow);
        assert_eq!(actor.call(Give::Fill, LONG).await, Ok(capacity));
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_no_room_makes_none() {
    for capacity in [1, 2, 100] {
        let actor = spawn(&System::new(), capacity, Reject);
        for _ in 0..2 * capacity {
            actor.try_cast(Give::Later).unwrap();
            settle().await;
        }
        assert_eq!(actor.call(Give::Ask, LONG).await, Ok(2 * capacity), "timers");
        actor.try_cast(Give::Work(SECOND)).unwrap();
        settle().await;
        assert_eq!(fill(&actor), capacity);
    }
}

#[tokio::test(start_paused = true)]
async fn wait_makes_casts_and_calls_wait() {
    let actor = busy(&System::new(), 1, Wait).await;
    actor.try_cast(Give::One(1)).unwrap();
    let began = tokio::time::Instant::now();
    actor.cast(Give::One(2)).await.unwrap();
    assert!(began.elapsed() >= SECOND - Duration::from_millis(2));
    assert_eq!(actor.call(Give::Ask, LONG).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn reject_says_full_at_once() {
    let actor = busy(&System::new(), 1, Reject).await;
    actor.cast(Give::One(1)).await.unwrap();
    let refused = actor.cast(Give::One(2)).await.unwrap_err();
    assert!(matches!(refused, SendError::Full(Give::One(2))));
    assert!(matches!(actor.try_cast(Give::One(3)), Err(SendError::Full(Give::One(3)))));
    assert_eq!(actor.call(Give::Ask, LONG).await, Err(CallError::Full));
    assert_eq!(got(&actor).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn drop_newest_drops_the_request_at_once() {
    let (system, letters) = observed();
    let actor = busy(&system, 1, DropNewest).await;
    actor.cast(Give::One(1)).await.unwrap();
    actor.cast(Give::One(2)).await.unwrap();
    assert_eq!(actor.call(Give::Ask, LONG).await, Err(CallError::Dropped));
    assert_eq!(letters.count(), 2);
    assert_eq!(got(&actor).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_where_it_is_dropped_ends_nobody() {
    let gives = || [Give::One(1), Give::Keep(Bomb(1))];
    for (overflow, gives) in
        [(DropNewest, Vec::from(gives())), (DropOldest, gives().into_iter().rev().collect())]
    {
        let (system, letters) = observed();
        let actor = busy(&system, 1, overflow).await;
        for give in gives {
            actor.cast(give).await.unwrap();
        }
        assert_eq!(letters.count(), 1);
        assert_eq!(got(&actor).await, [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_drops_a_request_that_waits() {
    let (system, letters) = observed();
    let actor = busy(&system, 2, DropOldest).await;
    let asked = tokio::spawn({
        let actor = actor.clone();
        async move { actor.call(Give::Ask, LONG).await }
    });
    settle().await;
    actor.cast(Give::One(1)).await.unwrap();
    assert!(!asked.is_finished());
    actor.cast(Give::One(2)).await.unwrap();
    assert_eq!(asked.await.unwrap(), Err(CallError::Dropped));
    assert_eq!(letters.count(), 1);
    assert_eq!(got(&actor).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_what_the_runtime_says_and_its_place() {
    let system = System::new();
    let mailbox = Mailbox::new(MailboxOptions::bounded(2).overflow(DropOldest));
    let (node, other) = (Node::trapping().start_on(&system, &mailbox), Node::default().start(&system));
    let target = other.actor.clone();
    node.run(move |cx| {
        cx.monitor(&target);
        cx.link(&target);
        cx.send_after(SECOND / 2, Act::Note("timer"));
    })
    .await;
    node.actor.try_cast(Act::Work(SECOND)).unwrap();
    settle().await;
    let give = |note| node.actor.try_cast(Act::Note(note)).unwrap();
    give("a");
    other.end(crash()).await;
    give("b");
    tokio::time::sleep(SECOND / 2).await;
    ["c", "d", "e"].into_iter().for_each(give);
    // Of the first three messages nothing is left; what came between them is, and in its order.
    tokio::time::sleep(SECOND).await;
    node.heard(&["down crash", "link crash", "timer", "d", "e"]);
    // The room is what it was.
    node.actor.try_cast(Act::Work(SECOND)).unwrap();
    settle().await;
    ["f", "g", "h"].into_iter().for_each(give);
    tokio::time::sleep(SECOND).await;
    node.heard(&["g", "h"]);
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_of_a_mailbox_without_a_reader() {
    let (system, letters) = observed();
    let mailbox = Mailbox::new(MailboxOptions::bounded(3).overflow(DropOldest));
    for number in 0..10 {
        mailbox.actor_ref().try_cast(Give::One(number)).unwrap();
    }
    assert_eq!(mailbox.actor_ref().depth(), 3);
    // It belonged to no system, so nobody was told.
    assert_eq!(letters.count(), 0);
    let actor = system.spawn_on(&mailbox, None, Collector::default()).unwrap();
    assert_eq!(got(&actor).await, [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_retained_mailbox_keeps_its_room_over_incarnations() {
    for overflow in [Wait, Reject, DropNewest, DropOldest] {
        let (system, letters) = observed();
        let mailbox = Mailbox::new(MailboxOptions::bounded(100).overflow(overflow));
        let actor = mailbox.actor_ref();
        for _ in 0..5 {
            (0..30).for_each(|number| actor.try_cast(Give::One(number)).unwrap());
            actor.try_cast(Give::Crash).unwrap();
            system.spawn_on(&mailbox, None, Collector::default()).unwrap();
            actor.exited().await;
        }
        for number in 0..100 {
            actor.try_cast(Give::One(number)).unwrap();
        }
        assert_eq!(letters.count(), 0);
        let refused = actor.try_cast(Give::One(100)).is_err();
        assert_eq!(
            (refused, letters.count()),
            match overflow {
                Wait | Reject => (true, 0),
                DropNewest | DropOldest => (false, 1),
            }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_take_turns() {
    let actor = busy(&System::new(), 1, Wait).await;
    actor.try_cast(Give::One(0)).unwrap();
    let senders: Vec<_> = (0..3)
        .map(|from| {
            let actor = actor.clone();
            tokio::spawn(async move {
                for round in 0..5 {
                    actor.cast(Give::One(100 * round + from)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let rounds: Vec<_> = got(&actor).await.into_iter().skip(1).map(|number| number / 100).collect();
    assert!(rounds.is_sorted(), "{rounds:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_refused_at_the_end() {
    let actor = busy(&System::new(), 1, Wait).await;
    actor.try_cast(Give::One(1)).unwrap();
    let waiting = tokio::spawn({
        let actor = actor.clone();
        async move { actor.cast(Give::One(2)).await }
    });
    let calling = tokio::spawn({
        let actor = actor.clone();
        async move { actor.call(Give::Ask, LONG).await }
    });
    settle().await;
    actor.kill();
    assert!(matches!(waiting.await.unwrap(), Err(SendError::NoProc(Give::One(2)))));
    assert_eq!(calling.await.unwrap(), Err(CallError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_of_the_dead_is_dead() {
    for overflow in [Wait, Reject, DropNewest, DropOldest] {
        let (system, letters) = observed();
        let actor = busy(&system, 1, overflow).await;
        actor.try_cast(Give::One(1)).unwrap();
        actor.kill();
        actor.exited().await;
        settle().await;
        assert_eq!(letters.count(), 1);
        assert!(matches!(actor.try_cast(Give::One(2)), Err(SendError::NoProc(Give::One(2)))));
        assert_eq!(letters.count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drop_oldest_while_the_actor_ends_loses_nothing_twice() {
    struct Sink;
    impl Actor for Sink {
        type Msg = Arc<()>;
        async fn handle(&mut self, _: Arc<()>, _: &mut Context<Self>) -> Result<(), ExitReason> {
            Ok(())
        }
    }
    let (system, counted) = (System::new(), Arc::new(()));
    for _ in 0..100 {
        let mailbox = MailboxOptions::bounded(4).overflow(DropOldest);
        let actor = system.spawn_with(SpawnOptions { mailbox, ..SpawnOptions::default() }, Sink);
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (actor, counted) = (actor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    while actor.try_cast(Arc::clone(&counted)).is_ok() {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            actor.cast(Arc::clone(&counted)).await.unwrap();
        }
        actor.kill();
        for sender in senders {
            sender.await.unwrap();
        }
        actor.exited().await;
    }
    // What came late is dropped by whoever is queued for it.
    while Arc::strong_count(&counted) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn urgent_messages_overtake_in_their_order() {
    let actor = busy(&System::new(), 2, Wait).await;
    actor.try_cast(Give::One(1)).unwrap();
    actor.try_cast(Give::One(2)).unwrap();
    // It needs no room.
    for number in 3..6 {
        actor.cast_urgent(Give::One(number)).unwrap();
    }
    assert_eq!(got(&actor).await, [3, 4, 5, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn urgent_messages_wait_in_a_retained_mailbox() {
    let (system, mailbox) = (System::new(), Mailbox::bounded(1));
    let actor = mailbox.actor_ref();
    actor.cast(Give::One(1)).await.unwrap();
    actor.cast_urgent(Give::Crash).unwrap();
    actor.cast_urgent(Give::One(2)).unwrap();
    system.spawn_on(&mailbox, None, Collector::default()).unwrap();
    actor.exited().await;
    system.spawn_on(&mailbox, None, Collector::default()).unwrap();
    assert_eq!(got(&actor).await, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_urgent_to_the_dead_and_the_stopping() {
    let (system, letters) = observed();
    let actor = busy(&system, 1, Wait).await;
    actor.cast_urgent(Give::One(1)).unwrap();
    actor.stop(ExitReason::Normal);
    // It stops after the message in hand: what waits becomes a dead letter, urgent or not.
    actor.cast_urgent(Give::One(2)).unwrap();
    actor.cast(Give::One(3)).await.unwrap();
    actor.exited().await;
    settle().await;
    assert_eq!(letters.count(), 3);
    assert!(matches!(actor.cast_urgent(Give::One(4)), Err(SendError::NoProc(Give::One(4)))));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_drains_takes_nothing_urgent_any_more() {
    let handled = Arc::new(AtomicUsize::new(0));
    struct Slow(Arc<AtomicUsize>);
    impl Actor for Slow {
        type Msg = ();
        async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
            tokio::time::sleep(SECOND).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
    let mailbox = Mailbox::bounded(8);
    let child = {
        let handled = Arc::clone(&handled);
        ChildSpec::actor_with_mailbox("slow", mailbox.clone(), move || Slow(Arc::clone(&handled)))
    };
    let actor = mailbox.actor_ref();
    drop(mailbox);
    let tree = Supervisor::new("top", Strategy::OneForOne)
        .child(child.drain(true).shutdown(airssys_rt::Shutdown::Infinity));
    let supervisor = System::new().start(tree).await.unwrap();
    actor.cast(()).await.unwrap();
    actor.cast_urgent(()).unwrap();
    settle().await;
    actor.cast_urgent(()).unwrap();
    let stopping = tokio::spawn(async move { supervisor.shutdown().await });
    settle().await;
    assert!(matches!(actor.cast_urgent(()), Err(SendError::NoProc(()))));
    stopping.await.unwrap();
    // Those that were there before were handled.
    assert_eq!(handled.load(Ordering::Relaxed), 3);
}

/// Sends itself one urgent message after the other.
struct Restless;

impl Actor for Restless {
    type Msg = ();

    async fn handle(&mut self, (): (), cx: &mut Context<Self>) -> Result<(), ExitReason> {
        cx.actor_ref().cast_urgent(()).map_err(|_| ExitReason::Normal)
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_urgent_messages_lets_others_run() {
    let system = System::new();
    let restless = system.spawn(Restless);
    restless.cast(()).await.unwrap();
    let other = Node::default().start(&system);
    assert_eq!(other.actor.call(Act::Ping, LONG).await, Ok(()));
    restless.kill();
    assert_eq!(restless.exited().await.to_string(), "killed");
}

/// Puts numbers below ten aside; ten has them handled again, after what it puts off.
#[derive(Default)]
struct Orderly {
    stash: Stash<usize>,
    seen: Arc<Mutex<Vec<usize>>>,
    sorted: bool,
}

impl Actor for Orderly {
    type Msg = usize;

    async fn handle(&mut self, number: usize, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if number < 10 && !self.sorted {
            return Ok(cx.stash(&mut self.stash, number)?);
        }
        self.seen.lock().unwrap().push(number);
        if number == 10 {
            self.sorted = true;
            cx.unstash_all(&mut self.stash);
            cx.continue_next();
        }
        // Overtakes the rest of what was put aside.
        if number == 1 {
            cx.actor_ref().cast_urgent(12).unwrap();
        }
        Ok(())
    }

    async fn handle_info(&mut self, _: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.seen.lock().unwrap().push(99);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_what_an_actor_puts_off() {
    let (mailbox, seen) = (Mailbox::bounded(8), Arc::default());
    let actor = mailbox.actor_ref();
    for number in [1, 2, 10, 11] {
        actor.try_cast(number).unwrap();
    }
    System::new()
        .spawn_on(&mailbox, None, Orderly { seen: Arc::clone(&seen), ..Orderly::default() })
        .unwrap();
    settle().await;
    assert_eq!(*seen.lock().unwrap(), [10, 99, 1, 12, 2, 11]);
}
