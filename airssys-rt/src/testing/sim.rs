//! Simulations: one run for each seed, and nothing but the seed decides what happens in it.

use std::cell::RefCell;
use std::env::VarError;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::cell::Births;
use crate::chance;
use crate::scheduler::{Seeded, Steps};
use crate::system::System;

/// How much a simulation may do where nobody chose: some seconds of a processor.
const STEPS: u64 = 1_000_000;

/// How long a simulation may last, in its own time, where nobody chose: longer than any test means to wait.
const TIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Replays this seed alone.
const SEED: &str = "AIRSSYS_SEED";

/// Runs so many seeds, however many the test has.
const SEEDS: &str = "AIRSSYS_SEEDS";

/// Runs a test once for each seed. Each run has a runtime of its own with one thread and virtual time, as [`run`]'s,
/// and a system whose order the seed decides: which actor runs next, for how many messages, and when other tasks come
/// in between. So a test that relies on an order that nobody promises fails for some seed; and with that seed it fails
/// again, in the same way.
///
/// Every [`System`] that is made in the run is like that, not only the one that the test is given. [Blocking
/// work](System::blocking) runs on the same thread, so it must not wait for an actor; sockets and signals are not there. Not decided by the seed, and so
/// to be avoided in a test: other threads, the wall clock, the order of a `HashMap`, `tokio::select!` without
/// `biased`. The numbers in an [`ActorId`](crate::ActorId) differ from run to run; that ids are in the order of birth
/// does not.
///
/// In the environment, `AIRSSYS_SEED=17` replays seed 17 alone, and `AIRSSYS_SEEDS=100000` runs that many seeds, from
/// the first one of the test on.
///
/// ```should_panic
/// # use airssys_rt::{Actor, ActorRef, Context, ExitReason, Reply};
/// # use std::time::Duration;
/// use airssys_rt::testing;
///
/// struct Account(u64);
/// enum Order { Read(Reply<u64>), Write(u64) }
///
/// impl Actor for Account {
///     type Msg = Order;
///     async fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Result<(), ExitReason> {
///         match order {
///             Order::Read(reply) => reply.send(self.0),
///             Order::Write(value) => self.0 = value,
///         }
///         Ok(())
///     }
/// }
///
/// /// Adds one, and overlooks that somebody may write between its read and its write.
/// async fn add_one(account: ActorRef<Order>) {
///     let value = account.call(Order::Read, Duration::from_secs(1)).await.unwrap();
///     account.cast(Order::Write(value + 1)).await.unwrap();
/// }
///
/// testing::sim(0..100, |system| async move {
///     let account = system.spawn(Account(0));
///     let (one, other) = (system.task(add_one(account.clone())), system.task(add_one(account.clone())));
///     one.await.unwrap();
///     other.await.unwrap();
///     // Fails for the seeds with which both have read before one of them writes, and says which seed that was.
///     assert_eq!(account.call(Order::Read, Duration::from_secs(1)).await.unwrap(), 2);
/// });
/// ```
///
/// [`run`]: super::run
///
/// # Panics
///
/// Where `test` panics for a seed, after telling the seed on standard error; and where a run is [`Stuck`], with the
/// seed. Where there is no seed to run, a variable of the environment is no number, inside of another tokio runtime,
/// and where the operating system denies a new one.
pub fn sim<S, F>(seeds: S, test: impl Fn(System) -> F)
where
    S: IntoIterator<Item = u64>,
    F: Future<Output = ()>,
{
    let mut count = 0_u64;
    for seed in chosen(seeds) {
        count += 1;
        match catch_unwind(AssertUnwindSafe(|| Sim::new(seed).run(&test))) {
            Ok(Ok(())) => {}
            Ok(Err(stuck)) => fail(&format!("seed {seed}: {stuck}; {}", replay(seed))),
            Err(panic) => {
                // The panic itself has been printed where it happened.
                eprintln!("seed {seed} failed; {}", replay(seed));
                resume_unwind(panic);
            }
        }
    }
    assert!(count > 0, "a simulation without a seed shows nothing");
}

/// The seeds to run, as the environment wants it.
fn chosen(seeds: impl IntoIterator<Item = u64>) -> Box<dyn Iterator<Item = u64>> {
    if let Some(seed) = variable(SEED) {
        return Box::new(std::iter::once(seed));
    }
    let seeds: Vec<u64> = seeds.into_iter().collect();
    match (variable(SEEDS), seeds.first()) {
        (Some(count), Some(&first)) => Box::new(first..first.saturating_add(count)),
        _ => Box::new(seeds.into_iter()),
    }
}

#[expect(clippy::disallowed_methods, reason = "how a test is set up; nothing else reads it")]
fn variable(name: &str) -> Option<u64> {
    match std::env::var(name).map(|value| value.parse()) {
        Ok(Ok(number)) => Some(number),
        Err(VarError::NotPresent) => None,
        _ => fail(&format!("the environment variable {name} is no number")),
    }
}

#[expect(clippy::panic, reason = "it is called by tests only, and they fail by panicking")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}

