//! Control groups: what a whole tree of processes may use, by version 2 where that has what is needed, else by version 1.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, test_kill_process};

use super::spares::GROUPS;
use crate::process::{Cause, Limits, Usage};

/// How often the members of a group are killed, where some fork faster than they die. No more of them can be made than
/// the group may have, so it comes to an end long before.
const KILL_ROUNDS: usize = 256;

/// Over which time the share of the processors is measured out, in microseconds: the kernel's own choice.
const CPU_PERIOD_US: u64 = 100_000;

/// How many names are tried for a group.
const NAME_TRIES: usize = 64;

/// What the names of groups begin with; the number of who made them follows, and one of their own.
const PREFIX: &str = "airssys-";

/// How long nothing has happened in a group before somebody else removes it.
const ABANDONED: Duration = Duration::from_secs(60);

/// How often that is tried at the end of this process, and after which pauses.
const LAST_TRIES: usize = 20;
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// More than the kernel tells of a group in one file that is read here.
const TOLD_BYTES: usize = 256;

/// Where groups can be made: a directory for each of what counts, or one for all.
#[derive(Clone, Debug)]
struct Parents {
    memory: PathBuf,
    processes: PathBuf,
    /// Where there are such; they are asked for only when somebody needs them.
    cpu: Option<PathBuf>,
    io: Option<PathBuf>,
    unified: bool,
}

/// The groups of one program. They are removed when this is dropped, or soon after.
#[derive(Debug)]
pub(super) struct Group {
    memory: PathBuf,
    processes: PathBuf,
    cpu: Option<PathBuf>,
    io: Option<PathBuf>,
    unified: bool,
    /// What a process writes to in order to be in them, and other files of theirs by their names, where they were opened
    /// before.
    entrances: Vec<OwnedFd>,
    open: Vec<(&'static str, File)>,
}

/// The files of a group.
struct Names {
    memory: &'static str,
    swap: &'static str,
    entrance: &'static str,
    peak: &'static str,
    events: &'static str,
}

const NAMES: Names = Names {
    memory: "memory.max",
    swap: "memory.swap.max",
    entrance: "cgroup.procs",
    peak: "memory.peak",
    events: "memory.events",
};

const NAMES_OF_VERSION_1: Names = Names {
    memory: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    // A thread that moves only itself takes no lock that the whole machine shares; version 1 has a file for that, and the
    // child is one thread.
    entrance: "tasks",
    peak: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
};

/// Of either version.
const PROCESSES: &str = "pids.max";
const REFUSED: &str = "pids.events";

/// Whether groups can be made here, found out by making one.
pub(super) fn available() -> Result<(), Box<str>> {
    Group::make(&Limits::new()).map(drop).map_err(|error| error.to_string().into())
}

impl Group {
    /// Groups with `limits`, for a program with so many processes of ours in it: spare ones, where there are.
    pub(super) fn new(limits: &Limits, ours: u64) -> io::Result<Self> {
        // Few programs share processors and disks.
        let usual = limits.cpu_percent.is_none() && limits.io_weight.is_none();
        if let Some(mut spare) = usual.then(|| GROUPS.take()).flatten()
            // Somebody else may have removed it.
            && spare.limit(limits, ours).is_ok()
            && spare.directories().into_iter().all(|directory| directory.exists())
        {
            return Ok(spare);
        }
        let mut group = Self::make(limits)?;
        group.limit(limits, ours)?;
        Ok(group)
    }

    /// Groups that anything can be limited by, and that have all that is needed open.
    pub(super) fn spare() -> io::Result<Self> {
        let mut group = Self::make(&Limits::new())?;
        group.entrances = group.open_entrances()?;
        let names = group.names();
        let limits =
            [(&group.memory, names.memory), (&group.memory, names.swap), (&group.processes, PROCESSES)];
        let counts =
            [(&group.memory, names.peak), (&group.memory, names.events), (&group.processes, REFUSED)];
        let limits =
            limits.map(|(directory, name)| (name, File::options().write(true).open(directory.join(name))));
        let counts = counts.map(|(directory, name)| (name, File::open(directory.join(name))));
        // What is not there is not needed, or found missing later.
        let open = limits.into_iter().chain(counts).filter_map(|(name, file)| Some((name, file.ok()?)));
        group.open = open.collect();
        Ok(group)
    }

