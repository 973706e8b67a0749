//! The manifest: one TOML file that says what a system is. Parsed, not validated: what is here is well-formed.
//!
//! Pure: [`Manifest::parse`] takes text and gives a [`Manifest`], or every problem of the text at once. Whether the
//! files that it names exist is for whoever opens them.

mod arguments;
mod audit;
mod component;
mod confine;
mod folders;
mod health;
mod http;
mod job;
mod keyvalue;
mod order;
mod parse;
mod peer;
mod process;
mod reload;
mod rules;
mod section;
mod terms;
#[cfg(test)]
mod tests;
mod tree;
mod units;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use airssys_osl::{
    keyvalue::BucketLimits,
    policy::{Grant, Mode, Rights},
};
use airssys_rt::{Restart, Shutdown, Strategy};

#[cfg(any(target_os = "linux", target_os = "macos", windows))]
pub(crate) use self::arguments::folder;
pub(crate) use self::rules::role_name;
pub use self::{
    audit::{Anchor, AuditSpec, Export, To},
    peer::parse as parse_peer,
};
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
    /// Every program of the machine, in the order of the file.
    pub processes: Vec<ProcessSpec>,
    /// Every bucket of keys and values, in the order of the file.
    pub buckets: Vec<BucketSpec>,
    /// Every role, in the order of the file.
    pub roles: Vec<RoleSpec>,
    /// What is forbidden to every component.
    pub forbid: Vec<Grant>,
    /// What becomes of denials.
    pub mode: Mode,
    /// The directory of what the system leaves behind, absolute: `.airssys` beside the manifest, unless it says so.
    pub state: PathBuf,
    /// What the compilation of one component may use.
    pub compile: CompileLimits,
    /// How large the code cache may be after one of its components was added to it, in bytes.
    pub cache_bytes: u64,
    /// The most linear memory that all instances of all components have together, in bytes. Unbounded unless it is said.
    pub memory_bytes: Option<usize>,
    /// Where the audit log is, and how it is written.
    pub audit: AuditSpec,
    /// Where each rule stands.
    places: Vec<(String, Range<usize>)>,
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
    /// A program of the machine: its place in [`Manifest::processes`].
    Process(usize),
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
    /// What is plugged into it: each takes what it imports from those behind it.
    pub plugs: Vec<PlugSpec>,
    /// Whether it is started again when it ends.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// The most messages that wait for it.
    pub mailbox: usize,
    /// How often a message may crash it before the message goes to the dead letters.
    pub max_deliver: u32,
    /// After how many handled messages and timers its state is kept for the next instance (`on_restart = "snapshot"`).
    /// None where each instance starts anew.
    pub snapshots: Option<Located<u32>>,
    /// Its ceilings.
    pub limits: Limits,
    /// What `init` is called with.
    pub config: Vec<(String, String)>,
    /// What it may do, and what not.
    pub rules: Rules,
    /// The directories that it finds when it starts: its own, then those of its roles.
    pub directories: Vec<FsGrant>,
    /// Whom it trusts over TLS: as its own grants say, then those of its roles.
    pub trust: Vec<Trust>,
    /// Where it answers requests over HTTP; an actor does not.
    pub http: Option<HttpSpec>,
    /// How many messages it handles at a time, each by a fresh instance; one after the other by one instance where it is not said.
    pub workers: Option<usize>,
    /// With what it is run from its start to its end, where it is a job.
    pub job: Option<JobSpec>,
    /// How it is asked whether it is well; not at all, unless set.
    pub health: Option<HealthSpec>,
}

/// `component.NAME.plug`: a component whose exports are another one's imports.
#[derive(Clone, Debug)]
pub struct PlugSpec {
    /// The file of the component, absolute.
    pub source: Located<PathBuf>,
    /// What the file's bytes must be.
    pub digest: Option<Located<Digest>>,
}

