//! Actors begin, end, crash, run away, and do nothing at all.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use airssys_bench::{
    osl::{Failure, figures::figure},
    turns::Turns,
};

use crate::{
    alone,
    process::Process,
    raw,
    system::{Plan, ask, break_with, resident_bytes},
    workers,
};

/// The actors of a system that starts, answers and stops: so many that the system itself weighs little.
const ACTORS: u32 = 400;
/// A process takes a hundred times as long.
const PROCESSES: u32 = 20;
const CRASHES: u32 = 200;

/// Measures start, first message and stop, for each actor of a system: on one thread, and of two systems on two.
pub(crate) fn run(rounds: usize) -> Result<(), Failure> {
    let one = alone()?;
    let two = workers(2)?;
    let plans = [one.block_on(Plan::actors(ACTORS as usize))?, one.block_on(Plan::actors(ACTORS as usize))?];
    let [first, second] = plans.map(Arc::new);
    let code = raw::Code::new()?;
    let (mut alone_turns, mut pair_turns) = (Turns::new(), Turns::new());
    for _ in 0..rounds {
        let lives = one.block_on(lives(&first))?;
        alone_turns.add("airssys", lives);
        alone_turns.add("raw", one.block_on(raw_lives(&code))?);
        alone_turns.add("raw-in-place", one.block_on(raw_lives_in_place(&code))?);
        alone_turns.add("process", processes()?);
        pair_turns.add("one-thread", lives);
        let start = Instant::now();
        let plans = [first.clone(), second.clone()];
        two.block_on(async {
            let [a, b] = plans.map(|plan| tokio::spawn(async move { lives_of(&plan).await }));
            a.await??;
            b.await?
        })?;
        pair_turns.add("airssys", each(start, 2 * ACTORS));
        pair_turns.add("raw", raw_pair(&code)?);
    }
    alone_turns.tell("spawn-message-stop");
    pair_turns.tell("spawn-message-stop-two-threads");
    Ok(())
}

async fn lives(plan: &Plan) -> Result<f64, Failure> {
    let start = Instant::now();
    lives_of(plan).await?;
    Ok(each(start, ACTORS))
}

async fn lives_of(plan: &Plan) -> Result<(), Failure> {
    let system = plan.start().await?;
    for number in 0..ACTORS {
        ask(&system, &format!("a{number}"), "echo", vec![7; 64]).await?;
    }
    system.shutdown().await;
    Ok(())
}

/// As in a system of ours: all start, then each answers, then all stop.
async fn raw_lives(code: &raw::Code<()>) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut actors = Vec::with_capacity(ACTORS as usize);
    for _ in 0..ACTORS {
        actors.push(code.start(()).await?);
    }
    for actor in &mut actors {
        actor.ask("echo", &[7; 64]).await?;
    }
    drop(actors);
    Ok(each(start, ACTORS))
}

/// One after the other, in the place of the one before.
async fn raw_lives_in_place(code: &raw::Code<()>) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..ACTORS {
        code.start(()).await?.ask("echo", &[7; 64]).await?;
    }
    Ok(each(start, ACTORS))
}

fn raw_pair(code: &raw::Code<()>) -> Result<f64, Failure> {
    let start = Instant::now();
    thread::scope(|scope| {
        let work = || alone()?.block_on(raw_lives(code));
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| Failure::from("a thread panicked"))?.map(drop))
    })?;
    Ok(each(start, 2 * ACTORS))
}

fn processes() -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..PROCESSES {
        let mut process = Process::start()?;
        process.ask(7)?;
        process.stop()?;
    }
    Ok(each(start, PROCESSES))
}

/// Measures from the message that it crashes of to the answer of its successor.
pub(crate) async fn crashes(rounds: usize) -> Result<(), Failure> {
    let plan = Plan::load("[component.a]\nsource = \"pace.wasm\"\nmax_deliver = 1\n").await?;
    let system = plan.start().await?;
    let code = raw::Code::new()?;
    let mut turns = Turns::new();
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..CRASHES {
            break_with(&system, "a", "crash").await?;
            ask(&system, "a", "echo", vec![7; 64]).await?;
        }
        turns.add("airssys", each(start, CRASHES));

        let mut actor = code.start(()).await?;
        let start = Instant::now();
        for _ in 0..CRASHES {
            if actor.ask("crash", &[]).await.is_ok() {
                return Err("it did not crash".into());
            }
            drop(actor);
            actor = code.start(()).await?;
            actor.ask("echo", &[7; 64]).await?;
        }
        turns.add("raw", each(start, CRASHES));

        let mut process = Process::start()?;
        process.ask(7)?;
        let start = Instant::now();
        for _ in 0..PROCESSES {
            if process.ask(0).is_ok() {
                return Err("it did not crash".into());
            }
            process.stop()?;
            process = Process::start()?;
            process.ask(7)?;
        }
        turns.add("process", each(start, PROCESSES));
        process.stop()?;
    }
    turns.tell("crash-to-answer");
    plan.end(system).await
}

/// Measures by how many ticks of the engine's clock a guest that never returns outlives its deadline.
pub(crate) async fn runaway(rounds: usize) -> Result<(), Failure> {
    /// The engine's clock, as the manifest's documentation has it.
    const TICK: Duration = Duration::from_millis(10);
    const DEADLINE: Duration = Duration::from_millis(50);
    let component =
        "[component.a]\nsource = \"pace.wasm\"\nmax_deliver = 1\nlimits = { deadline = \"50ms\" }\n";
    let plan = Plan::load(component).await?;
    let system = plan.start().await?;
    let mut turns = Turns::new();
    for _ in 0..rounds {
        let start = Instant::now();
        break_with(&system, "a", "spin").await?;
        let late = start.elapsed().saturating_sub(DEADLINE);
        turns.add("airssys", late.as_secs_f64() / TICK.as_secs_f64());
        ask(&system, "a", "echo", vec![7; 64]).await?;
    }
    turns.tell("runaway");
    plan.end(system).await
}

/// The most actors that the instances of *raw* are enough for.
const POOL: usize = 1000;

/// Measures what an idle actor has in memory, in bytes: in a system of so many that each answered once.
pub(crate) async fn idle(count: usize) -> Result<(), Failure> {
    // The first of all makes what is there once for all.
    let warm = Plan::actors(1).await?;
    let system = warm.start().await?;
    ask(&system, "a0", "echo", vec![7; 64]).await?;
    warm.end(system).await?;

    let plan = Plan::actors(count).await?;
    let before = resident_bytes()?;
    let system = plan.start().await?;
    for number in 0..count {
        ask(&system, &format!("a{number}"), "echo", vec![7; 64]).await?;
    }
    let grown = resident_bytes()?.saturating_sub(before) as f64 / count as f64;
    figure(if count > POOL { "idle-actor-of-many" } else { "idle-actor" }, "airssys", grown);
    plan.end(system).await
}

/// The same of *raw*, to be called in a process of its own: it would else use memory again that ours has let go.
pub(crate) async fn raw_idle(count: usize) -> Result<(), Failure> {
    let code = raw::Code::new()?;
    // The first of all makes what is there once for all.
    code.start(()).await?.ask("echo", &[7; 64]).await?;
    let mut actors = Vec::with_capacity(count);
    let before = resident_bytes()?;
    for _ in 0..count {
        let mut actor = code.start(()).await?;
        actor.ask("echo", &[7; 64]).await?;
        actors.push(actor);
    }
    figure("idle-actor", "raw", resident_bytes()?.saturating_sub(before) as f64 / count as f64);
    Ok(())
}

fn each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(count)
}
