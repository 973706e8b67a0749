//! What a dynamic supervisor knows of a child, and what it hears of it.

use std::hash::Hasher;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Template;
use crate::actor::Actor;
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::Outcome;
use crate::exit::ExitReason;
use crate::supervisor::admin::{Admin, Answer, Inbox};
use crate::supervisor::backoff::Strikes;
use crate::supervisor::child::Shutdown;
use crate::supervisor::handle::{ChildInfo, ChildKind, ChildState};
use crate::supervisor::probe::Prober;
use crate::timer::TimerRef;

/// The name that all children share.
pub(super) const NAME: &str = "*";

/// What a dynamic supervisor reacts to.
pub(super) enum Event<T, M> {
    Start {
        argument: T,
        answer: Answer<Begun<M>>,
    },
    Child {
        place: u32,
        id: ActorId,
        outcome: Outcome,
    },
    /// The timer of a child.
    Due {
        place: u32,
        id: ActorId,
    },
    Terminate {
        id: ActorId,
        answer: Answer<()>,
    },
    /// Nobody knows of this child.
    Abandon(Ticket),
    List(oneshot::Sender<Vec<ActorRef<M>>>),
    /// Go on stopping.
    Sweep,
    /// The shutdown time of all is over.
    Late,
    Admin(Admin),
}

impl<T, M> From<Admin> for Event<T, M> {
    fn from(request: Admin) -> Self {
        Self::Admin(request)
    }
}

impl<T: Send + 'static, M: Send + 'static> Inbox for Event<T, M> {
    const DYNAMIC: bool = true;
}

/// A child that has been started, on its way to whoever asked for it.
pub(super) struct Begun<M> {
    pub(super) actor: ActorRef<M>,
    pub(super) ticket: Ticket,
}

/// Names a child across its incarnations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) place: u32,
    /// Tells those apart that have one place one after the other.
    pub(super) serial: u32,
}

pub(super) struct Entry<T, M> {
    /// The incarnation that runs; while none does, the last one.
    pub(super) actor: ActorRef<M>,
    /// What it is made from, where it may have to be made again.
    pub(super) argument: Option<T>,
    pub(super) phase: Phase,
    pub(super) restarts: u32,
    pub(super) serial: u32,
    /// What most children do not have most of the time.
    pub(super) extra: Option<Box<Extra<M>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Up,
    Stopping,
    /// For its next start.
    Waiting,
}

pub(super) struct Extra<M> {
    pub(super) starter: Option<Answer<Begun<M>>>,
    pub(super) stoppers: Vec<Answer<()>>,
    pub(super) timer: Option<TimerRef>,
    pub(super) strikes: Strikes,
    pub(super) prober: Option<Prober>,
}

impl<M> Default for Extra<M> {
    fn default() -> Self {
        Self { starter: None, stoppers: Vec::new(), timer: None, strikes: Strikes::default(), prober: None }
    }
}

impl<T, M: Send + 'static> Entry<T, M> {
    pub(super) fn extra(&mut self) -> &mut Extra<M> {
        self.extra.get_or_insert_default()
    }

    pub(super) fn info(&self) -> ChildInfo {
        let state = match self.phase {
            Phase::Starting | Phase::Waiting => ChildState::Starting,
            Phase::Up => ChildState::Running,
            Phase::Stopping => ChildState::Stopping,
        };
        ChildInfo {
            name: Arc::from(NAME),
            id: (self.phase != Phase::Waiting).then(|| self.actor.id()),
            kind: ChildKind::Actor,
            state,
            restarts: self.restarts,
            children: Vec::new(),
            supervisor: None,
        }
    }
}

impl<T, A: Actor> Template<T, A> {
    pub(super) fn stop(&self, entry: &mut Entry<T, A::Msg>) {
        entry.phase = Phase::Stopping;
        if let Some(extra) = &mut entry.extra {
            extra.prober = None;
        }
        match self.shutdown {
            Shutdown::BrutalKill => entry.actor.kill(),
            _ if self.drain => entry.actor.cell().drain(),
            _ => entry.actor.stop(ExitReason::Shutdown),
        }
    }
}

/// Hashes the ids of actors, which nobody chooses: the same in every run, and at hardly any cost.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, id: u64) {
        let mixed = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a child costs its supervisor: this, its place by id, and the closure that brings its news.
    #[test]
    fn a_child_costs_little() {
        assert!(size_of::<Entry<u64, u64>>() <= 56, "{}", size_of::<Entry<u64, u64>>());
        let news = size_of::<(ActorRef<Event<u64, u64>>, u32, ActorId)>();
        assert!(news <= 24, "{news}");
    }
}
