//! Who watches a program: it is told of the calls that the filter asks about, before they are made.
//!
//! What it notes decides nothing: a call that it is told of is one that the filter allows to those who are not watched, and
//! goes on. So a name that changes in the program's memory after it was read here is a mistake of what was learned, and
//! no way out. What the filter refuses stays refused, by the number that the kernel gives, which nobody can change.
//!
//! But it looks at names that the program chose, outside of what holds that: what a look does by itself is done. See ADR 0016.

use std::{
    ffi::OsString,
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStringExt as _, fs::FileExt as _},
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use libc::c_long;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    raw::{self, Told, Verdict},
    seccomp,
};
use crate::{
    os::Fault,
    process::{Access, Asked, Call},
};

mod look;

pub(super) use self::look::Eyes;

/// How long a path is at most, with the zero at its end, as the kernel has it.
const PATH_BYTES: usize = 4096;

/// Where a `struct open_how` has its flags, and how long they are.
const FLAGS_BYTES: usize = 8;

/// The longest address of a socket, as `struct sockaddr_storage` has it.
const ADDRESS_BYTES: usize = 128;

/// The calls that it is told of: those that take a path, or an address.
#[rustfmt::skip]
pub(super) const PATHS: &[c_long] = &[
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat,
    libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_fchmodat,
    libc::SYS_fchmodat2, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_truncate, libc::SYS_setxattr,
    libc::SYS_lsetxattr, libc::SYS_chdir, libc::SYS_statfs, libc::SYS_inotify_add_watch, libc::SYS_execve,
    libc::SYS_connect, libc::SYS_bind,
    #[cfg(target_arch = "x86_64")] libc::SYS_open,
    #[cfg(target_arch = "x86_64")] libc::SYS_creat,
    #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_link,
    #[cfg(target_arch = "x86_64")] libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")] libc::SYS_chown,
    #[cfg(target_arch = "x86_64")] libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")] libc::SYS_utime,
    #[cfg(target_arch = "x86_64")] libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")] libc::SYS_futimesat,
];

/// What is noted of a program, for those who ask.
pub(crate) type Notes = Arc<Mutex<Asked>>;

/// Watches over `listener` until nobody is left who is held by its filter.
pub(super) fn watch(listener: OwnedFd, eyes: Eyes) -> Result<Notes, Fault> {
    let notes = Arc::new(Mutex::new(Asked::from(eyes.start())));
    let watcher = Watcher { listener, eyes, notes: Arc::clone(&notes) };
    let thread = thread::Builder::new().name("airssys-watch".to_owned());
    thread.spawn(move || watcher.run()).map_err(Fault::Os)?;
    Ok(notes)
}

struct Watcher {
    listener: OwnedFd,
    eyes: Eyes,
    notes: Notes,
}

impl Watcher {
    /// Where this ends early, what it would have been told of is not there for the program: it gets no more by that.
    fn run(self) {
        loop {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            let [fd] = &fds;
            if fd.revents().contains(PollFlags::IN) {
                match raw::told(&self.listener) {
                    Ok(told) => self.attend(&told),
                    // Whoever asked was killed meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                    Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                    Err(_) => return,
                }
            } else if fd.revents().intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
        }
    }

    fn attend(&self, told: &Told) {
        let foreign = told.architecture != seccomp::ARCHITECTURE || told.call >= seccomp::X32;
        if foreign {
            self.note_call(told, true);
            self.end(told);
        } else if PATHS.contains(&told.call.into()) || c_long::from(told.call) == libc::SYS_execveat {
            self.note(told);
            let _ = raw::answer(&self.listener, told, Verdict::GoOn);
        } else {
            self.note_call(told, false);
            let _ = raw::answer(&self.listener, told, Verdict::Refuse(libc::EPERM));
        }
    }

    /// Ends who asked. It waits for an answer, which it gets only where it cannot be ended: it must not wait for ever.
    fn end(&self, told: &Told) {
        let program = group_of(told.thread).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // As long as the call waits, its number is nobody else's.
        let ends = |program: OwnedFd| {
            raw::waits(&self.listener, told) && pidfd_send_signal(&program, Signal::KILL).is_ok()
        };
        if !program.is_some_and(ends) {
            let _ = raw::answer(&self.listener, told, Verdict::Refuse(libc::ENOSYS));
        }
    }

