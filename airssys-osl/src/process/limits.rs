//! What a program may use.

use std::time::Duration;

use crate::limits::{PROGRAM_DESCRIPTORS, PROGRAM_OUTPUT_BYTES, PROGRAM_TEMPORARY_BYTES};

/// How much of the machine a program may use. What is not said has no bound, except where it says so.
///
/// ```
/// use std::time::Duration;
///
/// use airssys_osl::process::Limits;
///
/// let limits = Limits::new().wall_time(Duration::from_secs(10)).memory_bytes(256 << 20).output_bytes(1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) memory_bytes: Option<u64>,
    /// Where nothing counts the memory of all processes, that of each is bounded.
    pub(crate) memory_of_each: bool,
    pub(crate) processes: Option<u64>,
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) wall_time: Option<Duration>,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) descriptors: u64,
    pub(crate) output_bytes: u64,
    pub(crate) temporary_bytes: u64,
    pub(crate) cpu_percent: Option<u32>,
    pub(crate) io_weight: Option<u16>,
}

impl Limits {
    /// Starts with no bounds but those that always hold.
    pub fn new() -> Self {
        Self {
            memory_bytes: None,
            memory_of_each: false,
            processes: None,
            cpu_time: None,
            wall_time: None,
            file_bytes: None,
            descriptors: PROGRAM_DESCRIPTORS,
            output_bytes: PROGRAM_OUTPUT_BYTES,
            temporary_bytes: PROGRAM_TEMPORARY_BYTES,
            cpu_percent: None,
            io_weight: None,
        }
    }

    /// Bounds the memory of the whole tree, with its files in memory and without swap beyond it. That needs a control group
    /// ([`Layers::CGROUP`](super::Layers)), or a job on Windows, and that what is swapped out is counted, where there is
    /// swap: without, the program is not started.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        (self.memory_bytes, self.memory_of_each) = (Some(bytes), false);
        self
    }

    /// Bounds memory as [`memory_bytes`](Self::memory_bytes) does; but on Linux without a control group, or with one that
    /// misses what is swapped out where there is swap, bounds the data of each process, as many as they are, and its records say so. A process is then refused more memory, where a tree with a
    /// group is ended.
    pub fn memory_bytes_or_each(mut self, bytes: u64) -> Self {
        (self.memory_bytes, self.memory_of_each) = (Some(bytes), true);
        self
    }

    /// Bounds how many processes and threads there are at a time. That needs a control group
    /// ([`Layers::CGROUP`](super::Layers)), or a user namespace, which programs of others than root's have with any other
    /// namespace: without both, the program is not started.
    pub fn processes(mut self, count: u64) -> Self {
        self.processes = Some(count);
        self
    }

    /// Bounds the time that each process computes, in whole seconds, rounded up; the kernel ends it with `SIGXCPU`.
    /// On macOS a program may ignore that; on Windows time in the kernel is not counted.
    pub fn cpu_time(mut self, time: Duration) -> Self {
        self.cpu_time = Some(time);
        self
    }

    /// Bounds the time from start to end; then the program is killed with all its children.
    pub fn wall_time(mut self, time: Duration) -> Self {
        self.wall_time = Some(time);
        self
    }

    /// Bounds the length of each file that it writes; the kernel ends the writer with `SIGXFSZ`.
    pub fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = Some(bytes);
        self
    }

    /// Bounds how many descriptors each process has open, in place of [`PROGRAM_DESCRIPTORS`]. On Windows
    /// nothing counts them: with any other number the program is not started.
    pub fn descriptors(mut self, count: u64) -> Self {
        self.descriptors = count;
        self
    }

    /// Bounds what is read from its output and its errors together, in place of [`PROGRAM_OUTPUT_BYTES`]; a program that
    /// writes more is killed.
    pub fn output_bytes(mut self, bytes: u64) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Bounds how much of the processors the whole tree has at a time, in hundredths of one: 150 is one and a half. It needs
    /// a control group ([`Layers::CGROUP`](super::Layers)) with a controller of processors: without, the program is not
    /// started.
    pub fn cpu_percent(mut self, percent: u32) -> Self {
        self.cpu_percent = Some(percent.max(1));
        self
    }

    /// Weighs the tree against others where a disk is busy: from 1 to 10,000, others have 100. It needs a control group as
    /// [`cpu_percent`](Self::cpu_percent) does, and a scheduler of disks that knows weights.
    pub fn io_weight(mut self, weight: u16) -> Self {
        self.io_weight = Some(weight.clamp(1, 10_000));
        self
    }

    /// Bounds what it keeps in its own `/tmp`, which is in memory, in place of [`PROGRAM_TEMPORARY_BYTES`].
    pub fn temporary_bytes(mut self, bytes: u64) -> Self {
        self.temporary_bytes = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
