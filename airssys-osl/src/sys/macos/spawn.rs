//! From a plan to a child: what of a grant can be held to here, and what is refused because nothing holds to it.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionbio};
use sha2::{Digest as _, Sha256};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::{
    child::{Child, OnEnd},
    launch::{self, SANDBOX},
    raw, seatbelt,
};
use crate::{
    os::{Fault, pool},
    policy::rule,
    process::{Asked, Calls, Host, Layers, Limits, Signal},
};

/// What the system's programs need of the file system. What is not there is not shown.
pub(crate) const SYSTEM: &[&str] = &[
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/share",
    "/System/Library",
    "/System/Volumes/Preboot/Cryptexes",
    "/System/Cryptexes",
    "/Library/Apple",
    "/private/etc/ssl",
    "/private/var/db/timezone",
];

/// What looks hosts up, for programs that are on the network.
pub(crate) const RESOLVER: &[&str] = &[
    "/private/etc/resolv.conf",
    "/private/var/run/resolv.conf",
    "/private/etc/hosts",
    "/private/etc/services",
];

/// Where a program starts where its grant names no directory.
pub(crate) const START: &str = "/";

/// The layer that names files by their paths.
#[cfg(target_os = "macos")]
pub(crate) const BY_PATH: Layers = Layers::SEATBELT;
#[cfg(not(target_os = "macos"))]
pub(crate) const BY_PATH: Layers = Layers::empty();

/// What may be asked for of a program's system calls: nothing here asks.
pub(crate) type Notes = Arc<Mutex<Asked>>;

/// Which sockets a program may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    Unix,
    Internet,
}

/// Everything that a program is started with. What of it there is nothing to hold to is asked for by nobody: it needs layers
/// that are not here.
#[derive(Debug)]
#[allow(dead_code, reason = "a plan says the same on every system")]
pub(crate) struct Plan {
    pub(crate) program: OwnedFd,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) stdio: [OwnedFd; 3],
    pub(crate) files: Vec<Lent>,
    pub(crate) directory: CString,
    pub(crate) places: Vec<Place>,
    pub(crate) layers: Layers,
    pub(crate) landlock: Option<u32>,
    pub(crate) sockets: Sockets,
    pub(crate) loopback: bool,
    pub(crate) listen: Option<u16>,
    pub(crate) calls: Calls,
    pub(crate) executes: bool,
    pub(crate) tells: bool,
    pub(crate) watched: bool,
    pub(crate) learns: bool,
    pub(crate) limits: Limits,
    pub(crate) ids: Option<(u32, u32)>,
}

/// An open file that a program gets.
#[derive(Debug)]
#[allow(dead_code, reason = "a plan says the same on every system")]
pub(crate) struct Lent {
    pub(crate) fd: OwnedFd,
    pub(crate) write: bool,
}

/// A directory or a file that a program sees, as it is really called.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    write: bool,
}

impl Place {
    /// Finds what a grant names.
    pub(crate) fn granted(path: &Path, write: bool) -> Result<Self, Fault> {
        let path = fs::canonicalize(path).map_err(Fault::Os)?;
        let kind = fs::metadata(&path).map_err(Fault::Os)?.file_type();
        if kind.is_dir() || kind.is_file() {
            return Ok(Self { path, write });
        }
        Err(Fault::Forbidden(rule::PLAIN_FILES))
    }

    /// Finds what is there on every system.
    pub(crate) fn system(path: &Path, _keep: bool) -> Result<Self, Fault> {
        Self::granted(path, false)
    }
}

/// A program that was started, and what its plan has beside it.
pub(crate) struct Begun {
    pub(crate) child: Child,
    /// There is no network of its own to listen on.
    pub(crate) listener: Option<std::net::TcpListener>,
    /// Nobody tells what it asks for.
    pub(crate) notes: Option<Notes>,
}

/// Everything that there is, for a program that is watched: none is.
pub(crate) fn everything(_but: impl Fn(&Path) -> bool) -> Result<Vec<Place>, Fault> {
    Err(Fault::Unsupported)
}

