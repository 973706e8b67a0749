//! The program as a user runs it: arguments in; stdout, stderr, exit code and files out.

#![expect(
    clippy::disallowed_methods,
    reason = "set-up of tests, and looking at what the program left behind"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

mod audit;
mod calls;
mod command;
mod compile;
#[cfg(target_os = "linux")]
mod compose;
mod count;
#[cfg(target_os = "linux")]
mod dead;
mod export;
mod jobs;
mod kill;
#[cfg(target_os = "linux")]
mod learn;
mod limits;
mod logwatch;
mod manifest;
mod new;
mod policy;
mod preview1;
mod preview1_edges;
mod preview2;
mod preview2_files;
mod preview2_http;
mod preview2_sockets;
mod preview2_stores;
#[cfg(unix)]
mod preview3;
#[cfg(unix)]
mod preview3_http;
#[cfg(unix)]
mod preview3_served;
#[cfg(unix)]
mod preview3_sockets;
#[cfg(target_os = "linux")]
mod process;
mod program;
#[cfg(target_os = "linux")]
mod sandbox;
mod script;
mod served;
mod status;
mod transcript;
mod upgrade;
