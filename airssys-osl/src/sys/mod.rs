//! The only code that touches the operating system. Nothing here decides: the callers have.

#![expect(clippy::disallowed_methods, reason = "this is the door that the fence sends the others to")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::os::Fault;

mod ambient;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod child;
#[cfg(target_os = "linux")]
mod linux;
pub(crate) mod log_file;
#[cfg(any(target_os = "macos", all(unix, test)))]
#[cfg_attr(not(target_os = "macos"), allow(dead_code, unused_imports, reason = "Linux only tests it"))]
mod macos;
mod net;
mod parts;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod plan;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(dead_code, unused_imports, reason = "Linux only tests it"))]
mod portable;
#[cfg(unix)]
mod posix;
#[cfg(any(windows, test))]
#[cfg_attr(not(windows), allow(dead_code, unused_imports, reason = "Linux only tests it"))]
mod windows;

pub(crate) use self::ambient::{lookup, read_ambient, real_path, variable, variables};
#[cfg(target_os = "linux")]
pub(crate) use self::linux::*;
#[cfg(target_os = "macos")]
pub(crate) use self::macos::*;
#[cfg(unix)]
pub(crate) use self::net::connect_unix_datagram;
pub(crate) use self::net::{
    Shut, bind_tcp, bind_udp, connect, connect_from, is_quiet, listen, listen_on, send_now, set_hop_limit,
    set_keep_alive, set_nodelay,
};
#[cfg(target_os = "linux")]
pub(crate) use self::net::{connect_unix, listen_abstract};
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
pub(crate) use self::plan::{Lent, OnEnd, Plan, Sockets};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::portable::*;
#[cfg(unix)]
pub(crate) use self::posix::{inherited, input_pipe, output_pipe, path_word, signal_number, words};
#[cfg(windows)]
pub(crate) use self::windows::*;

/// An opened root.
#[derive(Debug)]
pub(crate) struct Root<D = Directory> {
    pub(crate) directory: D,
    pub(crate) filesystem: Filesystem,
}

/// What is known of the file system of a root, which is that of all beneath it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filesystem {
    /// What is cached can be had without waiting for a server.
    pub(crate) inline: bool,
    /// No other machine changes it, and when a file was changed is set by this kernel alone.
    pub(crate) local: bool,
}

/// An opened regular file or directory.
#[derive(Debug)]
pub(crate) enum Opened<F = Handle, D = Directory> {
    File(F),
    Directory(D),
}

/// A whole file: what is in it, or what it takes to read it.
#[derive(Debug)]
pub(crate) enum Whole<F = Handle> {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing else reads without waiting"))]
    Read(Vec<u8>),
    /// It should have this many bytes.
    Opened(F, usize),
}

/// An object that lost a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freed<I = Identity> {
    pub(crate) identity: I,
    pub(crate) bytes: u64,
    /// It has no other name: its bytes are free when nobody has it open.
    pub(crate) nameless: bool,
}

/// What a rename did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renamed<I = Identity> {
    /// Whether the object lost its old name, and the new name what it was of: not where both are names of one file.
    pub(crate) left: bool,
    pub(crate) came: bool,
    /// What had the new name, and lost it.
    pub(crate) freed: Option<Freed<I>>,
}

/// Whether anybody still waits for a long work, and what is told to the work when nobody does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// Stops the work when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct StopOnDrop(pub(crate) Stop);

impl Stop {
    /// Ends the work where nobody waits for it.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.0.load(Ordering::Relaxed) { Err(Fault::errno(errno::CANCELED)) } else { Ok(()) }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// How paths are resolved beneath a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// By the kernel, in one call (Linux: `openat2(2)`), where it can and a sandbox lets it; else by
    /// [`Steps`](Self::Steps).
    #[default]
    Kernel,
    /// Name by name, each opened and looked at. It is slower, and needs a thread that may wait.
    Steps,
}

/// What the caller wants to have opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    File,
    Directory,
    Any,
}

/// Whether a call may wait for a device or a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It ends in [`Fault::WouldBlock`](crate::os::Fault) instead.
    Never,
    Allowed,
}
