//! The only door to the operating system: every access is decided by a policy, and leaves a record.
//!
//! ```
//! use airssys_osl::{Os, policy::{Grant, Policy, Rights}, testing::MemorySink};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let inbox = tempfile::tempdir()?;
//! # let inbox = inbox.path();
//! # std::fs::write(inbox.join("access.log"), "GET /")?;
//! let inbox_grant = Grant::fs(inbox, Rights::READ | Rights::LIST).rule("component.reader.grants.fs[0]");
//! let policy = Policy::builder().principal("reader", [inbox_grant]).build()?;
//! let records = MemorySink::new();
//! let os = Os::new(policy, records.clone());
//!
//! let dir = os.principal("reader")?.dir(inbox).await?;
//! assert_eq!(dir.read("access.log", 1024).await?, b"GET /");
//!
//! let denied = dir.read("../../etc/passwd", 1024).await.unwrap_err();
//! assert_eq!(denied.rule(), Some("beneath-root"));
//! let denied = dir.remove_file("access.log").await.unwrap_err();
//! assert_eq!(denied.rule(), Some("component.reader.grants.fs[0]: lacks delete"));
//! assert_eq!(records.take().len(), 4);
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! * [`Policy`](policy::Policy): who may do what. Pure and compiled; what is not granted is denied.
//! * [`Os`]: the door: a policy, and a sink for records.
//! * [`Principal`]: someone who acts. The host mints it; it cannot be forged, and it ends when it is revoked.
//! * [`Dir`](fs::Dir), [`File`](fs::File), [`Clock`](clock::Clock), [`Random`](random::Random): handles, which a
//!   principal acquires. Each use is decided again, and narrower is the only other thing that a handle can become.
//! * [`TcpConnector`](net::TcpConnector), [`Listener`](net::Listener), [`UdpSocket`](net::UdpSocket) and the UNIX
//!   sockets of [`net`]: the network, decided address by address.
//! * [`Bucket`](keyvalue::Bucket): keys and values in memory, which principals share.
//! * [`system`]: what the machine is and how it fares, a grant for each aspect.
//! * [`Exec`](process::Exec), [`Process`](process::Process): programs, each held by layers of the kernel's making.
//! * [`Sink`](audit::Sink), [`Log`](audit::Log): where records go. What changes something is recorded before it is
//!   done, and refused where that cannot be.
//! * [`trace`]: which request the operations belong to, so that one query finds all that it led to.
//! * [`Action`], [`Verdict`]: the words of records and rules.
//! * [`Error`]: why something was not done, and by which rule.
//!
//! # Features
//!
//! * `tls`: TLS clients and servers over what [`net`] connects, by rustls; whom they trust is a grant.
//!
//! Operations that may wait need the tokio runtime that they are called in, those on the network one with I/O and time.
//!
//! # What it does not do
//!
//! It does not confine the program that it is linked into: code that calls the operating system itself goes past it.
//! For guests in WebAssembly there is no such way; for the rest of this workspace a lint closes it. It is made for Linux,
//! 5.12 and later at its best. Elsewhere files go through `cap-std`: slower, and what that cannot hold to is refused as
//! [`Unsupported`](ErrorKind::Unsupported), such as carve-outs, quotas and watching; programs are held by less, as
//! `docs/sandbox.md` tells, and nothing is started on what is neither Linux nor macOS nor Windows.

pub mod audit;
pub mod bootstrap;
pub mod clock;
mod env;
mod error;
pub mod fs;
pub mod keyvalue;
pub mod limits;
pub mod net;
mod os;
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only an implementation takes paths apart"))]
mod path;
pub mod policy;
pub mod process;
pub mod random;
mod request;
mod sys;
pub mod system;
pub mod testing;
pub mod trace;

pub use error::{Error, ErrorKind};
pub use os::{Incident, Milestone, Os, OsBuilder, Principal};
pub use request::{Action, Verdict};
pub use sys::Resolution;

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
