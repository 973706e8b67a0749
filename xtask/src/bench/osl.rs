//! The door: what a decision takes, beside other engines of policy; files and connections beside the same without a door;
//! and what a record costs.

use std::{env, path::PathBuf, process::Command};

use super::{
    Failure, Workshop,
    figure::{self, Figure, OURS, measure},
    machine,
    row::{Goal, Peer, Row},
};
use crate::test;

pub(super) const METHOD: &str = "\
Ours (`osl-ours`) and the peers (`osl-peers`) run in turns, each in a process of its own, at the priority of a
real-time task where one may have that. *Decisions*: one principal with so many rules of one kind is asked
about 2,000 of them, one after the other, without a cache; a figure is the median of all rounds. The peers
answer the same questions about directories, by one rule for each; Rego looks them up in data. *Flat* is how much longer an
answer takes among 10,000 rules than among 10: what it costs that the table is no longer in the nearest cache. *Files* and
*connections* are decided and recorded in a log that is durable in batches; those of ours and of the others take
turns within one process on one thread, 31 times. `replace 4k` is one atomic write of an existing file with a pause
before it, beside create, truncate and write on the caller's thread; ours goes to the blocking pool and back, which wakes two
idle processors, as no kernel says beforehand whether such a change will wait. `in a row` is without pauses. `off thread` is
beside `tokio::fs`, which goes the same way.
*Audit* is one smallest operation that leaves a record: as its caller sees it, and per record of half a million,
until they are linked, signed and written.";

const PEERS: [&str; 6] = ["cedar", "casbin", "regorus", "std", "tokio", "pread"];
/// Whom we mean to be ahead of.
const RIVALS: [&str; 3] = ["cedar", "casbin", "regorus"];
/// The parts of `osl-ours`.
const PARTS: [&str; 4] = ["decisions", "files", "net", "audit"];
/// What is to be reached, by how measures begin.
const GOALS: &[(&str, Goal)] = &[
    // However many rules there are.
    ("decision-", Goal::AtMost(50.0)),
    ("read-4k-off-thread", Goal::RatioAtMost(0.5)),
    ("read-4k-open", Goal::RatioAtMost(2.0)),
    ("read-4k", Goal::RatioAtMost(1.3)),
    ("read-1m", Goal::RatioAtMost(1.1)),
    ("replace-4k-off-thread", Goal::RatioAtMost(0.8)),
    ("replace-4k", Goal::RatioAtMost(0.8)),
    ("connect-echo-1k", Goal::RatioAtMost(1.1)),
    ("audit-caller-p50", Goal::AtMost(300.0)),
    ("audit-caller-p99", Goal::AtMost(5_000.0)),
    // A million records a second, and 0.8 of one.
    ("audit-write-durable", Goal::AtMost(1_250.0)),
    ("audit-write", Goal::AtMost(1_000.0)),
    ("audit-verify", Goal::AtMost(1_000.0)),
    ("audit-query", Goal::AtMost(1_000.0)),
];

/// How often longer a decision among the most rules may take than among the fewest.
const FLAT: f64 = 1.5;
/// How the measures of both end.
const MOST: &str = "-10000";
const FEWEST: &str = "-10";

/// Builds what is needed, runs all rounds, and returns the rows.
pub(super) fn run(workshop: &Workshop) -> Result<Vec<Row>, Failure> {
    let (ours, peers) = build(workshop)?;
    let mut figures = Vec::new();
    for round in 1..=workshop.selection.rounds {
        eprintln!("round {round} of {}", workshop.selection.rounds);
        for part in PARTS {
            figures.extend(measure(&ours, &[part])?);
        }
        figures.extend(measure(&peers, &["decisions"])?);
    }
    Ok(rows(&figures))
}

/// The versions of what is compared with.
pub(super) fn versions(workshop: &Workshop) -> Result<Vec<String>, Failure> {
    let lock = workshop.root.join("bench/osl-peers/Cargo.lock");
    Ok(machine::locked_versions(&lock, &["cedar-policy", "casbin", "regorus"])?)
}

