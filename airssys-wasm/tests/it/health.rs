//! Who is not well is not relied on: `health` and `after` in the manifest.

use std::{path::PathBuf, time::Duration};

use airssys_wasm::{Handover, Health, System};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    compose::editor,
    versions::told,
    world::{Hear, Reserved, World},
};

/// Guards against a test that hangs, and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

/// `b` starts behind `a`, whose health is what a file says.
const TWO: &str = "[component.b]\nEDITOR\nplug = [WORDS]\nafter = [\"a\"]\n\
    [component.a]\nEDITOR\nplug = [WORDS]\n\
    grants = { fs = [{ path = \"stop\", guest = \"/stop\", rights = [\"read\"] }] }\n";

/// A folder in which somebody is not well, and the file that says so.
fn sick() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("stop")).unwrap();
    let file = dir.path().join("stop/sick");
    std::fs::write(&file, "a cold").unwrap();
    (dir, file)
}

/// Passes on what is told.
fn hear() -> (Hear, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let hear = move |line: &str| {
        let _ = tell.send(line.to_owned());
    };
    (Box::new(hear), told)
}

async fn wait_for(told: &mut mpsc::UnboundedReceiver<String>, wanted: &str) -> Vec<String> {
    let mut all = Vec::new();
    let waiting = async {
        while all.last().is_none_or(|last: &String| !last.contains(wanted)) {
            all.push(told.recv().await.unwrap());
        }
    };
    let ended = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(ended.is_ok(), "no `{wanted}` in {all:#?}");
    all
}

fn health(system: &System, name: &str) -> Option<Health> {
    system.status().iter().find(|status| &*status.name == name).unwrap().health
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_depends_on_one_that_is_not_well_waits_for_it() {
    let (dir, file) = sick();
    let (hear, mut told) = hear();
    let components = format!("{TWO}health = {{ every = \"10ms\", timeout = \"1m\", start = \"1m\" }}\n");
    let cure = async {
        let first = wait_for(&mut told, "unwell").await;
        std::fs::remove_file(&file).unwrap();
        first.into_iter().chain(wait_for(&mut told, "started s/b").await).collect::<Vec<_>>()
    };
    let (world, told) = tokio::join!(World::try_start(dir, &components, Some(hear)), cure);
    let world = world.unwrap();
    assert_eq!(told, ["unwell a: a cold", "started s/a", "started s/b"]);
    assert_eq!(
        (health(&world.system, "a"), health(&world.system, "b")),
        (Some(Health::Ready), Some(Health::Ready))
    );
    assert_eq!(world.ask("a", "add", "one two").await, "one 2", "questions are no messages of anybody's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_falls_ill_is_started_again() {
    let (dir, file) = sick();
    std::fs::remove_file(&file).unwrap();
    let (hear, mut told) = hear();
    let components =
        format!("{TWO}health = {{ every = \"10ms\", timeout = \"1m\", failures = 2, start = \"1m\" }}\n");
    let world = World::try_start(dir, &components, Some(hear)).await.unwrap();
    wait_for(&mut told, "started s/b").await;
    assert_eq!(world.ask("a", "add", "one two").await, "one 2");

    std::fs::write(&file, "a fever").unwrap();
    let mut told_of = wait_for(&mut told, "exited s/a").await;
    told_of.retain(|line| line != "started s");
    assert_eq!(told_of, ["unwell a: a fever", "exited s/a: killed: no answer to 2 health probes in a row"]);
    // The next incarnation is asked before anything else, and as ill.
    wait_for(&mut told, "unwell a: a fever").await;
    assert_eq!(health(&world.system, "a"), Some(Health::Starting));
    std::fs::remove_file(&file).unwrap();
    wait_for(&mut told, "started s/a").await;
    assert_eq!(world.ask("a", "report", "").await, "one 0", "it began anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_no_work() {
    // A state that is asked for is too large, and ends the one that gave it.
    let health = format!(
        "{TWO}health = {{ every = \"1ms\", timeout = \"1m\", start = \"1m\" }}\nmax_deliver = 1\n\
         on_restart = \"snapshot\"\nlimits = {{ fuel = 1000000, snapshot = \"4B\" }}\n"
    );
    let (dir, file) = sick();
    std::fs::remove_file(&file).unwrap();
    let world = World::start_in(dir, &health).await;
    let next = world.system.load("a", editor("two"), None).await.unwrap();
    world.system.upgrade("a", &next, Handover::Fresh, PATIENCE).await.unwrap();
    world.traces();
    // It looks for the file at each question.
    let asked = async {
        while world.traces().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    // The first that it handles is more than it may compute for, and so it is for the one before it.
    world.crash_by("a", "add", &"word ".repeat(200_000)).await;
    let told = world.told();
    assert!(told[0].starts_with("taken back a: "), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_whose_components_are_asked_is_idle() {
    let components = "[component.a]\nEDITOR\nplug = [WORDS]\nconfig = { turns = 20000000 }\n\
        limits = { deadline = \"1m\" }\n\
        health = { every = \"1ms\", timeout = \"1m\", start = \"1m\" }\n";
    let world = World::start(components).await;
    let idle = world.system.idle(Duration::from_millis(100));
    tokio::time::timeout(PATIENCE, idle).await.expect("it does nothing but answer that it is well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_gets_well_is_no_start() {
    let (dir, _file) = sick();
    let health_key = "health = { every = \"10ms\", start = \"200ms\" }\nrestart = \"temporary\"\n";
    let error = World::try_start(dir, &format!("{TWO}{health_key}"), None).await.err().unwrap();
    assert!(told(&error).contains("not ready within 200ms (health.start): a cold"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_asked_for_a_path() {
    let reserved = Reserved::new();
    let start = async |path: &str, start: &str| {
        let dir = tempfile::tempdir().unwrap();
        let health = format!(
            "health = {{ path = \"{path}\", every = \"10ms\", timeout = \"1m\", start = \"{start}\" }}"
        );
        let http = format!("http = {{ listen = \"127.0.0.1:{}\" }}", reserved.0);
        World::try_start(dir, &format!("[component.web]\nWEB\n{http}\n{health}\n"), None).await
    };
    let world = start("/hello", "1m").await.unwrap();
    assert_eq!(health(&world.system, "web"), Some(Health::Ready));
    world.system.shutdown().await;
    assert_eq!(health(&world.system, "web"), Some(Health::Stopped));
    for (path, why) in [
        ("/absent", "it answered with the status 404"),
        ("/trap", "panicked or aborted"),
        ("/silent", "no answer"),
    ] {
        let error = start(path, "2s").await.err().unwrap();
        assert!(told(&error).contains(why), "{path}: {}", told(&error));
    }
}
