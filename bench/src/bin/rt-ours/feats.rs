//! Workloads of our own: what a peer cannot do, or nobody asked of it.

use std::{sync::Arc, time::Duration};

use airssys_bench::rt::{self, Failure, Measured, Meter, Workload, memory_bytes};
use airssys_rt::{Event, Observer, System};

use crate::{
    actors::Count,
    ours::{Ours, send, total},
};

/// How many actors are crashing at a time.
const CRASHING: u64 = 100;

/// How long they do.
const CRASH_FOR: Duration = Duration::from_secs(10);

/// A million actors that live at the same time, each called once. An operation is an actor; memory is the most that
/// the whole process had.
pub(crate) async fn million<const BOUNDED: bool>(
    ours: &Ours<BOUNDED>,
    divisor: u64,
) -> Result<Option<Measured>, Failure> {
    let operations = 1_000_000 / divisor;
    let meter = Meter::start();
    let counters: Vec<_> = (0..operations).map(|_| ours.start_counter()).collect();
    for counter in &counters {
        total(counter).await?;
    }
    let measured = meter.stop(operations);
    let bytes = memory_bytes("VmHWM")?;
    // The process is about to end; nobody wants to wait until a million actors have.
    std::mem::forget(counters);
    Ok(Some(Measured { bytes, ..measured }))
}

/// The children of one supervisor crash, all of them, again and again; each crash is followed by a call that the
/// next incarnation answers. An operation is a crash.
///
/// Fails where a child does not answer, or the supervisor has not counted every crash.
pub(crate) async fn crashes<const BOUNDED: bool>(
    ours: &Ours<BOUNDED>,
    divisor: u64,
) -> Result<Option<Measured>, Failure> {
    let duration = CRASH_FOR / u32::try_from(divisor)?;
    let (children, supervisor) = ours.family(CRASHING).await?;
    let mut crashes = 0;
    let meter = Meter::start();
    // One round at least, however late this thread gets its turn.
    while crashes == 0 || meter.elapsed() < duration {
        for child in &children {
            send::<BOUNDED>(child, Count::Crash).await?;
        }
        for child in &children {
            total(child).await?;
            crashes += 1;
        }
    }
    let measured = meter.stop(crashes);
    let restarts: u64 = supervisor.which_children().await.iter().map(|child| u64::from(child.restarts)).sum();
    if restarts != crashes {
        return Err(format!("{restarts} restarts of {crashes} crashes").into());
    }
    supervisor.shutdown().await;
    Ok(Some(measured))
}

/// [`Workload::TellOne`] in a system whose every event somebody takes. In all other workloads nobody does.
pub(crate) async fn observed<const BOUNDED: bool>(divisor: u64) -> Result<Option<Measured>, Failure> {
    struct Nobody;

    impl Observer for Nobody {
        fn event(&self, _: &Event) {}
    }

    let ours = Ours::<BOUNDED>::new(System::builder().observer(Arc::new(Nobody)).build());
    rt::run(&ours, Workload::TellOne, divisor).await
}