    fn note_call(&self, told: &Told, foreign: bool) {
        let name = seccomp::name(told.architecture, told.call);
        self.notes().add_call(Call { number: told.call, name, foreign });
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, told: &Told) {
        let Some(memory) = Memory::of(told.thread) else {
            self.notes().missed += 1;
            return;
        };
        match told.call.into() {
            libc::SYS_connect => return self.note_peer(told, &memory, Access::SEE),
            libc::SYS_bind => return self.note_peer(told, &memory, Access::MAKE),
            _ => {}
        }
        for asked in asked(told, &memory) {
            // Where there is no path, a descriptor is meant, which was opened before.
            let path = match memory.text(asked.address, PATH_BYTES) {
                Some(path) if path.is_empty() => continue,
                Some(path) => PathBuf::from(OsString::from_vec(path)),
                None if asked.address == 0 => continue,
                None => {
                    self.notes().missed += 1;
                    continue;
                }
            };
            let Some((path, relative)) = self.absolute(told, asked.directory, &path) else { continue };
            // What was read may have been another's, where this one is gone.
            if raw::waits(&self.listener, told) {
                self.note_file(path, asked.access, relative);
            }
        }
    }

    fn note_file(&self, path: PathBuf, access: Access, relative: bool) {
        if !self.notes().expects(&path, access, relative) {
            return;
        }
        // Looking takes as long as a file system likes, and whoever asks for the notes does not wait for that.
        for (path, wish) in self.eyes.look(path, access, relative) {
            self.notes().add(path, wish);
        }
    }

    /// The whole of a path, and whether it goes on from where the program was started.
    fn absolute(&self, told: &Told, directory: u64, path: &Path) -> Option<(PathBuf, bool)> {
        if path.is_absolute() {
            return Some((plain(path), false));
        }
        let from = match directory as i32 {
            libc::AT_FDCWD => format!("/proc/{}/cwd", told.thread),
            number => format!("/proc/{}/fd/{number}", told.thread),
        };
        let from = std::fs::read_link(from).ok().filter(|from| from.is_absolute())?;
        let relative = directory as i32 == libc::AT_FDCWD && from == self.eyes.start();
        Some((plain(&from.join(path)), relative))
    }

    /// Takes note of the address of a socket: to see it is to connect to it, to make it is to be there.
    fn note_peer(&self, told: &Told, memory: &Memory, access: Access) {
        let [_, address, length, ..] = told.args;
        let length = usize::try_from(length).unwrap_or_default().min(ADDRESS_BYTES);
        let Some(address) = memory.read(address, length) else { return };
        let peer = peer(&address);
        // What was read may have been another's, where this one is gone.
        if !raw::waits(&self.listener, told) {
            return;
        }
        match peer {
            Some(Peer::Internet(peer)) if access == Access::SEE && !peer.ip().is_loopback() => {
                self.notes().add_peer(peer);
            }
            Some(Peer::Path(path)) => {
                if let Some((path, relative)) = self.absolute(told, HERE, &path) {
                    self.note_file(path, access, relative);
                }
            }
            _ => {}
        }
    }
}

const HERE: u64 = libc::AT_FDCWD as u64;

/// A path that a call names: relative to which directory, where in memory, and what for.
struct Named {
    directory: u64,
    address: u64,
    access: Access,
}

/// The paths of a call.
fn asked(told: &Told, memory: &Memory) -> Vec<Named> {
    let [a, b, c, d, ..] = told.args;
    let named = |directory, address, access| Named { directory, address, access };
    let (see, read, write) = (Access::SEE, Access::READ, Access::WRITE);
    let (make, remove) = (Access::MAKE, Access::REMOVE);
    match told.call.into() {
        libc::SYS_openat => vec![named(a, b, opened(c))],
        libc::SYS_openat2 => {
            let flags = memory.read(c, FLAGS_BYTES).and_then(|flags| flags.try_into().ok());
            vec![named(a, b, opened(flags.map_or(0, u64::from_ne_bytes)))]
        }
        libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_readlinkat => vec![named(a, b, see)],
        libc::SYS_mkdirat | libc::SYS_mknodat => vec![named(a, b, make)],
        libc::SYS_unlinkat => vec![named(a, b, remove)],
        libc::SYS_renameat | libc::SYS_renameat2 => vec![named(a, b, remove), named(c, d, make | remove)],
        libc::SYS_linkat => vec![named(a, b, remove), named(c, d, make)],
        libc::SYS_symlinkat => vec![named(b, c, make)],
        libc::SYS_fchmodat | libc::SYS_fchmodat2 | libc::SYS_fchownat | libc::SYS_utimensat => {
            vec![named(a, b, write)]
        }
        libc::SYS_truncate | libc::SYS_setxattr | libc::SYS_lsetxattr => vec![named(HERE, a, write)],
        libc::SYS_chdir | libc::SYS_statfs => vec![named(HERE, a, see)],
        libc::SYS_inotify_add_watch => vec![named(HERE, b, read)],
        libc::SYS_execve => vec![named(HERE, a, Access::EXECUTE)],
        libc::SYS_execveat => vec![named(a, b, Access::EXECUTE)],
        older => asked_as_before(older, [a, b]),
    }
}

