//! Measures what the door costs: a decision, and a read and a connection beside the same without a door.
//!
//! `cargo run --release -p airssys-osl --example figures`. Each figure is the median of rounds that take turns, so
//! that what else the machine does falls on all alike.

#![expect(clippy::disallowed_methods, reason = "the peers that are measured go past the door")]

use std::{
    error::Error,
    fs,
    hint::black_box,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use airssys_osl::{
    Action, Os, Verdict,
    audit::{Event, Log, LogOptions, Sink},
    fs::{Dir, Flush, OpenOptions},
    policy::{Grant, Policy, Request, Resource, Rights},
};

#[path = "figures/net.rs"]
mod net;

const ROUNDS: usize = 31;
const CALLS: usize = 2_000;
const LEN: usize = 4096;
const LARGE: usize = 1024 * 1024;
const LARGE_CALLS: usize = 50;
/// Few: a file system that does not use an inode again for some seconds gets slow in a loop of new ones.
const WRITE_CALLS: usize = 10;

/// Takes records for nothing, to tell the door from the log.
struct Discard;

impl Sink for Discard {
    fn record(&self, event: &Event<'_>) -> Result<u64, airssys_osl::Error> {
        black_box(event);
        Ok(1)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for principals in [10, 1_000, 10_000] {
        decisions(principals)?;
    }
    for grants in [10, 100, 1_000] {
        net::decisions(grants)?;
    }
    reads().await?;
    // On a runtime of one thread: that of this one would hand each wake-up from core to core, and the figures would be
    // those of the scheduler.
    tokio::task::block_in_place(net::run)
}

fn decisions(principals: usize) -> Result<(), Box<dyn Error>> {
    let mut builder = Policy::builder();
    for number in 0..principals {
        let root = format!("/srv/tenants/{number}/inbox");
        let grants = [Grant::fs(root, Rights::READ | Rights::LIST), Grant::send("parser"), Grant::clock()];
        builder = builder.principal(format!("component-{number}"), grants);
    }
    let policy = builder.build()?;
    let asks: Vec<(String, String)> = (0..CALLS)
        .map(|call| call * 7 % principals)
        .map(|number| (format!("component-{number}"), format!("/srv/tenants/{number}/inbox")))
        .collect();
    let send = time_each(&asks, |(name, _)| decide_send(&policy, name));
    let read = time_each(&asks, |(name, root)| {
        let resource = Resource::Beneath { root: Path::new(root), needs: Rights::READ };
        policy.decide(&Request { principal: name, action: Action::FsRead, resource }).verdict
    });
    let hot = time_each(&asks, |_| decide_send(&policy, "component-7"));
    let os = Os::new(policy, Discard);
    let principal = os.principal("component-7")?;
    let live = time_each(&asks, |_| principal.may_send("parser").is_ok());
    println!("{principals:>6} principals: each asks in turn: to send {send:?}, to read {read:?}");
    println!("{:>18} one asks: to send {hot:?}, to send by its handle {live:?}", "");
    Ok(())
}

fn decide_send(policy: &Policy, principal: &str) -> Verdict {
    policy
        .decide(&Request { principal, action: Action::ActorSend, resource: Resource::Name("parser") })
        .verdict
}

fn time_each<T, U>(items: &[T], mut f: impl FnMut(&T) -> U) -> Duration {
    let mut round = || {
        let start = Instant::now();
        for item in items {
            black_box(f(black_box(item)));
        }
        start.elapsed() / items.len() as u32
    };
    median((0..ROUNDS).map(|_| round()).collect())
}

async fn reads() -> Result<(), Box<dyn Error>> {
    let tmp = tempfile::tempdir()?;
    let path = tmp.path().join("one/two/file");
    fs::create_dir_all(tmp.path().join("one/two"))?;
    fs::write(&path, vec![7; LEN])?;
    let plain = open(tmp.path(), Discard).await?;
    let large = tmp.path().join("large");
    fs::write(&large, vec![7; LARGE])?;
    let log = Log::open(&tmp.path().join("log"), "example.org/figures", LogOptions::default())?;
    let logged = open(tmp.path(), log).await?;
    let handle = plain.open("one/two/file", &OpenOptions::new().read(true)).await?;
    let bare = fs::File::open(&path)?;
    let mut buffer = vec![0; LEN];

    let mut times = [const { Vec::new() }; 6];
    let [std, discarded, recorded, tokio, pread, read_at] = &mut times;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(fs::read(&path)?);
        }
        std.push(start.elapsed() / CALLS as u32);
        discarded.push(time_reads(&plain).await?);
        recorded.push(time_reads(&logged).await?);
        let start = Instant::now();
        for _ in 0..CALLS / 10 {
            black_box(tokio::fs::read(&path).await?);
        }
        tokio.push(start.elapsed() / (CALLS / 10) as u32);
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(bare.read_at(&mut buffer, 0)?);
        }
        pread.push(start.elapsed() / CALLS as u32);
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(handle.read_at(&mut buffer, 0).await?);
        }
        read_at.push(start.elapsed() / CALLS as u32);
    }
    let [std, discarded, recorded, tokio, pread, read_at] = times.map(median);
    println!("whole file of {LEN} bytes, three directories deep:");
    report("std::fs::read", std, std);
    report("Dir::read, records dropped", discarded, std);
    report("Dir::read, records in the log", recorded, std);
    report("tokio::fs::read", tokio, std);
    println!("{LEN} bytes of an open file:");
    report("pread", pread, pread);
    report("File::read_at, records dropped", read_at, pread);
    large_reads(&plain, &large).await?;
    writes(tmp.path()).await
}

