//! Mailboxes that outlive their actors, and draining. OTP has neither: there, a mailbox ends with its process.

use std::time::Duration;

use airssys_rt::Strategy::{OneForAll, OneForOne};
use airssys_rt::{CallError, ExitReason, Mailbox, MailboxInUse, SendError, Shutdown, System};

use crate::stage::{Do, LONG, Plan, Stage, crash, fail_to_start, settle, start, top};

const SECOND: Duration = Duration::from_secs(1);

fn notes(mailbox: &Mailbox<Do>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        mailbox.actor_ref().try_cast(Do::Note(number)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_the_first_start() {
    let (stage, mailbox) = (Stage::default(), Mailbox::bounded(8));
    notes(&mailbox, 1..4);
    start(top(OneForOne, [stage.child_with("a", mailbox)])).await;
    settle().await;
    stage.saw(&["+a", "a:1", "a:2", "a:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_is_queued() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    notes(&mailbox, [1]);
    let actor = mailbox.actor_ref();
    actor.try_cast(Do::Exit(crash())).unwrap();
    notes(&mailbox, 2..4);
    actor.try_cast(Do::Panic).unwrap();
    notes(&mailbox, 4..6);
    stage.plan("a", [Plan::Wait(SECOND), Plan::Wait(SECOND)]);
    start(top(OneForOne, [stage.child_with("a", mailbox.clone())])).await;
    settle().await;
    // The next incarnation is not ready yet; what comes now comes last.
    notes(&mailbox, [6]);
    assert_eq!(actor.depth(), 6);
    tokio::time::sleep(SECOND).await;
    stage.saw(&["+a", "a:1", "-a crash", "+a", "a:2", "a:3", "+a", "a:4", "a:5", "a:6"]);
    assert_eq!(stage.player("a").id(), actor.id());
    assert!(actor.is_alive());
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_crash_stays_before_what_came_during_it() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    mailbox.actor_ref().try_cast(Do::Work(SECOND)).unwrap();
    mailbox.actor_ref().try_cast(Do::Panic).unwrap();
    notes(&mailbox, [1, 2]);
    start(top(OneForOne, [stage.child_with("a", mailbox.clone())])).await;
    settle().await;
    notes(&mailbox, [3, 4]);
    tokio::time::sleep(SECOND).await;
    stage.saw(&["+a", "+a", "a:1", "a:2", "a:3", "a:4"]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_leaves_what_is_queued() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    mailbox.actor_ref().try_cast(Do::Hang).unwrap();
    notes(&mailbox, 1..3);
    let child = stage.child_with("a", mailbox.clone()).shutdown(Shutdown::BrutalKill);
    let supervisor = start(top(OneForOne, [child])).await;
    settle().await;
    supervisor.shutdown().await;
    assert_eq!(mailbox.actor_ref().depth(), 2);
    start(top(OneForOne, [stage.child_with("a", mailbox)])).await;
    settle().await;
    stage.saw(&["+a", "+a", "a:1", "a:2"]);
}

#[tokio::test(start_paused = true)]
async fn it_closes_with_its_last_owner() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    let actor = mailbox.actor_ref();
    let supervisor = start(top(OneForOne, [stage.child_with("a", mailbox)])).await;
    actor.try_cast(Do::Work(SECOND)).unwrap();
    let call = actor.call(|reply| Do::Echo(1, reply), LONG);
    let (answer, ()) = tokio::join!(call, supervisor.shutdown());
    assert_eq!(answer, Err(CallError::Dropped));
    assert!(!actor.is_alive());
}

#[tokio::test(start_paused = true)]
async fn without_one_a_restart_is_another_actor() {
    let stage = Stage::default();
    start(top(OneForOne, [stage.child("a")])).await;
    let before = stage.player("a");
    before.try_cast(Do::Exit(crash())).unwrap();
    before.try_cast(Do::Note(1)).unwrap();
    settle().await;
    stage.saw(&["+a", "-a crash", "+a"]);
    assert_ne!(stage.player("a").id(), before.id());
    assert!(matches!(before.try_cast(Do::Note(2)), Err(SendError::NoProc(_))));
}

#[tokio::test(start_paused = true)]
async fn it_has_one_reader_at_a_time() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    let twins = [stage.child_with("a", mailbox.clone()), stage.child_with("b", mailbox.clone())];
    let error = fail_to_start(top(OneForOne, twins)).await;
    let reason = format!("{:?}", error.reason());
    assert!(reason.contains("MailboxInUse"), "{reason}");
    stage.saw(&["+a", "-a shutdown"]);

    let system = System::new();
    let spawn = || system.spawn_on(&mailbox, None, stage.lone("c"));
    spawn().unwrap();
    assert_eq!(spawn().unwrap_err(), MailboxInUse);
}

#[tokio::test(start_paused = true)]
async fn drain_handles_what_is_queued_and_refuses_the_rest() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a").drain(true), stage.child("b")])).await;
    let player = stage.player("a");
    for order in [Do::Work(SECOND), Do::Note(1), Do::Note(2)] {
        player.try_cast(order).unwrap();
    }
    settle().await;
    let (refused, ()) = tokio::join!(
        async {
            settle().await;
            player.try_cast(Do::Note(3))
        },
        supervisor.shutdown()
    );
    assert!(matches!(refused, Err(SendError::NoProc(Do::Note(3)))));
    stage.saw(&["+a", "+b", "-b shutdown", "a:1", "a:2", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_with_the_shutdown_time() {
    let stage = Stage::default();
    let child = stage.child("a").drain(true).shutdown(Shutdown::Timeout(SECOND * 3));
    let supervisor = start(top(OneForOne, [child])).await;
    let player = stage.player("a");
    for number in 0..5 {
        player.try_cast(Do::Note(number)).unwrap();
        player.try_cast(Do::Work(SECOND)).unwrap();
    }
    settle().await;
    let began = tokio::time::Instant::now();
    supervisor.shutdown().await;
    assert_eq!(began.elapsed(), SECOND * 3);
    assert!(matches!(player.exited().await, ExitReason::Killed));
    stage.saw(&["+a", "a:0", "a:1", "a:2", "a:3"]);
}

#[tokio::test(start_paused = true)]
async fn drain_refuses_senders_that_wait_for_room() {
    let (stage, mailbox) = (Stage::default(), Mailbox::bounded(1));
    let actor = mailbox.actor_ref();
    let child = stage.child_with("a", mailbox.clone()).drain(true);
    let supervisor = start(top(OneForOne, [child])).await;
    actor.cast(Do::Work(SECOND)).await.unwrap();
    settle().await;
    actor.cast(Do::Note(1)).await.unwrap();
    let waiting = tokio::spawn(async move { actor.cast(Do::Note(2)).await });
    settle().await;
    supervisor.shutdown().await;
    assert!(waiting.await.unwrap().is_err());
    stage.saw(&["+a", "a:1", "-a shutdown"]);

    // A later incarnation opens it again.
    start(top(OneForOne, [stage.child_with("a", mailbox.clone())])).await;
    mailbox.actor_ref().cast(Do::Note(3)).await.unwrap();
    settle().await;
    stage.saw(&["+a", "a:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_drains_only_what_would_be_lost() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    let retained = stage.child_with("kept", mailbox.clone()).drain(true);
    start(top(OneForAll, [retained, stage.child("own").drain(true), stage.child("c")])).await;
    for (name, work) in [("own", SECOND), ("kept", SECOND * 2)] {
        stage.player(name).try_cast(Do::Work(work)).unwrap();
        stage.player(name).try_cast(Do::Note(1)).unwrap();
    }
    settle().await;
    stage.crash("c").await;
    tokio::time::sleep(SECOND * 2).await;
    stage.saw(&[
        "+kept",
        "+own",
        "+c",
        "-c crash",
        "own:1",
        "-own shutdown",
        "-kept shutdown",
        "+kept",
        "kept:1",
        "+own",
        "+c",
    ]);
}
