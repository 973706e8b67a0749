//! What programs can be held to on this machine beside layers, and what they find.

use std::time::Duration;

use super::{Layers, Limits, host};
use crate::{limits::PROGRAM_DESCRIPTORS, sys};

/// What this machine has for programs beside its layers: see [`means`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Means {
    /// Each limit under the name that manifests use, with whether a program can be held to it, or why not.
    pub limits: Vec<(&'static str, Result<(), Box<str>>)>,
    /// The version of the control groups that programs are counted by; `None` where there are none.
    pub cgroup_version: Option<u32>,
    /// Whether the hosts that a program reaches can be granted one by one, through a proxy of ours
    /// ([`ExecTerms::egress`](crate::policy::ExecTerms::egress)).
    pub egress: Result<(), Box<str>>,
    /// Whether a program with every layer finds a `/proc`, and so the files of its arguments
    /// ([`ExecTerms::file`](crate::policy::ExecTerms::file)).
    pub proc: Result<(), Box<str>>,
}

/// Finds out what this machine has for programs, by trying: it takes some milliseconds each time. Shares of processors and disks
/// that nobody has asked for yet are only looked for, as trying would change what others' control groups count.
pub fn means() -> Means {
    let network = host().layers().find(|(layer, _)| *layer == Layers::NETWORK);
    let network = network.map_or(Err("it is not known here"), |(_, state)| state);
    Means {
        limits: limits(),
        cgroup_version: cgroup_version(),
        egress: network.map_err(|why| format!("it takes the layer `network`: {why}").into()),
        proc: proc(),
    }
}

/// One of each kind, by itself.
fn limits() -> Vec<(&'static str, Result<(), Box<str>>)> {
    let new = Limits::new;
    let second = Duration::from_secs(1);
    let limits = [
        ("memory", new().memory_bytes(64 << 20)),
        ("processes", new().processes(64)),
        ("cpu_time", new().cpu_time(second)),
        ("cpu_percent", new().cpu_percent(100)),
        ("io_weight", new().io_weight(100)),
        ("wall_time", new().wall_time(second)),
        ("file", new().file_bytes(1 << 20)),
        ("output", new().output_bytes(1 << 20)),
        ("descriptors", new().descriptors(PROGRAM_DESCRIPTORS - 1)),
        ("temporary", new()),
    ];
    let tried = |(name, limits)| match name {
        "temporary" if !host().available().contains(Layers::MOUNTS) => {
            (name, Err("without the layer `mounts` its `/tmp` is the machine's".into()))
        }
        _ => (name, try_limits(&limits)),
    };
    limits.into_iter().map(tried).collect()
}

#[cfg(target_os = "linux")]
fn try_limits(limits: &Limits) -> Result<(), Box<str>> {
    sys::try_limits(limits)
}

#[cfg(not(target_os = "linux"))]
fn try_limits(limits: &Limits) -> Result<(), Box<str>> {
    sys::unbounded(limits, host().available()).map_or(Ok(()), |(_, why)| Err(why.into()))
}

#[cfg(target_os = "linux")]
fn cgroup_version() -> Option<u32> {
    sys::cgroup_version()
}

#[cfg(not(target_os = "linux"))]
fn cgroup_version() -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
fn proc() -> Result<(), Box<str>> {
    sys::why_no_proc(host().available()).map_or(Ok(()), Err)
}

#[cfg(not(target_os = "linux"))]
fn proc() -> Result<(), Box<str>> {
    Err("this system has none, and no file is an argument there".into())
}
