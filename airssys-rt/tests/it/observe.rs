//! What an observer is told.

use std::sync::{Arc, Mutex};

use airssys_rt::Restart::Transient;
use airssys_rt::Strategy::OneForOne;
use airssys_rt::{
    ActorRef, ChildSpec, Event, EventKind, ExitReason, Mailbox, Observer, SpawnOptions, Supervisor, System,
};

use crate::stage::{Do, Plan, Stage, crash, named, settle, top};

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn event(&self, event: &Event) {
        let what = match &event.kind {
            EventKind::Started => "started".to_owned(),
            EventKind::Ignored => "ignored".to_owned(),
            EventKind::InitFailed { reason } => format!("init failed: {reason}"),
            EventKind::Exited { reason } => format!("exited: {reason}"),
            EventKind::Stopped => "stopped".to_owned(),
            EventKind::Restarting { attempt } => format!("restarting {attempt}"),
            EventKind::GaveUp => "gave up".to_owned(),
            EventKind::DeadLetters { count, .. } => format!("dead letters: {count}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(format!("{} {what}", event.path));
    }
}

impl Log {
    #[track_caller]
    fn saw(&self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut *self.0.lock().unwrap()), expected);
    }
}

fn observed() -> (Arc<Log>, System) {
    let log = Arc::new(Log::default());
    let system = System::builder().observer(Arc::clone(&log) as _).watchdog(None).build();
    (log, system)
}

fn tree(stage: &Stage) -> Supervisor {
    let inner = named("inner", OneForOne, [stage.child("b"), stage.child("c").restart(Transient)]);
    top(OneForOne, [stage.child("a"), ChildSpec::supervisor(inner)])
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_tree() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let supervisor = system.start(tree(&stage)).await.unwrap();
    log.saw(&[
        "top/a started",
        "top/inner/b started",
        "top/inner/c started",
        "top/inner started",
        "top started",
    ]);
    stage.crash("b").await;
    log.saw(&["top/inner/b exited: crash", "top/inner/b restarting 1", "top/inner/b started"]);
    stage.exit("c", ExitReason::Shutdown).await;
    log.saw(&["top/inner/c exited: shutdown"]);
    supervisor.shutdown().await;
    log.saw(&["top/inner/b stopped", "top/inner stopped", "top/a stopped", "top stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_start() {
    let (stage, (log, system)) = (Stage::default(), observed());
    stage.plan("a", [Plan::Ignore]);
    stage.plan("c", [Plan::Fail]);
    system.start(tree(&stage)).await.unwrap_err();
    log.saw(&[
        "top/a ignored",
        "top/inner/b started",
        "top/inner/c init failed: crash",
        "top/inner/b stopped",
        "top/inner init failed: cannot start `top/inner/c`",
        "top init failed: cannot start `top/inner`",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let stubborn = Supervisor::new("top", OneForOne).child(stage.child("a"));
    system.start(stubborn).await.unwrap();
    stage.crash("a").await;
    log.saw(&["top/a started", "top started", "top/a exited: crash", "top/a restarting 1", "top/a started"]);
    stage.crash("a").await;
    log.saw(&["top/a exited: crash", "top gave up", "top exited: restart intensity reached"]);
}

async fn with_queued_notes(actor: &ActorRef<Do>, last: Do) {
    actor.cast(last).await.unwrap();
    for number in 0..3 {
        actor.cast(Do::Note(number)).await.unwrap();
    }
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_nobody_will_handle() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let options = SpawnOptions { name: Some("lone".to_owned()), ..SpawnOptions::default() };
    let actor = system.spawn_with(options, stage.lone("a"));
    with_queued_notes(&actor, Do::Exit(crash())).await;
    log.saw(&["lone started", "lone dead letters: 3", "lone exited: crash"]);
}

#[tokio::test(start_paused = true)]
async fn a_retained_mailbox_has_dead_letters_when_it_closes() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let mailbox = Mailbox::unbounded();
    let child = stage.child_with("a", mailbox.clone()).restart(Transient);
    let supervisor = system.start(top(OneForOne, [child])).await.unwrap();
    with_queued_notes(&mailbox.actor_ref(), Do::Exit(ExitReason::Normal)).await;
    log.saw(&["top/a started", "top started", "top/a exited: normal"]);
    supervisor.shutdown().await;
    log.saw(&["top stopped"]);
    drop(mailbox);
    log.saw(&["top/a dead letters: 3"]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_without_a_name_has_its_id_as_path() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let actor = system.spawn(stage.lone("a"));
    settle().await;
    log.saw(&[&format!("{} started", actor.id())]);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_observer_disturbs_nobody() {
    struct Fragile;
    impl Observer for Fragile {
        fn event(&self, event: &Event) {
            panic!("cannot bear {event:?}");
        }
    }
    let stage = Stage::default();
    let system = System::builder().observer(Arc::new(Fragile)).build();
    let supervisor = system.start(tree(&stage)).await.unwrap();
    stage.crash("b").await;
    supervisor.shutdown().await;
    stage.saw(&["+a", "+b", "+c", "-b crash", "+b", "-c shutdown", "-b shutdown", "-a shutdown"]);
}