/// How to see a failure again.
fn replay(seed: u64) -> String {
    let thread = std::thread::current();
    // The thread of a test has the test's name.
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!("replay it alone: {SEED}={seed} cargo test {test}").trim_end().to_owned()
}

/// One run of a simulation. [`sim`] makes one for each seed.
#[derive(Clone, Debug)]
pub struct Sim {
    seed: u64,
    steps: u64,
    time: Duration,
}

impl Sim {
    /// Makes a run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, steps: STEPS, time: TIME }
    }

    /// Sets after how many steps (turns of actors, and polls of the test) it counts as stuck; a million unless set.
    pub fn steps(mut self, limit: u64) -> Self {
        self.steps = limit;
        self
    }

    /// Sets after how much virtual time it counts as stuck; thirty days unless set, a year at most.
    pub fn time(mut self, limit: Duration) -> Self {
        self.time = limit.min(Duration::from_secs(365 * 24 * 3_600));
        self
    }

    /// Runs `test`, as [`sim`] says.
    ///
    /// # Errors
    ///
    /// `test` did not end within the limits: it waits for what never comes, or something goes on for ever. (An actor
    /// that never comes to an `.await` holds the thread, and that is not found out.)
    ///
    /// # Panics
    ///
    /// Where `test` panics, inside of another tokio runtime, and where the operating system denies a new one.
    #[expect(clippy::expect_used, reason = "it is called by tests only, and they fail by panicking")]
    pub fn run<F: Future>(&self, test: impl FnOnce(System) -> F) -> Result<F::Output, Stuck> {
        let steps = Arc::new(Steps::limit(self.steps));
        let _births = Births::in_order();
        let _ambient = Ambient::enter(self.seed, Arc::clone(&steps));
        let runtime = tokio::runtime::Builder::new_current_thread()
            // No sockets, no signals: they come when they like.
            .enable_time()
            .start_paused(true)
            // The test itself is polled after each task: no less often than its actors.
            .event_interval(1)
            .build()
            .expect("a runtime on this thread");
        runtime.block_on(async {
            let begun = Instant::now();
            let mut end = pin!(tokio::time::sleep(self.time));
            let mut test = pin!(async { test(System::new()).await });
            poll_fn(|cx| {
                steps.step();
                let stuck = |kind| Stuck { kind, steps: steps.done().min(self.steps), time: begun.elapsed() };
                if steps.is_over(cx) {
                    return Poll::Ready(Err(stuck(Kind::Endless)));
                }
                if let Poll::Ready(output) = test.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                end.as_mut().poll(cx).map(|()| Err(stuck(Kind::Deadlock)))
            })
            .await
        })
    }
}

/// A simulation that came to no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    kind: Kind,
    steps: u64,
    time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deadlock,
    Endless,
}

impl Stuck {
    /// Whether its time was over, so that the test waits for what never comes. Otherwise its steps were.
    pub fn is_deadlock(&self) -> bool {
        self.kind == Kind::Deadlock
    }

    /// How many steps it had made.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            Kind::Deadlock => "deadlock, the test waits for what never comes",
            Kind::Endless => "no end in sight",
        };
        write!(f, "{why} (after {} steps and {:?} of virtual time)", self.steps, self.time)
    }
}

impl Error for Stuck {}

/// Choices in a test that are the same for the same seed, like those of the scheduler and independent of them.
///
/// ```
/// use airssys_rt::testing::{self, Chance};
///
/// testing::sim(0..10, |system| async move {
///     let mut chance = Chance::new(system.seed().unwrap());
///     let pause = std::time::Duration::from_millis(chance.below(50));
///     tokio::time::sleep(pause).await;
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Chance(chance::Chance);

impl Chance {
    /// Makes a source of chance.
    pub fn new(seed: u64) -> Self {
        Self(chance::Chance::new(seed, "test"))
    }

    /// The next number below `bound`; zero where that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// True once in `times`, on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `items`; `None` where there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}

/// What the systems that are made on this thread belong to.
struct Ambient {
    seed: u64,
    systems: u64,
    steps: Arc<Steps>,
}

thread_local! {
    static AMBIENT: RefCell<Option<Ambient>> = const { RefCell::new(None) };
}

/// Leaves the simulation when it is dropped.
struct Leave(Option<Ambient>);

impl Ambient {
    fn enter(seed: u64, steps: Arc<Steps>) -> Leave {
        Leave(AMBIENT.replace(Some(Self { seed, systems: 0, steps })))
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        AMBIENT.set(self.0.take());
    }
}

/// The order of the next system: by the seed that it was given, or that of the simulation.
pub(crate) fn seeded(given: Option<u64>) -> Option<Seeded> {
    AMBIENT.with_borrow_mut(|ambient| match ambient {
        None => given.map(|seed| Seeded::new(seed, Arc::new(Steps::limit(u64::MAX)))),
        Some(ambient) => {
            let own = match ambient.systems {
                0 => ambient.seed,
                // Not in step with each other.
                number => chance::Chance::new(ambient.seed, &number.to_string()).bits(),
            };
            ambient.systems += 1;
            Some(Seeded::new(given.unwrap_or(own), Arc::clone(&ambient.steps)))
        }
    })
}
