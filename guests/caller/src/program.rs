//! `wasi:cli`, `wasi:clocks`, `wasi:config`, `wasi:logging`, `wasi:random`, and what scripts themselves need.

use crate::{
    bindings::wasi::{
        cli::{environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout},
        clocks::{monotonic_clock, wall_clock},
        config::store,
        logging::logging,
        random::{insecure, insecure_seed, random},
    },
    script::{Call, Failed, Outcome, list, show, show_or_none},
    table::{Table, Value},
};

pub(crate) fn call(call: &mut Call, table: &mut Table) -> Outcome {
    match (call.interface.as_str(), call.function.as_str()) {
        ("drop", _) => table.remove(call),
        ("is-less", _) => Ok((table.number(call)? < table.number(call)?).to_string()),
        ("is-same", _) => Ok((table.number(call)? == table.number(call)?).to_string()),
        ("clocks", _) => clocks(call, table),
        ("random", _) => bytes(call, table),
        ("config", _) => config(call),
        ("logging", "log") => log(call),
        _ => cli(call, table),
    }
}

fn cli(call: &mut Call, table: &mut Table) -> Outcome {
    let is_there = |there: bool| Ok(if there { "terminal" } else { "none" }.to_owned());
    match (call.interface.as_str(), call.function.as_str()) {
        ("cli", "get-arguments") => {
            // The first is the name of the program, the second this script.
            let arguments = environment::get_arguments();
            let shown: Vec<_> = arguments.iter().skip(2).map(|text| show(text.as_bytes())).collect();
            Ok(shown.join(" "))
        }
        ("cli", "get-environment") => {
            let variables = environment::get_environment();
            let shown: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Ok(shown.join(" "))
        }
        ("cli", "initial-cwd") => Ok(environment::initial_cwd().unwrap_or_else(|| "none".to_owned())),
        ("cli", "exit") => {
            exit::exit(if call.word()? == "ok" { Ok(()) } else { Err(()) });
            Err(Failed("it goes on".to_owned()))
        }
        ("cli", "get-stdin") => table.keep(call, Value::Input(stdin::get_stdin())),
        ("cli", "get-stdout") => table.keep(call, Value::Output(stdout::get_stdout())),
        ("cli", "get-stderr") => table.keep(call, Value::Output(stderr::get_stderr())),
        ("cli", "get-terminal-stdin") => is_there(terminal_stdin::get_terminal_stdin().is_some()),
        ("cli", "get-terminal-stdout") => is_there(terminal_stdout::get_terminal_stdout().is_some()),
        ("cli", "get-terminal-stderr") => is_there(terminal_stderr::get_terminal_stderr().is_some()),
        _ => Err(call.unknown()),
    }
}

fn config(call: &mut Call) -> Outcome {
    let failed = |error| Failed(format!("{error:?}"));
    match call.function.as_str() {
        "get" => Ok(show_or_none(store::get(&call.text()?).map_err(failed)?)),
        "get-all" => {
            let all = store::get_all().map_err(failed)?;
            Ok(list(all.iter().map(|(key, value)| format!("{key} {}", show(value.as_bytes()))), ", "))
        }
        _ => Err(call.unknown()),
    }
}

fn log(call: &mut Call) -> Outcome {
    let level = match call.word()?.as_str() {
        "trace" => logging::Level::Trace,
        "debug" => logging::Level::Debug,
        "info" => logging::Level::Info,
        "warn" => logging::Level::Warn,
        "error" => logging::Level::Error,
        "critical" => logging::Level::Critical,
        other => return Err(Failed(format!("script: {other} is no level"))),
    };
    logging::log(level, &call.text()?, &call.text()?);
    Ok("ok".to_owned())
}

/// Times are kept as nanoseconds.
fn clocks(call: &mut Call, table: &mut Table) -> Outcome {
    let nanoseconds = |time: wall_clock::Datetime| {
        time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into())
    };
    let value = match call.function.as_str() {
        "monotonic-now" => Value::Number(monotonic_clock::now()),
        "monotonic-resolution" => Value::Number(monotonic_clock::resolution()),
        "subscribe-instant" => Value::Pollable(monotonic_clock::subscribe_instant(table.number(call)?)),
        "subscribe-duration" => Value::Pollable(monotonic_clock::subscribe_duration(table.number(call)?)),
        "wall-now" => Value::Number(nanoseconds(wall_clock::now())),
        "wall-resolution" => Value::Number(nanoseconds(wall_clock::resolution())),
        _ => return Err(call.unknown()),
    };
    table.keep(call, value)
}

/// Of random bytes the number is answered; numbers are kept.
fn bytes(call: &mut Call, table: &mut Table) -> Outcome {
    let value = match call.function.as_str() {
        "get-random-bytes" => return Ok(random::get_random_bytes(table.number(call)?).len().to_string()),
        "get-insecure-random-bytes" => {
            return Ok(insecure::get_insecure_random_bytes(table.number(call)?).len().to_string());
        }
        "get-random-u64" => random::get_random_u64(),
        "get-insecure-random-u64" => insecure::get_insecure_random_u64(),
        "insecure-seed" => {
            let (first, second) = insecure_seed::insecure_seed();
            first ^ second
        }
        _ => return Err(call.unknown()),
    };
    table.keep(call, Value::Number(value))
}
