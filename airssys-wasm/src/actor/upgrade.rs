//! Another version of a component takes over, between two messages.
//!
//! The mailbox is held by not reading it. The old instance gives its state and waits beside the new one, which is
//! initialised and takes the state; only then it is put in place. Until it has handled something to the end, the old
//! instance stays where it is: should the new one crash of its first message, the old one goes on with that message.

use std::{collections::BTreeSet, sync::Arc};

use airssys_rt::{Context, ExitReason, Pattern};
use tokio::time::Instant;

use super::{
    Blueprint, Code, ComponentActor, Order, Snapshot, Unstarted,
    guest::{HANDOVER, Instance, Refusal},
    health::Unwell,
    port::Part,
    versions::Handover,
};
use crate::{
    component::Digest,
    error::{Error, ErrorKind},
    lineage::{self, Change, Switched},
    trap::Trap,
    watch::Event,
};

/// What goes on where a new version crashes of the first that it handles.
pub(super) struct Parked {
    instance: Instance,
    code: Arc<Code>,
    previous: Vec<Arc<Code>>,
    /// What was kept for the next incarnation.
    kept: Option<Arc<Snapshot>>,
    /// What it subscribed to.
    subscriptions: BTreeSet<Pattern>,
    /// Who waits for answers of it that no other version knows of.
    pub(super) unknown: Vec<u64>,
}

impl Parked {
    pub(super) fn has_timer(&mut self, name: &str) -> bool {
        self.instance.store.data_mut().port().is_some_and(|port| port.has_timer(name))
    }
}

impl ComponentActor {
    /// Changes the version where that was ordered. The error is an exit: the old instance broke when it was asked for
    /// its state.
    pub(super) async fn obey(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let Some(Order { code, change, handover, answer }) = self.blueprint.versions.take_order() else {
            return Ok(());
        };
        let (from, to) = (self.code.digest, code.digest);
        if let Err(error) = lineage::record(&self.blueprint.os, &self.blueprint.name, from, to, "begun") {
            // Whoever asked may have gone: then nobody is told that nothing was done.
            let _ = answer.send(Err(error));
            return Ok(());
        }
        let began = Instant::now();
        let (switched, broke) = match self.give_state(handover, cx).await {
            Ok(snapshot) => match self.blueprint.take_over(&code, snapshot.as_deref(), Part::Whole).await {
                Ok(instance) => {
                    let state_bytes = snapshot.as_ref().map(|snapshot| snapshot.bytes.len());
                    self.put_in_place(instance, code, change, snapshot, cx);
                    (Ok(Switched { from, to, state_bytes, held: began.elapsed() }), None)
                }
                Err(error) => (Err(error), None),
            },
            Err(Refusal::Said(trap)) => (Err(no_state().caused_by(trap)), None),
            Err(Refusal::Broke(trap)) => {
                let trap = Arc::new(trap);
                (Err(no_state().caused_by(trap.clone())), Some(trap))
            }
        };
        self.tell(change, from, to, &switched);
        // As above: what was done is done.
        let _ = answer.send(switched);
        // What the start of the new one has sent leaves now, or what the old one could not; that may have to wait for room.
        if let Some(instance) = self.instance.as_mut().filter(|_| broke.is_none()) {
            instance.settle(cx).await;
        }
        match broke {
            Some(trap) => self.crash(trap, cx).await,
            None => Ok(()),
        }
    }

    fn tell(&self, change: Change, from: Digest, to: Digest, switched: &Result<Switched, Error>) {
        match switched {
            Ok(switched) => {
                self.blueprint.record_end(from, to, "done");
                let (component, switched) = (&*self.blueprint.name, *switched);
                self.blueprint.watch.event(&Event::Switched { component, change, switched });
            }
            Err(_) => self.blueprint.record_end(from, to, "refused"),
        }
    }

    /// Asks for the state. What the instance sends and arms meanwhile is done when it has returned, as in a handler: it may
    /// be the last that it does. Where its messages find no room, it stays: they are to leave before the next one's.
    async fn give_state(
        &mut self,
        handover: Handover,
        cx: &mut Context<Self>,
    ) -> Result<Option<Arc<Snapshot>>, Refusal> {
        let Some(instance) = self.instance.as_mut().filter(|_| handover == Handover::State) else {
            return Ok(None);
        };
        let given = instance.snapshot(self.blueprint.spec.limits.snapshot_bytes).await;
        if !matches!(given, Err(Refusal::Broke(_))) && !instance.settle_soon(cx).await && given.is_ok() {
            return Err(Refusal::Said(Trap::error(
                "what it sent found no room: its receiver's mailbox is full",
            )));
        }
        Ok(given?.map(|bytes| Arc::new(Snapshot { made_by: self.code.digest, bytes })))
    }

