//! Starts actors, watches them, and starts them again when they fail: the semantics of OTP's `supervisor`.
//!
//! `strategy`, `intensity`, `auto_shutdown` and `backoff` decide; `driver` is the actor that carries it out, `children`
//! what it knows of its children, `child` how it holds one. `dynamic` is the other kind of supervisor, for many
//! children of one kind. Both have a `life`, take the requests of `admin`, and are seen from outside by `handle`.

mod admin;
mod auto_shutdown;
mod backoff;
mod child;
mod children;
mod driver;
mod dynamic;
mod handle;
mod intensity;
mod life;
mod probe;
mod strategy;

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

pub use admin::ChildError;
pub use auto_shutdown::{AutoShutdown, InvalidSpec};
pub use backoff::Backoff;
pub use child::{ChildOptions, ChildSpec, Restart, Shutdown};
pub use dynamic::{DynamicRef, DynamicSupervisor};
pub use handle::{ChildCount, ChildInfo, ChildKind, ChildState, SupervisorRef};
pub use probe::{Probe, ProbeFailed};
pub use strategy::Strategy;

use child::Handle as _;
use tokio::sync::oneshot;

use crate::cell::Outcome;
use crate::exit::ExitReason;
use crate::system::System;

/// How many restarts a supervisor allows in a [`DEFAULT_PERIOD`] unless it says otherwise: OTP's default.
const DEFAULT_INTENSITY: usize = 1;

/// As in OTP.
const DEFAULT_PERIOD: Duration = Duration::from_secs(5);

/// The description of a supervisor: its strategy, its restart intensity and its children in start order.
///
/// Children are started one after the other, each when the one before is initialised, and stopped in reverse.
/// More failures than the intensity allows end the supervisor with [`ExitReason::GaveUp`], after its children; then
/// its own supervisor acts.
///
/// ```
/// # use airssys_rt::{Actor, Context, ExitReason};
/// use airssys_rt::{ChildSpec, Restart, Strategy, Supervisor, System};
/// use std::time::Duration;
///
/// # struct Worker;
/// # impl Actor for Worker {
/// #     type Msg = ();
/// #     async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> { Ok(()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let workers = Supervisor::new("workers", Strategy::OneForOne)
///     .child(ChildSpec::actor("first", || Worker))
///     .child(ChildSpec::actor("second", || Worker).restart(Restart::Transient));
/// let top = Supervisor::new("top", Strategy::RestForOne)
///     .intensity(5, Duration::from_secs(60))
///     .child(ChildSpec::actor("store", || Worker))
///     .child(ChildSpec::supervisor(workers));
/// let tree = System::new().start(top).await?;
/// tree.start_child(ChildSpec::actor("late", || Worker)).await?;
/// tree.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// # What OTP says, and where
///
/// The rules are those of the `supervisor` module of OTP's stdlib and of the chapter *Supervisor Behaviour* of its
/// design principles; where this documentation is silent, theirs applies.
///
/// | rule | in OTP | here |
/// |---|---|---|
/// | whom a failure concerns | `strategy`, *Restart Strategy* | [`Strategy`] |
/// | when a child is started again | `restart`, *Child Specification* | [`Restart`] |
/// | how often | `intensity`, `period`, *Maximum Restart Intensity*; `add_restart/1` | [`intensity`](Self::intensity) |
/// | how a child is stopped | `shutdown`; `shutdown/1` | [`Shutdown`] |
/// | when a supervisor ends by itself | `auto_shutdown`, `significant`, *Automatic Shutdown*; `do_auto_shutdown/2` | [`AutoShutdown`] |
/// | a restart that fails is tried again by a message to itself | `try_again_restart/2` | so that a stop gets in between |
/// | children at run time | `start_child/2` and its like | [`SupervisorRef`] |
/// | children of one kind | *Simplified one_for_one Supervisors* | [`DynamicSupervisor`] |
///
/// Four things differ. Children start and stop while their supervisor goes on; OTP's waits for each, and answers
/// nobody meanwhile. A failure during a restart widens the restart that is under way, where OTP would begin another
/// one after it. The period is counted by the clock, where OTP counts in whole seconds, so that up to one more of them
/// may be within it. And [`Backoff`] and [`Probe`] are options that OTP does not have.
pub struct Supervisor {
    name: Arc<str>,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    max_restarts: usize,
    period: Duration,
    seed: u64,
    children: Vec<Arc<ChildSpec>>,
}

