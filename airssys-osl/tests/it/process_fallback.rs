//! A machine whose users may make no namespaces: what is left is seccomp and Landlock, and what needs more is refused.

use std::env;

use airssys_osl::{
    Action, ErrorKind,
    policy::{ExecTerms, Grant},
    process::{Cause, Launch, Layers, Limits, Stdio, host},
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::process::{Programs, exec, run, said, shell};

const TEST: &str = "process_fallback::without_namespaces_two_layers_are_left";

/// Set in the process that may make none.
const INNER: &str = "AIRSSYS_TEST_FALLBACK";

const LEFT: Layers = Layers::SECCOMP.union(Layers::LANDLOCK);

#[tokio::test]
async fn without_namespaces_two_layers_are_left() {
    if env::var_os(INNER).is_some() {
        return inside().await;
    }
    if !host().available().contains(LEFT) {
        return eprintln!("SKIPPED: it takes seccomp and Landlock");
    }
    // Our own filter refuses namespaces, to programs of anybody.
    let terms = ExecTerms::new().arg("--exact").arg(TEST).arg("--nocapture").env(INNER, "1");
    let terms = terms.without(Layers::all() - Layers::SECCOMP);
    let own = env::current_exe().unwrap();
    let programs = Programs::new([Grant::exec(&own, terms)]);
    let launch = Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    let ended = programs.principal().exec(&own).await.unwrap().spawn(launch).await.unwrap();
    let ended = ended.collect().await.unwrap();
    assert!(said(&ended).contains("1 passed"), "{ended:?}");
}

async fn inside() {
    assert_eq!(host().available() - Layers::CGROUP, LEFT);
    let grouped = host().available().contains(Layers::CGROUP);
    assert_eq!(said(&run(shell("echo held")).await), "held");

    let programs = Programs::new([Grant::exec("/bin/sh", shell("sleep 1000 & echo ready; wait"))]);
    let mut process =
        exec(&programs, "/bin/sh").await.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
    assert_eq!(process.enforcement().enforced() - Layers::CGROUP, LEFT);
    let told = process.enforcement().to_string();
    assert!(told.contains("; not mounts") && told.contains("see user.max_user_namespaces"), "{told}");
    assert!(grouped || told.contains("; not cgroup (") && told.contains("Delegate=yes"), "{told}");
    // On record, with why, before it starts.
    let records = programs.records(Action::ProcessSpawn);
    assert_eq!(
        records[0].resource,
        [b"/bin/sh -c sleep 1000 & echo ready; wait\0", told.as_bytes()].concat()
    );
    // It ends with those that did not leave its session.
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    process.kill();
    stdout.read_to_string(&mut line).await.unwrap();
    assert_eq!(line, "ready\n");
    assert_eq!(process.wait().await.cause, Cause::Killed);

    let refused = async |terms: ExecTerms| {
        let programs = Programs::new([Grant::exec("/bin/true", terms)]);
        let error = exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    };
    for layer in [Layers::MOUNTS, Layers::PROCESSES, Layers::NETWORK] {
        let error = refused(ExecTerms::new().require(layer)).await;
        assert!(
            error.contains(&format!("`{layer}`")) && error.contains("user.max_user_namespaces"),
            "{error}"
        );
    }
    if grouped {
        return;
    }
    let error = refused(ExecTerms::new().limits(Limits::new().memory_bytes(64 << 20))).await;
    assert!(error.contains("memory of all its processes") && error.contains("Delegate=yes"), "{error}");
    let error = refused(ExecTerms::new().limits(Limits::new().processes(10))).await;
    assert!(error.contains("nothing else to count processes by"), "{error}");
    let each = shell("ulimit -d").limits(Limits::new().memory_bytes_or_each(64 << 20));
    let programs = Programs::new([Grant::exec("/bin/sh", each)]);
    let process = exec(&programs, "/bin/sh").await.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
    assert_eq!(said(&process.collect().await.unwrap()), (64 << 10).to_string());
    for record in programs.records(Action::ProcessSpawn) {
        let text = String::from_utf8(record.resource).unwrap();
        assert!(text.ends_with("; memory of each process, not of all"), "{text}");
    }
}
