//! What others see of a cell. Nothing is written for them: they look at what the cell has for itself.

use super::Stage;
use super::core::AnyCell;
use super::state::{AGAIN, ASIDE, DEAD, DRAIN, KILL, SCHEDULED, STOP, SUSPEND, TRACE, TRAP};
use crate::inspect::{ActorInfo, ActorState};
use crate::mailbox::Bounds;
use crate::system;

impl AnyCell {
    pub(crate) fn belongs_to(&self, system: &system::Inner) -> bool {
        system.is(self.system())
    }

    /// What is known of the actor; `None` where it has ended, or is of another system.
    pub(crate) fn inspect(&self, system: &system::Inner) -> Option<ActorInfo> {
        let state = self.state.load();
        if !self.belongs_to(system) || state & DEAD != 0 {
            return None;
        }
        let queued = self.depth();
        let bounds = if self.bounds.is_some() { size_of::<Bounds>() } else { 0 };
        let mut info = ActorInfo {
            id: self.id(),
            path: None,
            message_type: self.message_type(),
            state: self.doing(state),
            depth: queued,
            handled: self.taken(),
            memory_bytes: self.bytes() + bounds + queued * self.entry_bytes(),
            parent: None,
            restarts: 0,
            links: Vec::new(),
            link_count: 0,
            monitored_by: 0,
            traps_exits: state & TRAP != 0,
            traced: state & TRACE != 0,
        };
        if let Some(cold) = self.cold().as_deref() {
            cold.describe(&mut info);
        }
        Some(info)
    }

    fn doing(&self, state: u32) -> ActorState {
        match self.stage.get() {
            Stage::Ending => return ActorState::Stopping,
            _ if state & (STOP | KILL | DRAIN) != 0 => return ActorState::Stopping,
            Stage::Starting => return ActorState::Starting,
            Stage::Up | Stage::Ignored => {}
        }
        if state & SUSPEND != 0 {
            ActorState::Suspended
        } else if state & (SCHEDULED | AGAIN) != 0 {
            // Where it runs only the one who runs it knows.
            let runs = super::current() == Some(self.id())
                || self.system().is_some_and(|system| system.scheduler().runs(self.id()));
            if runs { ActorState::Running } else { ActorState::Runnable }
        } else if self.has_gone_to_sleep() && state & ASIDE == 0 {
            ActorState::Idle
        } else {
            // The entry in hand is what its queue still knows of.
            ActorState::Waiting
        }
    }
}