/// `[process.NAME]`: a program of the machine.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// Its name: what messages are addressed to.
    pub name: String,
    /// The file of the program, absolute.
    pub program: Located<PathBuf>,
    /// What it is called with.
    pub arguments: Vec<Argument>,
    /// Whether it is started again when it ends.
    pub restart: Restart,
    /// How long it has to stop, all in all.
    pub shutdown: Duration,
    /// The shortest and the longest wait for a restart; none is waited where it is not said.
    pub backoff: Option<(Duration, Duration)>,
    /// How what it says and is told is divided into messages.
    pub framing: Framing,
    /// Which component gets what it says; where nobody does, that is logged.
    pub send_to: Option<Located<String>>,
    /// What the messages to that component are about.
    pub subject: String,
    /// The most messages that wait for it.
    pub mailbox: usize,
    /// The longest message to it, and from it, in bytes.
    pub frame_bytes: usize,
    /// The program with its terms, and to whom it may send.
    pub grants: Vec<Grant>,
}

/// One argument of a program.
#[derive(Clone, Debug)]
pub enum Argument {
    /// A word.
    Word(String),
    /// A file, absolute, which is handed over open.
    File(Located<PathBuf>),
    /// A folder that the program sees, and what is called beneath it.
    Path(PathBuf, String),
}

/// How a program's output and input are divided into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Lines.
    #[default]
    Lines,
    /// Lines of which each is one JSON text.
    JsonLines,
    /// Netstrings.
    Netstring,
    /// A length of one byte before each message.
    Packet1,
    /// A length of two bytes before each message, the highest first.
    Packet2,
    /// A length of four bytes before each message, the highest first.
    Packet4,
}

/// `limits = { … }`: the ceilings over one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most linear memory, in bytes. Wanting more is a trap.
    pub memory_bytes: usize,
    /// The most elements of all tables of an instance. Wanting more is a trap.
    pub table_elements: usize,
    /// How much of one processor all its instances may use together, in hundredths. Unbounded unless it is said.
    pub cpu_percent: Option<u32>,
    /// The longest that the guest may run for one message; time in which it waits does not count.
    pub deadline: Option<Duration>,
    /// The largest payload that it takes, in bytes.
    pub payload_bytes: usize,
    /// The largest state that it hands on, in bytes.
    pub snapshot_bytes: usize,
    /// What the guest may compute for one message, in units of about one instruction. Unbounded unless it is said.
    pub fuel: Option<u32>,
    /// The most calls of the guest to its host for one message. Unbounded unless it is said.
    pub host_calls: Option<u32>,
    /// The most handles that an instance holds open: files, streams, requests and the like.
    pub handles: usize,
    /// What it may do at a time over HTTP, as client and as server.
    pub http: HttpLimits,
}

/// The most bytes that a guest may hand its host in one call, where its memory may have as many: the answer to a message, say,
/// or its state. The same bytes can be handed many times over, as elements of a list, and each would be copied.
pub(crate) const HANDED_BYTES: usize = 128 << 20;

/// The most elements of all tables of an instance that there can be: the pool has room for so many.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: TABLE_ELEMENTS,
            cpu_percent: None,
            deadline: Some(Duration::from_secs(1)),
            payload_bytes: 1 << 20,
            snapshot_bytes: 8 << 20,
            fuel: None,
            host_calls: None,
            handles: 4096,
            http: HttpLimits::default(),
        }
    }
}

/// `limits.http`: the bounds of one request over HTTP, whoever asks whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The longest body of a request or an answer, in bytes.
    pub body_bytes: u64,
    /// The most bytes of all headers of one. A server's answer has 8 KiB at least.
    pub header_bytes: usize,
    /// The longest time to connect, to the head of the answer, and between two pieces of its body.
    pub timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { body_bytes: 16 << 20, header_bytes: 64 << 10, timeout: Duration::from_secs(30) }
    }
}

/// `system.compile`: what the compilation of one component may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// From the start of its process to its end.
    pub time: Duration,
    /// All of its memory, in bytes.
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    /// Several times what the largest components of interpreted languages take.
    fn default() -> Self {
        Self { time: Duration::from_secs(120), memory_bytes: 2 << 30 }
    }
}

/// `[component.NAME.http]`: a component that answers requests over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSpec {
    /// Where it listens. Of several with the same address and port, the first of the file listens for all of them.
    pub listen: SocketAddr,
    /// Which requests it gets.
    pub route: HttpRoute,
    /// The most requests that are handled at once, each by an instance of its own; more wait.
    pub requests: usize,
    /// The longest time from a request's head to its answer's, waiting included.
    pub timeout: Duration,
}

