//! `airssys run FILE.wasm`: one program, which may do what the command line says.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use airssys_osl::{
    bootstrap,
    policy::{Grant, Policy, Rights},
};
use airssys_wasm::{
    COMPONENT_BYTES, Command, CommandDir, CommandOptions, Ended, ErrorKind, Invocation, grant_command,
    principal_name,
};

use serde_json::json;

use super::reload;
use crate::{
    args::{Mapping, Run, RunProgram, duration, size},
    config,
    door::{Compiling, Door},
    report::{Failure, Terminal},
};

/// The name that a program without a manifest has in its principal.
const COMMAND: &str = "command";

/// The most linear memory of a program for which nothing else is said.
const MEMORY_BYTES: usize = 1 << 30;

pub(super) async fn run(run: Run, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    if !run.system.set.is_empty() || run.system.until_idle.is_some() || reload::mode(&run).is_some() {
        return Err(Failure::invalid(
            "`--set`, `--until-idle`, `--audit-only` and `--learn` are for a system with a manifest",
        ));
    }
    let shown = run.target().display().to_string();
    let path = real_path(run.target())?;
    let unreadable = || Failure::invalid(format!("cannot read the component `{shown}`"));
    let (Some(dir), Some(file_name)) = (path.parent(), path.file_name()) else { return Err(unreadable()) };
    let compiling = compiling(&run.program);
    // What it is called is what was typed, wherever that leads.
    let name = run.target().file_name().unwrap_or(file_name).to_string_lossy().into_owned();
    let arguments = run.arguments().iter().map(|argument| text(argument)).collect::<Result<_, _>>()?;
    let options = options(run.program, &name, arguments)?;

    let policy = grant_command(Policy::builder(), COMMAND, &options);
    let grants = vec![Grant::fs(dir, Rights::READ).rule("builtin.components")];
    let door = Door::open_to_compile(policy, grants, compiling)?;
    let engine = door.engine()?;
    door.started(&shown)?;

    let bytes = match door.program.dir(dir).await {
        Ok(dir) => dir.read(file_name, COMPONENT_BYTES).await,
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| unreadable().caused_by(error))?;
    let cache = door.cache().await;
    let compiling = || terminal.status(format!("compiling {name} …"));
    let loaded = Command::load(&engine, bytes, cache.as_deref(), compiling).await;
    terminal.status(String::new());
    let cannot_run = || Failure::invalid(format!("cannot run `{shown}`"));
    let (command, _) = loaded.map_err(|error| cannot_run().caused_by(error))?;

    let principal = door.os.principal(&principal_name(COMMAND));
    let principal = principal.map_err(|error| Failure::failed("no principal").caused_by(error))?;
    let ended = command.run(&engine, &principal, &options).await;
    drop(principal);
    door.close(&match &ended {
        Ok(Ended::Exit(status)) => format!("exit status {status}"),
        Ok(Ended::Returned(_)) => "returned".to_owned(),
        Err(error) => error.to_string(),
    })?;
    match ended {
        Ok(Ended::Exit(status)) => Ok(ExitCode::from(status)),
        Ok(Ended::Returned(values)) => {
            for value in &values {
                let _ = terminal.answer(|| value.clone(), || json!({"event": "returned", "value": value}))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == ErrorKind::InvalidComponent => {
            let help = "`airssys inspect` shows what it exports; an actor needs a manifest";
            Err(cannot_run().caused_by(error).help(help))
        }
        Err(error) if error.kind() == ErrorKind::Guest => {
            Err(Failure::trapped(format!("`{shown}` crashed")).caused_by(error))
        }
        Err(error) => Err(Failure::failed(format!("cannot run `{shown}`")).caused_by(error)),
    }
}

/// What compiling it may take.
fn compiling(given: &RunProgram) -> Compiling {
    let mut compiling = Compiling::default();
    if let Some(time) = given.compile_time {
        compiling.limits.time = time;
    }
    if let Some(bytes) = given.compile_memory {
        compiling.limits.memory_bytes = bytes as u64;
    }
    compiling
}

/// What the command line says, in the words of the library.
fn options(given: RunProgram, name: &str, arguments: Vec<String>) -> Result<CommandOptions, Failure> {
    let given = settle(given)?;
    let mut options = CommandOptions {
        memory_bytes: given.max_memory.unwrap_or(MEMORY_BYTES),
        timeout: given.timeout,
        network: given.inherit_network,
        ..CommandOptions::default()
    };
    for mapping in &given.dir {
        options.dirs.push(dir(mapping)?);
    }
    for (name, value) in given.env {
        match value {
            Some(value) => options.variables.push((name, value)),
            None => options.inherited.push(name),
        }
    }
    if given.inherit_env {
        options.inherited.extend(config::variables());
    }
    options.arguments.push(given.argv0.unwrap_or_else(|| name.to_owned()));
    match given.invoke {
        Some(function) => options.invoke = Some(Invocation { function, arguments }),
        None => options.arguments.extend(arguments),
    }
    Ok(options)
}

/// An argument as WASI has them.
fn text(argument: &OsStr) -> Result<String, Failure> {
    let text = argument.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::invalid(format!("the argument `{}` is no Unicode text", argument.display())))
}

fn dir(mapping: &Mapping) -> Result<CommandDir, Failure> {
    let rights = match mapping.read_only {
        true => Rights::READ | Rights::LIST,
        false => Rights::all(),
    };
    Ok(CommandDir { host: real_path(&mapping.host)?, guest: mapping.guest.clone(), rights })
}

fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    let unknown = || Failure::failed(format!("cannot tell where `{}` is", path.display()));
    bootstrap::real_path(path).map_err(|error| unknown().caused_by(error))
}

