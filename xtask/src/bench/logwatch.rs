//! The whole pipeline of `examples/logwatch` on a million lines, against one plain native program that does the same.

use std::{
    env, error, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    Workshop, machine,
    measure::{self, Run},
    row::{Goal, Peer, Row, median},
};

pub(super) const METHOD: &str = "\
The sample log of `examples/logwatch`, repeated to 1,000,000 lines with its timestamps moved on, goes through
the five components (one message a line between reader, parser and statistics, audit on), and through
`logwatch-native`: the same report by one plain single-threaded Rust program without any isolation. Time is
that of the whole program, start and final report included; but for the one poison line, both reports must
have every line. Start is to the first line that was processed, with the components' code in the cache.";

const LINES: u64 = 1_000_000;
/// The shorter log that tells whether memory grows with the log.
const FEWER_LINES: u64 = 100_000;
/// The line that the example's parser cannot digest is in every log once, and in the native report only.
const POISON_LINES: u64 = 1;

const NATIVE: &str = "native";
const MIB: f64 = 1024.0 * 1024.0;

type Failure = Box<dyn error::Error>;

/// Builds what is needed, runs all rounds, and returns the rows.
pub(super) fn run(workshop: &Workshop) -> Result<Vec<Row>, Failure> {
    let programs = build(workshop)?;
    let log = make_log(workshop, &programs, LINES)?;
    let short_log = make_log(workshop, &programs, FEWER_LINES)?;
    let out = workshop.bench_dir().join("logwatch-out");

    eprintln!("warming up");
    ours(workshop, &programs, &short_log, &out)?;

    let mut samples = Samples::default();
    let rounds = workshop.selection.rounds;
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let (run, lines) = ours(workshop, &programs, &log, &out)?;
        let (native_run, native_lines) = native(&programs, &log, &out)?;
        let (short_run, _) = ours(workshop, &programs, &short_log, &out)?;
        if native_lines != LINES || lines + POISON_LINES != native_lines {
            return Err(format!("of {LINES} lines, ours counted {lines} and {NATIVE} {native_lines}").into());
        }
        samples.first_line_ms.push(first_line_ms(&run.stdout)?);
        samples.ours.push(run);
        samples.native.push(native_run);
        samples.short.push(short_run);
    }
    Ok(samples.rows())
}

/// The versions of what matters to the figures.
pub(super) fn versions(workshop: &Workshop) -> Result<Vec<String>, Failure> {
    Ok(machine::locked_versions(&workshop.root.join("Cargo.lock"), &["tokio", "wasmtime"])?)
}

struct Programs {
    airssys: PathBuf,
    native: PathBuf,
    make_log: PathBuf,
}

/// What all rounds measured.
#[derive(Default)]
struct Samples {
    ours: Vec<Run>,
    native: Vec<Run>,
    short: Vec<Run>,
    first_line_ms: Vec<f64>,
}

impl Samples {
    fn rows(&self) -> Vec<Row> {
        let wall = |runs: &[Run]| median(runs.iter().map(|run| run.wall.as_secs_f64()));
        let cpu = |runs: &[Run]| median(runs.iter().map(|run| run.cpu_seconds));
        let peak = |runs: &[Run]| median(runs.iter().map(|run| run.peak_bytes as f64 / MIB));
        let native = |figure| vec![Peer { name: NATIVE, figure }];
        vec![
            Row {
                name: "throughput".to_owned(),
                unit: "lines/s",
                ours: LINES as f64 / wall(&self.ours),
                peers: native(LINES as f64 / wall(&self.native)),
                goal: Some(Goal::AtLeast(150_000.0)),
                is_race: false,
            },
            Row {
                name: "wall time of 1,000,000 lines".to_owned(),
                unit: "s",
                ours: wall(&self.ours),
                peers: native(wall(&self.native)),
                goal: None,
                is_race: false,
            },
            Row {
                name: "processor time of 1,000,000 lines".to_owned(),
                unit: "s",
                ours: cpu(&self.ours),
                peers: native(cpu(&self.native)),
                goal: None,
                is_race: false,
            },
            Row {
                name: "peak memory".to_owned(),
                unit: "MiB",
                ours: peak(&self.ours),
                peers: native(peak(&self.native)),
                goal: None,
                is_race: false,
            },
            Row {
                name: "growth of memory with the log".to_owned(),
                unit: "MiB",
                ours: peak(&self.ours),
                peers: vec![Peer { name: "ours at 100,000 lines", figure: peak(&self.short) }],
                goal: Some(Goal::RatioAtMost(1.25)),
                is_race: false,
            },
            Row {
                name: "warm start to the first line".to_owned(),
                unit: "ms",
                ours: median(self.first_line_ms.iter().copied()),
                peers: Vec::new(),
                goal: Some(Goal::AtMost(1_000.0)),
                is_race: false,
            },
        ]
    }
}

