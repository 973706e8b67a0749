//! Runs, watches and audits a system of supervised WebAssembly components from one manifest.

#![forbid(unsafe_code)]

mod args;
mod command;
mod config;
mod control;
mod dead;
mod door;
mod exports;
mod report;
mod target;

use std::{process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let args = args::Args::read();
    let terminal = Arc::new(report::Terminal::new(&args));
    match command::run(args, &terminal) {
        Ok(code) => code,
        Err(failure) => terminal.failure(&failure),
    }
}
