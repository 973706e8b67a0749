//! A granted program, and how it is started.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use tokio::sync::watch;

use super::{
    Enforcement, Exit, Input, Launch, Layers, Limits, Output, Process, Profile, Stdio,
    egress::Egress,
    launch::Fitted,
    running::{Held, record_exit},
};
use crate::{
    Action, Error, Principal,
    fs::FileKind,
    limits::{EGRESS_PORT, PROGRAM_BYTES},
    os::{Done, Fault, Name, Opened, Operation, Slot, pool},
    path::Beneath,
    policy::{Decision, ExecGrant, ExecTerms, FsTerms, Resource, Rights, rule},
    sys::{self, Descriptor, Lent, Place, Plan, Resolution, Sockets, Wait},
};

/// How many descriptors a program that runs takes of its principal's: two for itself, one for what tells of its end,
/// three for its pipes, one for its mounts and three for what its control groups count. Its proxy takes another, and so does whoever watches it.
const DESCRIPTORS: usize = 10;

/// Whether a path is of the system's own, which every program sees that is not refused it.
pub(super) fn is_system(path: &Path) -> bool {
    sys::SYSTEM.iter().any(|system| path.starts_with(system))
}

/// Whether a path is of what programs see that are on the machine's network.
pub(super) fn is_resolver(path: &Path) -> bool {
    sys::RESOLVER.iter().any(|file| path == Path::new(file))
}

/// What is to hold a program; or which layer is missing for it or for its limits, and why.
fn choose(terms: &ExecTerms) -> Result<Enforcement, (Layers, Box<str>)> {
    let chosen =
        Enforcement::choose(sys::host(), terms.profile, terms.left_out, terms.required, terms.landlock)?;
    match sys::unbounded(&terms.limits, chosen.enforced()) {
        None => Ok(chosen),
        Some((layer, why)) => match chosen.absent().find(|(absent, _)| *absent == layer) {
            Some((_, absent)) => Err((layer, format!("{why} ({absent})").into())),
            None => Err((layer, why.into())),
        },
    }
}

/// Whether the memory of each process is bounded, for there is nothing to count all that of all of them by.
#[cfg(target_os = "linux")]
fn bounds_each(limits: &Limits, enforced: Layers) -> bool {
    limits.memory_bytes.is_some() && limits.memory_of_each && !sys::counts_memory(enforced)
}

/// Elsewhere that of none is.
#[cfg(not(target_os = "linux"))]
fn bounds_each(_limits: &Limits, _enforced: Layers) -> bool {
    false
}

/// A program that may be started: opened once, so that whatever its path names later is not it.
///
/// Clones are the same handle. See [the module](crate::process).
#[derive(Clone)]
pub struct Exec {
    principal: Principal,
    grant: Arc<ExecGrant>,
    program: Arc<(Descriptor, Slot)>,
}

impl Principal {
    /// Opens a granted program.
    ///
    /// What is opened is what [`Exec::spawn`] starts, whatever is renamed or linked later. Its content can still be
    /// changed by whoever may write to it, unless the grant names its hash
    /// ([`ExecTerms::sha256`](crate::policy::ExecTerms::sha256)). Leaves one record.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): no grant names it, its hash is another one, or it is a script
    ///   ([`NO_SCRIPTS`](rule::NO_SCRIPTS)).
    /// * [`NotFound`](crate::ErrorKind::NotFound), [`Io`](crate::ErrorKind::Io): the operating system refused.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported): the grant has a hash, and nothing here holds a program to it (macOS).
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): the principal has as much open as it may, or the program to
    ///   be hashed is larger than [`PROGRAM_BYTES`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is left open; the record then says `cancelled`.
    pub async fn exec(&self, program: impl AsRef<Path>) -> Result<Exec, Error> {
        let program = program.as_ref();
        let standing = self.standing();
        let decision = standing.decide(Action::ProcessOpen, Resource::Program(program));
        let operation = self.operation(Action::ProcessOpen, program.as_os_str().as_encoded_bytes());
        // A start is what is counted.
        let decision = decision.uncounted();
        let grants = standing.grants.as_ref().ok();
        let grant = grants.and_then(|grants| grants.exec(program, decision.rule).map(Arc::clone));
        let execute = async {
            let grant = grant.ok_or(Fault::Bug)?;
            let slot = Slot::take(self, 1, self.descriptors())?;
            let opened = Arc::clone(&grant);
            let file = pool(move || {
                // What the machine can enforce is found out here, where it may take its time.
                sys::host();
                sys::open_program(&opened.program, opened.terms.sha256.as_ref(), PROGRAM_BYTES)
            });
            Ok(Done::new((grant, file.await?, slot)))
        };
        let (grant, file, slot) = operation.run(decision, standing.epoch, execute).await?;
        Ok(Exec { principal: self.clone(), grant, program: Arc::new((file, slot)) })
    }
}

