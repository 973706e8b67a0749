//! Publish and subscribe. OTP has none; who leaves at its end does so as in `pg`, and as in `group`.

use std::sync::{Arc, Mutex};

use airssys_rt::{
    Actor, ActorRef, Context, ExitReason, Init, Mailbox, Pattern, Subject, SubscribeError, Subscription,
    System, Topics,
};

use super::stage::{Do, LONG, Stage, settle};

impl From<u32> for Do {
    fn from(note: u32) -> Self {
        Self::Note(note)
    }
}

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

async fn end(actor: &ActorRef<Do>) {
    actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
    actor.exited().await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_goes_to_those_whose_pattern_selects_it() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::new());
    for (name, text) in [("a", "x.*"), ("b", "x.>"), ("c", "x.y"), ("d", "*.*.*")] {
        topics.subscribe(&pattern(text), &system.spawn(stage.lone(name))).unwrap();
    }
    settle().await;
    stage.journal();
    for (note, text) in [(1, "x.y"), (2, "x.y.z"), (3, "x"), (4, "x.z")] {
        topics.publish(&subject(text), &note);
    }
    settle().await;
    let mut journal = stage.journal();
    journal.sort();
    assert_eq!(journal, ["a:1", "a:4", "b:1", "b:2", "b:4", "c:1", "d:2"]);
    assert_eq!(topics.stats().sent, 7);
    assert_eq!(topics.stats().published, 4);
}

#[tokio::test(start_paused = true)]
async fn a_function_makes_the_message_or_declines() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::<u32>::new());
    let actor = system.spawn(stage.lone("a"));
    let even = |subject: &Subject, n: &u32| {
        n.is_multiple_of(2).then(|| Do::Note(n * 100 + subject.tokens().count() as u32))
    };
    topics.subscribe_with(&pattern(">"), &actor, even).unwrap();
    assert_eq!(topics.publish(&subject("x.y"), &1).sent, 0);
    assert_eq!(topics.publish(&subject("x.y"), &2).sent, 1);
    settle().await;
    stage.saw(&["+a", "a:202"]);
}

#[tokio::test(start_paused = true)]
async fn each_subscription_counts() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::new());
    let actor = system.spawn(stage.lone("a"));
    let one = topics.subscribe(&pattern("x.>"), &actor).unwrap();
    let other = topics.subscribe(&pattern("x.>"), &actor).unwrap();
    assert_eq!(topics.publish(&subject("x.y"), &1).sent, 2);
    assert!(one.unsubscribe());
    assert!(!one.unsubscribe());
    assert_eq!(topics.publish(&subject("x.y"), &2).sent, 1);
    assert_eq!((one.sent(), other.sent()), (1, 2));
    drop(other);
    assert_eq!(topics.publish(&subject("x.y"), &3).sent, 1, "the subscription is the actor's");
    settle().await;
    stage.saw(&["+a", "a:1", "a:1", "a:2", "a:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_misses_messages_and_they_are_counted() {
    let topics = Topics::<u32>::new();
    let (slow, fast) = (Mailbox::<Do>::bounded(2), Mailbox::<Do>::unbounded());
    let slow_subscription = topics.subscribe(&pattern("x"), &slow.actor_ref()).unwrap();
    let fast_subscription = topics.subscribe(&pattern("x"), &fast.actor_ref()).unwrap();
    let mut full = 0;
    for n in 0..5 {
        full += topics.publish(&subject("x"), &n).full;
    }
    assert_eq!(full, 3);
    assert_eq!((slow_subscription.sent(), slow_subscription.dropped()), (2, 3));
    assert_eq!((fast_subscription.sent(), fast_subscription.dropped()), (5, 0));
    let stats = topics.stats();
    assert_eq!((stats.published, stats.sent, stats.dropped), (5, 7, 3));
}

#[tokio::test(start_paused = true)]
async fn a_dead_subscriber_leaves() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::<u32>::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    let held = Arc::new(());
    for text in ["x", "*", ">", "x"] {
        let held = Arc::clone(&held);
        let message = move |_: &Subject, _: &u32| {
            let _ = &held;
            Some(Do::Note(1))
        };
        topics.subscribe_with(&pattern(text), &one, message).unwrap();
    }
    topics.subscribe(&pattern("x"), &other).unwrap();
    end(&one).await;
    assert_eq!(Arc::strong_count(&held), 1, "its subscriptions are gone, not only silent");
    let fanout = topics.publish(&subject("x"), &1);
    assert_eq!((fanout.sent, fanout.no_proc), (1, 0));
    assert_eq!(topics.subscribe(&pattern("x"), &one).unwrap_err(), SubscribeError::NoProc);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_while_it_subscribes_is_forgotten() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::<u32>::new());
    for _ in 0..500 {
        let actor = system.spawn(stage.lone("a"));
        actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
        drop(topics.subscribe(&pattern("x.*"), &actor));
        actor.exited().await;
        let fanout = topics.publish(&subject("x.y"), &1);
        assert_eq!((fanout.sent, fanout.no_proc), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_harms_nobody_else() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::<u32>::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    let picky = |_: &Subject, n: &u32| if *n == 13 { panic!("thirteen") } else { Some(Do::Note(*n)) };
    let subscription = topics.subscribe_with(&pattern("x"), &one, picky).unwrap();
    topics.subscribe(&pattern("x"), &other).unwrap();
    settle().await;
    stage.journal();
    for n in 12..=14 {
        topics.publish(&subject("x"), &n);
    }
    settle().await;
    let mut journal = stage.journal();
    journal.sort();
    assert_eq!(journal, ["a:12", "a:14", "b:12", "b:13", "b:14"]);
    assert_eq!((subscription.panicked(), topics.stats().panicked), (1, 1));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_in_its_drop_ends_alone() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::<u32>::new());
    let actor = system.spawn(stage.lone("a"));
    for _ in 0..3 {
        let bomb = Bomb;
        let message = move |_: &Subject, _: &u32| {
            let _ = &bomb;
            None::<Do>
        };
        drop(topics.subscribe_with(&pattern("x"), &actor, message).unwrap());
    }
    topics.subscribe(&pattern("x"), &actor).unwrap();
    end(&actor).await;
    assert_eq!(topics.publish(&subject("x"), &1).no_proc, 0, "all its subscriptions have ended");
}

