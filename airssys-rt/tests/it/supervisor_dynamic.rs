//! Supervisors of many children of one kind: `simple_one_for_one` in OTP's suite.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airssys_rt::Restart::{self, Permanent, Temporary, Transient};
use airssys_rt::Strategy::OneForOne;
use airssys_rt::{
    Actor, ActorRef, Backoff, ChildError, ChildSpec, ChildState, Context, DynamicRef, DynamicSupervisor,
    ExitReason, Init, MailboxOptions, Probe, ProbeFailed, Reply, Shutdown, Supervisor, SupervisorRef, System,
};
use tokio::time::Instant;

use crate::stage::{Do, LONG, Plan, Player, Stage, crash, settle, start};

const SECOND: Duration = Duration::from_secs(1);

/// Players, made of their names, that may fail thrice in ten seconds.
fn players(stage: &Stage) -> DynamicSupervisor<String, Player> {
    let stage = stage.clone();
    DynamicSupervisor::new("dyn", move |name: String| stage.lone(&name)).intensity(3, 10 * SECOND)
}

struct Playground {
    stage: Stage,
    top: SupervisorRef,
    players: DynamicRef<String, Do>,
}

impl Playground {
    async fn open(
        change: impl FnOnce(DynamicSupervisor<String, Player>) -> DynamicSupervisor<String, Player>,
    ) -> Self {
        let stage = Stage::default();
        let supervisor = change(players(&stage));
        let players = supervisor.dynamic_ref();
        let child = ChildSpec::dynamic(supervisor);
        let top = start(Supervisor::new("top", OneForOne).intensity(0, SECOND).child(child)).await;
        Self { stage, top, players }
    }

    async fn start(&self, name: &str) -> ActorRef<Do> {
        self.players.start_child(name.to_owned()).await.unwrap()
    }

