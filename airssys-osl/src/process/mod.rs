//! Programs of the operating system: which may be started, with what, and what holds them.
//!
//! ```
//! # #[cfg(target_os = "linux")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), airssys_osl::Error> {
//! use std::time::Duration;
//!
//! use airssys_osl::{
//!     Os,
//!     policy::{ExecTerms, Grant, Policy},
//!     process::{Launch, Limits, Stdio},
//!     testing::MemorySink,
//! };
//!
//! let terms = ExecTerms::new().arg("-c").arg("cat /etc/passwd || echo \"$0\"").text().limits(
//!     Limits::new().wall_time(Duration::from_secs(10)).memory_bytes_or_each(64 << 20),
//! );
//! let policy = Policy::builder().principal("tool", [Grant::exec("/bin/sh", terms)]).build()?;
//! let os = Os::new(policy, MemorySink::new());
//!
//! let shell = os.principal("tool")?.exec("/bin/sh").await?;
//! let process = shell.spawn(Launch::new().text("not there").stdout(Stdio::Pipe)).await?;
//! let ended = process.collect().await?;
//! assert_eq!(ended.stdout, b"not there\n");
//! assert!(ended.exit.is_success());
//!
//! let denied = shell.spawn(Launch::new().text("--login")).await.unwrap_err();
//! assert_eq!(denied.rule(), Some("other-arguments"));
//! # Ok(())
//! # }
//! # #[cfg(not(target_os = "linux"))]
//! # fn main() {}
//! ```
//!
//! # How a program comes about
//!
//! 1. A grant names it ([`Grant::exec`](crate::policy::Grant::exec)), with its arguments, variables, directories and limits
//!    ([`ExecTerms`](crate::policy::ExecTerms)). There is no shell in between and no search path.
//! 2. [`Principal::exec`](crate::Principal::exec) opens it, once. What is executed later is that open file.
//! 3. [`Exec::spawn`] decides, chooses the layers that hold it ([`Enforcement`]), records both, and starts it. Where a
//!    layer is missing that is not gone without, or a step of it fails, no program runs.
//! 4. The [`Process`] waits, signals and kills. The program ends with it, and all its children.
//!
//! # What it begins with
//!
//! Its input, output and errors, the files of its arguments, and no other descriptor. The variables of its grant, and no
//! other. A session of its own, no terminal, every signal as by default, umask `077`. No capability, no way to gain any
//! (`no_new_privs`), and the ids of nobody where we are root.
//!
//! # What holds it
//!
//! [`Layers`] of the kernel's making, in [`Profile`]s. What a layer stops, and what passes where it is alone, is in the
//! table of `docs/sandbox.md`, which a test writes. [`host`] tells which can be had on this machine, and why not the
//! others. A program is never held by less than its records say.
//!
//! # What is recorded
//!
//! Opening it (`process.open`), starting it (`process.spawn`, before and after, with its arguments and what holds it), each
//! signal (`process.signal`), and its end (`process.exit`): how, by whom, what it used.
//!
//! # The way out
//!
//! A program whose grant says so ([`ExecTerms::egress`](crate::policy::ExecTerms::egress)) has a network with nothing on it
//! but its own processes, and a proxy of ours: HTTP (`CONNECT`, and URLs) and SOCKS 5 on one port. Each connection through
//! it is one of the principal's ([`net`](crate::net)): the host is looked up here, once, by its name; what no grant permits
//! is answered with 403. That the program uses it is up to the program: it is told by the usual variables, and there is no
//! other way. What a head could mean in two ways is refused, one request is taken of a connection, and nothing of the
//! proxy outlives the program. It does not look into tunnels.
//!
//! # What it asks for
//!
//! A program that is watched ([`ExecTerms::watch`](crate::policy::ExecTerms::watch)) has its calls with paths noted before they are
//! made. [`Asked::wants`] tells which files of the machine it did not find though its user may use them;
//! [`ExecTerms::learn`](crate::policy::ExecTerms::learn) and [`Asked::needs`] tell what a grant of it has to name
//! (`docs/adr/0016-learning-by-watching.md`).
//!
//! # What it does not do
//!
//! It does not protect a program from what it is given: who grants a directory grants what is in it. Where neither
//! [`Layers::PROCESSES`] nor [`Layers::CGROUP`] can be had, a child that leaves its session outlives its program.
//! Directories that a program sees are not counted by quotas. Programs are started one after the other: a file system that does not answer holds up all starts. If we
//! are killed, a program that has its own process namespace is killed as well; without one its
//! children may live on. It is for Linux, 5.14 and later at its best. On macOS and Windows other layers hold a program, and fewer:
//! `docs/adr/0019-other-systems.md`; elsewhere nothing is started.

#[cfg(any(target_os = "linux", target_os = "macos", windows))]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells what a program asks for"))]
mod asked;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod egress;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
mod elsewhere;
pub(crate) mod environment;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod exec;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod exit;
#[cfg(target_os = "linux")]
pub(crate) mod hostile;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod launch;
mod layers;
mod limits;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod means;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod running;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod signal;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod stream;

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
pub(crate) use self::elsewhere::Programs;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
pub(crate) use self::running::Programs;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
pub use self::{
    asked::{Access, Asked, Call, Needs, Want, Was, Wish},
    exec::Exec,
    exit::{Cause, Exit, Status, Usage},
    launch::{Launch, Stdio},
    means::{Means, means},
    running::{Collected, Process},
    signal::Signal,
    stream::{Input, Output},
};
pub use self::{
    layers::{Calls, Enforcement, Host, Layers, Profile},
    limits::Limits,
};

/// The program that runs this code, as a path for [`Grant::exec`](crate::policy::Grant::exec): the very file that was
/// started, whatever its name leads to by now. So a program can start itself for work that is to be held.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// Tells what this machine can enforce. The first call finds it out by trying each layer, in some milliseconds.
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
pub fn host() -> &'static Host {
    crate::sys::host()
}

/// Tells what this machine can enforce: nothing, for there is nothing written for it.
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
pub fn host() -> &'static Host {
    static HOST: std::sync::OnceLock<Host> = std::sync::OnceLock::new();
    let none = |(_, layer): &(_, Layers)| (*layer, Err("nothing is written for this system".into()));
    HOST.get_or_init(|| Host { layers: Layers::NAMES.iter().map(none).collect(), landlock: None })
}
