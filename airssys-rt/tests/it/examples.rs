//! The examples print what they are to show.

#![expect(clippy::disallowed_methods, reason = "it runs the examples")]

use std::process::{Command, Stdio};

/// Runs an example that was built with these tests. `cargo test` builds them all; `cargo test --test it` does not, and
/// then there may be nothing to run.
fn check(name: &str, expected: &[&str]) {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap().with_file_name("examples");
    let example = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !example.exists() {
        eprintln!("SKIPPED: the example `{name}` was not built: run `cargo test` for the whole package");
        return;
    }
    let output = Command::new(example).stdin(Stdio::null()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for line in expected {
        assert!(printed.lines().any(|printed| printed == *line), "no line `{line}` in:\n{printed}");
    }
}

#[test]
fn counter() {
    check("counter", &["ticket 1", "ticket 2", "counted 55"]);
}

#[test]
fn state_machine() {
    check("state_machine", &["try 3", "Connecting -> Connected", "one: done, two: done", "ended: normal"]);
}

#[cfg(target_os = "linux")]
#[test]
fn port() {
    check("port", &["it says: ONE", "it says: TWO", "the port ended: normal"]);
}

#[test]
fn streams() {
    check("streams", &["out: 3 in `by the sink`", "out: 4 in `one two three four`", "Finished: 13 words"]);
}

#[test]
fn graceful_shutdown() {
    let last = ["worker: 40 jobs done, ends by shutdown", "stopped; it takes no more: true"];
    check("graceful_shutdown", &last);
}

#[test]
fn observer() {
    let expected = [
        "top/workers/two got a Message, 1 wait",
        "    one: Waiting, 1 handled, 1 wait, 0 restarts",
        "    two: Idle, 2 handled, 0 wait, 1 restarts",
        "top/workers/one lost 1: Expired",
        "4 live, 1 restart, 1 expired",
    ];
    check("observer", &expected);
}
