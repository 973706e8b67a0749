//! `wasm-ours PART [ROUNDS] …`: measures components as actors beside raw Wasmtime, for `cargo xtask bench wasm`.
//!
//! * [`system`]: a system that a manifest made, through the public face that `airssys run` has too.
//! * [`raw`]: the same component in Wasmtime alone, set up as fast as it goes.
//! * [`messages`], [`life`], [`files`], [`code`], [`http`]: what is measured.
//!
//! Both take turns in one process, so that what else the machine does falls on both alike.

#![expect(clippy::disallowed_methods, reason = "it measures what is done without the door, too")]

mod code;
mod files;
mod http;
mod life;
mod messages;
mod process;
mod raw;
mod system;

use std::{env, path::Path};

use airssys_bench::osl::Failure;
use tokio::runtime::{Builder, Runtime};

const USAGE: &str = "usage: wasm-ours messages|threads|life|crash|runaway|files [ROUNDS]
       wasm-ours code FOLDER [ROUNDS [BYTES]]   of a component so large; keeps what it compiled in the folder
       wasm-ours idle|raw-idle COUNT            resident memory of so many idle actors
       wasm-ours http [ROUNDS [WASMTIME]]       beside `wasmtime serve`, where it is told where that is";

/// How often everybody takes a turn.
const ROUNDS: usize = 15;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args.as_slice() {
        ["code", folder] => measure_code(folder, ROUNDS, code::COMPONENT_BYTES),
        ["code", folder, rounds] => measure_code(folder, rounds.parse()?, code::COMPONENT_BYTES),
        ["code", folder, rounds, bytes] => measure_code(folder, rounds.parse()?, bytes.parse()?),
        ["idle", count] => alone()?.block_on(life::idle(count.parse()?)),
        ["raw-idle", count] => alone()?.block_on(life::raw_idle(count.parse()?)),
        ["http", rounds, wasmtime] => measure_http(rounds.parse()?, Some(Path::new(wasmtime))),
        ["serve", port] => workers(2)?.block_on(http::serve(port.parse()?)),
        [process::ARGUMENT] => process::answer(),
        [part] => measure(part, ROUNDS),
        [part, rounds] => measure(part, rounds.parse()?),
        _ => Err(USAGE.into()),
    }
}

fn measure_code(folder: &str, rounds: usize, bytes: usize) -> Result<(), Failure> {
    alone()?.block_on(code::run(Path::new(folder), rounds, bytes))
}

fn measure(part: &str, rounds: usize) -> Result<(), Failure> {
    match part {
        "messages" => alone()?.block_on(messages::run(rounds)),
        "threads" => messages::threads(rounds),
        "life" => life::run(rounds),
        "crash" => alone()?.block_on(life::crashes(rounds)),
        "runaway" => alone()?.block_on(life::runaway(rounds)),
        "files" => alone()?.block_on(files::run(rounds)),
        "http" => measure_http(rounds, None),
        _ => Err(USAGE.into()),
    }
}

fn measure_http(rounds: usize, wasmtime: Option<&Path>) -> Result<(), Failure> {
    workers(1)?.block_on(http::run(rounds, wasmtime))
}

/// One thread: with more, each wake-up goes from core to core, and the figures are those of the scheduler.
fn alone() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn workers(count: usize) -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread().worker_threads(count).enable_all().build()?)
}
