//! What a handle may do, now: its grant, what it was narrowed to, and whether either still holds.

use std::{path::Path, sync::Arc};

use super::verb::Verb;
use crate::{
    Error, Principal, Verdict,
    os::{Done, Fault, Name, Operation},
    policy::{Decision, FsGrant, Rights, rule},
};

/// The part of a handle that decides.
#[derive(Clone, Debug)]
pub(super) struct Access {
    principal: Principal,
    /// The policy epoch of `grant`.
    epoch: u32,
    grant: Arc<FsGrant>,
    /// What the handle may do at most. Never grows, whatever policy comes.
    rights: Rights,
}

/// What holds at this moment for a handle.
struct Standing {
    epoch: u32,
    grant: Result<Arc<FsGrant>, &'static str>,
    rights: Rights,
}

impl Access {
    pub(super) fn new(principal: Principal, epoch: u32, grant: Arc<FsGrant>) -> Self {
        let rights = grant.rights;
        Self { principal, epoch, grant, rights }
    }

    pub(super) fn rights(&self) -> Rights {
        self.rights
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The directory of the grant.
    pub(super) fn root(&self) -> &Path {
        &self.grant.root
    }

    pub(super) fn narrowed(&self, rights: Rights) -> Self {
        Self { rights: self.rights & rights, ..self.clone() }
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
        self.operation(verb, resource, other).run(decision, standing.epoch, execute).await
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
        self.operation(verb, resource, Some(other)).run(decision, here.epoch, execute).await
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
        let decision = here.decide(verb);
        if decision.verdict == Verdict::Deny {
            return decision;
        }
        let decision = there.decide(verb);
        if decision.verdict == Verdict::Allow && !here.effective().contains(there.effective()) {
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
            Standing { epoch, grant: Err(rule::REVOKED), rights }
        } else if epoch == self.epoch {
            Standing { epoch, grant: Ok(Arc::clone(&self.grant)), rights }
        } else {
            let standing = self.principal.standing();
            let root: &Path = &self.grant.root;
            let grant =
                standing.grants.and_then(|grants| grants.fs(root).map(Arc::clone).ok_or(rule::DEFAULT_DENY));
            Standing { epoch: standing.epoch, grant, rights }
        }
    }
}

impl Standing {
    fn decide(&self, verb: Verb) -> Decision<'_> {
        let grant = match &self.grant {
            Ok(grant) => grant,
            Err(rule) => return Decision::deny(rule),
        };
        let needs = verb.needs.of(self.effective());
        let decision = grant.decide(needs);
        if decision.verdict == Verdict::Allow && !self.rights.contains(needs) {
            return Decision::deny(rule::NARROWED_HANDLE);
        }
        decision
    }

    /// What the handle may do with what holds now.
    fn effective(&self) -> Rights {
        self.grant.as_ref().map_or(Rights::empty(), |grant| grant.rights & self.rights)
    }
}
