//! One instance of a component that is an actor, and the calls into it.

use std::time::Duration;

use airssys_osl::{Os, Principal};
use airssys_rt::Context;
use wasmtime::Store;

use super::{
    ComponentActor,
    envelope::Envelope,
    versions::{Code, Snapshot},
};
use crate::{
    component::Digest,
    error::Error,
    grant::principal_name,
    host::bindings::{
        Everything,
        airssys::actor::types::Message,
        exports::airssys::actor::actor::{ExitReason as GuestExit, Guest},
        stateful::Stateful,
    },
    instance::State,
    trap::Trap,
};

/// The longest that a state is given or taken, waiting included: no message is handled meanwhile.
pub(super) const HANDOVER: Duration = Duration::from_secs(10);

pub(super) struct Instance {
    pub(super) store: Store<State>,
    guest: Everything,
    state: Option<Stateful>,
    _life: Life,
}

/// The principal of one incarnation. It ends with it: a handle that got away, into a task that nobody waits for any more,
/// opens nothing.
pub(crate) struct Life {
    os: Os,
    pub(crate) principal: Principal,
}

impl Life {
    pub(crate) fn begin(os: &Os, component: &str) -> Result<Self, Error> {
        let principal = os.principal(&principal_name(component));
        let principal = principal.map_err(|error| Error::door(format!("start `{component}`"), error))?;
        Ok(Self { os: os.clone(), principal })
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.os.revoke(&self.principal);
    }
}

impl Instance {
    pub(super) async fn new(code: &Code, mut store: Store<State>, life: Life) -> Result<Self, Trap> {
        let instance = code.pre.instantiate_async(&mut store).await.map_err(Trap::unmade)?;
        let guest = code.actor.load(&mut store, &instance).map_err(Trap::new)?;
        let state = code.state.as_ref().map(|state| state.load(&mut store, &instance));
        Ok(Self { store, guest, state: state.transpose().map_err(Trap::new)?, _life: life })
    }

    /// Refills the guest's time and gives its exports.
    async fn enter(&mut self) -> (&Guest, &mut Store<State>) {
        State::earned(&mut self.store).await;
        State::refill(&mut self.store);
        (self.guest.airssys_actor_actor(), &mut self.store)
    }

    pub(super) async fn init(&mut self, config: &[(String, String)]) -> Result<(), Trap> {
        let config: Vec<_> = config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let (actor, store) = self.enter().await;
        flatten(actor.call_init(store, &config).await)
    }

    pub(super) async fn handle(&mut self, envelope: &Envelope) -> Result<Option<Vec<u8>>, Trap> {
        if let Some(port) = self.store.data_mut().port() {
            port.talk.take_up(envelope);
        }
        let message =
            Message { sender: envelope.sender(), subject: &envelope.subject, payload: &envelope.payload };
        let (actor, store) = self.enter().await;
        flatten(actor.call_handle_message(store, message).await)
    }

    /// Whether the policy lets it hear now what is published so.
    pub(super) fn hears(&self, subject: &str) -> bool {
        self.store.data().host.principal.hears(subject)
    }

    /// The message is handled; gives the number by which it is answered later.
    pub(super) fn put_down(&mut self) -> Option<u64> {
        self.store.data_mut().port()?.talk.put_down()
    }

    pub(super) async fn timer(&mut self, name: &str) -> Result<(), Trap> {
        let (actor, store) = self.enter().await;
        flatten(actor.call_handle_timer(store, name).await)
    }

    pub(super) async fn terminate(&mut self, reason: GuestExit) -> Result<(), Trap> {
        self.store.data_mut().pay_later(true);
        let (actor, store) = self.enter().await;
        actor.call_terminate(store, reason).await.map_err(Trap::new)
    }

