//! What starts programs on macOS starts them here, without a profile: all but `sandbox-exec`.

use std::{fs::File, io::Read as _, sync::mpsc, time::Duration};

use super::*;
use crate::{
    process::{Calls, Cause, Exit, Status},
    sys::{macos::launch::NOT_STARTED, posix::pipe},
};

/// How long a test waits before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn plan(args: &[&str], stdout: OwnedFd, limits: Limits) -> Plan<Place> {
    Plan {
        program: open_program(Path::new(args[0]), None, 0).unwrap(),
        args: args.iter().map(|arg| text(arg)).collect(),
        env: vec![text("A=b c")],
        stdio: [null().unwrap(), stdout, null().unwrap()],
        files: Vec::new(),
        directory: text("/usr"),
        places: Vec::new(),
        layers: Layers::empty(),
        landlock: None,
        sockets: Sockets::Unix,
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

fn begin(plan: Plan<Place>) -> (Begun<Child, Notes>, mpsc::Receiver<Exit>) {
    let (tell, told) = mpsc::channel();
    let begun = start(plan, Box::new(move |exit| tell.send(exit.clone()).unwrap())).unwrap();
    (begun, told)
}

/// Runs a script of the shell: what it said, and how it ended.
fn run(script: &str, limits: Limits) -> (String, Exit) {
    let (from, to) = pipe(false).unwrap();
    let (begun, ended) = begin(plan(&["/bin/sh", "-c", script], to, limits));
    let mut said = String::new();
    File::from(from).read_to_string(&mut said).unwrap();
    let exit = ended.recv_timeout(PATIENCE).unwrap();
    drop(begun);
    (said, exit)
}

#[test]
fn a_program_begins_with_what_it_is_given() {
    let script = "echo $A; pwd; umask; ulimit -n; ulimit -t; ps -o sid= -p $$; echo $$";
    let (said, exit) = run(script, Limits::new().descriptors(64).cpu_time(Duration::from_millis(1500)));
    let lines: Vec<_> = said.lines().map(str::trim).collect();
    assert_eq!(lines[..5], ["b c", "/usr", "0077", "64", "2"], "{said}");
    assert_eq!(lines[5], lines[6], "it is not the first of its session");
    assert_eq!((exit.status, exit.cause), (Status::Code(0), Cause::Itself));
}

#[test]
fn words_arrive_as_they_were_given() {
    let (from, to) = pipe(false).unwrap();
    let hostile = ["/bin/echo", "$(id)", "; exit 3", "a\"b'c\\", "-- *"];
    let (begun, ended) = begin(plan(&hostile, to, Limits::new()));
    let mut said = String::new();
    File::from(from).read_to_string(&mut said).unwrap();
    assert_eq!(said, "$(id) ; exit 3 a\"b'c\\ -- *\n");
    assert!(ended.recv_timeout(PATIENCE).unwrap().is_success());
    drop(begun);
}

#[test]
fn its_end_is_told() {
    assert_eq!(run("exit 7", Limits::new()).1.status, Status::Code(7));
    assert_eq!(run("kill -TERM $$", Limits::new()).1.status, Status::Signal(libc::SIGTERM));
}

#[test]
fn what_goes_on_too_long_ends_with_its_group() {
    let (said, exit) = run("sleep 600 & sleep 600", Limits::new().wall_time(Duration::from_millis(50)));
    // The pipe's other end is closed by all.
    assert_eq!(
        (said.as_str(), exit.status, exit.cause),
        ("", Status::Signal(libc::SIGKILL), Cause::WallTime)
    );
}

#[test]
fn what_is_dropped_is_killed() {
    let (begun, ended) = begin(plan(&["/bin/sleep", "600"], null().unwrap(), Limits::new()));
    let watch = begun.child.watch();
    assert!(begun.child.signal(libc::SIGCONT).unwrap());
    drop(begun);
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap().cause, Cause::Dropped);
    drop(watch);
}

