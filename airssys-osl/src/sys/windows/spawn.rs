//! From a plan to a child: what of a grant can be held to here, and what is refused because nothing holds to it.

use std::{
    fs::File,
    io::{self, Read as _},
    os::windows::{
        ffi::OsStrExt as _,
        fs::OpenOptionsExt as _,
        io::{AsHandle as _, OwnedHandle},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use sha2::{Digest as _, Sha256};
use windows_sys::Win32::Storage::FileSystem::FILE_SHARE_READ;

use super::{
    argv,
    child::Child,
    raw::{self, Job, Start},
};
use crate::{
    limits::PROGRAM_DESCRIPTORS,
    os::{Fault, pool},
    policy::rule,
    process::{Asked, Host, Layers, Limits, Signal},
    sys::plan::{Begun, OnEnd, Plan},
};

/// How every program begins that Windows executes itself.
const IMAGE: &[u8; 2] = b"MZ";

/// Nothing shows a program some files and not others.
pub(crate) const SYSTEM: &[&str] = &[];
pub(crate) const RESOLVER: &[&str] = &[];
pub(crate) const BY_PATH: Layers = Layers::empty();

/// Where a program starts where its grant names no directory.
pub(crate) const START: &str = r"C:\";

/// What may be asked for of a program's system calls: nothing here asks.
pub(crate) type Notes = Arc<Mutex<Asked>>;

/// A directory or a file that a program sees: it sees all that its user does.
#[derive(Debug)]
pub(crate) struct Place;

impl Place {
    /// What a grant names is there for every program.
    pub(crate) fn granted(_path: &Path, _write: bool) -> Result<Self, Fault> {
        Ok(Self)
    }

    /// As [`granted`](Self::granted).
    pub(crate) fn system(_path: &Path, _keep: bool) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// Everything that there is, for a program that is watched: none is.
pub(crate) fn everything(_but: impl Fn(&Path) -> bool) -> Result<Vec<Place>, Fault> {
    Err(Fault::Unsupported)
}

/// Which of the limits nothing here holds a program to, and why.
pub(crate) fn unbounded(limits: &Limits, _enforced: Layers) -> Option<(Layers, &'static str)> {
    let why = match () {
        () if limits.file_bytes.is_some() => "there is nothing to bound the length of files by",
        () if limits.descriptors != PROGRAM_DESCRIPTORS => "there is nothing to count handles by",
        () if limits.io_weight.is_some() => "there is nothing to share disks by",
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
    if plan.ids.is_some() {
        let why = "nothing here starts a program as another user: start the door as who is to run it".into();
        return Err(Fault::Lacks("user".to_owned(), why));
    }
    if !plan.files.is_empty() || plan.learns {
        return Err(Fault::Unsupported);
    }
    let invalid = || Fault::errno(crate::sys::errno::INVALID);
    // What is held open cannot be moved, nor can the directories above it: this path leads to it until it runs.
    let program = usual(raw::final_path(&plan.program).map_err(Fault::Os)?);
    if argv::is_for_cmd(&program) {
        return Err(Fault::Forbidden(rule::NO_SCRIPTS));
    }
    let line = argv::command_line(&plan.args).ok_or_else(invalid)?;
    let environment = argv::environment(&plan.env).ok_or_else(invalid)?;
    let wide = |path: &Path| path.as_os_str().encode_wide().chain([0]).collect::<Vec<u16>>();
    let job = Job::new(&plan.limits).map_err(|error| Fault::Step("make the job", error))?;
    let begin = Start {
        program: &wide(&program),
        line,
        environment: &environment,
        directory: &wide(Path::new(&plan.directory)),
        stdio: &plan.stdio,
    };
    let born = raw::start(begin, &job).map_err(|error| Fault::Step("start", error))?;
    Ok(Begun { child: Child::keep(born, job, &plan.limits, on_end)?, listener: None, notes: None })
}

/// A path without the words before it that programs do not expect, where it is one of a drive.
fn usual(path: PathBuf) -> PathBuf {
    let text = path.to_str().and_then(|text| text.strip_prefix(r"\\?\"));
    match text {
        Some(rest) if rest.as_bytes().get(1) == Some(&b':') && rest.len() < 260 => PathBuf::from(rest),
        _ => path,
    }
}

/// Opens a program. As long as it is open, nobody can write to it or put another one in its place.
pub(crate) fn open_program(
    path: &Path,
    sha256: Option<&[u8; 32]>,
    limit_bytes: u64,
) -> Result<OwnedHandle, Fault> {
    if argv::is_for_cmd(path) {
        return Err(Fault::Forbidden(rule::NO_SCRIPTS));
    }
    let mut file = File::options().read(true).share_mode(FILE_SHARE_READ).open(path).map_err(Fault::Os)?;
    if !file.metadata().map_err(Fault::Os)?.is_file() {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    let mut head = [0; IMAGE.len()];
    let read = file.read(&mut head).map_err(Fault::Os)?;
    if read < head.len() || head != *IMAGE {
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

/// Tells what there is: a job and a token, where they can be made.
pub(crate) fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let told = |made: io::Result<()>| made.map_err(|error| error.to_string().into());
        let state = |layer| match layer {
            Layers::JOB => told(Job::new(&Limits::new()).map(drop)),
            Layers::TOKEN => told(raw::restricted_token().map(drop)),
            layer => Err(why_not(layer).into()),
        };
        let layers = Layers::NAMES.iter().map(|(_, layer)| (*layer, state(*layer)));
        Host { layers: layers.collect(), landlock: None }
    })
}

fn why_not(layer: Layers) -> &'static str {
    match layer {
        Layers::LANDLOCK | Layers::MOUNTS => {
            "it is Linux's: nothing here confines which files a program finds"
        }
        Layers::NETWORK => "it is Linux's: a program is on the machine's network",
        Layers::PROCESSES => "it is Linux's: processes are seen, and end with their job",
        Layers::CGROUP => "it is Linux's: a job has its place",
        _ => "it is Linux's",
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
pub(crate) fn null() -> Result<OwnedHandle, Fault> {
    let file = File::options().read(true).write(true).open("NUL");
    file.map(OwnedHandle::from).map_err(Fault::Os)
}

/// Our own input, output or errors, for somebody else.
pub(crate) fn inherited(number: i32) -> Result<OwnedHandle, Fault> {
    let copy = match number {
        0 => io::stdin().as_handle().try_clone_to_owned(),
        1 => io::stdout().as_handle().try_clone_to_owned(),
        _ => io::stderr().as_handle().try_clone_to_owned(),
    };
    copy.map_err(Fault::Os)
}

/// No open file is handed over: reading at a place moves the position that both would have.
pub(crate) fn lend(_file: &File) -> Result<OwnedHandle, Fault> {
    Err(Fault::Unsupported)
}

/// Words are taken as they are: `start` joins them.
pub(crate) fn words(words: &[String]) -> Result<Vec<String>, Fault> {
    Ok(words.to_vec())
}

/// A path that is text.
pub(crate) fn path_word(path: &Path) -> Result<String, Fault> {
    let text = path.to_str().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| Fault::errno(crate::sys::errno::INVALID))
}

/// There are no signals, so no numbers either.
pub(crate) fn signal_number(_signal: Signal) -> i32 {
    0
}

#[cfg(test)]
mod tests;
