//! `airssys sandbox`: a program of this machine, held by what the kernel has.

mod denied;
mod told;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use airssys_osl::{
    Error, ErrorKind, Principal, bootstrap,
    policy::{ExecTerms, Grant, Policy, Protocol, rule},
    process::{Calls, Exec, Exit, Launch, Limits, Process, Profile, Signal, Stdio},
};
use tokio::signal::unix::SignalKind;

use self::{
    denied::Denied,
    told::{Told, status},
};
use super::{run::Signals, runtime};
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
    let runtime = runtime()?;
    let code = runtime.block_on(run(sandbox, terminal));
    // A thread may still wait for a file system that does not answer.
    runtime.shutdown_background();
    code
}

async fn run(sandbox: &Sandbox, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let Some((name, arguments)) = sandbox.program.split_first() else {
        return Err(Failure::invalid("there is no program to run"));
    };
    let terms = terms(sandbox, arguments)?;
    let candidates = candidates(name)?;
    let programs = candidates.iter().map(|path| Grant::exec(path, terms.clone()).rule("sandbox"));
    let peers = sandbox.net.iter().map(|peer| {
        Grant::connect(Protocol::Tcp, peer.host.as_str(), peer.ports).rule(format!("--net {}", peer.text))
    });
    let policy = Policy::builder().principal(PRINCIPAL, programs.chain(peers));
    let denied = Arc::<Denied>::default();
    let hears = Arc::clone(&denied);
    let door =
        Door::open_for_user_heard(policy, Vec::new(), Compiling::default(), move |event| hears.hear(event))?;
    door.started(&sandbox.program.join(" "))?;
    let mut signals = Signals::new()?;
    let ended = match start(&door, name, &candidates).await {
        Ok((path, process)) => Ok((path, attend(process, &mut signals).await)),
        Err(failure) => Err(failure),
    };
    let why = match &ended {
        Ok((_, (exit, _))) => exit.to_string(),
        Err(_) => "not started".to_owned(),
    };
    door.close(&why)?;
    let (path, (exit, held_by)) = ended?;
    Told { sandbox, path: &path, exit: &exit, held_by: &held_by, denied: &denied.take() }.tell(terminal);
    Ok(ExitCode::from(status(&exit)))
}

/// What the flags say, as the terms of a grant.
fn terms(sandbox: &Sandbox, arguments: &[String]) -> Result<ExecTerms, Failure> {
    let mut terms = ExecTerms::new().profile(sandbox.profile).limits(limits(sandbox));
    terms = arguments.iter().fold(terms, |terms, word| terms.arg(word.as_str()));
    terms = sandbox.without.iter().fold(terms, |terms, layer| terms.without(*layer));
    terms = sandbox.require.iter().fold(terms, |terms, layer| terms.require(*layer));
    let (ro, rw) = (places(&sandbox.ro)?, places(&sandbox.rw)?);
    terms = ro.iter().fold(terms, |terms, path| terms.see(path));
    terms = rw.iter().fold(terms, |terms, path| terms.change(path));
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
    if sandbox.usual_calls {
        terms = terms.calls(Calls::Usual);
    }
    if sandbox.loopback {
        terms = terms.loopback();
    }
    if !sandbox.net.is_empty() {
        if matches!(sandbox.profile, Profile::Network | Profile::None) {
            let why = format!("with --profile {} --net would hold the program to nothing", sandbox.profile);
            return Err(Failure::invalid(why));
        }
        terms = terms.egress();
    }
    if let Some((user, group)) = sandbox.user {
        terms = terms.run_as(user, group);
    }
    let current = config::absolute(Path::new("."))
        .map_err(|error| Failure::failed("cannot tell the current folder").caused_by(error))?;
    let sees = |path: &Path| ro.iter().chain(&rw).any(|place| path.starts_with(place));
    match &sandbox.chdir {
        Some(dir) => terms = terms.directory(place(dir)?),
        None if sees(&current) => terms = terms.directory(plain(&current)),
        None => {}
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
async fn start(door: &Door, name: &str, candidates: &[PathBuf]) -> Result<(PathBuf, Process), Failure> {
    let principal = door.os.principal(PRINCIPAL);
    let principal = principal.map_err(|error| Failure::failed("no principal").caused_by(error))?;
    let (path, exec) = open(&principal, name, candidates).await?;
    let launch = Launch::new().stdin(Stdio::Inherit).stdout(Stdio::Inherit).stderr(Stdio::Inherit);
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
async fn attend(mut process: Process, signals: &mut Signals) -> (Exit, String) {
    let held_by = process.enforcement().to_string();
    tokio::select! {
        exit = process.wait() => return (exit, held_by),
        kind = signals.next() => {
            let signal = if kind == SignalKind::interrupt() { Signal::Interrupt } else { Signal::Terminate };
            // One that may not be signalled any more has been killed.
            let _ = process.signal(signal);
        }
    }
    tokio::select! {
        exit = process.wait() => return (exit, held_by),
        _ = signals.next() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
    process.kill();
    (process.wait().await, held_by)
}
