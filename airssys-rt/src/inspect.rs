//! What can be seen of running actors: OTP's `process_info`, without stopping any.

use std::sync::Arc;
use std::vec;

use crate::actor_ref::ActorId;
use crate::cell;
use crate::system::System;

/// How many of its links an [`ActorInfo`] lists.
pub(crate) const LINKS_SHOWN: usize = 128;

/// How many slots are looked at under the lock of the table of actors.
const PAGE: u32 = 256;

/// An actor at one moment, as OTP's `process_info` shows it.
///
/// Others go on meanwhile, and so does the actor: its parts are read one after the other, and all may be outdated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActorInfo {
    /// Its id.
    pub id: ActorId,
    /// Where it stands in the tree, or its name outside of one. Children of a dynamic supervisor share theirs.
    pub path: Option<Arc<str>>,
    /// The name of the type of its messages.
    pub message_type: &'static str,
    /// What it does.
    pub state: ActorState,
    /// How many entries wait in its mailbox: messages, and where that has no bound also timers that are due and what
    /// the runtime says. While several send at once it may be a few less.
    pub depth: usize,
    /// How many it has taken out of it, since the mailbox was made. The counterpart of OTP's reductions.
    pub handled: u64,
    /// What the runtime has allocated for it, about: its state, its mailbox and what waits in it. What its state and
    /// its messages have allocated themselves nobody knows.
    pub memory_bytes: usize,
    /// Its supervisor; none outside of a tree.
    pub parent: Option<ActorId>,
    /// How often its supervisor has started it again.
    pub restarts: u32,
    /// The actors that it is linked to; the first 128 by id.
    pub links: Vec<ActorId>,
    /// How many it is linked to.
    pub link_count: usize,
    /// How many monitors of other actors are set on it.
    pub monitored_by: usize,
    /// Whether it [traps exits](crate::Context::trap_exit).
    pub traps_exits: bool,
    /// Whether it is [traced](System::trace).
    pub traced: bool,
}

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorState {
    /// It is in `init`, or before it.
    Starting,
    /// It waits for a message.
    Idle,
    /// It has something to handle, and waits for a thread.
    Runnable,
    /// It runs.
    Running,
    /// It is in the middle of a handler, and waits there: for an answer, for time to pass.
    Waiting,
    /// It was [suspended](System::suspend).
    Suspended,
    /// It was told to stop, or says good-bye.
    Stopping,
    /// It does not run, but its [mailbox](crate::Mailbox) waits for the next incarnation.
    Down,
}

/// Goes through the actors of a system; see [`System::actors`].
pub struct Actors {
    system: System,
    next: Option<u32>,
    page: vec::IntoIter<ActorInfo>,
}

impl Iterator for Actors {
    type Item = ActorInfo;

    fn next(&mut self) -> Option<ActorInfo> {
        loop {
            if let Some(info) = self.page.next() {
                return Some(info);
            }
            let (cells, next) = cell::page(self.next?, PAGE, |other| self.system.inner().is(other));
            self.next = next;
            let infos: Vec<ActorInfo> =
                cells.iter().filter_map(|cell| cell.inspect(self.system.inner())).collect();
            self.page = infos.into_iter();
        }
    }
}

impl System {
    /// Goes through all actors of this system, supervisors and tasks among them: OTP's `processes/0` with the
    /// `process_info/1` of each.
    ///
    /// A few hundred are looked at at a time, when they are asked for, and no lock is held in between: it disturbs
    /// nobody, however many there are. Actors that start meanwhile may be in it or not, and none is in it twice.
    ///
    /// ```
    /// # use airssys_rt::{ActorInfo, System};
    /// /// Those who fall behind.
    /// fn laggards(system: &System) -> Vec<ActorInfo> {
    ///     system.actors().filter(|actor| actor.depth > 1_000).collect()
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert!(laggards(&System::new()).is_empty());
    /// # }
    /// ```
    pub fn actors(&self) -> Actors {
        Actors { system: self.clone(), next: Some(0), page: Vec::new().into_iter() }
    }

    /// What is known of one actor: OTP's `process_info/1`. `None` where it has ended, or is of another system.
    pub fn actor(&self, id: ActorId) -> Option<ActorInfo> {
        cell::find(id)?.inspect(self.inner())
    }

    /// Has the observer told of everything that an actor handles, from the next thing on, or no more: OTP's
    /// `sys:trace`. It gets [`Received`](crate::EventKind::Received) and [`Handled`](crate::EventKind::Handled), of
    /// supervisors nothing. False where there is no such actor in this system.
    ///
    /// Where its [mailbox](crate::Mailbox) outlives it, so does the trace. An actor that is not traced does not pay for
    /// it.
    pub fn trace(&self, id: ActorId, on: bool) -> bool {
        self.on(id, |cell| cell.trace(on))
    }

    /// Has an actor handle nothing after what it has in hand, until it is [resumed](Self::resume): OTP's `sys:suspend`.
    /// Its mailbox fills meanwhile, and those who call it wait. False where there is no such actor in this system.
    ///
    /// It can be stopped and killed all the same; told to drain, it goes on. The next incarnation is not suspended.
    pub fn suspend(&self, id: ActorId) -> bool {
        self.on(id, |cell| cell.suspend(true))
    }

    /// Has an actor go on that was [suspended](Self::suspend). False where there is no such actor in this system.
    pub fn resume(&self, id: ActorId) -> bool {
        self.on(id, |cell| cell.suspend(false))
    }

    fn on(&self, id: ActorId, act: impl FnOnce(&cell::AnyCell)) -> bool {
        let cell = cell::find(id).filter(|cell| cell.belongs_to(self.inner()));
        cell.as_ref().map(act).is_some()
    }
}
