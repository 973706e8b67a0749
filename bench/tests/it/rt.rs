//! The workloads of `cargo xtask bench rt`, on ours and a thousand times smaller: that they run, and print one line.

use std::process::{Command, Output};

use airssys_bench::rt::Workload;

const DIVISOR: u64 = 1_000;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rt-ours")).args(arguments).output().unwrap()
}

#[cfg(target_os = "linux")]
/// The figures of a result: operations, wall time, processor time, bytes.
fn figures(system: &str, workload: &str) -> [u64; 4] {
    let output = run(&[system, workload, &DIVISOR.to_string()]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{system} {workload}: {stderr}");
    let figures = stdout.trim_end().strip_prefix("R ").unwrap();
    let figures: Vec<_> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn every_workload_runs_with_either_mailbox() {
    for (name, workload) in Workload::ALL {
        for system in ["airssys", "airssys-b"] {
            let [operations, wall_ns, cpu_ns, bytes] = figures(system, name);
            assert_eq!(operations, workload.operations(DIVISOR), "{name}");
            assert!(wall_ns > 0 && cpu_ns > 0, "{name}: {wall_ns} ns, {cpu_ns} ns");
            assert!(bytes == 0 || workload == Workload::Memory, "{name}: {bytes} B");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn our_own_workloads_run() {
    let [operations, _, _, bytes] = figures("airssys", "million");
    assert!(operations == 1_000 && bytes > 0, "{operations} actors, {bytes} B");
    let [operations, _, _, bytes] = figures("airssys", "million-dyn");
    assert!(operations == 1_000 && bytes > 0, "{operations} children, {bytes} B");
    let [crashes, ..] = figures("airssys", "crashes");
    assert!(crashes > 0);
    let [operations, ..] = figures("airssys", "observe");
    assert_eq!(operations, Workload::TellOne.operations(DIVISOR));
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_off_is_measured_only_where_it_is_there() {
    for (name, workload) in [("off-tell1", Workload::TellOne), ("off-pingpong", Workload::PingPong)] {
        if cfg!(feature = "tracing") {
            let [operations, ..] = figures("airssys", name);
            assert_eq!(operations, workload.operations(DIVISOR), "{name}");
            continue;
        }
        let output = run(&["airssys", name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("without the feature `tracing`"), "{name}: {said}");
    }
}

#[test]
fn sizes_are_whole_rounds_at_any_divisor() {
    for (name, workload) in Workload::ALL {
        for divisor in [1, 7, 1_000, 1_000_000] {
            let (operations, actors) = (workload.operations(divisor), workload.actors(divisor));
            assert!(operations.is_multiple_of(actors), "{name}: {operations} among {actors}");
        }
    }
    assert_eq!(Workload::Skynet.operations(1), 1_111_111);
    assert_eq!(Workload::Skynet.leaves(1), 1_000_000);
}

#[test]
fn what_is_not_there_is_an_error() {
    for (arguments, status) in
        [(&["airssys", "tell9"][..], 1), (&["erlang", "tell1"], 1), (&["airssys", "tell1", "0"], 2), (&[], 2)]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}
