//! What a system counts.

use std::time::Duration;

use airssys_rt::Strategy::OneForOne;
use airssys_rt::{Actor, Context, ExitReason, Reply, System};

use crate::stage::{Do, LONG, Stage, crash, settle, top};

#[tokio::test(start_paused = true)]
async fn lives_crashes_and_restarts() {
    let (stage, system) = (Stage::default(), System::new());
    assert_eq!((system.metrics().started, system.metrics().live), (0, 0));
    let supervisor = system.start(top(OneForOne, [stage.child("a"), stage.child("b")])).await.unwrap();
    let seen = system.metrics();
    assert_eq!((seen.started, seen.ended, seen.live, seen.crashed, seen.restarts), (3, 0, 3, 0, 0));
    stage.crash("a").await;
    stage.crash("b").await;
    let seen = system.metrics();
    assert_eq!((seen.started, seen.ended, seen.live, seen.crashed, seen.restarts), (5, 2, 3, 2, 2));
    supervisor.shutdown().await;
    settle().await;
    let seen = system.metrics();
    assert_eq!((seen.started, seen.ended, seen.live, seen.crashed, seen.restarts), (5, 5, 0, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn messages_timers_and_drainers() {
    struct Clock;
    impl Actor for Clock {
        type Msg = bool;
        async fn handle(&mut self, arm: bool, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            if arm {
                cx.send_after(Duration::from_secs(1), false);
            }
            Ok(())
        }
    }
    let system = System::new();
    let clock = system.spawn(Clock);
    for _ in 0..200 {
        clock.cast(true).await.unwrap();
    }
    settle().await;
    let seen = system.metrics();
    assert_eq!((seen.timers, seen.handled, seen.drainers, seen.parked), (200, 200, 1, 1));
    tokio::time::sleep(LONG).await;
    let seen = system.metrics();
    assert_eq!((seen.timers, seen.handled), (0, 400));
}

#[tokio::test(start_paused = true)]
async fn what_callers_run_themselves_is_counted() {
    struct Echo;
    impl Actor for Echo {
        type Msg = Reply<()>;
        async fn handle(&mut self, reply: Reply<()>, _: &mut Context<Self>) -> Result<(), ExitReason> {
            reply.send(());
            Ok(())
        }
    }
    let system = System::new();
    let echo = system.spawn(Echo);
    for _ in 0..500 {
        echo.call(|reply| reply, LONG).await.unwrap();
    }
    settle().await;
    assert_eq!(system.metrics().handled, 500);
}

#[tokio::test(start_paused = true)]
async fn two_systems_count_apart() {
    let (stage, one, other) = (Stage::default(), System::new(), System::new());
    let actor = one.spawn(stage.lone("a"));
    actor.cast(Do::Exit(crash())).await.unwrap();
    actor.exited().await;
    assert_eq!((one.metrics().crashed, other.metrics().started), (1, 0));
}

#[test]
fn after_the_runtime() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let stage = Stage::default();
    let system = runtime.block_on(async {
        let system = System::new();
        let actor = system.spawn(stage.lone("a"));
        actor.call(Do::Ping, LONG).await.unwrap();
        assert_eq!((system.metrics().drainers, system.metrics().live), (2, 1));
        system
    });
    drop(runtime);
    let seen = system.metrics();
    assert_eq!((seen.drainers, seen.live, seen.crashed), (0, 0, 1));
    assert_eq!(system.actors().count(), 0);
}
