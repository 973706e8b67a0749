//! The life of one actor.
//!
//! After `gen_server_SUITE`: `start` (`ignore`, `stop`, a crash in `init/1`) → `it_may_end_before_it_begins`; `stop1`, `crash` →
//! `it_says_good_bye_unless_it_panics`; `undef_in_terminate`, a failure at the very end → `a_panic_in_its_drop_is_its_exit`.
//! `continue` is in `stash`, `info` in `monitor` and `link`, the other `stop`s in `exit`, `timeout`s in `interval`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use airssys_rt::{Actor, ActorRef, Context, ExitReason, Init, Reply, SpawnOptions, System};

use crate::stage::{Do, LONG, Plan, Stage, crash, settle};

#[tokio::test(start_paused = true)]
async fn it_says_good_bye_unless_it_panics() {
    for (order, expected) in [
        (Do::Exit(ExitReason::Normal), &["+a", "-a normal"][..]),
        (Do::Exit(crash()), &["+a", "-a crash"]),
        (Do::Panic, &["+a"]),
    ] {
        let stage = Stage::default();
        let actor = System::new().spawn(stage.lone("a"));
        actor.cast(order).await.unwrap();
        actor.exited().await;
        stage.saw(expected);
        assert!(!actor.is_alive());
    }
}

#[tokio::test(start_paused = true)]
async fn it_may_end_before_it_begins() {
    for (plan, reason) in
        [(Plan::Ignore, "normal"), (Plan::Fail, "crash"), (Plan::Panic, "panicked: no start")]
    {
        let stage = Stage::default();
        stage.plan("a", [plan]);
        let actor = System::new().spawn(stage.lone("a"));
        assert_eq!(actor.exited().await.to_string(), reason);
        stage.saw(&["+a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_its_drop_is_its_exit() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bang");
        }
    }
    impl Actor for Bomb {
        type Msg = ();
        async fn handle(&mut self, _: (), _: &mut Context<Self>) -> Result<(), ExitReason> {
            Err(ExitReason::Normal)
        }
    }
    let actor = System::new().spawn(Bomb);
    actor.cast(()).await.unwrap();
    assert_eq!(actor.exited().await.to_string(), "panicked: bang");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_message_keeps_no_news_back() {
    struct Mine;
    impl Drop for Mine {
        fn drop(&mut self) {
            panic!("bang");
        }
    }
    struct Sapper;
    impl Actor for Sapper {
        type Msg = Option<Mine>;
        async fn handle(&mut self, mine: Option<Mine>, _: &mut Context<Self>) -> Result<(), ExitReason> {
            assert!(mine.is_none());
            Err(ExitReason::Normal)
        }
    }
    let actor = System::new().spawn(Sapper);
    actor.cast(None).await.unwrap();
    actor.cast(Some(Mine)).await.unwrap();
    assert!(matches!(actor.exited().await, ExitReason::Normal));
}

#[tokio::test(start_paused = true)]
async fn a_flood_lets_others_run() {
    const FLOOD: usize = 1_000;
    /// Counts its messages, and those of all.
    struct Counter(Arc<AtomicUsize>);
    impl Actor for Counter {
        type Msg = Option<Reply<usize>>;
        async fn handle(&mut self, ask: Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
            let seen = self.0.fetch_add(1, Ordering::Relaxed);
            if let Some(reply) = ask {
                reply.send(seen);
            }
            Ok(())
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let system = System::new();
    let [flooded, other] = [(); 2].map(|()| system.spawn(Counter(Arc::clone(&count))));
    for _ in 0..FLOOD {
        flooded.try_cast(None).unwrap();
    }
    // There is one thread, and the flooded actor is first in line.
    let seen = other.call(Some, LONG).await.unwrap();
    assert!((1..FLOOD).contains(&seen), "{seen}");
    settle().await;
    assert_eq!(count.load(Ordering::Relaxed), FLOOD + 1);
}

#[tokio::test]
async fn a_flood_lets_other_tasks_run() {
    const FLOOD: usize = 500_000;
    /// Sends each message on, to the one that is in it, until there were enough.
    struct Player(Arc<AtomicUsize>);
    struct Ball(ActorRef<Self>);
    impl Actor for Player {
        type Msg = Ball;
        async fn handle(&mut self, ball: Ball, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            if self.0.fetch_add(1, Ordering::Relaxed) < FLOOD {
                ball.0.try_cast(Ball(cx.actor_ref())).unwrap();
            }
            Ok(())
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let system = System::new();
    let [one, other] = [(); 2].map(|()| system.spawn(Player(Arc::clone(&count))));
    one.try_cast(Ball(other)).unwrap();
    // There is one thread, and always an actor that could run.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let seen = count.load(Ordering::Relaxed);
    assert!((1..FLOOD).contains(&seen), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn it_knows_itself() {
    struct Mirror;
    impl Actor for Mirror {
        type Msg = Reply<(String, airssys_rt::ActorId)>;
        async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
            assert_eq!(cx.id(), cx.actor_ref().id());
            Ok(Init::Ready)
        }
        async fn handle(&mut self, reply: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            reply.send((cx.name().to_string(), cx.id()));
            Ok(())
        }
    }
    let system = System::new();
    let options = SpawnOptions { name: Some("mirror".to_owned()), ..SpawnOptions::default() };
    let named = system.spawn_with(options, Mirror);
    assert_eq!(named.call(|reply| reply, LONG).await, Ok(("mirror".to_owned(), named.id())));
    let nameless = system.spawn(Mirror);
    assert_eq!(nameless.call(|reply| reply, LONG).await, Ok((String::new(), nameless.id())));
    assert_ne!(named.id(), nameless.id());
}
