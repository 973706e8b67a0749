//! The examples print what they are to show.

#![expect(clippy::disallowed_methods, reason = "it runs the examples")]

use std::process::{Command, Stdio};

/// An example that was built with these tests. `cargo test` builds them all; `cargo test --test it` does not, and
/// then there may be nothing to run.
fn example(name: &str) -> Option<Command> {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap().with_file_name("examples");
    let example = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !example.exists() {
        eprintln!("SKIPPED: the example `{name}` was not built: run `cargo test` for the whole package");
        return None;
    }
    let mut command = Command::new(example);
    command.stdin(Stdio::null());
    Some(command)
}

/// Runs an example.
fn check(name: &str, expected: &[&str]) {
    let Some(mut example) = example(name) else { return };
    let output = example.output().unwrap();
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

#[cfg(unix)]
#[test]
fn graceful_shutdown_by_a_signal() {
    use std::io::{BufRead as _, BufReader};

    let Some(mut example) = example("graceful_shutdown") else { return };
    // More jobs than it can ever do.
    let mut child = example.arg("4000000000").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It listens for signals when it has begun to wait for the first one; before that SIGTERM ends it at once.
    assert_eq!(lines.next().unwrap(), "worker: ready");
    assert_eq!(lines.next().unwrap(), "stop it by Ctrl-C or SIGTERM");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    let begins = |line: &str| rest.iter().any(|said| said.starts_with(line));
    assert!(begins("SIGTERM: stopping after ") && begins("stopped; it takes no more: true"), "{rest:?}");
}

#[test]
fn pool() {
    let expected = ["3 workers run", "worker 0 counts 1 in \"one\"", "worker-2: restarted 1 time(s)"];
    check("pool", &expected);
}

#[test]
fn pubsub() {
    let missed = "the frost alarm got 1 and missed 1";
    check(
        "pubsub",
        &["  kitchen hears house.kitchen.oven: 180.0 °C", missed, "the kitchen's display has ended"],
    );
}

#[test]
fn supervision_tree() {
    check("supervision_tree", &["Mike takes 9, 1 are left", "stock Running, 1 restarts"]);
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
