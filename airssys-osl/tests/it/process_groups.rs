//! Control groups, wherever we are in them ourselves: what a program uses is counted, and no bound of ours is left behind.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use airssys_osl::{
    Action, ErrorKind,
    policy::Grant,
    process::{Cause, Launch, Layers, Limits, Process, Stdio, host, means},
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{Programs, counts_swap, exec, run, said, shell};

/// Set in the process that is somewhere else.
const INNER: &str = "AIRSSYS_TEST_GROUPS";

/// How long the groups of a process that has ended may stay on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where groups of a kind are mounted: of version 2, or those of version 1 that count `controller`.
fn mounted(controller: &str, unified: bool) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let fits = |line: &&str| {
        let mut last = line.split_once(" - ").unwrap().1.split(' ');
        match (last.next(), unified) {
            (Some("cgroup2"), true) => true,
            (Some("cgroup"), false) => last.next_back().unwrap().split(',').any(|word| word == controller),
            _ => false,
        }
    };
    mounts.lines().find(fits).map(|line| line.split(' ').nth(4).unwrap().into())
}

/// The group that counts `controller` for a process, or for us.
fn group_of(process: &str, controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let path = |unified: bool| {
        let fits = |line: &&str| match unified {
            true => line.starts_with("0::"),
            false => line.split(':').nth(1).unwrap().split(',').any(|word| word == controller),
        };
        groups.lines().find(fits).map(|line| line.splitn(3, ':').nth(2).unwrap().trim_start_matches('/'))
    };
    if let (Some(top), Some(path)) = (mounted(controller, false), path(false)) {
        return Some(top.join(path));
    }
    Some(mounted(controller, true)?.join(path(true)?))
}

/// The topmost group of version 2, where that counts memory and processes.
fn top() -> Option<PathBuf> {
    let top = mounted("", true)?;
    let all = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
    let counts = |controller: &str| all.split_whitespace().any(|known| known == controller);
    // Who is at the top may; else it is as it is.
    let _ = fs::write(top.join("cgroup.subtree_control"), "+memory +pids");
    (counts("memory") && counts("pids")).then_some(top)
}

/// Groups of ours, removed with all that is beneath them.
struct Nested(Vec<PathBuf>);

impl Nested {
    /// One in each of `parents`, with another one called `inner` in it.
    fn new(parents: impl IntoIterator<Item = PathBuf>, name: &str) -> Option<Self> {
        let name = format!("airssys-test-{}-{name}", std::process::id());
        let nested = Self(parents.into_iter().map(|parent| parent.join(&name)).collect());
        let made = nested.0.iter().all(|group| fs::create_dir_all(group.join("inner")).is_ok());
        made.then_some(nested)
    }

    /// Runs a test in a process of its own that is in there.
    fn run(&self, test: &str) -> String {
        let groups: Vec<_> = self.0.iter().map(|group| group.join("inner").display().to_string()).collect();
        let script = format!(
            "for group in {}; do echo $$ > $group/cgroup.procs || exit 9; done; exec \"$0\" --exact {test} --nocapture",
            groups.join(" ")
        );
        let own = env::current_exe().unwrap();
        let command = Command::new("/bin/sh").arg("-c").arg(script).arg(own).env(INNER, "1").output();
        let Output { status, stdout, stderr } = command.unwrap();
        let text = String::from_utf8(stdout).unwrap();
        assert!(status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&stderr));
        text
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        fn remove(group: &Path) -> bool {
            for entry in fs::read_dir(group).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    remove(&entry.path());
                }
            }
            fs::remove_dir(group).is_ok() || !group.exists()
        }
        let start = Instant::now();
        while !self.0.iter().all(|group| remove(group)) && start.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
}

async fn started(limits: Limits) -> (Programs, Process) {
    let programs =
        Programs::new([Grant::exec("/bin/sh", shell("echo ready; exec sleep 1000").limits(limits))]);
    let launch = Launch::new().stdout(Stdio::Pipe);
    let mut process = exec(&programs, "/bin/sh").await.spawn(launch).await.unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "ready\n");
    (programs, process)
}

