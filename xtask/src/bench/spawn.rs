//! Programs: what a start costs with each kind of sandbox, beside a plain one and other sandboxes.

use std::process::Command;

use super::{
    Failure, Workshop,
    figure::{self, Figure, OURS, measure},
    osl,
    row::{Goal, Peer, Row},
};
use crate::{debian, test};

pub(super) const METHOD: &str = "\
From the start to the end of `/bin/true`, in a process that has touched so much memory; all take turns in it, at the
priority of a real-time task where one may have that. `every layer` is the profile `strict` with limits of memory and
processes: seccomp, Landlock, a root of its own, namespaces of processes, network, IPC, host name and control groups. The
peers are those that Debian has (neither nsjail nor minijail), by the flags that come closest; they have no control group. A
figure has its decision and three records in it, which are thrown away. `command line` is what a user starts: `airssys sandbox --
/bin/true` with the same limits, which begins anew each time, has nothing ready and writes its log to the disk, beside the command lines of the
peers, and `posix_spawn` of `/bin/true`. Starts come five in a row, so that networks, roots and
control groups of ours are ready (ADR 0018); `after a pause` nothing is, and caches are cold for each side. `port line` is one of a million lines that go through `cat` and come back:
written to a port in the profile `strict` and a message each from there, and by a plain child of tokio, with a write for
each line or, `tokio-buffered`, with a buffer of 64 KiB that is written when it is full. The goal of `port line` is held against `tokio`:
that is what a program has that takes a child as tokio gives it, where each line is on its way when it was written; a port, too, writes
whatever waits at once and holds nothing back. `tokio-buffered` holds lines back until 64 KiB are together, which an answer to one line cannot
wait for; it shows what the pipes could carry.";

const PEERS: [&str; 5] = ["posix_spawn", "bubblewrap", "firejail", "tokio", "tokio-buffered"];
/// The only measure that is no start.
const PORT_LINE: &str = "port-line";
/// The measure that is of a program of ours, started as any other.
const COMMAND_LINE: &str = "command-line";
/// What is to be reached, by how measures begin.
const GOALS: &[(&str, Goal)] = &[
    ("seccomp-landlock", Goal::RatioAtMost(1.3)),
    ("every-layer", Goal::RatioAtMost(2.5)),
    // 0.8 of its peer's lines in the same time.
    (PORT_LINE, Goal::RatioAtMost(1.25)),
];
/// How much more a start may cost where the heap is large.
const GROWTH: f64 = 1.1;
/// A unit, and how many nanoseconds it has.
const NS: (&str, f64) = ("ns", 1.0);
const US: (&str, f64) = ("us", 1000.0);
const SMALL: &str = "-10-mib";
const LARGE: &str = "-1-gib";

/// Builds what is needed, runs all rounds, and returns the rows.
pub(super) fn run(workshop: &Workshop) -> Result<Vec<Row>, Failure> {
    let program = match &workshop.program {
        Some(program) => program.clone(),
        None => {
            let mut cargo = Command::new(test::program());
            cargo.args(["build", "--locked", "--release", "--package", "airssys-osl", "--example", "spawn"]);
            test::succeed(cargo.current_dir(&workshop.root))?;
            workshop.target.join("release/examples/spawn")
        }
    };
    for (program, package) in [("bwrap", "bubblewrap"), ("firejail", "firejail")] {
        if !debian::has(program) {
            debian::install(&[package]);
        }
        if !debian::has(program) {
            eprintln!("SKIPPED: {program} is not installed, and has no figures");
        }
    }
    let command = match &workshop.program {
        // Another build is one of the example alone.
        Some(_) => None,
        None => {
            let mut cargo = Command::new(test::program());
            cargo.args(["build", "--locked", "--release", "--package", "airssys-cli"]);
            test::succeed(cargo.current_dir(&workshop.root))?;
            workshop.target.join("release/airssys").to_str().map(str::to_owned)
        }
    };
    // Another build is one of what starts programs.
    let port = workshop.program.is_none().then(|| osl::build_ours(workshop)).transpose()?;
    let mut figures = Vec::new();
    for round in 1..=workshop.selection.rounds {
        eprintln!("round {round} of {}", workshop.selection.rounds);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        figures.extend(measure(&program, &command)?);
        if let Some(port) = &port {
            figures.extend(measure(port, &["port", "1"])?);
        }
    }
    Ok(rows(&figures))
}

/// The versions of what is compared with, as they say themselves.
pub(super) fn versions(_workshop: &Workshop) -> Result<Vec<String>, Failure> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
    };
    Ok(["bwrap", "firejail"].into_iter().filter_map(version).collect())
}

/// A row for each measure of ours, and one for how each grows with the heap.
fn rows(figures: &[Figure]) -> Vec<Row> {
    let of = |measure: &str| figure::of(figures, measure, OURS);
    let measures = figure::measures(figures);
    let row = |name: String, (unit, scale), ours: f64, peers: Vec<Peer>, goal: Option<Goal>| {
        let peers = peers.into_iter().map(|peer| Peer { figure: peer.figure / scale, ..peer }).collect();
        // A plain start, the first of all peers, is no sandbox to be ahead of.
        Row { name, unit, ours: ours / scale, peers, goal, is_race: false }
    };
    let mut rows = Vec::new();
    for measure in &measures {
        let peers = figure::peers(figures, measure, &PEERS);
        let goal = GOALS.iter().find(|(name, _)| measure.starts_with(name)).map(|(_, goal)| *goal);
        let unit = if *measure == PORT_LINE { NS } else { US };
        rows.push(row(measure.replace('-', " "), unit, of(measure), peers, goal));
    }
    // Whoever starts a command line is not ours.
    let grow = measures.iter().filter(|measure| !measure.starts_with(COMMAND_LINE));
    for measure in grow.filter_map(|measure| measure.strip_suffix(LARGE)) {
        let small = Peer { name: "10 MiB", figure: of(&format!("{measure}{SMALL}")) };
        let large = of(&format!("{measure}{LARGE}"));
        let name = format!("{} with 1 GiB", measure.replace('-', " "));
        rows.push(row(name, US, large, vec![small], Some(Goal::RatioAtMost(GROWTH))));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_a_row_and_so_is_its_growth() {
        let figure = |measure: &str, system: &str, figure: f64| Figure {
            measure: measure.to_owned(),
            system: system.to_owned(),
            figure,
        };
        let rows = rows(&[
            figure("every-layer-10-mib", "airssys", 2_000_000.0),
            figure("every-layer-10-mib", "posix_spawn", 500_000.0),
            figure("every-layer-10-mib", "bubblewrap", 3_000_000.0),
            figure("every-layer-1-gib", "airssys", 2_100_000.0),
            figure("command-line-1-gib", "airssys", 9_000_000.0),
            figure("command-line-1-gib", "bubblewrap", 8_000_000.0),
            figure("port-line", "airssys", 300.0),
            figure("port-line", "tokio", 250.0),
        ]);
        let found: Vec<_> =
            rows.iter().map(|row| (&*row.name, row.ours, row.peers.len(), row.met())).collect();
        assert_eq!(
            found,
            [
                ("every layer 10 mib", 2000.0, 2, Some(false)),
                ("every layer 1 gib", 2100.0, 0, Some(false)),
                ("command line 1 gib", 9000.0, 1, None),
                ("port line", 300.0, 1, Some(true)),
                ("every layer with 1 GiB", 2100.0, 1, Some(true)),
            ]
        );
    }
}
