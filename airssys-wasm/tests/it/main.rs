//! Components as actors, through the public face, with a guest that attacks on demand.

#![expect(clippy::disallowed_methods, reason = "set-up of tests, and looking at what guests left behind")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

mod blobstore;
mod cache;
#[cfg(target_os = "linux")]
mod compiler;
mod compose;
mod crowd;
mod files;
mod forged;
mod health;
mod hostile;
mod http;
mod jobs;
mod keyvalue;
mod load;
mod messages;
mod newer_service;
#[cfg(target_os = "linux")]
mod notes;
#[cfg(target_os = "linux")]
mod process;
mod remains;
#[cfg(target_os = "linux")]
mod resend;
mod service;
mod sockets;
mod talk;
mod text;
mod upgrade;
mod versions;
mod workers;
mod world;
