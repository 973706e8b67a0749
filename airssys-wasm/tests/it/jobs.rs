//! Components that are run from their start to their end, below a supervisor.

use airssys_wasm::{Canary, Error, ErrorKind, Handover, Health};

use crate::{
    text, versions,
    world::{PATIENCE, World},
};

/// Ends well, says that it failed, crashes, and never ends.
const DONE: &str = "(i32.const 0)";
const FAIL: &str = "(i32.const 1)";
const CRASH: &str = "(unreachable)";
const SPIN: &str = "(call $spin) (i32.const 0)";

/// Sends the witness something, arms a timer.
const TELL: &str = "(call $tell)";
const ARM: &str = "(call $arm)";

/// A system whose component `job` does this.
async fn start(run: &str, job: &str, more: &str) -> Result<World, Error> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("job.wasm"), text::job(run)).unwrap();
    let components = format!("[component.job]\nsource = \"job.wasm\"\n{job}\n{more}\n");
    World::try_start(dir, &components, None).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ends_well_is_done() {
    let world = start(DONE, "job = {}", "").await.unwrap();
    world.until_told("exited s/job: normal").await;
    let status = world.system.status().remove(0);
    assert_eq!((status.health, status.handled, status.busy), (Some(Health::Stopped), 1, false));
    world.system.shutdown().await;
    let told = world.told();
    let of_job: Vec<_> = told.iter().filter(|line| line.contains("s/job")).collect();
    assert_eq!(of_job, ["exited s/job: normal"], "it was not started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_and_a_trap_are_its_exit_reason() {
    for (run, reason) in [(FAIL, "the guest exited with status 1"), (CRASH, "the guest panicked or aborted")]
    {
        let world = start(run, "job = {}\nrestart = \"temporary\"", "").await.unwrap();
        world.until_told(&format!("exited s/job: {reason}")).await;
        assert_eq!(world.system.status()[0].handled, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_started_again_as_any_child() {
    let again = start(FAIL, "job = {}", "").await.unwrap();
    let told = again.until_told("gave up s").await;
    assert_eq!(told.iter().filter(|line| line.starts_with("exited s/job")).count(), 21, "{told:#?}");
    let again = start(DONE, "job = {}\nrestart = \"permanent\"", "").await.unwrap();
    again.until_told("gave up s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_end_starts_behind_it() {
    let behind = "[component.b]\nSOURCE\nafter = [\"job\"]";
    let world = start(DONE, "job = { ready = \"done\" }", behind).await.unwrap();
    assert_eq!(world.ask("b", "handled", "").await, "1");
    world.until_told("exited s/job: normal").await;
    let error = start(FAIL, "job = { ready = \"done\" }", behind).await.map(drop).unwrap_err();
    let told = versions::told(&error);
    assert!(told.contains("the guest exited with status 1"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_nobody_waits_for_runs_beside_the_others() {
    let behind = "[component.b]\nSOURCE\nafter = [\"job\"]";
    let world = start(SPIN, "job = {}\nshutdown = \"1ms\"", behind).await.unwrap();
    assert_eq!(world.ask("b", "handled", "").await, "1");
    let status = world.system.status().remove(0);
    assert_eq!((status.health, status.busy), (Some(Health::Ready), true));
    world.system.shutdown().await;
    let told = world.told();
    assert!(told.contains(&"exited s/job: killed".to_owned()), "it had its time to end: {told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_its_time() {
    for limit in ["job = { timeout = \"20ms\" }", "job = {}\nlimits = { deadline = \"20ms\" }"] {
        let world = start(SPIN, &format!("{limit}\nrestart = \"temporary\""), "").await.unwrap();
        world.until_told("exited s/job: the guest ran past its deadline").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_sent_leaves_when_it_has_ended_well() {
    let witness = "[component.witness]\nSOURCE";
    let granted = "job = { ready = \"done\" }\nrestart = \"temporary\"\ngrants = { send = [\"witness\"] }";
    let world = start(&format!("{TELL} {DONE}"), granted, witness).await.unwrap();
    world.until_told("exited s/job: normal").await;
    assert_eq!(world.ask("witness", "handled", "").await, "2", "what it sent, and this");

    let granted = granted.replace("ready = \"done\"", "");
    let world = start(&format!("{TELL} {FAIL}"), &granted, witness).await.unwrap();
    world.until_told("exited s/job: the guest exited").await;
    assert_eq!(world.ask("witness", "handled", "").await, "1", "only this");

    let world = start(&format!("{ARM} {DONE}"), &granted, witness).await.unwrap();
    let told = world.until_told("exited s/job: ").await;
    assert!(told[0].contains("a host function ended the guest"), "it has no timers: {told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_takes_no_messages_and_no_other_version() {
    let world =
        start(SPIN, "job = {}\nshutdown = \"1ms\"", "[component.a]\nSOURCE\ngrants = { send = [\"job\"] }")
            .await
            .unwrap();
    let error = world.system.call("job", "x", Vec::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(world.ask("a", "send:job", "x").await.starts_with("NotFound"));
    let version = text::component(text::job(DONE)).await;
    let error = world.system.upgrade("job", &version, Handover::State, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let canary = Canary { percent: 1, requests: 1 };
    let error = world.system.canary("job", &version, canary, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(world.system.history("job").unwrap().len(), 1);
}
