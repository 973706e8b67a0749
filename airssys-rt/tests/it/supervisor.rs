//! The behaviour of OTP's `supervisor`; tests have the names that they have in its suite, where they are in it.

use std::error::Error;
use std::time::Duration;

use airssys_rt::Restart::{self, Permanent, Temporary, Transient};
use airssys_rt::Strategy::{self, OneForAll, OneForOne, RestForOne};
use airssys_rt::{ChildInfo, ChildKind, ChildSpec, ChildState, ExitReason, Shutdown, SupervisorRef, System};
use tokio::time::Instant;

use crate::stage::{Do, LONG, Plan, Stage, crash, fail_to_start, named, settle, start, top};

const SECOND: Duration = Duration::from_secs(1);

fn abc(stage: &Stage) -> Vec<ChildSpec> {
    ["a", "b", "c"].map(|name| stage.child(name)).into()
}

async fn state(supervisor: &SupervisorRef, name: &str) -> Option<ChildState> {
    let children = supervisor.which_children().await;
    children.iter().find(|child| &*child.name == name).map(|child| child.state)
}

#[tokio::test(start_paused = true)]
async fn sup_start_normal() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, abc(&stage))).await;
    stage.saw(&["+a", "+b", "+c"]);
    supervisor.shutdown().await;
    stage.saw(&["-c shutdown", "-b shutdown", "-a shutdown"]);
    assert!(matches!(supervisor.exited().await, ExitReason::Shutdown));
    supervisor.shutdown().await;
    assert!(supervisor.which_children().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_init() {
    let stage = Stage::default();
    stage.plan("b", [Plan::Ignore]);
    let supervisor = start(top(OneForOne, abc(&stage))).await;
    stage.saw(&["+a", "+b", "+c"]);
    assert_eq!(state(&supervisor, "b").await, Some(ChildState::Stopped));
    supervisor.shutdown().await;
    stage.saw(&["-c shutdown", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child() {
    let stage = Stage::default();
    stage.plan("a", [Plan::Ignore]);
    let supervisor = start(top(OneForOne, [stage.child("a").restart(Temporary), stage.child("b")])).await;
    assert_eq!(state(&supervisor, "a").await, None);
    assert_eq!(state(&supervisor, "b").await, Some(ChildState::Running));
}

#[tokio::test(start_paused = true)]
async fn sup_start_fail() {
    for plan in [Plan::Fail, Plan::Panic] {
        let panics = matches!(plan, Plan::Panic);
        let stage = Stage::default();
        stage.plan("c", [plan]);
        let error = fail_to_start(top(OneForOne, abc(&stage))).await;
        stage.saw(&["+a", "+b", "+c", "-b shutdown", "-a shutdown"]);
        assert_eq!(error.path(), "top");
        let cause = error.source().unwrap();
        assert_eq!(
            cause.to_string(),
            if panics { "cannot start `top/c`: panicked: no start" } else { "cannot start `top/c`" }
        );
        assert_eq!(cause.source().map(|cause| cause.to_string()), (!panics).then(|| "crash".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn sup_start_fail_in_a_nested_supervisor_names_the_child() {
    let stage = Stage::default();
    stage.plan("c", [Plan::Fail]);
    let inner = named("inner", OneForOne, [stage.child("b"), stage.child("c")]);
    let error = fail_to_start(top(OneForOne, [stage.child("a"), ChildSpec::supervisor(inner)])).await;
    stage.saw(&["+a", "+b", "+c", "-b shutdown", "-a shutdown"]);
    let chain: Vec<String> = std::iter::successors(Some(&error as &dyn Error), |&error| error.source())
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        chain,
        ["cannot start `top`", "cannot start `top/inner`", "cannot start `top/inner/c`", "crash"]
    );
}

#[tokio::test(start_paused = true)]
async fn child_specs_with_one_name_are_refused() {
    let stage = Stage::default();
    let error = fail_to_start(top(OneForOne, [stage.child("a"), stage.child("a")])).await;
    assert_eq!(error.source().unwrap().to_string(), "two children are named `a`");
    stage.saw(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_is_taken_back() {
    let stage = Stage::default();
    stage.plan("b", [Plan::Wait(SECOND)]);
    let supervisor = top(OneForOne, abc(&stage));
    assert!(tokio::time::timeout(SECOND / 2, System::new().start(supervisor)).await.is_err());
    tokio::time::sleep(SECOND).await;
    stage.saw(&["+a", "+b", "-b shutdown", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn sup_stop_infinity() {
    let stage = Stage::default();
    stage.slow_farewell("a", LONG);
    let began = Instant::now();
    let supervisor = start(top(OneForOne, [stage.child("a").shutdown(Shutdown::Infinity)])).await;
    supervisor.shutdown().await;
    assert_eq!(began.elapsed(), LONG);
    stage.saw(&["+a", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn sup_stop_timeout() {
    let stage = Stage::default();
    stage.slow_farewell("b", LONG);
    let children = ["a", "b"].map(|name| stage.child(name).shutdown(Shutdown::Timeout(SECOND)));
    let supervisor = start(top(OneForOne, children)).await;
    let began = Instant::now();
    let dying = stage.player("b");
    supervisor.shutdown().await;
    assert_eq!(began.elapsed(), SECOND);
    assert!(matches!(dying.exited().await, ExitReason::Killed));
    stage.saw(&["+a", "+b", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn sup_stop_brutal_kill() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a").shutdown(Shutdown::BrutalKill)])).await;
    stage.tell("a", Do::Hang).await;
    let (began, dying) = (Instant::now(), stage.player("a"));
    supervisor.shutdown().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(matches!(dying.exited().await, ExitReason::Killed));
    stage.saw(&["+a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_message_in_hand_and_leaves_the_rest() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a")])).await;
    let player = stage.player("a");
    for order in [Do::Work(SECOND), Do::Note(1)] {
        player.cast(order).await.unwrap();
    }
    settle().await;
    supervisor.shutdown().await;
    stage.saw(&["+a", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_answers_while_a_child_starts_and_can_be_stopped() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, abc(&stage))).await;
    stage.plan("b", [Plan::Hang]);
    stage.crash("b").await;
    assert_eq!(state(&supervisor, "b").await, Some(ChildState::Starting));
    stage.crash("a").await;
    stage.saw(&["+a", "+b", "+c", "-b crash", "+b", "-a crash", "+a"]);
    supervisor.shutdown().await;
    stage.saw(&["-c shutdown", "-a shutdown"]);
}

/// Ends `a` for `reason` and says whether it runs again; `None` where its supervisor forgot it.
async fn runs_again(restart: Restart, reason: ExitReason) -> Option<bool> {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, [stage.child("a").restart(restart)])).await;
    let before = stage.player("a");
    stage.exit("a", reason).await;
    assert!(!before.is_alive());
    let again = state(&supervisor, "a").await.map(|state| state == ChildState::Running);
    assert_eq!(stage.player("a").id() != before.id(), again == Some(true));
    supervisor.shutdown().await;
    again
}

#[tokio::test(start_paused = true)]
async fn permanent_normal() {
    assert_eq!(runs_again(Permanent, ExitReason::Normal).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn transient_normal() {
    assert_eq!(runs_again(Transient, ExitReason::Normal).await, Some(false));
}

#[tokio::test(start_paused = true)]
async fn temporary_normal() {
    assert_eq!(runs_again(Temporary, ExitReason::Normal).await, None);
}

#[tokio::test(start_paused = true)]
async fn permanent_shutdown() {
    assert_eq!(runs_again(Permanent, ExitReason::Shutdown).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn transient_shutdown() {
    assert_eq!(runs_again(Transient, ExitReason::Shutdown).await, Some(false));
}

#[tokio::test(start_paused = true)]
async fn temporary_shutdown() {
    assert_eq!(runs_again(Temporary, ExitReason::Shutdown).await, None);
}

#[tokio::test(start_paused = true)]
async fn permanent_abnormal() {
    assert_eq!(runs_again(Permanent, crash()).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn transient_abnormal() {
    assert_eq!(runs_again(Transient, crash()).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn temporary_abnormal() {
    assert_eq!(runs_again(Temporary, crash()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_without_last_words() {
    let stage = Stage::default();
    start(top(OneForOne, [stage.child("a").restart(Transient)])).await;
    stage.tell("a", Do::Panic).await;
    stage.saw(&["+a", "+a"]);
}

#[tokio::test(start_paused = true)]
async fn temporary_bystander() {
    for strategy in [OneForAll, RestForOne] {
        let stage = Stage::default();
        let children = [stage.child("a"), stage.child("b").restart(Temporary)];
        let supervisor = start(top(strategy, children)).await;
        stage.crash("a").await;
        stage.saw(&["+a", "+b", "-a crash", "-b shutdown", "+a"]);
        assert_eq!(state(&supervisor, "b").await, None, "{strategy:?}");
    }
}

async fn check(strategy: Strategy, crashing: &str, expected: &[&str]) {
    let stage = Stage::default();
    start(top(strategy, abc(&stage))).await;
    stage.journal();
    stage.crash(crashing).await;
    stage.saw(expected);
}

#[tokio::test(start_paused = true)]
async fn one_for_one() {
    check(OneForOne, "b", &["-b crash", "+b"]).await;
}

#[tokio::test(start_paused = true)]
async fn one_for_all() {
    check(OneForAll, "b", &["-b crash", "-c shutdown", "-a shutdown", "+a", "+b", "+c"]).await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one() {
    check(RestForOne, "b", &["-b crash", "-c shutdown", "+b", "+c"]).await;
}

/// Crashes `b` more often than is allowed; the first time, it alone is restarted in `rounds`.
async fn escalates(strategy: Strategy, round: &[&str], last: &[&str]) {
    let stage = Stage::default();
    let supervisor = start(top(strategy, abc(&stage))).await;
    stage.journal();
    for _ in 0..3 {
        stage.crash("b").await;
        stage.saw(round);
    }
    stage.crash("b").await;
    stage.saw(last);
    assert!(matches!(supervisor.exited().await, ExitReason::GaveUp));
}

#[tokio::test(start_paused = true)]
async fn one_for_one_escalation() {
    escalates(OneForOne, &["-b crash", "+b"], &["-b crash", "-c shutdown", "-a shutdown"]).await;
}

#[tokio::test(start_paused = true)]
async fn one_for_all_escalation() {
    let round = ["-b crash", "-c shutdown", "-a shutdown", "+a", "+b", "+c"];
    escalates(OneForAll, &round, &["-b crash", "-c shutdown", "-a shutdown"]).await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_escalation() {
    let round = ["-b crash", "-c shutdown", "+b", "+c"];
    escalates(RestForOne, &round, &["-b crash", "-c shutdown", "-a shutdown"]).await;
}

#[tokio::test(start_paused = true)]
async fn one_for_all_other_child_fails_restart() {
    let stage = Stage::default();
    start(top(OneForAll, abc(&stage))).await;
    stage.journal();
    stage.plan("b", [Plan::Fail, Plan::Panic]);
    stage.crash("a").await;
    stage.saw(&[
        "-a crash",
        "-c shutdown",
        "-b shutdown",
        "+a",
        "+b", // fails
        "-a shutdown",
        "+a",
        "+b", // fails
        "-a shutdown",
        "+a",
        "+b",
        "+c",
    ]);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_other_child_fails_restart() {
    let stage = Stage::default();
    start(top(RestForOne, abc(&stage))).await;
    stage.journal();
    stage.plan("b", [Plan::Fail]);
    stage.crash("a").await;
    stage.saw(&["-a crash", "-c shutdown", "-b shutdown", "+a", "+b", "+b", "+c"]);
}

#[tokio::test(start_paused = true)]
async fn failed_restarts_count_as_restarts() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, abc(&stage))).await;
    stage.journal();
    stage.plan("b", (0..5).map(|_| Plan::Fail));
    stage.crash("b").await;
    stage.saw(&["-b crash", "+b", "+b", "+b", "-c shutdown", "-a shutdown"]);
    assert!(matches!(supervisor.exited().await, ExitReason::GaveUp));
}

#[tokio::test(start_paused = true)]
async fn a_failed_restart_is_tried_again_whatever_its_reason() {
    let stage = Stage::default();
    start(top(OneForOne, [stage.child("a").restart(Transient)])).await;
    stage.plan("a", [Plan::FailWith(ExitReason::Normal)]);
    stage.crash("a").await;
    stage.saw(&["+a", "-a crash", "+a", "+a"]);
}

#[tokio::test(start_paused = true)]
async fn hanging_restart_loop() {
    let stage = Stage::default();
    let endless = named("top", OneForOne, abc(&stage)).intensity(usize::MAX, SECOND);
    let supervisor = start(endless).await;
    // As in OTP's suite: a child that never starts again must not keep its supervisor from stopping.
    stage.plan("b", (0..100_000).map(|_| Plan::Fail));
    stage.player("b").cast(Do::Exit(crash())).await.unwrap();
    tokio::task::yield_now().await;
    stage.journal();
    supervisor.shutdown().await;
    let mut seen = stage.journal();
    seen.retain(|line| line != "+b");
    assert_eq!(seen, ["-c shutdown", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn intensity_counts_over_a_sliding_period() {
    let stage = Stage::default();
    let supervisor = start(top(OneForOne, abc(&stage))).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(3_400)).await;
        stage.crash("a").await;
    }
    assert_eq!(state(&supervisor, "a").await, Some(ChildState::Running));
    tokio::time::sleep(Duration::from_secs(20)).await;
    for _ in 0..4 {
        stage.crash("a").await;
    }
    assert!(matches!(supervisor.exited().await, ExitReason::GaveUp));
}

#[tokio::test(start_paused = true)]
async fn a_failure_during_a_restart_widens_it() {
    let stage = Stage::default();
    start(top(RestForOne, abc(&stage))).await;
    stage.journal();
    stage.plan("b", [Plan::Wait(SECOND)]);
    stage.crash("b").await;
    stage.saw(&["-b crash", "-c shutdown", "+b"]);
    stage.crash("a").await;
    tokio::time::sleep(SECOND).await;
    stage.saw(&["-a crash", "-b shutdown", "+a", "+b", "+c"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_done_runs_again_with_all() {
    let stage = Stage::default();
    let children = [stage.child("a").restart(Transient), stage.child("b")];
    start(top(OneForAll, children)).await;
    stage.exit("a", ExitReason::Normal).await;
    stage.saw(&["+a", "+b", "-a normal"]);
    stage.crash("b").await;
    stage.saw(&["-b crash", "+a", "+b"]);
}

fn nested(stage: &Stage, restart: Restart) -> airssys_rt::Supervisor {
    let inner = named("inner", OneForOne, [stage.child("b"), stage.child("c")]);
    top(OneForOne, [stage.child("a"), ChildSpec::supervisor(inner).restart(restart), stage.child("d")])
}

#[tokio::test(start_paused = true)]
async fn tree() {
    let stage = Stage::default();
    let supervisor = start(nested(&stage, Permanent)).await;
    stage.saw(&["+a", "+b", "+c", "+d"]);
    stage.crash("c").await;
    stage.saw(&["-c crash", "+c"]);
    supervisor.shutdown().await;
    stage.saw(&["-d shutdown", "-c shutdown", "-b shutdown", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_that_gives_up_is_restarted_by_its_parent() {
    let stage = Stage::default();
    let supervisor = start(nested(&stage, Permanent)).await;
    for _ in 0..3 {
        stage.crash("b").await;
    }
    stage.journal();
    stage.crash("b").await;
    stage.saw(&["-b crash", "-c shutdown", "+b", "+c"]);
    let children = supervisor.which_children().await;
    assert_eq!(children[1].restarts, 1);
    assert_eq!(children[1].children[0].restarts, 0, "a new supervisor starts to count anew");
}

#[tokio::test(start_paused = true)]
async fn a_nested_transient_supervisor_that_gives_up_is_not() {
    let stage = Stage::default();
    let supervisor = start(nested(&stage, Transient)).await;
    for _ in 0..4 {
        stage.crash("b").await;
    }
    assert_eq!(state(&supervisor, "inner").await, Some(ChildState::Stopped));
    assert_eq!(state(&supervisor, "d").await, Some(ChildState::Running));
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_takes_its_children_along() {
    let stage = Stage::default();
    let inner = named("inner", OneForOne, [stage.child("b").shutdown(Shutdown::Infinity)]);
    let inner = ChildSpec::supervisor(inner).shutdown(Shutdown::Timeout(SECOND));
    let supervisor = start(top(OneForOne, [stage.child("a"), inner])).await;
    stage.tell("b", Do::Hang).await;
    let (began, dying) = (Instant::now(), stage.player("b"));
    supervisor.shutdown().await;
    assert_eq!(began.elapsed(), SECOND);
    assert!(matches!(dying.exited().await, ExitReason::Killed));
    stage.saw(&["+a", "+b", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn which_children() {
    let stage = Stage::default();
    let supervisor = start(nested(&stage, Permanent)).await;
    stage.crash("c").await;
    let show = |child: &ChildInfo| (child.name.to_string(), child.kind, child.state, child.restarts);
    let children = supervisor.which_children().await;
    let actor = |name: &str, restarts| (name.to_owned(), ChildKind::Actor, ChildState::Running, restarts);
    assert_eq!(
        children.iter().map(show).collect::<Vec<_>>(),
        [actor("a", 0), ("inner".to_owned(), ChildKind::Supervisor, ChildState::Running, 0), actor("d", 0),]
    );
    assert_eq!(children[1].children.iter().map(show).collect::<Vec<_>>(), [actor("b", 0), actor("c", 1)]);
    assert_eq!(children[0].id, Some(stage.player("a").id()));
    assert_ne!(children[1].id, Some(supervisor.id()));
}

#[test]
fn a_tree_dies_with_its_runtime() {
    let stage = Stage::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (supervisor, player) = runtime.block_on(async {
        let supervisor = start(top(OneForOne, abc(&stage))).await;
        (supervisor, stage.player("b"))
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(other.block_on(player.exited()), ExitReason::Killed));
    assert!(matches!(other.block_on(supervisor.exited()), ExitReason::Killed));
}
