//! Names for actors, and sending by name.

mod hash;

use std::any::{Any, type_name};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use hash::Keys;

use crate::actor::{Actor, Context};
use crate::actor_ref::{ActorId, ActorRef, SendError};
use crate::call::{CallError, Reply};
use crate::link::{Hook, Until};
use crate::membership::{Member, Roll, SHARDS, Who, shard_of};
use crate::system::System;

/// As long as an atom of Erlang: enough for a path in a tree, too short to keep a document in.
const MAX_NAME_BYTES: usize = 255;

impl System {
    /// Gives an actor a name, by which others find it: [`whereis`](Self::whereis), [`Named`]. Erlang's `register/2`.
    ///
    /// A name has one owner at a time. It is free again before anybody hears of the owner's end: a monitor, its
    /// supervisor, [`ActorRef::exited`] and a send that is refused all come after. So whoever hears of the end can
    /// register a successor at once. Unlike in OTP, an actor may have several names.
    ///
    /// By a reference, the name lasts as long as the reference is good; by a [`Context`], it is the incarnation's
    /// (see [`Member`]). The two differ only where a [`Mailbox`](crate::Mailbox) outlives its actor: there, a name
    /// that is registered by the mailbox's reference finds the queue between two incarnations too.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]: the name is taken (also by this very actor, as in OTP), the actor is dead, or the name is
    /// empty or longer than 255 bytes.
    pub fn register<M: Send + 'static>(
        &self,
        name: &str,
        actor: &impl Member<M>,
    ) -> Result<(), RegisterError> {
        self.names().register(name, actor.address(), actor.until())
    }

    /// Takes a name back, as Erlang's `unregister/1`. False where nobody had it.
    pub fn unregister(&self, name: &str) -> bool {
        self.names().unregister(name)
    }

    /// Finds the actor that has this name, as Erlang's `whereis/1`. `None` where nobody has it, or an actor that takes other
    /// messages.
    ///
    /// What is found may end at any time; sending to it is then refused, and asking again may find its successor.
    pub fn whereis<M: Send + 'static>(&self, name: &str) -> Option<ActorRef<M>> {
        self.names().whereis(name)
    }

    /// Lists all names, in alphabetical order.
    pub fn registered(&self) -> Vec<Registered> {
        self.names().registered()
    }

    /// An address that sends to whoever has `name` at that moment. It need not be registered yet.
    pub fn named<M: Send + 'static>(&self, name: impl Into<Arc<str>>) -> Named<M> {
        Named::new(self.clone(), name)
    }
}

impl<A: Actor> Context<A> {
    /// Gives this incarnation a name; see [`System::register`].
    ///
    /// In [`init`](Actor::init), `cx.register("name")?` makes a name that is taken a failed start; should `init` fail
    /// later, the name is free again before the supervisor hears of it.
    ///
    /// # Errors
    ///
    /// As in [`System::register`].
    pub fn register(&self, name: &str) -> Result<(), RegisterError> {
        self.system().register(name, self)
    }
}

/// A name and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// The name.
    pub name: Arc<str>,
    /// Its owner.
    pub id: ActorId,
    /// The type of messages that the owner takes, for people to read.
    pub message: &'static str,
}

/// Where names for actors that take `M` are kept: a [`System`] is one.
///
/// OTP's *via*: another implementation may keep names per tenant, by key, or elsewhere. Such a registry has to learn
/// of ends itself, by a monitor or [`ActorRef::exited`].
pub trait Registry<M> {
    /// Gives an actor a name.
    ///
    /// # Errors
    ///
    /// It has not got the name.
    fn register(&self, name: &str, actor: &ActorRef<M>) -> Result<(), RegisterError>;

    /// Takes a name back. False where nobody had it.
    fn unregister(&self, name: &str) -> bool;

    /// Finds the actor that has this name.
    fn whereis(&self, name: &str) -> Option<ActorRef<M>>;
}

