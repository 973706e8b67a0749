//! Who is told of an end, and when.
//!
//! After `monitor_SUITE`: `case_1`, `mon_1` → `an_end_is_told_with_its_reason`; `mon_2` → `each_monitor_is_told_once`;
//! `case_1a` → `a_dead_actor_is_told_at_once`; `demon_1`, `demon_2` → `demonitor_forgets_even_what_has_happened`;
//! `demonitor_flush` → `demonitor_discards_the_news_in_the_mailbox`; `local_remove_monitor` →
//! `monitors_end_with_the_incarnation_that_set_them`. That news comes after the messages of the dead is the signal order of
//! `signal_SUITE`.

use std::sync::{Arc, Mutex};

use airssys_rt::Strategy::OneForOne;
use airssys_rt::{
    Actor, ActorRef, ChildSpec, Context, Down, ExitReason, Info, Mailbox, MonitorRef, Reply, System,
};

use crate::stage::{Do, LONG, Stage, crash, settle, start, top};

/// Watches others, and writes down what it hears.
#[derive(Clone, Default)]
struct Watcher {
    monitors: Vec<MonitorRef>,
    heard: Arc<Mutex<Vec<String>>>,
}

enum Watch {
    Start(ActorRef<Do>),
    Forget,
    Say(&'static str),
    Crash,
    Sync(Reply<()>),
}

impl Actor for Watcher {
    type Msg = Watch;

    async fn handle(&mut self, watch: Watch, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match watch {
            Watch::Start(actor) => self.monitors.push(cx.monitor(&actor)),
            Watch::Forget => self.monitors.drain(..).for_each(|monitor| cx.demonitor(monitor)),
            Watch::Say(word) => self.hear(word),
            Watch::Crash => return Err(crash()),
            Watch::Sync(reply) => reply.send(()),
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let Info::Down(Down { monitor, reason, .. }) = info else { return Ok(()) };
        let whose = if self.monitors.contains(&monitor) { "down" } else { "not ours" };
        self.hear(&format!("{whose}: {reason}"));
        Ok(())
    }
}

impl Watcher {
    fn hear(&self, what: &str) {
        self.heard.lock().unwrap().push(what.to_owned());
    }

    #[track_caller]
    fn heard(&self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut *self.heard.lock().unwrap()), expected);
    }
}

struct Scene {
    stage: Stage,
    system: System,
    watcher: Watcher,
    watching: ActorRef<Watch>,
    watched: ActorRef<Do>,
}

fn scene() -> Scene {
    let (stage, watcher, system) = (Stage::default(), Watcher::default(), System::new());
    let watching = system.spawn(watcher.clone());
    let watched = system.spawn(stage.lone("a"));
    Scene { stage, system, watcher, watching, watched }
}

