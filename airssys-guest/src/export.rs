//! What [`export!`](crate::export!) expands to: the actor between the calls of its host.

use std::{any::Any, cell::RefCell, panic};

use crate::{Actor, Config, Error, Message, Reason, Stateful, Versions, bindings, log};

pub use bindings::{
    airssys::actor::types::{ExitReason, Message as Incoming},
    exports::airssys::actor::actor::Guest,
    state::exports::airssys::actor::state::Guest as StatefulGuest,
};

/// What a handler that answers nobody returns to the host.
pub type Done = Result<(), String>;

/// What a handler of a message returns to the host.
pub type Answer = Result<Option<Vec<u8>>, String>;

/// What is returned to a host that asked for a snapshot.
pub type Snapshot = Result<Vec<u8>, String>;

/// The actor of a component: absent until the host has called `init`.
pub struct Slot<A>(RefCell<Option<A>>);

impl<A: Actor> Slot<A> {
    /// A slot whose actor has not been started.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    /// Starts the actor.
    pub fn init(&self, config: Vec<(String, String)>) -> Done {
        panic::set_hook(Box::new(log_panic));
        let actor = A::init(&config.into_iter().collect::<Config>()).map_err(|error| error.chain())?;
        *self.0.borrow_mut() = Some(actor);
        Ok(())
    }

    /// Hands it a message.
    pub fn handle(&self, message: Incoming) -> Answer {
        let Incoming { sender, subject, payload } = message;
        self.with(|actor| actor.handle(Message { sender, subject, payload }))
    }

    /// Tells it that a timer has run out.
    pub fn timer(&self, name: &str) -> Done {
        self.with(|actor| actor.timer(name))
    }

    /// Stops it.
    pub fn terminate(&self, reason: ExitReason) {
        let reason = match reason {
            ExitReason::Normal => Reason::Normal,
            ExitReason::Shutdown => Reason::Shutdown,
        };
        if let Some(mut actor) = self.0.borrow_mut().take() {
            actor.terminate(reason);
        }
    }

    /// Asks it for its state.
    pub fn snapshot(&self) -> Snapshot
    where
        A: Stateful,
    {
        self.with(Stateful::snapshot)
    }

    /// Gives it the state of one before it.
    pub fn restore(&self, made_by: String, taken_by: String, snapshot: &[u8]) -> Done
    where
        A: Stateful,
    {
        self.with(|actor| actor.restore(&Versions { made_by, taken_by }, snapshot))
    }

    fn with<T>(&self, act: impl FnOnce(&mut A) -> Result<T, Error>) -> Result<T, String> {
        match self.0.borrow_mut().as_mut() {
            Some(actor) => act(actor).map_err(|error| error.chain()),
            None => Err("the actor is not started".to_owned()),
        }
    }
}

/// Says what went wrong: the trap that follows tells the host only *that* something did.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let message = text_of(panic.payload());
    match panic.location() {
        Some(place) => log::error!("panic at {}:{}: {message}", place.file(), place.line()),
        None => log::error!("panic: {message}"),
    }
}

fn text_of(payload: &dyn Any) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}
