//! Workloads of our own: what a peer cannot do, or nobody asked of it.

use std::{sync::Arc, time::Duration};

use airssys_bench::rt::{self, Failure, Measured, Meter, Workload, memory_bytes};
use airssys_rt::{
    ChildSpec, DynamicSupervisor, Event, MailboxOptions, Observer, Shutdown, Strategy, Supervisor, System,
};

use crate::{
    actors::{Count, Counter},
    ours::{INTENSITY, Ours, PERIOD, TIMEOUT, send, total},
};

/// Of a million children, one in so many crashes.
const ONE_CRASHES_IN: usize = 1_000;

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

/// As [`million`], of one dynamic supervisor: its children are started and called, one after the other; some crash, and
/// are started again; at the end all are shut down. An operation is a child.
///
/// Fails where they are not all there after the crashes.
pub(crate) async fn million_dynamic<const BOUNDED: bool>(divisor: u64) -> Result<Option<Measured>, Failure> {
    let operations = 1_000_000 / divisor;
    let count = usize::try_from(operations)?;
    let options = if BOUNDED { MailboxOptions::default() } else { MailboxOptions::unbounded() };
    let children = DynamicSupervisor::new("children", Counter)
        .mailbox(options)
        .intensity(INTENSITY, PERIOD)
        .shutdown(Shutdown::Timeout(TIMEOUT));
    let door = children.dynamic_ref();
    let meter = Meter::start();
    let tree = Supervisor::new("million", Strategy::OneForOne).child(ChildSpec::dynamic(children));
    let tree = System::new().start(tree).await?;
    let mut counters = Vec::with_capacity(count);
    for number in 0..operations {
        counters.push(door.start_child(number).await?);
    }
    let mut sum = 0;
    for counter in &counters {
        sum += total(counter).await?;
    }
    if sum != operations * (operations - 1) / 2 {
        return Err(format!("{operations} children have {sum} together").into());
    }
    let crashing = counters.iter().step_by(ONE_CRASHES_IN);
    for counter in crashing.clone() {
        send::<BOUNDED>(counter, Count::Crash).await?;
    }
    for counter in crashing {
        counter.exited().await;
    }
    // What was started again is another actor. Its supervisor hears of an end later than who waited for it.
    let mut running = door.which_children().await;
    while running.len() < count || running.iter().any(|child| !child.is_alive()) {
        if meter.elapsed() > TIMEOUT {
            return Err(format!("{} of {count} children run after the crashes", running.len()).into());
        }
        tokio::task::yield_now().await;
        running = door.which_children().await;
    }
    tree.shutdown().await;
    if let Some(alive) = running.iter().find(|child| child.is_alive()) {
        return Err(format!("{alive:?} has outlived its supervisor").into());
    }
    let measured = meter.stop(operations);
    Ok(Some(Measured { bytes: memory_bytes("VmHWM")?, ..measured }))
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

/// A workload with all that is off: built with the feature `tracing`, without anybody who listens, on actors that were
/// traced and are not.
pub(crate) async fn off<const BOUNDED: bool>(
    workload: Workload,
    divisor: u64,
) -> Result<Option<Measured>, Failure> {
    if !cfg!(feature = "tracing") {
        return Err("this rt-ours was built without the feature `tracing`".into());
    }
    rt::run(&Ours::<BOUNDED>::traced_before(System::new()), workload, divisor).await
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
