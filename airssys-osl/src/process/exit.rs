//! How a program ended.

use std::{fmt, time::Duration};

/// How a program ended, why, and what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exit {
    /// How it ended.
    pub status: Status,
    /// Who ended it.
    pub cause: Cause,
    /// What it used, with all its children that were waited for.
    pub usage: Usage,
}

/// What a program's parent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It ended with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Who ended a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Itself, or a signal that was not the door's.
    Itself,
    /// [`Process::kill`](super::Process::kill) or [`Process::stop`](super::Process::stop).
    Killed,
    /// Its handle was dropped.
    Dropped,
    /// Its principal was revoked, or a new policy does not permit it.
    Revoked,
    /// It ran for longer than it may.
    WallTime,
    /// It computed for longer than it may.
    CpuTime,
    /// It wrote a longer file than it may.
    FileSize,
    /// It wrote more than is taken from it.
    OutputLimit,
    /// It, or one of its children, needed more memory than it may have.
    OutOfMemory,
}

/// What a program used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How long it computed by itself.
    pub user_time: Duration,
    /// How long the kernel computed for it.
    pub system_time: Duration,
    /// The most memory that the whole tree had at a time, where it had a control group to be counted in.
    pub peak_memory_bytes: Option<u64>,
    /// From its start to its end.
    pub wall_time: Duration,
    /// How much was read for it from disks, and not from memory, as far as the system tells.
    pub read_bytes: Option<u64>,
    /// How much it wrote that goes to disks, as far as the system tells.
    pub written_bytes: Option<u64>,
    /// How often it could not start a process because there were as many as it may have, where it had a control group.
    pub refused_processes: Option<u64>,
}

impl Exit {
    /// Whether it ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        self.status == Status::Code(0) && self.cause == Cause::Itself
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { user_time, system_time, peak_memory_bytes, wall_time, refused_processes, .. } =
            self.usage;
        match self.status {
            Status::Code(code) => write!(f, "code {code}")?,
            Status::Signal(signal) => write!(f, "signal {signal}")?,
        }
        write!(f, " by {}; ", self.cause)?;
        let [user, system, wall] = [user_time, system_time, wall_time].map(|time| time.as_micros());
        write!(f, "user {user} us, system {system} us, wall {wall} us")?;
        peak_memory_bytes.map_or(Ok(()), |bytes| write!(f, ", peak {bytes} bytes"))?;
        for (what, bytes) in [("read", self.usage.read_bytes), ("wrote", self.usage.written_bytes)] {
            bytes.map_or(Ok(()), |bytes| write!(f, ", {what} {bytes} bytes"))?;
        }
        let refused = refused_processes.filter(|count| *count > 0);
        refused.map_or(Ok(()), |count| write!(f, ", {count} processes refused"))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Itself => "itself",
            Self::Killed => "kill",
            Self::Dropped => "drop",
            Self::Revoked => "revocation",
            Self::WallTime => "wall time",
            Self::CpuTime => "cpu time",
            Self::FileSize => "file size",
            Self::OutputLimit => "output limit",
            Self::OutOfMemory => "memory limit",
        })
    }
}