impl<M: Send + 'static> Registry<M> for System {
    fn register(&self, name: &str, actor: &ActorRef<M>) -> Result<(), RegisterError> {
        Self::register(self, name, actor)
    }

    fn unregister(&self, name: &str) -> bool {
        Self::unregister(self, name)
    }

    fn whereis(&self, name: &str) -> Option<ActorRef<M>> {
        Self::whereis(self, name)
    }
}

impl<M, R: Registry<M> + ?Sized> Registry<M> for Arc<R> {
    fn register(&self, name: &str, actor: &ActorRef<M>) -> Result<(), RegisterError> {
        (**self).register(name, actor)
    }

    fn unregister(&self, name: &str) -> bool {
        (**self).unregister(name)
    }

    fn whereis(&self, name: &str) -> Option<ActorRef<M>> {
        (**self).whereis(name)
    }
}

/// An address that is looked up in a registry at every send, so it goes on reaching a successor.
///
/// Who keeps an [`ActorRef`] instead saves the lookup, and reaches only that one actor. An owner of the name that takes
/// other messages than `M` is not found.
///
/// ```
/// # use airssys_rt::{Actor, Context, ExitReason, Init, Reply, System};
/// # use std::time::Duration;
/// # struct Clock;
/// # impl Actor for Clock {
/// #     type Msg = Reply<u64>;
/// #     async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
/// #         cx.register("clock")?;
/// #         Ok(Init::Ready)
/// #     }
/// #     async fn handle(&mut self, now: Reply<u64>, _: &mut Context<Self>) -> Result<(), ExitReason> {
/// #         now.send(7);
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = System::new();
/// let clock = system.named::<Reply<u64>>("clock");
/// assert!(clock.whereis().is_none());
///
/// let actor = system.spawn(Clock); // registers itself, in `init`
/// # while clock.whereis().is_none() { tokio::task::yield_now().await; }
/// assert_eq!(clock.call(|now| now, Duration::from_secs(60)).await?, 7);
/// # Ok(())
/// # }
/// ```
pub struct Named<M, R = System> {
    registry: R,
    name: Arc<str>,
    message: PhantomData<fn(M)>,
}

impl<M: Send + 'static, R: Registry<M>> Named<M, R> {
    /// Makes an address for a name in `registry`. It need not be registered yet.
    pub fn new(registry: R, name: impl Into<Arc<str>>) -> Self {
        Self { registry, name: name.into(), message: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Finds the actor that has the name now.
    pub fn whereis(&self) -> Option<ActorRef<M>> {
        self.registry.whereis(&self.name)
    }

    /// Sends a message to the actor that has the name now, and waits for room where its mailbox is full.
    ///
    /// # Errors
    ///
    /// Nobody has the name, or its owner takes no new messages; the error holds the message.
    ///
    /// # Cancel safety
    ///
    /// As [`ActorRef::cast`]: dropping the future before it is ready drops the message.
    pub async fn cast(&self, message: M) -> Result<(), SendError<M>> {
        match self.whereis() {
            Some(actor) => actor.cast(message).await,
            None => Err(SendError::NoProc(message)),
        }
    }

    /// Sends a message to the actor that has the name now, if there is room for it.
    ///
    /// # Errors
    ///
    /// As [`ActorRef::try_cast`]; [`SendError::NoProc`] too where nobody has the name.
    pub fn try_cast(&self, message: M) -> Result<(), SendError<M>> {
        match self.whereis() {
            Some(actor) => actor.try_cast(message),
            None => Err(SendError::NoProc(message)),
        }
    }

    /// Sends a request to the actor that has the name now, and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`ActorRef::call`]; [`CallError::NoProc`] too where nobody has the name.
    ///
    /// # Cancel safety
    ///
    /// As [`ActorRef::call`].
    pub async fn call<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> M,
        timeout: Duration,
    ) -> Result<T, CallError> {
        match self.whereis() {
            Some(actor) => actor.call(request, timeout).await,
            None => Err(CallError::NoProc),
        }
    }
}

impl<M, R: Clone> Clone for Named<M, R> {
    fn clone(&self) -> Self {
        Self { registry: self.registry.clone(), name: Arc::clone(&self.name), message: PhantomData }
    }
}

