//! Measures the audit log: what a record costs its caller, how many a second are written, verified and searched.
//!
//! `cargo run --release -p airssys-osl --example audit_figures`. The log is in the system's folder for temporary files,
//! so that is the device whose speed is in the figures of batches.

use std::{
    error::Error,
    hint::black_box,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use airssys_osl::{
    Action, Verdict,
    audit::{self, Durability, Event, Log, LogOptions, Outcome, Phase, Query, Reader, Sink as _},
};

const RECORDS: u64 = 2_000_000;
const CALLS: usize = 200_000;
const PRODUCERS: u64 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    caller()?;
    for durability in [Durability::None, Durability::Batch] {
        let tmp = tempfile::tempdir()?;
        let dir = tmp.path().join("log");
        throughput(&dir, durability)?;
        if durability == Durability::None {
            reading(&dir)?;
        }
    }
    durable()
}

/// What a caller waits, at a pace that leaves the writer time.
fn caller() -> Result<(), Box<dyn Error>> {
    let tmp = tempfile::tempdir()?;
    let log = Log::open(&tmp.path().join("log"), "example.org/figures", LogOptions::default())?;
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let start = Instant::now();
        black_box(log.record(&event("reader", b"/srv/tenants/17/inbox/access.log", Phase::Done)))?;
        times.push(start.elapsed());
        if number % 100 == 0 {
            thread::sleep(Duration::from_micros(100));
        }
    }
    log.close()?;
    times.sort_unstable();
    let at = |share: f64| times.get((share * CALLS as f64) as usize).copied().unwrap_or_default();
    println!("a record at its caller: p50 {:?}, p99 {:?}, p99.9 {:?}", at(0.5), at(0.99), at(0.999));
    Ok(())
}

fn throughput(dir: &Path, durability: Durability) -> Result<(), Box<dyn Error>> {
    let options = LogOptions { durability, queue_deadline: Duration::from_secs(60), ..LogOptions::default() };
    let log = Log::open(dir, "example.org/figures", options)?;
    let start = Instant::now();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let log = &log;
            scope.spawn(move || {
                let principal = format!("component-{producer}");
                (0..RECORDS / PRODUCERS).all(|_| {
                    log.record(&event(&principal, b"/srv/tenants/17/inbox/access.log", Phase::Done)).is_ok()
                })
            });
        }
    });
    log.close()?;
    per_second(&format!("{durability:?}: linked, signed and written"), start.elapsed());
    Ok(())
}

fn reading(dir: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let report = audit::verify(dir, None)?;
    per_second("verified", start.elapsed());
    let start = Instant::now();
    let query = Query {
        principal: Some("component-1".into()),
        resource_prefix: Some(b"/srv/tenants/18".to_vec()),
        ..Query::default()
    };
    let found = Reader::query(dir, query)?.count();
    per_second(&format!("searched ({found} of {} found)", report.records), start.elapsed());
    let start = Instant::now();
    let records = Reader::open(dir)?.count();
    per_second(&format!("read ({records})"), start.elapsed());
    Ok(())
}

fn durable() -> Result<(), Box<dyn Error>> {
    let tmp = tempfile::tempdir()?;
    let options = LogOptions { durability: Durability::Durable, ..LogOptions::default() };
    let log = Log::open(&tmp.path().join("log"), "example.org/figures", options)?;
    let start = Instant::now();
    let calls = 1_000;
    for _ in 0..calls {
        log.record(&event("writer", b"/srv/outbox", Phase::Intent))?;
    }
    println!("Durable: an intent waits {:?} for the device", start.elapsed() / calls);
    log.close()?;
    Ok(())
}

fn per_second(what: &str, elapsed: Duration) {
    println!("{what}: {:.2} M records/s", RECORDS as f64 / elapsed.as_secs_f64() / 1e6);
}

fn event<'a>(principal: &'a str, resource: &'a [u8], phase: Phase) -> Event<'a> {
    Event {
        principal,
        action: Action::FsRead,
        resource,
        verdict: Verdict::Allow,
        rule: "component.reader.grants.fs[0]",
        epoch: 1,
        phase,
        outcome: if phase == Phase::Intent { Outcome::Pending } else { Outcome::Success },
        bytes: 4096,
        duration_ns: 2_000,
        intent: 0,
        trace: [0; 16],
    }
}
