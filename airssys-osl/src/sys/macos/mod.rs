//! macOS: what starts programs and holds them. Files and clocks are those of [`portable`](super::portable).
//!
//! | file | does |
//! |---|---|
//! | `seatbelt` | the profile of a program, made of its grant; pure |
//! | `launch` | the words that start it; pure |
//! | `raw` | the calls that start one and take it away, and all unsafe code |
//! | `child` | waits for its end, and kills it |
//! | `spawn` | from a plan to a child |
//!
//! Nothing of it but `seatbelt` is macOS's alone: on Linux its tests start programs by it, without a profile.

mod child;
mod launch;
mod raw;
mod seatbelt;
mod spawn;

pub(crate) use self::{
    child::{Child, Killer},
    spawn::{
        BY_PATH, Notes, Place, RESOLVER, START, SYSTEM, dynamic_user, everything, host, nobody, null,
        open_program, spawn, unbounded,
    },
};

/// What a program is handed.
pub(crate) type Descriptor = std::os::fd::OwnedFd;

/// Our ends of a program's pipes.
pub(crate) type PipeReader = tokio::net::unix::pipe::Receiver;
pub(crate) type PipeWriter = tokio::net::unix::pipe::Sender;

/// What a program is told.
pub(crate) type Word = std::ffi::CString;
