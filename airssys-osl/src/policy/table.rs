//! The compiled form of all that holds for one principal.

use std::{path::Path, sync::Arc};

use super::{
    Decision, ExecGrant, FsGrant, Mode, Resource, always,
    clause::{Clause, Clauses},
    directory::Rooted,
    exec::Programs,
    fixed::Paths,
    names::Names,
    net::NetGrants,
    when::Moment,
};
use crate::{Action, Verdict, limits::DESCRIPTORS, net::Limits};

/// All rules for one principal, indexed by what is asked for.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(super) fs: Paths<Rooted>,
    pub(super) permits: Objects,
    /// Those of directories are in their grants.
    pub(super) forbids: Option<Box<Objects>>,
    /// How many files and directories may be open at a time, where that was said.
    pub(super) descriptors: Option<usize>,
    pub(super) mode: Mode,
    /// Whether an answer may be another one at another time.
    pub(super) timed: bool,
}

/// Rules for all but directories: permissions, or prohibitions.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) env: Names,
    pub(super) send: Names,
    pub(super) publish: Names,
    pub(super) subscribe: Names,
    pub(super) bucket_reads: Names,
    pub(super) bucket_writes: Names,
    pub(super) clock: Option<Clauses>,
    pub(super) random: Option<Clauses>,
    /// By the names of aspects.
    pub(super) system: Names,
    pub(super) net: NetGrants,
    pub(super) exec: Programs,
}

