//! `airssys sandbox`: a program of this machine, held by what the kernel has.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use airssys_osl::{
    Error, ErrorKind, Principal, bootstrap,
    policy::{ExecTerms, Grant, Policy, rule},
    process::{Calls, Cause, Exec, Exit, Launch, Limits, Process, Signal, Status, Stdio},
};
use serde_json::json;
use tokio::signal::unix::SignalKind;

use super::{run::Signals, runtime};
use crate::{
    args::Sandbox,
    config,
    door::Door,
    report::{Failure, Style, Terminal, printable},
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
    let grants = candidates.iter().map(|path| Grant::exec(path, terms.clone()).rule("sandbox"));
    let door = Door::open_for_user(Policy::builder().principal(PRINCIPAL, grants), Vec::new())?;
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
    tell(sandbox, &path, &exit, &held_by, terminal);
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

/// The exit status, as a shell has it.
fn status(exit: &Exit) -> u8 {
    match exit.status {
        Status::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Status::Signal(signal) => u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)),
    }
}

/// Says why it ended where a limit ended it, and the rest where it was asked for.
fn tell(sandbox: &Sandbox, path: &Path, exit: &Exit, held_by: &str, terminal: &Terminal) {
    let limit = match exit.cause {
        Cause::OutOfMemory => Some("it needed more memory than --mem allows"),
        Cause::WallTime => Some("it took longer than --time allows"),
        Cause::CpuTime => Some("it computed for longer than --cpu-time allows"),
        Cause::FileSize => Some("it wrote a longer file than --file-size allows"),
        _ => None,
    };
    let value = || {
        json!({
            "event": "ended",
            "program": path.to_string_lossy(),
            "status": status(exit),
            "cause": exit.cause.to_string(),
            "limit": limit,
            "held_by": held_by,
            "user_us": exit.usage.user_time.as_micros() as u64,
            "system_us": exit.usage.system_time.as_micros() as u64,
            "wall_us": exit.usage.wall_time.as_micros() as u64,
            "peak_memory_bytes": exit.usage.peak_memory_bytes,
        })
    };
    if let Some(limit) = limit {
        terminal.say(&format!("{} {limit}", terminal.err.text(Style::Bad, "ended:")));
    }
    if sandbox.explain {
        explain(sandbox, path, exit, held_by, terminal);
    }
    terminal.event(value);
}

fn explain(sandbox: &Sandbox, path: &Path, exit: &Exit, held_by: &str, terminal: &Terminal) {
    let line = |name: &str, text: String| {
        let name = terminal.err.text(Style::Dim, format!("{name:>8}:"));
        terminal.say(&format!("{name} {}", printable(text.as_bytes())));
    };
    line("program", path.display().to_string());
    line("held by", held_by.to_owned());
    let paths = |paths: &[PathBuf]| {
        let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        if paths.is_empty() { "nothing else".to_owned() } else { paths.join(", ") }
    };
    line("read", format!("the system's programs and libraries, {}", paths(&sandbox.ro)));
    line("changed", format!("its own /tmp, {}", paths(&sandbox.rw)));
    line("ended", exit.to_string());
}
