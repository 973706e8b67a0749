//! An actor runtime with the semantics of Erlang/OTP, on tokio.
//!
//! ```
//! use airssys_rt::{Actor, Context, ExitReason, Reply, System};
//! use std::time::Duration;
//!
//! struct Counter(u64);
//! enum Msg { Add(u64), Get(Reply<u64>) }
//!
//! impl Actor for Counter {
//!     type Msg = Msg;
//!     async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
//!         match message {
//!             Msg::Add(n) => self.0 += n,
//!             Msg::Get(reply) => reply.send(self.0),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let counter = System::new().spawn(Counter(0));
//! counter.cast(Msg::Add(42)).await?;
//! assert_eq!(counter.call(Msg::Get, Duration::from_secs(60)).await?, 42);
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! * [`Actor`]: state that handles one message at a time; [`Context`] is its view of its surroundings.
//! * [`ActorRef`]: where to send messages: [`cast`](ActorRef::cast), or [`call`](ActorRef::call) with a [`Reply`].
//! * [`Mailbox`]: a bounded queue of messages, which may outlive the actor that reads it. [`Overflow`]: what it does
//!   with more.
//! * [`ExitReason`]: why an actor ended. Every end has one; a panic is one too.
//! * [`Context::link`]: two actors that end together; [`Context::trap_exit`] makes an [`Exit`] message of it.
//!   [`Context::monitor`]: one that is told when another ends, with a [`Down`].
//! * [`Stash`]: messages that an actor puts aside for later.
//! * [`statem`]: state machines, which postpone what they cannot handle yet.
//! * [`Supervisor`]: starts its [`ChildSpec`]s in order, restarts them by its [`Strategy`], stops them in reverse.
//!   [`SupervisorRef`]: adds and removes children while it runs.
//! * [`DynamicSupervisor`]: starts children of one kind when they are asked for, up to millions.
//! * [`Task`]: one piece of work as an actor, with a result; [`System::blocking`] for what blocks its thread.
//! * [`System::register`] gives an actor a unique name; [`Named`] sends to whoever has it.
//! * [`Group`]: actors under a common name, to send to all of them.
//! * [`Topics`]: actors subscribe to patterns of subjects; publishers know none of them.
//! * [`Pool`]: workers of one kind under a supervisor, behind one address.
//! * [`System`]: where actors and supervision trees are started.
//! * [`Observer`]: is told of every event in their lives, and of messages that nobody will handle.
//! * [`System::actors`]: what all actors do right now. [`System::trace`]: what one of them handles, as it does;
//!   [`System::suspend`] lets it pause. [`System::metrics`]: how the system does, in numbers.
//! * [`SystemBuilder::watchdog`]: notices an actor that blocks its thread.
//! * `testing::sim` (feature `testing`): runs a test in as many orders as it has seeds; a failing seed replays.
//!
//! The words are those of Erlang, and so is what they mean; where this documentation is silent, OTP's applies.
//!
//! A page for those who come from ractor, kameo, actix or OTP, `docs/coming-from.md`, says what is called how.
//!
//! # Features
//!
//! None is on by default.
//!
//! * `port`: `port`, for programs as actors, started through the door of `airssys-osl`, on Linux, macOS and Windows;
//!   what holds a program differs between them. And `security`: principals of that door which end with their actors, and
//!   on whose behalf a message is handled.
//! * `stream`: `stream`, for actors fed by streams, actors as sinks, and streams out of actors.
//! * `testing`: `testing`, for tests: a probe, faults at chosen messages, virtual time, and simulations whose order a seed
//!   decides.
//! * `tracing`: what an observer is told, as events of the crate `tracing` with the target `airssys_rt`. What a
//!   [traced](System::trace) actor itself writes, it writes in a span `actor` with its path and id.
//!
//! # What it does not do
//!
//! It does not preempt: where OTP counts reductions, an actor gives way after 64 messages, or where tokio's budget is used
//! up; and actors in a row give way to the other tasks of their thread after half a millisecond, or 8,192 turns.
//! One that computes without an `.await` holds its thread, and a kill waits for it. It does not send messages to other
//! machines. It never reads a wall clock: all time is `tokio::time`, so a test that pauses it needs no sleep; only how long
//! turns last is measured by the machine's own clock.

mod actor;
mod actor_ref;
mod call;
mod cell;
mod chance;
mod counters;
mod exit;
mod fanout;
mod group;
mod inspect;
mod link;
mod mailbox;
mod membership;
mod metrics;
mod observe;
mod pool;
#[cfg(all(feature = "port", any(target_os = "linux", target_os = "macos", windows)))]
pub mod port;
mod registry;
mod scheduler;
#[cfg(all(feature = "port", any(target_os = "linux", target_os = "macos", windows)))]
pub mod security;
#[cfg(not(all(feature = "port", any(target_os = "linux", target_os = "macos", windows))))]
mod security {
    //! Without a door nobody acts on behalf of anybody.

    pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
}
mod stash;
pub mod statem;
#[cfg(feature = "stream")]
pub mod stream;
mod supervisor;
mod system;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
mod topic;

pub use actor::{Actor, Context, Info, Init};
pub use actor_ref::{ActorId, ActorRef, SendError};
pub use call::{CallError, Reply};
pub use exit::ExitReason;
pub use fanout::Fanout;
pub use group::{Forward, Group, GroupError, GroupEvent, GroupMonitor};
pub use inspect::{ActorInfo, ActorState, Actors};
pub use link::{Down, Exit, MonitorRef};
pub use mailbox::{Mailbox, MailboxInUse, MailboxOptions, Overflow};
pub use membership::Member;
pub use metrics::{DeadLetters, Metrics};
pub use observe::{DeadLetterCause, Event, EventKind, Input, Observer};
pub use pool::{Balance, Pool, PoolRef};
pub use registry::{Named, RegisterError, Registered, Registry};
pub use stash::{Stash, StashFull};
pub use supervisor::{
    AutoShutdown, Backoff, ChildCount, ChildError, ChildInfo, ChildKind, ChildOptions, ChildSpec, ChildState,
    DynamicRef, DynamicSupervisor, InvalidSpec, Probe, ProbeFailed, Restart, Shutdown, StartError, Strategy,
    Supervisor, SupervisorRef,
};
pub use system::{SpawnOptions, System, SystemBuilder};
pub use task::Task;
pub use timer::TimerRef;
pub use topic::{Pattern, Subject, SubjectError, SubscribeError, Subscription, TopicStats, Topics};

/// The code of these pages is compiled as documentation is.
#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from.md")]
struct ComingFrom;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
