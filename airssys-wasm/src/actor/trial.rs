//! A version on trial beside the one that runs: it has a share of the messages of an actor that exports no state.
//!
//! Both are handled by one actor, so that messages stay in order, and none is handled twice: one at which the version on
//! trial breaks has sent nothing, and is handled by the other.

use std::sync::Arc;

use airssys_osl::trace as osl_trace;
use airssys_rt::Context;

use super::{Code, ComponentActor, guest::Instance, health::Unwell, port::Part, trace};
use crate::{error::Error, releases::Verdict, trap::Trap};

/// The instance of a version on trial.
pub(super) struct Tried {
    instance: Instance,
    code: Arc<Code>,
    /// By which numbers it answers later.
    callers: Vec<u64>,
}

impl Tried {
    /// Whether it set the timers of this port.
    pub(super) fn has_port(&mut self, id: u64) -> bool {
        self.instance.store.data_mut().port().is_some_and(|port| port.id == id)
    }
}

impl ComponentActor {
    /// Whether there is anything about a version on trial: asked before each message.
    pub(super) fn has_trial(&self) -> bool {
        self.tried.is_some() || self.blueprint.versions.releases.is_on_trial()
    }

    /// Has a version on trial handle the next message where that is its. False where it is not.
    pub(super) async fn try_next(&mut self, cx: &mut Context<Self>) -> bool {
        let is_its = self.is_turn_of_trial(cx).await;
        if is_its {
            self.try_message(cx).await;
        }
        is_its
    }

    /// Whether the next message is one of a version on trial, of which there is an instance then.
    async fn is_turn_of_trial(&mut self, cx: &mut Context<Self>) -> bool {
        let blueprint = self.blueprint.clone();
        let releases = &blueprint.versions.releases;
        if !releases.is_on_trial() {
            self.end_trial(cx);
            return false;
        }
        let code = releases.next();
        if Arc::ptr_eq(&code, &self.code) {
            return false;
        }
        if self.tried.as_ref().is_some_and(|tried| Arc::ptr_eq(&tried.code, &code)) {
            return true;
        }
        self.end_trial(cx);
        match blueprint.take_over(&code, None, Part::Whole).await {
            Ok(mut instance) => {
                instance.begin_trial();
                instance.settle(cx).await;
                self.tried = Some(Tried { instance, code, callers: Vec::new() });
                true
            }
            Err(error) => {
                releases.ended(&code, verdict(&error));
                false
            }
        }
    }

    /// Has the version on trial handle the message in hand. Where it breaks, the message stays.
    async fn try_message(&mut self, cx: &mut Context<Self>) {
        let (Some(tried), Some(envelope)) = (&mut self.tried, self.queue.front_mut()) else { return };
        envelope.deliveries += 1;
        match osl_trace::scope(envelope.trace, tried.instance.handle(envelope)).await {
            Ok(answer) => {
                if let Some(number) = tried.instance.put_down() {
                    self.blueprint.lasting.keep_waiting(number, envelope);
                    tried.callers.push(number);
                }
                tried.instance.settle(cx).await;
                if let Some(reply) = self.queue.pop_front().and_then(|envelope| envelope.reply) {
                    reply.send(answer);
                }
                self.blueprint.handled();
                self.judge(Verdict::Good, cx);
            }
            Err(trap) => {
                // What it did is not the message's fault.
                envelope.deliveries -= 1;
                self.judge(Verdict::Broke(trap.to_string()), cx);
            }
        }
    }

    /// Has the version on trial handle a timer that it set. It proves nothing by that, but may break.
    pub(super) async fn try_timer(&mut self, name: &str, cx: &mut Context<Self>) {
        if !self.blueprint.versions.releases.is_on_trial() {
            return self.end_trial(cx);
        }
        let Some(tried) = &mut self.tried else { return };
        if let Some(port) = tried.instance.store.data_mut().port() {
            port.timer_fired(name);
        }
        match osl_trace::scope(trace::new(), tried.instance.timer(name)).await {
            Ok(()) => tried.instance.settle(cx).await,
            Err(trap) => self.judge(Verdict::Broke(trap.to_string()), cx),
        }
    }

    /// Notes what the version on trial has done, which may be the last that it had to do to take over.
    fn judge(&mut self, verdict: Verdict, cx: &mut Context<Self>) {
        let Some(mut tried) = self.tried.take() else { return };
        let has_broken = verdict != Verdict::Good;
        let releases = &self.blueprint.versions.releases;
        releases.ended(&tried.code, verdict);
        if !Arc::ptr_eq(&tried.code, &releases.settled()) {
            self.tried = Some(tried);
            if has_broken {
                self.end_trial(cx);
            }
            return;
        }
        if let Some(old) = &mut self.instance
            && let (Some(port), Some(old)) =
                (tried.instance.store.data_mut().port(), old.store.data_mut().port())
        {
            port.inherit_timers(old, cx);
            port.arm_timers(cx);
        }
        // The numbers of the others went with the version that knew them.
        let lasting = &self.blueprint.lasting;
        let unknown: Vec<_> =
            lasting.waiting().into_iter().filter(|number| !tried.callers.contains(number)).collect();
        lasting.forget(&unknown);
        tried.instance.end_trial();
        (self.instance, self.code, self.parked) = (Some(tried.instance), tried.code, None);
    }

    /// Goes on without the instance of a version that is not on trial any more: its timers do not fire.
    fn end_trial(&mut self, cx: &mut Context<Self>) {
        let Some(mut tried) = self.tried.take() else { return };
        self.blueprint.lasting.forget(&tried.callers);
        if let Some(instance) = &mut self.instance
            && let (Some(port), Some(new)) =
                (instance.store.data_mut().port(), tried.instance.store.data_mut().port())
        {
            port.reclaim_timers(new);
            port.arm_timers(cx);
        }
    }
}

/// What it says of a version that no instance of it could be made: nothing, where there was no room for one, or the door
/// refused it.
fn verdict(error: &Error) -> Verdict {
    let Some(cause) = std::error::Error::source(error) else { return Verdict::Open };
    let broke =
        cause.is::<Unwell>() || cause.downcast_ref::<Trap>().is_some_and(|trap| !trap.is_for_want_of_room());
    if broke { Verdict::Broke(cause.to_string()) } else { Verdict::Open }
}
