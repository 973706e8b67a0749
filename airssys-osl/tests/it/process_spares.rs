//! What is kept ready for the next program: nobody had it before, and nothing of it stays.
//!
//! Others that start programs would take it from here, so each test is a process of its own.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use airssys_osl::{
    policy::{ExecTerms, Grant},
    process::{Exec, Launch, Layers, Limits, Process, Stdio, host},
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{Programs, exec, said, shell};

/// How many programs run side by side.
const MOST: usize = 8;

/// How long something may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Set in the process that a test is.
const INNER: &str = "AIRSSYS_TEST_SPARES";

/// Runs a test in a process of its own, and returns its number; `None` in that process, which goes on with it.
fn alone(test: &str) -> Option<u32> {
    if env::var_os(INNER).is_some() {
        return None;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INNER, "1");
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    Some(id)
}

/// The namespaces of a kind that this process has a descriptor of.
fn held(kind: &str) -> BTreeSet<String> {
    let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = fds.filter_map(|fd| fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned));
    links.filter(|link| link.starts_with(kind)).collect()
}

/// The namespace of a kind that we are in ourselves.
fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
}

/// Directories of control groups that a process made.
fn groups(of: u32) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let points = points.filter_map(|line| line.split(' ').nth(4));
    let paths: Vec<_> = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    let places = points.flat_map(|point| paths.iter().map(move |path| format!("{point}{path}")));
    let entries = places.filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let name = format!("airssys-{of}-");
    let groups = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name));
    groups.map(|entry| entry.path()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether somebody is in a control group.
fn has_member(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|members| !members.is_empty())
}

/// Waits until it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A shell that says what it is in and what it sees, and stays until its input ends.
const LOOK: &str = "readlink /proc/self/ns/net /proc/self/ns/mnt; ls -A / /tmp /dev; cat /proc/self/net/dev; \
                    cut -d' ' -f4- /proc/self/mountinfo | sort; echo >/tmp/mine; echo ready; read line || :";

async fn ended(process: &mut Process) {
    process.stdin = None;
    assert!(process.wait().await.is_success());
}

async fn looks(sh: &Exec) -> (Process, Vec<String>) {
    let launch = Launch::new().stdin(Stdio::Pipe).stdout(Stdio::Pipe);
    let mut process = sh.spawn(launch).await.unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line == "ready" {
            return (process, seen);
        }
        seen.push(line);
    }
    panic!("it ended: {:?}, {seen:?}", process.wait().await);
}

/// Whether this machine lets us keep any: not where each program has a user namespace of its own.
fn keeps() -> bool {
    let all = host().available().contains(Layers::NETWORK | Layers::MOUNTS | Layers::CGROUP);
    all && rustix::process::geteuid().is_root() && own("user") == "user:[4026531837]"
}

#[tokio::test]
async fn none_is_had_twice_and_none_stays() {
    if alone("process_spares::none_is_had_twice_and_none_stays").is_some() {
        return;
    }
    let programs = Programs::new([Grant::exec("/bin/sh", shell(LOOK))]);
    let sh = exec(&programs, "/bin/sh").await;
    if !keeps() {
        eprintln!("SKIPPED: none are kept here");
        return;
    }
    let (net, mnt) = (own("net"), own("mnt"));
    let spare = |kind: &str, home: &str| held(kind).into_iter().filter(|held| held != home).count();
    assert_eq!(spare("net:", &net), 0, "nothing is kept before anything was started");
    let mut all = Vec::new();
    let mut taken = [0; 3];
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let mut empty = groups(std::process::id());
        empty.retain(|group| !has_member(group));
        let ready = (held("net:"), held("mnt:"), empty);
        let (process, seen) = looks(&sh).await;
        taken[0] += usize::from(ready.0.contains(&seen[0]));
        taken[1] += usize::from(ready.1.contains(&seen[1]));
        taken[2] += usize::from(ready.2.iter().any(|group| has_member(group)));
        all.push((process, seen));
        // So many run side by side.
        if all.len() > MOST {
            let at = all.len() - 1 - MOST;
            ended(&mut all[at].0).await;
        }
        if all.len() >= MOST && taken.iter().all(|taken| *taken > 0) {
            break;
        }
        // Time to make some; how many there are is up to the machine.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(taken.iter().all(|taken| *taken > 0), "of networks, mounts and groups were taken {taken:?}");
    let first = all[0].1[2..].to_vec();
    for (index, kind) in ["net:", "mnt:"].into_iter().enumerate() {
        let had: BTreeSet<_> = all.iter().map(|(_, seen)| &seen[index]).collect();
        assert_eq!(had.len(), all.len(), "{kind} one was had twice: {had:?}");
    }
    for (_, seen) in &all {
        assert_eq!(seen[2..], first, "one sees what the other does not");
        let devices: Vec<_> = seen.iter().filter(|line| line.contains(':') && line.contains(" 0 ")).collect();
        assert!(matches!(devices[..], [lo] if lo.trim_start().starts_with("lo:")), "{devices:?}");
    }
    for (process, _) in all.iter_mut().rev().take(MOST) {
        ended(process).await;
    }
    // Nobody starts another one. What it needs to make them is its own network and mounts, and those of the base.
    until("networks are kept", || spare("net:", &net) == 0).await;
    until("mounts are kept", || spare("mnt:", &mnt) <= 1).await;
    until("control groups are kept", || groups(std::process::id()).is_empty()).await;
}