/// The same of the calls that newer processors' kernels do not have.
#[cfg(target_arch = "x86_64")]
fn asked_as_before(call: c_long, [a, b]: [u64; 2]) -> Vec<Named> {
    let named = |address, access| Named { directory: HERE, address, access };
    let (make, remove) = (Access::MAKE, Access::REMOVE);
    match call {
        libc::SYS_open => vec![named(a, opened(b))],
        libc::SYS_creat => vec![named(a, Access::WRITE | make)],
        libc::SYS_stat | libc::SYS_lstat | libc::SYS_access | libc::SYS_readlink => {
            vec![named(a, Access::SEE)]
        }
        libc::SYS_mkdir => vec![named(a, make)],
        libc::SYS_rmdir | libc::SYS_unlink => vec![named(a, remove)],
        libc::SYS_rename => vec![named(a, remove), named(b, make | remove)],
        libc::SYS_link => vec![named(a, remove), named(b, make)],
        libc::SYS_symlink => vec![named(b, make)],
        libc::SYS_chmod | libc::SYS_chown | libc::SYS_lchown | libc::SYS_utime | libc::SYS_utimes => {
            vec![named(a, Access::WRITE)]
        }
        libc::SYS_futimesat => vec![Named { directory: a, address: b, access: Access::WRITE }],
        _ => Vec::new(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn asked_as_before(_call: c_long, _args: [u64; 2]) -> Vec<Named> {
    Vec::new()
}

/// What the flags of `open` ask for.
fn opened(flags: u64) -> Access {
    let flags = flags as i32;
    if flags & libc::O_PATH != 0 {
        return Access::SEE;
    }
    // What has no name is made in the directory that is named.
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return Access::WRITE;
    }
    let mut access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Access::READ,
        libc::O_WRONLY => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    access.set(Access::WRITE, access.contains(Access::WRITE) || flags & libc::O_TRUNC != 0);
    access.set(Access::MAKE, flags & libc::O_CREAT != 0);
    access
}

enum Peer {
    Internet(SocketAddr),
    Path(PathBuf),
}

/// An address, as `connect` and `bind` take it.
fn peer(address: &[u8]) -> Option<Peer> {
    let (family, rest) = address.split_first_chunk::<2>()?;
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_UNIX => {
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            // One without a name, or with one that begins with a zero, has no place among the files.
            let path = rest.get(..end).filter(|path| !path.is_empty())?;
            Some(Peer::Path(PathBuf::from(OsString::from_vec(path.to_vec()))))
        }
        libc::AF_INET => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(Peer::Internet(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes(*port))))
        }
        libc::AF_INET6 => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let (_flow, rest) = rest.split_first_chunk::<4>()?;
            let ip = Ipv6Addr::from(*rest.first_chunk::<16>()?).to_canonical();
            Some(Peer::Internet(SocketAddr::new(ip, u16::from_be_bytes(*port))))
        }
        _ => None,
    }
}

/// Without `.`, and without `..`: what stands before one is followed first, as the kernel does it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain = std::fs::canonicalize(&plain).unwrap_or(plain);
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

/// The memory of a thread that waits.
struct Memory(File);

impl Memory {
    fn of(thread: u32) -> Option<Self> {
        File::open(format!("/proc/{thread}/mem")).ok().map(Self)
    }

    /// As much as is there, and no more than asked for.
    fn read(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.0.read_at(&mut bytes, address).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }

    /// A text that ends in a zero, of so many bytes at most.
    fn text(&self, address: u64, most: usize) -> Option<Vec<u8>> {
        let mut bytes = self.read(address, most)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        bytes.truncate(end);
        Some(bytes)
    }
}

/// The process that a thread is of.
fn group_of(thread: u32) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let number = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    Pid::from_raw(number.trim().parse().ok()?)
}