    /// Makes groups without limits, for those that are to come.
    fn make(limits: &Limits) -> io::Result<Self> {
        static PARENTS: OnceLock<Option<Parents>> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let parents = PARENTS.get_or_init(|| {
            let parents = find_parents()?;
            for parent in
                [&parents.memory, &parents.processes].into_iter().chain(&parents.cpu).chain(&parents.io)
            {
                sweep(parent);
            }
            Some(parents)
        });
        let parents = parents.as_ref().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "no control group that counts memory and processes")
        })?;
        for _ in 0..NAME_TRIES {
            // One of this name may have been left behind by another life of our number.
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", getpid().as_raw_nonzero());
            match Self::make_named(parents, &name, limits) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn make_named(parents: &Parents, name: &str, limits: &Limits) -> io::Result<Self> {
        let needed = |parent: &Option<PathBuf>, is_needed: bool, what: &str| match parent {
            _ if !is_needed => Ok(None),
            Some(parent) if !parents.unified || controls(parent, &[what]) => Ok(Some(parent.join(name))),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("no control group bounds {what} here"),
            )),
        };
        let cpu = needed(&parents.cpu, limits.cpu_percent.is_some(), "cpu")?;
        let io = needed(&parents.io, limits.io_weight.is_some(), "io")?;
        fs::create_dir(parents.memory.join(name))?;
        let (memory, processes) = (parents.memory.join(name), parents.processes.join(name));
        let (entrances, open) = (Vec::new(), Vec::new());
        let group = Self { memory, processes, cpu, io, unified: parents.unified, entrances, open };
        group.directories().into_iter().skip(1).try_for_each(fs::create_dir)?;
        Ok(group)
    }

    /// Each of its directories, once; the one that counts memory first.
    fn directories(&self) -> Vec<&PathBuf> {
        let mut directories = vec![&self.memory];
        for directory in [&self.processes].into_iter().chain(&self.cpu).chain(&self.io) {
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        directories
    }

    fn names(&self) -> &'static Names {
        if self.unified { &NAMES } else { &NAMES_OF_VERSION_1 }
    }

    /// The version of control groups that it is of.
    pub(super) fn version(&self) -> u32 {
        if self.unified { 2 } else { 1 }
    }

    fn limit(&mut self, limits: &Limits, ours: u64) -> io::Result<()> {
        if let Some(bytes) = limits.memory_bytes {
            let swap_bytes = if self.unified { 0 } else { bytes };
            self.write(&self.memory, self.names().memory, bytes)?;
            // Where swap is not counted there is no such file, nor, mostly, any swap.
            match self.write(&self.memory, self.names().swap, swap_bytes) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if let Some(count) = limits.processes {
            self.write(&self.processes, PROCESSES, count.saturating_add(ours))?;
        }
        let names = self.names();
        self.open.retain(|(name, _)| [names.peak, names.events, REFUSED].contains(name));
        if let (Some(percent), Some(cpu)) = (limits.cpu_percent, &self.cpu) {
            let quota_us = u64::from(percent).saturating_mul(CPU_PERIOD_US / 100);
            match self.unified {
                true => fs::write(cpu.join("cpu.max"), format!("{quota_us} {CPU_PERIOD_US}"))?,
                false => {
                    fs::write(cpu.join("cpu.cfs_period_us"), CPU_PERIOD_US.to_string())?;
                    fs::write(cpu.join("cpu.cfs_quota_us"), quota_us.to_string())?;
                }
            }
        }
        if let (Some(weight), Some(io)) = (limits.io_weight, &self.io) {
            // Version 1 goes from 10 to 1000, and has a name of its own for the one scheduler that knows weights now.
            let (names, weight) = match self.unified {
                true => (["io.weight", "io.bfq.weight"], weight),
                false => (["blkio.weight", "blkio.bfq.weight"], weight.clamp(10, 1000)),
            };
            let [name, other] = names.map(|name| io.join(name));
            fs::write(name, weight.to_string()).or_else(|_| fs::write(other, weight.to_string()))?;
        }
        Ok(())
    }

    /// Writes to one of its files, which need not be open.
    fn write(&self, directory: &Path, name: &str, number: u64) -> io::Result<()> {
        match self.open.iter().find(|(open, _)| *open == name) {
            Some((_, file)) => (&*file).write_all(number.to_string().as_bytes()),
            None => fs::write(directory.join(name), number.to_string()),
        }
    }

    /// What one of its files says; nothing where it says nothing.
    fn read(&self, directory: &Path, name: &str) -> String {
        match self.open.iter().find(|(open, _)| *open == name) {
            Some((_, file)) => {
                let mut told = [0; TOLD_BYTES];
                let length = file.read_at(&mut told, 0).unwrap_or(0);
                String::from_utf8_lossy(told.get(..length).unwrap_or_default()).into_owned()
            }
            None => fs::read_to_string(directory.join(name)).unwrap_or_default(),
        }
    }

    /// Lends what a process writes to in order to be in the groups, once.
    pub(super) fn entrances(&mut self) -> io::Result<Vec<OwnedFd>> {
        match std::mem::take(&mut self.entrances) {
            open if !open.is_empty() => Ok(open),
            _ => self.open_entrances(),
        }
    }

    fn open_entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let name = self.names().entrance;
        let open = |path: &Path| File::options().write(true).open(path.join(name)).map(OwnedFd::from);
        self.directories().into_iter().map(|directory| open(directory)).collect()
    }

    /// Kills everybody in the group.
    pub(super) fn kill(&self) {
        if self.unified && fs::write(self.processes.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for _ in 0..KILL_ROUNDS {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            for member in members {
                let Ok(pidfd) = pidfd_open(member, PidfdFlags::empty()) else { continue };
                // The number may have become somebody else's before it was opened; from here on it cannot.
                if self.members().contains(&member) {
                    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                }
            }
        }
    }

    fn members(&self) -> Vec<Pid> {
        let members = fs::read_to_string(self.processes.join("cgroup.procs")).unwrap_or_default();
        members.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw).collect()
    }

    /// Adds what the groups counted.
    pub(super) fn finish(&self, usage: &mut Usage, cause: &mut Cause) {
        let names = self.names();
        usage.peak_memory_bytes = self.read(&self.memory, names.peak).trim().parse().ok();
        let events = self.read(&self.memory, names.events);
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let refused = self.read(&self.processes, REFUSED);
        let refused = refused.lines().find_map(|line| line.strip_prefix("max "));
        usage.refused_processes = refused.and_then(|count| count.trim().parse().ok());
        if *cause == Cause::Itself && kills.is_some_and(|kills| kills.trim() != "0") {
            *cause = Cause::OutOfMemory;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut left = left();
        left.extend(self.directories().into_iter().cloned());
        remove(&mut left);
    }
}

