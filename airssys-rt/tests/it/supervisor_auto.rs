//! Supervisors that end when their significant children do: the group `auto_shutdown` of OTP's suite.

use airssys_rt::AutoShutdown::{self, AllSignificant, AnySignificant, Never};
use airssys_rt::Restart::{self, Permanent, Temporary, Transient};
use airssys_rt::Strategy::{OneForAll, OneForOne};
use airssys_rt::{ChildError, ChildSpec, ChildState, ExitReason, InvalidSpec, SupervisorRef};

use crate::stage::{Stage, crash, fail_to_start, named, settle, start, top};

fn significant(stage: &Stage, name: &str, restart: Restart) -> ChildSpec {
    stage.child(name).restart(restart).significant(true)
}

async fn runs(supervisor: &SupervisorRef) -> bool {
    settle().await;
    !supervisor.which_children().await.is_empty()
}

#[tokio::test(start_paused = true)]
async fn sup_flags() {
    for (auto, restart, fault) in [
        (Never, Transient, InvalidSpec::SignificantWithoutAutoShutdown),
        (Never, Temporary, InvalidSpec::SignificantWithoutAutoShutdown),
        (AnySignificant, Permanent, InvalidSpec::PermanentSignificant),
        (AllSignificant, Permanent, InvalidSpec::PermanentSignificant),
    ] {
        let stage = Stage::default();
        let children = [stage.child("a"), significant(&stage, "b", restart), stage.child("c")];
        let error = fail_to_start(top(OneForOne, children).auto_shutdown(auto)).await;
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "cannot start `top/b`");
        assert_eq!(cause.source().unwrap().to_string(), fault.to_string());
        stage.saw(&[]);

        let supervisor = start(top(OneForOne, []).auto_shutdown(auto)).await;
        let refused = supervisor.start_child(significant(&stage, "b", restart)).await;
        assert!(matches!(refused, Err(ChildError::Invalid(found)) if found == fault), "{refused:?}");
    }
}

/// Ends a significant child; says whether its supervisor shuts down.
async fn shuts_down(auto: AutoShutdown, restart: Restart, reason: ExitReason) -> bool {
    let stage = Stage::default();
    let children = [stage.child("a"), significant(&stage, "b", restart)];
    let supervisor = start(top(OneForOne, children).auto_shutdown(auto)).await;
    stage.exit("b", reason).await;
    let down = !runs(&supervisor).await;
    if down {
        assert!(matches!(supervisor.exited().await, ExitReason::Shutdown));
        assert_eq!(stage.journal().last().unwrap(), "-a shutdown");
    }
    supervisor.shutdown().await;
    down
}

#[tokio::test(start_paused = true)]
async fn significant_temporary() {
    for auto in [AnySignificant, AllSignificant] {
        for reason in [ExitReason::Normal, ExitReason::Shutdown, crash()] {
            assert!(shuts_down(auto, Temporary, reason).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn significant_transient() {
    for auto in [AnySignificant, AllSignificant] {
        assert!(shuts_down(auto, Transient, ExitReason::Normal).await);
        assert!(shuts_down(auto, Transient, ExitReason::Shutdown).await);
        assert!(!shuts_down(auto, Transient, crash()).await, "it is restarted");
    }
}

#[tokio::test(start_paused = true)]
async fn significant_simple() {
    let stage = Stage::default();
    let children = ["a", "b", "c"].map(|name| significant(&stage, name, Temporary));
    let children = children.into_iter().chain([stage.child("d").restart(Temporary)]);
    let supervisor = start(top(OneForOne, children).auto_shutdown(AllSignificant)).await;
    stage.exit("d", ExitReason::Normal).await;
    for name in ["b", "c"] {
        stage.exit(name, ExitReason::Normal).await;
        assert!(runs(&supervisor).await);
    }
    supervisor.start_child(stage.child("d")).await.unwrap();
    stage.journal();
    stage.crash("a").await;
    stage.saw(&["-a crash", "-d shutdown"]);
    assert!(matches!(supervisor.exited().await, ExitReason::Shutdown));
}

/// The end of one that the supervisor stopped says nothing.
#[tokio::test(start_paused = true)]
async fn significant_bystander() {
    let stage = Stage::default();
    let children =
        [stage.child("a"), significant(&stage, "b", Temporary), significant(&stage, "c", Transient)];
    let supervisor = start(top(OneForAll, children).auto_shutdown(AnySignificant)).await;
    stage.journal();
    stage.crash("a").await;
    stage.saw(&["-a crash", "-c shutdown", "-b shutdown", "+a", "+c"]);
    supervisor.terminate_child("c").await.unwrap();
    assert!(runs(&supervisor).await);
    supervisor.restart_child("c").await.unwrap();
    stage.exit("c", ExitReason::Normal).await;
    assert!(!runs(&supervisor).await);
}

#[tokio::test(start_paused = true)]
async fn a_terminated_child_is_not_left() {
    let stage = Stage::default();
    let children = ["a", "b"].map(|name| significant(&stage, name, Transient));
    let supervisor = start(top(OneForOne, children).auto_shutdown(AllSignificant)).await;
    supervisor.terminate_child("a").await.unwrap();
    assert!(runs(&supervisor).await);
    stage.exit("b", ExitReason::Normal).await;
    assert!(!runs(&supervisor).await);
}

#[tokio::test(start_paused = true)]
async fn significant_escalation() {
    let stage = Stage::default();
    let inner =
        named("inner", OneForOne, [significant(&stage, "a", Transient)]).auto_shutdown(AnySignificant);
    let inner = ChildSpec::supervisor(inner).restart(Transient).significant(true);
    let supervisor = start(top(OneForOne, [inner, stage.child("b")]).auto_shutdown(AllSignificant)).await;
    stage.exit("a", ExitReason::Normal).await;
    stage.saw(&["+a", "+b", "-a normal", "-b shutdown"]);
    assert!(matches!(supervisor.exited().await, ExitReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_supervisor_that_shuts_itself_down_is_started_again() {
    let stage = Stage::default();
    let inner =
        named("inner", OneForOne, [significant(&stage, "a", Temporary)]).auto_shutdown(AnySignificant);
    let supervisor = start(top(OneForOne, [ChildSpec::supervisor(inner)])).await;
    stage.exit("a", ExitReason::Normal).await;
    stage.saw(&["+a", "-a normal", "+a"]);
    assert_eq!(supervisor.which_children().await[0].state, ChildState::Running);
}
