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

/// How many names are tried for a group.
const NAME_TRIES: usize = 64;

/// Where groups can be made: a directory for each of what counts, or one for all.
#[derive(Clone, Debug)]
struct Parents {
    memory: PathBuf,
    processes: PathBuf,
    unified: bool,
}

/// The groups of one program. They are removed when this is dropped, or soon after.
#[derive(Debug)]
pub(super) struct Group {
    memory: PathBuf,
    processes: PathBuf,
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
            match Self::make(parents, &name) {
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

    fn make(parents: &Parents, name: &str) -> io::Result<Self> {
        fs::create_dir(parents.memory.join(name))?;
        let group = Self {
            memory: parents.memory.join(name),
            processes: parents.processes.join(name),
            unified: parents.unified,
        };
        if !group.unified {
            fs::create_dir(&group.processes)?;
        }
        Ok(group)
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
        Ok(())
    }

    /// Opens what a process writes to in order to be in the groups.
    pub(super) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        // A thread that moves only itself takes no lock that the whole machine shares; version 1 has a file for that, and
        // the child is one thread.
        let name = if self.unified { "cgroup.procs" } else { "tasks" };
        let open = |path: &Path| fs::OpenOptions::new().write(true).open(path.join(name)).map(OwnedFd::from);
        let mut entrances = vec![open(&self.memory)?];
        if !self.unified {
            entrances.push(open(&self.processes)?);
        }
        Ok(entrances)
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
        if *cause == Cause::Itself && kills.is_some_and(|kills| kills.trim() != "0") {
            *cause = Cause::OutOfMemory;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut left = left();
        left.push(self.memory.clone());
        if !self.unified {
            left.push(self.processes.clone());
        }
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
        && controls(&directory)
    {
        return Some(Parents { memory: directory.clone(), processes: directory, unified: true });
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
    Some(Parents { memory: place("memory")?, processes: place("pids")?, unified: false })
}

/// Whether groups beneath count what is needed; it is asked for where they do not.
fn controls(directory: &Path) -> bool {
    let has = || {
        let controls = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
        ["memory", "pids"].iter().all(|needed| controls.split_whitespace().any(|known| known == *needed))
    };
    has() || (fs::write(directory.join("cgroup.subtree_control"), "+memory +pids").is_ok() && has())
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
