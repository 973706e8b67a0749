//! A message and its reply: one thread, and two.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use airssys_bench::{
    osl::{Failure, figures::figure},
    turns::Turns,
};
use airssys_rt::{Actor, ActorRef, Context, ExitReason, Reply, System as Runtime};
use airssys_wasm::System;

use crate::{
    alone, raw,
    system::{Plan, ask},
    workers,
};

const SIZES: [(&str, usize, u32); 3] =
    [("message-64", 64, 3_000), ("message-4k", 4 << 10, 3_000), ("message-1m", 1 << 20, 50)];

/// Calls of each thread in a turn.
const CALLS: u32 = 3_000;

/// What the runtime alone does with a message and its reply.
struct Echo;

struct Ask(Vec<u8>, Reply<Vec<u8>>);

impl Actor for Echo {
    type Msg = Ask;

    async fn handle(&mut self, Ask(payload, reply): Ask, _: &mut Context<Self>) -> Result<(), ExitReason> {
        reply.send(payload);
        Ok(())
    }
}

/// Measures a message and its reply beside a raw call and a call of the runtime.
pub(crate) async fn run(rounds: usize) -> Result<(), Failure> {
    let plan = Plan::actors(1).await?;
    let system = plan.start().await?;
    let code = raw::Code::new()?;
    let mut actor = code.start(()).await?;
    let runtime = Runtime::new();
    let echo = runtime.spawn(Echo);
    for (measure, len, calls) in SIZES {
        let mut turns = Turns::new();
        for _ in 0..rounds {
            turns.add("airssys", ours(&system, "a0", len, calls).await?);
            turns.add("raw", raw_calls(&mut actor, len, calls).await?);
            turns.add("rt", runtime_calls(&echo, len, calls).await?);
        }
        turns.tell(measure);
        figure(measure, "raw+rt", turns.median("raw") + turns.median("rt"));
    }
    plan.end(system).await
}

/// Nanoseconds of one call, of so many. An answer is the next question, so that nobody copies what nobody needs.
async fn ours(system: &System, to: &str, len: usize, calls: u32) -> Result<f64, Failure> {
    let mut payload = vec![7; len];
    let start = Instant::now();
    for _ in 0..calls {
        payload = ask(system, to, "echo", payload).await?;
    }
    took(start, calls, len, &payload)
}

async fn raw_calls(actor: &mut raw::Actor<()>, len: usize, calls: u32) -> Result<f64, Failure> {
    let mut payload = vec![7; len];
    let start = Instant::now();
    for _ in 0..calls {
        payload = actor.ask("echo", &payload).await?;
    }
    took(start, calls, len, &payload)
}

async fn runtime_calls(actor: &ActorRef<Ask>, len: usize, calls: u32) -> Result<f64, Failure> {
    let mut payload = vec![7; len];
    let start = Instant::now();
    for _ in 0..calls {
        payload = actor.call(|reply| Ask(payload, reply), Duration::from_secs(60)).await?;
    }
    took(start, calls, len, &payload)
}

fn took(start: Instant, calls: u32, len: usize, last: &[u8]) -> Result<f64, Failure> {
    let elapsed = start.elapsed();
    if last.len() != len {
        return Err("an echo has another length than what was called".into());
    }
    Ok(elapsed.as_nanos() as f64 / f64::from(calls))
}

/// Measures how calls of two actors at a time go on two threads: nanoseconds of all for one.
pub(crate) fn threads(rounds: usize) -> Result<(), Failure> {
    let mut turns = Turns::new();
    let (one, two) = (workers(1)?, workers(2)?);
    let plan = alone()?.block_on(Plan::actors(2))?;
    for _ in 0..rounds {
        turns.add("one-thread", one.block_on(side_by_side(&plan, 1))?);
        turns.add("airssys", two.block_on(side_by_side(&plan, 2))?);
        turns.add("raw-one-thread", raw_threads(1)?);
        turns.add("raw", raw_threads(2)?);
    }
    turns.tell("message-64-two-threads");
    Ok(())
}

/// Callers and actors, a pair for each thread.
async fn side_by_side(plan: &Plan, pairs: u32) -> Result<f64, Failure> {
    let system = Arc::new(plan.start().await?);
    for number in 0..pairs {
        ours(&system, &format!("a{number}"), 64, 100).await?;
    }
    let start = Instant::now();
    let callers: Vec<_> = (0..pairs)
        .map(|number| {
            let system = system.clone();
            tokio::spawn(async move { ours(&system, &format!("a{number}"), 64, CALLS).await })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let elapsed = start.elapsed();
    system.shutdown().await;
    Ok(elapsed.as_nanos() as f64 / f64::from(pairs * CALLS))
}

fn raw_threads(count: u32) -> Result<f64, Failure> {
    let code = raw::Code::new()?;
    let work = || -> Result<f64, Failure> {
        alone()?.block_on(async {
            let mut actor = code.start(()).await?;
            raw_calls(&mut actor, 64, CALLS).await
        })
    };
    let times: Result<Vec<f64>, Failure> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?).collect()
    });
    // Each was as slow as this, and they ran at a time.
    let slowest = times?.into_iter().fold(0.0, f64::max);
    Ok(slowest / f64::from(count))
}
