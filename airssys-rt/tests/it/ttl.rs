//! Messages that are of no use after some time, and what becomes of those that nobody handles. OTP has neither.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::{
    CallError, DeadLetterCause, Event, EventKind, Mailbox, MailboxOptions, Observer, Overflow, SendError,
    SpawnOptions, System,
};

use crate::stage::{Do, LONG, Stage, settle};

const TTL: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Dead(Mutex<Vec<(usize, DeadLetterCause)>>);

impl Observer for Dead {
    fn event(&self, event: &Event) {
        if let EventKind::DeadLetters { count, cause } = &event.kind {
            self.0.lock().unwrap().push((*count, *cause));
        }
    }
}

impl Dead {
    #[track_caller]
    fn saw(&self, expected: &[(usize, DeadLetterCause)]) {
        assert_eq!(std::mem::take(&mut *self.0.lock().unwrap()), expected);
    }
}

fn observed() -> (Arc<Dead>, System) {
    let dead = Arc::new(Dead::default());
    (Arc::clone(&dead), System::builder().observer(dead).watchdog(None).build())
}

fn with(mailbox: MailboxOptions) -> SpawnOptions {
    SpawnOptions { mailbox, ..SpawnOptions::default() }
}

async fn a_message_that_waits(options: MailboxOptions, wait: Duration) -> Vec<String> {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let actor = system.spawn_with(with(options), stage.lone("a"));
    actor.cast(Do::Work(wait)).await.unwrap();
    settle().await;
    for note in 0..3 {
        actor.cast(Do::Note(note)).await.unwrap();
    }
    tokio::time::sleep(LONG).await;
    let journal = stage.journal();
    dead.saw(if journal.len() == 1 { &[(3, DeadLetterCause::Expired)] } else { &[] });
    assert_eq!(system.metrics().dead_letters.expired, if journal.len() == 1 { 3 } else { 0 });
    actor.cast(Do::Note(9)).await.unwrap();
    settle().await;
    stage.saw(&["a:9"]);
    journal
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waited_too_long_is_not_handled() {
    for options in [MailboxOptions::unbounded(), MailboxOptions::bounded(3), MailboxOptions::default()] {
        let handled = ["+a", "a:0", "a:1", "a:2"];
        assert_eq!(a_message_that_waits(options.ttl(TTL), TTL / 2).await, handled);
        assert_eq!(a_message_that_waits(options.ttl(TTL), TTL * 2).await, ["+a"]);
        assert_eq!(a_message_that_waits(options, TTL * 2).await, handled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_message_has_its_own_time() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let actor = system.spawn(stage.lone("a"));
    actor.cast(Do::Work(TTL)).await.unwrap();
    actor.cast_for(Do::Note(1), TTL / 2).await.unwrap();
    actor.cast(Do::Note(2)).await.unwrap();
    actor.cast_for(Do::Note(3), TTL * 2).await.unwrap();
    actor.cast_for(Do::Note(4), Duration::ZERO).await.unwrap();
    actor.cast_for(Do::Note(5), Duration::MAX).await.unwrap();
    tokio::time::sleep(LONG).await;
    stage.saw(&["+a", "a:2", "a:3", "a:5"]);
    dead.saw(&[(1, DeadLetterCause::Expired), (1, DeadLetterCause::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn the_shorter_time_counts() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let actor = system.spawn_with(with(MailboxOptions::unbounded().ttl(TTL)), stage.lone("a"));
    actor.cast(Do::Work(TTL * 2)).await.unwrap();
    actor.cast_for(Do::Note(1), TTL * 3).await.unwrap();
    tokio::time::sleep(LONG).await;
    actor.cast(Do::Work(TTL / 2)).await.unwrap();
    actor.cast_for(Do::Note(2), TTL / 4).await.unwrap();
    tokio::time::sleep(LONG).await;
    stage.saw(&["+a"]);
    dead.saw(&[(1, DeadLetterCause::Expired), (1, DeadLetterCause::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_counts() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let actor = system.spawn_with(with(MailboxOptions::bounded(1)), stage.lone("a"));
    actor.cast(Do::Work(TTL)).await.unwrap();
    settle().await;
    actor.cast(Do::Work(TTL)).await.unwrap();
    let waiting = tokio::spawn({
        let actor = actor.clone();
        async move { actor.cast_for(Do::Note(1), TTL / 2).await.is_ok() }
    });
    assert!(waiting.await.unwrap());
    tokio::time::sleep(LONG).await;
    stage.saw(&["+a"]);
    dead.saw(&[(1, DeadLetterCause::Expired)]);
    actor.kill();
    actor.exited().await;
    assert!(matches!(actor.cast_for(Do::Note(2), TTL).await, Err(SendError::NoProc(Do::Note(2)))));
}

#[tokio::test(start_paused = true)]
async fn an_expired_call_is_dropped() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let actor = system.spawn_with(with(MailboxOptions::unbounded().ttl(TTL)), stage.lone("a"));
    actor.cast(Do::Work(TTL * 2)).await.unwrap();
    assert_eq!(actor.call(Do::Ping, LONG).await, Err(CallError::Dropped));
    dead.saw(&[(1, DeadLetterCause::Expired)]);
    assert_eq!(actor.call(Do::Ping, LONG).await, Ok(()));
}

/// Says how long the call that it makes while it handles one may take.
struct Relay(airssys_rt::ActorRef<Do>);
struct Asked(airssys_rt::Reply<Result<(), CallError>>);

impl airssys_rt::Actor for Relay {
    type Msg = Asked;
    async fn handle(
        &mut self,
        Asked(reply): Asked,
        _: &mut airssys_rt::Context<Self>,
    ) -> Result<(), airssys_rt::ExitReason> {
        reply.send(self.0.call(Do::Ping, LONG).await);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_to_live_takes_no_deadline_away() {
    let (stage, (_, system)) = (Stage::default(), observed());
    let busy = system.spawn(stage.lone("a"));
    busy.cast(Do::Work(LONG)).await.unwrap();
    let relay = system.spawn_with(with(MailboxOptions::unbounded().ttl(TTL)), Relay(busy));
    // The one that it calls does not answer; it is the deadline of this call that it gives up at.
    let answer = relay.call(Asked, TTL * 2).await;
    assert!(matches!(answer, Err(CallError::Timeout) | Ok(Err(CallError::Timeout))), "{answer:?}");
    tokio::time::sleep(TTL / 100).await;
    assert_eq!(system.actor(relay.id()).unwrap().state, airssys_rt::ActorState::Idle);
}

#[tokio::test(start_paused = true)]
async fn messages_expire_while_nobody_runs_on_their_mailbox() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let mailbox = Mailbox::new(MailboxOptions::unbounded().ttl(TTL));
    mailbox.actor_ref().cast(Do::Note(1)).await.unwrap();
    tokio::time::sleep(TTL * 2).await;
    mailbox.actor_ref().cast(Do::Note(2)).await.unwrap();
    system.spawn_on(&mailbox, None, stage.lone("a")).unwrap();
    settle().await;
    stage.saw(&["+a", "a:2"]);
    dead.saw(&[(1, DeadLetterCause::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn many_that_have_expired_make_room_and_let_others_run() {
    let (stage, (_, system)) = (Stage::default(), observed());
    let options = MailboxOptions::bounded(1_000).ttl(TTL);
    let actor = system.spawn_with(with(options), stage.lone("a"));
    actor.cast(Do::Work(TTL * 2)).await.unwrap();
    settle().await;
    for note in 0..1_000 {
        actor.try_cast(Do::Note(note)).unwrap();
    }
    assert!(matches!(actor.try_cast(Do::Note(0)), Err(SendError::Full(_))));
    tokio::time::sleep(TTL * 2).await;
    assert_eq!(system.metrics().dead_letters.expired, 1_000);
    for note in 0..1_000 {
        actor.try_cast(Do::Note(note)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_whose_drop_panics_disturbs_nobody() {
    struct Mine;
    impl Drop for Mine {
        fn drop(&mut self) {
            panic!("stepped upon");
        }
    }
    struct Sapper;
    impl airssys_rt::Actor for Sapper {
        type Msg = Option<Mine>;
        async fn handle(
            &mut self,
            mine: Option<Mine>,
            _: &mut airssys_rt::Context<Self>,
        ) -> Result<(), airssys_rt::ExitReason> {
            assert!(mine.is_none());
            Ok(())
        }
    }
    let (dead, system) = observed();
    let actor = system.spawn(Sapper);
    actor.cast_for(Some(Mine), Duration::ZERO).await.unwrap();
    settle().await;
    assert!(actor.is_alive());
    dead.saw(&[(1, DeadLetterCause::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_is_dropped_though_it_has_a_time() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let options = MailboxOptions::bounded(2).overflow(Overflow::DropOldest).ttl(TTL);
    let actor = system.spawn_with(with(options), stage.lone("a"));
    for note in 0..3 {
        actor.cast(Do::Note(note)).await.unwrap();
    }
    settle().await;
    stage.saw(&["+a", "a:1", "a:2"]);
    dead.saw(&[(1, DeadLetterCause::Overflow)]);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_have_a_cause_and_are_counted() {
    let (stage, (dead, system)) = (Stage::default(), observed());
    let newest = MailboxOptions::bounded(1).overflow(Overflow::DropNewest);
    let actor = system.spawn_with(with(newest), stage.lone("a"));
    for note in 0..3 {
        actor.cast(Do::Note(note)).await.unwrap();
    }
    dead.saw(&[(1, DeadLetterCause::Overflow), (1, DeadLetterCause::Overflow)]);
    actor.kill();
    actor.exited().await;
    dead.saw(&[(1, DeadLetterCause::Closed)]);
    let letters = system.metrics().dead_letters;
    assert_eq!((letters.closed, letters.overflow, letters.expired, letters.late), (1, 2, 0, 0));
}
