//! The calls that start a program and take it away: the unsafe code of this folder.

#![expect(unsafe_code, reason = "ADR 0019: `posix_spawn` and `wait4` have no safe wrapper")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_short},
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr,
};

/// Has the program begin a session, with signals as by default and none blocked, and, where the system has a word for that,
/// without any descriptor that it is not given.
#[cfg(target_os = "macos")]
const FLAGS: c_int =
    libc::POSIX_SPAWN_CLOEXEC_DEFAULT | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK | SETSID;
#[cfg(not(target_os = "macos"))]
const FLAGS: c_int =
    libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSID as c_int;

/// `POSIX_SPAWN_SETSID` of macOS' `spawn.h`, which `libc` does not have.
#[cfg(target_os = "macos")]
const SETSID: c_int = 0x0400;

/// Starts what `words` name, the first of which is a path, and returns its number, which is that of its session too.
pub(super) fn start(words: &[CString], env: &[CString], stdio: &[OwnedFd; 3]) -> io::Result<c_int> {
    let path: &CStr = words.first().ok_or(io::ErrorKind::InvalidInput)?;
    let (words, env) = (pointers(words), pointers(env));
    // SAFETY: both are plain data to their `init`, which writes them before anything reads them; `destroy` is called once for
    // each that was made. The signal sets are this function's. The lists of words end with a null pointer and lead to texts
    // that end with a zero, which live until this returns, as do the descriptors.
    unsafe {
        let mut attributes: libc::posix_spawnattr_t = mem::zeroed();
        done(libc::posix_spawnattr_init(&raw mut attributes))?;
        let mut actions: libc::posix_spawn_file_actions_t = mem::zeroed();
        let mut pid = 0;
        let started = done(libc::posix_spawn_file_actions_init(&raw mut actions)).and_then(|()| {
            let mut signals: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut signals);
            let started = (|| {
                done(libc::posix_spawnattr_setsigmask(&raw mut attributes, &raw const signals))?;
                libc::sigfillset(&raw mut signals);
                done(libc::posix_spawnattr_setsigdefault(&raw mut attributes, &raw const signals))?;
                done(libc::posix_spawnattr_setflags(&raw mut attributes, FLAGS as c_short))?;
                for (number, descriptor) in (0..).zip(stdio) {
                    let from = descriptor.as_raw_fd();
                    done(libc::posix_spawn_file_actions_adddup2(&raw mut actions, from, number))?;
                }
                let (words, env) = (words.as_ptr(), env.as_ptr());
                let (path, pid) = (path.as_ptr(), &raw mut pid);
                done(libc::posix_spawn(pid, path, &raw const actions, &raw const attributes, words, env))
            })();
            libc::posix_spawn_file_actions_destroy(&raw mut actions);
            started
        });
        libc::posix_spawnattr_destroy(&raw mut attributes);
        started.map(|()| pid)
    }
}

/// The words' addresses, and a null pointer behind them.
fn pointers(words: &[CString]) -> Vec<*mut c_char> {
    words.iter().map(|word| word.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// These calls return their error.
fn done(error: c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Waits until a child has ended. It stays: its number is nobody else's until [`reap`] takes it away.
pub(super) fn wait(pid: c_int) -> io::Result<()> {
    loop {
        // SAFETY: the record is plain numbers, for which zeros are values.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let (number, options) = (pid.unsigned_abs(), libc::WEXITED | libc::WNOWAIT);
        // SAFETY: the kernel writes to the record.
        let done = unsafe { libc::waitid(libc::P_PID, number, &raw mut info, options) };
        if done == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Takes away a child that has ended: its status as `wait` has it, and what it used.
pub(super) fn reap(pid: c_int) -> io::Result<(c_int, libc::rusage)> {
    let mut status = 0;
    // SAFETY: the record is plain numbers, for which zeros are values.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    loop {
        // SAFETY: the kernel writes to both.
        if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } == pid {
            return Ok((status, usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
