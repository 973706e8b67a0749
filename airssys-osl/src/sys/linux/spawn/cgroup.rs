//! Control groups: what a whole tree of processes may use, by version 2 where that has what is needed, else by version 1.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::process::{Cause, Limits, Usage};

/// How often the members of a group are killed, where some fork faster than they die. No more of them can be made than
/// the group may have, so it comes to an end long before.
const KILL_ROUNDS: usize = 256;

/// Over which time the share of the processors is measured out, in microseconds: the kernel's own choice.
const CPU_PERIOD_US: u64 = 100_000;

/// How many names are tried for a group.
const NAME_TRIES: usize = 64;

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
}

/// Whether groups can be made here, found out by making one.
pub(super) fn available() -> Result<(), Box<str>> {
    Group::new(&Limits::new(), 0).map(drop).map_err(|error| error.to_string().into())
}

impl Group {
    /// Makes groups with `limits`, for a program with so many processes of ours in it.
    pub(super) fn new(limits: &Limits, ours: u64) -> io::Result<Self> {
        static PARENTS: OnceLock<Option<Parents>> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let parents = PARENTS.get_or_init(find_parents).as_ref();
        let parents = parents.ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "no control group that counts memory and processes")
        })?;
        for _ in 0..NAME_TRIES {
            // One of this name may have been left behind by another life of our number.
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("airssys-{}-{number}", getpid().as_raw_nonzero());
            match Self::make(parents, &name, limits) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(group) => {
                    group.limit(limits, ours)?;
                    return Ok(group);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn make(parents: &Parents, name: &str, limits: &Limits) -> io::Result<Self> {
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
        let group = Self { memory, processes, cpu, io, unified: parents.unified };
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

    fn limit(&self, limits: &Limits, ours: u64) -> io::Result<()> {
        if let Some(bytes) = limits.memory_bytes {
            let (most, swap, swap_bytes) = match self.unified {
                true => ("memory.max", "memory.swap.max", 0),
                false => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes),
            };
            fs::write(self.memory.join(most), bytes.to_string())?;
            // Where swap is not counted there is no such file, nor, mostly, any swap.
            match fs::write(self.memory.join(swap), swap_bytes.to_string()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if let Some(count) = limits.processes {
            fs::write(self.processes.join("pids.max"), count.saturating_add(ours).to_string())?;
        }
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

    /// Opens what a process writes to in order to be in the groups.
    pub(super) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        // A thread that moves only itself takes no lock that the whole machine shares; version 1 has a file for that, and
        // the child is one thread.
        let name = if self.unified { "cgroup.procs" } else { "tasks" };
        let open = |path: &Path| fs::OpenOptions::new().write(true).open(path.join(name)).map(OwnedFd::from);
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
        let (peak, events) = match self.unified {
            true => ("memory.peak", "memory.events"),
            false => ("memory.max_usage_in_bytes", "memory.oom_control"),
        };
        let peak = fs::read_to_string(self.memory.join(peak)).ok();
        usage.peak_memory_bytes = peak.and_then(|peak| peak.trim().parse().ok());
        let events = fs::read_to_string(self.memory.join(events)).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let refused = fs::read_to_string(self.processes.join("pids.events")).unwrap_or_default();
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

fn remove(left: &mut Vec<PathBuf>) {
    left.retain(|group| {
        fs::remove_dir(group).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
    });
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