fn build(workshop: &Workshop) -> Result<Programs, Failure> {
    let mut packages = vec!["--package", "airssys-bench"];
    if workshop.program.is_none() {
        packages.extend(["--package", "airssys-cli"]);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release"])
        .args(packages)
        .current_dir(&workshop.root)
        .status()?;
    if !status.success() {
        return Err(format!("the release build ended with {status}").into());
    }
    let built =
        |name: &str| workshop.target.join("release").join(name).with_extension(env::consts::EXE_EXTENSION);
    Ok(Programs {
        airssys: workshop.program.clone().unwrap_or_else(|| built("airssys")),
        native: built("logwatch-native"),
        make_log: built("make-log"),
    })
}

/// Returns a folder with a log of so many lines, and makes it where there is none newer than the sample.
fn make_log(workshop: &Workshop, programs: &Programs, lines: u64) -> Result<PathBuf, Failure> {
    let sample = workshop.root.join("examples/logwatch/inbox");
    let folder = workshop.bench_dir().join(format!("logwatch-{lines}"));
    let log = folder.join("access.log");
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    if modified(&log)
        .is_ok_and(|made| modified(&sample.join("access.log")).is_ok_and(|sampled| made > sampled))
    {
        return Ok(folder);
    }
    eprintln!("making a log of {lines} lines");
    fs::create_dir_all(&folder)?;
    let status = Command::new(&programs.make_log).arg(lines.to_string()).arg(sample).arg(log).status()?;
    if status.success() { Ok(folder) } else { Err(format!("make-log ended with {status}").into()) }
}

/// Runs the components over a log. Returns how many lines the report has.
fn ours(workshop: &Workshop, programs: &Programs, log: &Path, out: &Path) -> Result<(Run, u64), Failure> {
    renew(out)?;
    let mut command = Command::new(&programs.airssys);
    command
        .arg("run")
        .arg(workshop.root.join("examples/logwatch"))
        .args(["--set", &format!("inbox={}", log.display())])
        .args(["--set", &format!("out={}", out.display())])
        // A little more than the reader's polling, so that waiting for more is no part of what is measured.
        .args(["--until-idle=300ms", "--json", "--log", "error"]);
    let run = measure::run(&mut command)?;
    Ok((run, reported_lines(&out.join("report.json"))?))
}

/// Runs the native program over a log. Returns how many lines the report has.
fn native(programs: &Programs, log: &Path, out: &Path) -> Result<(Run, u64), Failure> {
    renew(out)?;
    let report = out.join("report.json");
    let run = measure::run(Command::new(&programs.native).arg(log).arg(&report))?;
    Ok((run, reported_lines(&report)?))
}

/// Empties the folder for reports, so that no report of an earlier run is taken for this one's.
fn renew(out: &Path) -> Result<(), Failure> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    Ok(fs::create_dir_all(out)?)
}

fn reported_lines(report: &Path) -> Result<u64, Failure> {
    let report: Value = serde_json::from_slice(&fs::read(report)?)?;
    report.get("lines").and_then(Value::as_u64).ok_or_else(|| "the report has no number of `lines`".into())
}

/// Finds the event of the first message that was handled: the first line, as the parser is the first receiver.
fn first_line_ms(events: &str) -> Result<f64, Failure> {
    let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let first =
        events.into_iter().find(|event| event.get("event").is_some_and(|name| name == "first_message"));
    first
        .and_then(|event| event.get("ms")?.as_f64())
        .ok_or_else(|| "the program did not tell of its first message".into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(seconds: u64, peak_mib: u64) -> Run {
        Run {
            wall: Duration::from_secs(seconds),
            cpu_seconds: 2.0 * seconds as f64,
            peak_bytes: peak_mib * 1024 * 1024,
            stdout: String::new(),
        }
    }

    #[test]
    fn rows_are_medians_and_ratios() {
        let samples = Samples {
            ours: vec![run(9, 50), run(5, 60), run(4, 70)],
            native: vec![run(1, 3)],
            short: vec![run(1, 40)],
            first_line_ms: vec![300.0, 200.0, 900.0],
        };
        let rows = samples.rows();
        let row = |name| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!((row("throughput").ours, row("throughput").ratio()), (200_000.0, Some(0.2)));
        assert_eq!(row("processor time of 1,000,000 lines").ratio(), Some(5.0));
        assert_eq!(row("peak memory").ratio(), Some(20.0));
        assert_eq!(row("growth of memory with the log").met(), Some(false));
        assert_eq!(row("warm start to the first line").ours, 300.0);
    }

    #[test]
    fn the_first_line_is_found_among_the_events() {
        let events =
            "{\"event\":\"starting\"}\n{\"event\":\"first_message\",\"component\":\"parser\",\"ms\":312}\n";
        assert_eq!(first_line_ms(events).unwrap(), 312.0);
        assert!(first_line_ms("{\"event\":\"starting\"}\n").is_err());
    }
}
