//! Who runs next, and where: actors are run by a few tasks of the tokio runtime, the drainers.
//!
//! An actor that another one wakes runs on the same thread, right after it: that is where its message is warm. Those
//! that pile up wait in the drainer's queue, where idle drainers steal them. What is woken from outside goes through
//! the injector.

mod drainer;
mod watchdog;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crossbeam_deque::{Injector, Stealer, Worker};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::cell::{self, AnyCell, Runnable};
use drainer::Local;
pub(crate) use watchdog::DEFAULT_LIMIT;
use watchdog::Watch;

pub(crate) struct Scheduler {
    injector: Injector<Runnable>,
    stealers: Vec<Stealer<Runnable>>,
    /// The drainers that have nothing to do, with what wakes them.
    parked: Mutex<Vec<(usize, Waker)>>,
    /// How many there are in `parked`.
    idle: AtomicUsize,
    /// How many were woken and have not found anything yet: no more need to be.
    searching: AtomicUsize,
    /// How many have not ended.
    drainers: AtomicUsize,
    watch: Arc<Watch>,
    closed: AtomicBool,
}

/// What the drainers have done and do.
pub(crate) struct Stats {
    pub(crate) handled: u64,
    pub(crate) drainers: usize,
    pub(crate) parked: usize,
}

thread_local! {
    /// What the drainer has that is polled on this thread.
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

impl Scheduler {
    /// Makes a scheduler and starts its drainers: as many as the runtime has threads.
    pub(crate) fn start(runtime: &Handle, watchdog: Option<Duration>) -> Arc<Self> {
        let count = match runtime.runtime_flavor() {
            RuntimeFlavor::CurrentThread => 1,
            _ => runtime.metrics().num_workers(),
        };
        let queues: Vec<Worker<Runnable>> = (0..count).map(|_| Worker::new_fifo()).collect();
        let scheduler = Arc::new(Self {
            injector: Injector::new(),
            stealers: queues.iter().map(Worker::stealer).collect(),
            parked: Mutex::new(Vec::with_capacity(count)),
            idle: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            drainers: AtomicUsize::new(count),
            watch: Watch::start(count, watchdog),
            closed: AtomicBool::new(false),
        });
        for (index, queue) in queues.into_iter().enumerate() {
            drainer::start(runtime, &scheduler, index, queue);
        }
        scheduler
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            handled: self.watch.handled(),
            drainers: self.drainers.load(Ordering::Relaxed),
            parked: self.idle.load(Ordering::Relaxed),
        }
    }

    /// Adds one that is to run.
    pub(crate) fn enqueue(&self, runnable: Runnable) {
        let mut runnable = Some(runnable);
        // Without its thread-local a thread is ending; with it lent out, it is busy in the scheduler itself.
        let known = LOCAL.try_with(|local| {
            let mut local = local.try_borrow_mut().ok()?;
            let local = local.as_mut().filter(|local| local.belongs_to(self))?;
            runnable.take().map(|runnable| local.push(runnable))
        });
        match known.ok().flatten() {
            Some(false) => {}
            Some(true) => self.call_for_help(),
            None => self.inject(runnable),
        }
    }

    fn inject(&self, runnable: Option<Runnable>) {
        runnable.into_iter().for_each(|runnable| self.injector.push(runnable));
        self.call_for_help();
        if self.is_closed() {
            self.abandon();
        }
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
    }

    /// The runtime has ended the drainers, and so everything that they would have run.
    fn end(&self) {
        self.close();
        self.abandon();
        let mut from = Some(0);
        while let Some(start) = from {
            let (cells, next) = cell::page(start, 1024);
            let ours =
                |cell: &AnyCell| cell.system().is_some_and(|system| std::ptr::eq(system.scheduler(), self));
            // Each is queued, and run here to its end.
            cells.iter().filter(|cell| ours(cell)).for_each(AnyCell::kill);
            from = next;
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Runs what is queued, here, because no drainer will. All of it has been told to end.
    fn abandon(&self) {
        loop {
            let next = self
                .injector
                .steal()
                .success()
                .or_else(|| self.stealers.iter().find_map(|stealer| stealer.steal().success()));
            let Some(mut runnable) = next else { return };
            runnable.condemn();
            while let Some(again) = runnable.run().again {
                runnable = again;
            }
        }
    }
}
