//! Linux, by `rustix`: no unsafe code but that of `spawn::raw`, which starts programs, and one call in `cached`.

mod bounds;
mod cached;
mod change;
mod copy;
mod interfaces;
mod list;
mod open;
mod process;
mod read;
mod replace;
mod size;
mod spawn;
mod special;
mod stat;
mod steps;
mod system;
mod time;
mod tree;
mod twins;
mod unix;
mod watch;

use rustix::{fd::OwnedFd, io::Errno};

pub(crate) use self::{
    bounds::{Directory, Identity},
    cached::append_cached,
    change::{
        append, create_dir, hard_link, named_size, remove_dir, remove_file, rename, set_len,
        set_own_permissions, set_own_times, set_permissions, set_times, symlink, sync, write_at,
    },
    copy::{copy, open_source, try_lock, unlock},
    interfaces::interfaces,
    list::{Listing, list},
    open::{open, open_root},
    process::{
        BY_PATH, RESOLVER, START, SYSTEM, forbid_tracing, lend, null, open_program, raise_file_limit, user,
    },
    read::{buffer, open_whole, read_at, read_cached, read_link, read_open, read_whole},
    replace::{
        Install, Remains, create_drawn_dir, create_unnamed, name_unnamed, replace, replace_by_unnamed,
    },
    size::{Size, size},
    spawn::{
        Child, Killer, Notes, Place, cgroup_version, counts_memory, dynamic_user, everything, host, nobody,
        spawn, try_limits, unbounded, why_no_proc,
    },
    special::{open_special, read_special, write_special},
    stat::{metadata, own_metadata},
    system::{cpu, disks, host_name, load, memory},
    time::{monotonic_ns, monotonic_resolution, random, wall_now, wall_resolution},
    tree::{Walk, measure, remove_tree},
    unix::{bind_unix_datagram, listen_unix, unix_socket},
    watch::Watch,
};
use crate::os::Fault;

/// What the kernel knows an open object by.
pub(crate) type Handle = OwnedFd;

/// What a program is handed.
pub(crate) type Descriptor = OwnedFd;

/// Our ends of a program's pipes.
pub(crate) type PipeReader = tokio::net::unix::pipe::Receiver;
pub(crate) type PipeWriter = tokio::net::unix::pipe::Sender;

/// What a program is told.
pub(crate) type Word = std::ffi::CString;

/// The error numbers that this crate gives itself.
pub(crate) mod errno {
    use rustix::io::Errno;

    pub(crate) const BUSY: i32 = Errno::BUSY.raw_os_error();
    pub(crate) const CANCELED: i32 = Errno::CANCELED.raw_os_error();
    pub(crate) const INVALID: i32 = Errno::INVAL.raw_os_error();
    pub(crate) const CROSSES_DEVICES: i32 = Errno::XDEV.raw_os_error();
    pub(crate) const IO: i32 = Errno::IO.raw_os_error();
    pub(crate) const NAME_TOO_LONG: i32 = Errno::NAMETOOLONG.raw_os_error();
    pub(crate) const NOT_FOUND: i32 = Errno::NOENT.raw_os_error();
    pub(crate) const QUOTA: i32 = Errno::DQUOT.raw_os_error();
    pub(crate) const TIMED_OUT: i32 = Errno::TIMEDOUT.raw_os_error();
    pub(crate) const TOO_LARGE: i32 = Errno::FBIG.raw_os_error();
    pub(crate) const TOO_MANY_OPEN: i32 = Errno::MFILE.raw_os_error();
    pub(crate) const UNSUPPORTED: i32 = Errno::NOSYS.raw_os_error();
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Os(errno.into())
    }
}
