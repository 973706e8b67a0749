//! Control groups: what a whole tree of processes may use, by version 2 where that has what is needed, else by version 1.

mod places;

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

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use self::places::{PREFIX, Places};
use super::{probe, script::Script, spares::GROUPS};
use crate::process::{Cause, Limits, Usage};

/// How often the members of a group are killed. None can be made any more by then, so it comes to an end long before.
const KILL_ROUNDS: usize = 256;

/// Over which time the share of the processors is measured out, in microseconds: the kernel's own choice.
const CPU_PERIOD_US: u64 = 100_000;

/// How many names are tried for a group.
const NAME_TRIES: usize = 64;

/// How often that is tried at the end of this process, and after which pauses.
const LAST_TRIES: usize = 20;
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// More than the kernel tells of a group in one file that is read here.
const TOLD_BYTES: usize = 256;

/// The groups of one program. They are removed when this is dropped, or soon after.
#[derive(Debug)]
pub(super) struct Group {
    memory: PathBuf,
    processes: PathBuf,
    cpu: Option<PathBuf>,
    io: Option<PathBuf>,
    unified: bool,
    /// How many processes it may have whatever its limits are.
    most_processes: Option<u64>,
    /// What a process writes to in order to be in them, and other files of theirs by their names, where they were opened
    /// before.
    entrances: Vec<OwnedFd>,
    open: Vec<(&'static str, File)>,
    /// How many processes were refused before it was killed, which refuses more.
    refused: OnceLock<Option<u64>>,
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

/// Whether groups can be made and entered here, found out by trying.
pub(super) fn available() -> Result<(), Box<str>> {
    places().as_ref().map(drop).map_err(Clone::clone)
}

/// Whether programs here may have more memory than they are bounded to, as what is swapped out is not counted.
pub(super) fn misses_swap() -> bool {
    // Its first line is a title.
    let has_swap = || fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    places().as_ref().is_ok_and(|places| !places.counts_swap) && has_swap()
}

/// Has groups made with `limits`, but for what is not switched on here yet: of that it only looks whether it can be.
pub(super) fn try_limits(limits: &Limits) -> io::Result<()> {
    let (places, mut limits) = (found()?, limits.clone());
    let is_off = |place: &Option<PathBuf>, what| match place {
        Some(place) if places.unified => places::is_off(place, what),
        _ => Ok(false),
    };
    if limits.cpu_percent.is_some() && is_off(&places.cpu, "cpu")? {
        limits.cpu_percent = None;
    }
    if limits.io_weight.is_some() && is_off(&places.io, "io")? {
        limits.io_weight = None;
    }
    Group::new(&limits, 0).map(drop)
}

fn found() -> io::Result<&'static Places> {
    places().as_ref().map_err(|why| io::Error::new(io::ErrorKind::Unsupported, why.to_string()))
}

/// Where groups are made, found out once.
fn places() -> &'static Result<Places, Box<str>> {
    static PLACES: OnceLock<Result<Places, Box<str>>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let found = places::find()?;
        for place in [&found.memory, &found.processes].into_iter().chain(&found.cpu).chain(&found.io) {
            places::sweep(place);
        }
        Ok(found)
    })
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
        Self::make_in(found()?, limits)
    }

    fn make_in(places: &Places, limits: &Limits) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..NAME_TRIES {
            // One of this name may have been left behind by another life of our number.
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", getpid().as_raw_nonzero());
            match Self::make_named(places, &name, limits) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn make_named(places: &Places, name: &str, limits: &Limits) -> io::Result<Self> {
        let needed = |place: &Option<PathBuf>, is_needed: bool, what: &str| match place {
            _ if !is_needed => Ok(None),
            Some(place) if !places.unified || places::controls(place, &[what]).is_ok() => {
                Ok(Some(place.join(name)))
            }
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("no control group bounds {what} here"),
            )),
        };
        let cpu = needed(&places.cpu, limits.cpu_percent.is_some(), "cpu")?;
        let io = needed(&places.io, limits.io_weight.is_some(), "io")?;
        fs::create_dir(places.memory.join(name))?;
        let (memory, processes) = (places.memory.join(name), places.processes.join(name));
        let (entrances, open) = (Vec::new(), Vec::new());
        let Places { unified, most_processes, .. } = *places;
        let refused = OnceLock::new();
        let group = Self { memory, processes, cpu, io, unified, most_processes, entrances, open, refused };
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
            // Where swap is not counted there is no such file, and whoever needs that it is was refused: see `misses_swap`.
            match self.write(&self.memory, self.names().swap, swap_bytes) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let count = limits.processes.map(|count| count.saturating_add(ours));
        if let Some(count) = count.into_iter().chain(self.most_processes).min() {
            self.write(&self.processes, PROCESSES, count)?;
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
            // One that is not there is not to be made: the kernel would say that it may not be, not that it is missing.
            None => {
                let file = File::options().write(true).open(directory.join(name));
                file?.write_all(number.to_string().as_bytes())
            }
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

    /// Has a child enter it that ends at once: that may be forbidden where making it is not.
    fn try_entering(&self) -> io::Result<()> {
        let mut script = Script::new();
        for entrance in self.open_entrances()? {
            let entrance = script.hold(entrance);
            script.write("enter the control group", entrance, b"0");
        }
        probe::try_script(&script, 0)
    }

    fn counts_swap(&self) -> bool {
        self.memory.join(self.names().swap).exists()
    }

    /// Kills everybody in the group.
    pub(super) fn kill(&self) {
        if self.unified && fs::write(self.processes.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Who forks faster than he is killed forks no more.
        self.refused();
        let _ = fs::write(self.processes.join(PROCESSES), "0");
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

    fn refused(&self) -> Option<u64> {
        *self.refused.get_or_init(|| {
            let events = self.read(&self.processes, REFUSED);
            let count = events.lines().find_map(|line| line.strip_prefix("max "));
            count.and_then(|count| count.trim().parse().ok())
        })
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
        usage.refused_processes = self.refused();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_missing_and_not_made() {
        // As a group is where no swap is counted.
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAMES.memory), "max").unwrap();
        let [memory, processes] = [(); 2].map(|()| directory.path().to_owned());
        let (entrances, open, refused) = (Vec::new(), Vec::new(), OnceLock::new());
        let (cpu, io, most_processes, unified) = (None, None, None, true);
        let mut group =
            Group { memory, processes, cpu, io, unified, most_processes, entrances, open, refused };
        let error = group.write(&group.memory, NAMES.swap, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!group.counts_swap());
        group.limit(&Limits::new().memory_bytes(7), 0).unwrap();
        assert!(fs::read_to_string(directory.path().join(NAMES.memory)).unwrap().starts_with('7'));
    }
}
