//! The project's own commands. `cargo xtask` lists them.

mod bench;
mod cross;
mod debian;
mod deep;
mod guests;
mod kernel;
mod languages;
mod place;
mod sound;
mod test;
mod tidy;

use std::{error::Error, process::ExitCode};

const USAGE: &str = "usage: cargo xtask COMMAND
  test              everything that must hold: what CI runs
  tidy              the rules of CONTRIBUTING.md that a program can check
  guests [--check | NAME …]
                    build the sample components, or these; --check compares them with what is committed
  languages         installs what builds components in each language, for the tests
  models            explores the interleavings of the runtime's lock-free parts (loom)
  test-kernel       what holds programs, on another kernel: Debian's, in qemu, where that can be had
  sanitize          the runtime's tests under valgrind and the sanitizers, where they are installed
  cross [TARGET]    compiles for Windows and for macOS, and tests under wine, where that can be had: minutes
  deep              a million decisions beside Cedar, and hostile bytes for every parser: minutes
  bench NAME        measure, side by side with peers: logwatch, osl, rt, spawn, wasm";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::run(),
        ["tidy"] => tidy::run(),
        ["guests", "--check"] => guests::build(true, &[]),
        ["guests", names @ ..] => guests::build(false, names),
        ["languages"] => {
            languages::compilers();
            languages::install()
        }
        ["models"] => sound::models(),
        ["test-kernel"] => kernel::run(),
        ["sanitize"] => sound::sanitize(),
        ["cross", rest @ ..] => cross::run(rest),
        ["deep", rest @ ..] => deep::run(rest),
        ["bench", ..] => bench::run(args.get(1..).unwrap_or_default()),
        _ => Err(USAGE.into()),
    }
}
