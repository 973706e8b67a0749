//! Who is not well is not relied on: `health` and `after` in the manifest.

use std::{path::PathBuf, time::Duration};

use airssys_wasm::{Error, ErrorKind, Handover, Health, System};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    compose::editor,
    versions::{told, without_state},
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

/// Why it does not start, given ever more time until that is enough to ask it once.
async fn why(start: impl AsyncFn(&str) -> Error) -> String {
    for time in ["200ms", "2s", "20s"] {
        let why = told(&start(time).await);
        if !why.contains("it has not answered yet") {
            return why;
        }
    }
    panic!("it was not asked in 20 s");
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
async fn one_that_is_not_well_yet_stops_when_it_is_told_to() {
    let (stop, _file) = sick();
    let (hear, mut told) = hear();
    // What makes it ill stays when the folder of the system has gone.
    let components = TWO.replace("\"stop\"", &format!("\"{}\"", stop.path().join("stop").display()));
    let components = format!(
        "{components}shutdown = \"infinity\"\nhealth = {{ every = \"10ms\", timeout = \"1m\", start = \"1h\" }}\n"
    );
    tokio::select! {
        started = World::try_start(tempfile::tempdir().unwrap(), &components, Some(hear)) => {
            panic!("{:?}", started.err());
        }
        _ = wait_for(&mut told, "unwell a") => {}
    }
    // Nobody tells any more when all has ended.
    let ended = async {
        while let Some(line) = told.recv().await {
            assert!(!line.contains("killed"), "{line}");
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it does not wait until it is well");
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
        health = { every = \"10ms\", timeout = \"1m\", start = \"1m\" }\n";
    let world = World::start(components).await;
    let idle = world.system.idle(Duration::from_millis(100));
    tokio::time::timeout(PATIENCE, idle).await.expect("it does nothing but answer that it is well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_well_is_refused() {
    let (dir, file) = sick();
    std::fs::remove_file(&file).unwrap();
    let health = "health = { every = \"1h\", start = \"1m\" }\n";
    let world = World::start_in(dir, &format!("{TWO}{health}")).await;
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Guest);
        assert!(told(&error).contains("it is not well: a fever"), "{error:?}");
    };
    let next = world.system.load("a", editor("two"), None).await.unwrap();
    assert_eq!(world.ask("a", "add", "one two").await, "one 2");
    std::fs::write(&file, "a fever").unwrap();
    refused(world.system.upgrade("a", &next, Handover::State, PATIENCE).await.unwrap_err());
    assert_eq!(world.ask("a", "report", "").await, "one 2", "the old one goes on");
    std::fs::remove_file(&file).unwrap();
    world.system.upgrade("a", &next, Handover::State, PATIENCE).await.unwrap();
    std::fs::write(&file, "a fever").unwrap();
    refused(world.system.rollback("a", Handover::State, PATIENCE).await.unwrap_err());
    assert_eq!(world.ask("a", "report", "").await, "two 2");
    assert!(world.told().is_empty(), "nobody crashed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_gets_well_is_no_start() {
    let why = why(async |start| {
        let health =
            format!("health = {{ every = \"10ms\", start = \"{start}\" }}\nrestart = \"temporary\"\n");
        World::try_start(sick().0, &format!("{TWO}{health}"), None).await.err().unwrap()
    });
    let why = why.await;
    assert!(why.contains("not ready within ") && why.contains(" (health.start): a cold"), "{why}");
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
        ("/silent", "it gave no answer"),
    ] {
        let said = self::why(async |time| start(path, time).await.err().unwrap()).await;
        assert!(said.contains(why), "{path}: {said}");
    }
}

/// `w` is workers whose health is what a file says, and is started again with `b`.
fn sick_workers(dir: &TempDir, every: &str) -> String {
    std::fs::write(dir.path().join("plain.wasm"), without_state(editor("one"))).unwrap();
    format!(
        "[supervisor.x]\nstrategy = \"one_for_all\"\nchildren = [\"w\", \"b\"]\n\
         [component.b]\nLEDGER\nmax_deliver = 1\n\
         [component.w]\nsource = \"plain.wasm\"\nplug = [WORDS]\nworkers = 2\n\
         health = {{ every = \"{every}\", timeout = \"1m\", failures = 2, start = \"1h\" }}\n\
         grants = {{ fs = [{{ path = \"stop\", guest = \"/stop\", rights = [\"read\"] }}] }}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_fall_ill_are_started_again() {
    let (dir, file) = sick();
    std::fs::remove_file(&file).unwrap();
    let (hear, mut told) = hear();
    let components = sick_workers(&dir, "10ms");
    let world = World::try_start(dir, &components, Some(hear)).await.unwrap();
    assert_eq!(health(&world.system, "w"), Some(Health::Ready));
    wait_for(&mut told, "started s/x/b").await;
    std::fs::write(&file, "a fever").unwrap();
    let killed = "exited s/x/w: killed: no answer to 2 health probes in a row";
    let told_of = wait_for(&mut told, killed).await;
    assert!(told_of.contains(&"unwell w: a fever".to_owned()), "{told_of:#?}");
    wait_for(&mut told, "unwell w: a fever").await;
    std::fs::remove_file(&file).unwrap();
    wait_for(&mut told, "started s/x/w").await;
    assert_eq!(world.ask("w", "add", "one two").await, "one 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_whose_workers_start_is_not_idle() {
    let (dir, file) = sick();
    std::fs::remove_file(&file).unwrap();
    let (hear, mut told) = hear();
    let components = sick_workers(&dir, "1h");
    let world = World::try_start(dir, &components, Some(hear)).await.unwrap();
    std::fs::write(&file, "a cold").unwrap();
    world.crash("b", "trap").await;
    wait_for(&mut told, "unwell w: a cold").await;
    // It is not well for as long as this waits.
    let idle =
        async |patience| tokio::time::timeout(patience, world.system.idle(Duration::from_millis(50))).await;
    assert!(idle(Duration::from_secs(2)).await.is_err(), "its start is under way");
    std::fs::remove_file(&file).unwrap();
    wait_for(&mut told, "started s/x/w").await;
    idle(PATIENCE).await.expect("it is ready");
}
