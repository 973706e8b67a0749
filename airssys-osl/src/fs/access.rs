//! What a handle may do, now: its grant, what it was narrowed to, and whether either still holds.

use std::{path::Path, sync::Arc, time::Duration};

use super::verb::Verb;
use crate::{
    Error, Principal,
    os::{Done, Fault, Name, Operation, Slot, within},
    policy::{Decision, FsGrant, Moment, Rights, rule},
    sys,
};

/// The part of a handle that decides.
#[derive(Clone, Debug)]
pub(super) struct Access {
    principal: Principal,
    /// The policy epoch of `grant`.
    epoch: u32,
    grant: Arc<FsGrant>,
    /// Whether what `grant` answers depends on the time.
    timed: bool,
    /// What the handle may do at most. Never grows, whatever policy comes.
    rights: Rights,
    /// How long one operation may take.
    deadline: Option<Duration>,
}

/// What holds at this moment for a handle.
struct Standing {
    epoch: u32,
    grant: Result<Arc<FsGrant>, &'static str>,
    rights: Rights,
    now: Moment,
}

impl Access {
    pub(super) fn new(principal: Principal, epoch: u32, grant: Arc<FsGrant>) -> Self {
        let rights = grant.reach();
        let timed = grant.is_timed();
        Self { principal, epoch, grant, timed, rights, deadline: None }
    }

    pub(super) fn rights(&self) -> Rights {
        self.rights
    }

    pub(super) fn narrowed(&self, rights: Rights) -> Self {
        Self { rights: self.rights & rights, ..self.clone() }
    }

    pub(super) fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The grant that the handle was opened by.
    pub(super) fn granted(&self) -> &Arc<FsGrant> {
        &self.grant
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The grant that holds now; the one that held where there is none.
    pub(super) fn grant(&self) -> Arc<FsGrant> {
        self.standing().grant.unwrap_or_else(|_| Arc::clone(&self.grant))
    }

    /// Takes the right to have one more thing open.
    pub(super) fn slot(&self) -> Result<Slot, Fault> {
        Slot::take(&self.principal, 1, self.principal.descriptors())
    }

    /// Decides, without a record of what is permitted.
    pub(super) fn check(&self, verb: Verb, resource: Name<'_>) -> Result<(), Error> {
        let standing = self.standing().for_open();
        let decision = standing.decide(verb);
        if decision.permits() {
            return Ok(());
        }
        Err(self.operation(verb, resource, None).deny(decision.rule, standing.epoch))
    }

    /// Whether it still may, for an operation that has waited.
    #[cfg(target_os = "linux")]
    pub(super) fn recheck(&self, verb: Verb) -> Result<(), Fault> {
        let standing = self.standing().for_open();
        let decision = standing.decide(verb);
        if decision.permits() {
            return Ok(());
        }
        Err(Fault::Withdrawn { rule: decision.rule.into(), epoch: standing.epoch })
    }

    /// Takes one operation through the pipeline.
    pub(super) async fn run<T>(
        &self,
        verb: Verb,
        resource: Name<'_>,
        execute: impl Future<Output = Result<Done<T>, Fault>>,
    ) -> Result<T, Error> {
        self.run_two(verb, resource, None, execute).await
    }

    /// Takes one operation that changes nothing through the pipeline on the caller's thread; `None`, and no record,
    /// where it would have to wait.
    pub(super) fn run_now<T>(
        &self,
        verb: Verb,
        resource: Name<'_>,
        execute: impl FnOnce() -> Result<Done<T>, Fault>,
    ) -> Option<Result<T, Error>> {
        let standing = self.standing();
        let decision = standing.decide(verb);
        let running = match self.operation(verb, resource, None).begin(decision, standing.epoch) {
            Ok(running) => running,
            Err(error) => return Some(Err(error)),
        };
        match execute() {
            Err(Fault::WouldBlock) => {
                running.abandon();
                None
            }
            result => Some(running.finish(result)),
        }
    }

    /// As [`run`](Self::run), with a second name that is only a text: it is recorded, not decided.
    pub(super) async fn run_two<T>(
        &self,
        verb: Verb,
        resource: Name<'_>,
        other: Option<Name<'_>>,
        execute: impl Future<Output = Result<Done<T>, Fault>>,
    ) -> Result<T, Error> {
        let standing = self.standing();
        let decision = standing.decide(verb);
        self.operation(verb, resource, other)
            .run(decision, standing.epoch, within(self.deadline, execute))
            .await
    }

    /// Takes an operation through the pipeline that makes an object of this directory, `other`, appear as
    /// `resource` in the directory of `to`.
    pub(super) async fn run_across<T>(
        &self,
        to: &Self,
        verb: Verb,
        resource: Name<'_>,
        other: Name<'_>,
        execute: impl Future<Output = Result<Done<T>, Fault>>,
    ) -> Result<T, Error> {
        let (here, there) = (self.standing(), to.standing());
        let decision = self.decide_across(to, verb, &here, &there);
        self.operation(verb, resource, Some(other))
            .run(decision, here.epoch, within(self.deadline, execute))
            .await
    }

    /// Takes an operation through the pipeline that reads `other` here, by `read`, and makes of it `resource` in the
    /// directory of `to`, by `write`.
    pub(super) async fn run_copy<T>(
        &self,
        to: &Self,
        read: Verb,
        write: Verb,
        resource: Name<'_>,
        other: Name<'_>,
        execute: impl Future<Output = Result<Done<T>, Fault>>,
    ) -> Result<T, Error> {
        let (here, there) = (self.standing(), to.standing());
        let decision = match self.principal.is(&to.principal) {
            true => both(here.decide(read), || there.decide(write)),
            false => Decision::deny(rule::FOREIGN_HANDLE),
        };
        let execute = within(self.deadline, execute);
        to.operation(write, resource, Some(other)).run(decision, there.epoch, execute).await
    }

    fn decide_across<'a>(
        &self,
        to: &Self,
        verb: Verb,
        here: &'a Standing,
        there: &'a Standing,
    ) -> Decision<'a> {
        if !self.principal.is(&to.principal) {
            return Decision::deny(rule::FOREIGN_HANDLE);
        }
        let first = here.decide(verb);
        let decision = match here.is_by_the_grant_of(there) {
            // One use of one grant.
            true => first.and(there.decide(verb)),
            false => both(first, || there.decide(verb)),
        };
        if decision.permits() && !here.outreaches(there) {
            return Decision::deny(rule::WIDER_DESTINATION);
        }
        decision
    }

    fn operation<'a>(&'a self, verb: Verb, resource: Name<'a>, other: Option<Name<'a>>) -> Operation<'a> {
        Operation {
            os: self.principal.os(),
            principal: self.principal.name(),
            action: verb.action,
            resource,
            other,
            mutates: verb.mutates,
        }
    }

    fn standing(&self) -> Standing {
        let rights = self.rights;
        let epoch = self.principal.os().epoch();
        if self.principal.is_revoked() {
            Standing { epoch, grant: Err(rule::REVOKED), rights, now: Moment::UNKNOWN }
        } else if epoch == self.epoch {
            let now = if self.timed { self.principal.os().now() } else { Moment::UNKNOWN };
            Standing { epoch, grant: Ok(Arc::clone(&self.grant)), rights, now }
        } else {
            let standing = self.principal.standing();
            let now = standing.now();
            let root: &Path = &self.grant.root;
            let grant = standing.grants.and_then(|grants| grants.fs(root).ok_or(rule::DEFAULT_DENY));
            let grant = grant.and_then(|grant| match grant.terms.holds_for(&self.grant.terms) {
                true => Ok(grant),
                false => Err(rule::CHANGED_TERMS),
            });
            Standing { epoch: standing.epoch, grant, rights, now }
        }
    }
}