    fn put_in_place(
        &mut self,
        mut instance: Instance,
        code: Arc<Code>,
        change: Change,
        handed: Option<Arc<Snapshot>>,
        cx: &Context<Self>,
    ) {
        let versions = &self.blueprint.versions;
        let previous = versions.releases.put(code.clone(), change);
        let kept = versions.snapshot();
        let lasting = &self.blueprint.lasting;
        let mut unknown = if handed.is_none() { lasting.waiting() } else { Vec::new() };
        unknown.extend(self.parked.take().into_iter().flat_map(|parked| parked.unknown));
        let subscriptions = lasting.subscriptions.patterns();
        if self.blueprint.spec.snapshots.is_some() {
            versions.keep(handed);
        }
        let old_code = std::mem::replace(&mut self.code, code);
        if let Some(mut old) = self.instance.take() {
            if let (Some(port), Some(old)) = (instance.store.data_mut().port(), old.store.data_mut().port()) {
                port.inherit_timers(old, cx);
            }
            self.parked =
                Some(Parked { instance: old, code: old_code, previous, kept, subscriptions, unknown });
        }
        self.since_snapshot = 0;
        self.instance = Some(instance);
    }

    /// Puts the version before this one back, if this one has not handled anything yet. False where it has.
    pub(super) fn take_back(&mut self, trap: &Trap, cx: &mut Context<Self>) -> bool {
        let Some(parked) = self.parked.take() else { return false };
        let Parked { mut instance, code, previous, kept, subscriptions, unknown: _ } = parked;
        self.blueprint.lasting.subscriptions.set(&subscriptions);
        if let Some(mut new) = self.instance.take()
            && let (Some(port), Some(new)) = (instance.store.data_mut().port(), new.store.data_mut().port())
        {
            port.reclaim_timers(new);
            port.arm_timers(cx);
        }
        let (from, to) = (self.code.digest, code.digest);
        self.blueprint.versions.keep(kept);
        self.blueprint.versions.releases.take_back(code.clone(), previous);
        (self.instance, self.code, self.since_snapshot) = (Some(instance), code, 0);
        self.blueprint.record_end(from, to, "taken back");
        let component = &*self.blueprint.name;
        self.blueprint.watch.event(&Event::TakenBack { component, from, to, reason: trap });
        true
    }
}

impl Blueprint {
    fn record_end(&self, from: Digest, to: Digest, what: &str) {
        lineage::record_end(&self.os, &self.name, from, to, what);
    }

    /// Whether there can be an instance of a version without a state, and that is well.
    pub(crate) async fn starts(&self, code: &Code) -> Result<(), Error> {
        self.take_over(code, None, Part::Beside).await.map(drop)
    }

    /// Makes an instance of the new version beside the old one, which does not learn of it. It has to be well.
    pub(super) async fn take_over(
        &self,
        code: &Code,
        state: Option<&Snapshot>,
        part: Part,
    ) -> Result<Instance, Error> {
        let failed = || Error::new(ErrorKind::Guest, "start the new version; the old one goes on");
        let prepare = async {
            let mut instance = self.prepare(code, state, part, true).await?;
            let ailment = match &self.spec.health {
                Some(health) => instance.ask(health).await.map_err(Unstarted::new)?,
                None => None,
            };
            instance.store.data_mut().pay_later(false);
            Ok((instance, ailment))
        };
        match tokio::time::timeout(HANDOVER, prepare).await {
            Ok(Ok((instance, None))) => Ok(instance),
            Ok(Ok((_, Some(why)))) => Err(failed().caused_by(Unwell(why))),
            Ok(Err(Unstarted::Door(error))) => Err(failed().caused_by(error)),
            Ok(Err(Unstarted::Trap(trap) | Unstarted::Refused(trap) | Unstarted::NoRoom(trap))) => {
                Err(failed().caused_by(trap))
            }
            Err(_) => Err(failed().caused_by(Trap::overdue())),
        }
    }
}

fn no_state() -> Error {
    Error::new(ErrorKind::Guest, "get the state of the running version")
}