impl Scene {
    async fn watch(&self) {
        self.watching.cast(Watch::Start(self.watched.clone())).await.unwrap();
        self.watching.call(Watch::Sync, LONG).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_with_its_reason() {
    for (order, told) in [
        (Do::Exit(ExitReason::Normal), "down: normal"),
        (Do::Exit(crash()), "down: crash"),
        (Do::Panic, "down: panicked: told to"),
    ] {
        let scene = scene();
        scene.watch().await;
        scene.watched.cast(order).await.unwrap();
        settle().await;
        scene.watcher.heard(&[told]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_monitor_is_told_once() {
    let scene = scene();
    scene.watch().await;
    scene.watch().await;
    scene.watched.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
    settle().await;
    scene.watcher.heard(&["down: normal", "down: normal"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_actor_is_told_at_once() {
    let scene = scene();
    scene.watched.cast(Do::Exit(crash())).await.unwrap();
    scene.watched.exited().await;
    scene.watch().await;
    settle().await;
    scene.watcher.heard(&["down: no such actor"]);
}

#[tokio::test(start_paused = true)]
async fn demonitor_forgets_even_what_has_happened() {
    let scene = scene();
    scene.watch().await;
    scene.watching.cast(Watch::Forget).await.unwrap();
    // Forgets it before it comes to the news, which is in its mailbox by then.
    scene.watched.cast(Do::Exit(crash())).await.unwrap();
    settle().await;
    scene.watcher.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn demonitor_discards_the_news_in_the_mailbox() {
    let mailbox = Mailbox::unbounded();
    let (stage, watcher) = (Stage::default(), Watcher::default());
    let system = System::new();
    let watched = system.spawn(stage.lone("a"));
    watched.cast(Do::Exit(crash())).await.unwrap();
    watched.exited().await;
    // Both are queued before the first is handled, so the news comes behind `Forget`.
    mailbox.actor_ref().cast(Watch::Start(watched)).await.unwrap();
    mailbox.actor_ref().cast(Watch::Forget).await.unwrap();
    system.spawn_on(&mailbox, None, watcher.clone()).unwrap();
    settle().await;
    watcher.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn news_comes_after_the_messages_of_the_dead() {
    /// Says a word to the watcher and ends.
    struct LastWords(ActorRef<Watch>);
    impl Actor for LastWords {
        type Msg = ();
        async fn handle(&mut self, _: (), _: &mut Context<Self>) -> Result<(), ExitReason> {
            self.0.cast(Watch::Say("last words")).await?;
            Err(ExitReason::Normal)
        }
    }
    /// Monitors the other from its first message on.
    struct Heir(Watcher, ActorRef<()>);
    impl Actor for Heir {
        type Msg = Watch;
        async fn init(&mut self, cx: &mut Context<Self>) -> Result<airssys_rt::Init, ExitReason> {
            let speaker = cx.system().spawn(LastWords(cx.actor_ref()));
            self.1 = speaker.clone();
            cx.monitor(&speaker);
            speaker.cast(()).await?;
            speaker.exited().await;
            Ok(airssys_rt::Init::Ready)
        }
        async fn handle(&mut self, watch: Watch, _: &mut Context<Self>) -> Result<(), ExitReason> {
            if let Watch::Say(word) = watch {
                self.0.hear(word);
            }
            Ok(())
        }
        async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
            let Info::Down(down) = info else { return Ok(()) };
            assert_eq!(down.id, self.1.id());
            self.0.hear("down");
            Ok(())
        }
    }
    let watcher = Watcher::default();
    let nobody = Mailbox::unbounded().actor_ref();
    System::new().spawn(Heir(watcher.clone(), nobody));
    settle().await;
    watcher.heard(&["last words", "down"]);
}

#[tokio::test(start_paused = true)]
async fn monitors_end_with_the_incarnation_that_set_them() {
    let scene = scene();
    let (mailbox, watcher) = (Mailbox::unbounded(), scene.watcher.clone());
    let child = ChildSpec::actor_with_mailbox("watcher", mailbox.clone(), move || watcher.clone());
    scene.system.start(top(OneForOne, [child])).await.unwrap();
    let watching = mailbox.actor_ref();
    watching.cast(Watch::Start(scene.watched.clone())).await.unwrap();
    watching.cast(Watch::Crash).await.unwrap();
    watching.call(Watch::Sync, LONG).await.unwrap();
    scene.watched.cast(Do::Exit(crash())).await.unwrap();
    settle().await;
    scene.watcher.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn exited_says_why() {
    let scene = scene();
    let waiting = tokio::spawn({
        let watched = scene.watched.clone();
        async move { watched.exited().await }
    });
    settle().await;
    scene.watched.cast(Do::Exit(crash())).await.unwrap();
    assert_eq!(waiting.await.unwrap().to_string(), "crash");
    assert_eq!(scene.watched.exited().await.to_string(), "crash", "afterwards too");
    scene.stage.saw(&["+a", "-a crash"]);
}

#[tokio::test(start_paused = true)]
async fn exited_is_per_incarnation_where_the_mailbox_is_retained() {
    let (stage, mailbox) = (Stage::default(), Mailbox::unbounded());
    start(top(OneForOne, [stage.child_with("a", mailbox.clone())])).await;
    let actor = mailbox.actor_ref();
    for _ in 0..2 {
        actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
        assert!(matches!(actor.exited().await, ExitReason::Normal));
    }
}
