//! `[process.NAME]`: programs of the machine under the supervisors of a system.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::program::World;

/// How long another program may take to do something.
const PATIENCE: Duration = Duration::from_secs(600);

/// A world with a system of one process. However slowly that crashes, it is within the period.
fn world(process: &str) -> World {
    let world = World::new();
    let system = "[system]\nname = \"s\"\nperiod = \"1h\"\n";
    world.write("system/airssys.toml", format!("{system}[process.p]\n{process}"));
    world
}

/// Runs the system of `world` until all that is expected stands in its log, or it ends; gives the log.
fn log_with(world: &World, expected: &[&str]) -> String {
    let mut command = world.command(&["run", "system"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stderr, mut log) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    let is_there = |log: &String| expected.iter().all(|expected| log.contains(expected));
    while !is_there(&log) && stderr.read_line(&mut log).unwrap() > 0 {}
    assert!(is_there(&log), "{expected:?}: {log}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log}");
    log
}

/// What nothing else on this machine has among its arguments: a time to sleep for.
fn word(number: u32) -> String {
    format!("1000.{:08}{number}", std::process::id())
}

/// The processes of this machine that have `word` among their arguments.
fn running(word: &str) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    };
    processes.filter(has).collect()
}

/// Waits until one runs that is not `before`.
fn wait_for(word: &str, before: Option<u32>) -> u32 {
    let started = Instant::now();
    loop {
        if let Some(pid) = running(word).into_iter().find(|pid| Some(*pid) != before) {
            return pid;
        }
        assert!(started.elapsed() < PATIENCE, "no process with {word}");
        std::thread::yield_now();
    }
}

