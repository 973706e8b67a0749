//! `cargo xtask models` and `cargo xtask sanitize`: what looks for mistakes in the unsafe code of the runtime.
//!
//! What each of them can see, and what not, is in docs/adr/0007-actor-cell.md.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it runs cargo and valgrind")]

use std::{error::Error, path::PathBuf, process::Command};

use crate::test::{program, step, succeed};

/// The tests that are worth a slow run: those of the cell, and those that start, end and restart the most.
const TESTS: &[&str] = &[
    "arena::",
    "table::",
    "cell::",
    "stress::",
    "retained::",
    "monitor::",
    "mailbox::",
    "on_caller::",
    "overflow::",
];

/// Most mistakes need no more; one more takes many times as long.
const PREEMPTIONS: &str = "2";

/// Explores the models of the runtime's cell.
pub(crate) fn models() -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(program());
    cargo.args(["test", "--locked", "--release", "--package", "airssys-rt", "--lib", "models"]);
    cargo.env("RUSTFLAGS", "--cfg airssys_loom").env("LOOM_MAX_PREEMPTIONS", PREEMPTIONS);
    succeed(cargo.args(["--target-dir", "target/models"]))
}

/// Runs the tests of the cell under whatever of valgrind and the sanitizers is here.
pub(crate) fn sanitize() -> Result<(), Box<dyn Error>> {
    if answers("valgrind", &["--version"]) {
        step("memcheck", memcheck)?;
    } else {
        skipped("memcheck", "valgrind is not installed");
    }
    if !answers("rustup", &["run", "nightly", "rustc", "--version"]) {
        skipped("the sanitizers of addresses and threads", "there is no nightly toolchain");
        return Ok(());
    }
    step("address sanitizer", || sanitizer("address", &[]))?;
    if !has_library()? {
        skipped(
            "thread sanitizer",
            "the sources of the nightly's standard library are not installed (rust-src);",
        );
        skipped(
            "thread sanitizer",
            "unless that is built with it as well, each of its locks looks like none",
        );
        return Ok(());
    }
    step("thread sanitizer", || sanitizer("thread", &["-Zbuild-std=std,panic_abort,test"]))
}

fn has_library() -> Result<bool, Box<dyn Error>> {
    let output = Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).output()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    Ok(sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").exists())
}

fn memcheck() -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(program());
    cargo.args(["test", "--locked", "--package", "airssys-rt", "--lib", "--test", "it", "--no-run"]);
    for binary in binaries(&mut cargo)? {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"]);
        valgrind.args(["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]);
        succeed(valgrind.arg(binary).args(TESTS).current_dir("airssys-rt"))?;
    }
    Ok(())
}

fn sanitizer(name: &str, options: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new("rustup");
    cargo.args([
        "run",
        "nightly",
        "cargo",
        "test",
        "--locked",
        "--package",
        "airssys-rt",
        "--lib",
        "--test",
        "it",
    ]);
    cargo.args([
        "--no-run",
        "--target",
        "x86_64-unknown-linux-gnu",
        "--target-dir",
        &format!("target/{name}"),
    ]);
    // For addresses the standard library is used as it is, without the sanitizer.
    cargo.args(options).env("RUSTFLAGS", format!("-Zsanitizer={name} -Cunsafe-allow-abi-mismatch=sanitizer"));
    for binary in binaries(&mut cargo)? {
        succeed(Command::new(binary).args(TESTS).current_dir("airssys-rt"))?;
    }
    Ok(())
}

/// The test binaries that cargo builds.
fn binaries(cargo: &mut Command) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let built = cargo
        .arg("--message-format=json-render-diagnostics")
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err(format!("{cargo:?} ended with {}", built.status).into());
    }
    let mut found = Vec::new();
    for line in String::from_utf8(built.stdout)?.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let is_test = message.pointer("/profile/test") == Some(&serde_json::Value::Bool(true));
        if let Some(binary) = message.pointer("/executable").and_then(|path| path.as_str())
            && is_test
        {
            found.push(PathBuf::from(binary));
        }
    }
    Ok(found)
}

fn answers(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
}
