//! Where control groups can be made, found out by making one and entering it.
//!
//! Of version 2, a group that has processes in it has none beneath it that count, but for the first of all. So a manager
//! moves into a leaf of its own where its group was delegated to it, as systemd wants it, and makes the others beside that
//! leaf. Where it was not, groups are made farther up; but none is where an administrator's bounds on ours would not reach it:
//! not past a group with a bound that its files tell of, but for the number of processes, which each program has then; and not
//! past one of a service, as what a manager bounds by BPF (addresses, devices, sockets) is in no file. Of a scope or a slice
//! that is left, such bounds are left behind.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, getpid, test_kill_process};

use super::{Group, PROCESSES};
use crate::process::Limits;

/// What the names of groups begin with; the number of who made them follows, and one of their own.
pub(super) const PREFIX: &str = "airssys-";

/// How long nothing has happened in a group before somebody else removes it.
const ABANDONED: Duration = Duration::from_secs(60);

/// By what systemd says that a group was given away with all that is beneath it.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// What bounds a group of version 2 and is called neither `….max` nor `….high`.
const BOUNDS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// What the name of a group ends with that whoever manages services made for one.
const SERVICE: &str = "service";

const COUNTED: [&str; 2] = ["memory", "pids"];

/// What is to be done where none can be made.
const HOW: &str = "start it as root, or in a group of its own (systemd-run --scope -p Delegate=yes, with --user where it is \
                   not root's; Delegate=yes of a service)";

/// Where groups can be made: a directory for each of what counts, or one for all.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) memory: PathBuf,
    pub(super) processes: PathBuf,
    /// Where there are such; they are asked for only when somebody needs them.
    pub(super) cpu: Option<PathBuf>,
    pub(super) io: Option<PathBuf>,
    pub(super) unified: bool,
    /// How many processes a program may have whatever its limits are, for our own group has no more.
    pub(super) most_processes: Option<u64>,
    /// Whether what is swapped out is counted too.
    pub(super) counts_swap: bool,
}

/// Finds out where we are, and where groups can be made that count both memory and processes, and be entered.
pub(super) fn find() -> Result<Places, Box<str>> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    let unified = own.lines().find_map(|line| line.strip_prefix("0::"));
    let unified = unified.and_then(|path| mounted(&mounts, path, |kind, _| kind == "cgroup2"));
    let first = find_of_version_1(&own, &mounts);
    let found = match (unified, first) {
        // Controllers that version 1 has are nowhere in the other one.
        (_, Some(places)) => places.tried(),
        (Some((top, own)), None) => find_unified(&top, &own),
        (None, None) => return Err("no control groups are mounted that count memory and processes".into()),
    };
    found.map_err(|error| format!("no control group counts memory and processes here: {error}; {HOW}").into())
}

fn find_of_version_1(own: &str, mounts: &str) -> Option<Places> {
    let place = |controller: &str| {
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|known| known == controller).then_some(path)
        })?;
        let found = mounted(mounts, path, |kind, options| {
            kind == "cgroup" && options.split(',').any(|known| known == controller)
        });
        found.map(|(_, directory)| directory)
    };
    Some(Places {
        memory: place("memory")?,
        processes: place("pids")?,
        cpu: place("cpu"),
        io: place("blkio"),
        unified: false,
        most_processes: None,
        counts_swap: false,
    })
}

