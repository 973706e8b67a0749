//! `cargo xtask bench NAME [--check] [--write-docs] …`: measures, side by side with peers, in one run.
//!
//! Each benchmark is one module that returns [`Row`]s; what becomes of the rows is the same for all of them: a table
//! on the terminal, a JSON file below `target/bench/`, and on request a section of `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it builds, runs and measures programs"
)]

mod docs;
mod figure;
mod logwatch;
mod machine;
mod measure;
mod osl;
mod row;
mod rt;
mod selection;
mod spawn;
mod table;
mod wasm;

use std::{error, fs, path::PathBuf};

use machine::Machine;
use row::Row;
use selection::{DEFAULT_ROUNDS, Selection};

use crate::place;

type Failure = Box<dyn error::Error>;

/// A benchmark.
struct Benchmark {
    name: &'static str,
    /// How it measures, in a sentence or two.
    method: &'static str,
    /// Whether a part of it can be run, by `--only` and `--systems`.
    has_parts: bool,
    /// The versions of what it measures with.
    versions: fn(&Workshop) -> Result<Vec<String>, Failure>,
    run: fn(&Workshop) -> Result<Vec<Row>, Failure>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "logwatch",
        method: logwatch::METHOD,
        has_parts: false,
        versions: logwatch::versions,
        run: logwatch::run,
    },
    Benchmark { name: "osl", method: osl::METHOD, has_parts: false, versions: osl::versions, run: osl::run },
    Benchmark { name: "rt", method: rt::METHOD, has_parts: true, versions: rt::versions, run: rt::run },
    Benchmark {
        name: "spawn",
        method: spawn::METHOD,
        has_parts: false,
        versions: spawn::versions,
        run: spawn::run,
    },
    Benchmark {
        name: "wasm",
        method: wasm::METHOD,
        has_parts: true,
        versions: wasm::versions,
        run: wasm::run,
    },
];

const USAGE: &str = "usage: cargo xtask bench NAME [FLAG]…
  --check          fails where a goal is missed
  --write-docs     writes the benchmark's section of docs/benchmarks.md
  --rounds N       so many rounds rather than 5
  --program PATH   measures this build of `airssys` (rt: of `rt-ours`, wasm: of `wasm-ours`) rather than the workspace's own
of rt and wasm:
  --only A,…       runs and builds no more than these workloads, or parts, need
of rt:
  --systems A,…    … and than these systems";

/// Where a benchmark finds and puts its things.
struct Workshop {
    /// The root of the workspace.
    root: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    /// A build of ours to measure in place of the workspace's own.
    program: Option<PathBuf>,
    /// How much of the benchmark is to be run.
    selection: Selection,
}

impl Workshop {
    fn new(program: Option<PathBuf>, selection: Selection) -> Result<Self, Failure> {
        let root = place::root()?;
        Ok(Self { target: place::target(&root), root, program, selection })
    }

    /// Where logs, reports and results are kept.
    fn bench_dir(&self) -> PathBuf {
        self.target.join("bench")
    }
}

/// Runs the benchmark that `args` name.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let mut names = Vec::new();
    let (mut check, mut write_docs, mut program) = (false, false, None);
    let mut selection = Selection::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--check" => check = true,
            "--write-docs" => write_docs = true,
            "--program" => program = Some(PathBuf::from(args.next().ok_or(USAGE)?)),
            "--rounds" => selection.rounds = selection::rounds(args.next().ok_or(USAGE)?)?,
            "--only" => selection.only = selection::names(args.next().ok_or(USAGE)?),
            "--systems" => selection.systems = selection::names(args.next().ok_or(USAGE)?),
            flag if flag.starts_with('-') => return Err(format!("unknown flag `{flag}`\n{USAGE}").into()),
            name => names.push(name),
        }
    }
    let [name] = names.as_slice() else { return Err(USAGE.into()) };
    let benchmark = BENCHMARKS
        .iter()
        .find(|benchmark| benchmark.name == *name)
        .ok_or_else(|| format!("no benchmark `{name}`; there is: {}", known_names()))?;

    if selection.is_part() && !benchmark.has_parts {
        return Err(format!("{} takes neither --only nor --systems", benchmark.name).into());
    }
    if write_docs && (program.is_some() || selection.is_part() || selection.rounds < DEFAULT_ROUNDS) {
        return Err(
            "--write-docs takes no --program and no part: the page shows all that the workspace builds"
                .into(),
        );
    }

    let workshop = Workshop::new(program, selection)?;
    fs::create_dir_all(workshop.bench_dir())?;
    let rows = (benchmark.run)(&workshop)?;
    let machine = Machine::describe((benchmark.versions)(&workshop)?)?;

    println!("{machine}\n");
    print!("{}", table::text(&rows));
    let json = workshop.bench_dir().join(format!("{name}.json"));
    fs::write(&json, serde_json::to_string_pretty(&row::json(&rows, &machine.to_string()))?)?;
    if write_docs {
        let section = docs::section(benchmark.name, benchmark.method, &machine, &rows);
        let page = workshop.root.join("docs/benchmarks.md");
        docs::write(&page, benchmark.name, &section)
            .map_err(|error| format!("cannot write {}: {error}", page.display()))?;
    }

    let is_missed = |row: &&Row| row.met() == Some(false) || row.is_ahead() == Some(false);
    let missed: Vec<_> = rows.iter().filter(is_missed).map(|row| row.name.as_str()).collect();
    if check && !missed.is_empty() {
        return Err(format!("goals missed: {}", missed.join("; ")).into());
    }
    Ok(())
}

fn known_names() -> String {
    BENCHMARKS.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>().join(", ")
}