#[tokio::test]
async fn a_limit_is_the_own_one_of_each() {
    if alone("process_spares::a_limit_is_the_own_one_of_each").is_some() {
        return;
    }
    if !host().available().contains(Layers::CGROUP) {
        eprintln!("SKIPPED: there are no control groups here");
        return;
    }
    // As many as are started until one fails, at most twelve.
    let script = "n=0; while [ $n -lt 12 ]; do sleep 60 & n=$((n+1)); done 2>/dev/null; echo $n";
    for processes in [4, 64, 64, 3, 64, 6, 64] {
        let terms = shell(script).limits(Limits::new().processes(processes));
        let programs = Programs::new([Grant::exec("/bin/sh", terms)]);
        let launch = Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
        let ended = exec(&programs, "/bin/sh").await.spawn(launch).await.unwrap().collect().await.unwrap();
        let refused = ended.exit.usage.refused_processes.unwrap();
        assert_eq!(refused > 0, processes < 12, "of {processes}: {refused} were refused");
        if processes == 64 {
            assert_eq!(said(&ended), "12");
        }
    }
}

/// One that ends as soon as its program has takes its control groups with it.
#[tokio::test]
async fn nothing_is_left_at_the_end() {
    let test = "process_spares::nothing_is_left_at_the_end";
    if let Some(id) = alone(test) {
        // Who ends waits for a second at most, so on a slow machine something may stay, for the next to sweep away.
        let mut left = groups(id);
        for _ in 0..9 {
            if left.is_empty() {
                return;
            }
            left = alone(test).map_or_else(Vec::new, groups);
        }
        panic!("{left:?}");
    }
    if !host().available().contains(Layers::CGROUP) {
        eprintln!("SKIPPED: there are no control groups here");
        return;
    }
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new())]);
    for _ in 0..6 {
        let program = exec(&programs, "/bin/true").await;
        assert!(program.spawn(Launch::new()).await.unwrap().wait().await.is_success());
    }
}

/// Whatever a start begins with: a copy of a tree shows all that is mounted in it, and nothing that lies beneath.
#[tokio::test]
async fn a_mount_that_may_not_be_copied_hides_what_lies_beneath() {
    const TEST: &str = "process_spares::a_mount_that_may_not_be_copied_hides_what_lies_beneath";
    if env::var_os(INNER).is_none() {
        if !keeps() {
            return eprintln!("SKIPPED: none are kept here");
        }
        // Mounts of its own, so that nobody else sees these.
        let mut command = Command::new("unshare");
        command.arg("--mount").arg(env::current_exe().unwrap()).args(["--exact", TEST, "--nocapture"]);
        let output = command.env(INNER, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let inner = tmp.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("beneath"), "").unwrap();
    let terms = shell(&format!("ls {}", inner.display())).see(tmp.path());
    let programs = Programs::new([Grant::exec("/bin/sh", terms)]);
    let sh = exec(&programs, "/bin/sh").await;
    let sees = async || {
        let launch = Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
        said(&sh.spawn(launch).await.unwrap().collect().await.unwrap()).to_owned()
    };
    let mount = |args: &[&str]| assert!(Command::new("mount").args(args).status().unwrap().success());
    let start = Instant::now();
    while held("mnt:").len() < 3 && start.elapsed() < PATIENCE {
        assert_eq!(sees().await, "beneath");
    }
    let path = inner.to_str().unwrap();
    mount(&["-t", "tmpfs", "none", path]);
    fs::write(inner.join("above"), "").unwrap();
    assert_eq!(sees().await, "above");
    mount(&["--make-unbindable", path]);
    for _ in 0..10 {
        assert_eq!(sees().await, "above");
    }
}