/// Which of the limits nothing here holds a program to, and why.
pub(crate) fn unbounded(limits: &Limits, _enforced: Layers) -> Option<(Layers, &'static str)> {
    let why = match () {
        () if limits.memory_bytes.is_some() => "macOS does not hold a tree of processes to a bound of memory",
        () if limits.processes.is_some() => "there is nothing to count processes by",
        () if limits.file_bytes.is_some() => "there is nothing to bound the length of files by",
        () if limits.cpu_percent.is_some() || limits.io_weight.is_some() => {
            "there is nothing to share processors and disks by"
        }
        () => return None,
    };
    Some((Layers::CGROUP, why))
}

/// Starts what `plan` makes, on a thread that may wait. `on_end` is called when the program has ended, if it was started.
pub(crate) async fn spawn(
    plan: impl FnOnce() -> Result<Plan, Fault> + Send + 'static,
    on_end: OnEnd,
) -> Result<Begun, Fault> {
    pool(move || start(plan()?, on_end)).await
}

fn start(plan: Plan, on_end: OnEnd) -> Result<Begun, Fault> {
    // Nobody here becomes another user on the way to a program, and none of root's is held by anything but its profile.
    if plan.ids.is_some() || rustix::process::geteuid().is_root() && cfg!(target_os = "macos") {
        let why = "nothing here starts a program as another user: start the door as who is to run it".into();
        return Err(Fault::Lacks("user".to_owned(), why));
    }
    // A descriptor cannot be handed over by the shell in between.
    if !plan.files.is_empty() || plan.learns {
        return Err(Fault::Unsupported);
    }
    let invalid = || Fault::errno(crate::sys::errno::INVALID);
    let args: Option<Vec<&str>> = plan.args.iter().map(|arg| arg.to_str().ok()).collect();
    let mut args = args.ok_or_else(invalid)?;
    let program = same_program(&plan.program, args.first().ok_or_else(invalid)?)?;
    let profile = if plan.layers.intersects(BY_PATH) {
        let places: Vec<_> = plan.places.into_iter().map(|place| (place.path, place.write)).collect();
        let network = plan.sockets == Sockets::Internet;
        let held = seatbelt::Held { program: &program, places: &places, network, executes: plan.executes };
        Some(seatbelt::profile(&held).ok_or_else(invalid)?)
    } else {
        None
    };
    // What is executed is what was looked at: a link in its path may lead elsewhere by now.
    let real = program.to_str().ok_or_else(invalid)?;
    if let Some(first) = args.first_mut() {
        *first = real;
    }
    let directory = plan.directory.to_str().map_err(|_| invalid())?;
    let (descriptors, cpu_time) = (plan.limits.descriptors, plan.limits.cpu_time);
    let words =
        launch::words(profile.as_deref(), descriptors, cpu_time, directory, &args).ok_or_else(invalid)?;
    let pid = raw::start(&words, &plan.env, &plan.stdio).map_err(|error| Fault::Step("start", error))?;
    Ok(Begun { child: Child::keep(pid, &plan.limits, on_end)?, listener: None, notes: None })
}

/// Where the program that was opened is now, if it is still what `path` leads to and nobody wrote to it since. That it stays so
/// until it is executed is not held to by anything: macOS executes paths.
fn same_program(opened: &OwnedFd, path: &str) -> Result<PathBuf, Fault> {
    let path = fs::canonicalize(path).map_err(Fault::Os)?;
    let (was, is) = (File::from(opened.try_clone().map_err(Fault::Os)?).metadata(), fs::metadata(&path));
    let (was, is) = (was.map_err(Fault::Os)?, is.map_err(Fault::Os)?);
    let same = (was.dev(), was.ino(), was.len()) == (is.dev(), is.ino(), is.len());
    if same { Ok(path) } else { Err(Fault::Forbidden(rule::OTHER_PROGRAM)) }
}

