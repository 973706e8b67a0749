//! What `cargo xtask bench wasm` measures of ours, for one round: that it runs, with the fixtures `pace.wasm` and
//! `greet.wasm`, and prints a line for each figure.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails fails its test")]

use std::process::Command;

/// The measures and systems that it prints.
fn printed(arguments: &[&str]) -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_wasm-ours")).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let figure = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        assert!(words.len() == 4 && words[0] == "R" && words[3].parse::<f64>().is_ok(), "{line}");
        (words[1].to_owned(), words[2].to_owned())
    };
    stdout.lines().map(figure).collect()
}

fn check(arguments: &[&str], expected: &[(&str, &[&str])]) {
    let expected = expected.iter().flat_map(|(measure, systems)| {
        systems.iter().map(|system| (measure.to_string(), system.to_string()))
    });
    assert_eq!(printed(arguments), expected.collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[test]
fn messages_are_measured_beside_raw_calls() {
    let systems: &[&str] = &["airssys", "raw", "rt", "raw+rt"];
    check(&["messages", "1"], &[("message-64", systems), ("message-4k", systems), ("message-1m", systems)]);
    check(
        &["threads", "1"],
        &[("message-64-two-threads", &["one-thread", "airssys", "raw-one-thread", "raw"])],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn lives_and_crashes_are_measured_beside_raw_instances_and_processes() {
    check(
        &["life", "1"],
        &[
            ("spawn-message-stop", &["airssys", "raw", "raw-in-place", "process"]),
            ("spawn-message-stop-two-threads", &["one-thread", "airssys", "raw"]),
        ],
    );
    check(&["crash", "1"], &[("crash-to-answer", &["airssys", "raw", "process"])]);
    check(&["runaway", "1"], &[("runaway", &["airssys"])]);
    check(&["idle", "20"], &[("idle-actor", &["airssys"])]);
    check(&["raw-idle", "20"], &[("idle-actor", &["raw"])]);
}

#[cfg(target_os = "linux")]
#[test]
fn reads_starts_and_requests_are_measured() {
    check(
        &["files", "1"],
        &[("read-4k", &["airssys", "raw"]), ("read-4k-wasi", &["airssys", "wasmtime-wasi"])],
    );
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    check(&["code", folder, "1", "100000"], &[("cold-start-12m", &["airssys", "deserialize_file"])]);
    let requests = printed(&["http", "1"]);
    assert_eq!(requests[0], ("http-hello".to_owned(), "airssys".to_owned()));
}

#[test]
fn what_is_not_there_is_an_error() {
    for arguments in [&["flights"][..], &["idle"], &["messages", "x"], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_wasm-ours")).args(arguments).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    }
}
