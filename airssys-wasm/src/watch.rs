//! What a system tells whoever runs it.

use std::{fmt, time::Duration};

use crate::{
    component::{Digest, Origin},
    lineage::{Change, Switched},
    trap::Trap,
};

/// Is told what happens. Called from the actors' own tasks: it must not block.
pub trait Watch: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// Something that happened in a system.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A component's code is being compiled, because the cache does not have it.
    Compiling {
        /// The component.
        component: &'a str,
    },
    /// A component's code is ready.
    Loaded {
        /// The component.
        component: &'a str,
        /// From the cache, or compiled.
        origin: Origin,
        /// How long it took.
        elapsed: Duration,
    },
    /// A component handled its first message.
    FirstMessage {
        /// The component.
        component: &'a str,
    },
    /// A message was given up.
    DeadLetter(&'a DeadLetter<'a>),
    /// A component said, asked by its manifest's `health`, that it is not well. Told for each new reason while it starts, and
    /// once for a row of such answers later.
    Unwell {
        /// The component.
        component: &'a str,
        /// What it said.
        why: &'a str,
    },
    /// Another version of a component took over.
    Switched {
        /// The component.
        component: &'a str,
        /// Forward or back.
        change: Change,
        /// From which version to which.
        switched: Switched,
    },
    /// A version that had taken over crashed of the first that it handled: the one before it goes on, with the same
    /// message.
    TakenBack {
        /// The component.
        component: &'a str,
        /// The version that crashed.
        from: Digest,
        /// The version that goes on.
        to: Digest,
        /// How it crashed.
        reason: &'a Trap,
    },
    /// An actor or a supervisor started, ended, or was started again.
    Life(&'a airssys_rt::Event),
}

/// A message that crashed its receiver as often as it may.
pub struct DeadLetter<'a> {
    /// The receiver.
    pub component: &'a str,
    /// The sender.
    pub sender: &'a str,
    /// What it was about.
    pub subject: &'a str,
    /// What its content is, as its sender said; empty where it said nothing.
    pub content_type: &'a str,
    /// Whether it was published, and what it was about is a topic.
    pub is_published: bool,
    /// Its content.
    pub payload: &'a [u8],
    /// How often it was delivered.
    pub deliveries: u32,
    /// The trace that it belongs to.
    pub trace: [u8; 16],
    /// What it did to its receiver the last time.
    pub reason: &'a dyn fmt::Display,
}

impl fmt::Debug for DeadLetter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("component", &self.component)
            .field("sender", &self.sender)
            .field("subject", &self.subject)
            .field("payload_bytes", &self.payload.len())
            .field("deliveries", &self.deliveries)
            .finish_non_exhaustive()
    }
}