/// The first place from our own group upwards.
fn find_unified(top: &Path, own: &Path) -> io::Result<Places> {
    let mut last = match Places::unified(own, None) {
        Ok(places) => return Ok(places),
        Err(error) => error,
    };
    // Nobody says of the topmost that we see whose it is, and there is no other.
    if own == top || is_delegated(own) {
        match beside_a_leaf(own) {
            Ok(places) => return Ok(places),
            Err(error) => last = error,
        }
    }
    let (mut group, mut most) = (own, None);
    while group != top {
        match bound(group) {
            Ok(processes) => most = most.into_iter().chain(processes).min(),
            Err(what) => {
                let why = format!("{} {what}, and none can be made in it ({last})", group.display());
                return Err(io::Error::new(last.kind(), why));
            }
        }
        let Some(parent) = group.parent() else { break };
        group = parent;
        match Places::unified(group, most) {
            Ok(places) => return Ok(places),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Places {
    fn unified(directory: &Path, most_processes: Option<u64>) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
        let switched_on = controls(directory, &COUNTED).map_err(named)?;
        let [memory, processes, cpu, io] = [(); 4].map(|()| directory.to_owned());
        let (cpu, io) = (Some(cpu), Some(io));
        let places = Self { memory, processes, cpu, io, unified: true, most_processes, counts_swap: false };
        let found = places.tried().map_err(named);
        if found.is_err() {
            // It is not where they are made, and others may be in it. What of this fails bounds nothing.
            let _ = switch(directory, '-', &switched_on);
        }
        found
    }

    /// Has a group made there, and entered.
    fn tried(mut self) -> io::Result<Self> {
        let group = Group::make_in(&self, &Limits::new())?;
        group.try_entering()?;
        self.counts_swap = group.counts_swap();
        Ok(self)
    }
}

/// Moves all of this process into a group beneath `own`, where nobody else is in that, so that others beneath it count.
fn beside_a_leaf(own: &Path) -> io::Result<Places> {
    let (members, pid) = (own.join("cgroup.procs"), getpid().as_raw_nonzero());
    if fs::read_to_string(&members)?.trim() != pid.to_string() {
        let why = format!("{} has other processes in it than this one", own.display());
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    // As others of ours are called, so that it is swept away as they are.
    let leaf = own.join(format!("{PREFIX}{pid}-0"));
    fs::create_dir(&leaf)?;
    let found = fs::write(leaf.join("cgroup.procs"), "0").and_then(|()| Places::unified(own, None));
    if found.is_err() {
        // Back to where it was. What of this fails leaves it in a group that bounds nothing.
        let _ = fs::write(members, "0").and_then(|()| fs::remove_dir(leaf));
    }
    found
}

/// Whether whoever made a group gave it to those who are in it.
fn is_delegated(group: &Path) -> bool {
    let says = |name: &&str| {
        let mut value = [0; 2];
        matches!(rustix::fs::getxattr(group, *name, &mut value), Ok(1)) && value.first() == Some(&b'1')
    };
    DELEGATED.iter().any(says)
}

/// How many processes a group may have, if that is bounded; or why nobody goes from it to where its bounds do not reach.
fn bound(group: &Path) -> Result<Option<u64>, String> {
    if group.extension().is_some_and(|kind| kind == SERVICE) {
        let why = "is a service's, whose bounds cannot all be seen (`Delegate=yes` in its unit lets it make groups)";
        return Err(why.to_owned());
    }
    let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
    let entries = fs::read_dir(group).map_err(|error| format!("cannot be read: {error}"))?;
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let bounds = name.ends_with(".max") || name.ends_with(".high") || BOUNDS.contains(&&*name);
        if bounds && name != PROCESSES && read(&name).lines().any(is_bounded) {
            return Err(format!("is bounded by {name}"));
        }
    }
    Ok(read(PROCESSES).trim().parse().ok())
}

/// Whether a line of such a file bounds something: `max`, `max 100000`, `mlx4_0 hca_handle=max` and `8:16 wbps=max` do not.
fn is_bounded(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1).peekable();
    let is_named = words.peek().is_some() && words.all(|word| word.ends_with("max"));
    !line.trim().is_empty() && !line.starts_with("max") && !is_named
}

/// Has groups beneath count what is needed, and says what of it they did not before.
pub(super) fn controls<'a>(directory: &Path, needed: &[&'a str]) -> io::Result<Vec<&'a str>> {
    let missing = || {
        let known = words(directory, "cgroup.subtree_control");
        let is_missing = |needed: &&str| !known.iter().any(|known| known == needed);
        needed.iter().copied().filter(is_missing).collect::<Vec<_>>()
    };
    let asked = missing();
    switch(directory, '+', &asked)?;
    if missing().is_empty() { Ok(asked) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Whether groups beneath do not count yet what they would if they were asked to, found out without asking; or why they cannot.
pub(super) fn is_off(directory: &Path, needed: &str) -> io::Result<bool> {
    let has = |name: &str| words(directory, name).iter().any(|known| known == needed);
    if has("cgroup.subtree_control") {
        return Ok(false);
    }
    if !has("cgroup.controllers") {
        let why = format!("no control group bounds {needed} here");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    fs::File::options().write(true).open(directory.join("cgroup.subtree_control")).map(|_| true)
}

fn switch(directory: &Path, sign: char, controllers: &[&str]) -> io::Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    let ask: Vec<_> = controllers.iter().map(|controller| format!("{sign}{controller}")).collect();
    fs::write(directory.join("cgroup.subtree_control"), ask.join(" "))
}

fn words(directory: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Where the first mount that `fits` is, and the group `path` in it.
fn mounted(mounts: &str, path: &str, fits: impl Fn(&str, &str) -> bool) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        if !fits(kind, options) {
            return None;
        }
        let beneath = Path::new(path).strip_prefix(root).ok()?;
        // One that is beside what is mounted cannot be seen.
        let is_beneath = !beneath.components().any(|component| component == Component::ParentDir);
        is_beneath.then(|| (PathBuf::from(point), Path::new(point).join(beneath).components().collect()))
    })
}

/// Removes what others of our kind left in `parent` when they were killed. One of them may be where we cannot see it, in a
/// namespace of processes of its own: what is in use cannot be removed, and what is not yet is younger.
pub(super) fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let made_by = entry.file_name().to_str().and_then(maker);
        let gone = made_by.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
        let modified = || entry.metadata().and_then(|found| found.modified());
        if gone && modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The number of who made a group of this name.