impl<M, R> fmt::Debug for Named<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({:?})", self.name)
    }
}

/// Why an actor has not got a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another actor has it, or this one has it already. Wait for its end, or take another name.
    NameTaken {
        /// The name.
        name: Arc<str>,
        /// Who has it.
        by: ActorId,
    },
    /// The actor is dead.
    NoProc,
    /// The name is empty or too long.
    BadName {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A custom registry has a reason of its own.
    Other(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken { name, by } => write!(f, "the name `{name}` is taken by {by}"),
            Self::NoProc => f.write_str("a dead actor gets no name"),
            Self::BadName { bytes } => {
                write!(f, "a name has 1 to {MAX_NAME_BYTES} bytes, not {bytes}")
            }
            Self::Other(_) => f.write_str("the registry refuses the name"),
        }
    }
}

impl Error for RegisterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Other(error) => Some(&**error),
            _ => None,
        }
    }
}

/// Whether a name, of an actor or a group, has a length that is kept.
pub(crate) fn check_name(name: &str) -> Result<(), RegisterError> {
    match name.len() {
        1..=MAX_NAME_BYTES => Ok(()),
        bytes => Err(RegisterError::BadName { bytes }),
    }
}

/// The names of one system.
pub(crate) struct Names {
    shards: [RwLock<HashMap<Arc<str>, Owner, Keys>>; SHARDS],
    roll: Roll<Arc<str>>,
}

struct Owner {
    who: Who,
    /// An `ActorRef<M>`.
    actor: Box<dyn Any + Send + Sync>,
    message: &'static str,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), roll: Roll::new() }
    }

    fn register<M: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        actor: ActorRef<M>,
        until: Until,
    ) -> Result<(), RegisterError> {
        check_name(name)?;
        let name: Arc<str> = name.into();
        let mut shard = self.shard(&name).write().unwrap_or_else(PoisonError::into_inner);
        let vacant = match shard.entry(Arc::clone(&name)) {
            Slot::Occupied(taken) => {
                return Err(RegisterError::NameTaken { name, by: taken.get().who.0 });
            }
            Slot::Vacant(vacant) => vacant,
        };
        if !self.roll.enter(&actor, until, name, |who| self.hook(who)) {
            return Err(RegisterError::NoProc);
        }
        let who = (actor.id(), until);
        vacant.insert(Owner { who, actor: Box::new(actor), message: type_name::<M>() });
        Ok(())
    }

    /// What frees the names of an actor that ends. It does not keep the system alive.
    fn hook(self: &Arc<Self>, who: Who) -> Hook {
        let names: Weak<Self> = Arc::downgrade(self);
        Box::new(move |_| {
            let Some(names) = names.upgrade() else { return };
            for name in names.roll.end(who) {
                names.free(&name, who);
            }
        })
    }

    fn free(&self, name: &str, who: Who) {
        let mut shard = self.shard(name).write().unwrap_or_else(PoisonError::into_inner);
        // It may have been taken back since, and be somebody else's.
        if shard.get(name).is_some_and(|owner| owner.who == who) {
            let owner = shard.remove(name);
            drop(shard);
            drop(owner);
        }
    }

    fn unregister(&self, name: &str) -> bool {
        let mut shard = self.shard(name).write().unwrap_or_else(PoisonError::into_inner);
        let Some((name, owner)) = shard.remove_entry(name) else { return false };
        self.roll.leave(owner.who, &name);
        drop(shard);
        true
    }

    fn whereis<M: Send + 'static>(&self, name: &str) -> Option<ActorRef<M>> {
        let shard = self.shard(name).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(name)?.actor.downcast_ref::<ActorRef<M>>().cloned()
    }

    fn registered(&self) -> Vec<Registered> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|(name, owner)| Registered {
                name: Arc::clone(name),
                id: owner.who.0,
                message: owner.message,
            }));
        }
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn shard(&self, name: &str) -> &RwLock<HashMap<Arc<str>, Owner, Keys>> {
        let [first, ..] = &self.shards;
        self.shards.get(shard_of(name)).unwrap_or(first)
    }
}
