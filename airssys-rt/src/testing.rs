//! For tests of actors: a [`Probe`] to see what they send, [`Faults`] to make them fail, virtual time, and
//! [simulations](sim()) in which a seed decides who runs when.
//!
//! ```
//! use airssys_rt::testing::{self, Fault, Faults, Faulty, Probe};
//! use airssys_rt::{Actor, ActorRef, Context, ExitReason};
//! use std::time::Duration;
//!
//! /// Passes on what it gets, an hour later.
//! struct Post(ActorRef<u32>);
//! impl Actor for Post {
//!     type Msg = u32;
//!     async fn handle(&mut self, letter: u32, _: &mut Context<Self>) -> Result<(), ExitReason> {
//!         tokio::time::sleep(Duration::from_secs(3_600)).await;
//!         Ok(self.0.cast(letter).await?)
//!     }
//! }
//!
//! testing::run(|system| async move {
//!     let mut probe = Probe::new(&system);
//!     let faults = Faults::new().nth(2, Fault::Exit(ExitReason::Killed));
//!     let post = system.spawn(Faulty::new(Post(probe.actor_ref()), faults));
//!     post.cast(1).await.unwrap();
//!     post.cast(2).await.unwrap();
//!
//!     probe.expect_none(Duration::from_secs(3_599)).await.unwrap();
//!     assert_eq!(probe.expect(Duration::from_secs(2)).await.unwrap(), 1);
//!     assert!(matches!(post.exited().await, ExitReason::Killed));
//! });
//! ```

mod fault;
mod probe;
mod sim;

use std::future::Future;
use std::time::Duration;

pub use fault::{Fault, Faults, Faulty};
pub use probe::{Probe, ProbeError};
pub(crate) use sim::seeded;
pub use sim::{Chance, Sim, Stuck, sim};

use crate::system::System;

/// Runs a test on a runtime of its own, with one thread and virtual time: when nothing can happen any more, time moves
/// on to the next timer. So an hour takes no time, and a run is like every other.
///
/// # Panics
///
/// Where `test` panics, inside of another tokio runtime, and where the operating system denies a new one.
#[expect(clippy::expect_used, reason = "it is called by tests only, and they fail by panicking")]
pub fn run<F: Future>(test: impl FnOnce(System) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime on this thread").block_on(async { test(System::new()).await })
}

/// Waits until everything has happened that can happen before time moves on. (With virtual time it takes a
/// millisecond of it; without, it is no more than that.)
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