impl Exec {
    /// Starts the program.
    ///
    /// What holds it is decided before, and part of both records: [`Process::enforcement`] tells it too. It runs in a
    /// session of its own, without any descriptor but its input, output, errors and the files of its arguments, with
    /// no capability, and can gain none. When it ends, by itself or not, another record says how, and what it used.
    ///
    /// Needs a runtime with I/O where a stream is a pipe, and one with time too where it has a way out
    /// ([`ExecTerms::egress`](crate::policy::ExecTerms::egress)).
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, or `launch` is not what the grant describes
    ///   ([`OTHER_ARGUMENTS`](rule::OTHER_ARGUMENTS)), or one of its files may not be handed over, or one of its paths leads
    ///   out of its directory ([`BENEATH_ROOT`](rule::BENEATH_ROOT)).
    /// * [`Unsupported`](crate::ErrorKind::Unsupported): a layer that is required cannot be had here, or the `/proc` by which
    ///   it finds its files. The error says which one, its cause why.
    /// * [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): it cannot be recorded, so it was not started.
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): the principal has as much open as it may.
    /// * [`NotFound`](crate::ErrorKind::NotFound), [`Io`](crate::ErrorKind::Io): the operating system refused; the error
    ///   names the step. On macOS some steps are other programs': where they fail the program seems to have ended, with 65, 71,
    ///   125, 126 or 127.
    ///
    /// # Cancel safety
    ///
    /// The program is killed if it was started; the record then says `cancelled`.
    pub async fn spawn(&self, launch: Launch) -> Result<Process, Error> {
        let standing = self.principal.standing();
        let program = &self.grant.program;
        let mut decision = standing.decide(Action::ProcessSpawn, Resource::Program(program));
        let grants = standing.grants.as_ref().ok();
        let current = grants.and_then(|grants| grants.exec(program, decision.rule));
        let grant = Arc::clone(current.unwrap_or(&self.grant));
        let fitted = launch.fit(&program.to_string_lossy(), &grant.terms);
        if decision.permits() {
            if grant.terms.sha256 != self.grant.terms.sha256 {
                decision = Decision::deny(rule::CHANGED_TERMS);
            } else if fitted.is_none() {
                decision = Decision::deny(rule::OTHER_ARGUMENTS);
            }
        }
        // What does not fit is not repeated in the record of its denial: that names the program alone.
        let fitted = fitted.unwrap_or_else(|| Fitted::of(&program.to_string_lossy()));
        let resource = fitted.args.join(" ").into_bytes();
        let terms = &grant.terms;
        let enforcement = choose(terms);
        let held_by = match &enforcement {
            Ok(enforcement) => {
                let learns = if terms.learns { "; learns, and finds every file of its user" } else { "" };
                let each = bounds_each(&terms.limits, enforcement.enforced());
                let each = if each { "; memory of each process, not of all" } else { "" };
                format!("{enforcement}{learns}{each}")
            }
            Err((layer, why)) => format!("{}: no {layer}: {why}", terms.profile),
        };
        let operation = Operation {
            mutates: true,
            other: Some(Name::plain(held_by.as_bytes())),
            ..self.principal.operation(Action::ProcessSpawn, &resource)
        };
        let execute = async {
            let enforcement = enforcement.map_err(|(layer, why)| Fault::Lacks(layer.to_string(), why))?;
            #[cfg(target_os = "linux")]
            if !fitted.files.is_empty()
                && let Some(why) = sys::why_no_proc(enforcement.enforced())
            {
                // Its files are found there.
                return Err(Fault::Lacks("/proc".to_owned(), why));
            }
            let descriptors = DESCRIPTORS + usize::from(terms.egress) + usize::from(terms.watched);
            let slot = Slot::take(&self.principal, descriptors, self.principal.descriptors())?;
            let mut streams = Streams::default();
            let stdio = [
                streams.input(&self.principal, &launch.stdin)?,
                streams.output(&self.principal, &launch.stdout, false)?,
                streams.output(&self.principal, &launch.stderr, true)?,
            ];
            let draft = Draft::new(self, &grant, &fitted, &enforcement, stdio)?;
            let on_end = self.on_end(&grant, &resource, &held_by, standing.epoch);
            let begun = sys::spawn(move || draft.plan(), on_end).await?;
            let (child, notes) = (begun.child, begun.notes);
            let egress = begun.listener.map(|listener| Egress::new(listener, &self.principal));
            let egress = egress.transpose().map_err(Fault::Os)?;
            Ok(Done::new((child, notes, egress, streams, slot, enforcement)))
        };
        let (child, notes, egress, streams, slot, enforcement) =
            operation.run(decision, standing.epoch, execute).await?;
        let egress = egress.map(|egress| egress.start(child.watch()));
        let held = Held::new(child, notes, self.principal.clone(), Arc::clone(&grant), slot);
        Ok(streams.attach(held, egress, enforcement, grant.terms.limits.output_bytes))
    }

    /// What records the end of the program.
    fn on_end(&self, grant: &Arc<ExecGrant>, resource: &[u8], held_by: &str, epoch: u32) -> sys::OnEnd {
        let (principal, grant) = (self.principal.clone(), Arc::clone(grant));
        // The end comes on a thread that knows of no trace.
        let (resource, held_by, opened) = (resource.to_vec(), held_by.to_owned(), Opened::now());
        Box::new(move |exit: &Exit| record_exit(&principal, &grant, &resource, &held_by, epoch, opened, exit))
    }
}

