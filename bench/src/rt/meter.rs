//! What a workload cost, seen from inside of its process. Needs Linux's `/proc`.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::Failure;

/// What a workload cost. Displayed as the line that `cargo xtask bench rt` reads:
/// `R OPERATIONS WALL_NS CPU_NS BYTES`.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// How many operations there were.
    pub operations: u64,
    /// How long they took.
    pub wall: Duration,
    /// The time that the process's threads computed for them, together.
    pub cpu: Duration,
    /// What memory came to, in a workload that is about memory.
    pub bytes: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, wall, cpu, bytes } = self;
        write!(f, "R {operations} {} {} {bytes}", wall.as_nanos(), cpu.as_nanos())
    }
}

/// A running measurement.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts to measure.
    pub fn start() -> Self {
        Self { cpu: cpu(), started: Instant::now() }
    }

    /// How long it has been measuring.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the measurement of so many operations.
    pub fn stop(self, operations: u64) -> Measured {
        let wall = self.elapsed();
        Measured { operations, wall, cpu: cpu().saturating_sub(self.cpu), bytes: 0 }
    }
}

/// The processor time of this process's threads.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is ever negative; the kernel's types are signed.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The memory of this process, as `/proc/self/status` has it: `VmRSS` is what is resident now, `VmHWM` the most that
/// was at a time.
///
/// # Errors
///
/// There is no `/proc`, or it has no such figure.
pub fn memory_bytes(key: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let figure = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kibibytes = figure.and_then(|figure| figure.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.ok_or_else(|| format!("/proc/self/status has no {key}"))?.parse()?;
    Ok(kibibytes * 1024)
}
