//! `cargo xtask bench NAME [--check] [--write-docs] [--program PATH]`: measures, side by side with peers, in one run.
//!
//! Each benchmark is one module that returns [`Row`]s; what becomes of the rows is the same for all of them: a table
//! on the terminal, a JSON file below `target/bench/`, and on request a section of `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it builds, runs and measures programs"
)]

mod docs;
mod logwatch;
mod machine;
mod measure;
mod row;
mod table;

use std::{
    env, error, fs,
    path::{Path, PathBuf},
};

use machine::Machine;
use row::Row;

type Failure = Box<dyn error::Error>;

/// A benchmark: its name, how it measures in a sentence or two, and what runs it.
struct Benchmark {
    name: &'static str,
    method: &'static str,
    run: fn(&Workshop) -> Result<Vec<Row>, Failure>,
}

const BENCHMARKS: &[Benchmark] =
    &[Benchmark { name: "logwatch", method: logwatch::METHOD, run: logwatch::run }];

const USAGE: &str = "usage: cargo xtask bench NAME [--check] [--write-docs] [--program PATH]
  --check         fails where a goal is missed
  --write-docs    writes the benchmark's section of docs/benchmarks.md
  --program PATH  measures this build of `airssys` rather than the workspace's own";

/// Where a benchmark finds and puts its things.
struct Workshop {
    /// The root of the workspace.
    root: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    /// A build of `airssys` to measure in place of the workspace's own.
    program: Option<PathBuf>,
}

impl Workshop {
    fn new(program: Option<PathBuf>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        // Absolute and short, as it is part of what a user reads.
        let root = root.canonicalize().unwrap_or(root);
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Self { root, target, program }
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
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--check" => check = true,
            "--write-docs" => write_docs = true,
            "--program" => program = Some(PathBuf::from(args.next().ok_or(USAGE)?)),
            flag if flag.starts_with('-') => return Err(format!("unknown flag `{flag}`\n{USAGE}").into()),
            name => names.push(name),
        }
    }
    if write_docs && program.is_some() {
        return Err("--write-docs takes no --program: the page shows what the workspace builds".into());
    }
    let [name] = names.as_slice() else { return Err(USAGE.into()) };
    let benchmark = BENCHMARKS
        .iter()
        .find(|benchmark| benchmark.name == *name)
        .ok_or_else(|| format!("no benchmark `{name}`; there is: {}", known_names()))?;

    let workshop = Workshop::new(program);
    fs::create_dir_all(workshop.bench_dir())?;
    let rows = (benchmark.run)(&workshop)?;
    let machine = Machine::describe(&workshop.root)?;

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

    let missed: Vec<_> = rows.iter().filter(|row| row.met() == Some(false)).map(|row| row.name).collect();
    if check && !missed.is_empty() {
        return Err(format!("goals missed: {}", missed.join(", ")).into());
    }
    Ok(())
}

fn known_names() -> String {
    BENCHMARKS.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>().join(", ")
}