/// Opens a program. With a hash, it is compared with it now, and not again.
pub(crate) fn open_program(
    path: &Path,
    sha256: Option<&[u8; 32]>,
    limit_bytes: u64,
) -> Result<OwnedFd, Fault> {
    let mut file = File::open(path).map_err(Fault::Os)?;
    if !file.metadata().map_err(Fault::Os)?.is_file() {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    let mut head = [0; 2];
    let read = file.read(&mut head).map_err(Fault::Os)?;
    if read < head.len() || head == *b"#!" || head.iter().all(u8::is_ascii) && cfg!(target_os = "macos") {
        // Images begin with a number, each byte order of which has one byte that is no text.
        return Err(Fault::Forbidden(rule::NO_SCRIPTS));
    }
    let Some(sha256) = sha256 else { return Ok(file.into()) };
    let mut image = Vec::from(head);
    (&file).take(limit_bytes).read_to_end(&mut image).map_err(Fault::Os)?;
    match () {
        () if image.len() as u64 > limit_bytes => Err(Fault::TooLarge),
        () if Sha256::digest(&image).as_slice() != sha256 => Err(Fault::Forbidden(rule::OTHER_PROGRAM)),
        () => Ok(file.into()),
    }
}

/// Tells what there is: Seatbelt, where it holds a program that is started in it.
pub(crate) fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let state = |layer| if BY_PATH.contains(layer) { try_seatbelt() } else { Err(why_not(layer).into()) };
        let layers = Layers::NAMES.iter().map(|(_, layer)| (*layer, state(*layer)));
        Host { layers: layers.collect(), landlock: None }
    })
}

fn why_not(layer: Layers) -> &'static str {
    match layer {
        Layers::SECCOMP | Layers::LANDLOCK | Layers::MOUNTS => "it is Linux's; Seatbelt has its place",
        Layers::NETWORK => "no program has a network of its own; Seatbelt refuses it the machine's",
        Layers::PROCESSES => "it is Linux's: a child that leaves its session outlives its program",
        Layers::CGROUP => "it is Linux's: memory and processes are not bounded",
        _ => "it is Linux's",
    }
}

/// Starts a program that does nothing.
fn try_seatbelt() -> Result<(), Box<str>> {
    let words = [SANDBOX, "-p", "(version 1)(allow default)", "/usr/bin/true"];
    let words = words.map(|word| CString::new(word).unwrap_or_default());
    let stdio = || Ok::<_, Fault>([null()?, null()?, null()?]);
    let stdio = stdio().map_err(|_| "there is no /dev/null")?;
    let ended = raw::start(&words, &[], &stdio).and_then(raw::reap);
    match ended {
        Ok((0, _)) => Ok(()),
        Ok((status, _)) => {
            Err(format!("{SANDBOX} ended with status {status}: is this within a sandbox?").into())
        }
        Err(error) => Err(format!("{SANDBOX}: {error}").into()),
    }
}

/// There is no user to become: see [`start`].
pub(crate) fn nobody() -> Option<(u32, u32)> {
    None
}

/// As [`nobody`].
pub(crate) fn dynamic_user() -> io::Result<Option<(u32, u32)>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens what is always empty and takes everything.
pub(crate) fn null() -> Result<OwnedFd, Fault> {
    let file = File::options().read(true).write(true).open("/dev/null");
    file.map(OwnedFd::from).map_err(Fault::Os)
}

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
    words.collect::<Result<_, _>>().map_err(|_| Fault::errno(crate::sys::errno::INVALID))
}

/// A path as the kernel takes it.
pub(crate) fn path_word(path: &Path) -> Result<CString, Fault> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Fault::errno(crate::sys::errno::INVALID))
}

/// Makes a pipe: the end to read from, the end to write to. Ours does not wait: the first one where we are to `read`.
fn pipe(read: bool) -> Result<(OwnedFd, OwnedFd), Fault> {
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

#[cfg(test)]
mod tests;
