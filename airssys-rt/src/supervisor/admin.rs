//! What a running supervisor can be asked, and how it refuses.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::child::ChildSpec;
use super::handle::{ChildCount, ChildInfo};
use super::{InvalidSpec, StartError};
use crate::actor_ref::{ActorId, ActorRef};

/// The right to one answer.
pub(super) type Answer<T> = oneshot::Sender<Result<T, ChildError>>;

/// A request to a supervisor, whatever its children are.
pub(super) enum Admin {
    /// There is a new order.
    Obey,
    Which(oneshot::Sender<Vec<ChildInfo>>),
    Count(oneshot::Sender<ChildCount>),
    Start(Box<ChildSpec>, Answer<Option<ActorId>>),
    Terminate(Arc<str>, Answer<()>),
    Restart(Arc<str>, Answer<Option<ActorId>>),
    Delete(Arc<str>, Answer<()>),
}

/// The mailbox of a supervisor, whatever else it understands.
pub(super) trait Lane: Send + Sync {
    /// False where the supervisor has ended.
    fn post(&self, request: Admin) -> bool;

    /// Whether its children are made from a template.
    fn is_dynamic(&self) -> bool;
}

/// What a supervisor understands beside its children's events.
pub(super) trait Inbox: From<Admin> + Send + 'static {
    const DYNAMIC: bool;
}

impl<M: Inbox> Lane for ActorRef<M> {
    fn post(&self, request: Admin) -> bool {
        self.try_cast(request.into()).is_ok()
    }

    fn is_dynamic(&self) -> bool {
        M::DYNAMIC
    }
}

/// Why a supervisor did not do what it was asked to do with a child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// A child of this name runs, or is about to; OTP's `already_started`. Holds its id, where it has one now.
    AlreadyStarted(Option<ActorId>),
    /// A child of this name does not run, but is known: restart it, or delete it first. OTP's `already_present`.
    AlreadyPresent,
    /// The child runs; to be deleted it has to be terminated first.
    Running,
    /// The child is about to be started again.
    Restarting,
    /// There is no such child.
    NotFound,
    /// It chose in `init` not to run. That is no failure, but there is no child.
    Ignored,
    /// There are as many children as this dynamic supervisor may have. Try again when one has ended.
    MaxChildren,
    /// This supervisor's children are all made from one template; OTP's `simple_one_for_one`.
    Dynamic,
    /// The description contradicts itself, or the supervisor.
    Invalid(InvalidSpec),
    /// It could not be started.
    Failed(StartError),
    /// The supervisor has ended, or is about to.
    NoProc,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted(Some(id)) => write!(f, "a child of this name runs already: {id}"),
            Self::AlreadyStarted(None) => f.write_str("a child of this name is about to run already"),
            Self::AlreadyPresent => f.write_str("a child of this name is known already"),
            Self::Running => f.write_str("the child runs"),
            Self::Restarting => f.write_str("the child is being restarted"),
            Self::NotFound => f.write_str("no such child"),
            Self::Ignored => f.write_str("the child chose not to run"),
            Self::MaxChildren => f.write_str("the supervisor has as many children as it may"),
            Self::Dynamic => f.write_str("the supervisor's children have no names"),
            // They are the source.
            Self::Invalid(_) => f.write_str("the child cannot be supervised"),
            Self::Failed(_) => f.write_str("the child did not start"),
            Self::NoProc => f.write_str("the supervisor has ended"),
        }
    }
}

impl Error for ChildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}
