//! Who an actor is to the door of `airssys-osl`, and on whose behalf it handles a message.
//!
//! [`Context::principal`] mints a principal that ends with the actor, whatever its end: what the principal had open is cut, its
//! programs are killed, and what it had of its limits is there for others.
//!
//! A [`SecurityContext`] is carried along by messages that are [`Carried`]: from whoever makes one in a
//! [`scope`](SecurityContext::scope) to the actor, which opens it and goes on in the same scope, and so to whom that
//! actor asks. Who does not say so passes on nothing: an actor acts as itself, also where its caller lends it the stack.
//!
//! ```
//! use airssys_osl::{Os, policy::{Grant, Policy}, testing::MemorySink};
//! use airssys_rt::{Actor, Context, ExitReason, Reply, System};
//! use airssys_rt::security::{Carried, SecurityContext};
//! use std::time::Duration;
//!
//! struct Clock;
//!
//! impl Actor for Clock {
//!     type Msg = Carried<Reply<bool>>;
//!
//!     async fn handle(&mut self, message: Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
//!         let (context, reply) = message.open();
//!         context.clone().scope(async move {
//!             // Decided for whoever asks, and on record under the name and the trace of that one.
//!             let may = context.principal().is_some_and(|caller| caller.clock().is_ok());
//!             reply.send(may);
//!         }).await;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::builder().principal("ann", [Grant::clock()]).principal("bob", []).build()?;
//! let (records, clock) = (MemorySink::new(), System::new().spawn(Clock));
//! let os = Os::new(policy, records.clone());
//! for (name, expected) in [("ann", true), ("bob", false)] {
//!     let asks = clock.call(Carried::new, Duration::from_secs(60));
//!     assert_eq!(SecurityContext::new(os.principal(name)?, [7; 16]).scope(asks).await?, expected);
//! }
//! assert!(records.take().iter().all(|record| record.trace == [7; 16]));
//! # Ok(())
//! # }
//! ```

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
};

use airssys_osl::{Error, Os, Principal, trace};

use crate::{Actor, Context};

thread_local! {
    /// For whom the code acts that runs here.
    static CALLER: Cell<Option<Principal>> = const { Cell::new(None) };
}

/// On whose behalf something is done, and which trace its records belong to.
///
/// It can be copied, but not made up: it holds a [`Principal`], which only the door mints. Who is given one can do what its
/// owner may, as long as that one lives.
#[derive(Clone, Debug)]
pub struct SecurityContext {
    principal: Option<Principal>,
    trace: [u8; 16],
}

impl SecurityContext {
    /// What is done for `principal`, in `trace`.
    pub fn new(principal: Principal, trace: [u8; 16]) -> Self {
        Self { principal: Some(principal), trace }
    }

    /// The one that holds here: nobody's and [no trace](trace::NONE) outside of all scopes.
    pub fn current() -> Self {
        // While the thread ends there is none any more.
        let principal = CALLER.try_with(|caller| {
            let principal = caller.take();
            caller.set(principal.clone());
            principal
        });
        Self { principal: principal.unwrap_or(None), trace: trace::current() }
    }

    /// For whom it is; none where nobody has said so.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The trace that records belong to.
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// Has all that `future` does be done on this behalf, as `airssys_osl`'s [`trace::scope`] does for the trace alone. Within,
    /// another scope holds for what is in it.
    ///
    /// A task that is started within begins outside: give it a scope of its own.
    ///
    /// # Cancel safety
    ///
    /// That of `future`.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        // Others run on this thread between two polls.
        poll_fn(|cx| within(self.principal.clone(), self.trace, || future.as_mut().poll(cx))).await
    }
}

/// A message, and on whose behalf it was sent.
#[derive(Debug)]
pub struct Carried<M> {
    context: SecurityContext,
    message: M,
}

impl<M> Carried<M> {
    /// Has `message` carry what [holds here](SecurityContext::current).
    pub fn new(message: M) -> Self {
        Self { context: SecurityContext::current(), message }
    }

    /// On whose behalf it was sent.
    pub fn context(&self) -> &SecurityContext {
        &self.context
    }

    /// Takes it apart: the message, and the context to handle it in.
    pub fn open(self) -> (SecurityContext, M) {
        (self.context, self.message)
    }
}

impl<A: Actor> Context<A> {
    /// Mints the principal `name` of the policy for this incarnation. It is revoked when that ends, after
    /// [`terminate`](Actor::terminate) and before anybody hears of the end: a handle that got away, into a task that nobody waits
    /// for any more, opens nothing.
    ///
    /// Each call begins another life; all end with the incarnation, which keeps every one until then. So an actor that lives
    /// long mints in [`init`](Actor::init), and not for each message. What counts for all lives of a name together, as its
    /// open connections, is free again when those that were cut are dropped by whoever holds them.
    ///
    /// # Errors
    ///
    /// The policy has no principal of this name.
    pub fn principal(&mut self, os: &Os, name: &str) -> Result<Principal, Error> {
        let principal = os.principal(name)?;
        self.hold(Life { os: os.clone(), principal: principal.clone() });
        Ok(principal)
    }
}

/// The life of a principal. Dropped, it is over.
pub(crate) struct Life {
    os: Os,
    principal: Principal,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.os.revoke(&self.principal);
    }
}

/// Does what is not done on behalf of whoever runs here: it only has the same stack.
pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> T {
    within(None, trace::NONE, work)
}

fn within<T>(principal: Option<Principal>, trace: [u8; 16], work: impl FnOnce() -> T) -> T {
    let _restored = Restored(set(principal));
    trace::sync_scope(trace, work)
}

/// Returns the one before.
fn set(principal: Option<Principal>) -> Option<Principal> {
    CALLER.try_with(|caller| caller.replace(principal)).unwrap_or(None)
}

/// Puts a caller back when it is dropped, after a panic too.
struct Restored(Option<Principal>);

impl Drop for Restored {
    fn drop(&mut self) {
        set(self.0.take());
    }
}