    async fn counts(&self) -> [usize; 4] {
        let count = self.players.count_children().await;
        [count.specs, count.active, count.supervisors, count.workers]
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ChildError>, expected: &str) {
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.starts_with(expected), "{error} is not {expected}");
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one() {
    let ground = Playground::open(|players| players).await;
    let (a, b) = (ground.start("a").await, ground.start("b").await);
    assert_eq!(a.id(), ground.stage.player("a").id());
    ground.stage.crash("a").await;
    ground.stage.saw(&["+a", "+b", "-a crash", "+a"]);
    assert!(!a.is_alive(), "the one that was restarted is another one");
    let ids: HashSet<_> = ground.players.which_children().await.iter().map(ActorRef::id).collect();
    assert_eq!(ids, HashSet::from([ground.stage.player("a").id(), b.id()]));
    ground.top.shutdown().await;
    let mut end = ground.stage.journal();
    end.sort();
    assert_eq!(end, ["-a shutdown", "-b shutdown"]);
    refused(ground.players.start_child("c".to_owned()).await, "NoProc");
    assert_eq!(ground.counts().await, [0; 4]);
    assert!(ground.players.which_children().await.is_empty());
}

/// A child's argument is its own, at each of its starts.
#[tokio::test(start_paused = true)]
async fn simple_one_for_one_extra() {
    let ground = Playground::open(|players| players).await;
    for name in ["a", "b", "c"] {
        ground.start(name).await;
    }
    for name in ["c", "a", "b"] {
        ground.stage.crash(name).await;
    }
    ground.stage.saw(&["+a", "+b", "+c", "-c crash", "+c", "-a crash", "+a", "-b crash", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one_escalation() {
    let ground = Playground::open(|players| players).await;
    ground.start("a").await;
    ground.start("b").await;
    for name in ["a", "b", "a"] {
        ground.stage.crash(name).await;
    }
    ground.stage.journal();
    ground.stage.crash("b").await;
    ground.stage.saw(&["-b crash", "-a shutdown"]);
    assert!(matches!(ground.top.exited().await, ExitReason::GaveUp), "its parent allows none");
}

/// All have one shutdown time, at the same time.
#[tokio::test(start_paused = true)]
async fn simple_one_for_one_shutdown() {
    let ground = Playground::open(|players| players.shutdown(Shutdown::Timeout(2 * SECOND))).await;
    for name in ["a", "b", "c", "d"] {
        ground.start(name).await;
    }
    for name in ["a", "b"] {
        ground.stage.slow_farewell(name, SECOND);
    }
    ground.stage.slow_farewell("c", LONG);
    let (began, slow) = (Instant::now(), ground.stage.player("c"));
    ground.top.shutdown().await;
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert!(matches!(slow.exited().await, ExitReason::Killed));
    let mut end = ground.stage.journal();
    end.sort();
    assert_eq!(end, ["+a", "+b", "+c", "+d", "-a shutdown", "-b shutdown", "-d shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_brutal_kill_takes_no_time_and_infinity_takes_all() {
    for (shutdown, expected) in [(Shutdown::BrutalKill, Duration::ZERO), (Shutdown::Infinity, LONG)] {
        let ground = Playground::open(|players| players.shutdown(shutdown)).await;
        ground.start("a").await;
        ground.stage.slow_farewell("a", LONG);
        let began = Instant::now();
        ground.top.shutdown().await;
        assert_eq!(began.elapsed(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn child_adm_simple() {
    let ground = Playground::open(|players| players).await;
    assert_eq!(ground.counts().await, [1, 0, 0, 0]);
    let (a, b) = (ground.start("a").await, ground.start("b").await);
    assert_eq!(ground.counts().await, [1, 2, 0, 2]);
    ground.players.terminate_child(a.id()).await.unwrap();
    assert!(!a.is_alive());
    refused(ground.players.terminate_child(a.id()).await, "NotFound");
    assert_eq!(ground.counts().await, [1, 1, 0, 1]);
    ground.stage.saw(&["+a", "+b", "-a shutdown"]);

    // What it has in common with the other kind.
    let child = ground.top.which_children().await.remove(0);
    assert!(child.children.is_empty(), "not in a snapshot from above");
    let below = child.supervisor.unwrap();
    let row = below.which_children().await.remove(0);
    assert_eq!((&*row.name, row.id, row.state), ("*", Some(b.id()), ChildState::Running));
    assert_eq!(below.count_children().await.workers, 1);
    refused(below.start_child(ground.stage.child("x")).await, "Dynamic");
    refused(below.terminate_child("b").await, "Dynamic");
    refused(below.restart_child("b").await, "Dynamic");
    refused(below.delete_child("b").await, "Dynamic");
}

async fn runs_again(restart: Restart, reason: ExitReason) -> bool {
    let ground = Playground::open(|players| players.restart(restart)).await;
    ground.start("a").await;
    ground.stage.exit("a", reason).await;
    ground.counts().await[1] == 1
}

#[tokio::test(start_paused = true)]
async fn each_restart_type_does_what_it_does_elsewhere() {
    let abnormal = || [ExitReason::Normal, ExitReason::Shutdown, crash()];
    for (restart, expected) in
        [(Permanent, [true; 3]), (Transient, [false, false, true]), (Temporary, [false; 3])]
    {
        for (reason, expected) in abnormal().into_iter().zip(expected) {
            let case = format!("{restart:?} after {reason}");
            assert_eq!(runs_again(restart, reason).await, expected, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_permanent_child_start_child_simple() {
    let ground = Playground::open(|players| players).await;
    ground.stage.plan("a", [Plan::Ignore]);
    refused(ground.players.start_child("a".to_owned()).await, "Ignored");
    ground.start("b").await;
    assert_eq!(ground.counts().await, [1, 1, 0, 1]);
    ground.top.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_start_that_fails_touches_nobody() {
    let ground = Playground::open(|players| players).await;
    ground.start("b").await;
    for plan in [Plan::Fail, Plan::Panic, Plan::Fail, Plan::Fail, Plan::Fail] {
        ground.stage.plan("a", [plan]);
        refused(ground.players.start_child("a".to_owned()).await, "Failed");
    }
    assert_eq!(ground.counts().await, [1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_tried_again() {
    let ground = Playground::open(|players| players.restart(Transient)).await;
    ground.start("a").await;
    ground.stage.plan("a", [Plan::Fail, Plan::FailWith(ExitReason::Normal)]);
    ground.stage.crash("a").await;
    ground.stage.saw(&["+a", "-a crash", "+a", "+a", "+a"]);
    ground.stage.plan("a", [Plan::Fail]);
    ground.stage.crash("a").await;
    ground.stage.saw(&["-a crash"]);
    assert!(matches!(ground.top.exited().await, ExitReason::GaveUp));
}

#[tokio::test(start_paused = true)]
async fn hanging_restart_loop_simple() {
    let ground = Playground::open(|players| players.intensity(usize::MAX, SECOND)).await;
    ground.start("a").await;
    ground.start("b").await;
    ground.stage.plan("a", (0..100_000).map(|_| Plan::Fail));
    ground.stage.player("a").cast(Do::Exit(crash())).await.unwrap();
    tokio::task::yield_now().await;
    ground.top.shutdown().await;
    assert!(ground.stage.journal().contains(&"-b shutdown".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn max_children() {
    let ground = Playground::open(|players| players.max_children(2).restart(Temporary)).await;
    let a = ground.start("a").await;
    ground.stage.plan("b", [Plan::Wait(SECOND)]);
    let (players, asked) = (ground.players.clone(), "b".to_owned());
    let asked = tokio::spawn(async move { players.start_child(asked).await });
    settle().await;
    refused(ground.players.start_child("c".to_owned()).await, "MaxChildren");
    asked.await.unwrap().unwrap();
    ground.stage.slow_farewell("a", SECOND);
    let ended = ground.players.terminate_child(a.id());
    let (ended, refusal) = tokio::join!(ended, ground.players.start_child("c".to_owned()));
    ended.unwrap();
    refused(refusal, "MaxChildren");
    ground.start("c").await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_is_taken_back() {
    let ground = Playground::open(|players| players).await;
    ground.stage.plan("a", [Plan::Wait(SECOND)]);
    let asked = ground.players.start_child("a".to_owned());
    assert!(tokio::time::timeout(SECOND / 2, asked).await.is_err());
    tokio::time::sleep(SECOND).await;
    ground.stage.saw(&["+a", "-a shutdown"]);

    // One that is answered already, but not heard.
    let mut asked = Box::pin(ground.players.start_child("b".to_owned()));
    assert!(poll_once(&mut asked).await);
    settle().await;
    ground.stage.saw(&["+b"]);
    // Not even when it has become another actor meanwhile.
    ground.stage.crash("b").await;
    drop(asked);
    settle().await;
    ground.stage.saw(&["-b crash", "+b", "-b shutdown"]);
    assert_eq!(ground.counts().await, [1, 0, 0, 0]);
}

/// Polls once; true where it is not ready.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_hanging_child_can_be_terminated_while_others_start() {
    let ground = Playground::open(|players| players).await;
    let a = ground.start("a").await;
    ground.stage.tell("a", Do::Hang).await;
    let (players, id, began) = (ground.players.clone(), a.id(), Instant::now());
    let asked = tokio::spawn(async move { players.terminate_child(id).await });
    settle().await;
    ground.start("b").await;
    ground.stage.crash("b").await;
    asked.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), 5 * SECOND);
    ground.stage.saw(&["+a", "+b", "-b crash", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_counts_and_can_be_terminated() {
    let backoff = Backoff::exponential(SECOND, 8 * SECOND).jitter(0.0);
    let ground = Playground::open(|players| players.backoff(backoff).max_children(1)).await;
    let a = ground.start("a").await;
    ground.stage.crash("a").await;
    assert_eq!(ground.counts().await, [1, 0, 0, 1]);
    refused(ground.players.start_child("b".to_owned()).await, "MaxChildren");
    tokio::time::sleep(SECOND).await;
    ground.stage.saw(&["+a", "-a crash", "+a"]);
    assert_eq!(ground.counts().await, [1, 1, 0, 1]);
    refused(ground.players.terminate_child(a.id()).await, "NotFound");
    let again = ground.stage.player("a");
    ground.stage.crash("a").await;
    tokio::time::sleep(SECOND).await;
    ground.players.terminate_child(again.id()).await.unwrap();
    ground.start("b").await;
    ground.stage.crash("b").await;
    let began = Instant::now();
    ground.top.shutdown().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    ground.stage.saw(&["-a crash", "+b", "-b crash"]);
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_that_is_restarted_is_reached_by_the_same_reference() {
    let stage = Stage::default();
    let supervisor = players(&stage).intensity(0, SECOND);
    let players = supervisor.dynamic_ref();
    refused(players.start_child("early".to_owned()).await, "NoProc");
    let top = start(Supervisor::new("top", OneForOne).child(ChildSpec::dynamic(supervisor))).await;
    players.start_child("a".to_owned()).await.unwrap();
    stage.crash("a").await;
    assert_eq!(players.count_children().await.workers, 0, "it begins anew");
    players.start_child("b".to_owned()).await.unwrap();
    top.shutdown().await;
    stage.saw(&["+a", "-a crash", "+b", "-b shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_drained_child_handles_what_it_has() {
    let ground = Playground::open(|players| players.drain(true)).await;
    let a = ground.start("a").await;
    for order in [Do::Work(SECOND), Do::Note(1)] {
        a.try_cast(order).unwrap();
    }
    ground.top.shutdown().await;
    ground.stage.saw(&["+a", "a:1", "-a shutdown"]);
}

/// An argument that panics when it is copied, or dropped.
struct Bomb {
    copies: Arc<AtomicUsize>,
    drops: bool,
}

impl Clone for Bomb {
    fn clone(&self) -> Self {
        assert!(self.copies.fetch_sub(1, Ordering::Relaxed) > 0, "no more copies");
        Self { copies: Arc::clone(&self.copies), drops: self.drops }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.drops, "dropped");
    }
}

struct Idle;

impl Actor for Idle {
    type Msg = Reply<()>;

    async fn init(&mut self, _: &mut Context<Self>) -> Result<Init, ExitReason> {
        Ok(Init::Ready)
    }

    async fn handle(&mut self, reply: Reply<()>, _: &mut Context<Self>) -> Result<(), ExitReason> {
        drop(reply);
        Err(crash())
    }
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_panics_is_not_the_supervisors_end() {
    let supervisor = DynamicSupervisor::new("dyn", |bomb: Bomb| {
        std::mem::forget(bomb);
        Idle
    });
    let idlers = supervisor.dynamic_ref();
    let top = start(Supervisor::new("top", OneForOne).child(ChildSpec::dynamic(supervisor))).await;
    let bomb = |copies, drops| Bomb { copies: Arc::new(AtomicUsize::new(copies)), drops };
    refused(idlers.start_child(bomb(0, false)).await, "Failed");
    let child = idlers.start_child(bomb(1, true)).await.unwrap();
    idlers.terminate_child(child.id()).await.unwrap();
    assert_eq!(top.which_children().await[0].restarts, 0);
    // The copy for its restart fails, as a restart that fails: once more than is allowed.
    let child = idlers.start_child(bomb(1, false)).await.unwrap();
    child.call(|reply| reply, SECOND).await.unwrap_err();
    settle().await;
    assert_eq!(top.which_children().await[0].restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_answer_its_probes_is_restarted() {
    let probe = Probe::new(SECOND, Do::Ping).threshold(1);
    let ground = Playground::open(|players| players.probe(probe)).await;
    let (a, _b) = (ground.start("a").await, ground.start("b").await);
    for _ in 0..2 {
        let sick = ground.stage.player("a");
        ground.stage.tell("a", Do::Hang).await;
        assert!(sick.exited().await.error().is_some_and(|error| error.is::<ProbeFailed>()));
        settle().await;
    }
    assert_ne!(ground.stage.player("a").id(), a.id());
    ground.stage.saw(&["+a", "+b", "+a", "+a"]);
    ground.stage.slow_farewell("b", 4 * SECOND);
    ground.top.shutdown().await;
    let mut end = ground.stage.journal();
    end.sort();
    assert_eq!(end, ["-a shutdown", "-b shutdown"], "one that stops is not asked");
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_starts_nobody() {
    let backoff = Backoff::exponential(SECOND, SECOND);
    let ground = Playground::open(|players| players.backoff(backoff).shutdown(Shutdown::Infinity)).await;
    ground.start("a").await;
    ground.start("b").await;
    ground.stage.slow_farewell("a", 10 * SECOND);
    ground.stage.crash("b").await;
    let top = ground.top.clone();
    let stopped = tokio::spawn(async move { top.shutdown().await });
    settle().await;
    refused(ground.players.start_child("c".to_owned()).await, "NoProc");
    stopped.await.unwrap();
    ground.stage.saw(&["+a", "+b", "-b crash", "-a shutdown"]);
}

#[test]
fn its_children_die_with_their_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (ground, a) = runtime.block_on(async {
        let ground = Playground::open(|players| players).await;
        let a = ground.start("a").await;
        (ground, a)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(other.block_on(a.exited()), ExitReason::Killed));
    assert!(matches!(other.block_on(ground.top.exited()), ExitReason::Killed));
}

/// As many as are quickly started where nothing is optimised.
const MANY: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_one_for_one_scale_many_temporary_children() {
    let supervisor = DynamicSupervisor::new("dyn", |_: usize| Idle)
        .restart(Temporary)
        .mailbox(MailboxOptions::unbounded())
        .shutdown(Shutdown::Timeout(LONG));
    let idlers = supervisor.dynamic_ref();
    let top = System::new()
        .start(Supervisor::new("top", OneForOne).child(ChildSpec::dynamic(supervisor)))
        .await
        .unwrap();
    let starters: Vec<_> = (0..100)
        .map(|starter| {
            let idlers = idlers.clone();
            tokio::spawn(async move {
                let mut children = Vec::new();
                for child in 0..MANY / 100 {
                    children.push(idlers.start_child(starter * MANY + child).await.unwrap());
                }
                children
            })
        })
        .collect();
    let mut children = Vec::with_capacity(MANY);
    for starter in starters {
        children.extend(starter.await.unwrap());
    }
    assert_eq!(idlers.count_children().await.active, MANY);
    // A tenth crashes, a tenth is terminated, the rest is stopped at the end.
    for child in children.drain(..MANY / 10) {
        child.call(|reply| reply, LONG).await.unwrap_err();
    }
    for child in children.drain(..MANY / 10) {
        idlers.terminate_child(child.id()).await.unwrap();
    }
    // Who asked one that crashed hears of it before its supervisor does.
    while idlers.count_children().await.workers > MANY - MANY / 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(idlers.count_children().await.workers, MANY - MANY / 5);
    top.shutdown().await;
    assert!(children.iter().all(|child| !child.is_alive()));
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child_start_child_simple() {
    let playground = Playground::open(|players| players.restart(Temporary)).await;
    for name in ["a", "b"] {
        playground.stage.plan(name, [Plan::Ignore]);
        refused(playground.players.start_child(name.to_owned()).await, "Ignored");
    }
    playground.start("c").await;
    assert_eq!(playground.counts().await, [1, 1, 0, 1]);
    playground.stage.saw(&["+a", "+b", "+c"]);
}

/// What a child is made of; counts how many of it there are.
struct Argument(Arc<AtomicUsize>);

impl Clone for Argument {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Argument {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn do_not_save_start_parameters_for_temporary_children() {
    for (restart, kept) in [(Permanent, 10), (Transient, 10), (Temporary, 0)] {
        let stage = Stage::default();
        let supervisor = DynamicSupervisor::new("dyn", move |_: Argument| stage.lone("a")).restart(restart);
        let players = supervisor.dynamic_ref();
        let top = start(Supervisor::new("top", OneForOne).child(ChildSpec::dynamic(supervisor))).await;
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            count.fetch_add(1, Ordering::SeqCst);
            players.start_child(Argument(Arc::clone(&count))).await.unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), kept, "{restart:?}");
        top.shutdown().await;
        assert_eq!(count.load(Ordering::SeqCst), 0, "{restart:?}");
    }
}
