//! The public face of the runtime. Time is virtual throughout: it moves on when nothing else can happen.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails has to say so, in its helpers too"
)]

mod actor;
mod call;
mod cell;
mod compile_fail;
mod examples;
mod exit;
mod group;
mod inspect;
mod interval;
mod link;
mod mailbox;
mod metrics;
mod monitor;
mod newborn;
mod node;
mod observe;
mod on_caller;
mod overflow;
mod pool;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod port;
mod registry;
mod retained;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod security;
mod sim;
mod stage;
mod stash;
mod statem;
mod storm;
mod storm_dynamic;
mod stream;
mod stress;
mod supervisor;
mod supervisor_adm;
mod supervisor_auto;
mod supervisor_dynamic;
mod supervisor_options;
mod task;
mod testing;
mod timer;
mod topic;
mod trace;
mod tree;
mod ttl;
mod watchdog;
