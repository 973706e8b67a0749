//! `cargo xtask test`: everything that must hold. What CI runs, and nothing more than it.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it runs cargo")]

use std::{env, error::Error, ffi::OsString, process::Command, time::Instant};

use crate::{guests, languages, place, sound, tidy};

/// What is off by default and tested all the same.
pub(crate) const FEATURES: &str = "--features=airssys-osl/tls";

/// Runs every check, the quick ones first; the first that fails ends it.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    step("tidy", tidy::run)?;
    step("format", || cargo(&["fmt", "--all", "--check"], &[]))?;
    step("lints", || {
        cargo(
            &["clippy", "--locked", "--workspace", "--all-targets", FEATURES, "--", "--deny", "warnings"],
            &[],
        )
    })?;
    step("languages", || {
        languages::compilers();
        // Without them the tests of the templates say that they were skipped.
        languages::install().unwrap_or_else(|error| eprintln!("SKIPPED: not installed: {error}"));
        Ok(())
    })?;
    step("tests", || {
        let mut cargo = Command::new(program());
        cargo.args(["test", "--locked", "--workspace", FEATURES]);
        // What WASI 0.1 answers is compared with what that answers. Without it the tests say so.
        let peer = place::root().ok().and_then(|root| languages::wasmtime(&root));
        succeed(cargo.envs(peer.map(|program| ("AIRSSYS_WASMTIME", program))))
    })?;
    step("tests of the guests", || {
        cargo(&["test", "--locked", "--manifest-path", "guests/Cargo.toml"], &[])
    })?;
    step("models", sound::models)?;
    step("documentation", || {
        cargo(&["doc", "--locked", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "--deny warnings")])
    })?;
    step("guests", guests_are_what_is_committed)
}

pub(crate) fn step(
    name: &str,
    run: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    eprintln!("== {name}");
    let started = Instant::now();
    run().map_err(|error| format!("{name}: {error}"))?;
    eprintln!("== {name}: {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(args: &[&str], variables: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    succeed(Command::new(program()).args(args).envs(variables.iter().copied()))
}

/// The cargo that runs this.
pub(crate) fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a program to its end, which has to be a good one. Cargo keeps nothing for a next build of the same crate there,
/// unless asked to: that is half of what it puts on the disk, and a check from the beginning never reads it.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    if env::var_os("CARGO_INCREMENTAL").is_none() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// Compares the committed components with what their sources give. That needs a certain compiler, which Debian has:
/// where it could not be installed, this is skipped with a word.
fn guests_are_what_is_committed() -> Result<(), Box<dyn Error>> {
    if guests::has_reference() {
        return guests::build(true, &[]);
    }
    eprintln!(
        "SKIPPED: the committed components were not compared with their sources: the compiler that gives"
    );
    eprintln!("SKIPPED: the same bytes is not here (Debian: {})", guests::REFERENCE_PACKAGES.join(" "));
    Ok(())
}
