//! Who runs next, and where: actors are run by a few tasks of the tokio runtime, the drainers.
//!
//! An actor that another one wakes runs on the same thread, right after it: that is where its message is warm. Those
//! that pile up wait in the drainer's queue, where idle drainers steal them. Those that are born there wait on a stack
//! beside it: so a tree of actors that end soon is never there as a whole, only one branch of it. What is woken from
//! outside goes through the injector. In a simulation all of this is replaced by one list and a generator: see
//! `seeded`.

mod drainer;
#[cfg(feature = "testing")]
mod seeded;
#[cfg(not(feature = "testing"))]
mod unseeded;
mod watchdog;

use std::cell::{Cell, RefCell};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crossbeam_deque::{Injector, Stealer};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::actor_ref::ActorId;
use crate::cell::{self, AnyCell, Runnable};
use drainer::{Local, Queues, persist};
pub(crate) use watchdog::DEFAULT_LIMIT;
use watchdog::Watch;

#[cfg(feature = "testing")]
pub(crate) use seeded::{Seeded, Steps};
#[cfg(not(feature = "testing"))]
pub(crate) use unseeded::Seeded;

pub(crate) struct Scheduler {
    /// Not zero, and no other's.
    number: u64,
    injector: Injector<Runnable>,
    stealers: Vec<Stealers>,
    /// The drainers that have nothing to do, with what wakes them.
    parked: Mutex<Vec<(usize, Waker)>>,
    /// How many there are in `parked`.
    idle: AtomicUsize,
    /// How many were woken and have not found anything yet: no more need to be.
    searching: AtomicUsize,
    runtime: Handle,
    /// How many have not ended.
    drainers: AtomicUsize,
    watch: Arc<Watch>,
    closed: AtomicBool,
    /// Where a seed decides the order: then this has all that can run.
    seeded: Option<Seeded>,
}

/// What waits at a drainer, for the others to take.
struct Stealers {
    woken: Stealer<Runnable>,
    newborn: Stealer<Runnable>,
}

impl Stealers {
    fn is_empty(&self) -> bool {
        self.woken.is_empty() && self.newborn.is_empty()
    }

    fn steal(&self) -> Option<Runnable> {
        persist(|| self.woken.steal()).or_else(|| persist(|| self.newborn.steal()))
    }
}

/// What the drainers do.
pub(crate) struct Stats {
    pub(crate) drainers: usize,
    pub(crate) parked: usize,
}

thread_local! {
    /// The number of the scheduler whose drainer ran on this thread last, where threads belong to one runtime for ever.
    static HOME: Cell<u64> = const { Cell::new(0) };
    /// What the drainer has that is polled on this thread.
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
    /// The scheduler whose cells this thread is ending.
    static ABANDONED: Cell<*const Scheduler> = const { Cell::new(null()) };
}

