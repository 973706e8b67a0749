//! `airssys sandbox`: a program of this machine, held by what the kernel has.

mod denied;
mod given;
mod learned;
mod said;
mod told;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use airssys_osl::{
    Error, ErrorKind, Principal, bootstrap,
    policy::{ExecTerms, Grant, Mode, Policy, Protocol, rule},
    process::{Asked, Calls, Exec, Exit, Layers, Limits, Process, Profile, Signal, Stdio, host},
};

use self::{
    denied::Denied,
    given::Argument,
    learned::{Learned, Peers},
    told::{Told, status},
};
use super::signals::{Stop, Stops};
use crate::{
    args::Sandbox,
    config,
    door::{Compiling, Door},
    report::{Failure, Terminal, printable},
};

/// Where programs are, and what the program finds in its `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// The principal of the program that runs.
const PRINCIPAL: &str = "sandbox";

/// How long a program has to end after Ctrl-C, before the next one, or `kill`, ends it at once.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn sandbox(sandbox: &Sandbox, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    // One thread is enough for what waits for one program; each other is one more to begin and to end.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed("cannot start the runtime").caused_by(error))?;
    // What can be had here is found out while the log is opened.
    runtime.spawn_blocking(host);
    let code = runtime.block_on(run(sandbox, terminal));
    // A thread may still wait for a file system that does not answer.
    runtime.shutdown_background();
    code
}

async fn run(sandbox: &Sandbox, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let Some((name, arguments)) = sandbox.program.split_first() else {
        return Err(Failure::invalid("there is no program to run"));
    };
    let arguments = given::read(sandbox, arguments)?;
    let terms = terms(sandbox, &arguments)?;
    let candidates = candidates(name)?;
    let programs = candidates.iter().map(|path| Grant::exec(path, terms.clone()).rule("sandbox"));
    let peers = sandbox.net.iter().map(|peer| {
        Grant::connect(Protocol::Tcp, peer.host.as_str(), peer.ports).rule(format!("--net {}", peer.text))
    });
    let mode = if sandbox.learn { Mode::Learn } else { Mode::Enforce };
    let policy = Policy::builder()
        .principal(PRINCIPAL, programs.chain(peers).chain(given::grants(&arguments)))
        .mode(mode);
    let (denied, reached) = (Arc::<Denied>::default(), Arc::<Peers>::default());
    let hears = (Arc::clone(&denied), Arc::clone(&reached));
    let door = Door::open_for_user_heard(policy, Vec::new(), Compiling::default(), move |event| {
        hears.0.hear(event);
        hears.1.hear(event);
    })?;
    door.started(&sandbox.program.join(" "))?;
    let mut stops = Stops::new()?;
    let ended = match begin(&door, sandbox, (name, &arguments), &candidates).await {
        Ok((path, process)) => Ok((path, attend(process, &mut stops).await)),
        Err(failure) => Err(failure),
    };
    let why = match &ended {
        Ok((_, ended)) => ended.exit.to_string(),
        Err(_) => "not started".to_owned(),
    };
    door.close(&why)?;
    let (path, ended) = ended?;
    let learned = match &ended.asked {
        Some(asked) if sandbox.learn => Some(Learned::new(sandbox, &path, asked, &reached)),
        _ => None,
    };
    let (see, change) = (places(&sandbox.ro)?, places(&sandbox.rw)?);
    let told = Told { sandbox, path: &path, ended: &ended, denied: &denied.take(), see, change, learned };
    told.tell(terminal);
    Ok(ExitCode::from(status(&ended.exit)))
}

/// How a program ended, and what there is to tell of its life.
struct Ended {
    exit: Exit,
    held_by: String,
    asked: Option<Asked>,
    /// Whether its `/tmp` is not the machine's.
    own_tmp: bool,
}

/// Where a program begins that is to find everything.
fn start(sandbox: &Sandbox) -> Result<PathBuf, Failure> {
    sandbox.chdir.as_deref().map_or_else(current, place)
}

fn current() -> Result<PathBuf, Failure> {
    let current = config::absolute(Path::new("."));
    let current = current.map_err(|error| Failure::failed("cannot tell the current folder").caused_by(error));
    Ok(plain(&current?))
}

/// Whether the program is on the machine's network.
fn is_networked(sandbox: &Sandbox) -> bool {
    matches!(sandbox.profile, Profile::Network | Profile::None)
}

