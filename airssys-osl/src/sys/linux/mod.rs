//! Linux, by `rustix`: no unsafe code.

mod change;
mod open;
mod process;
mod read;
mod stat;
mod time;
mod unix;

use rustix::{fd::OwnedFd, io::Errno};

pub(crate) use self::{
    change::{
        append, create_dir, hard_link, remove_dir, remove_file, rename, replace, set_len, set_own_times,
        set_times, symlink, sync, write_at,
    },
    open::{open, open_root},
    process::{raise_file_limit, user},
    read::{list, read_at, read_cached, read_link, read_whole},
    stat::{metadata, own_metadata},
    time::{monotonic_ns, monotonic_resolution, random, wall_now, wall_resolution},
    unix::{bind_unix_datagram, listen_unix, unix_socket},
};
use crate::os::Fault;

/// What the kernel knows an open object by.
pub(crate) type Handle = OwnedFd;

/// The error numbers that this crate gives itself.
pub(crate) mod errno {
    use rustix::io::Errno;

    pub(crate) const CANCELED: i32 = Errno::CANCELED.raw_os_error();
    pub(crate) const INVALID: i32 = Errno::INVAL.raw_os_error();
    pub(crate) const IO: i32 = Errno::IO.raw_os_error();
    pub(crate) const NAME_TOO_LONG: i32 = Errno::NAMETOOLONG.raw_os_error();
    pub(crate) const NOT_FOUND: i32 = Errno::NOENT.raw_os_error();
    pub(crate) const TIMED_OUT: i32 = Errno::TIMEDOUT.raw_os_error();
    pub(crate) const TOO_MANY: i32 = Errno::MFILE.raw_os_error();
    pub(crate) const TOO_LARGE: i32 = Errno::FBIG.raw_os_error();
    pub(crate) const UNSUPPORTED: i32 = Errno::NOSYS.raw_os_error();
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Os(errno.into())
    }
}
