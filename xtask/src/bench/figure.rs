//! What a measuring program prints, a figure a line, and what becomes of the figures of several rounds.

use std::{path::Path, process::Command};

use super::{
    Failure,
    row::{Peer, median},
};

/// What we are called in the figures.
pub(super) const OURS: &str = "airssys";

/// What a program measured: the measure, the system, the figure.
pub(super) struct Figure {
    pub(super) measure: String,
    pub(super) system: String,
    pub(super) figure: f64,
}

/// Runs a program and takes what it measured.
pub(super) fn measure(program: &Path, args: &[&str]) -> Result<Vec<Figure>, Failure> {
    let mut command = match is_privileged() {
        true => {
            let mut chrt = Command::new("chrt");
            chrt.args(["-f", "50"]).arg(program);
            chrt
        }
        false => Command::new(program),
    };
    let output = command.args(args).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{} ended with {}: {error}", program.display(), output.status).into());
    }
    String::from_utf8(output.stdout)?.lines().filter_map(|line| line.strip_prefix("R ")).map(parse).collect()
}

/// Whether a process may have the priority of a real-time task.
fn is_privileged() -> bool {
    Command::new("chrt").args(["-f", "50", "true"]).output().is_ok_and(|output| output.status.success())
}

pub(super) fn parse(line: &str) -> Result<Figure, Failure> {
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(measure), Some(system), Some(figure), None) => {
            Ok(Figure { measure: measure.to_owned(), system: system.to_owned(), figure: figure.parse()? })
        }
        _ => Err(format!("`{line}` is no figure").into()),
    }
}

/// What was measured of ours, in the order in which it was.
pub(super) fn measures(figures: &[Figure]) -> Vec<&str> {
    let mut measures: Vec<&str> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.system == OURS) {
        if !measures.contains(&&*figure.measure) {
            measures.push(&figure.measure);
        }
    }
    measures
}

/// The median of all rounds; not a number where there is none.
pub(super) fn of(figures: &[Figure], measure: &str, system: &str) -> f64 {
    let its = figures.iter().filter(|figure| figure.measure == measure && figure.system == system);
    median(its.map(|figure| figure.figure))
}

/// Those of `names` that have a figure.
pub(super) fn peers(figures: &[Figure], measure: &str, names: &[&'static str]) -> Vec<Peer> {
    let peers = names.iter().map(|name| Peer { name, figure: of(figures, measure, name) });
    peers.filter(|peer| !peer.figure.is_nan()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_figure_is_an_error() {
        assert!(parse("decision airssys").is_err());
        assert!(parse("decision airssys fast").is_err());
        assert!(parse("decision airssys 1 2").is_err());
    }
}
