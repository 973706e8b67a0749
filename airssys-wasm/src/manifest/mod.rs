//! The manifest: one TOML file that says what a system is. Parsed, not validated: what is here is well-formed.
//!
//! Pure: [`Manifest::parse`] takes text and gives a [`Manifest`], or every problem of the text at once. Whether the
//! files that it names exist is for whoever opens them.

mod parse;
mod section;
#[cfg(test)]
mod tests;
mod tree;
mod units;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use airssys_osl::policy::Rights;
use airssys_rt::{Restart, Shutdown, Strategy};

use crate::component::Digest;

/// A value, and where in the manifest's text it stands (in bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// What was said.
    pub value: T,
    /// Where it was said.
    pub span: Range<usize>,
}

/// A whole system, as its manifest says.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The system's name.
    pub name: String,
    /// The supervisor of everything: named after the system.
    pub root: SupervisorSpec,
    /// Every component, in the order of the file.
    pub components: Vec<ComponentSpec>,
    /// The directory of what the system leaves behind, absolute: `.airssys` beside the manifest, unless it says so.
    pub state: PathBuf,
    /// Where the audit log is.
    pub audit: AuditSpec,
}

/// `[supervisor.NAME]`, or `[system]` for the root.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    /// Its name.
    pub name: String,
    /// Which children are restarted with one that failed.
    pub strategy: Strategy,
    /// The most restarts within `period`; one more and the supervisor gives up.
    pub intensity: u32,
    /// The time over which restarts are counted.
    pub period: Duration,
    /// Its children, in start order. They stop in the reverse order.
    pub children: Vec<Child>,
}

/// A child of a supervisor.
#[derive(Clone, Debug)]
pub enum Child {
    /// Another supervisor.
    Supervisor(SupervisorSpec),
    /// A component: its place in [`Manifest::components`].
    Component(usize),
}

/// `[component.NAME]`.
#[derive(Clone, Debug)]
pub struct ComponentSpec {
    /// Its name: what messages are addressed to.
    pub name: String,
    /// The file of the component, absolute.
    pub source: Located<PathBuf>,
    /// What the file's bytes must be.
    pub digest: Option<Located<Digest>>,
    /// Whether it is started again when it ends.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// The most messages that wait for it.
    pub mailbox: usize,
    /// How often a message may crash it before the message goes to the dead letters.
    pub max_deliver: u32,
    /// Its ceilings.
    pub limits: Limits,
    /// What `init` is called with.
    pub config: Vec<(String, String)>,
    /// What it may do.
    pub grants: Grants,
}

/// `limits = { … }`: the ceilings over one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most linear memory, in bytes. Wanting more is a trap.
    pub memory_bytes: usize,
    /// The longest that the guest may run for one message; time in which it waits does not count.
    pub deadline: Option<Duration>,
    /// The largest payload that it takes, in bytes.
    pub payload_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, deadline: Some(Duration::from_secs(1)), payload_bytes: 1 << 20 }
    }
}

/// `grants = { … }`: all that a component may do. What is absent is denied.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Directories.
    pub fs: Vec<FsGrant>,
    /// Components that it may send to, each with the place in the manifest that says so.
    pub send: Vec<(String, String)>,
    /// Environment variables that it may read, each with the place in the manifest that says so.
    pub env: Vec<(String, String)>,
}

/// One directory that a component may use.
#[derive(Clone, Debug)]
pub struct FsGrant {
    /// The directory, absolute.
    pub path: Located<PathBuf>,
    /// What the component calls it.
    pub guest: String,
    /// What it may do there.
    pub rights: Rights,
    /// The place in the manifest, such as `component.reader.grants.fs[0]`.
    pub rule: String,
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct AuditSpec {
    /// The directory of the log, absolute.
    pub dir: PathBuf,
}

/// Values of `[vars]` that the user gave on the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The values, by name.
    pub values: BTreeMap<String, String>,
    /// What a relative path among them is relative to.
    pub base: PathBuf,
}

/// Reads a duration as a manifest writes it: a whole number and `ms`, `s`, `m` or `h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    units::duration(text)
}

/// Reads a size as a manifest writes it: a whole number and `B`, `KiB`, `MiB` or `GiB`.
pub fn parse_size(text: &str) -> Option<usize> {
    units::size(text)
}

/// Something in a manifest that its author must change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Manifest {
    /// Reads a manifest. `dir` is the absolute path of the directory that holds it: relative paths start there.
    ///
    /// # Errors
    ///
    /// Every problem of the text, in its order.
    pub fn parse(text: &str, dir: &Path, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        parse::manifest(text, dir, overrides)
    }
}
