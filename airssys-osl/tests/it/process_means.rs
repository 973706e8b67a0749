//! What programs can be held to on a machine, and what they miss where parts of it are hidden.

use std::{env, process::Command};

use airssys_osl::{
    Action, ErrorKind,
    audit::Outcome,
    fs::OpenOptions,
    policy::{ExecTerms, Grant, Rights},
    process::{Launch, Layers, Stdio, host, means},
};

use crate::process::{Programs, exec, run, said, shell};

/// Says that this is the program that was started to be alone.
const INNER: &str = "AIRSSYS_TEST_MEANS";

#[test]
fn what_is_told_of_limits_is_what_a_start_does() {
    let means = means();
    let names: Vec<_> = means.limits.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    let state = |name: &str| means.limits.iter().find(|(known, _)| *known == name).map(|(_, state)| state);
    let grouped = host().available().contains(Layers::CGROUP);
    assert_eq!(means.cgroup_version.is_some(), grouped);
    for name in ["cpu_time", "wall_time", "file", "output", "descriptors"] {
        assert_eq!(state(name), Some(&Ok(())), "{name}");
    }
    if !grouped {
        let why = state("cpu_percent").unwrap().as_ref().unwrap_err();
        assert!(why.contains("processors"), "{why}");
    }
    assert_eq!(means.egress.is_ok(), host().available().contains(Layers::NETWORK));
}

#[tokio::test]
async fn a_root_without_a_proc_is_told_before_a_file_is_lost() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("file"), "content").unwrap();
    let cat = ExecTerms::new().file(tmp.path()).without(Layers::PROCESSES);
    refused(tmp.path(), cat, "with the layer `processes` alone").await;
}

/// As in a container: a part of the machine's `/proc` is hidden, and who is in there cannot uncover it.
#[tokio::test]
async fn where_a_part_of_proc_is_hidden_nothing_is_lost_in_silence() {
    const TEST: &str = "process_means::where_a_part_of_proc_is_hidden_nothing_is_lost_in_silence";
    if env::var_os(INNER).is_none() {
        // Whoever hides it is in another namespace of users than who finds it hidden.
        let hide = "mount -t tmpfs none /proc/tty || exit 99; \
                    exec unshare --user --map-user=1000 --map-group=1000 --mount \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", hide]);
        command.arg(env::current_exe().unwrap()).args(["--exact", TEST, "--nocapture"]);
        let output = command.env(INNER, "1").output().unwrap();
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if errors.contains("unshare") || output.status.code() == Some(99) {
            return eprintln!("SKIPPED: no user namespace within another: {errors}");
        }
        assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
        return;
    }
    assert!(host().available().contains(Layers::MOUNTS | Layers::PROCESSES), "{:?}", host());
    let why = means().proc.unwrap_err();
    assert!(why.contains("hidden from us"), "{why}");
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("file"), "content").unwrap();
    refused(tmp.path(), ExecTerms::new().file(tmp.path()), "hidden from us").await;
    // What needs none runs, and finds none.
    let ended = run(shell("[ -e /proc/self ] || echo none; cat \"$0\"").arg("/dev/null")).await;
    assert_eq!(said(&ended), "none");
    let programs =
        Programs::new([Grant::exec("/bin/cat", ExecTerms::new().see(tmp.path()).path(tmp.path()))]);
    let launch = Launch::new().path("file").stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    let ended = exec(&programs, "/bin/cat").await.spawn(launch).await.unwrap().collect().await.unwrap();
    assert_eq!(said(&ended), "content");
}

/// A file is not handed over to a program that would not find it.
async fn refused(root: &std::path::Path, terms: ExecTerms, why: &str) {
    let programs = Programs::new([Grant::exec("/bin/cat", terms), Grant::fs(root, Rights::all())]);
    let principal = programs.principal();
    let file = principal.dir(root).await.unwrap();
    let file = file.open("file", &OpenOptions::new().read(true)).await.unwrap();
    let cat = principal.exec("/bin/cat").await.unwrap();
    let error = cat.spawn(Launch::new().file(file)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("`/proc`") && cause.contains(why), "{error}: {cause}");
    let records = programs.records(Action::ProcessSpawn);
    assert_eq!(records.last().unwrap().outcome, Outcome::Failed(38), "{records:?}");
}
