//! From a plan to a child: what of a grant can be held to here, and what is refused because nothing holds to it.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    ptr,
    sync::{Arc, Mutex, OnceLock},
};

use super::{
    child::Child,
    launch::{self, SANDBOX},
    raw, seatbelt,
};
use crate::{
    os::{Fault, pool},
    policy::rule,
    process::{Asked, Host, Layers, Limits},
    sys::plan::{Begun, OnEnd, Plan, Sockets},
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
    plan: impl FnOnce() -> Result<Plan<Place>, Fault> + Send + 'static,
    on_end: OnEnd,
) -> Result<Begun<Child, Notes>, Fault> {
    pool(move || start(plan()?, on_end)).await
}

fn start(plan: Plan<Place>, on_end: OnEnd) -> Result<Begun<Child, Notes>, Fault> {
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
    check_places(&plan.places, plan.executes.then_some(program.as_path()))?;
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
    // Of what the shell does, this alone fails for what a grant's user may have done.
    let there = fs::metadata(directory).and_then(|found| match found.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    there.map_err(|error| Fault::Step("change the directory", error))?;
    let env: Option<Vec<&str>> = plan.env.iter().map(|variable| variable.to_str().ok()).collect();
    let env = env.ok_or_else(invalid)?;
    let (descriptors, cpu_time) = (plan.limits.descriptors, plan.limits.cpu_time);
    let words = launch::words(profile.as_deref(), descriptors, cpu_time, directory, &env, &args);
    let words = words.ok_or_else(invalid)?;
    let pid = raw::start(&words, &[], &plan.stdio).map_err(|error| Fault::Step("start", error))?;
    Ok(Begun { child: Child::keep(pid, &plan.limits, on_end)?, listener: None, notes: None })
}

/// Refuses places that lie in one that is changed, and a program that does: what is written there is what the next start finds.
/// A grant says so of the names it was written with; this is what they lead to by now, whatever the case of their letters.
fn check_places(places: &[Place], program: Option<&Path>) -> Result<(), Fault> {
    let number = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).map_err(Fault::Os);
    for outer in places.iter().filter(|place| place.write) {
        let changed = number(&outer.path)?;
        let inner = places.iter().filter(|place| !ptr::eq(*place, outer)).map(|place| place.path.as_path());
        for path in inner.chain(program) {
            for above in path.ancestors() {
                if number(above)? == changed {
                    return Err(Fault::Forbidden(rule::BENEATH_ROOT));
                }
            }
        }
    }
    Ok(())
}

/// Where the program that was opened is now, if that is what `path` still leads to. Its content may be another one by now, and
/// that it stays there until it is executed is not held to by anything: macOS executes paths.
fn same_program(opened: &OwnedFd, path: &str) -> Result<PathBuf, Fault> {
    let path = fs::canonicalize(path).map_err(Fault::Os)?;
    let (was, is) = (File::from(opened.try_clone().map_err(Fault::Os)?).metadata(), fs::metadata(&path));
    let (was, is) = (was.map_err(Fault::Os)?, is.map_err(Fault::Os)?);
    let same = (was.dev(), was.ino()) == (is.dev(), is.ino());
    if same { Ok(path) } else { Err(Fault::Forbidden(rule::OTHER_PROGRAM)) }
}

/// Opens a program. With a hash it is refused: what is executed is what lies at its path then, which nothing holds to the hash.
pub(crate) fn open_program(
    path: &Path,
    sha256: Option<&[u8; 32]>,
    _limit_bytes: u64,
) -> Result<OwnedFd, Fault> {
    if sha256.is_some() {
        let why = "macOS executes paths: who may write the program's file can change it after it was hashed";
        return Err(Fault::Lacks("sha256".to_owned(), why.into()));
    }
    // Nobody waits for the other end of what is no file.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = file.map_err(Fault::Os)?;
    if !file.metadata().map_err(Fault::Os)?.is_file() {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    let mut head = [0; 2];
    let read = file.read(&mut head).map_err(Fault::Os)?;
    if read < head.len() || head == *b"#!" || head.iter().all(u8::is_ascii) && cfg!(target_os = "macos") {
        // Images begin with a number, each byte order of which has one byte that is no text.
        return Err(Fault::Forbidden(rule::NO_SCRIPTS));
    }
    Ok(file.into())
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
        Layers::PROCESSES => {
            "it is Linux's: a child that makes a group of processes of its own outlives its program"
        }
        Layers::CGROUP => "it is Linux's: memory and processes are not bounded",
        _ => "it is Linux's",
    }
}

/// Starts a program that does nothing in a profile like those of grants, and one that reads what that does not allow.
fn try_seatbelt() -> Result<(), Box<str>> {
    let system = SYSTEM.iter().filter_map(|path| Place::system(Path::new(path), false).ok());
    let places: Vec<_> = system.map(|place| (place.path, place.write)).collect();
    let ended = |words: [&str; 2]| {
        let program = Path::new(words[0]);
        let held = seatbelt::Held { program, places: &places, network: true, executes: false };
        let profile = seatbelt::profile(&held).ok_or("there is no profile for the system's own files")?;
        let words = [&[SANDBOX, "-p", &profile], &words[..]].concat();
        let words: Vec<_> = words.into_iter().map(|word| CString::new(word).unwrap_or_default()).collect();
        let stdio = || Ok::<_, Fault>([null()?, null()?, null()?]);
        let stdio = stdio().map_err(|_| "there is no /dev/null")?;
        let ended = raw::start(&words, &[], &stdio).and_then(raw::reap);
        ended.map(|(status, _)| status).map_err(|error| Box::<str>::from(format!("{SANDBOX}: {error}")))
    };
    match ended(["/usr/bin/true", ""])? {
        0 => {}
        status => {
            let why = format!("{SANDBOX} ended with status {status}: is this within a sandbox?");
            return Err(why.into());
        }
    }
    match ended(["/bin/cat", "/private/etc/passwd"])? {
        0 => Err("a program read a file that its profile does not allow".into()),
        _ => Ok(()),
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

#[cfg(test)]
mod tests;
