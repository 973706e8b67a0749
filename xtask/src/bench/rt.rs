//! airssys-rt against bare tokio channels, other systems of actors in Rust, and Erlang.

mod child;
mod contest;
mod system;

use super::{Failure, Workshop, machine, row::Row};
use child::Outcome;
use contest::Contest;
use system::Programs;

pub(super) const METHOD: &str = "\
Every system runs the same workloads, each in a process of its own with two worker threads; the systems take
turns, and begin in another order in each round. Ours and the peers in Rust share the driver (`bench/src/rt`);
`tokio-u` is a bare task with an unbounded channel, and what the ratio is taken to. Ours are actors by the
public API, with panics caught. A figure is the wall time of one operation unless its unit says otherwise; n/a
is a system that has nothing like it, or took over 40 s. *Ahead* means less than every peer. *All that is off*
is a build with the feature `tracing` and nobody who listens, no observer, and actors that were traced and are
no more, beside the usual build; both are the least of the rounds.";

/// The peers whose versions matter.
const LIBRARIES: [&str; 3] = ["ractor", "kameo", "actix"];

/// Builds what is needed, runs all rounds, and returns the rows.
pub(super) fn run(workshop: &Workshop) -> Result<Vec<Row>, Failure> {
    let systems = contest::systems(&workshop.selection.systems)?;
    let mut contests = contests_of(
        workshop.program.is_some(),
        contest::contests(&workshop.selection.only, &systems)?,
        &workshop.selection.only,
    );
    let off = contests.iter().any(|contest| system::is_off(contest.name));
    let programs = Programs::build(workshop, &systems, off)?;
    for contest in &mut contests {
        for round in 0..workshop.selection.rounds {
            run_round(contest, round, &programs)?;
        }
        eprint!("{}", contest.summary());
    }
    Ok(contests.iter().flat_map(Contest::rows).collect())
}

/// Leaves out what a program of somebody else's build cannot be measured with, unless it was named: that is refused then.
fn contests_of(is_given: bool, mut contests: Vec<Contest>, named: &[String]) -> Vec<Contest> {
    if is_given && named.is_empty() {
        contests.retain(|contest| !system::is_off(contest.name));
    }
    contests
}

/// The versions of what is compared with.
pub(super) fn versions(workshop: &Workshop) -> Result<Vec<String>, Failure> {
    let mut versions = machine::locked_versions(&workshop.root.join("Cargo.lock"), &["tokio"])?;
    versions.extend(machine::locked_versions(&workshop.root.join("bench/rt-peers/Cargo.lock"), &LIBRARIES)?);
    versions.extend(system::erlang_version());
    Ok(versions)
}

/// Lets everyone run once; who begins changes with the round.
fn run_round(contest: &mut Contest, round: usize, programs: &Programs) -> Result<(), Failure> {
    let count = contest.contestants.len();
    for turn in order(round, count) {
        let Some(contestant) = contest.contestants.get_mut(turn).filter(|contestant| !contestant.is_out)
        else {
            continue;
        };
        let (name, workload) = (contestant.system.name, contestant.workload);
        match child::run(&mut programs.child(contestant.system, workload))? {
            Outcome::Measured(figures) => contestant.figures.push(figures),
            Outcome::NotApplicable => contestant.is_out = true,
            Outcome::TooLong => {
                eprintln!("{name} {workload}: takes too long, left out");
                contestant.is_out = true;
                contestant.figures.clear();
            }
        }
    }
    same_operations(contest)
}

fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

/// What is measured is worth nothing where one did less than another.
fn same_operations(contest: &Contest) -> Result<(), Failure> {
    // How many crashes there are in ten seconds is what is measured.
    if contest.name == "crashes" {
        return Ok(());
    }
    let figures =
        || contest.contestants.iter().flat_map(|it| it.figures.iter().map(move |figures| (it, figures)));
    let Some((_, first)) = figures().next() else { return Ok(()) };
    match figures().find(|(_, figures)| figures.operations != first.operations) {
        Some((other, figures)) => Err(format!(
            "{}: {} did {} operations, others {}",
            contest.name, other.system.name, figures.operations, first.operations
        )
        .into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{child::Figures, *};

    #[test]
    fn everyone_begins_once() {
        let orders: Vec<Vec<_>> = (0..4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
        assert_eq!(order(7, 0).count(), 0);
    }

    #[test]
    fn who_does_less_is_found_out() {
        let names = ["beam".to_owned(), "tokio-u".to_owned()];
        let systems = contest::systems(&names).unwrap();
        let mut contests = contest::contests(&["tell1".to_owned()], &systems).unwrap();
        let figures = Figures { operations: 2_000_000.0, wall_ns: 1.0, cpu_ns: 1.0, bytes: 0.0 };
        contests[0].contestants[0].figures.push(figures);
        contests[0].contestants[1].figures.push(figures);
        assert!(same_operations(&contests[0]).is_ok());
        contests[0].contestants[1].figures.push(Figures { operations: 1.0, ..figures });
        let error = same_operations(&contests[0]).unwrap_err().to_string();
        assert_eq!(error, "tell1: beam did 1 operations, others 2000000");
    }

    #[test]
    fn a_program_that_is_given_is_measured_without_what_takes_builds_of_our_own() {
        let systems = contest::systems(&[]).unwrap();
        let check = |is_given: bool, named: &[&str], has_off: bool| {
            let named: Vec<_> = named.iter().map(|&name| name.to_owned()).collect();
            let contests = contests_of(is_given, contest::contests(&named, &systems).unwrap(), &named);
            assert!(contests.iter().any(|it| it.name == "tell1"), "{is_given} {named:?}");
            assert_eq!(contests.iter().any(|it| system::is_off(it.name)), has_off, "{is_given} {named:?}");
        };
        check(false, &[], true);
        check(true, &[], false);
        check(true, &["tell1"], false);
        // Who asks for it is told that it cannot be.
        check(true, &["tell1", "off-tell1"], true);
    }

    #[test]
    fn ours_and_the_peers_run_on_the_same_tokio() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tokio = |lock: &str| machine::locked_versions(&root.join(lock), &["tokio"]).unwrap();
        assert_eq!(tokio("Cargo.lock").len(), 1);
        assert_eq!(tokio("Cargo.lock"), tokio("bench/rt-peers/Cargo.lock"));
    }
}
