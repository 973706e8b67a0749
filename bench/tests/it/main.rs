//! What the benchmarks run, run as `cargo xtask bench` runs it.

#![expect(clippy::disallowed_methods, reason = "tests start programs and read what they wrote")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails fails its test")]

mod osl;
mod rt;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use airssys_bench::access_log;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/logwatch/inbox")
}

fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Counts well-formed lines per status in the crudest way that nginx's own escaping allows: by its quotes.
fn by_quotes(folder: &Path) -> (u64, u64, u64) {
    let (mut lines, mut found, mut poison) = (0, 0, 0);
    for path in access_log::files(folder).unwrap() {
        access_log::for_each_line(&path, |line| {
            let text = str::from_utf8(line).unwrap();
            let parts: Vec<_> = text.split('"').collect();
            let request: Vec<_> = parts[1].split(' ').collect();
            lines += 1;
            if request.len() == 3 && request[2].starts_with("HTTP/") && parts[2].starts_with(" 200 ") {
                found += 1;
            }
            poison += u64::from(text.contains("=100% HTTP/1.1\""));
        })
        .unwrap();
    }
    (lines, found, poison)
}

#[test]
fn the_native_report_agrees_with_a_crude_count() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    run(env!("CARGO_BIN_EXE_logwatch-native"), &[&sample(), &report]);

    let report = fs::read_to_string(report).unwrap();
    let (lines, ok, poison) = by_quotes(&sample());
    assert_eq!(poison, 1);
    assert!(report.contains(&format!("\"lines\": {lines},")), "{lines} lines: {report}");
    assert!(report.contains(&format!("\"200\": {ok},")), "{ok} of status 200: {report}");
}

#[test]
fn a_made_log_goes_on_in_time_and_has_one_poison_line() {
    let folder = tempfile::tempdir().unwrap();
    run(env!("CARGO_BIN_EXE_make-log"), &[Path::new("100000"), &sample(), &folder.path().join("access.log")]);

    let (lines, _, poison) = by_quotes(folder.path());
    assert_eq!((lines, poison), (100_000, 1));

    let mut hours = Vec::new();
    access_log::for_each_line(&folder.path().join("access.log"), |line| {
        hours.extend(access_log::Record::parse(line).map(|record| record.time.unix_seconds / 3_600));
    })
    .unwrap();
    // A server logs a request when it is answered, so neighbours may swap; hours do not.
    assert!(hours.windows(2).all(|pair| pair[1] >= pair[0] - 1), "time goes back");
    hours.dedup();
    assert!(hours.len() > 60, "{} hours", hours.len());
}