async fn large_reads(dir: &Dir, path: &Path) -> Result<(), Box<dyn Error>> {
    let (mut std, mut mediated) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..LARGE_CALLS {
            black_box(fs::read(path)?);
        }
        std.push(start.elapsed() / LARGE_CALLS as u32);
        let start = Instant::now();
        for _ in 0..LARGE_CALLS {
            black_box(dir.read("large", 1 << 30).await?);
        }
        mediated.push(start.elapsed() / LARGE_CALLS as u32);
    }
    let (std, mediated) = (median(std), median(mediated));
    println!("whole file of {LARGE} bytes:");
    report("std::fs::read", std, std);
    report("Dir::read, records dropped", mediated, std);
    Ok(())
}

/// The same file again and again, as a whole, and a new one each time.
async fn writes(root: &Path) -> Result<(), Box<dyn Error>> {
    let dir = open(root, Discard).await?;
    let bytes = vec![7; LEN];
    let mut times = [const { Vec::new() }; 4];
    let [truncated, replaced, created, new] = &mut times;
    for round in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..WRITE_CALLS {
            fs::write(root.join("truncated"), &bytes)?;
        }
        truncated.push(start.elapsed() / WRITE_CALLS as u32);
        let start = Instant::now();
        for _ in 0..WRITE_CALLS {
            dir.replace("replaced", bytes.clone(), Flush::Later).await?;
        }
        replaced.push(start.elapsed() / WRITE_CALLS as u32);
        let start = Instant::now();
        for call in 0..WRITE_CALLS {
            fs::write(root.join(format!("std-{round}-{call}")), &bytes)?;
        }
        created.push(start.elapsed() / WRITE_CALLS as u32);
        let start = Instant::now();
        for call in 0..WRITE_CALLS {
            dir.replace(format!("osl-{round}-{call}"), bytes.clone(), Flush::Later).await?;
        }
        new.push(start.elapsed() / WRITE_CALLS as u32);
    }
    let [truncated, replaced, created, new] = times.map(median);
    println!("whole file of {LEN} bytes, written over an old one:");
    report("create, truncate, write", truncated, truncated);
    report("Dir::replace, records dropped", replaced, truncated);
    println!("whole file of {LEN} bytes, with a name that is new:");
    report("create, write", created, created);
    report("Dir::replace, records dropped", new, created);
    Ok(())
}

async fn open(root: &Path, sink: impl Sink) -> Result<Dir, airssys_osl::Error> {
    let policy = Policy::builder().principal("p", [Grant::fs(root, Rights::all())]).build()?;
    Os::new(policy, sink).principal("p")?.dir(root).await
}

async fn time_reads(dir: &Dir) -> Result<Duration, airssys_osl::Error> {
    let start = Instant::now();
    for _ in 0..CALLS {
        black_box(dir.read("one/two/file", 1 << 20).await?);
    }
    Ok(start.elapsed() / CALLS as u32)
}

fn report(what: &str, time: Duration, floor: Duration) {
    println!("  {what:<32} {time:>10.2?}  {:.2}", time.as_secs_f64() / floor.as_secs_f64());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