/// Settings of `wasmtime run` that ask for what is there anyway.
const CHANGE_NOTHING: &[(char, &str)] = &[
    ('S', "cli"),
    ('S', "cli-exit-with-code"),
    ('S', "common"),
    ('S', "http"),
    ('S', "inherit-stderr"),
    ('S', "inherit-stdin"),
    ('S', "inherit-stdout"),
    ('S', "network-error-code"),
    ('S', "p3"),
    ('S', "preview2"),
    ('S', "tcp"),
    ('S', "udp"),
    ('W', "bulk-memory"),
    ('W', "component-model"),
    ('W', "component-model-async"),
    ('W', "multi-value"),
    ('W', "reference-types"),
    ('W', "simd"),
];

/// Carries out the settings that are written as `wasmtime run` has them.
fn settle(mut given: RunProgram) -> Result<RunProgram, Failure> {
    let settings = given.wasm.drain(..).map(|setting| ('W', setting));
    let settings: Vec<_> = settings.chain(given.wasi.drain(..).map(|setting| ('S', setting))).collect();
    for (option, setting) in settings {
        let wrong = |what: &str| Failure::invalid(format!("`-{option} {setting}`: {what}"));
        let (key, value) = setting.split_once('=').unwrap_or((&setting, "y"));
        let yes = || match value {
            "y" | "yes" | "true" => Ok(true),
            "n" | "no" | "false" => Ok(false),
            _ => Err(wrong("say `y` or `n`")),
        };
        match (option, key) {
            ('W', "timeout") => given.timeout = Some(duration(value).map_err(|error| wrong(&error))?),
            ('W', "max-memory-size") => given.max_memory = Some(size(value).map_err(|error| wrong(&error))?),
            ('S', "inherit-network") => given.inherit_network = yes()?,
            ('S', "inherit-env") => given.inherit_env = yes()?,
            _ if CHANGE_NOTHING.contains(&(option, key)) && yes()? => {}
            _ => {
                return Err(wrong("there is no such setting here")
                    .help("`airssys run --help` lists those that there are"));
            }
        }
    }
    Ok(given)
}