/// `[component.NAME.job]`: a component that is run from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// What it is called with, behind its own name.
    pub arguments: Vec<String>,
    /// Its environment variables, beside those that it is granted.
    pub variables: Vec<(String, String)>,
    /// How long it may take, waiting included.
    pub timeout: Option<Duration>,
    /// When what starts behind it does.
    pub ready: JobReady,
}

/// When a job is ready, so that what starts behind it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobReady {
    /// As soon as it was started.
    #[default]
    Started,
    /// When it has ended well.
    Done,
}

/// Which of the requests that come in at one address are for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Only those for this host, in lower case; those for any, where none is said.
    pub host: Option<String>,
    /// Only those whose path begins so, with whole segments. It has no slash at its end: the empty one is any path.
    pub path: String,
}

impl HttpRoute {
    /// Whether a request is for it.
    pub(crate) fn takes(&self, host: &str, path: &str) -> bool {
        let is_beneath = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host))
            && (self.path.is_empty() || path.strip_prefix(self.path.as_str()).is_some_and(is_beneath))
    }

    /// Of several that take a request, the one with the most of this gets it: one for its host, then the longest path.
    pub(crate) fn weight(&self) -> (bool, usize) {
        (self.host.is_some(), self.path.len())
    }
}

/// `[component.NAME.health]`: how a component is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// How long after an answer it is asked again.
    pub every: Duration,
    /// How long an answer may take, waiting in the mailbox included.
    pub timeout: Duration,
    /// How many questions in a row may go without a good answer; the last of them ends it.
    pub failures: u32,
    /// How long it may take to be well for the first time.
    pub start: Duration,
    /// The subject of the message to an actor, or the path of the request to a service.
    pub question: String,
}

/// Whose certificates a component trusts when it connects over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The roots of the web.
    Web,
    /// Those in a file of the PEM format, by its absolute path.
    File(PathBuf),
}

/// What a component, or whoever has a role, may do and may not. What is absent is denied.
///
/// Each grant carries the place in the manifest that says so, such as `component.reader.grants.fs[0]`, as its rule.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Directories that it may use.
    pub fs: Vec<FsGrant>,
    /// All else that is granted, limits and roles among it.
    pub permits: Vec<Grant>,
    /// What is forbidden, whatever permits it.
    pub forbids: Vec<Grant>,
}

/// `[keyvalue.NAME]`: a bucket of keys and values, in memory as long as the system runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSpec {
    /// Its name: what it is opened by.
    pub name: String,
    /// What it may hold.
    pub limits: BucketLimits,
}

/// `[role.NAME]`: rules that components and other roles get by its name.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    /// Its name.
    pub name: String,
    /// Its rules.
    pub rules: Rules,
}

/// One directory that a component may use.
#[derive(Clone, Debug)]
pub struct FsGrant {
    /// The directory, absolute.
    pub path: Located<PathBuf>,
    /// What the component calls it; none of what its containers of objects are in, which it has no other way into.
    pub guest: Option<String>,
    /// What it may do there. Nothing where that is still to be learned.
    pub rights: Rights,
    /// The place in the manifest, such as `component.reader.grants.fs[0]`.
    pub rule: String,
    /// The same for the policy, terms and conditions included; none where it has no rights.
    pub grant: Option<Grant>,
}

/// What the user said on the command line: values of `[vars]`, and the mode.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The values, by name.
    pub values: BTreeMap<String, String>,
    /// What a relative path among them is relative to.
    pub base: PathBuf,
    /// What becomes of denials, in place of what the manifest says.
    pub mode: Option<Mode>,
}

/// Reads a duration as a manifest writes it: a whole number and `ms`, `s`, `m`, `h` or `d`.
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

    /// How many components are actors of one instance, which is there all the while: for
    /// [`Engine::holding`](crate::Engine::holding).
    pub fn actors(&self) -> usize {
        let is_actor =
            |spec: &&ComponentSpec| spec.http.is_none() && spec.job.is_none() && spec.workers.is_none();
        self.components.iter().filter(is_actor).count()
    }

    /// Where in the text a rule stands that a record names, such as `component.reader.grants.fs[0]: lacks write`.
    pub fn place(&self, rule: &str) -> Option<Range<usize>> {
        let name = rule.split(": ").next().unwrap_or(rule);
        self.places.iter().find(|(known, _)| known == name).map(|(_, span)| span.clone())
    }
}
