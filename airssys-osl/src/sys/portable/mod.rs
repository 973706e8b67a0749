//! Every platform but Linux, by `cap-std`, which resolves paths beneath a directory in its own code.
//!
//! What it cannot hold to is refused when the directory is opened: carve-outs, quotas, and on Windows any rule about
//! files with several names. Nothing is tried on the caller's thread, nothing is watched, and files without a name
//! there are none: those say `Unsupported`. Linux compiles it for its tests, which run it.

mod change;
mod open;
mod read;
mod system;
mod time;
mod tree;

use std::{fs::File, io};

pub(crate) use self::{
    change::{
        Install, Remains, append, copy, create_dir, create_drawn_dir, create_unnamed, hard_link,
        name_unnamed, named_size, remove_dir, remove_file, rename, replace, replace_by_unnamed, set_len,
        set_own_permissions, set_own_times, set_permissions, set_times, symlink, sync, try_lock, unlock,
        write_at,
    },
    open::{Directory, open, open_root, open_source},
    read::{
        append_cached, buffer, metadata, open_whole, own_metadata, read_at, read_cached, read_link,
        read_open, read_whole,
    },
    system::{cpu, disks, host_name, interfaces, load, memory},
    time::{
        forbid_tracing, monotonic_ns, monotonic_resolution, raise_file_limit, random, user, wall_now,
        wall_resolution,
    },
    tree::{Listing, Walk, Watch, list, measure, remove_tree},
};
use crate::{os::Fault, policy::rule};

/// An open file.
pub(crate) type Handle = File;

/// What an object is, where that is counted: nowhere here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {}

/// What an object takes up, where that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) identity: Identity,
    pub(crate) bytes: u64,
    pub(crate) links: u64,
    pub(crate) is_directory: bool,
}

/// An open file, for a program.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(crate) fn lend(file: &Handle) -> Result<super::Descriptor, Fault> {
    file.try_clone().map(Into::into).map_err(Fault::Os)
}

/// Only who counts asks.
pub(crate) fn size(_file: &Handle) -> Result<Size, Fault> {
    Err(Fault::Unsupported)
}

/// The error numbers that this crate gives itself: those of Linux, which the audit log uses on every platform.
pub(crate) mod errno {
    pub(crate) const BUSY: i32 = 16;
    pub(crate) const CANCELED: i32 = 125;
    pub(crate) const CROSSES_DEVICES: i32 = 18;
    pub(crate) const INVALID: i32 = 22;
    pub(crate) const IO: i32 = 5;
    pub(crate) const NAME_TOO_LONG: i32 = 36;
    pub(crate) const NOT_FOUND: i32 = 2;
    pub(crate) const QUOTA: i32 = 122;
    pub(crate) const TIMED_OUT: i32 = 110;
    pub(crate) const TOO_LARGE: i32 = 27;
    pub(crate) const TOO_MANY_OPEN: i32 = 24;
    pub(crate) const UNSUPPORTED: i32 = 38;
}

/// What `cap-std` says as an error of permissions, without a number of the operating system, is a path that leaves.
fn fault(error: io::Error) -> Fault {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::PermissionDenied, None) => Fault::Forbidden(rule::BENEATH_ROOT),
        _ => Fault::Os(error),
    }
}