fn build(workshop: &Workshop) -> Result<(PathBuf, PathBuf), Failure> {
    let ours = match &workshop.program {
        Some(program) => program.clone(),
        None => build_ours(workshop)?,
    };
    let mut cargo = Command::new(test::program());
    cargo.args(["build", "--locked", "--release", "--manifest-path"]);
    cargo.arg(workshop.root.join("bench/osl-peers/Cargo.toml"));
    cargo.arg("--target-dir").arg(workshop.target.join("osl-peers"));
    test::succeed(cargo.current_dir(&workshop.root))?;
    Ok((ours, executable(workshop, "osl-peers/release", "osl-peers")))
}

/// Builds `osl-ours`.
pub(super) fn build_ours(workshop: &Workshop) -> Result<PathBuf, Failure> {
    let mut cargo = Command::new(test::program());
    cargo.args(["build", "--locked", "--profile", "rt-bench", "--package", "airssys-bench"]);
    test::succeed(cargo.args(["--bin", "osl-ours"]).current_dir(&workshop.root))?;
    Ok(executable(workshop, "rt-bench", "osl-ours"))
}

fn executable(workshop: &Workshop, folder: &str, name: &str) -> PathBuf {
    workshop.target.join(folder).join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// A row for each measure of ours, in the order in which they were measured.
fn rows(figures: &[Figure]) -> Vec<Row> {
    let row = |measure: &&str| {
        let peers = figure::peers(figures, measure, &PEERS);
        Row {
            name: measure.replace('-', " "),
            unit: "ns",
            ours: figure::of(figures, measure, OURS),
            is_race: peers.iter().any(|peer| RIVALS.contains(&peer.name)),
            peers,
            goal: GOALS.iter().find(|(name, _)| measure.starts_with(name)).map(|(_, goal)| *goal),
        }
    };
    figure::measures(figures).iter().map(row).chain(flat(figures)).collect()
}

/// A row for each kind of decision: among the most rules, beside the fewest.
fn flat(figures: &[Figure]) -> Vec<Row> {
    let row = |kind: &str| Row {
        name: format!("flat: {}", kind.replace('-', " ")),
        unit: "ns",
        ours: figure::of(figures, &format!("{kind}{MOST}"), OURS),
        peers: vec![Peer { name: "10 rules", figure: figure::of(figures, &format!("{kind}{FEWEST}"), OURS) }],
        goal: Some(Goal::RatioAtMost(FLAT)),
        is_race: false,
    };
    let measures = figure::measures(figures);
    let kinds = measures.iter().filter(|measure| measure.starts_with("decision-"));
    kinds.filter_map(|measure| measure.strip_suffix(MOST)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::figure::parse, *};

    #[test]
    fn each_measure_of_ours_is_a_row() {
        let lines = [
            "decision-files-10 airssys 20",
            "decision-files-10 airssys 40",
            "decision-env-10 airssys 9.5",
            "decision-files-10 cedar 9000",
            "decision-other cedar 1",
            "read-4k airssys 26",
            "read-4k std 20",
            "decision-env-10000 airssys 14.25",
        ];
        let figures: Vec<_> = lines.iter().map(|line| parse(line).unwrap()).collect();
        let rows = rows(&figures);
        let found: Vec<_> = rows.iter().map(|row| (&*row.name, row.ours, row.peers.len())).collect();
        assert_eq!(
            found,
            [
                ("decision files 10", 30.0, 1),
                ("decision env 10", 9.5, 0),
                ("read 4k", 26.0, 1),
                ("decision env 10000", 14.25, 0),
                ("flat: decision env", 14.25, 1)
            ]
        );
        assert_eq!((rows[4].ratio(), rows[4].met()), (Some(1.5), Some(true)));
        assert!(rows[0].met() == Some(true) && rows[0].is_ahead() == Some(true));
        assert_eq!(rows[1].is_ahead(), None);
        assert!(rows[2].met() == Some(true) && rows[2].is_ahead().is_none(), "it is no race");
    }
}
