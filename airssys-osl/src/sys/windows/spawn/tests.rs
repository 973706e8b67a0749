//! Started for real: on Windows, or on what stands in for it.

use std::{sync::mpsc, time::Duration};

use super::*;
use crate::process::{Cause, Exit, Status};

/// How long a test waits before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// What each start names: this program again, in which the first test does what it is told by a variable.
const TOLD: &str = "AIRSSYS_TEST_TOLD";

/// Ends the program as it was told, where it was.
fn obey() {
    match std::env::var(TOLD).as_deref() {
        Ok("wait") => {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        }
        Ok(code) => std::process::exit(code.parse().unwrap()),
        Err(_) => {}
    }
}

fn plan(told: &str, limits: Limits) -> Plan {
    let own = std::env::current_exe().unwrap();
    let name = concat!(module_path!(), "::its_end_is_told");
    let name = name.split_once("::").unwrap().1;
    let args = [own.to_str().unwrap(), "--exact", name];
    Plan {
        program: open_program(&own, None, 0).unwrap(),
        args: args.map(str::to_owned).to_vec(),
        env: vec![format!("{TOLD}={told}"), r"SystemRoot=C:\windows".to_owned()],
        stdio: [null().unwrap(), null().unwrap(), null().unwrap()],
        files: Vec::new(),
        directory: START.to_owned(),
        places: Vec::new(),
        layers: Layers::JOB | Layers::TOKEN,
        landlock: None,
        sockets: Sockets::Internet,
        loopback: false,
        listen: None,
        calls: Calls::default(),
        executes: false,
        tells: false,
        watched: false,
        learns: false,
        limits,
        ids: None,
    }
}

fn begin(plan: Plan) -> (Begun, mpsc::Receiver<Exit>) {
    let (tell, told) = mpsc::channel();
    let begun = start(plan, Box::new(move |exit| tell.send(exit.clone()).unwrap())).unwrap();
    (begun, told)
}

fn run(told: &str, limits: Limits) -> Exit {
    let (begun, ended) = begin(plan(told, limits));
    let exit = ended.recv_timeout(PATIENCE).unwrap();
    drop(begun);
    exit
}

#[test]
fn its_end_is_told() {
    obey();
    let exit = run("7", Limits::new());
    assert_eq!((exit.status, exit.cause), (Status::Code(7), Cause::Itself));
    assert!(run("0", Limits::new().memory_bytes(1 << 30).processes(4)).is_success());
}

#[test]
fn what_goes_on_too_long_is_ended_and_what_is_dropped_too() {
    // Its input never comes.
    let (theirs, _ours) = pipe_without_runtime();
    let mut waits = plan("wait", Limits::new().wall_time(Duration::from_millis(50)));
    waits.stdio[0] = theirs;
    let (begun, ended) = begin(waits);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap().cause, Cause::WallTime);
    drop(begun);

    let (theirs, _ours) = pipe_without_runtime();
    let mut waits = plan("wait", Limits::new());
    waits.stdio[0] = theirs;
    let (begun, ended) = begin(waits);
    drop(begun);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap().cause, Cause::Dropped);
}

fn pipe_without_runtime() -> (OwnedHandle, OwnedHandle) {
    let (from, to) = io::pipe().unwrap();
    (from.into(), to.into())
}

#[test]
fn what_is_no_image_is_not_started() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("a.bat", "MZ"), ("a.exe", "@echo off"), ("empty.exe", "")] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert!(matches!(open_program(&path, None, 0), Err(Fault::Forbidden(rule::NO_SCRIPTS))), "{name}");
    }
    let shell = open_program(Path::new(r"C:\windows\system32\cmd.exe"), None, 0);
    assert!(matches!(shell, Err(Fault::Forbidden(rule::NO_SCRIPTS))));
    let other = open_program(&std::env::current_exe().unwrap(), Some(&[0; 32]), u64::MAX);
    assert!(matches!(other, Err(Fault::Forbidden(rule::OTHER_PROGRAM))));
}

#[test]
fn limits_that_nothing_holds_to_are_named() {
    assert_eq!(unbounded(&Limits::new().memory_bytes(1).processes(1).cpu_percent(1), Layers::JOB), None);
    assert!(unbounded(&Limits::new().file_bytes(1), Layers::JOB).is_some());
    assert!(unbounded(&Limits::new().descriptors(64), Layers::JOB).is_some());
    assert!(unbounded(&Limits::new().io_weight(1), Layers::JOB).is_some());
}

#[test]
fn the_host_has_a_job_and_a_token_and_no_more() {
    assert_eq!(host().available(), Layers::JOB | Layers::TOKEN);
}