impl Grants {
    #[inline]
    pub(crate) fn decide(&self, action: Action, resource: Resource<'_>, now: Moment) -> Decision<'_> {
        match (action, resource) {
            (_, Resource::Beneath { root, needs }) => self.decide_beneath(root, needs, now),
            (Action::FsOpenRoot, Resource::Root(root)) => {
                self.decide_beneath(root, super::Rights::empty(), now)
            }
            (Action::NetResolve, _) => self.decide_object(action, resource, now),
            // Nothing but a permission is looked at, and what it says stands.
            _ if self.forbids.is_none() && !self.mode.lifts() => self.permits.permit(action, resource, now),
            _ => self.decide_object(action, resource, now),
        }
    }

    /// What is decided about anything but a directory.
    fn decide_object(&self, action: Action, resource: Resource<'_>, now: Moment) -> Decision<'_> {
        let decision = match (action, resource) {
            (Action::NetResolve, Resource::Host(host)) => {
                let forbids = self.forbids.as_ref().map(|forbids| &forbids.net);
                self.permits.net.decide_lookup(forbids, host, now)
            }
            _ => match self.forbids.as_ref().and_then(|forbids| forbids.forbid(action, resource, now)) {
                Some(clause) => Decision::deny(&clause.rule),
                None => self.permits.permit(action, resource, now),
            },
        };
        if self.mode.lifts() && !decision.permits() {
            // What denies it first may be lifted: it hides nothing that is not.
            let lasting = always::resource(resource).or_else(|| self.without_terms(resource));
            return lasting.unwrap_or(decision.under(self.mode));
        }
        decision
    }

    #[inline]
    fn decide_beneath(&self, root: &Path, needs: super::Rights, now: Moment) -> Decision<'_> {
        match self.fs.get(root) {
            Some(rooted) => rooted.decide(needs, now),
            None => Decision::DEFAULT.under(self.mode),
        }
    }

    /// The grant of a directory. Where denials are not carried out there is one for every directory.
    pub(crate) fn fs(&self, root: &Path) -> Option<Arc<FsGrant>> {
        let lifted = || self.mode.lifts().then(|| Arc::new(FsGrant::lifted(root, self.mode)));
        self.fs.get(root).map(|rooted| Arc::clone(&rooted.grant)).or_else(lifted)
    }

    /// The grant of a program: of several, the one whose rule decided.
    pub(crate) fn exec(&self, program: &Path, rule: &str) -> Option<&Arc<ExecGrant>> {
        self.permits.exec.find(program, rule)
    }

    /// The decision about a program that no grant names.
    fn without_terms(&self, resource: Resource<'_>) -> Option<Decision<'static>> {
        let Resource::Program(program) = resource else { return None };
        self.permits.exec.find(program, "").is_none().then(always::without_terms)
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors.unwrap_or(DESCRIPTORS)
    }

    pub(crate) fn net_limits(&self) -> &Limits {
        &self.permits.net.limits
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.timed
    }

    /// The variables that a grant names, sorted.
    pub(crate) fn variables(&self) -> Vec<&str> {
        let mut variables: Vec<_> = self.permits.env.exact().map(|(name, _)| name).collect();
        variables.sort_unstable();
        variables
    }
}

impl Objects {
    /// Makes everything that was added findable; says which rule one list says twice.
    pub(super) fn fix(&mut self) -> Result<(), Box<str>> {
        self.env.fix();
        self.send.fix();
        self.publish.fix();
        self.subscribe.fix();
        self.bucket_reads.fix();
        self.bucket_writes.fix();
        self.system.fix();
        self.exec.fix();
        self.net.fix()
    }

    fn permit(&self, action: Action, resource: Resource<'_>, now: Moment) -> Decision<'_> {
        let single = match (action, resource) {
            (Action::EnvRead, Resource::Name(name)) => return self.env.permit(name, now),
            (Action::ActorSend, Resource::Name(name)) => return self.send.permit(name, now),
            (Action::ActorPublish, Resource::Name(topic)) => return self.publish.permit(topic, now),
            (Action::ActorSubscribe, Resource::Name(topic)) => return self.subscribe.permit(topic, now),
            (Action::SystemRead, Resource::Name(aspect)) => return self.system.permit(aspect, now),
            (Action::KeyvalueOpen, Resource::Name(bucket)) => {
                return self.bucket_reads.permit(bucket, now).or(|| self.bucket_writes.permit(bucket, now));
            }
            (Action::KeyvalueRead, Resource::Name(bucket)) => return self.bucket_reads.permit(bucket, now),
            (Action::KeyvalueWrite, Resource::Name(bucket)) => return self.bucket_writes.permit(bucket, now),
            (
                Action::ProcessOpen | Action::ProcessSpawn | Action::ProcessSignal,
                Resource::Program(program),
            ) => return self.exec.decide(program, now),
            (Action::ClockRead, _) => &self.clock,
            (Action::RandomRead, _) => &self.random,
            _ => return self.net.permit(action, resource, now),
        };
        single.as_ref().map_or(Decision::DEFAULT, |clauses| clauses.permit(now))
    }

    fn forbid(&self, action: Action, resource: Resource<'_>, now: Moment) -> Option<&Clause> {
        match (action, resource) {
            (Action::EnvRead, Resource::Name(name)) => self.env.find(name, |clauses| clauses.forbids(now)),
            (Action::ActorSend, Resource::Name(name)) => self.send.find(name, |clauses| clauses.forbids(now)),
            (Action::ActorPublish, Resource::Name(topic)) => {
                self.publish.find(topic, |clauses| clauses.forbids(now))
            }
            (Action::ActorSubscribe, Resource::Name(topic)) => {
                self.subscribe.find(topic, |clauses| clauses.forbids(now))
            }
            (Action::SystemRead, Resource::Name(aspect)) => {
                self.system.find(aspect, |clauses| clauses.forbids(now))
            }
            (Action::KeyvalueRead, Resource::Name(bucket)) => {
                self.bucket_reads.find(bucket, |clauses| clauses.forbids(now))
            }
            (Action::KeyvalueWrite, Resource::Name(bucket)) => {
                self.bucket_writes.find(bucket, |clauses| clauses.forbids(now))
            }
            (
                Action::ProcessOpen | Action::ProcessSpawn | Action::ProcessSignal,
                Resource::Program(program),
            ) => self.exec.forbids(program, now),
            (Action::ClockRead, _) => self.clock.as_ref()?.forbids(now),
            (Action::RandomRead, _) => self.random.as_ref()?.forbids(now),
            _ => self.net.forbid(action, resource, now),
        }
    }
}

impl Decision<'_> {
    /// What becomes of it in this mode.
    pub(super) fn under(self, mode: Mode) -> Self {
        if mode.lifts() && self.verdict == Verdict::Deny && !self.fixed {
            return Self { verdict: Verdict::WouldDeny, ..self };
        }
        self
    }
}
