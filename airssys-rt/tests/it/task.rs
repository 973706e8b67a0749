//! Tasks: what becomes of their results, their failures and whoever stops waiting. And work that blocks.
//!
//! OTP has none. After Elixir's `Task`: `async/1` → `async_links_the_task_to_its_owner`; `await/2` → `a_result`,
//! `await_kills_what_takes_too_long`; `yield/2` → `yield_lets_it_go_on`; `shutdown/2` → `shutdown_ends_it_at_its_next_await`,
//! `shutdown_gives_a_result_that_is_there`; `async_stream/3` → `map_keeps_the_order_and_the_limit`; `Task.Supervisor` →
//! `a_supervised_task_is_started_again_until_it_succeeds`.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airssys_rt::task::{self, BlockingError, TaskError};
use airssys_rt::{
    Actor, ActorId, ChildSpec, ChildState, Context, Event, EventKind, ExitReason, Info, Observer, Reply,
    Restart, Shutdown, Strategy, System,
};
use tokio::time::Instant;

use crate::node::Node;
use crate::stage::{LONG, crash, settle, start, top};

const SECOND: Duration = Duration::from_secs(1);

/// Says when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A piece of work that never ends, and whether it was dropped.
fn endless() -> (impl Future<Output = ()> + Send + 'static, Arc<AtomicBool>) {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Flag(Arc::clone(&dropped));
    let work = async move {
        let _flag = flag;
        pending().await
    };
    (work, dropped)
}

