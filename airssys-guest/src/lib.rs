//! The SDK for writing AirsSys components in Rust.
//!
//! A component is an [`Actor`]: a WebAssembly sandbox with a mailbox, started and restarted by a supervisor. It
//! touches nothing but what its manifest grants, and every touch is on the record.
//!
//! ```
//! use airssys_guest::{Actor, Config, Error, Message, log, send};
//!
//! struct Greeter {
//!     to: String,
//! }
//!
//! impl Actor for Greeter {
//!     fn init(config: &Config) -> Result<Self, Error> {
//!         Ok(Greeter { to: config.text("to").unwrap_or("printer").to_owned() })
//!     }
//!
//!     fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
//!         log::info!("{} says hello", message.sender);
//!         send(&self.to, "greeting", &message.payload)?;
//!         Ok(None)
//!     }
//! }
//!
//! airssys_guest::export!(Greeter);
//! # fn main() {}
//! ```
//!
//! Build it with `crate-type = ["cdylib"]` for `wasm32-wasip2`, or for `wasm32-unknown-unknown` followed by
//! `wasm-tools component new`.
//!
//! # Concepts
//!
//! * [`Actor`]: what the component is; [`export!`] makes it the component's face.
//! * [`Stateful`]: an actor that hands its state on, to the next instance after a crash or to another version.
//! * [`Message`], [`send`], [`call`]: what actors say to each other.
//! * [`json`]: typed messages, as JSON.
//! * [`topics`]: messages to whoever wants them.
//! * [`later()`], [`Pending`]: an answer that is given when something else has happened.
//! * [`context`]: what an actor may know of itself and of the message in hand.
//! * [`Config`]: what the manifest tells the component.
//! * [`fs`]: the directories that the manifest grants.
//! * [`keyvalue`]: buckets of keys and values, which components share.
//! * [`http`]: requests over HTTP.
//! * [`timers`], [`clock`], [`mod@env`], [`net`], [`process`],
//!   [`random`], [`log`]: the rest of the world.
//! * [`Error`]: why something was not done; a denial is an error like any other.
//! * `testing`: the same actor in a native test, with a host made of memory. Not part of a component.
//!
//! # What it does not do
//!
//! It decides nothing: a path that leaves a directory is passed on, and the host refuses it. It has no threads and no
//! `async`: a call that waits lets the host run others meanwhile.

mod actor;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
pub mod clock;
mod config;
pub mod context;
pub mod env;
mod error;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod export;
pub mod fs;
mod host;
pub mod http;
pub mod json;
pub mod keyvalue;
mod later;
pub mod log;
mod messaging;
pub mod net;
pub mod process;
pub mod random;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod timers;
pub mod topics;

pub use actor::{Actor, Message, Reason, Stateful, Versions};
pub use config::Config;
pub use error::{Error, ErrorKind};
pub use later::{Pending, later};
pub use messaging::{call, call_typed, send, send_typed};

/// Makes an [`Actor`] the face of this component: `export!(Counter)`, or `export!(Counter, stateful)` for one that is
/// [`Stateful`]. Once in a crate.
///
/// A panic of the actor is logged, with its message and place, before it ends the instance.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! export {
    ($actor:ty) => {
        const _: () = {
            $crate::export!(@face $actor);
        };
    };
    ($actor:ty, stateful) => {
        const _: () = {
            $crate::export!(@face $actor);

            impl $crate::export::StatefulGuest for Face {
                fn snapshot() -> $crate::export::Snapshot {
                    ACTOR.with(|slot| slot.snapshot())
                }

                fn restore(
                    made_by: ::std::string::String,
                    taken_by: ::std::string::String,
                    snapshot: ::std::vec::Vec<u8>,
                ) -> $crate::export::Done {
                    ACTOR.with(|slot| slot.restore(made_by, taken_by, &snapshot))
                }
            }

            $crate::bindings::state::export_state!(Face with_types_in $crate::bindings::state);
        };
    };
    (@face $actor:ty) => {
        ::std::thread_local! {
            static ACTOR: $crate::export::Slot<$actor> = const { $crate::export::Slot::empty() };
        }

        struct Face;

        impl $crate::export::Guest for Face {
            fn init(
                config: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
            ) -> $crate::export::Done {
                ACTOR.with(|slot| slot.init(config))
            }

            fn handle_message(message: $crate::export::Incoming) -> $crate::export::Answer {
                ACTOR.with(|slot| slot.handle(message))
            }

            fn handle_timer(name: ::std::string::String) -> $crate::export::Done {
                ACTOR.with(|slot| slot.timer(&name))
            }

            fn terminate(reason: $crate::export::ExitReason) {
                ACTOR.with(|slot| slot.terminate(reason))
            }
        }

        $crate::bindings::export_component!(Face with_types_in $crate::bindings);
    };
}

/// Makes an [`Actor`] the face of this component: `export!(Counter)`, or `export!(Counter, stateful)` for one that is
/// [`Stateful`]. Once in a crate.
///
/// A panic of the actor is logged, with its message and place, before it ends the instance.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! export {
    ($actor:ty) => {
        // A native build has no host to show a face to; it only proves that the type can be one.
        const _: fn(&$crate::Config) -> ::core::result::Result<$actor, $crate::Error> =
            <$actor as $crate::Actor>::init;
    };
    ($actor:ty, stateful) => {
        $crate::export!($actor);
        const _: fn(&mut $actor) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::Error> =
            <$actor as $crate::Stateful>::snapshot;
    };
}

#[cfg(test)]
mod tests {
    /// The most lines that a component takes.
    const LINES: usize = 20;

    /// The examples of this page compile, and each is a whole component.
    #[test]
    fn a_component_takes_few_lines() {
        let page =
            include_str!("lib.rs").lines().map_while(|line| line.strip_prefix("//!")).map(str::trim_end);
        let text = page.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        let example = text.split("```").nth(1).expect("the page begins with a component");
        let counts = |line: &&str| !line.trim().is_empty() && !line.starts_with("# ");
        let lines: Vec<_> = example.lines().filter(counts).collect();
        assert!(
            example.contains("impl Actor for") && example.contains("airssys_guest::export!("),
            "{example}"
        );
        assert!((10..=LINES).contains(&lines.len()), "{} lines: {lines:#?}", lines.len());
    }
}
