//! A program that writes a log is killed at any moment. What it was told to be safe is safe.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use airssys_osl::{
    Action,
    audit::{self, Log, LogOptions, State},
};
use tempfile::TempDir;

use crate::audit_log::{ORIGIN, read, record};

const DIR: &str = "AIRSSYS_TEST_AUDIT_DIR";
const ROUNDS: u32 = 20;

#[test]
fn a_killed_writer_loses_nothing_that_was_flushed() {
    let dir = TempDir::new().unwrap();
    let mut records = 0;
    for round in 0..ROUNDS {
        let flushed = kill_writer(dir.path(), round);
        let report = audit::verify(dir.path(), None).unwrap();
        assert_eq!(report.state, State::Crashed, "round {round}");
        assert!(report.records >= flushed, "round {round}: {} records, {flushed} flushed", report.records);
        // The writer's first record says what its predecessor left; in the first round there was none.
        let recovered = &read(dir.path())[records..];
        let first = recovered.first().map(|record| record.action().unwrap());
        assert_eq!(
            first,
            Some(if round == 0 { Action::FsRead } else { Action::AuditRecovered }),
            "round {round}"
        );
        records = report.records as usize;
    }
    let log = Log::open(dir.path(), ORIGIN, LogOptions::default()).unwrap();
    log.close().unwrap();
    let report = audit::verify(dir.path(), None).unwrap();
    assert_eq!((report.records, report.state), (records as u64 + 1, State::Closed));
}

/// Starts a writer, kills it at some moment, and returns the last sequence number that it knew to be in the log.
fn kill_writer(dir: &Path, round: u32) -> u64 {
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "audit_crash::writer", "--nocapture", "--test-threads", "1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
    // Each round lets it get further; the scheduler adds chance.
    let mut flushed = lines.filter_map(|line| line.strip_prefix("flushed ")?.parse().ok());
    let last = flushed.nth(7 * round as usize % 31).unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    // It may have said more before it died.
    flushed.last().unwrap_or(last)
}

/// Not a test, but the program that is killed: it writes until then.
#[test]
fn writer() {
    let Some(dir) = env::var_os(DIR) else { return };
    let options = LogOptions { checkpoint_records: 500, ..LogOptions::default() };
    let log = Log::open(Path::new(&dir), ORIGIN, options).unwrap();
    thread::scope(|scope| {
        for number in 0..2 {
            let log = &log;
            scope.spawn(move || {
                loop {
                    (0..20).for_each(|_| _ = record(log, "busy", &"x".repeat(number * 1_000)));
                    log.flush().unwrap();
                }
            });
        }
        loop {
            let sequence = record(&log, "careful", "x");
            log.flush().unwrap();
            println!("flushed {sequence}");
            std::io::stdout().flush().unwrap();
        }
    });
}