fn is(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_result() {
    let system = System::new();
    assert_eq!(system.task(async { 42 }).await.unwrap(), 42);
    assert_eq!(system.task(async { 42 }).join(SECOND).await.unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_exit_of_the_task_alone() {
    let system = System::new();
    let task = system.task(async { panic!("boom") });
    let actor = task.actor_ref();
    assert_eq!(task.await.unwrap_err().to_string(), "panicked: boom");
    assert_eq!(actor.exited().await.to_string(), "panicked: boom");
    assert!(matches!(system.task(async { panic!("boom") }).join(SECOND).await, Err(TaskError::Exit(_))));
}

#[tokio::test(start_paused = true)]
async fn await_kills_what_takes_too_long() {
    let (work, dropped) = endless();
    let (task, began) = (System::new().task(work), Instant::now());
    assert!(matches!(task.join(SECOND).await, Err(TaskError::Timeout)));
    assert_eq!(began.elapsed(), SECOND);
    settle().await;
    assert!(is(&dropped));
}

#[tokio::test(start_paused = true)]
async fn yield_lets_it_go_on() {
    let mut task = System::new().task(async {
        tokio::time::sleep(3 * SECOND).await;
        42
    });
    assert!(task.yield_for(SECOND).await.is_none());
    assert_eq!(task.yield_for(LONG).await.unwrap().unwrap(), 42);
    assert!(matches!(task.yield_for(LONG).await, Some(Err(ExitReason::NoProc))));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_it_at_its_next_await() {
    for (how, reason) in [
        (Shutdown::Timeout(SECOND), "shutdown"),
        (Shutdown::Infinity, "shutdown"),
        (Shutdown::BrutalKill, "killed"),
    ] {
        let (work, dropped) = endless();
        let (task, began) = (System::new().task(work), Instant::now());
        settle().await;
        assert_eq!(task.shutdown(how).await.unwrap().unwrap_err().to_string(), reason);
        assert!(is(&dropped));
        assert!(began.elapsed() < SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_a_result_that_is_there() {
    let task = System::new().task(async { 42 });
    settle().await;
    assert_eq!(task.shutdown(Shutdown::BrutalKill).await.unwrap().unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_not_begun_never_does() {
    let (work, dropped) = endless();
    let task = System::new().task(async move {
        work.await;
        unreachable!("it was stopped before");
    });
    let outcome: Option<Result<(), _>> = task.shutdown(Shutdown::Infinity).await;
    assert_eq!(outcome.unwrap().unwrap_err().to_string(), "shutdown");
    assert!(is(&dropped));
}

#[tokio::test(start_paused = true)]
async fn dropped_it_is_killed_and_detached_it_is_not() {
    let system = System::new();
    let ((kept, kept_dropped), (lost, lost_dropped)) = (endless(), endless());
    let actor = system.task(kept).detach();
    drop(system.task(lost));
    settle().await;
    assert!(is(&lost_dropped));
    assert!(actor.is_alive() && !is(&kept_dropped));
}

#[tokio::test(start_paused = true)]
async fn it_can_be_monitored() {
    struct Widow(Option<Reply<(ActorId, String)>>);
    impl Actor for Widow {
        type Msg = Reply<(ActorId, String)>;
        async fn handle(&mut self, reply: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            self.0 = Some(reply);
            let task = cx.system().task(async { panic!("gone") });
            cx.monitor(&task.detach());
            Ok(())
        }
        async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
            if let (Info::Down(down), Some(reply)) = (info, self.0.take()) {
                reply.send((down.id, down.reason.to_string()));
            }
            Ok(())
        }
    }
    let widow = System::new().spawn(Widow(None));
    let (id, reason) = widow.call(|reply| reply, LONG).await.unwrap();
    assert_ne!(id, widow.id());
    assert_eq!(reason, "panicked: gone");
}

#[tokio::test(start_paused = true)]
async fn it_is_observed_like_any_actor() {
    #[derive(Default)]
    struct Scribe(Mutex<Vec<(ActorId, String)>>);
    impl Observer for Scribe {
        fn event(&self, event: &Event) {
            let kind = match &event.kind {
                EventKind::Exited { reason } => format!("exited: {reason}"),
                other => format!("{other:?}").to_lowercase(),
            };
            self.0.lock().unwrap().push((event.id, kind));
        }
    }
    let scribe = Arc::new(Scribe::default());
    let system = System::builder().observer(Arc::clone(&scribe) as _).watchdog(None).build();
    let task = system.task(async {});
    let id = task.id();
    task.await.unwrap();
    let expected = [(id, "started".to_owned()), (id, "exited: normal".to_owned())];
    assert_eq!(*scribe.0.lock().unwrap(), expected);
}

/// Runs a supervised task whose `n`th start behaves as `behave` says; how often it started, and what it does then.
async fn supervised(
    restart: Option<Restart>,
    behave: fn(usize) -> Result<(), ExitReason>,
) -> (usize, Option<ChildState>) {
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&starts);
    let mut child = ChildSpec::task("job", move || {
        let start = counted.fetch_add(1, Ordering::SeqCst);
        async move { behave(start) }
    });
    if let Some(restart) = restart {
        child = child.restart(restart);
    }
    let tree = start(top(Strategy::OneForOne, [child])).await;
    settle().await;
    let state = tree.which_children().await.first().map(|child| child.state);
    (starts.load(Ordering::SeqCst), state)
}

#[tokio::test(start_paused = true)]
async fn a_supervised_task_is_started_again_until_it_succeeds() {
    let behave = |start| match start {
        0 => Err(crash()),
        1 => panic!("boom"),
        _ => Ok(()),
    };
    assert_eq!(supervised(None, behave).await, (3, Some(ChildState::Stopped)));
    assert_eq!(supervised(Some(Restart::Temporary), behave).await, (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_supervised_task_is_stopped_at_once() {
    let (dropped, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let flag = Arc::clone(&dropped);
    let child = ChildSpec::task("job", move || {
        let flag = Flag(Arc::clone(&flag));
        async move {
            let _flag = flag;
            pending().await
        }
    });
    let tree = start(top(Strategy::OneForOne, [child])).await;
    settle().await;
    tree.shutdown().await;
    assert!(is(&dropped));
    // It does not take the five seconds after which it would be killed.
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn map_keeps_the_order_and_the_limit() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, max) = (Arc::clone(&running), Arc::clone(&most));
    let mut map = task::map(&System::new(), 0..20_u32, 4, move |n| {
        let (now, max) = (Arc::clone(&now), Arc::clone(&max));
        async move {
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(u64::from(20 - n))).await;
            now.fetch_sub(1, Ordering::SeqCst);
            assert_ne!(n, 7, "unlucky");
            n
        }
    });
    settle().await;
    assert_eq!(running.load(Ordering::SeqCst), 0, "nothing starts before it is asked for");
    for n in 0..20 {
        match map.next().await.unwrap() {
            Ok(result) => assert_eq!(result, n),
            Err(reason) => assert!(n == 7 && matches!(reason, ExitReason::Panic(_))),
        }
    }
    assert!(map.next().await.is_none());
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn map_dropped_kills_what_runs() {
    let (work, dropped) = endless();
    let mut map = task::map(&System::new(), Some(work), 0, |work| work);
    assert!(tokio::time::timeout(SECOND, map.next()).await.is_err());
    assert!(!is(&dropped));
    drop(map);
    settle().await;
    assert!(is(&dropped));
}

#[tokio::test(start_paused = true)]
async fn blocking_work_gives_its_result_or_its_panic() {
    let system = System::new();
    assert_eq!(system.blocking(|| 42).await.unwrap(), 42);
    let panicked = system.blocking(|| panic!("boom {}", 1)).await;
    assert!(matches!(panicked, Err(BlockingError::Panic(message)) if &*message == "boom 1"));
    assert_eq!(system.blocking_stats().running, 0);
    assert_eq!(system.blocking_stats().started, 2);
}

#[tokio::test(start_paused = true)]
async fn an_actor_waits_for_blocking_work() {
    struct Thinker;
    impl Actor for Thinker {
        type Msg = Reply<u32>;
        async fn handle(&mut self, reply: Reply<u32>, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            reply.send(cx.blocking(|| 42).await?);
            Err(cx.blocking(|| panic!("boom")).await.map_or_else(ExitReason::from, |()| ExitReason::Normal))
        }
    }
    let thinker = System::new().spawn(Thinker);
    assert_eq!(thinker.call(|reply| reply, LONG).await, Ok(42));
    assert_eq!(thinker.exited().await.to_string(), "blocking work panicked: boom");
}

/// Lets everything run until `done`. (Time does not move by itself while a thread is blocked.)
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn blocking_work_waits_for_a_place_and_that_shows() {
    let system = System::builder().blocking_limit(1).build();
    let (release, gate) = mpsc::channel::<()>();
    let blocking = |work: Box<dyn FnOnce() + Send>| {
        let system = system.clone();
        tokio::spawn(async move { system.blocking(work).await })
    };
    let first = blocking(Box::new(move || gate.recv().unwrap_or_default()));
    until(|| system.blocking_stats().running == 1).await;
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let impatient = blocking(Box::new(move || begins.store(true, Ordering::SeqCst)));
    let patient = blocking(Box::new(|| ()));
    until(|| system.blocking_stats().waiting == 2).await;
    impatient.abort();
    until(|| system.blocking_stats().waiting == 1).await;

    tokio::time::advance(3 * SECOND).await;
    release.send(()).unwrap();
    first.await.unwrap().unwrap();
    patient.await.unwrap().unwrap();
    let stats = system.blocking_stats();
    assert_eq!((stats.limit, stats.running, stats.waiting, stats.started), (1, 0, 0, 2));
    assert_eq!((stats.wait_total, stats.wait_max), (3 * SECOND, 3 * SECOND));
    assert!(!is(&began), "what nobody waits for any more is not started");
}

#[tokio::test(start_paused = true)]
async fn work_that_nobody_waits_for_keeps_its_place() {
    let system = System::builder().blocking_limit(1).build();
    let (release, gate) = mpsc::channel::<()>();
    let asker = tokio::spawn({
        let system = system.clone();
        async move { system.blocking(move || gate.recv().unwrap_or_default()).await }
    });
    until(|| system.blocking_stats().running == 1).await;
    asker.abort();
    assert!(asker.await.unwrap_err().is_cancelled());
    assert_eq!(system.blocking_stats().running, 1);
    release.send(()).unwrap();
    system.blocking(|| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_joined_stopped_and_dropped_on_many_threads() {
    let (system, running) = (System::new(), Arc::new(AtomicUsize::new(0)));
    let mut joined = Vec::new();
    for n in 0..1_000_u32 {
        running.fetch_add(1, Ordering::SeqCst);
        /// Counts down when its work is gone, however that ends.
        struct Gone(Arc<AtomicUsize>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let gone = Gone(Arc::clone(&running));
        let task = system.task(async move {
            let _gone = gone;
            if n % 2 == 1 {
                pending::<()>().await;
            }
            tokio::task::yield_now().await;
            n
        });
        match n % 4 {
            1 => drop(task),
            3 => {
                let reason = task.shutdown(Shutdown::Infinity).await.unwrap().unwrap_err();
                assert!(matches!(reason, ExitReason::Shutdown));
            }
            _ => joined.push((n, task)),
        }
    }
    for (n, task) in joined {
        assert_eq!(task.await.unwrap(), n);
    }
    // Those that were dropped end by themselves.
    until(|| running.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn async_links_the_task_to_its_owner() {
    let system = System::new();
    // Its panic is the owner's end, in the handler that waits for it or in another.
    let owner = Node::default().start(&system);
    owner.run(|cx| drop(cx.task(async { panic!("boom") }).detach())).await;
    assert_eq!(owner.why().await, "panicked: boom");

    // The owner's end is the task's.
    let (work, dropped) = endless();
    let owner = Node::default().start(&system);
    owner.run(|cx| drop(cx.task(work).detach())).await;
    assert!(!is(&dropped));
    owner.end(crash()).await;
    assert!(is(&dropped));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_its_owner_drops_or_shuts_down_does_not_end_it() {
    let system = System::new();
    let owner = Node::trapping().start(&system);
    let (work, dropped) = endless();
    owner.run(|cx| drop(cx.task(work))).await;
    assert!(is(&dropped));
    let (work, dropped) = endless();
    let kept = Arc::new(Mutex::new(None));
    let place = Arc::clone(&kept);
    owner.run(move |cx| *place.lock().unwrap() = Some(cx.task(work))).await;
    let task = kept.lock().unwrap().take().unwrap();
    task.shutdown(Shutdown::BrutalKill).await.unwrap().unwrap_err();
    assert!(is(&dropped));
    settle().await;
    owner.heard(&[]);
    assert!(owner.lives());
}

#[tokio::test(start_paused = true)]
async fn a_result_is_a_normal_exit_to_its_owner() {
    let owner = Node::trapping().start(&System::new());
    owner.run(|cx| drop(cx.task(async { 1 }).detach())).await;
    owner.heard(&["link normal"]);

    let owner = Node::default().start(&System::new());
    owner.run(|cx| drop(cx.task(async { 1 }).detach())).await;
    assert!(owner.lives());
}
