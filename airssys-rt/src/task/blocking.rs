//! Work that blocks its thread, kept away from the actors' threads and within a limit.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::actor::{Actor, Context};
use crate::exit::ExitReason;
use crate::system::System;

/// How many pieces of blocking work a system runs at once where nobody chose. Well below tokio's own limit of 512
/// threads, so that one system leaves room for others; well above the cores of most machines, because such work mostly
/// waits.
const DEFAULT_LIMIT: usize = 64;

/// In a simulation, work begins when the actors had fewer chances than this to run before it.
const LONGEST_WAIT: u64 = 8;

/// The blocking pool of a system: a semaphore before tokio's `spawn_blocking`.
pub(crate) struct Blocking {
    limit: usize,
    slots: Arc<Semaphore>,
    running: AtomicUsize,
    waiting: AtomicUsize,
    started: AtomicU64,
    /// In all, and the longest.
    waits: Mutex<(Duration, Duration)>,
}

/// What the blocking pool of a system is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingStats {
    /// How many pieces of work run at most at once.
    pub limit: usize,
    /// How many run, those included that nobody waits for any more.
    pub running: usize,
    /// How many wait for a thread.
    pub waiting: usize,
    /// How many have been started since the system was made.
    pub started: u64,
    /// How long those that were started had waited, all together.
    pub wait_total: Duration,
    /// How long the one of them that waited longest had.
    pub wait_max: Duration,
}

impl System {
    /// Runs `work`, which may block, on a thread that is there for that, and waits for its result: as OTP's dirty schedulers do
    /// for what is written in C.
    ///
    /// A system runs [so many](crate::SystemBuilder::blocking_limit) at once; more wait for their turn, in order. What waits
    /// is in [`blocking_stats`](Self::blocking_stats).
    ///
    /// # Errors
    ///
    /// The work panicked, or the runtime was shut down before it was done.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes work back that has not been started. What has been started cannot be stopped: it runs
    /// to its end, keeps its place in the pool until then, and its result is dropped.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingError> {
        run(self.clone(), work).await
    }

    /// What the blocking pool is doing.
    pub fn blocking_stats(&self) -> BlockingStats {
        let pool = self.blocking_pool();
        let (wait_total, wait_max) = *pool.waits.lock().unwrap_or_else(PoisonError::into_inner);
        BlockingStats {
            limit: pool.limit,
            running: pool.running.load(Ordering::Relaxed),
            waiting: pool.waiting.load(Ordering::Relaxed),
            started: pool.started.load(Ordering::Relaxed),
            wait_total,
            wait_max,
        }
    }
}

impl<A: Actor> Context<A> {
    /// As [`System::blocking`], with its errors and its cancel safety. The future borrows nothing, so the actor can also
    /// keep it or hand it to a task.
    pub fn blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, BlockingError>> + Send + use<A, T, F> {
        run(self.system().clone(), work)
    }
}

async fn run<T: Send + 'static>(
    system: System,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let pool = system.blocking_pool();
    let slot = pool.wait().await.ok_or(BlockingError::Stopped)?;
    let running = Running::enter(pool);
    let job = move || {
        // Both are given back when the work has ended, whether or not anybody waits for it.
        let _held = (slot, running);
        work()
    };
    let runtime = system.runtime();
    let done = match system.inner().scheduler().seeded() {
        None => runtime.spawn_blocking(job),
        // Another thread would be done when it likes.
        Some(seeded) => {
            let wait = seeded.below(LONGEST_WAIT);
            runtime.spawn(async move {
                for _ in 0..wait {
                    tokio::task::yield_now().await;
                }
                job()
            })
        }
    };
    done.await.map_err(|error| match error.try_into_panic() {
        Ok(payload) => BlockingError::panic(payload),
        Err(_) => BlockingError::Stopped,
    })
}

impl Blocking {
    pub(crate) fn new(limit: Option<usize>) -> Arc<Self> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            limit,
            slots: Arc::new(Semaphore::new(limit)),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            waits: Mutex::default(),
        })
    }

    /// Waits for a place; `None` where there will never be one.
    async fn wait(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let since = Instant::now();
        let waiting = Waiting::enter(&self.waiting);
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        drop(waiting);
        let waited = since.elapsed();
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        *waits = (waits.0.saturating_add(waited), waits.1.max(waited));
        Some(slot)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Running(Arc<Blocking>);

impl Running {
    fn enter(pool: &Arc<Blocking>) -> Self {
        pool.started.fetch_add(1, Ordering::Relaxed);
        pool.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pool))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why blocking work has no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BlockingError {
    /// It panicked, with this message.
    Panic(Arc<str>),
    /// The runtime was shut down before it was done.
    Stopped,
}

impl BlockingError {
    fn panic(payload: Box<dyn Any + Send>) -> Self {
        match ExitReason::from_panic(payload) {
            ExitReason::Panic(message) => Self::Panic(message),
            _ => Self::Stopped,
        }
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(message) => write!(f, "blocking work panicked: {message}"),
            Self::Stopped => f.write_str("the runtime was shut down"),
        }
    }
}

impl Error for BlockingError {}
