//! The driver: makes a system run a workload, checks that it did, and measures.

use std::{sync::Arc, thread};

use tokio::sync::oneshot;

use super::{Barrier, Failure, Measured, Meter, Place, Subject, Workload, memory_bytes};

/// How often a child is asked before the driver lets other threads of the machine run. On a busy machine the thread
/// that is about to restart the child may be waiting for just that; asking on would measure how long it has to.
const PATIENCE: u32 = 16;

/// Runs a workload. `None` where the system has nothing like it.
///
/// # Errors
///
/// The system failed, or came to another result than it should.
pub async fn run<S: Subject>(
    subject: &S,
    workload: Workload,
    divisor: u64,
) -> Result<Option<Measured>, Failure> {
    let operations = workload.operations(divisor);
    let actors = workload.actors(divisor);
    let measured = match workload {
        Workload::TellOne | Workload::TellFour => tell(subject, operations, actors).await?,
        Workload::AskOne => ask_one(subject, operations).await?,
        Workload::AskMany => ask_many(subject, operations, actors).await?,
        Workload::PingPong | Workload::Ring => pass(subject, operations, actors).await?,
        Workload::SpawnStop => spawn_and_stop(subject, operations).await?,
        Workload::Memory => memory(subject, operations).await?,
        Workload::Skynet => skynet(subject, operations, workload.leaves(divisor)).await?,
        Workload::FanOut => fan_out(subject, operations, actors).await?,
        Workload::Restart if S::RESTARTS_AFTER_PANIC => restart(subject, operations).await?,
        Workload::Restart => return Ok(None),
    };
    Ok(Some(measured))
}

async fn tell<S: Subject>(subject: &S, operations: u64, producers: u64) -> Result<Measured, Failure> {
    let counter = started(subject, Place::Far).await?;
    let meter = Meter::start();
    let produce = |counter: S::Counter| async move {
        for _ in 0..operations / producers {
            S::add(&counter, 1).await?;
        }
        Ok(())
    };
    let tasks: Vec<_> = (0..producers).map(|_| S::task(produce(counter.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    expect(S::total(&counter).await?, operations)?;
    Ok(meter.stop(operations))
}

async fn ask_one<S: Subject>(subject: &S, operations: u64) -> Result<Measured, Failure> {
    let counter = started(subject, Place::Near).await?;
    let meter = Meter::start();
    for _ in 0..operations {
        S::total(&counter).await?;
    }
    Ok(meter.stop(operations))
}

async fn ask_many<S: Subject>(subject: &S, operations: u64, askers: u64) -> Result<Measured, Failure> {
    let counter = started(subject, Place::Far).await?;
    let meter = Meter::start();
    let ask = |counter: S::Counter| async move {
        for _ in 0..operations / askers {
            S::total(&counter).await?;
        }
        Ok(())
    };
    let tasks: Vec<_> = (0..askers).map(|_| S::task(ask(counter.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(meter.stop(operations))
}

async fn pass<S: Subject>(subject: &S, operations: u64, nodes: u64) -> Result<Measured, Failure> {
    let (done, all_passed) = oneshot::channel();
    let first = subject.ring(nodes, done).await?;
    let meter = Meter::start();
    S::pass(&first, operations).await?;
    all_passed.await?;
    Ok(meter.stop(operations))
}

async fn spawn_and_stop<S: Subject>(subject: &S, operations: u64) -> Result<Measured, Failure> {
    let meter = Meter::start();
    subject.spawn_and_stop(operations).await?;
    Ok(meter.stop(operations))
}

async fn memory<S: Subject>(subject: &S, operations: u64) -> Result<Measured, Failure> {
    let before = memory_bytes("VmRSS")?;
    let meter = Meter::start();
    let mut counters = Vec::with_capacity(usize::try_from(operations)?);
    for _ in 0..operations {
        counters.push(subject.counter(Place::Near).await?);
    }
    for counter in &counters {
        S::total(counter).await?;
    }
    let grown = memory_bytes("VmRSS")?.saturating_sub(before);
    let measured = meter.stop(operations);
    // The process is about to end; nobody wants to wait until a million actors have.
    std::mem::forget(counters);
    Ok(Measured { bytes: grown / operations, ..measured })
}

async fn skynet<S: Subject>(subject: &S, operations: u64, leaves: u64) -> Result<Measured, Failure> {
    let meter = Meter::start();
    expect(subject.skynet(leaves).await?, leaves * (leaves - 1) / 2)?;
    Ok(meter.stop(operations))
}

async fn fan_out<S: Subject>(subject: &S, operations: u64, actors: u64) -> Result<Measured, Failure> {
    let barrier = Arc::new(Barrier::default());
    let mut leaves = Vec::new();
    for index in 0..actors {
        leaves.push(subject.leaf(Place::alternating(index), Arc::clone(&barrier)).await?);
    }
    let meter = Meter::start();
    for _ in 0..operations / actors {
        barrier.expect(actors);
        for leaf in &leaves {
            S::hit(leaf, 1).await?;
        }
        barrier.wait().await;
    }
    Ok(meter.stop(operations))
}

async fn restart<S: Subject>(subject: &S, operations: u64) -> Result<Measured, Failure> {
    let child = subject.supervised().await?;
    if !S::answers(&child).await {
        return Err("the child does not answer".into());
    }
    let meter = Meter::start();
    for _ in 0..operations {
        S::crash(&child).await?;
        let mut asked = 1_u32;
        while !S::answers(&child).await {
            tokio::task::yield_now().await;
            asked += 1;
            if asked.is_multiple_of(PATIENCE) {
                thread::yield_now();
            }
        }
    }
    Ok(meter.stop(operations))
}

/// Starts a counter, and waits until it runs.
async fn started<S: Subject>(subject: &S, place: Place) -> Result<S::Counter, Failure> {
    let counter = subject.counter(place).await?;
    S::total(&counter).await?;
    Ok(counter)
}

fn expect(result: u64, expected: u64) -> Result<(), Failure> {
    if result == expected { Ok(()) } else { Err(format!("{result} is not {expected}").into()) }
}
