//! What `cargo xtask bench osl` measures of ours, for one round: that it runs, and prints a line for each figure.

use std::process::Command;

/// The measures and systems that a part prints.
fn printed(part: &str) -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_osl-ours")).args([part, "1"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{part}: {stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let figure = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        assert!(words.len() == 4 && words[0] == "R" && words[3].parse::<f64>().unwrap() > 0.0, "{line}");
        (words[1].to_owned(), words[2].to_owned())
    };
    stdout.lines().map(figure).collect()
}

#[cfg(unix)]
#[test]
fn everything_has_the_peers_that_it_is_compared_with() {
    let mut found: Vec<_> = ["files", "net", "audit"].into_iter().flat_map(printed).collect();
    found.sort();
    let mut expected = Vec::new();
    for (measure, peer) in [
        ("read-4k", "std"),
        ("read-4k-off-thread", "tokio"),
        ("read-4k-open", "pread"),
        ("read-1m", "std"),
        ("replace-4k", "std"),
        ("replace-4k-off-thread", "tokio"),
        ("replace-4k-in-a-row", "std"),
        ("connect-echo-1k", "tokio"),
        ("echo-1k", "tokio"),
    ] {
        expected.extend([(measure.to_owned(), "airssys".to_owned()), (measure.to_owned(), peer.to_owned())]);
    }
    for measure in ["caller-p50", "caller-p99", "query", "write", "write-durable", "verify"] {
        expected.push((format!("audit-{measure}"), "airssys".to_owned()));
    }
    expected.sort();
    assert_eq!(found, expected);
}

#[cfg(target_os = "linux")]
#[test]
fn lines_come_back_from_a_port_and_from_a_plain_child() {
    let expected =
        ["airssys", "tokio", "tokio-buffered"].map(|system| ("port-line".to_owned(), system.to_owned()));
    assert_eq!(printed("port"), expected);
}