/// Decides what two directories must permit. What the first is counted by is counted here, what the second is, in the
/// pipeline.
fn both<'a>(first: Decision<'a>, second: impl FnOnce() -> Decision<'a>) -> Decision<'a> {
    if !first.permits() {
        return first;
    }
    if let Err(rule) = first.take(sys::monotonic_ns) {
        return Decision::deny(rule);
    }
    let decision = first.and(second());
    if !decision.permits() {
        first.give_back();
    }
    decision
}

impl Standing {
    fn decide(&self, verb: Verb) -> Decision<'_> {
        let grant = match &self.grant {
            Ok(grant) => grant,
            Err(rule) => return Decision::deny(rule),
        };
        let (first, second) = verb.needs.ways(grant.reach() & self.rights);
        let decision = self.decide_by(grant, first);
        match second {
            // What could do may be another one at another time, or what this mode lifts.
            Some(second) => decision.or(|| self.decide_by(grant, second)),
            None => decision,
        }
    }

    fn decide_by<'a>(&self, grant: &'a FsGrant, needs: Rights) -> Decision<'a> {
        let decision = grant.decide(needs, self.now);
        if decision.permits() && !self.rights.contains(needs) {
            return Decision::deny(rule::NARROWED_HANDLE);
        }
        decision
    }

    /// The same, for what was counted when it began.
    fn for_open(self) -> Self {
        Self { now: self.now.without_rates(), ..self }
    }

    /// Whether both are held to one grant.
    fn is_by_the_grant_of(&self, other: &Self) -> bool {
        matches!((&self.grant, &other.grant), (Ok(here), Ok(there)) if Arc::ptr_eq(here, there))
    }

    /// Whether all that the other handle ever permits is permitted by this one at any time.
    fn outreaches(&self, other: &Self) -> bool {
        match (&self.grant, &other.grant) {
            (Ok(here), Ok(there)) => here.outreaches(self.rights, there, other.rights),
            _ => false,
        }
    }
}
