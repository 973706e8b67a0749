//! The workloads of `cargo xtask bench rt`, written once for every system of actors.
//!
//! * [`Subject`]: what a system has to be able to do.
//! * [`Workload`]: what it is made to do, and how often.
//! * [`run`]: the driver, which makes it do so and measures.
//! * [`program`]: what all programs that run one workload have in common.
//!
//! Ours (`rt-ours`) and the peers (`rt-peers`, a workspace of its own, which includes this folder) run the very same
//! driver; they differ in nothing but their [`Subject`]. Only Erlang has its own, in Erlang.

mod drive;
mod meter;
pub mod program;
mod subject;
mod workload;

pub use drive::run;
pub use meter::{Measured, Meter, memory_bytes};
pub use subject::{Barrier, Place, Subject};
pub use workload::Workload;

/// Why a workload could not be run to its end.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