fn maker(name: &str) -> Option<Pid> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Timespec, Timestamps, utimensat};

    use super::*;

    #[test]
    fn what_the_dead_left_is_swept_away() {
        let parent = tempfile::tempdir().unwrap();
        let (gone, ours) = (i32::MAX, getpid().as_raw_nonzero());
        let make = |name: String, old: bool| {
            let path = parent.path().join(&name);
            fs::create_dir(&path).unwrap();
            let long_ago = Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
            let times = Timestamps { last_access: long_ago, last_modification: long_ago };
            if old {
                utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
            }
            name
        };
        make(format!("airssys-{gone}-0"), true);
        let mut kept = vec![
            make(format!("airssys-{gone}-1"), false),
            make(format!("airssys-{ours}-0"), true),
            make(format!("other-{gone}-0"), true),
            make(format!("airssys-{gone}-x"), true),
            make("airssys-0-0".to_owned(), true),
        ];
        sweep(parent.path());
        let left = fs::read_dir(parent.path()).unwrap().flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
        left.sort();
        kept.sort();
        assert_eq!(left, kept);
    }

    #[test]
    fn no_bound_is_left_behind_but_the_number_of_processes() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert_eq!(bound(group.path()), Ok(None));
        for (name, none, some) in [
            ("memory.max", "max\n", "1048576\n"),
            ("memory.high", "max\n", "1048576\n"),
            ("memory.swap.max", "max\n", "0\n"),
            ("memory.zswap.max", "max\n", "0\n"),
            ("cpu.max", "max 100000\n", "50000 100000\n"),
            ("io.max", "", "8:16 rbps=max wbps=1048576\n"),
            ("io.max", "8:16 rbps=max wbps=max\n", "8:16 rbps=1 wbps=max\n"),
            ("hugetlb.2MB.max", "max\n", "0\n"),
            ("misc.max", "res_a max\nres_b max\n", "res_a max\nres_b 3\n"),
            ("rdma.max", "mlx4_0 hca_handle=max hca_object=max\n", "mlx4_0 hca_handle=2 hca_object=max\n"),
            ("cpuset.cpus", "\n", "0-1\n"),
        ] {
            write(name, none);
            assert_eq!(bound(group.path()), Ok(None), "{name}: {none}");
            write(name, some);
            assert_eq!(bound(group.path()), Err(format!("is bounded by {name}")), "{some}");
            write(name, none);
        }
        write("pids.max", "max\n");
        assert_eq!(bound(group.path()), Ok(None));
        write("pids.max", "4915\n");
        assert_eq!(bound(group.path()), Ok(Some(4915)));
    }

    #[test]
    fn nobody_climbs_out_of_a_service() {
        let top = tempfile::tempdir().unwrap();
        let check = |name: &str, is_left: bool| {
            let own = top.path().join("system.slice").join(name);
            fs::create_dir_all(&own).unwrap();
            let error = find_unified(top.path(), &own).unwrap_err().to_string();
            let stays = error.contains("app.service is a service's") && error.contains("`Delegate=yes`");
            // Where nothing is in the way, the last place that was tried is the topmost.
            let climbed = error.starts_with(&format!("{}: ", top.path().display()));
            assert_eq!((stays, climbed), (!is_left, is_left), "{error}");
        };
        check("app.service", false);
        check("app.service/inner", false);
        check("session-1.scope", true);
        check("service", true);
    }

    #[test]
    fn what_could_be_counted_is_seen_without_a_change() {
        let group = tempfile::tempdir().unwrap();
        let control = group.path().join("cgroup.subtree_control");
        fs::write(group.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(&control, "memory pids\n").unwrap();
        assert!(!is_off(group.path(), "memory").unwrap());
        assert!(is_off(group.path(), "cpu").unwrap());
        let error = is_off(group.path(), "io").unwrap_err();
        assert!(error.to_string().contains("no control group bounds io"), "{error}");
        assert_eq!(controls(group.path(), &COUNTED).unwrap(), Vec::<&str>::new());
        // What is made there cannot be entered: what was counted before is left as it was.
        Places::unified(group.path(), None).unwrap_err();
        assert_eq!(fs::read_to_string(&control).unwrap(), "memory pids\n");
    }

    #[test]
    fn our_group_is_found_in_its_mount() {
        let check = |line: &str, path: &str, expected: Option<(&str, &str)>| {
            let found = mounted(line, path, |kind, _| kind == "cgroup2");
            let found = found.as_ref().map(|(top, own)| (top.to_str().unwrap(), own.to_str().unwrap()));
            assert_eq!(found, expected, "{path} in {line}");
        };
        let all = "25 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        let scope = "/user.slice/user-0.slice/session-1.scope";
        let (top, own) = ("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope");
        check(all, scope, Some((top, own)));
        check(all, "/", Some((top, top)));
        check(all, "/../other", None);
        let part = "25 30 0:26 /user.slice /mnt rw - cgroup2 cgroup2 rw";
        check(part, scope, Some(("/mnt", "/mnt/user-0.slice/session-1.scope")));
        check(part, "/system.slice", None);
        check("25 30 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids", "/", None);
    }
}