impl Scheduler {
    /// Makes a scheduler and starts its drainers: as many as the runtime has threads.
    pub(crate) fn start(runtime: &Handle, watchdog: Option<Duration>, seeded: Option<Seeded>) -> Arc<Self> {
        let count = match runtime.runtime_flavor() {
            _ if seeded.is_some() => 0,
            RuntimeFlavor::CurrentThread => 1,
            _ => runtime.metrics().num_workers(),
        };
        let queues: Vec<Queues> = (0..count).map(|_| Queues::new()).collect();
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let scheduler = Arc::new(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            injector: Injector::new(),
            stealers: queues.iter().map(Queues::stealers).collect(),
            parked: Mutex::new(Vec::with_capacity(count)),
            idle: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            runtime: runtime.clone(),
            drainers: AtomicUsize::new(count),
            // The clock of the machine must not decide anything in a simulation.
            watch: Watch::start(count.max(1), watchdog.filter(|_| seeded.is_none())),
            closed: AtomicBool::new(false),
            seeded,
        });
        if let Some(seeded) = &scheduler.seeded {
            seeded.start(runtime, &scheduler);
        }
        for (index, queues) in queues.into_iter().enumerate() {
            drainer::start(runtime, &scheduler, index, queues);
        }
        scheduler
    }

    /// Whether one of its drainers has this actor in hand.
    pub(crate) fn runs(&self, actor: ActorId) -> bool {
        self.watch.runs(actor)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { drainers: self.drainers.load(Ordering::Relaxed), parked: self.idle.load(Ordering::Relaxed) }
    }

    /// Adds one that is to run.
    #[inline(always)]
    pub(crate) fn enqueue(&self, runnable: Runnable) {
        self.add(runnable, Local::push);
    }

    /// Adds one that is to run for the first time.
    pub(crate) fn enqueue_newborn(&self, runnable: Runnable) {
        self.add(runnable, Local::push_newborn);
    }

    #[inline(always)]
    fn add(&self, runnable: Runnable, push: impl FnOnce(&mut Local, Runnable) -> bool) {
        if let Some(seeded) = &self.seeded {
            seeded.push(runnable);
            if self.is_closed() {
                self.abandon();
            }
            return;
        }
        let mut runnable = Some(runnable);
        // Without its thread-local a thread is ending; with it lent out, it is busy in the scheduler itself.
        let known = LOCAL.try_with(|local| {
            let mut local = local.try_borrow_mut().ok()?;
            let local = local.as_mut().filter(|local| local.belongs_to(self))?;
            runnable.take().map(|runnable| push(local, runnable))
        });
        match known.ok().flatten() {
            Some(false) => {}
            Some(true) => self.offer_help(),
            None => self.inject(runnable),
        }
    }

    /// As [`call_for_help`](Self::call_for_help), where this thread will get to it anyway: to miss one that parks just
    /// now costs nothing but time.
    fn offer_help(&self) {
        if self.idle.load(Ordering::Relaxed) > 0 {
            self.call_for_help();
        }
    }

    fn inject(&self, runnable: Option<Runnable>) {
        runnable.into_iter().for_each(|runnable| self.injector.push(runnable));
        self.call_for_help();
        if self.is_closed() {
            self.abandon();
        }
    }

    /// Whether this is a thread of its runtime, as far as is known without asking.
    pub(crate) fn is_at_home(&self) -> bool {
        HOME.get() == self.number
    }

    pub(crate) fn threads(&self) -> usize {
        self.stealers.len()
    }

    /// Wakes a drainer, if there is one to wake and none is on its way.
    fn call_for_help(&self) {
        // Either the one that parks sees what was just pushed, or this sees that it has parked.
        fence(Ordering::SeqCst);
        if self.idle.load(Ordering::Relaxed) == 0 || self.searching.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut parked = self.parked();
        let Some((_, waker)) = parked.pop() else { return };
        self.idle.store(parked.len(), Ordering::Relaxed);
        self.searching.fetch_add(1, Ordering::Relaxed);
        drop(parked);
        waker.wake();
        // On a thread of the runtime, the task that was woken last waits until the one that runs lets go, and no
        // other thread can take it. So the drainer must not be the last. (Not one task that is woken each time: it may
        // itself still wait there, and to wake it again would do nothing.)
        if self.threads() > 1 {
            drop(self.runtime.spawn(async {}));
        }
    }

    /// Whether nothing waits here for the one that runs on this thread, while others may be at work.
    pub(crate) fn may_idle(&self) -> bool {
        self.threads() > 1 && !drainer::has_work_here()
    }

    fn parked(&self) -> MutexGuard<'_, Vec<(usize, Waker)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody needs it any more: its drainers end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.watch.close();
        let parked = std::mem::take(&mut *self.parked());
        parked.into_iter().for_each(|(_, waker)| waker.wake());
        if let Some(seeded) = &self.seeded {
            seeded.wake();
        }
    }

    /// The runtime has ended the drainers, and so everything that they would have run.
    fn end(&self) {
        self.close();
        self.abandon();
        let mut from = Some(0);
        while let Some(start) = from {
            let (cells, next) = cell::page(start, 1024, |system| {
                system.is_some_and(|system| std::ptr::eq(system.scheduler(), self))
            });
            // Each is queued, and run here to its end.
            cells.iter().for_each(AnyCell::kill);
            from = next;
        }
    }

    /// The order of a simulation, where it is one.
    pub(crate) fn seeded(&self) -> Option<&Seeded> {
        self.seeded.as_ref()
    }

    /// The next that waits, where a model runs instead of the drainers.
    #[cfg(all(test, airssys_loom))]
    pub(crate) fn next(&self) -> Option<Runnable> {
        persist(|| self.injector.steal())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Runs what is queued, here, because no drainer will. All of it has been told to end.
    fn abandon(&self) {
        // One that ends here may have others end, and they still others: one after the other, not inside each other.
        let outer = ABANDONED.replace(self);
        if std::ptr::eq(outer, self) {
            return;
        }
        loop {
            let next = persist(|| self.injector.steal())
                .or_else(|| self.stealers.iter().find_map(Stealers::steal))
                .or_else(|| self.seeded.as_ref().and_then(Seeded::pop));
            let Some(mut runnable) = next else { break };
            runnable.condemn();
            while let Some(again) = runnable.run().again {
                runnable = again;
            }
        }
        ABANDONED.set(outer);
    }
}
