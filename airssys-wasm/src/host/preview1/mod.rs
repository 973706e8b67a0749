//! WASI 0.1, `wasi_snapshot_preview1`: what core modules import.
//!
//! Each function is a translation: numbers of descriptors and bytes of the guest's memory become a call of the WASI 0.2
//! interfaces beside this folder, or of a handle of the door. So both versions have one set of rules, and one record.
//!
//! A pointer that leads out of the guest's memory is a trap, as the specification says; a misaligned one is not, because
//! nothing here depends on alignment.

mod errno;
mod files;
mod listing;
mod memory;
mod paths;
mod poll;
mod process;
mod stdio;
mod table;

use wasmtime::{Caller, Linker, Result};

pub(crate) use self::table::Table;
use self::{
    errno::{Errno, Fault},
    files::*,
    memory::Guest,
    paths::*,
    poll::poll_oneoff,
    process::*,
};
use crate::instance::State;

/// What modules name when they import.
const MODULE: &str = "wasi_snapshot_preview1";

/// What a function answers: it has written its results to the guest's memory, or says why not.
type Outcome = std::result::Result<(), Fault>;

/// Links every function but `proc_exit` by its signature in the specification.
macro_rules! link {
    ($linker:ident, $($name:ident($($argument:ident: $ty:ty),*);)*) => {$(
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |caller: Caller<'_, State>, ($($argument,)*): ($($ty,)*)| {
                Box::new(async move {
                    let mut guest = Guest::new(caller);
                    Errno::answer($name(&mut guest, $($argument),*).await)
                })
            },
        )?;
    )*};
}

/// Links all of WASI 0.1.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    link! { linker,
        args_get(argv: u32, buffer: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(environ: u32, buffer: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(id: u32, resolution: u32);
        clock_time_get(id: u32, precision: u64, time: u32);
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        fd_allocate(fd: u32, offset: u64, len: u64);
        fd_close(fd: u32);
        fd_datasync(fd: u32);
        fd_fdstat_get(fd: u32, stat: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        fd_filestat_get(fd: u32, stat: u32);
        fd_filestat_set_size(fd: u32, size: u64);
        fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
        fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, read: u32);
        fd_prestat_get(fd: u32, prestat: u32);
        fd_prestat_dir_name(fd: u32, path: u32, len: u32);
        fd_pwrite(fd: u32, iovs: u32, count: u32, offset: u64, written: u32);
        fd_read(fd: u32, iovs: u32, count: u32, read: u32);
        fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, used: u32);
        fd_renumber(from: u32, to: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, position: u32);
        fd_sync(fd: u32);
        fd_tell(fd: u32, position: u32);
        fd_write(fd: u32, iovs: u32, count: u32, written: u32);
        path_create_directory(fd: u32, path: u32, len: u32);
        path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, stat: u32);
        path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, flags: u32
        );
        path_link(fd: u32, flags: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32);
        path_open(
            fd: u32, lookup: u32, path: u32, len: u32, open: u32, rights: u64, inheriting: u64, flags: u32,
            opened: u32
        );
        path_readlink(fd: u32, path: u32, len: u32, buffer: u32, buffer_len: u32, used: u32);
        path_remove_directory(fd: u32, path: u32, len: u32);
        path_rename(fd: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32);
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        path_unlink_file(fd: u32, path: u32, len: u32);
        poll_oneoff(subscriptions: u32, events: u32, count: u32, stored: u32);
        proc_raise(signal: u32);
        sched_yield();
        random_get(buffer: u32, len: u32);
        sock_accept(fd: u32, flags: u32, accepted: u32);
        sock_recv(fd: u32, iovs: u32, count: u32, flags: u32, received: u32, out_flags: u32);
        sock_send(fd: u32, iovs: u32, count: u32, flags: u32, sent: u32);
        sock_shutdown(fd: u32, how: u32);
    }
    linker.func_wrap(MODULE, "proc_exit", proc_exit)?;
    Ok(())
}
