//! Children that come and go while their supervisor runs: `child_adm` and its like in OTP's suite.

use std::time::Duration;

use airssys_rt::Restart::{Temporary, Transient};
use airssys_rt::Strategy::{OneForAll, OneForOne, RestForOne};
use airssys_rt::{
    Actor, ChildCount, ChildError, ChildInfo, ChildSpec, ChildState, Context, ExitReason, Init, Mailbox,
    Shutdown, SupervisorRef,
};
use tokio::time::Instant;

use crate::stage::{Do, LONG, Plan, Stage, crash, named, settle, start, top};

const SECOND: Duration = Duration::from_secs(1);

async fn names(supervisor: &SupervisorRef) -> Vec<String> {
    supervisor.which_children().await.iter().map(|child| child.name.to_string()).collect()
}

fn counts(count: ChildCount) -> [usize; 4] {
    [count.specs, count.active, count.supervisors, count.workers]
}

/// What it is told is the name of the variant.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ChildError>, expected: &str) {
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.starts_with(expected), "{error} is not {expected}");
}

#[tokio::test(start_paused = true)]
async fn child_adm() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a")])).await;
    refused(supervisor.restart_child("a").await, "Running");
    refused(supervisor.delete_child("a").await, "Running");
    refused(supervisor.start_child(stage.child("a")).await, "AlreadyStarted(Some(<");
    supervisor.terminate_child("a").await.unwrap();
    stage.saw(&["+a", "-a shutdown"]);
    supervisor.terminate_child("a").await.unwrap();
    assert_eq!(supervisor.which_children().await[0].state, ChildState::Stopped);
    refused(supervisor.start_child(stage.child("a")).await, "AlreadyPresent");

    let id = supervisor.restart_child("a").await.unwrap();
    assert_eq!(id, Some(stage.player("a").id()));
    refused(supervisor.restart_child("a").await, "Running");
    supervisor.terminate_child("a").await.unwrap();
    supervisor.delete_child("a").await.unwrap();
    stage.saw(&["+a", "-a shutdown"]);
    assert!(names(&supervisor).await.is_empty());

    let id = supervisor.start_child(stage.child("a")).await.unwrap();
    assert_eq!(id, Some(stage.player("a").id()));
    supervisor.start_child(stage.child("b")).await.unwrap();
    assert_eq!(names(&supervisor).await, ["a", "b"]);
    refused(supervisor.terminate_child("c").await, "NotFound");
    refused(supervisor.restart_child("c").await, "NotFound");
    refused(supervisor.delete_child("c").await, "NotFound");
    supervisor.shutdown().await;
    stage.saw(&["+a", "+b", "-b shutdown", "-a shutdown"]);
    refused(supervisor.start_child(stage.child("d")).await, "NoProc");
    refused(supervisor.terminate_child("a").await, "NoProc");
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_child() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [])).await;
    stage.plan("a", [Plan::Ignore]);
    assert_eq!(supervisor.start_child(stage.child("a")).await.unwrap(), None);
    supervisor.start_child(stage.child("b")).await.unwrap();
    assert_eq!(names(&supervisor).await, ["a", "b"]);
    assert_eq!(counts(supervisor.count_children().await), [2, 1, 0, 2]);
    supervisor.restart_child("a").await.unwrap();
    assert_eq!(counts(supervisor.count_children().await), [2, 2, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child_start_child() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [])).await;
    stage.plan("a", [Plan::Ignore]);
    assert_eq!(supervisor.start_child(stage.child("a").restart(Temporary)).await.unwrap(), None);
    supervisor.start_child(stage.child("b").restart(Temporary)).await.unwrap();
    assert_eq!(names(&supervisor).await, ["b"]);
    assert_eq!(counts(supervisor.count_children().await), [1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn count_children() {
    let stage = Stage::default();
    let inner = || ChildSpec::supervisor(named("inner", OneForOne, [stage.child("x"), stage.child("y")]));
    let supervisor = start(top(OneForOne, [stage.child("a"), inner()])).await;
    assert_eq!(counts(supervisor.count_children().await), [2, 2, 1, 1]);
    supervisor.terminate_child("inner").await.unwrap();
    assert_eq!(counts(supervisor.count_children().await), [2, 1, 1, 1]);
    supervisor.delete_child("inner").await.unwrap();
    assert_eq!(counts(supervisor.count_children().await), [1, 1, 0, 1]);
    stage.crash("a").await;
    assert_eq!(counts(supervisor.count_children().await), [1, 1, 0, 1]);
    supervisor.shutdown().await;
    assert_eq!(counts(supervisor.count_children().await), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn do_not_save_child_specs_for_temporary_children() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [])).await;
    for _ in 0..2 {
        supervisor.start_child(stage.child("a").restart(Temporary)).await.unwrap();
        supervisor.terminate_child("a").await.unwrap();
        refused(supervisor.restart_child("a").await, "NotFound");
        supervisor.start_child(stage.child("a").restart(Temporary)).await.unwrap();
        stage.crash("a").await;
        refused(supervisor.delete_child("a").await, "NotFound");
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_start_is_discarded() {
    let stage = Stage::default();
    let supervisor = start(top(OneForAll, [stage.child("a")])).await;
    for plan in [Plan::Fail, Plan::Panic] {
        stage.plan("b", [plan]);
        refused(supervisor.start_child(stage.child("b")).await, "Failed");
    }
    assert_eq!(names(&supervisor).await, ["a"]);
    stage.saw(&["+a", "+b", "+b"]);

    supervisor.start_child(stage.child("b")).await.unwrap();
    supervisor.terminate_child("b").await.unwrap();
    // More often than the intensity allows: it does not count.
    stage.plan("b", (0..5).map(|_| Plan::Fail));
    for _ in 0..5 {
        let error = supervisor.restart_child("b").await.unwrap_err();
        let ChildError::Failed(cause) = &error else { panic!("{error:?}") };
        assert_eq!((cause.path(), error.to_string().as_str()), ("top/b", "the child did not start"));
    }
    assert_eq!(names(&supervisor).await, ["a", "b"]);
    supervisor.restart_child("b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_added_child_belongs_to_the_order() {
    let stage = Stage::default();
    let supervisor = start(top(RestForOne, [stage.child("a")])).await;
    for name in ["b", "c"] {
        supervisor.start_child(stage.child(name)).await.unwrap();
    }
    stage.journal();
    stage.crash("b").await;
    stage.saw(&["-b crash", "-c shutdown", "+b", "+c"]);
    supervisor.terminate_child("b").await.unwrap();
    supervisor.restart_child("b").await.unwrap();
    stage.saw(&["-b shutdown", "+b"]);
    supervisor.shutdown().await;
    stage.saw(&["-c shutdown", "-b shutdown", "-a shutdown"]);
}

/// As in OTP: "The child process can later be restarted by the supervisor."
#[tokio::test(start_paused = true)]
async fn a_terminated_child_is_started_with_its_siblings() {
    let stage = Stage::default();
    let supervisor = start(top(OneForAll, ["a", "b"].map(|name| stage.child(name)))).await;
    supervisor.terminate_child("b").await.unwrap();
    stage.journal();
    stage.crash("a").await;
    stage.saw(&["-a crash", "+a", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_farewell_holds_up_nobody() {
    let stage = Stage::default();
    let children = ["a", "b"].map(|name| stage.child(name));
    let supervisor = start(top(OneForOne, children)).await;
    stage.slow_farewell("a", SECOND);
    let other = supervisor.clone();
    let asked = tokio::spawn(async move { other.terminate_child("a").await });
    settle().await;
    stage.crash("b").await;
    supervisor.start_child(stage.child("c")).await.unwrap();
    refused(supervisor.restart_child("a").await, "Running");
    refused(supervisor.delete_child("a").await, "Running");
    stage.saw(&["+a", "+b", "-b crash", "+b", "+c"]);
    // A second wish to end it waits for the same end.
    supervisor.terminate_child("a").await.unwrap();
    asked.await.unwrap().unwrap();
    stage.saw(&["-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_told_twice_to_end_has_one_shutdown_time() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a").shutdown(Shutdown::Timeout(SECOND))])).await;
    stage.tell("a", Do::Hang).await;
    let (began, dying) = (Instant::now(), stage.player("a"));
    let (first, second) = tokio::join!(supervisor.terminate_child("a"), supervisor.terminate_child("a"));
    first.and(second).unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert!(matches!(dying.exited().await, ExitReason::Killed));
    assert_eq!(supervisor.which_children().await[0].state, ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_restart_can_be_taken_back() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let stage = Stage::default();
        let supervisor = start(top(strategy, ["a", "b"].map(|name| stage.child(name)))).await;
        stage.plan("a", [Plan::Hang]);
        stage.crash("a").await;
        refused(supervisor.restart_child("a").await, "Restarting");
        refused(supervisor.delete_child("a").await, "Restarting");
        let began = Instant::now();
        supervisor.terminate_child("a").await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(5), "it hangs, and is killed");
        settle().await;
        stage.journal();
        supervisor.restart_child("a").await.unwrap();
        supervisor.shutdown().await;
        stage.saw(&["+a", "-b shutdown", "-a shutdown"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_added_while_a_restart_is_under_way_waits_for_its_turn() {
    let stage = Stage::default();
    let supervisor = start(top(OneForAll, ["a", "b"].map(|name| stage.child(name)))).await;
    stage.journal();
    stage.plan("a", [Plan::Wait(SECOND)]);
    stage.crash("b").await;
    let began = Instant::now();
    supervisor.start_child(stage.child("c")).await.unwrap();
    assert!(began.elapsed() >= SECOND / 2);
    stage.saw(&["-b crash", "-a shutdown", "+a", "+b", "+c"]);
}

#[tokio::test(start_paused = true)]
async fn an_added_child_that_waits_through_a_restart_counts_for_nothing() {
    let stage = Stage::default();
    let supervisor = start(top(OneForAll, [stage.child("a")])).await;
    stage.plan("a", [Plan::Hang]);
    stage.plan("b", (0..9).map(|_| Plan::Fail));
    stage.crash("a").await;
    settle().await;
    let (other, child) = (supervisor.clone(), stage.child("b").restart(Temporary));
    let asked = tokio::spawn(async move { other.start_child(child).await });
    settle().await;
    // While `b` waits for its turn, `a` fails once more.
    stage.player("a").kill();
    refused(asked.await.unwrap(), "Failed");
    assert_eq!(names(&supervisor).await, ["a"]);
    settle().await;
    stage.saw(&["+a", "-a crash", "+a", "+a", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn an_added_child_that_is_restarted_before_it_is_up_is_still_answered() {
    let stage = Stage::default();
    let supervisor = start(top(OneForAll, [stage.child("a")])).await;
    stage.plan("b", [Plan::Wait(SECOND), Plan::Fail]);
    let other = supervisor.clone();
    let child = stage.child("b");
    let asked = tokio::spawn(async move { other.start_child(child).await });
    settle().await;
    stage.crash("a").await;
    assert_eq!(asked.await.unwrap().unwrap(), Some(stage.player("b").id()));
    stage.saw(&["+a", "+b", "-a crash", "-b shutdown", "+a", "+b", "-a shutdown", "+a", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_start_hears_of_the_end() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a")])).await;
    stage.plan("b", [Plan::Hang]);
    let (other, child) = (supervisor.clone(), stage.child("b").shutdown(Shutdown::BrutalKill));
    let asked = tokio::spawn(async move { other.start_child(child).await });
    settle().await;
    supervisor.shutdown().await;
    refused(asked.await.unwrap(), "Failed");
    stage.saw(&["+a", "+b", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_outlives_whoever_gave_it() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [])).await;
    stage.plan("a", [Plan::Wait(SECOND)]);
    let asked = tokio::time::timeout(SECOND / 2, supervisor.start_child(stage.child("a"))).await;
    assert!(asked.is_err());
    tokio::time::sleep(SECOND).await;
    assert_eq!(supervisor.which_children().await[0].state, ChildState::Running);
    stage.slow_farewell("a", SECOND);
    assert!(tokio::time::timeout(SECOND / 2, supervisor.terminate_child("a")).await.is_err());
    tokio::time::sleep(SECOND).await;
    stage.saw(&["+a", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_child_lets_go_of_its_mailbox() {
    let stage = Stage::default();
    let mailbox = Mailbox::default();
    let player = mailbox.actor_ref();
    let supervisor = start(top(OneForOne, [stage.child_with("a", mailbox)])).await;
    supervisor.terminate_child("a").await.unwrap();
    player.try_cast(Do::Note(1)).unwrap();
    supervisor.delete_child("a").await.unwrap();
    assert!(player.try_cast(Do::Note(2)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_below_is_reached_through_the_one_above() {
    let stage = Stage::default();
    let inner = named("inner", OneForOne, [stage.child("a")]);
    let supervisor = start(top(OneForOne, [ChildSpec::supervisor(inner)])).await;
    let inner = supervisor.which_children().await[0].supervisor.clone().unwrap();
    inner.start_child(stage.child("b")).await.unwrap();
    assert_eq!(names(&inner).await, ["a", "b"]);
    // Started again, it has what it was described with: as in OTP.
    for _ in 0..4 {
        stage.crash("a").await;
    }
    refused(inner.start_child(stage.child("c")).await, "NoProc");
    let inner = supervisor.which_children().await[0].supervisor.clone().unwrap();
    assert_eq!(names(&inner).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_sibling_that_has_to_be_killed_in_a_restart_is_started_again() {
    let stage = Stage::default();
    let children = ["a", "b"].map(|name| stage.child(name).shutdown(Shutdown::Timeout(SECOND)));
    start(top(OneForAll, children)).await;
    stage.tell("b", Do::Hang).await;
    stage.crash("a").await;
    stage.saw(&["+a", "+b", "-a crash"]);
    tokio::time::sleep(SECOND).await;
    stage.saw(&["+a", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_overtakes_a_crowd() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a")])).await;
    let crowd: Vec<_> = (0..1_000)
        .map(|number| {
            let (supervisor, child) = (supervisor.clone(), stage.child(&format!("{number}")));
            tokio::spawn(async move { supervisor.start_child(child).await })
        })
        .collect();
    // All of them are in its mailbox before it looks at the first.
    tokio::task::yield_now().await;
    supervisor.shutdown().await;
    for asked in crowd {
        assert!(asked.await.unwrap().is_err());
    }
    stage.saw(&["+a", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_done_can_be_deleted() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a").restart(Transient)])).await;
    stage.exit("a", ExitReason::Normal).await;
    refused(supervisor.start_child(stage.child("a")).await, "AlreadyPresent");
    supervisor.restart_child("a").await.unwrap();
    stage.exit("a", ExitReason::Shutdown).await;
    supervisor.delete_child("a").await.unwrap();
    supervisor.start_child(stage.child("a")).await.unwrap();
    stage.exit("a", crash()).await;
    stage.saw(&["+a", "-a normal", "+a", "-a shutdown", "+a", "-a crash", "+a"]);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_description_that_panics_is_not_the_supervisors_end() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a")])).await;
    for name in ["b", "c"] {
        let (bomb, stage) = (Bomb, stage.clone());
        let child = ChildSpec::actor(name, move || {
            let _ = &bomb;
            stage.lone("bomber")
        });
        supervisor.start_child(child).await.unwrap();
    }
    supervisor.terminate_child("b").await.unwrap();
    supervisor.delete_child("b").await.unwrap();
    assert_eq!(names(&supervisor).await, ["a", "c"]);
    supervisor.shutdown().await;
    assert!(matches!(supervisor.exited().await, ExitReason::Shutdown));
}

/// What a failure costs does not grow with the siblings: ten thousand failures of ten thousand children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_fails_is_started_again() {
    const MANY: usize = 10_000;
    let stage = Stage::default();
    let children = (0..MANY).map(|number| stage.child(&number.to_string()));
    let supervisor = start(named("top", OneForOne, children).intensity(MANY, LONG)).await;
    let before: Vec<_> = (0..MANY).map(|number| stage.player(&number.to_string())).collect();
    for player in &before {
        player.try_cast(Do::Exit(crash())).unwrap();
    }
    for player in &before {
        player.exited().await;
    }
    // Who waits for the end of one hears of it before its supervisor does, which may take it to run still.
    let is_as_before = |child: &ChildInfo| child.state != ChildState::Running || child.restarts == 0;
    while supervisor.which_children().await.iter().any(is_as_before) {
        tokio::task::yield_now().await;
    }
    assert!(supervisor.which_children().await.iter().all(|child| child.restarts == 1));
    supervisor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn multiple_restarts() {
    let stage = Stage::default();
    let supervisor = named("top", OneForOne, [stage.child("a")]).intensity(1, SECOND);
    let supervisor = start(supervisor).await;
    // As often as it likes, as long as it is seldom enough.
    for _ in 0..10 {
        stage.crash("a").await;
        assert_eq!(supervisor.count_children().await.active, 1);
        tokio::time::sleep(SECOND + SECOND / 10).await;
    }
    stage.crash("a").await;
    stage.crash("a").await;
    assert!(matches!(supervisor.exited().await, ExitReason::GaveUp));
}

/// In OTP's case the child takes back the link to its supervisor. Here there is none, and what a child traps keeps no
/// supervisor from ending it.
#[tokio::test(start_paused = true)]
async fn child_unlink() {
    struct Loner;
    impl Actor for Loner {
        type Msg = ();
        async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
            assert!(cx.system().actor(cx.id()).is_some_and(|own| own.link_count == 0));
            cx.trap_exit(true);
            Ok(Init::Ready)
        }
        async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
            Ok(())
        }
    }
    let supervisor = start(top(OneForOne, [ChildSpec::actor("loner", || Loner)])).await;
    let began = Instant::now();
    supervisor.terminate_child("loner").await.unwrap();
    assert_eq!(supervisor.count_children().await.active, 0);
    supervisor.restart_child("loner").await.unwrap();
    supervisor.shutdown().await;
    assert!(began.elapsed() < SECOND);
}