/// Unsubscribes in its handler, after so many messages.
struct Reader {
    topics: Topics<u32>,
    subscription: Option<Subscription<u32>>,
    left: u32,
    read: Arc<Mutex<Vec<u32>>>,
}

impl Actor for Reader {
    type Msg = u32;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.subscription = Some(self.topics.subscribe(&pattern("x.*"), cx)?);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, n: u32, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if n == u32::MAX {
            return Err(ExitReason::Normal);
        }
        self.read.lock().unwrap().push(n);
        self.left -= 1;
        if self.left == 0 {
            assert!(self.subscription.take().unwrap().unsubscribe());
        }
        Ok(())
    }
}

impl Reader {
    fn of(topics: &Topics<u32>, left: u32, read: &Arc<Mutex<Vec<u32>>>) -> Self {
        Self { topics: topics.clone(), subscription: None, left, read: Arc::clone(read) }
    }
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_in_handler() {
    let (system, topics, read) = (System::new(), Topics::new(), Arc::default());
    system.spawn(Reader::of(&topics, 2, &read));
    settle().await;
    for n in 1..=5 {
        topics.publish(&subject("x.y"), &n);
        settle().await;
    }
    assert_eq!(*read.lock().unwrap(), [1, 2]);
    assert_eq!(topics.stats().sent, 2);
}

#[tokio::test(start_paused = true)]
async fn an_incarnation_subscribes_anew() {
    let (system, topics, read) = (System::new(), Topics::new(), Arc::default());
    let mailbox = Mailbox::default();
    for n in 1..=3 {
        let actor = system.spawn_on(&mailbox, None, Reader::of(&topics, 100, &read)).unwrap();
        settle().await;
        assert_eq!(topics.publish(&subject("x.y"), &n).sent, 1, "not twice");
        actor.cast(u32::MAX).await.unwrap();
        actor.exited().await;
        assert_eq!(topics.publish(&subject("x.y"), &99).sent, 0);
    }
    assert_eq!(*read.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn subscribers_may_come_and_go_while_a_payload_is_published() {
    let (stage, system, topics) = (Stage::default(), System::new(), Topics::<u32>::new());
    let actor = system.spawn(stage.lone("a"));
    let second = Arc::new(Mutex::new(None::<Subscription<u32>>));
    let (topics_then, actor_then, second_then) = (topics.clone(), actor.clone(), Arc::clone(&second));
    let meddler = move |_: &Subject, n: &u32| {
        if let Some(second) = second_then.lock().unwrap().take() {
            assert!(second.unsubscribe());
            topics_then.subscribe(&pattern("x"), &actor_then).unwrap();
        }
        Some(Do::Note(*n))
    };
    topics.subscribe_with(&pattern("x"), &actor, meddler).unwrap();
    *second.lock().unwrap() = Some(topics.subscribe(&pattern("x"), &actor).unwrap());
    assert_eq!(topics.publish(&subject("x"), &1).sent, 1, "the second has gone, the third is late");
    assert_eq!(topics.publish(&subject("x"), &2).sent, 2);
    assert_eq!(actor.call(|reply| Do::Echo(7, reply), LONG).await.unwrap(), 7);
    stage.saw(&["+a", "a:1", "a:2", "a:2"]);
}
