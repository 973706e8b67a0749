//! `cargo xtask deep [--seconds N] [--pairs N]`: what takes minutes, and other people's crates, to check.
//!
//! * A million random policies and requests, answered by the door and by Cedar.
//! * Hostile bytes for the parsers of the door, and for components: their messages, states and bytes.
//! * The property tests, which draw the same each time elsewhere, drawn anew.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it runs cargo")]

use std::{
    error::Error,
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    place,
    test::{FEATURES, program, step, succeed},
};

/// How often each property is drawn.
const CASES: &str = "5000";

/// What is drawn in the tests of whole crates.
const PROPERTIES: &[&str] = &["tree::", "statem::", "stash::", "audit_attacks::"];

const USAGE: &str = "usage: cargo xtask deep [--seconds N] [--pairs N]
  --seconds N  each parser gets hostile bytes for so long rather than 60 seconds
  --pairs N    so many answers are compared with Cedar's rather than 1,000,000";

/// Runs all of it; the first that fails ends it.
pub(crate) fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut seconds, mut pairs) = (60_u64, 1_000_000_u64);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let number = || args.clone().next().ok_or(USAGE)?.parse::<u64>().map_err(|_| USAGE);
        match *arg {
            "--seconds" => seconds = number()?,
            "--pairs" => pairs = number()?,
            _ => return Err(USAGE.into()),
        }
        args.next();
    }
    step("decisions beside Cedar", || {
        let peers = build("bench/osl-peers", "osl-peers")?;
        succeed(Command::new(peers).args(["differential", &pairs.to_string()]))
    })?;
    step("hostile bytes", || succeed(Command::new(build("fuzz", "fuzz")?).arg(seconds.to_string())))?;
    step("property tests, drawn anew", draw_anew)
}

/// Whoever sets the seed that is told draws the same again.
fn draw_anew() -> Result<(), Box<dyn Error>> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos().to_string();
    eprintln!("PROPTEST_RNG_SEED={seed} PROPTEST_CASES={CASES}");
    let test = |which: &[&str]| {
        let mut cargo = Command::new(program());
        cargo.args(["test", "--locked", "--workspace", FEATURES]).args(which);
        succeed(cargo.env("PROPTEST_RNG_SEED", &seed).env("PROPTEST_CASES", CASES))
    };
    test(&["--lib"])?;
    test(&[&["--test", "it", "--"], PROPERTIES].concat())
}

/// Builds the program of a workspace of its own.
fn build(folder: &str, name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let root = place::root()?;
    let target = place::target(&root).join(name);
    let mut cargo = Command::new(program());
    cargo
        .args(["build", "--locked", "--release", "--manifest-path"])
        .arg(root.join(folder).join("Cargo.toml"));
    succeed(cargo.arg("--target-dir").arg(&target).current_dir(&root))?;
    Ok(target.join("release").join(name).with_extension(std::env::consts::EXE_EXTENSION))
}