/// What has it watched: nothing can be without the layer by which we are told.
fn watched(sandbox: &Sandbox, terms: ExecTerms) -> Result<ExecTerms, Failure> {
    let left_out = sandbox.without.iter().fold(Layers::empty(), |all, layer| all | *layer);
    let can_be = (sandbox.profile.layers() - left_out).contains(Layers::SECCOMP);
    Ok(match () {
        () if sandbox.learn && !can_be => {
            return Err(Failure::invalid("--learn is told by seccomp what the program asks for"));
        }
        () if sandbox.learn => {
            let terms = terms.learn().directory(start(sandbox)?);
            let has_way_out = !is_networked(sandbox) && host().available().contains(Layers::NETWORK);
            if has_way_out { terms.egress() } else { terms }
        }
        () if sandbox.explain && can_be => terms.watch(),
        () => terms,
    })
}

/// What the flags say, as the terms of a grant.
fn terms(sandbox: &Sandbox, arguments: &[Argument<'_>]) -> Result<ExecTerms, Failure> {
    let mut terms = ExecTerms::new().profile(sandbox.profile).limits(limits(sandbox));
    terms = given::schema(arguments, terms);
    terms = sandbox.without.iter().fold(terms, |terms, layer| terms.without(*layer));
    terms = sandbox.require.iter().fold(terms, |terms, layer| terms.require(*layer));
    if let Some(version) = sandbox.landlock {
        terms = terms.require_landlock(version);
    }
    let (ro, rw) = (places(&sandbox.ro)?, places(&sandbox.rw)?);
    terms = ro.iter().fold(terms, |terms, path| terms.see(path));
    terms = rw.iter().fold(terms, |terms, path| terms.change(path));
    terms = variables(sandbox, terms)?;
    if sandbox.usual_calls {
        terms = terms.calls(Calls::Usual);
    }
    if sandbox.loopback {
        terms = terms.loopback();
    }
    if !sandbox.net.is_empty() {
        if is_networked(sandbox) {
            let why = format!("with --profile {} --net would hold the program to nothing", sandbox.profile);
            return Err(Failure::invalid(why));
        }
        terms = terms.egress();
    }
    if let Some((user, group)) = sandbox.user {
        terms = terms.run_as(user, group);
    }
    let current = current()?;
    let sees = |path: &Path| ro.iter().chain(&rw).any(|place| path.starts_with(place));
    match &sandbox.chdir {
        Some(dir) => terms = terms.directory(place(dir)?),
        None if sees(&current) => terms = terms.directory(current),
        None => {}
    }
    watched(sandbox, terms)
}

/// Gives it `PATH` and `HOME`, and what --env names.
fn variables(sandbox: &Sandbox, mut terms: ExecTerms) -> Result<ExecTerms, Failure> {
    let given = |name: &str| sandbox.env.iter().any(|env| env.split('=').next() == Some(name));
    for (name, value) in [("PATH", PATH), ("HOME", "/tmp")] {
        if !given(name) {
            terms = terms.env(name, value);
        }
    }
    for env in &sandbox.env {
        terms = match env.split_once('=') {
            Some((name, value)) => terms.env(name, value),
            None => match bootstrap::variable(env).map(|value| value.into_string()) {
                Some(Ok(value)) => terms.env(env.as_str(), value),
                Some(Err(_)) => return Err(Failure::invalid(format!("the variable `{env}` is no text"))),
                None => return Err(Failure::invalid(format!("there is no variable `{env}`"))),
            },
        };
    }
    Ok(terms)
}

fn limits(sandbox: &Sandbox) -> Limits {
    let mut limits = Limits::new();
    if let Some(bytes) = sandbox.mem {
        limits = limits.memory_bytes(bytes);
    }
    if let Some(count) = sandbox.pids {
        limits = limits.processes(count);
    }
    if let Some(time) = sandbox.cpu_time {
        limits = limits.cpu_time(time);
    }
    if let Some(percent) = sandbox.cpu {
        limits = limits.cpu_percent(percent);
    }
    if let Some(time) = sandbox.time {
        limits = limits.wall_time(time);
    }
    if let Some(bytes) = sandbox.file_size {
        limits = limits.file_bytes(bytes);
    }
    if let Some(bytes) = sandbox.output {
        limits = limits.output_bytes(bytes);
    }
    if let Some(bytes) = sandbox.tmp {
        limits = limits.temporary_bytes(bytes);
    }
    if let Some(count) = sandbox.descriptors {
        limits = limits.descriptors(count);
    }
    if let Some(weight) = sandbox.io_weight {
        limits = limits.io_weight(weight);
    }
    limits
}

fn places(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    paths.iter().map(|path| place(path)).collect()
}

fn place(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = config::absolute(path);
    let absolute = absolute.map_err(|error| {
        Failure::invalid(format!("cannot tell where `{}` is", path.display())).caused_by(error)
    })?;
    Ok(plain(&absolute))
}

/// Without a `.` at its end.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Where a program of this name may be: a name with a `/` in it is a path.
fn candidates(name: &str) -> Result<Vec<PathBuf>, Failure> {
    if name.contains('/') {
        return Ok(vec![place(Path::new(name))?]);
    }
    let ours = bootstrap::variable("PATH").and_then(|path| path.into_string().ok()).unwrap_or_default();
    let mut candidates = Vec::new();
    for dir in ours.split(':').chain(PATH.split(':')).filter(|dir| dir.starts_with('/')) {
        let candidate = plain(&Path::new(dir).join(name));
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

/// Opens the first of the candidates that is there, and starts it.
async fn begin(
    door: &Door,
    sandbox: &Sandbox,
    (name, arguments): (&str, &[Argument<'_>]),
    candidates: &[PathBuf],
) -> Result<(PathBuf, Process), Failure> {
    let principal = door.os.principal(PRINCIPAL);
    let principal = principal.map_err(|error| Failure::failed("no principal").caused_by(error))?;
    let (path, exec) = open(&principal, name, candidates).await?;
    let launch = given::launch(arguments, &principal).await?.stdin(Stdio::Inherit);
    let launch = match sandbox.output {
        Some(_) => launch.stdout(Stdio::Pipe).stderr(Stdio::Pipe),
        None => launch.stdout(Stdio::Inherit).stderr(Stdio::Inherit),
    };
    let process = exec.spawn(launch).await.map_err(|error| not_started(name, error))?;
    Ok((path, process))
}

async fn open(principal: &Principal, name: &str, candidates: &[PathBuf]) -> Result<(PathBuf, Exec), Failure> {
    let mut last = None;
    for path in candidates {
        match principal.exec(path).await {
            Ok(exec) => return Ok((path.clone(), exec)),
            Err(error) if error.kind() == ErrorKind::NotFound => last = Some(error),
            Err(error) => return Err(not_started(name, error)),
        }
    }
    let failure = Failure::invalid(format!("there is no program `{}`", printable(name.as_bytes())));
    Err(match last {
        Some(error) if candidates.len() == 1 => failure.caused_by(error),
        _ => failure.help("give its path, or put its directory into PATH"),
    })
}

fn not_started(name: &str, error: Error) -> Failure {
    let help = match (error.rule(), error.kind()) {
        (Some(rule::NO_SCRIPTS), _) => {
            Some("start its interpreter, with the script as argument and its folder as --ro")
        }
        (Some(rule::OTHER_ARGUMENTS | rule::BENEATH_ROOT), _) => Some(
            "the NAME of a `{path:DIR:NAME}` is one beneath DIR, without `..`, and no link leads it elsewhere",
        ),
        (_, ErrorKind::Unsupported) => {
            Some("`airssys doctor` shows what can be had here, and why not the rest")
        }
        _ => None,
    };
    let failure = Failure::failed(format!("cannot start `{}`", printable(name.as_bytes()))).caused_by(error);
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// Waits for the end; Ctrl-C and `kill` are passed on, since the program has a session of its own.
async fn attend(mut process: Process, stops: &mut Stops) -> Ended {
    let mut said = said::pass_on(&mut process);
    let exit = wait(&mut process, stops).await;
    let last = async {
        for said in &mut said {
            let _ = said.await;
        }
    };
    tokio::select! {
        () = last => {}
        // Who is left of it may have its output open for ever.
        _ = stops.next() => said.iter().for_each(|said| said.abort()),
    }
    let own_tmp = process.enforcement().enforced().contains(Layers::MOUNTS);
    Ended { exit, held_by: process.enforcement().to_string(), asked: process.asked(), own_tmp }
}

async fn wait(process: &mut Process, stops: &mut Stops) -> Exit {
    tokio::select! {
        exit = process.wait() => return exit,
        stop = stops.next() => {
            let signal = if stop == Stop::Interrupt { Signal::Interrupt } else { Signal::Terminate };
            // One that may not be signalled any more has been killed.
            let _ = process.signal(signal);
        }
    }
    tokio::select! {
        exit = process.wait() => return exit,
        _ = stops.next() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
    process.kill();
    process.wait().await
}
