use super::{Done, Os, Principal};
use crate::{Action, Error, policy::Resource};

/// A permission without a kernel object behind it, which can end.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    principal: Principal,
    action: Action,
    /// The policy epoch in which it was given.
    epoch: u32,
    /// Whether it may end by itself.
    timed: bool,
}

impl Lease {
    /// Decides and records the acquisition.
    ///
    /// `what` says in the record which kind of it that is.
    pub(crate) fn acquire(principal: &Principal, action: Action, what: &str) -> Result<Self, Error> {
        let standing = principal.standing();
        let decision = standing.decide(action, Resource::Name(""));
        principal
            .operation(action, what.as_bytes())
            .begin(decision, standing.epoch)?
            .finish(Ok(Done::new(())))?;
        Ok(Self { principal: principal.clone(), action, epoch: standing.epoch, timed: standing.is_timed() })
    }

    /// Checks that it still holds. Only a denial is recorded.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.os().epoch() == self.epoch && !self.timed && !self.principal.is_revoked() {
            return Ok(());
        }
        let standing = self.principal.standing().for_open();
        let decision = standing.decide(self.action, Resource::Name(""));
        if decision.permits() {
            return Ok(());
        }
        Err(self.principal.operation(self.action, b"").deny(decision.rule, standing.epoch))
    }

    pub(crate) fn os(&self) -> &Os {
        self.principal.os()
    }
}
