//! Orders and exit signals of others: `stop`, `exit`, `kill`. After `gen_server_SUITE` and `signal_SUITE`.

use std::time::Duration;

use airssys_rt::{ActorRef, CallError, ExitReason, Mailbox, System};

use crate::node::{Act, Node, two, two_of_which_one_traps};
use crate::stage::{LONG, crash, settle};

#[tokio::test(start_paused = true)]
async fn kill_cannot_be_trapped_and_goes_on_as_killed() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    other.actor.kill();
    // `killed` itself can be trapped: the exit of whom it reaches is an ordinary one.
    assert_eq!(one.why().await, "killed");
    other.heard(&[]);

    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    one.actor.kill();
    settle().await;
    other.heard(&["link killed"]);
    other.actor.exit(ExitReason::Killed);
    settle().await;
    other.heard(&["exit killed"]);
    assert!(other.lives());
}

#[tokio::test(start_paused = true)]
async fn exit_normal_is_ignored_unless_trapped() {
    let (one, other) = two_of_which_one_traps();
    settle().await;
    one.actor.exit(ExitReason::Normal);
    other.actor.exit(ExitReason::Normal);
    settle().await;
    assert!(one.lives());
    other.heard(&["exit normal"]);
    // OTP's exception: of oneself it is meant.
    one.run(|cx| cx.actor_ref().exit(ExitReason::Normal)).await;
    assert_eq!(one.why().await, "normal");
    one.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn an_exit_ends_a_handler_where_it_waits() {
    let (one, other) = two();
    one.actor.cast(Act::Hang).await.unwrap();
    settle().await;
    one.actor.exit(crash());
    assert_eq!(one.why().await, "crash");
    one.heard(&[]);
    // Before its first message, too.
    other.actor.cast(Act::Note("never")).await.unwrap();
    other.actor.exit(crash());
    assert_eq!(other.why().await, "crash");
    other.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn who_ends_itself_handles_nothing_more() {
    let one = Node::default().start(&System::new());
    one.tell(|cx| {
        cx.actor_ref().kill();
        Ok(())
    });
    one.actor.try_cast(Act::Note("never")).unwrap();
    assert_eq!(one.why().await, "killed");
    one.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn orders_to_a_vacant_mailbox_are_nobodys() {
    let (system, mailbox) = (System::new(), Mailbox::bounded(8));
    for give in [
        |actor: &ActorRef<Act>| actor.kill(),
        |actor: &ActorRef<Act>| actor.stop(ExitReason::Shutdown),
        |actor: &ActorRef<Act>| actor.stop(crash()),
        |actor: &ActorRef<Act>| actor.exit(crash()),
    ] {
        give(&mailbox.actor_ref());
        let one = Node::default().start_on(&system, &mailbox);
        settle().await;
        assert_eq!(one.actor.call(Act::Ping, LONG).await, Ok(()));
        one.end(ExitReason::Normal).await;
        one.heard(&["bye normal"]);
        give(&mailbox.actor_ref());
    }
}

#[tokio::test(start_paused = true)]
async fn stop_says_good_bye_with_its_reason() {
    for reason in
        [ExitReason::Normal, ExitReason::Shutdown, ExitReason::ShutdownFor("upgrade".into()), crash()]
    {
        let one = Node::default().start(&System::new());
        one.actor.try_cast(Act::Note("never")).unwrap();
        settle().await;
        one.heard(&["never"]);
        one.actor.stop(reason.clone());
        assert_eq!(one.why().await, reason.to_string());
        one.heard(&[&format!("bye {reason}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_the_message_in_hand_and_no_other() {
    let one = Node::default().start(&System::new());
    one.tell(|cx| {
        cx.actor_ref().stop(ExitReason::Shutdown);
        cx.actor_ref().stop(crash());
        Ok(())
    });
    let asked = one.actor.call(Act::Ping, LONG);
    assert_eq!(asked.await, Err(CallError::Dropped));
    // The first reason stands.
    assert_eq!(one.why().await, "shutdown");
    one.heard(&["bye shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn stop_while_stopping_changes_nothing_but_a_kill_does() {
    let one = Node::slow_end().start(&System::new());
    one.actor.stop(ExitReason::Shutdown);
    settle().await;
    one.actor.stop(crash());
    settle().await;
    one.heard(&["bye shutdown"]);
    one.actor.exit(crash());
    one.actor.stop(ExitReason::Normal);
    one.actor.kill();
    // Of two orders to end at once, the first stands.
    assert_eq!(one.why().await, "crash");
    one.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_soften_an_exit() {
    let one = Node::default().start(&System::new());
    one.actor.cast(Act::Hang).await.unwrap();
    settle().await;
    one.actor.exit(crash());
    one.actor.stop(ExitReason::Normal);
    assert_eq!(one.why().await, "crash");
}

#[tokio::test(start_paused = true)]
async fn stop_during_init_comes_after_it() {
    let one = Node::slow_start().start(&System::new());
    settle().await;
    let began = tokio::time::Instant::now();
    one.actor.stop(ExitReason::Shutdown);
    assert_eq!(one.why().await, "shutdown");
    assert!(began.elapsed() >= LONG - Duration::from_millis(2));
    one.heard(&["bye shutdown"]);

    // A kill does not wait for it.
    let one = Node::slow_start().start(&System::new());
    settle().await;
    let began = tokio::time::Instant::now();
    one.actor.kill();
    assert_eq!(one.why().await, "killed");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn orders_to_the_dead_are_nothing() {
    let one = Node::default().start(&System::new());
    one.end(ExitReason::Normal).await;
    one.actor.stop(crash());
    one.actor.exit(crash());
    one.actor.kill();
    settle().await;
    assert_eq!(one.why().await, "normal");
}
