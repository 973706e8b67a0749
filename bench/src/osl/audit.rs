//! What a record costs: whoever makes it, the writer that links, writes and signs it, and whoever verifies it.

use std::{
    hint::spin_loop,
    path::Path,
    time::{Duration, Instant},
};

use airssys_osl::{
    Milestone, Os,
    audit::{Durability, Log, LogOptions, Query, Reader, verify},
    policy::Policy,
};

use super::figures::{Failure, figure};

/// How many records are made one by one in a round, each with a pause after it.
const SINGLE: usize = 1_600;
/// How many are made as fast as they are taken.
const MANY: u32 = 16_000;
/// As long as an operation that is worth a record takes.
const PAUSE: Duration = Duration::from_micros(3);

/// How a log is written that a benchmark fills faster than its thread, or the disk, may empty it. Where those stand still for
/// seconds a figure is bad, and no record is refused.
pub fn log_options() -> LogOptions {
    LogOptions { queue_deadline: Duration::from_secs(60), ..LogOptions::default() }
}

/// Measures records, by the smallest operation that leaves one.
///
/// # Errors
///
/// A record was refused, or a log is not whole.
pub fn run(rounds: usize) -> Result<(), Failure> {
    single(SINGLE * rounds)?;
    let count = MANY * u32::try_from(rounds)?;
    many("audit-write", Durability::None, count)?;
    many("audit-write-durable", Durability::Batch, count)
}

/// Looks through all for what is not there.
fn query(log: &Path, count: u32) -> Result<(), Failure> {
    let start = Instant::now();
    let query = Query { trace: Some([1; 16]), ..Query::default() };
    let found = Reader::query(log, query)?.count();
    figure("audit-query", "airssys", start.elapsed().as_nanos() as f64 / f64::from(count));
    if found == 0 { Ok(()) } else { Err("a trace was found that nobody made".into()) }
}

fn single(count: usize) -> Result<(), Failure> {
    let tmp = tempfile::tempdir()?;
    let log = Log::open(tmp.path(), "example.org/bench", log_options())?;
    let os = Os::new(Policy::default(), log.clone());
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        os.mark(Milestone::Start, "bench")?;
        let end = Instant::now();
        times.push((end - start).as_nanos() as f64);
        while end.elapsed() < PAUSE {
            spin_loop();
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((count as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    figure("audit-caller-p50", "airssys", at(0.5));
    figure("audit-caller-p99", "airssys", at(0.99));
    log.close()?;
    check(tmp.path(), count as u64)
}

fn many(measure: &str, durability: Durability, count: u32) -> Result<(), Failure> {
    let tmp = tempfile::tempdir()?;
    let options = LogOptions { durability, ..log_options() };
    let log = Log::open(tmp.path(), "example.org/bench", options)?;
    let os = Os::new(Policy::default(), log.clone());
    let start = Instant::now();
    for _ in 0..count {
        os.mark(Milestone::Start, "bench")?;
    }
    log.flush()?;
    figure(measure, "airssys", start.elapsed().as_nanos() as f64 / f64::from(count));
    log.close()?;
    if durability == Durability::None {
        let start = Instant::now();
        let records = verify(tmp.path(), None)?.records;
        figure("audit-verify", "airssys", start.elapsed().as_nanos() as f64 / records as f64);
        query(tmp.path(), count)?;
    }
    check(tmp.path(), u64::from(count))
}

/// Makes sure that a log is whole, and that nothing was lost on the way to it.
pub(super) fn check(log: &Path, made: u64) -> Result<(), Failure> {
    let records = verify(log, None)?.records;
    if records == made { Ok(()) } else { Err(format!("{records} of {made} records are in the log").into()) }
}
