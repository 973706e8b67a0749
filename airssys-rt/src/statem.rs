//! State machines: OTP's `gen_statem`.
//!
//! A [`StateMachine`] handles events, each in the light of the state that it is in, and says what becomes of that
//! state ([`Next`]). [`Machine`] makes an actor of it: it is spawned, supervised and addressed like any other.
//!
//! ```
//! use airssys_rt::statem::{Begin, Event, Machine, Next, StateMachine};
//! use airssys_rt::{Context, ExitReason, Reply, System};
//! use std::time::Duration;
//!
//! /// Opens when it is pushed, and shuts a second later.
//! struct Door { pushes: u32 }
//! #[derive(PartialEq)]
//! enum State { Shut, Open }
//! enum Msg { Push(Reply<u32>), Shut }
//!
//! impl StateMachine for Door {
//!     type State = State;
//!     type Msg = Msg;
//!
//!     async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
//!         Ok(Begin::state(State::Shut))
//!     }
//!
//!     async fn handle_event(
//!         &mut self, state: &State, event: Event<Msg>, _: &mut Context<Machine<Self>>,
//!     ) -> Result<Next<Self>, ExitReason> {
//!         Ok(match (state, event) {
//!             (State::Shut, Event::Message(Msg::Push(reply))) => {
//!                 self.pushes += 1;
//!                 let next = Next::goto(State::Open).reply(reply, self.pushes);
//!                 next.state_timeout(Duration::from_secs(1), Msg::Shut)
//!             }
//!             (State::Open, Event::StateTimeout(_)) => Next::goto(State::Shut),
//!             // Not now: once it is shut.
//!             (State::Open, event) => Next::keep().postpone(event),
//!             (State::Shut, _) => Next::keep(),
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let door = System::new().spawn(Machine::new(Door { pushes: 0 }));
//! assert_eq!(door.call(Msg::Push, Duration::from_secs(60)).await?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # The order of events, which is OTP's
//!
//! After an event was handled, the machine goes on with the first of these that there is:
//!
//! 1. events inserted by [`Next::next_event`], in their order;
//! 2. where the state changed, all postponed events, in the order in which they first came;
//! 3. events that were due to be handled again already;
//! 4. timeouts of no duration;
//! 5. the mailbox.

mod machine;
mod next;

use std::borrow::Cow;
use std::future::{Future, ready};

pub use machine::Machine;
pub use next::{Begin, Enter, Next};

use crate::actor::{Context, Info};
use crate::exit::ExitReason;

/// How many events a machine may keep where nobody chose: as many as a mailbox holds by default.
const DEFAULT_QUEUE_LIMIT: usize = 1024;

/// An actor whose answer to an event depends on the state that it is in.
///
/// The data of the machine is `self`; its state is a value of [`State`](Self::State) beside it, which the machine
/// changes by what it returns. The two are OTP's `Data` and `State`; the style is its `handle_event_function`.
///
/// # Cancel safety
///
/// As in [`Actor`](crate::Actor): a kill drops the future of the method that runs.
pub trait StateMachine: Sized + Send + 'static {
    /// The states. Going to a state that equals the present one is no change of state.
    type State: PartialEq + Send + Sync + 'static;

    /// What it understands; also the content of its timeouts and of the events that it makes itself.
    type Msg: Send + 'static;

    /// How many events it may keep besides its mailbox: postponed ones, inserted ones and those that wait to be
    /// handled again. One more ends it, because what it keeps no longer slows its senders down.
    const QUEUE_LIMIT: usize = DEFAULT_QUEUE_LIMIT;

    /// Prepares the machine and chooses its first state, before its first event.
    ///
    /// # Errors
    ///
    /// An error is a failed start, as in [`Actor::init`](crate::Actor::init).
    fn init(
        &mut self,
        cx: &mut Context<Machine<Self>>,
    ) -> impl Future<Output = Result<Begin<Self>, ExitReason>> + Send;

    /// Handles one event in the present state.
    ///
    /// # Errors
    ///
    /// An error ends the machine with this reason.
    fn handle_event(
        &mut self,
        state: &Self::State,
        event: Event<Self::Msg>,
        cx: &mut Context<Machine<Self>>,
    ) -> impl Future<Output = Result<Next<Self>, ExitReason>> + Send;

    /// Enters a state: OTP's state enter call. Does nothing, unless implemented.
    ///
    /// Called for the first state, where `old` is `None`, after each change of state, and at [`Next::repeat`], where
    /// `old` equals `state`; before any event is handled in the new state.
    ///
    /// # Errors
    ///
    /// As in [`handle_event`](Self::handle_event).
    fn enter(
        &mut self,
        old: Option<&Self::State>,
        state: &Self::State,
        cx: &mut Context<Machine<Self>>,
    ) -> impl Future<Output = Result<Enter<Self>, ExitReason>> + Send {
        let _ = (old, state, cx);
        ready(Ok(Enter::keep()))
    }

    /// Says good-bye, as [`Actor::terminate`](crate::Actor::terminate) does.
    fn terminate(
        &mut self,
        reason: &ExitReason,
        state: &Self::State,
        cx: &mut Context<Machine<Self>>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, state, cx);
        ready(())
    }
}

/// What happens to a state machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<M> {
    /// A message from the mailbox: a cast, a call, or one that it sent itself by
    /// [`Context::send_after`](crate::Context::send_after).
    Message(M),
    /// What the machine inserted by [`Next::next_event`].
    Internal(M),
    /// What the runtime has to say.
    Info(Info),
    /// The machine has been in this state for the time that it chose.
    StateTimeout(M),
    /// Nothing else has happened for the time that it chose.
    EventTimeout(M),
    /// A timeout that has a name is due.
    Timeout(Cow<'static, str>, M),
}
