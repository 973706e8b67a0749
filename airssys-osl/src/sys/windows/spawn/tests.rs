//! Started for real: on Windows, or on what stands in for it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    Action, ErrorKind, Os,
    policy::{ExecTerms, Grant, Policy},
    process::{self, Calls, Cause, Exit, Launch, Status},
    sys::{PipeReader, PipeWriter, Sockets, input_pipe, output_pipe},
    testing::MemorySink,
};

/// How long a test waits before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// What each start names: this program again, in which the first test does what it is told by a variable.
const TOLD: &str = "AIRSSYS_TEST_TOLD";

/// What a program says that was told to stay.
const HERE: &[u8] = b"here";

/// Ends the program as it was told, where it was.
fn obey() {
    let Ok(told) = std::env::var(TOLD) else { return };
    match &*told {
        "wait" => {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        }
        "echo" => {
            io::copy(&mut io::stdin(), &mut io::stderr()).unwrap();
            std::process::exit(0);
        }
        "arguments" => {
            let args: Vec<_> = std::env::args().skip_while(|arg| arg != "--").skip(1).collect();
            io::stderr().write_all(args.join("\0").as_bytes()).unwrap();
            std::process::exit(0);
        }
        "privileges" => {
            let left = raw::own_token().and_then(|token| raw::privileges(&token)).unwrap();
            std::process::exit(left.len() as i32);
        }
        "stay" => {
            io::stderr().write_all(HERE).unwrap();
            loop {
                thread::park();
            }
        }
        // A child of its own that stays, and itself until its input ends.
        "leave" => {
            let _left = child("stay").spawn().unwrap();
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(3);
        }
        "start" => {
            let started = child("0").status().is_ok_and(|status| status.success());
            std::process::exit(if started { 0 } else { 9 });
        }
        code => std::process::exit(code.parse().unwrap()),
    }
}