/// Says where a program's group is and how many processes it may have, and has one go beyond its memory.
async fn inside() {
    let cgroup = host().layers().find(|(layer, _)| *layer == Layers::CGROUP).unwrap().1;
    if let Err(why) = cgroup {
        println!("absent: {why}");
        return;
    }
    let (_programs, process) = started(Limits::new().memory_bytes(64 << 20)).await;
    let group = group_of(&process.id().to_string(), "pids").unwrap();
    println!("group: {}", group.display());
    println!("processes: {}", fs::read_to_string(group.join("pids.max")).unwrap().trim());
    drop(process);
    // Whoever asks what there is changes nothing for others.
    let above = group.with_file_name("cgroup.subtree_control");
    let before = fs::read_to_string(&above).ok();
    means();
    assert_eq!(fs::read_to_string(above).ok(), before);
    let hog = shell("head -c 200m /dev/zero | tail -c 200m > /dev/null");
    let ended = run(hog.limits(Limits::new().memory_bytes(64 << 20))).await;
    assert_eq!(ended.exit.cause, Cause::OutOfMemory, "{}", ended.exit);
}

fn told<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.split_once(what).map(|(_, told)| told.trim()))
}

#[tokio::test]
async fn programs_are_counted_wherever_we_are() {
    if env::var_os(INNER).is_some() {
        return inside().await;
    }
    if !counts_swap() {
        return;
    }
    if !host().available().contains(Layers::CGROUP) {
        return eprintln!("SKIPPED: there are no control groups to be in");
    }
    let parents = match top() {
        Some(top) => vec![top],
        None => ["memory", "pids"].map(|controller| group_of("self", controller).unwrap()).to_vec(),
    };
    let Some(nested) = Nested::new(parents, "counted") else {
        return eprintln!("SKIPPED: no control group can be made to be in");
    };
    let text = nested.run("process_groups::programs_are_counted_wherever_we_are");
    let group = Path::new(told(&text, "group: ").unwrap_or_else(|| panic!("{text}")));
    // Of version 2 none can be beneath the one that we are in, and the next one bounds what that does.
    assert!(
        nested.0.iter().any(|nested| group.starts_with(nested)),
        "{} for {:?}",
        group.display(),
        nested.0
    );
}

#[tokio::test]
async fn a_group_that_is_delegated_is_not_left() {
    if env::var_os(INNER).is_some() {
        return inside().await;
    }
    if !counts_swap() {
        return;
    }
    let Some(nested) = top().and_then(|top| Nested::new([top], "delegated")) else {
        return eprintln!(
            "SKIPPED: there are no control groups of version 2 that count memory, or none can be made"
        );
    };
    let inner = nested.0[0].join("inner");
    fs::write(nested.0[0].join("cgroup.subtree_control"), "+memory +pids").unwrap();
    // A bound that must hold for what is started, too.
    fs::write(inner.join("memory.max"), (1_u64 << 30).to_string()).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let delegate = |name: &str| rustix::fs::setxattr(&inner, name, b"1", flags).is_ok();
    if !delegate("user.delegate") && !delegate("trusted.delegate") {
        return eprintln!("SKIPPED: this kernel cannot say that a group is delegated");
    }
    let text = nested.run("process_groups::a_group_that_is_delegated_is_not_left");
    let group = Path::new(told(&text, "group: ").unwrap_or_else(|| panic!("{text}")));
    assert!(group.starts_with(&inner), "{}", group.display());
}