/// Groups that nobody needs any more. The kernel may count one who has ended for a moment longer: such a group is removed
/// with the next one.
fn left() -> MutexGuard<'static, Vec<PathBuf>> {
    static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes, at the end of this process, what was counted for a moment longer.
pub(super) fn remove_last() {
    let mut left = left();
    for _ in 0..LAST_TRIES {
        remove(&mut left);
        if left.is_empty() {
            return;
        }
        std::thread::sleep(LAST_PAUSE);
    }
}

fn remove(left: &mut Vec<PathBuf>) {
    left.retain(|group| {
        fs::remove_dir(group).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
    });
}

/// Removes what others of our kind left in `parent` when they were killed. One of them may be where we cannot see it, in a
/// namespace of processes of its own: what is in use cannot be removed, and what is not yet is younger.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let made_by = entry.file_name().to_str().and_then(maker);
        let gone = made_by.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
        let modified = entry.metadata().and_then(|found| found.modified());
        if gone && modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED)) {
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

/// Finds out where we are, and where below groups can be made that count both memory and processes.
fn find_parents() -> Option<Parents> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    if let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::"))
        && let Some(directory) = mounted(&mounts, path, |kind, _| kind == "cgroup2")
        && controls(&directory, &["memory", "pids"])
    {
        let [memory, cpu, io] = [0; 3].map(|_| directory.clone());
        return Some(Parents { memory, processes: directory, cpu: Some(cpu), io: Some(io), unified: true });
    }
    let place = |controller: &str| {
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|known| known == controller).then_some(path)
        })?;
        mounted(&mounts, path, |kind, options| {
            kind == "cgroup" && options.split(',').any(|known| known == controller)
        })
    };
    let (memory, processes, cpu, io) = (place("memory")?, place("pids")?, place("cpu"), place("blkio"));
    Some(Parents { memory, processes, cpu, io, unified: false })
}

/// Whether groups beneath count what is needed; it is asked for where they do not.
fn controls(directory: &Path, needed: &[&str]) -> bool {
    let control = directory.join("cgroup.subtree_control");
    let has = || {
        let controls = fs::read_to_string(&control).unwrap_or_default();
        needed.iter().all(|needed| controls.split_whitespace().any(|known| known == *needed))
    };
    let ask = needed.iter().map(|needed| format!("+{needed}")).collect::<Vec<_>>().join(" ");
    has() || (fs::write(&control, ask).is_ok() && has())
}

/// Where the group `path` is, in the first mount that `fits`.
fn mounted(mounts: &str, path: &str, fits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
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
        Some(Path::new(point).join(beneath))
    })
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
}