/// This program again, by a program that was started, with its errors.
fn child(told: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(std::env::args().skip(1)).env(TOLD, told).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// What has this program do the first test alone.
fn first_test() -> [&'static str; 2] {
    let name = concat!(module_path!(), "::its_end_is_told");
    ["--exact", name.split_once("::").unwrap().1]
}

/// What a program finds its system's parts by.
const SYSTEM_ROOT: (&str, &str) = ("SystemRoot", r"C:\windows");

fn plan(told: &str, limits: Limits) -> Plan {
    let own = std::env::current_exe().unwrap();
    let [exact, name] = first_test();
    let args = [own.to_str().unwrap(), exact, name];
    Plan {
        program: open_program(&own, None, 0).unwrap(),
        args: args.map(str::to_owned).to_vec(),
        env: vec![format!("{TOLD}={told}"), format!("{}={}", SYSTEM_ROOT.0, SYSTEM_ROOT.1)],
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

#[tokio::test]
async fn what_goes_through_its_pipes_arrives() {
    let mut echo = plan("echo", Limits::new());
    let (mut input, mut output) = pipes(&mut echo);
    let (_begun, ended) = begin(echo);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let all = sent.clone();
    let writes = tokio::spawn(async move { input.write_all(&all).await.unwrap() });
    let mut came = Vec::new();
    tokio::time::timeout(PATIENCE, output.read_to_end(&mut came)).await.unwrap().unwrap();
    writes.await.unwrap();
    assert!(came == sent, "{} bytes came back of {}", came.len(), sent.len());
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap().status, Status::Code(0));
}

#[tokio::test]
async fn each_argument_arrives_as_one() {
    let args = [
        "",
        " ",
        "a b",
        "\t",
        "\"",
        "a\"b",
        "\"a b\"",
        r"\",
        r"a\",
        r"a b\",
        r"a b\\",
        "\\\"",
        r#"a\\"b"#,
        "-x",
        "--",
        "%PATH%",
        "^&|<>()!",
        "'a b'",
        "*",
        "ä€𝄞",
        "a\nb",
    ];
    let mut tells = plan("arguments", Limits::new());
    tells.args.push("--".to_owned());
    tells.args.extend(args.map(str::to_owned));
    let (_input, mut output) = pipes(&mut tells);
    let (_begun, _ended) = begin(tells);
    let mut came = String::new();
    tokio::time::timeout(PATIENCE, output.read_to_string(&mut came)).await.unwrap().unwrap();
    assert_eq!(came.split('\0').collect::<Vec<_>>(), args);
}

#[tokio::test]
async fn its_children_end_with_it() {
    for (itself, status) in [(true, Status::Code(3)), (false, Status::Code(1))] {
        let mut leaves = plan("leave", Limits::new());
        let (input, mut output) = pipes(&mut leaves);
        let (begun, ended) = begin(leaves);
        let mut here = [0; HERE.len()];
        tokio::time::timeout(PATIENCE, output.read_exact(&mut here)).await.unwrap().unwrap();
        assert_eq!(here, HERE);
        if itself {
            drop(input);
        } else {
            begun.child.kill(Cause::Killed);
        }
        // Its child has the other end too.
        let rest = tokio::time::timeout(PATIENCE, output.read_to_end(&mut Vec::new())).await;
        assert_eq!(rest.unwrap().unwrap(), 0, "{itself}");
        assert_eq!(ended.recv_timeout(PATIENCE).unwrap().status, status, "{itself}");
    }
}

#[tokio::test]
async fn the_door_starts_it_and_records_what_holds_it() {
    let own = std::env::current_exe().unwrap();
    let terms = ExecTerms::new().env(TOLD, "echo").env(SYSTEM_ROOT.0, SYSTEM_ROOT.1);
    let terms = first_test().into_iter().fold(terms, ExecTerms::arg);
    let sink = MemorySink::new();
    let grants = [("whole", terms.clone()), ("less", terms.without(Layers::SECCOMP | Layers::LANDLOCK))];
    let grants = grants.map(|(name, terms)| (name, [Grant::exec(&own, terms)]));
    let policy =
        grants.into_iter().fold(Policy::builder(), |policy, (name, grant)| policy.principal(name, grant));
    let os = Os::new(policy.build().unwrap(), sink.clone());

    let whole = os.principal("whole").unwrap().exec(&own).await.unwrap();
    assert_eq!(whole.spawn(Launch::new()).await.unwrap_err().kind(), ErrorKind::Unsupported);

    let less = os.principal("less").unwrap().exec(&own).await.unwrap();
    let launch = Launch::new().stdin(process::Stdio::Pipe).stderr(process::Stdio::Pipe);
    let mut process = less.spawn(launch).await.unwrap();
    process.stdin.as_mut().unwrap().write_all(b"through the door").await.unwrap();
    let collected = tokio::time::timeout(PATIENCE, process.collect()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&collected.stderr), "through the door");
    assert!(collected.exit.is_success(), "{}", collected.exit);
    let held_by = b"strict: job+token";
    let starts = sink.take().into_iter().filter(|record| record.action == Action::ProcessSpawn);
    let resources: Vec<_> = starts.map(|record| record.resource).collect();
    let is_told = |resource: &Vec<u8>| resource.windows(held_by.len()).any(|part| part == held_by);
    assert!(resources.iter().any(is_told), "{resources:?}");
}

#[test]
fn no_other_handle_is_there() {
    let (mut from, to) = io::pipe().unwrap();
    let to = OwnedHandle::from(to);
    raw::let_inherit(&to).unwrap();
    let (theirs, ours) = pipe_without_runtime();
    let mut waits = plan("wait", Limits::new());
    waits.stdio[0] = theirs;
    let (begun, ended) = begin(waits);
    drop(to);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(from.read(&mut [0]).unwrap()));
    // Nobody has the other end, while the program runs: it waits for its input.
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 0);
    assert!(ended.try_recv().is_err());
    drop(ours);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap().status, Status::Code(0));
    drop(begun);
}

#[test]
fn it_has_no_privilege_but_that_of_going_through_directories() {
    let ours = raw::own_token().and_then(|token| raw::privileges(&token)).unwrap();
    if ours.is_empty() {
        eprintln!("SKIPPED: this program has no privileges itself");
        return;
    }
    assert_eq!(run("privileges", Limits::new()).status, Status::Code(0));
}

#[test]
fn processes_beyond_its_limit_are_refused() {
    assert_eq!(run("start", Limits::new().processes(4)).status, Status::Code(0));
    let exit = run("start", Limits::new().processes(1));
    if is_wine() && exit.is_success() {
        eprintln!("SKIPPED: wine counts no processes");
        return;
    }
    assert_eq!(exit.status, Status::Code(9));
}

/// Whether this is no Windows but wine, whose jobs hold to less.
fn is_wine() -> bool {
    Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

/// Gives a program an input and errors that are pipes, and tells our ends. Its output is what the tests' frame prints.
fn pipes(plan: &mut Plan) -> (PipeWriter, PipeReader) {
    let (theirs, input) = input_pipe().unwrap();
    plan.stdio[0] = theirs;
    let (theirs, output) = output_pipe().unwrap();
    plan.stdio[2] = theirs;
    (input, output)
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