/// Waits until none runs any more.
fn wait_for_none(word: &str) {
    let started = Instant::now();
    while !running(word).is_empty() {
        assert!(started.elapsed() < PATIENCE, "it outlived its system");
        std::thread::yield_now();
    }
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn one_that_is_killed_is_started_again_and_a_stop_leaves_nothing() {
    let word = &word(1);
    // It ends with its input, and so at once when it is to stop.
    let args = format!("args = [\"-c\", \"read line; exit 0\", \"{word}\"]");
    let world = world(&format!("program = \"/bin/sh\"\n{args}\nshutdown = \"10m\"\n"));
    let mut system = world.start(&["run", "system"]);
    let first = wait_for(word, None);
    kill(first);
    let crashed = system.events.wait_for("crashed");
    assert_eq!(crashed["actor"], "s/p", "{crashed}");
    assert!(crashed["reason"].as_str().unwrap().contains("signal 9"), "{crashed}");
    assert_eq!(system.events.wait_for("restarting")["attempt"], 1);
    wait_for(word, Some(first));
    system.signal("TERM");
    let (code, events) = system.end();
    assert_eq!(code, Some(0), "{events:#?}");
    assert_eq!(running(word), Vec::<u32>::new());
    let query = ["audit", "query", "system", "--action", "process.exit"];
    let (_, ends) = world.run_json(&query);
    assert_eq!(ends.len(), 2, "{ends:#?}");
    assert!(ends.iter().all(|end| end["principal"] == "process.p"), "{ends:#?}");
}

#[test]
fn one_that_does_not_want_to_stop_is_killed_with_its_children() {
    let word = &word(2);
    let script = format!("trap '' TERM HUP; sleep {word} & while :; do wait; done");
    let world =
        world(&format!("program = \"/bin/sh\"\nargs = [\"-c\", \"{script}\"]\nshutdown = \"400ms\"\n"));
    let system = world.start(&["run", "system"]);
    wait_for(word, None);
    system.signal("TERM");
    assert_eq!(system.end().0, Some(0));
    // Where its time was over before it had quite started, it ends with the system.
    wait_for_none(word);
}

#[test]
fn one_whose_system_is_killed_ends_with_it() {
    let word = &word(3);
    let world = world(&format!("program = \"/bin/sleep\"\nargs = [\"{word}\"]\n"));
    let system = world.start(&["run", "system"]);
    wait_for(word, None);
    system.signal("KILL");
    assert_eq!(system.end().0, None);
    wait_for_none(word);
}

#[test]
fn files_are_handed_over_open_and_paths_lead_nowhere_else() {
    let world = crate::sandbox::open(World::new());
    let (conf, out) = (world.path("conf").display().to_string(), world.path("out").display().to_string());
    let script = format!("cat \"$0\" \"$1\"; ls {conf}; read line; exit 0");
    let given = format!("{{ file = \"{conf}/a\" }}, {{ path = \"{out}/b\" }}");
    let bounds = "calls = \"usual\"\nlandlock = 1\nlimits = { temporary = \"1MiB\", descriptors = 32 }";
    let process =
        format!("program = \"/bin/sh\"\nargs = [\"-c\", '{script}', {given}]\nro = \"{out}\"\n{bounds}\n");
    world.write("system/airssys.toml", format!("[system]\nname = \"s\"\n[process.p]\n{process}"));
    world.write("conf/a", "from the file\n");
    world.write("conf/hidden", "");
    world.write("out/b", "from the path\n");
    world.write("outside", "secret\n");
    let log = log_with(&world, &["from the file", "from the path", "cannot access"]);
    assert!(!log.contains("hidden"), "{log}");
    fs::remove_file(world.path("out/b")).unwrap();
    std::os::unix::fs::symlink("../outside", world.path("out/b")).unwrap();
    let refused = world.run(&["run", "system"]);
    assert!(refused.code != Some(0) && !refused.stderr.contains("secret"), "{}", refused.stderr);
    let (_, denials) = world.run_json(&["audit", "query", "system", "--denied"]);
    assert!(denials.iter().any(|denial| denial["rule"] == "beneath-root"), "{denials:#?}");
}

#[test]
fn one_that_fails_at_once_ends_the_system() {
    let world = world("program = \"/bin/false\"\n");
    let (code, events) = world.run_json(&["run", "system"]);
    assert_eq!(code, Some(1), "{events:#?}");
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((count("crashed"), count("restarting"), count("gave_up")), (6, 5, 1), "{events:#?}");
}

#[test]
fn what_it_says_is_logged_and_cannot_steer_the_terminal() {
    let script = "printf 'one\\\\n\\\\033[2Jtwo\\\\n'; echo wrong >&2";
    let world =
        world(&format!("program = \"/bin/sh\"\nargs = [\"-c\", \"{script}\"]\nrestart = \"temporary\"\n"));
    let log = log_with(&world, &["one", r"\u{1b}[2Jtwo", "wrong"]);
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn check_opens_the_program_and_shows_it() {
    let sound = world("program = \"/bin/cat\"\n");
    let ended = sound.run(&["check", "system"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("└─ p /bin/cat"), "{}", ended.stderr);
    let (_, checked) = sound.run_json(&["check", "system"]);
    assert_eq!(checked[0]["processes"][0]["program"], "/bin/cat", "{checked:#?}");

    let missing = world("program = \"tools/missing\"\n").run(&["check", "system"]);
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    for told in ["airssys.toml:5", "cannot start the process `p`", "tools/missing"] {
        assert!(missing.stderr.contains(told), "{told}: {}", missing.stderr);
    }
}

#[test]
fn one_is_held_as_its_keys_say() {
    // Only root may make somebody else of it.
    let (user, uid) = match fs::metadata("/proc/self").unwrap().uid() {
        0 => ("user = \"1234:1235\"\n", 1234),
        own => ("", own),
    };
    let process = format!(
        "program = \"/bin/sh\"\nargs = [\"-c\", \"echo user $(id -u); echo proxy $https_proxy\"]\n\
         env = {{ PATH = \"/usr/bin:/bin\" }}\nrestart = \"temporary\"\nlimits = {{ io_weight = 10 }}\n\
         connect = \"tcp://example.com:443\"\nrequire = \"mounts\"\nwithout = [\"ipc\"]\n{user}"
    );
    let world = world(&process);
    log_with(&world, &[&format!("user {uid}"), "proxy http://127.0.0.1:3128"]);
    let starts = world.run(&["audit", "query", "system", "--action", "process.spawn"]).stdout;
    assert!(starts.contains("mounts+processes+network") && starts.contains("not ipc"), "{starts}");
}

#[test]
fn one_with_a_loopback_has_it_to_itself() {
    let script = "exec 3<>/dev/tcp/127.0.0.1/9";
    let process =
        format!("program = \"/bin/bash\"\nargs = [\"-c\", \"{script}\"]\nrestart = \"temporary\"\n");
    let run = |keys: &str| log_with(&world(&format!("{process}{keys}")), &["/dev/tcp/127.0.0.1/9:"]);
    assert!(run("loopback = true\n").contains("refused"));
    assert!(!run("").contains("refused"));
}

#[test]
fn one_of_another_digest_or_without_its_layers_is_not_started() {
    let with = |keys: &str| world(&format!("program = \"/bin/true\"\nrestart = \"temporary\"\n{keys}\n"));
    let digest = |digits: &str| with(&format!("digest = \"sha256:{digits}\""));
    let wrong = digest(&"0".repeat(64)).run(&["check", "system"]);
    assert_eq!(wrong.code, Some(3), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("cannot start the process `p`"), "{}", wrong.stderr);
    let output = Command::new("sha256sum").arg("/bin/true").output().unwrap();
    let right = String::from_utf8(output.stdout).unwrap();
    let right = digest(right.split(' ').next().unwrap()).run(&["run", "system", "--until-idle=300ms"]);
    assert_eq!(right.code, Some(0), "{}", right.stderr);
    let refused = with("without = \"ipc\"\nrequire = \"ipc\"").run(&["run", "system", "--until-idle=300ms"]);
    assert!(refused.stderr.contains("the grant leaves it out"), "{}", refused.stderr);
}
