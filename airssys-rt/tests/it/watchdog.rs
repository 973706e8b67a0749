//! Actors that hold their thread.
//!
//! After `trace_SUITE`: `system_monitor_long_schedule` → `an_actor_that_holds_its_thread_is_reported_while_it_does`.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airssys_rt::Strategy::OneForOne;
use airssys_rt::{
    Actor, ActorId, ChildSpec, Context, Event, EventKind, ExitReason, Observer, Supervisor, System,
};

use crate::stage::Stage;

const LIMIT: Duration = Duration::from_millis(10);

/// Tells of those that are blocked.
struct Alarm(Mutex<mpsc::Sender<(String, ActorId, Duration)>>);

impl Observer for Alarm {
    fn event(&self, event: &Event) {
        if let EventKind::Blocked { elapsed } = &event.kind {
            drop(self.0.lock().unwrap().send((event.path.to_string(), event.id, *elapsed)));
        }
    }
}

type Alarms = mpsc::Receiver<(String, ActorId, Duration)>;

fn watched(limit: Option<Duration>) -> (System, Alarms) {
    let (alarm, alarms) = mpsc::channel();
    (System::builder().observer(Arc::new(Alarm(Mutex::new(alarm)))).watchdog(limit).build(), alarms)
}

/// Holds its thread until it hears of it, from the very alarm that it causes.
struct Blocker(Arc<Mutex<Alarms>>, mpsc::Sender<(String, ActorId, Duration)>);

impl Actor for Blocker {
    type Msg = ();
    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        let alarm = self.0.lock().unwrap().recv()?;
        drop(self.1.send(alarm));
        Ok(())
    }
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_time().build().unwrap()
}

#[test]
fn an_actor_that_holds_its_thread_is_reported_while_it_does() {
    for threads in [1, 2] {
        let runtime = runtime(threads);
        let (system, alarms) = runtime.block_on(async { watched(Some(LIMIT)) });
        let (tell, told) = mpsc::channel();
        let blocker = system.spawn(Blocker(Arc::new(Mutex::new(alarms)), tell));
        for _ in 0..2 {
            // Idle before, so that the watchdog sleeps, too.
            runtime.block_on(async { blocker.cast(()).await.unwrap() });
            let (path, id, elapsed) = told.recv().unwrap();
            assert_eq!((path, id), (blocker.id().to_string(), blocker.id()));
            assert!(elapsed >= LIMIT, "{elapsed:?}");
        }
        assert!(system.metrics().blocked >= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn on_the_only_thread_and_in_virtual_time() {
    let (system, alarms) = watched(Some(LIMIT));
    let (tell, told) = mpsc::channel();
    let blocker = system.spawn(Blocker(Arc::new(Mutex::new(alarms)), tell));
    blocker.cast(()).await.unwrap();
    crate::stage::settle().await;
    assert_eq!(told.try_recv().unwrap().1, blocker.id());
}

#[test]
fn a_supervisor_whose_child_blocks_where_it_is_made() {
    let runtime = runtime(1);
    let (system, alarms) = runtime.block_on(async { watched(Some(LIMIT)) });
    let (tell, told) = mpsc::channel();
    let (alarms, stage) = (Arc::new(Mutex::new(alarms)), Stage::default());
    let child = ChildSpec::actor("child", move || {
        if let Ok(alarm) = alarms.lock().unwrap().recv() {
            drop(tell.send(alarm));
        }
        stage.lone("child")
    });
    let top = Supervisor::new("top", OneForOne).child(child);
    let supervisor = runtime.block_on(system.start(top)).unwrap();
    assert_eq!(told.recv().unwrap().0, "top");
    drop(supervisor);
}

#[test]
fn without_a_watchdog_nobody_barks() {
    struct Busy;
    impl Actor for Busy {
        type Msg = ();
        async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
            let since = std::time::Instant::now();
            while since.elapsed() < LIMIT * 4 {
                std::thread::yield_now();
            }
            Ok(())
        }
    }
    let runtime = runtime(1);
    let seen = |limit| {
        let (system, alarms) = runtime.block_on(async { watched(limit) });
        let busy = system.spawn(Busy);
        runtime.block_on(async {
            busy.cast(()).await.unwrap();
            busy.stop(ExitReason::Normal);
            busy.exited().await;
        });
        alarms.try_recv().is_ok()
    };
    assert!(!seen(None));
    assert!(!seen(Some(Duration::from_secs(3_600))));
}

#[test]
fn a_thread_of_its_own_ends_with_the_system() {
    /// Says when the last of the system is gone, which the observer is.
    struct Gone(mpsc::Sender<()>);
    impl Observer for Gone {
        fn event(&self, _: &Event) {}
    }
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, is_gone) = mpsc::channel();
    let runtime = runtime(1);
    runtime.block_on(async {
        let system = System::builder().observer(Arc::new(Gone(gone))).watchdog(Some(LIMIT)).build();
        let actor = system.spawn(Stage::default().lone("a"));
        actor.call(crate::stage::Do::Ping, crate::stage::LONG).await.unwrap();
        actor.kill();
        actor.exited().await;
    });
    is_gone.recv().unwrap();
}
