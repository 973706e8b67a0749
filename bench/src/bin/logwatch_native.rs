//! `logwatch-native FOLDER REPORT`: does the job of `examples/logwatch` in one plain program.

#![allow(
    clippy::disallowed_methods,
    reason = "the peer does without AirsSys, and so without its door to the OS"
)]

use std::{env, fs, io, path::Path, process::ExitCode};

use airssys_bench::{access_log, tally::Tally};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [folder, report] = arguments.as_slice() else {
        eprintln!("usage: logwatch-native FOLDER REPORT");
        return ExitCode::from(2);
    };
    match run(Path::new(folder), Path::new(report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logwatch-native: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, report: &Path) -> io::Result<()> {
    let mut tally = Tally::default();
    for path in access_log::files(folder)? {
        access_log::for_each_line(&path, |line| tally.add(line))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    fs::write(report, tally.report())
}