#[test]
fn a_directory_that_is_not_there_starts_nothing() {
    for directory in ["/not/there", "/bin/echo"] {
        let missing = plan(&["/bin/echo", "a"], null().unwrap(), Limits::new());
        let refused = start(Plan { directory: text(directory), ..missing }, Box::new(|_| {}));
        assert!(matches!(refused.map(drop), Err(Fault::Step("change the directory", _))), "{directory}");
    }
}

#[test]
fn what_the_shell_cannot_set_starts_nothing() {
    let (said, exit) = run("echo a", Limits::new().descriptors(u64::MAX));
    assert_eq!((said.as_str(), exit.status), ("", Status::Code(NOT_STARTED)));
}

#[test]
fn it_has_the_variables_that_it_was_given_and_no_others() {
    let (from, to) = pipe(false).unwrap();
    let (begun, ended) = begin(plan(&["/usr/bin/env"], to, Limits::new()));
    let mut said = String::new();
    File::from(from).read_to_string(&mut said).unwrap();
    assert_eq!(said, "A=b c\n");
    assert!(ended.recv_timeout(PATIENCE).unwrap().is_success());
    drop(begun);
}

#[test]
fn what_computes_for_too_long_ends() {
    let limits = Limits::new().cpu_time(Duration::from_secs(1));
    let (_, exit) = run("while :; do :; done", limits);
    assert_eq!((exit.status, exit.cause), (Status::Signal(libc::SIGXCPU), Cause::CpuTime));
}

#[test]
fn no_place_lies_in_one_that_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (changed, link, beside) = (root.join("a"), root.join("link"), root.join("ab"));
    fs::create_dir_all(changed.join("in")).unwrap();
    fs::create_dir(&beside).unwrap();
    std::os::unix::fs::symlink(changed.join("in"), &link).unwrap();
    let check = |places: &[(&Path, bool)], program: Option<&Path>| {
        let places: Vec<_> =
            places.iter().map(|(path, write)| Place::granted(path, *write).unwrap()).collect();
        let checked = check_places(&places, program);
        assert!(matches!(checked, Ok(()) | Err(Fault::Forbidden(rule::BENEATH_ROOT))), "{checked:?}");
        checked.is_ok()
    };
    assert!(check(&[(&changed, true), (&beside, false), (&beside.join(".."), false)], None));
    assert!(!check(&[(&changed, true), (&link, false)], None));
    assert!(!check(&[(&link, false), (&changed, true)], None));
    assert!(!check(&[(&changed, true), (&link, true)], None));
    assert!(check(&[(&changed, false), (&link, true)], Some(&changed)));
    assert!(!check(&[(&changed, true)], Some(&changed.join("in"))));
}

#[test]
fn another_program_is_not_started() {
    let other = Plan { args: vec![text("/bin/cat")], ..plan(&["/bin/echo"], null().unwrap(), Limits::new()) };
    let refused = start(other, Box::new(|_| {}));
    assert!(matches!(refused.map(drop), Err(Fault::Forbidden(rule::OTHER_PROGRAM))));
    let user = Plan { ids: Some((1, 1)), ..plan(&["/bin/echo"], null().unwrap(), Limits::new()) };
    assert!(matches!(start(user, Box::new(|_| {})).map(drop), Err(Fault::Lacks(..))));
}

#[test]
fn a_script_is_no_program() {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    assert!(matches!(open_program(script.path(), None, 0), Err(Fault::Forbidden(rule::NO_SCRIPTS))));
}

#[test]
fn a_hash_is_refused_as_nothing_holds_the_program_to_it() {
    let refused = open_program(Path::new("/bin/sh"), Some(&[0; 32]), u64::MAX);
    assert!(matches!(refused, Err(Fault::Lacks(what, _)) if what == "sha256"));
}

#[test]
fn limits_that_nothing_holds_to_are_named() {
    let none = |limits| unbounded(&limits, Layers::empty()).map(|(_, why)| why);
    assert_eq!(none(Limits::new()), None);
    for limits in [
        Limits::new().memory_bytes(1),
        Limits::new().processes(1),
        Limits::new().file_bytes(1),
        Limits::new().cpu_percent(1),
        Limits::new().io_weight(1),
    ] {
        assert!(none(limits).is_some());
    }
}