/// Everything that a plan is made of, on its way to the thread that makes it.
struct Draft {
    program: Descriptor,
    grant: Arc<ExecGrant>,
    args: Vec<sys::Word>,
    env: Vec<sys::Word>,
    files: Vec<Lent>,
    /// Directories, with the names beneath them that are among the arguments.
    paths: Vec<(PathBuf, PathBuf)>,
    resolution: Resolution,
    stdio: [Descriptor; 3],
    enforcement: Enforcement,
}

impl Draft {
    fn new(
        exec: &Exec,
        grant: &Arc<ExecGrant>,
        fitted: &Fitted<'_>,
        enforcement: &Enforcement,
        stdio: [Descriptor; 3],
    ) -> Result<Self, Fault> {
        let files = fitted.files.iter().map(|(file, root)| {
            let write = file.rights().contains(Rights::WRITE);
            Ok(Lent { fd: file.lend(&exec.principal, Some(root), file.rights())?, write })
        });
        Ok(Self {
            program: exec.program.0.try_clone().map_err(Fault::Os)?,
            grant: Arc::clone(grant),
            args: sys::words(&fitted.args)?,
            env: sys::words(&fitted.env)?,
            files: files.collect::<Result<_, Fault>>()?,
            paths: fitted.paths.iter().map(|(root, name)| ((*root).to_owned(), (*name).to_owned())).collect(),
            resolution: exec.principal.os().resolution(),
            stdio,
            enforcement: enforcement.clone(),
        })
    }

    fn plan(self) -> Result<Plan, Fault> {
        let terms = &self.grant.terms;
        for (root, name) in &self.paths {
            check_beneath(root, name, self.resolution)?;
        }
        let on_network = matches!(terms.profile, Profile::Network | Profile::None);
        let resolver: &[&str] = if on_network { sys::RESOLVER } else { &[] };
        let mut places = Vec::new();
        let by_path = self.enforcement.enforced().intersects(sys::BY_PATH);
        for (path, write) in &terms.places {
            places.push(Place::granted(path, *write)?);
        }
        if terms.learns && by_path {
            places.extend(sys::everything(|path| terms.system && is_system(path))?);
        }
        for path in sys::SYSTEM.iter().chain(resolver).filter(|_| terms.system && by_path) {
            let path = Path::new(path);
            if terms.places.iter().any(|(granted, _)| granted == path) {
                continue;
            }
            match Place::system(path, !path.starts_with("/etc")) {
                Ok(place) => places.push(place),
                Err(fault) if fault.is(std::io::ErrorKind::NotFound) => {}
                Err(fault) => return Err(fault),
            }
        }
        let own_root = self.enforcement.enforced().contains(Layers::MOUNTS);
        let directory =
            terms.directory.as_deref().unwrap_or(Path::new(if own_root { "/tmp" } else { sys::START }));
        let ids = match terms.run_as {
            Some(ids) => Some(ids),
            None if terms.dynamic_user => sys::dynamic_user().map_err(Fault::Os)?,
            None => sys::nobody(),
        };
        Ok(Plan {
            program: self.program,
            args: self.args,
            env: self.env,
            stdio: self.stdio,
            files: self.files,
            directory: sys::path_word(directory)?,
            places,
            layers: self.enforcement.enforced(),
            landlock: self.enforcement.landlock_version(),
            sockets: if on_network || terms.loopback { Sockets::Internet } else { Sockets::Unix },
            loopback: terms.loopback,
            listen: terms.egress.then_some(EGRESS_PORT),
            calls: terms.calls,
            executes: terms.profile == Profile::Build || terms.learns,
            tells: terms.profile == Profile::Build,
            watched: terms.watched,
            learns: terms.learns,
            limits: terms.limits.clone(),
            ids,
        })
    }
}

