//! What Linux and macOS have in common of starting programs: what one is handed, and how it is told words.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionbio};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::errno;
use crate::{os::Fault, process::Signal};

/// Our own input, output or errors, for somebody else.
pub(crate) fn inherited(number: i32) -> Result<OwnedFd, Fault> {
    let copy = match number {
        0 => fcntl_dupfd_cloexec(io::stdin().as_fd(), 3),
        1 => fcntl_dupfd_cloexec(io::stdout().as_fd(), 3),
        _ => fcntl_dupfd_cloexec(io::stderr().as_fd(), 3),
    };
    copy.map_err(|error| Fault::Os(error.into()))
}

/// Makes a pipe for the input of a program: its end, and ours.
pub(crate) fn input_pipe() -> Result<(OwnedFd, Sender), Fault> {
    let (theirs, ours) = pipe(false)?;
    Ok((theirs, Sender::from_owned_fd(ours).map_err(Fault::Os)?))
}

/// Makes a pipe for what a program writes: its end, and ours.
pub(crate) fn output_pipe() -> Result<(OwnedFd, Receiver), Fault> {
    let (ours, theirs) = pipe(true)?;
    Ok((theirs, Receiver::from_owned_fd(ours).map_err(Fault::Os)?))
}

/// Words as the kernel takes them.
pub(crate) fn words(words: &[String]) -> Result<Vec<CString>, Fault> {
    let words = words.iter().map(|word| CString::new(word.as_bytes()));
    words.collect::<Result<_, _>>().map_err(|_| Fault::errno(errno::INVALID))
}

/// A path as the kernel takes it.
pub(crate) fn path_word(path: &Path) -> Result<CString, Fault> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Fault::errno(errno::INVALID))
}

/// Makes a pipe: the end to read from, the end to write to. Ours does not wait: the first one where we are to `read`.
pub(super) fn pipe(read: bool) -> Result<(OwnedFd, OwnedFd), Fault> {
    let (from, to) = io::pipe().map_err(Fault::Os)?;
    let (from, to) = (OwnedFd::from(from), OwnedFd::from(to));
    ioctl_fionbio(if read { &from } else { &to }, true).map_err(|error| Fault::Os(error.into()))?;
    Ok((from, to))
}

/// The kernel's number of a signal.
pub(crate) fn signal_number(signal: Signal) -> i32 {
    match signal {
        Signal::Hangup => libc::SIGHUP,
        Signal::Interrupt => libc::SIGINT,
        Signal::Quit => libc::SIGQUIT,
        Signal::User1 => libc::SIGUSR1,
        Signal::User2 => libc::SIGUSR2,
        Signal::Terminate => libc::SIGTERM,
        Signal::Continue => libc::SIGCONT,
        Signal::Stop => libc::SIGSTOP,
    }
}
