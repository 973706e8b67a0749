//! Measures what starting a program costs: through the door with each kind of sandbox, beside a plain `posix_spawn` and
//! whatever other sandboxes are installed, in a process with a small heap and with a large one.
//!
//! `cargo run --release -p airssys-osl --example spawn [AIRSSYS]`, with the program `airssys` where its command line is to be measured,
//! too. Each figure is the median of rounds that take turns, in
//! nanoseconds, from the start to the end of `/bin/true`, with its records: `R MEASURE SYSTEM FIGURE`.
//! `cargo xtask bench spawn` makes a table of it.

#![expect(clippy::disallowed_methods, reason = "the peers that are measured go past the door")]

use std::{
    env,
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
const ROUNDS: usize = 40;
const CALLS: u32 = 5;
const HEAPS: [(&str, usize); 2] = [("10-mib", 10 << 20), ("1-gib", 1 << 30)];
/// How long nothing is started before a start that finds nothing made beforehand.
const PAUSE: Duration = Duration::from_millis(1200);
const PAUSES: usize = 5;

/// Others that start a program in a sandbox: as close to every layer of ours as they have by themselves.
const PEERS: [(&str, &[&str]); 2] = [
    (
        "bubblewrap",
        &[
            "bwrap",
            "--unshare-all",
            "--ro-bind",
            "/usr",
            "/usr",
            "--symlink",
            "usr/lib",
            "/lib",
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--symlink",
            "usr/bin",
            "/bin",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
        ],
    ),
    ("firejail", &["firejail", "--quiet", "--noprofile", "--net=none", "--seccomp", "--private-tmp"]),
];

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
        ("no-layer", ExecTerms::new().profile(Profile::None)),
        ("seccomp-landlock", ExecTerms::new().without(Layers::all() - two)),
        ("all-but-network-cgroup", ExecTerms::new().without(Layers::NETWORK | Layers::CGROUP)),
        ("all-but-cgroup", ExecTerms::new().without(Layers::CGROUP)),
        ("every-layer", ExecTerms::new().limits(limits)),
    ];
    let mut execs = Vec::new();
    for (name, terms) in ways {
        let policy = Policy::builder().principal("bench", [Grant::exec(PROGRAM, terms)]).build()?;
        execs.push((name, Os::new(policy, Discard).principal("bench")?.exec(PROGRAM).await?));
    }
    let ours = env::args().nth(1);
    let ours = ours.as_deref().map(|ours| [ours, "sandbox", "--mem", "64M", "--pids", "16", "--"]);
    let ours = ours.as_ref().map(|command| ("airssys", &command[..]));
    let is_here = |(_, command): &(_, &[&str])| run(command, 1).is_ok();
    let peers: Vec<_> = PEERS.into_iter().filter(is_here).chain(ours).collect();
    for (heap, bytes) in HEAPS {
        for (measure, system, figure) in measure(&execs, &peers, bytes).await? {
            println!("R {measure}-{heap} {system} {}", figure.as_nanos());
        }
    }
    // What the others are made of is made in each start in any case.
    if let Some((name, exec)) = execs.last() {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..PAUSES {
            tokio::time::sleep(PAUSE).await;
            plain.push(run(&[], 1)?);
            tokio::time::sleep(PAUSE).await;
            ours.push(start(exec, 1).await?);
        }
        println!("R after-a-pause-{name} airssys {}", median(ours).as_nanos());
        println!("R after-a-pause-{name} posix_spawn {}", median(plain).as_nanos());
    }
    Ok(())
}

/// The median of each way and each peer, with so much memory in use. A plain start is beside each way of ours.
async fn measure<'a>(
    execs: &[(&'a str, Exec)],
    peers: &[(&'a str, &[&str])],
    heap_bytes: usize,
) -> Result<Vec<(&'a str, &'a str, Duration)>, Box<dyn Error>> {
    let heap = vec![1_u8; heap_bytes];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = vec![run(&[], CALLS)?];
        for (_, exec) in execs {
            round.push(start(exec, CALLS).await?);
        }
        for (_, command) in peers {
            round.push(run(command, 1)?);
        }
        rounds.push(round);
    }
    drop(std::hint::black_box(heap));
    let median = |way: usize| median(rounds.iter().filter_map(|round| round.get(way).copied()).collect());
    let mut figures = Vec::new();
    for (way, (name, _)) in execs.iter().enumerate() {
        figures.push((*name, "airssys", median(way + 1)));
        figures.push((*name, "posix_spawn", median(0)));
    }
    for (peer, (name, _)) in peers.iter().enumerate() {
        let figure = median(1 + execs.len() + peer);
        figures.push(("command-line", *name, figure));
        if *name != "airssys" {
            figures.push(("every-layer", *name, figure));
        }
    }
    figures.push(("command-line", "posix_spawn", median(0)));
    Ok(figures)
}

/// The one in the middle.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Starts the program through the door, so many times in a row: what one start takes, its end included.
async fn start(exec: &Exec, calls: u32) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    for _ in 0..calls {
        let exit = exec.spawn(Launch::new()).await?.wait().await;
        if !exit.is_success() {
            return Err(exit.to_string().into());
        }
    }
    Ok(started.elapsed() / calls)
}

/// Starts the program in another way, so many times in a row: by itself where `command` is empty.
fn run(command: &[&str], calls: u32) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    for _ in 0..calls {
        let mut words = command.iter().chain([&PROGRAM]);
        let mut command = Command::new(words.next().unwrap_or(&PROGRAM));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Where ours has its log.
        command.env("XDG_STATE_HOME", env::temp_dir().join("airssys-bench-spawn"));
        if !command.status()?.success() {
            return Err("it failed".into());
        }
    }
    Ok(started.elapsed() / calls)
}