impl Supervisor {
    /// Describes a supervisor without children that allows one restart in five seconds.
    pub fn new(name: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        Self {
            name: name.into(),
            strategy,
            auto_shutdown: AutoShutdown::Never,
            max_restarts: DEFAULT_INTENSITY,
            period: DEFAULT_PERIOD,
            seed: 0,
            children: Vec::new(),
        }
    }

    /// Allows at most `max_restarts` restarts of its children in any `period`.
    pub fn intensity(mut self, max_restarts: usize, period: Duration) -> Self {
        self.max_restarts = max_restarts;
        self.period = period;
        self
    }

    /// Sets whether it shuts itself down when its significant children are done; never, unless set.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Sets the seed of what is left to chance: the jitter of a [`Backoff`]. The same seed gives the same waits;
    /// where several machines run the same tree, give each its own. Supervisors with one seed differ by their paths.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a child, to be started after those added before.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(Arc::new(child));
        self
    }

    /// Starts it as the root of a tree; what the caller waits for and loses when it stops waiting.
    pub(crate) async fn start(self, system: &System) -> Result<SupervisorRef, StartError> {
        let path = Arc::clone(&self.name);
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let notify = move |outcome| {
            if let Some(tell) = tell.take() {
                drop(tell.send(outcome));
            }
        };
        let mut boot = Boot(Some(driver::spawn(system, &self, Arc::clone(&path), Box::new(notify))));
        // The driver has what it needs; the mailboxes that children own end with it.
        drop(self);
        let reason = match told.await {
            Ok(Outcome::Up) => return boot.0.take().ok_or(StartError { path, reason: ExitReason::Killed }),
            Ok(Outcome::InitFailed(reason) | Outcome::Exited(reason)) => reason,
            // The runtime was shut down around it.
            Ok(Outcome::Ignored) | Err(_) => ExitReason::Killed,
        };
        Err(StartError { path, reason })
    }
}

/// A root that is not up yet. Dropped, it is stopped.
struct Boot(Option<SupervisorRef>);

impl Drop for Boot {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.0 {
            supervisor.stop(true);
        }
    }
}

/// A supervision tree, or a part of it, could not be started.
///
/// The cause, in [`source`](Error::source), leads down the tree to the child that failed.
#[derive(Clone, Debug)]
pub struct StartError {
    path: Arc<str>,
    reason: ExitReason,
}

impl StartError {
    /// What could not be started, by its place in the tree.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Why.
    pub fn reason(&self) -> &ExitReason {
        &self.reason
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start `{}`", self.path)?;
        match self.reason.error() {
            // It is the source.
            Some(_) => Ok(()),
            None => write!(f, ": {}", self.reason),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.error()
    }
}

/// Runs code of the user whose panic must not be the supervisor's.
fn contained<R>(code: impl FnOnce() -> R) -> Result<R, ExitReason> {
    catch_unwind(AssertUnwindSafe(code)).map_err(ExitReason::from_panic)
}

/// Drops what is the user's, as if nothing could happen.
fn discard<T>(value: T) {
    drop(contained(|| drop(value)));
}

/// Two children of one supervisor have the same name.
#[derive(Clone, Debug)]
struct DuplicateName(Arc<str>);

impl fmt::Display for DuplicateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "two children are named `{}`", self.0)
    }
}

impl Error for DuplicateName {}
