//! The only code that touches the operating system. Nothing here decides: the callers have.

#![expect(clippy::disallowed_methods, reason = "this is the door that the fence sends the others to")]

mod ambient;
#[cfg(target_os = "linux")]
mod linux;
pub(crate) mod log_file;
#[cfg(unix)]
mod net;
#[cfg(not(target_os = "linux"))]
mod unsupported;

pub(crate) use self::ambient::{lookup, read_ambient, variable};
#[cfg(target_os = "linux")]
pub(crate) use self::linux::*;
#[cfg(unix)]
pub(crate) use self::net::{
    Shut, bind_udp, connect, connect_unix, connect_unix_datagram, is_quiet, listen, listen_abstract,
    send_now, set_keep_alive, set_nodelay,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::unsupported::*;

/// An opened root.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) handle: Handle,
    /// Whether the file system is on this machine, so that what is cached can be had without waiting for a server.
    pub(crate) local: bool,
}

/// An opened regular file or directory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) handle: Handle,
    pub(crate) is_directory: bool,
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
