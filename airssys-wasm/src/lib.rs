//! WebAssembly components as supervised actors, every access of theirs to the operating system mediated.
//!
//! A component gets a mailbox, a place in a supervision tree and a principal. It is called for one message at a time;
//! when it traps, its supervisor starts a new instance, which goes on with the same mailbox. One that answers requests over
//! HTTP has no mailbox, and a fresh instance for each of them; a job is run from its start to its end. Whatever it imports from
//! WASI is an operation of [`airssys_osl`]: decided by policy, executed safely, left in the audit log.
//!
//! # Concepts
//!
//! * [`Engine`]: compiles and runs; one for a program.
//! * [`Component`]: compiled code, from bytes or from the [`Cache`].
//! * `Compiler`: has untrusted bytes compiled in bounded processes of their own; on Linux. Without one, an [`Engine`]
//!   compiles in the program itself.
//! * [`Manifest`](manifest::Manifest): what a system is and what each component may do.
//! * [`System`]: a running tree of supervisors and components, whose code can be changed while it runs.
//! * [`Watch`]: is told what happens.
//! * [`Command`]: a program that runs once, without any of the above: a `wasi:cli/run` component, or a module of WASI
//!   0.1.
//!
//! # What it does not do
//!
//! It reads no file of its own accord: components, cache and guests' files all come through handles of the door. Of WASI
//! 0.3 it runs programs and jobs, without sockets and HTTP.

mod actor;
mod cache;
mod command;
#[cfg(target_os = "linux")]
mod compiler;
mod component;
mod compose;
mod engine;
mod error;
mod grant;
mod host;
mod instance;
mod invoke;
mod job;
mod lineage;
mod load;
pub mod manifest;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod process;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
#[path = "process_elsewhere.rs"]
mod process;
mod record;
mod releases;
mod service;
mod share;
mod system;
mod trap;
mod wasi;
mod watch;

pub use actor::{Handover, Health};
pub use cache::{Cache, CacheUsage};
pub use command::{Command, CommandDir, CommandOptions, Ended, Invocation};
#[cfg(target_os = "linux")]
pub use compiler::{COMPILING, Compiler, Refusal, precompile};
pub use component::{COMPONENT_BYTES, Component, Digest, InvalidDigest, Origin};
pub use engine::Engine;
pub use error::{Error, ErrorKind};
pub use grant::{add_principals, grant_command, principal_name, process_principal_name};
pub use lineage::{Change, Switched, Version};
pub use load::{LoadError, load, load_grants};
pub use releases::Canary;
pub use system::{Resend, Status, System};
pub use trap::{Trap, TrapKind};
pub use watch::{DeadLetter, Event, Watch};