/// Refuses a name that leads out of `root`, to what is no file and no directory, or to where nothing can be.
fn check_beneath(root: &Path, name: &Path, resolution: Resolution) -> Result<(), Fault> {
    let directory = sys::open_root(root, &FsTerms::new(), resolution)?.directory;
    let look = |path: &Path, follow| {
        let path = Beneath::parse(path).map_err(|_| Fault::Forbidden(rule::OTHER_ARGUMENTS))?;
        sys::metadata(&directory, path, follow, Wait::Allowed).map(|found| found.kind)
    };
    match look(name, true) {
        Ok(FileKind::File | FileKind::Directory) => return Ok(()),
        Ok(_) => return Err(Fault::Forbidden(rule::PLAIN_FILES)),
        Err(fault) if fault.is(io::ErrorKind::NotFound) => {}
        Err(fault) => return Err(fault),
    }
    // Nothing is there, unless it is a link to nothing: what is made by its name is made where it leads.
    match look(name, false) {
        Err(fault) if fault.is(io::ErrorKind::NotFound) => {}
        found => return found.and(Err(Fault::Forbidden(rule::BENEATH_ROOT))),
    }
    let parent = name.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.map_or(Ok(FileKind::Directory), |parent| look(parent, true))? {
        FileKind::Directory => Ok(()),
        _ => Err(Fault::Os(io::ErrorKind::NotADirectory.into())),
    }
}

/// Our ends of the pipes.
#[derive(Default)]
struct Streams {
    stdin: Option<sys::PipeWriter>,
    stdout: Option<sys::PipeReader>,
    stderr: Option<sys::PipeReader>,
}

impl Streams {
    /// What the program reads from.
    fn input(&mut self, principal: &Principal, from: &Stdio) -> Result<Descriptor, Fault> {
        match from {
            Stdio::Null => sys::null(),
            Stdio::Inherit => sys::inherited(0),
            Stdio::File(file) => file.lend(principal, None, Rights::READ),
            Stdio::Pipe => {
                let (theirs, ours) = sys::input_pipe()?;
                self.stdin = Some(ours);
                Ok(theirs)
            }
        }
    }

    /// What the program writes to.
    fn output(&mut self, principal: &Principal, to: &Stdio, errors: bool) -> Result<Descriptor, Fault> {
        match to {
            Stdio::Null => sys::null(),
            Stdio::Inherit => sys::inherited(if errors { 2 } else { 1 }),
            Stdio::File(file) => file.lend(principal, None, Rights::WRITE),
            Stdio::Pipe => {
                let (theirs, ours) = sys::output_pipe()?;
                *(if errors { &mut self.stderr } else { &mut self.stdout }) = Some(ours);
                Ok(theirs)
            }
        }
    }

    fn attach(
        self,
        held: Arc<Held>,
        egress: Option<watch::Receiver<()>>,
        enforcement: Enforcement,
        output_bytes: u64,
    ) -> Process {
        let left = Arc::new(AtomicU64::new(output_bytes));
        let output = |pipe| Output { pipe, left: Arc::clone(&left), killer: held.killer() };
        let (stdout, stderr) = (self.stdout.map(output), self.stderr.map(output));
        let stdin = self.stdin.map(|pipe| Input(Some(pipe)));
        Process::new(held, egress, enforcement, stdin, stdout, stderr)
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("program", &self.grant.program).finish_non_exhaustive()
    }
}
