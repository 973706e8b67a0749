//! Tracing single actors at run time; after OTP's `sys_SUITE`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, Context, Event, EventKind, ExitReason, Info, Input, Mailbox, MailboxOptions, Observer,
    SpawnOptions, System,
};

use crate::stage::{Do, LONG, Stage, settle, top};

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn event(&self, event: &Event) {
        let path = &event.path;
        let line = match &event.kind {
            EventKind::Received { input, depth, message_type } => {
                assert!(matches!(*message_type, "u32" | "it::stage::Do"), "{message_type}");
                format!("{path} > {} +{depth}", word(input))
            }
            EventKind::Handled { input, elapsed, .. } => format!("{path} < {} {elapsed:?}", word(input)),
            EventKind::Exited { reason } => format!("{path} exited: {reason}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

fn word(input: &Input) -> String {
    match input {
        Input::Down { reason, .. } => format!("down {reason}"),
        Input::Exit { reason, .. } => format!("exit {reason}"),
        other => format!("{other:?}").to_lowercase(),
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
    (Arc::clone(&log), System::builder().observer(log).watchdog(None).build())
}

fn named(name: &str) -> SpawnOptions {
    SpawnOptions { name: Some(name.to_owned()), ..SpawnOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn trace() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let actor = system.spawn_with(named("a"), stage.lone("a"));
    let other = system.spawn_with(named("b"), stage.lone("b"));
    actor.cast(Do::Note(0)).await.unwrap();
    settle().await;
    assert!(system.trace(actor.id(), true));
    assert!(system.actor(actor.id()).unwrap().traced);
    actor.cast(Do::Work(Duration::from_millis(250))).await.unwrap();
    actor.cast(Do::Note(2)).await.unwrap();
    other.cast(Do::Note(3)).await.unwrap();
    tokio::time::sleep(LONG).await;
    log.saw(&["a > message +1", "a < message 250ms", "a > message +0", "a < message 0ns"]);
    assert!(system.trace(actor.id(), false));
    actor.cast(Do::Note(4)).await.unwrap();
    settle().await;
    log.saw(&[]);
    system.trace(actor.id(), true);
    actor.cast_urgent(Do::Note(5)).unwrap();
    settle().await;
    log.saw(&["a > message +0", "a < message 0ns"]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_traced_actor_is_told() {
    let last = |order: Do| async {
        let (stage, (log, system)) = (Stage::default(), observed());
        stage.slow_farewell("a", LONG);
        let actor = system.spawn_with(named("a"), stage.lone("a"));
        system.trace(actor.id(), true);
        actor.cast(order).await.unwrap();
        settle().await;
        actor.kill();
        actor.exited().await;
        std::mem::take(&mut *log.0.lock().unwrap())
    };
    let seen = last(Do::Hang).await;
    assert_eq!(seen, ["a > message +0", "a < message 1ms", "a exited: killed"]);
    let seen = last(Do::Panic).await;
    assert_eq!(seen, ["a > message +0", "a < message 0ns", "a exited: panicked: told to"]);
    let seen = last(Do::Exit(ExitReason::Normal)).await;
    assert_eq!(
        seen,
        ["a > message +0", "a < message 0ns", "a exited: killed"],
        "its last words are not part"
    );
}

/// Has everything happen to it that the runtime has for it.
struct Eventful(ActorRef<Do>);

impl Actor for Eventful {
    type Msg = u32;
    async fn handle(&mut self, message: u32, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if message == 0 {
            cx.trap_exit(true);
            cx.monitor(&self.0);
            cx.link(&self.0);
            cx.continue_next();
            let cancelled = cx.send_after(Duration::from_secs(1), 8);
            cx.send_after(Duration::from_secs(1), 9);
            cx.set_idle_timeout(Some(Duration::from_secs(5)));
            cx.cancel(cancelled);
        }
        Ok(())
    }
    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Info::Timeout = info {
            cx.set_idle_timeout(None);
            self.0.kill();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn trace_of_all_that_can_come() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let other = system.spawn_with(named("other"), stage.lone("other"));
    let options = SpawnOptions { mailbox: MailboxOptions::unbounded(), ..named("a") };
    let actor = system.spawn_with(options, Eventful(other));
    system.trace(actor.id(), true);
    actor.cast(0).await.unwrap();
    tokio::time::sleep(LONG).await;
    let expected = [
        "a > message +0",
        "a < message 0ns",
        "a > continue +0",
        "a < continue 0ns",
        "a > timer +0",
        "a < timer 0ns",
        "a > timeout +0",
        "a < timeout 0ns",
        "other exited: killed",
        "a > down killed +1",
        "a < down killed 0ns",
        "a > exit killed +0",
        "a < exit killed 0ns",
    ];
    let mut seen = std::mem::take(&mut *log.0.lock().unwrap());
    // Who is told first, the observer or those who watch, is not said.
    let told = seen.iter().position(|line| line.starts_with("other")).unwrap();
    seen.remove(told);
    assert_eq!(seen, expected.into_iter().filter(|line| !line.starts_with("other")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_trace_lasts_as_long_as_the_mailbox() {
    let (stage, (log, system)) = (Stage::default(), observed());
    let child = stage.child_with("a", Mailbox::unbounded());
    system.start(top(airssys_rt::Strategy::OneForOne, [child])).await.unwrap();
    system.trace(stage.player("a").id(), true);
    stage.crash("a").await;
    stage.tell("a", Do::Note(1)).await;
    log.saw(&[
        "top/a > message +0",
        "top/a < message 0ns",
        "top/a exited: crash",
        "top/a > message +0",
        "top/a < message 0ns",
    ]);
}

/// With the feature, the same and the whole life as events of the crate `tracing`.
mod events {
    use super::*;
    use std::io;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Talker;
    impl Actor for Talker {
        type Msg = Do;
        async fn handle(&mut self, order: Do, _: &mut Context<Self>) -> Result<(), ExitReason> {
            tracing::info!("I have something to do");
            match order {
                Do::Exit(reason) => Err(reason),
                _ => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_life_of_an_actor_as_tracing_events() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        // With one subscriber only, `tracing` takes it that it is every thread's: another test that comes by an event
        // first would turn that off for all. That one wants nothing, so no event is looked at before both are there.
        let off = tracing::level_filters::LevelFilter::OFF;
        let _another = tracing::Dispatch::new(tracing_subscriber::fmt().with_max_level(off).finish());
        let _here = tracing::subscriber::set_default(subscriber);
        let system = System::builder().watchdog(None).build();
        let actor = system.spawn_with(named("talker"), Talker);
        settle().await;
        actor.cast(Do::Note(1)).await.unwrap();
        settle().await;
        system.trace(actor.id(), true);
        actor.cast(Do::Exit(crate::stage::crash())).await.unwrap();
        actor.exited().await;
        settle().await;
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.contains("talker") || line.contains("I have")).collect();
        let id = actor.id();
        let expected = [
            format!("DEBUG airssys_rt: started actor=\"talker\" id={id}"),
            " INFO it::trace::events: I have something to do".to_owned(),
            format!(
                "TRACE actor{{path=\"talker\" id={id}}}: airssys_rt: received actor=\"talker\" id={id} input=Message"
            ),
            format!(" INFO actor{{path=\"talker\" id={id}}}: it::trace::events: I have something to do"),
            format!(
                "TRACE actor{{path=\"talker\" id={id}}}: airssys_rt: handled actor=\"talker\" id={id} input=Message"
            ),
            format!(" WARN airssys_rt: exited actor=\"talker\" id={id} reason=crash"),
        ];
        assert_eq!(lines.len(), expected.len(), "{text}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(&expected), "`{line}` is not `{expected}`");
        }
    }
}