    /// Asks for the state. None where it has none to give.
    pub(super) async fn snapshot(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Refusal> {
        State::refill(&mut self.store);
        let Some(state) = &self.state else { return Ok(None) };
        // Nobody is late for being held back; the next call waits for what this one used.
        let was_on_credit = self.store.data_mut().pay_later(true);
        let called =
            tokio::time::timeout(HANDOVER, state.airssys_actor_state().call_snapshot(&mut self.store)).await;
        self.store.data_mut().pay_later(was_on_credit);
        match called {
            Ok(Ok(Ok(bytes))) if bytes.len() <= limit => Ok(Some(bytes)),
            Ok(Ok(Ok(bytes))) => Err(Refusal::Said(Trap::snapshot_too_large(bytes.len(), limit))),
            Ok(Ok(Err(message))) => Err(Refusal::Said(Trap::error(&message).during(SNAPSHOT))),
            Ok(Err(error)) => Err(Refusal::Broke(Trap::new(error).during(SNAPSHOT))),
            Err(_) => Err(Refusal::Broke(Trap::overdue().during(SNAPSHOT))),
        }
    }

    /// Gives it the state of one before it. After an error it is of no use.
    pub(super) async fn restore(&mut self, snapshot: &Snapshot, own: &Digest) -> Result<(), Trap> {
        State::refill(&mut self.store);
        let Some(state) = &self.state else {
            return Err(Trap::error("it takes no state: it does not export `state`").during(RESTORE));
        };
        let (made_by, taken_by) = (snapshot.made_by.to_string(), own.to_string());
        let was_on_credit = self.store.data_mut().pay_later(true);
        let store = &mut self.store;
        let call = state.airssys_actor_state().call_restore(store, &made_by, &taken_by, &snapshot.bytes);
        let restored = tokio::time::timeout(HANDOVER, call).await;
        self.store.data_mut().pay_later(was_on_credit);
        restored.map_or_else(|_| Err(Trap::overdue()), flatten).map_err(|trap| trap.during(RESTORE))
    }

    /// Keeps what it subscribes to back: its version is on trial, and another one runs.
    pub(super) fn begin_trial(&mut self) {
        if let Some(port) = self.store.data_mut().port() {
            port.talk.begin_trial();
        }
    }

    /// Its version has taken over: what it subscribed to so far is what its component subscribes to.
    pub(super) fn end_trial(&mut self) {
        if let Some(port) = self.store.data_mut().port() {
            port.talk.end_trial();
        }
    }

    /// Whether there is nothing to [settle](Self::settle): so it is after most messages.
    pub(super) fn is_settled(&mut self) -> bool {
        self.store.data_mut().port().is_none_or(|port| port.is_settled())
    }

    /// Does what the handler asked for and is done only now that it has returned: messages leave, answers are given, timers are
    /// armed.
    pub(super) async fn settle(&mut self, cx: &mut Context<ComponentActor>) {
        if let Some(port) = self.store.data_mut().port() {
            port.talk.resubscribe();
            port.outbox.settle().await;
            port.talk.leave();
            port.talk.give_answers();
            port.arm_timers(cx);
        }
    }

    /// As [`settle`](Self::settle), for an instance that has no timers: it ends with what it has in hand.
    pub(super) async fn send(&mut self) {
        if let Some(port) = self.store.data_mut().port() {
            port.talk.resubscribe();
            port.outbox.flush().await;
            port.talk.leave();
        }
    }

    /// As [`settle`](Self::settle), but waits no longer than an instance has to give its state: false where some of its
    /// messages have found no room, and have not left.
    pub(super) async fn settle_soon(&mut self, cx: &mut Context<ComponentActor>) -> bool {
        let Some(port) = self.store.data_mut().port() else { return true };
        port.talk.resubscribe();
        let has_left = port.outbox.flush_within(HANDOVER).await;
        if has_left {
            port.talk.leave();
        }
        port.talk.give_answers();
        port.arm_timers(cx);
        has_left
    }
}

const SNAPSHOT: &str = "when it was asked for its state";
const RESTORE: &str = "when it was given a state";

/// Why an instance gave no state.
pub(super) enum Refusal {
    /// It said so itself, or gave too much: it can go on.
    Said(Trap),
    /// It is of no use any more.
    Broke(Trap),
}

impl Refusal {
    pub(super) fn into_trap(self) -> Trap {
        let (Self::Said(trap) | Self::Broke(trap)) = self;
        trap
    }
}

fn flatten<T>(called: wasmtime::Result<Result<T, String>>) -> Result<T, Trap> {
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(Trap::error(&message)),
        Err(error) => Err(Trap::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use airssys_osl::{
        policy::{Grant, Policy},
        testing::MemorySink,
    };

    use super::*;

    #[test]
    fn what_outlives_its_incarnation_opens_nothing() {
        let policy =
            Policy::builder().principal("component.a", [Grant::clock()]).build().expect("it is sound");
        let os = Os::new(policy, MemorySink::new());
        let (life, next) =
            (Life::begin(&os, "a").expect("it is known"), Life::begin(&os, "a").expect("again"));
        let (left, kept) =
            (life.principal.clock().expect("granted"), next.principal.clock().expect("granted"));
        drop(life);
        assert_eq!(left.monotonic_now().expect_err("its life is over").rule(), Some("revoked"));
        assert!(kept.monotonic_now().is_ok(), "the next incarnation is another life");
    }
}