#[tokio::test]
async fn no_bound_of_ours_is_left_behind() {
    if env::var_os(INNER).is_some() {
        return inside().await;
    }
    if !counts_swap() {
        return;
    }
    let Some(nested) = top().and_then(|top| Nested::new([top], "bounded")) else {
        return eprintln!(
            "SKIPPED: there are no control groups of version 2 that count memory, or none can be made"
        );
    };
    let inner = nested.0[0].join("inner");
    fs::write(nested.0[0].join("cgroup.subtree_control"), "+memory +pids").unwrap();
    fs::write(inner.join("pids.max"), "50").unwrap();
    let test = "process_groups::no_bound_of_ours_is_left_behind";
    let text = nested.run(test);
    assert_eq!(told(&text, "processes: "), Some("50"), "{text}");
    fs::write(inner.join("memory.max"), (1_u64 << 30).to_string()).unwrap();
    let text = nested.run(test);
    let why = told(&text, "absent: ").unwrap_or_else(|| panic!("{text}"));
    assert!(why.contains("is bounded by memory.max") && why.contains("Delegate=yes"), "{why}");
}

#[tokio::test]
async fn a_service_is_not_left() {
    if env::var_os(INNER).is_some() {
        return inside().await;
    }
    let Some(nested) = top().and_then(|top| Nested::new([top], "app.service")) else {
        return eprintln!(
            "SKIPPED: there are no control groups of version 2 that count memory, or none can be made"
        );
    };
    let text = nested.run("process_groups::a_service_is_not_left");
    let found = told(&text, "group: ").map(Path::new);
    assert!(found.is_some_and(|group| group.starts_with(&nested.0[0])), "groups are made within it: {text}");
    // As many processes of its own as keep groups from being made in it.
    let members = nested.0[0].join("cgroup.procs");
    let mut busy = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    fs::write(nested.0[0].join("cgroup.subtree_control"), "-memory -pids").unwrap();
    fs::write(members, busy.id().to_string()).unwrap();
    let text = nested.run("process_groups::a_service_is_not_left");
    busy.kill().unwrap();
    busy.wait().unwrap();
    let why = told(&text, "absent: ").unwrap_or_else(|| panic!("{text}"));
    assert!(
        why.contains("app.service is a service's") && why.contains("`Delegate=yes` in its unit"),
        "{why}"
    );
}

#[tokio::test]
async fn swap_is_no_way_around_a_limit() {
    if !host().available().contains(Layers::CGROUP) {
        return eprintln!("SKIPPED: there are no control groups to count a tree by");
    }
    if !counts_swap() {
        return;
    }
    let limits = Limits::new().memory_bytes(64 << 20);
    let (_programs, process) = started(limits).await;
    let group = group_of(&process.id().to_string(), "memory").unwrap();
    let read = |name: &str| fs::read_to_string(group.join(name)).map(|text| text.trim().to_owned());
    let memory = read("memory.max").or_else(|_| read("memory.limit_in_bytes"));
    assert_eq!(memory.unwrap(), (64 << 20).to_string());
    match (read("memory.swap.max"), read("memory.memsw.limit_in_bytes")) {
        (Ok(swap), _) => assert_eq!(swap, "0"),
        (_, Ok(both)) => assert_eq!(both, (64 << 20).to_string()),
        // It was started all the same, so there is none.
        _ => assert_eq!(fs::read_to_string("/proc/swaps").unwrap().lines().count(), 1),
    }
}

#[tokio::test]
async fn where_swap_is_not_counted_each_process_is_bounded() {
    if !host().available().contains(Layers::CGROUP) {
        return eprintln!("SKIPPED: there are no control groups that could miss something");
    }
    if counts_swap() {
        return eprintln!("SKIPPED: nothing is swapped out to disks here that is not counted");
    }
    let limits = Limits::new().memory_bytes_or_each(64 << 20);
    let programs = Programs::new([Grant::exec("/bin/sh", shell("ulimit -d").limits(limits))]);
    let process = exec(&programs, "/bin/sh").await.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
    assert_eq!(said(&process.collect().await.unwrap()), (64 << 10).to_string());
    let record = programs.records(Action::ProcessSpawn).pop().unwrap();
    let text = String::from_utf8(record.resource).unwrap();
    assert!(text.ends_with("; memory of each process, not of all"), "{text}");
    let whole = shell("true").limits(Limits::new().memory_bytes(64 << 20));
    let programs = Programs::new([Grant::exec("/bin/sh", whole)]);
    let error = exec(&programs, "/bin/sh").await.spawn(Launch::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}
