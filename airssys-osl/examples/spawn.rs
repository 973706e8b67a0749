//! Measures what starting a program costs: through the door with each kind of sandbox, beside a plain `posix_spawn`, in a
//! process with a small heap and with a large one.
//!
//! `cargo run --release -p airssys-osl --example spawn`. Each figure is the median of rounds that take turns; a ratio is
//! the median of the ratios within a round. From start to end of `/bin/true`, with its record.

#![expect(clippy::disallowed_methods, reason = "the peer that is measured goes past the door")]

use std::{
    error::Error,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use airssys_osl::{
    Os,
    audit::{Event, Sink},
    policy::{ExecTerms, Grant, Policy},
    process::{Exec, Launch, Layers, Limits, Profile},
};

const PROGRAM: &str = "/bin/true";
const ROUNDS: usize = 60;
const CALLS: usize = 5;
const SMALL_BYTES: usize = 10 << 20;
const LARGE_BYTES: usize = 1 << 30;

/// Takes records for nothing, to tell the door from the log.
struct Discard;

impl Sink for Discard {
    fn record(&self, _event: &Event<'_>) -> Result<u64, airssys_osl::Error> {
        Ok(1)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let two = Layers::SECCOMP | Layers::LANDLOCK;
    let limits = Limits::new().memory_bytes(64 << 20).processes(16);
    let ways = [
        ("no layer", ExecTerms::new().profile(Profile::None)),
        ("seccomp and Landlock", ExecTerms::new().without(Layers::all() - two)),
        ("all but network and cgroup", ExecTerms::new().without(Layers::NETWORK | Layers::CGROUP)),
        ("all but cgroup", ExecTerms::new().without(Layers::CGROUP)),
        ("every layer", ExecTerms::new().limits(limits)),
    ];
    let mut execs = Vec::new();
    for (name, terms) in ways {
        let policy = Policy::builder().principal("bench", [Grant::exec(PROGRAM, terms)]).build()?;
        execs.push((name, Os::new(policy, Discard).principal("bench")?.exec(PROGRAM).await?));
    }
    let small = measure(&execs, SMALL_BYTES).await?;
    let large = measure(&execs, LARGE_BYTES).await?;
    for ((name, small), large) in names(&execs).zip(&small).zip(&large) {
        let growth = large.0.as_secs_f64() / small.0.as_secs_f64();
        println!(
            "{name:>28}: {:>9.1?}, {:.2} of plain; with 1 GiB of heap {:>9.1?}, {:.2} of plain, {growth:.2} of small",
            small.0, small.1, large.0, large.1
        );
    }
    Ok(())
}

fn names<'a>(execs: &'a [(&'static str, Exec)]) -> impl Iterator<Item = &'a str> {
    std::iter::once("posix_spawn").chain(execs.iter().map(|(name, _)| *name))
}

/// The median of each way, and of its ratio to the plain one, with so much memory in use.
async fn measure(execs: &[(&str, Exec)], heap_bytes: usize) -> Result<Vec<(Duration, f64)>, Box<dyn Error>> {
    let heap = vec![1_u8; heap_bytes];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = vec![plain()?];
        for (_, exec) in execs {
            let started = Instant::now();
            for _ in 0..CALLS {
                let exit = exec.spawn(Launch::new()).await?.wait().await;
                if !exit.is_success() {
                    return Err(exit.to_string().into());
                }
            }
            round.push(started.elapsed() / CALLS as u32);
        }
        rounds.push(round);
    }
    drop(std::hint::black_box(heap));
    let median = |way: usize| {
        let mut times: Vec<_> = rounds.iter().filter_map(|round| round.get(way).copied()).collect();
        let mut ratios: Vec<_> = rounds
            .iter()
            .filter_map(|round| Some(round.get(way)?.as_secs_f64() / round.first()?.as_secs_f64()))
            .collect();
        times.sort_unstable();
        ratios.sort_unstable_by(f64::total_cmp);
        Some((*times.get(times.len() / 2)?, *ratios.get(ratios.len() / 2)?))
    };
    Ok((0..=execs.len()).filter_map(median).collect())
}

fn plain() -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    for _ in 0..CALLS {
        let mut command = Command::new(PROGRAM);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
        if !command.status()?.success() {
            return Err("it failed".into());
        }
    }
    Ok(started.elapsed() / CALLS as u32)
}
