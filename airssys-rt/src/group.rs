//! Actors under a common name: the semantics of OTP's `pg`, with a system as the scope.
//!
//! `table` keeps who is in which group; `monitor` tells of those who come and go.

mod monitor;
mod table;

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use monitor::{Forward, GroupEvent, GroupMonitor};
pub(crate) use table::Groups;

use crate::actor::{Actor, Context};
use crate::actor_ref::ActorRef;
use crate::fanout::Fanout;
use crate::membership::Member;
use crate::registry::RegisterError;
use crate::system::System;

/// Actors that take the same messages, under a common name.
///
/// It is only the name: a group exists while it has members (or monitors), and they are of one message type. As in
/// OTP's `pg`, an actor may join several times; then it is in [`members`](Self::members) several times, gets each
/// message several times, and leaves when it has left as often. An actor that ends is gone from all its groups before
/// anybody hears of its end.
///
/// ```
/// # use airssys_rt::{Actor, Context, ExitReason, System};
/// # struct Printer;
/// # impl Actor for Printer {
/// #     type Msg = String;
/// #     async fn handle(&mut self, _: String, _: &mut Context<Self>) -> Result<(), ExitReason> { Ok(()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = System::new();
/// let printers = system.group::<String>("printers");
/// for _ in 0..3 {
///     printers.join(&system.spawn(Printer))?;
/// }
/// assert_eq!(printers.cast("to all".to_owned()).sent, 3);
/// # Ok(())
/// # }
/// ```
pub struct Group<M> {
    system: System,
    name: Arc<str>,
    message: PhantomData<fn(M)>,
}

impl System {
    /// The group of this name. It need not have members yet.
    pub fn group<M: Send + 'static>(&self, name: impl Into<Arc<str>>) -> Group<M> {
        Group { system: self.clone(), name: name.into(), message: PhantomData }
    }

    /// The groups that have members, in alphabetical order.
    pub fn which_groups(&self) -> Vec<Arc<str>> {
        self.groups().which()
    }
}

impl<A: Actor> Context<A> {
    /// Joins a group until this incarnation ends; see [`Group::join`].
    ///
    /// # Errors
    ///
    /// As in [`Group::join`].
    pub fn join(&self, group: &str) -> Result<(), GroupError> {
        self.system().group(group).join(self)
    }

    /// Leaves a group; see [`Group::leave`].
    pub fn leave(&self, group: &str) -> bool {
        self.system().group(group).leave(self)
    }
}

impl<M: Send + 'static> Group<M> {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an actor, once more where it is a member already. [`Member`] says for how long.
    ///
    /// # Errors
    ///
    /// [`GroupError`]: the actor is dead, the group is one of another message type, or its name is empty or longer
    /// than 255 bytes.
    pub fn join(&self, actor: &impl Member<M>) -> Result<(), GroupError> {
        self.system.groups().join(&self.name, actor.address(), actor.until())
    }

    /// Takes an actor out, once. False where it is no member.
    ///
    /// Where it has joined by its reference and by its context, what was joined in the same way goes first.
    pub fn leave(&self, actor: &impl Member<M>) -> bool {
        self.system.groups().leave::<M>(&self.name, actor.address().id(), actor.until())
    }

    /// The members, by id; one that has joined several times is there as often. Empty where the group is one of
    /// another message type.
    ///
    /// A snapshot, which does not change; it costs nothing while nobody comes or goes.
    pub fn members(&self) -> Arc<[ActorRef<M>]> {
        self.system.groups().members(&self.name)
    }

    /// Sends a message to each member that has room for it.
    ///
    /// Who joins or leaves meanwhile may or may not get it.
    pub fn cast(&self, message: M) -> Fanout
    where
        M: Clone,
    {
        self.cast_with(|_| message.clone())
    }

    /// Sends each member that has room a message of its own, made by `make`, which is called without any lock held.
    pub fn cast_with(&self, mut make: impl FnMut(&ActorRef<M>) -> M) -> Fanout {
        let mut fanout = Fanout::default();
        for actor in self.members().iter() {
            fanout.send(actor, make(actor));
        }
        fanout
    }

    /// Watches the group: the members first, then who comes and goes from there on. Dropping the monitor ends it.
    ///
    /// # Errors
    ///
    /// [`GroupError`]: the group is one of another message type, or its name has a length that is not kept.
    pub fn monitor(&self) -> Result<GroupMonitor<M>, GroupError> {
        GroupMonitor::new(&self.system, &self.name)
    }
}

impl<M> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self { system: self.system.clone(), name: Arc::clone(&self.name), message: PhantomData }
    }
}

impl<M> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({:?})", self.name)
    }
}

/// Why a group cannot be joined or monitored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GroupError {
    /// The actor is dead.
    NoProc,
    /// The members take other messages.
    OtherType {
        /// The group.
        group: Arc<str>,
        /// The type of messages that its members take, for people to read.
        message: &'static str,
    },
    /// The name is one that no group can have.
    BadName(RegisterError),
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc => f.write_str("a dead actor joins no group"),
            Self::OtherType { group, message } => write!(f, "the members of `{group}` take `{message}`"),
            Self::BadName(_) => f.write_str("no group has this name"),
        }
    }
}

impl Error for GroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::BadName(error) => Some(error),
            Self::NoProc | Self::OtherType { .. } => None,
        }
    }
}
