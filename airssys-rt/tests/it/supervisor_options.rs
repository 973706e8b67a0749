//! What OTP's supervisor does not have: pauses before restarts, and health probes.

use std::time::Duration;

use airssys_rt::Restart::{Permanent, Temporary, Transient};
use airssys_rt::Strategy::{OneForAll, OneForOne, RestForOne};
use airssys_rt::{Backoff, ChildError, ChildState, ExitReason, Probe, ProbeFailed, Supervisor};
use tokio::time::Instant;

use crate::stage::{Do, Plan, Stage, named, settle, start};

const SECOND: Duration = Duration::from_secs(1);

/// One, two, four, five, five seconds; forgotten after ten.
fn steady() -> Backoff {
    Backoff::exponential(SECOND, 5 * SECOND).jitter(0.0).reset_after(10 * SECOND)
}

fn patient(supervisor: Supervisor) -> Supervisor {
    supervisor.intensity(1_000, SECOND)
}

/// The time until `name` is another one, to a tenth of a second.
async fn pause(stage: &Stage, name: &str) -> f64 {
    let (before, began) = (stage.player(name).id(), Instant::now());
    while stage.player(name).id() == before {
        tokio::time::sleep(SECOND / 1_000).await;
    }
    (began.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_until_a_healthy_time() {
    let stage = Stage::default();
    start(patient(named("top", OneForOne, [stage.child("a").backoff(steady())]))).await;
    for expected in [1.0, 2.0, 4.0, 5.0, 5.0] {
        stage.crash("a").await;
        assert_eq!(pause(&stage, "a").await, expected);
    }
    tokio::time::sleep(10 * SECOND).await;
    stage.crash("a").await;
    assert_eq!(pause(&stage, "a").await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_restart_waits_too() {
    let stage = Stage::default();
    start(patient(named("top", OneForOne, [stage.child("a").backoff(steady())]))).await;
    stage.plan("a", [Plan::Fail, Plan::Fail]);
    stage.crash("a").await;
    assert_eq!(pause(&stage, "a").await, 1.0);
    assert_eq!(pause(&stage, "a").await, 2.0);
    assert_eq!(pause(&stage, "a").await, 4.0);
    settle().await;
    stage.saw(&["+a", "-a crash", "+a", "+a", "+a"]);
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_the_same_pauses_and_another_one_others() {
    async fn pauses(seed: u64) -> Vec<f64> {
        let stage = Stage::default();
        let backoff = Backoff::exponential(4 * SECOND, 4 * SECOND).jitter(0.5);
        start(patient(named("top", OneForOne, [stage.child("a").backoff(backoff)])).seed(seed)).await;
        let mut pauses = Vec::new();
        for _ in 0..5 {
            stage.crash("a").await;
            pauses.push(pause(&stage, "a").await);
        }
        assert!(pauses.iter().all(|pause| (2.0..=4.0).contains(pause)), "{pauses:?}");
        pauses
    }
    assert_eq!(pauses(1).await, pauses(1).await);
    assert_ne!(pauses(1).await, pauses(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_does_everything_else_while_a_child_waits() {
    let stage = Stage::default();
    let children = [stage.child("a").backoff(steady()), stage.child("b")];
    let supervisor = start(patient(named("top", OneForOne, children))).await;
    stage.crash("a").await;
    assert_eq!(supervisor.which_children().await[0].state, ChildState::Starting);
    assert_eq!(supervisor.which_children().await[0].id, None);
    assert_eq!(supervisor.count_children().await.active, 1);
    assert!(matches!(supervisor.restart_child("a").await, Err(ChildError::Restarting)));
    assert!(matches!(supervisor.start_child(stage.child("a")).await, Err(ChildError::AlreadyStarted(None))));
    stage.crash("b").await;
    supervisor.start_child(stage.child("c")).await.unwrap();
    stage.saw(&["+a", "+b", "-a crash", "-b crash", "+b", "+c"]);
    let began = Instant::now();
    supervisor.shutdown().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "it does not wait for one that waits");
    stage.saw(&["-c shutdown", "-b shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_can_be_terminated() {
    let stage = Stage::default();
    let supervisor = start(patient(named("top", OneForOne, [stage.child("a").backoff(steady())]))).await;
    stage.crash("a").await;
    supervisor.terminate_child("a").await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    stage.saw(&["+a", "-a crash"]);
    supervisor.restart_child("a").await.unwrap();
    supervisor.delete_child("a").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn those_that_depend_on_a_waiting_child_wait_with_it() {
    for (strategy, before) in [(OneForAll, "-a shutdown"), (RestForOne, "")] {
        let stage = Stage::default();
        let children = [stage.child("a"), stage.child("b").backoff(steady()), stage.child("c")];
        start(patient(named("top", strategy, children))).await;
        stage.journal();
        stage.crash("b").await;
        let mut expected = vec!["-b crash", "-c shutdown"];
        expected.extend((!before.is_empty()).then_some([before, "+a"]).into_iter().flatten());
        stage.saw(&expected);
        tokio::time::sleep(SECOND).await;
        stage.saw(&["+b", "+c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_intensity_counts_failures_when_they_happen() {
    let stage = Stage::default();
    let child = stage.child("a").backoff(steady());
    // Two in three seconds: with pauses of one, two and four seconds that is never too many.
    let supervisor = start(Supervisor::new("top", OneForOne).intensity(2, 2 * SECOND).child(child)).await;
    for _ in 0..4 {
        stage.crash("a").await;
        pause(&stage, "a").await;
    }
    assert_eq!(supervisor.which_children().await[0].restarts, 4);
    let eager =
        start(Supervisor::new("top", OneForOne).intensity(2, 2 * SECOND).child(stage.child("b"))).await;
    for _ in 0..3 {
        stage.crash("b").await;
    }
    assert!(matches!(eager.exited().await, ExitReason::GaveUp));
}

fn probe() -> Probe<Do> {
    Probe::new(10 * SECOND, Do::Ping).timeout(SECOND).threshold(2)
}

#[tokio::test(start_paused = true)]
async fn a_child_that_answers_its_probes_is_left_alone() {
    let stage = Stage::default();
    let supervisor = start(named("top", OneForOne, [stage.probed("a", probe())])).await;
    tokio::time::sleep(1_000 * SECOND).await;
    // One miss, again and again, is not two in a row.
    for _ in 0..5 {
        stage.tell("a", Do::Work(11 * SECOND)).await;
        tokio::time::sleep(35 * SECOND).await;
    }
    assert_eq!(supervisor.which_children().await[0].restarts, 0);
    supervisor.shutdown().await;
    stage.saw(&["+a", "-a shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_is_killed_and_that_is_a_failure() {
    let stage = Stage::default();
    let supervisor = start(named("top", OneForOne, [stage.probed("a", probe()).restart(Transient)])).await;
    let (sick, began) = (stage.player("a"), Instant::now());
    stage.tell("a", Do::Hang).await;
    let reason = sick.exited().await;
    assert!(began.elapsed() <= 22 * SECOND);
    let failed = reason.error().and_then(|error| error.downcast_ref::<ProbeFailed>()).unwrap();
    assert_eq!(failed.misses, 2);
    assert!(reason.is_abnormal());
    settle().await;
    stage.saw(&["+a", "+a"]);
    assert_eq!(supervisor.which_children().await[0].restarts, 1);
    // The next incarnation is asked as well.
    stage.tell("a", Do::Hang).await;
    assert!(stage.player("a").exited().await.is_abnormal());
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_counts_for_the_intensity_and_stops_siblings() {
    let stage = Stage::default();
    let children = [stage.child("b").restart(Permanent), stage.probed("a", probe())];
    let supervisor = start(named("top", OneForAll, children).intensity(0, SECOND)).await;
    stage.tell("a", Do::Hang).await;
    assert!(matches!(supervisor.exited().await, ExitReason::GaveUp));
    stage.saw(&["+b", "+a", "-b shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_dropped_is_no_answer() {
    let stage = Stage::default();
    let probe = Probe::new(SECOND, |_| Do::Note(1)).threshold(3);
    start(named("top", OneForOne, [stage.probed("a", probe).restart(Temporary)])).await;
    let reason = stage.player("a").exited().await;
    assert_eq!(reason.to_string(), "killed: no answer to 3 health probes in a row");
    assert!(reason.error().unwrap().source().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_question_that_panics_is_one_without_an_answer() {
    let stage = Stage::default();
    let probe = Probe::new(SECOND, |_| panic!("no question")).threshold(2);
    start(named("top", OneForOne, [stage.probed("a", probe).restart(Temporary)])).await;
    let began = Instant::now();
    let reason = stage.player("a").exited().await;
    assert!(reason.error().is_some_and(|error| error.is::<ProbeFailed>()), "{reason}");
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_stops_is_not_asked_any_more() {
    let stage = Stage::default();
    let child = stage.probed("a", probe()).shutdown(airssys_rt::Shutdown::Infinity);
    let supervisor = start(named("top", OneForOne, [child])).await;
    stage.slow_farewell("a", 1_000 * SECOND);
    let dying = stage.player("a");
    supervisor.shutdown().await;
    assert!(matches!(dying.exited().await, ExitReason::Shutdown));
    stage.saw(&["+a", "-a shutdown"]);
}
