//! `airssys run`: a system from its manifest. `program` is the other thing that it runs.

use std::{
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use airssys_osl::policy::{Direction, Mode, Policy};
use airssys_wasm::{Engine, System, Watch, add_principals, load, load_grants};
use serde_json::json;

use super::{
    STATUS,
    control::{Control, Served},
    dead::{self, open_shelf},
    program, reload, runtime,
    signals::{Hangups, Stops},
};
use crate::{
    args::Run,
    control,
    dead::Keeper,
    door::Door,
    exports::Exports,
    report::{Announcer, Failure, ManifestProblems, Summary, Terminal, describe_tree},
    target::{self, ManifestFile},
};

pub(super) fn run(run: Run, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let runtime = runtime()?;
    let code = if target::is_program(run.target()) {
        runtime.block_on(program::run(run, terminal))
    } else {
        runtime.block_on(system(run, started, terminal))
    };
    // A thread may still wait for input that nobody needs any more.
    runtime.shutdown_background();
    code
}

async fn system(run: Run, started: Instant, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    check_options(&run)?;
    let file = ManifestFile::read_in(run.target(), &run.system.set, reload::mode(&run))?;
    let (mut stops, mut hangups) = (Stops::new()?, Hangups::new()?);
    if let Err(error) = airssys_osl::bootstrap::raise_file_limit() {
        tracing::debug!(cause = %error, "the limit of open files stays as it is");
    }
    let door = open(&file, terminal)?;
    let engine = door.engine_holding(file.manifest.actors())?;
    door.started(&format!("{} {}", file.shown, file.digest))?;

    let exports = Exports::start(&file.manifest.audit)?;
    let shelf = open_shelf(&file.manifest.state, &door.program).await?;
    let (post, keeper) = Keeper::start(shelf, &door.program, terminal.clone())?;
    let announcer = Arc::new(Announcer::new(terminal.clone(), started, post));
    greet(&file, &door, terminal);
    let started_system = tokio::select! {
        started = start(&file, &engine, &door, announcer.clone(), terminal) => started,
        _ = stops.next() => Err(Failure::failed("stopped before the system was up")),
    };
    let system = match started_system {
        Ok(system) => system,
        Err(failure) => {
            drop(announcer);
            keeper.finish().await;
            door.close("did not start")?;
            exports.finish().await;
            return Err(failure);
        }
    };

    let control = Control::open(&file.manifest.state, &door.program).await;
    let served = Served::new(&system, &door, keeper.shelf.clone());
    let why = tokio::select! {
        why = attend(&system, &run, started, &mut stops, terminal) => why,
        () = reload::follow(&mut hangups, &run, &file, &system, &door, terminal) => Why::Asked,
        () = serve(&control, &served, terminal) => Why::Asked,
    };
    if let Ok(control) = control {
        control.close().await;
    }
    announcer.stopping();
    terminal.status(String::new());
    tokio::select! {
        () = system.shutdown() => {}
        _ = stops.next() => {
            terminal.say(&"  stopped at once; what was in the mailboxes is lost");
            door.close("stopped at once")?;
            return Ok(ExitCode::from(130));
        }
    }
    let (status, restarts, undelivered) = (system.status(), announcer.restarts(), announcer.undelivered());
    drop((system, announcer));
    keeper.finish().await;
    let log = door.log_dir.display().to_string();
    let summary = Summary {
        system: &file.manifest.name,
        why: why.text(),
        status: &status,
        restarts: &restarts,
        elapsed: started.elapsed(),
        log: &log,
    };
    summary.tell(terminal);
    report_mode(&file, &door, terminal);
    door.close(why.text())?;
    exports.finish().await;
    judge(why, undelivered.load(Ordering::Relaxed), &file.manifest.name)
}

/// Whether a run that came to its end did what it should.
fn judge(why: Why, undelivered: u64, name: &str) -> Result<ExitCode, Failure> {
    if undelivered > 0 {
        let failure = Failure::failed(format!("{undelivered} messages were not handled before the end"));
        return Err(failure.help("give the components that they were for a longer `shutdown`"));
    }
    match why {
        Why::Idle | Why::Asked => Ok(ExitCode::SUCCESS),
        Why::GaveUp => Err(Failure::failed(format!("the system `{name}` gave up")).help(
            "its components crashed more often than `intensity` in `period` allows; the lines above say why",
        )),
    }
}

/// Refuses what only a program without a manifest takes.
fn check_options(run: &Run) -> Result<(), Failure> {
    if !run.arguments().is_empty() {
        let failure = Failure::invalid("a system takes no arguments");
        return Err(failure.help("give values to the manifest's variables with `--set NAME=VALUE`"));
    }
    if run.program.is_used() {
        let failure =
            Failure::invalid("`--dir`, `--env` and their like are for a program without a manifest");
        return Err(
            failure.help("grant a component what it needs in its manifest: docs/manifest.md says how")
        );
    }
    Ok(())
}

/// Opens the system's door: its components' principals, and what the program itself needs.
pub(super) fn open(file: &ManifestFile, terminal: &Arc<Terminal>) -> Result<Door, Failure> {
    let manifest = &file.manifest;
    let state = &manifest.state;
    let made = airssys_osl::bootstrap::create_dir(state);
    made.map_err(|error| Failure::failed("cannot make the system's state folder").caused_by(error))?;
    let mut grants = load_grants(manifest);
    grants.extend(dead::grants(state));
    grants.extend(control::grants(state, Direction::Listen));
    let policy = add_principals(manifest, Policy::builder());
    Door::open(manifest, &format!("airssys/{}", manifest.name), policy, grants, terminal)
}

fn greet(file: &ManifestFile, door: &Door, terminal: &Terminal) {
    let log = door.log_dir.display().to_string();
    let text = format!("{}\n  audit log {log}", describe_tree(terminal.err, &file.manifest));
    terminal.tell(&text, || {
        let components: Vec<_> = file.manifest.components.iter().map(|component| &component.name).collect();
        let processes: Vec<_> = file.manifest.processes.iter().map(|process| &process.name).collect();
        json!({
            "event": "starting",
            "system": file.manifest.name,
            "components": components,
            "processes": processes,
            "audit": log,
        })
    });
}

async fn start(
    file: &ManifestFile,
    engine: &Engine,
    door: &Door,
    announcer: Arc<Announcer>,
    terminal: &Terminal,
) -> Result<System, Failure> {
    let watch: Arc<dyn Watch> = announcer.clone();
    let show = async {
        let mut renew = tokio::time::interval(STATUS);
        loop {
            renew.tick().await;
            announcer.show_loading(file.manifest.components.len());
        }
    };
    let cache = door.cache().await;
    let loaded = tokio::select! {
        loaded = load(&file.manifest, engine, cache, &door.os, &door.program, &watch) => loaded,
        never = show => never,
    };
    terminal.status(String::new());
    let components = loaded.map_err(|errors| Failure::problems(ManifestProblems::load(file, &errors)))?;
    announcer.loaded();
    System::start(&file.manifest, &components, engine, &door.os, watch)
        .await
        .map_err(|error| Failure::failed("the system did not start").caused_by(error))
}

/// Does what the system is asked while it runs. Without a control socket it runs all the same.
async fn serve(control: &Result<Control, Failure>, served: &Served<'_>, terminal: &Terminal) {
    match control {
        Ok(control) => {
            terminal.event(|| json!({"event": "ready"}));
            control.serve(served).await;
        }
        Err(failure) => {
            terminal.failure(failure);
            std::future::pending().await
        }
    }
}

/// Says what would have been denied, where denials were not carried out.
fn report_mode(file: &ManifestFile, door: &Door, terminal: &Terminal) {
    let (shown, count) = (&file.shown, door.would_deny());
    let (mode, next) = match file.manifest.mode {
        Mode::AuditOnly => ("audit-only", format!("airssys audit query {shown} --would-deny")),
        Mode::Learn => ("learn", format!("airssys audit learn {shown}")),
        _ => return,
    };
    let text = format!("  mode {mode}: {count} operations would have been denied: {next}");
    terminal.tell(&text, || json!({"event": "mode", "mode": mode, "would_deny": count}));
}

/// Why a system stops.
#[derive(Clone, Copy)]
enum Why {
    Idle,
    Asked,
    GaveUp,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Idle => "had nothing left to do",
            Self::Asked => "was asked to stop",
            Self::GaveUp => "gave up",
        }
    }
}

/// Waits until the system is to be stopped, and shows what it does.
async fn attend(system: &System, run: &Run, started: Instant, stops: &mut Stops, terminal: &Terminal) -> Why {
    let idle = async {
        match run.system.until_idle {
            Some(quiet) => system.idle(quiet).await,
            None => std::future::pending().await,
        }
    };
    let show = async {
        let mut renew = tokio::time::interval(STATUS);
        loop {
            renew.tick().await;
            if terminal.is_live() {
                terminal.show_status(&system.status(), started.elapsed());
            }
        }
    };
    if run.system.until_idle.is_none() {
        terminal.say(&"  running; Ctrl-C stops");
    }
    tokio::select! {
        () = idle => Why::Idle,
        _ = stops.next() => Why::Asked,
        _ = system.exited() => Why::GaveUp,
        () = show => Why::Asked,
    }
}
