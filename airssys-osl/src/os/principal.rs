use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{Done, Name, Operation, Os};
use crate::{
    Action, Error, Verdict,
    limits::DESCRIPTORS,
    net::{Account, Limits},
    policy::{Decision, FsGrant, Grants, Mode, Moment, Resource, rule},
    sys,
};

/// Someone who acts: the root of all handles.
///
/// Only [`Os::principal`] mints one, from the policy; it cannot be made in another way, and nothing that comes from
/// it can do more than it.
///
/// ```compile_fail,E0423
/// let forged = airssys_osl::Principal(Default::default());
/// ```
///
/// What an operation is permitted by never leaves the crate:
///
/// ```compile_fail,E0603
/// use airssys_osl::os::Operation;
/// ```
#[derive(Clone)]
pub struct Principal(Arc<Life>);

struct Life {
    os: Os,
    name: Box<str>,
    /// The policy epoch at birth, and what was granted in it.
    epoch: u32,
    grants: Arc<Grants>,
    revoked: AtomicBool,
    /// How many files and directories are open.
    open: AtomicUsize,
    /// What it, and its other lives, have open on the network.
    account: Arc<Account>,
}

/// What holds at this moment for a principal.
pub(crate) struct Standing {
    pub(crate) epoch: u32,
    /// `None` where everything is denied, by the rule beside it.
    pub(crate) grants: Result<Arc<Grants>, &'static str>,
    /// Looked at only where something depends on it.
    now: Moment,
}

impl Principal {
    pub(super) fn new(os: Os, name: &str, epoch: u32, grants: Arc<Grants>) -> Self {
        let account = os.accounts().of(name);
        Self(Arc::new(Life {
            os,
            name: name.into(),
            epoch,
            grants,
            revoked: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            account,
        }))
    }

    /// The name, as in the policy and in the records.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Asks whether a message may go to the actor `to`.
    ///
    /// A denial is recorded. A permitted message is not: it stays within the program, and what its receiver then
    /// does outside is on record. Only in [`Mode::Learn`] it is, which is to find out what was needed.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): no grant names `to`.
    pub fn may_send(&self, to: &str) -> Result<(), Error> {
        self.may(Action::ActorSend, to)
    }

    /// Asks whether a message may be published under `subject`. It is recorded as [`may_send`](Self::may_send) is.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): no grant names the subject.
    pub fn may_publish(&self, subject: &str) -> Result<(), Error> {
        self.may(Action::ActorPublish, subject)
    }

    /// Asks whether what is published under the subjects that `pattern` selects may be heard. It is recorded as
    /// [`may_send`](Self::may_send) is. What arrives then is [`hears`](Self::hears)' to say.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): no grant names all that the pattern selects.
    pub fn may_subscribe(&self, pattern: &str) -> Result<(), Error> {
        self.may(Action::ActorSubscribe, pattern)
    }

    /// Whether what was published under `subject`, and selected by a pattern, may still be heard: its grant holds now, and
    /// nothing forbids the subject. That was asked for when the pattern was, so it is neither recorded nor counted.
    pub fn hears(&self, subject: &str) -> bool {
        self.standing().for_open().decide(Action::ActorSubscribe, Resource::Name(subject)).permits()
    }

    /// Asks about a message.
    fn may(&self, action: Action, name: &str) -> Result<(), Error> {
        let standing = self.standing();
        let decision = standing.decide(action, Resource::Name(name));
        let operation = self.operation(action, name.as_bytes());
        if decision.verdict == Verdict::WouldDeny || (standing.mode() == Mode::Learn && decision.permits()) {
            return operation.begin(decision, standing.epoch)?.finish(Ok(Done::new(())));
        }
        let counted = if decision.permits() { decision.take(sys::monotonic_ns) } else { Err(decision.rule) };
        counted.map_err(|rule| operation.deny(rule, standing.epoch))
    }

    /// Asks for an operation that the caller does not offer. The attempt is recorded; nothing is executed, as the type says.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied), always.
    pub fn attempt(&self, action: Action, resource: &str) -> Result<Infallible, Error> {
        let rule = if self.is_revoked() { rule::REVOKED } else { rule::DEFAULT_DENY };
        Err(self.operation(action, resource.as_bytes()).deny(rule, self.0.os.epoch()))
    }

    pub(crate) fn os(&self) -> &Os {
        &self.0.os
    }

    /// Whether both are the same life of the same principal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn revoke(&self) {
        self.0.revoked.store(true, Ordering::Release);
        self.0.account.recheck();
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.0.account
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.0.revoked.load(Ordering::Acquire)
    }

    /// How many files and directories may be open at a time.
    pub(crate) fn descriptors(&self) -> usize {
        self.standing().grants.map_or(DESCRIPTORS, |grants| grants.descriptors())
    }

    pub(super) fn open_count(&self) -> &AtomicUsize {
        &self.0.open
    }

    /// Looks up what holds now: what was granted at birth where the policy is still the same, else what the
    /// present policy grants.
    pub(crate) fn standing(&self) -> Standing {
        let epoch = self.0.os.epoch();
        if self.is_revoked() {
            return Standing { epoch, grants: Err(rule::REVOKED), now: Moment::UNKNOWN };
        }
        if epoch == self.0.epoch {
            return self.standing_by(epoch, Ok(Arc::clone(&self.0.grants)));
        }
        let current = self.0.os.current();
        let grants = current.policy.grants(&self.0.name).map(Arc::clone).ok_or(rule::DEFAULT_DENY);
        self.standing_by(current.epoch, grants)
    }

    fn standing_by(&self, epoch: u32, grants: Result<Arc<Grants>, &'static str>) -> Standing {
        let timed = grants.as_ref().is_ok_and(|grants| grants.is_timed());
        let now = if timed { self.0.os.now() } else { Moment::UNKNOWN };
        Standing { epoch, grants, now }
    }

    pub(crate) fn operation<'a>(&'a self, action: Action, resource: &'a [u8]) -> Operation<'a> {
        Operation {
            os: &self.0.os,
            principal: &self.0.name,
            action,
            resource: Name::plain(resource),
            other: None,
            mutates: false,
        }
    }
}

impl Standing {
    pub(crate) fn decide(&self, action: Action, resource: Resource<'_>) -> Decision<'_> {
        match &self.grants {
            Ok(grants) => grants.decide(action, resource, self.now),
            Err(rule) => Decision::deny(rule),
        }
    }

    /// The same, for what is open: that was counted when it was opened.
    pub(crate) fn for_open(self) -> Self {
        Self { now: self.now.without_rates(), ..self }
    }

    /// Whether what was decided has to be decided again each time.
    pub(crate) fn is_timed(&self) -> bool {
        self.grants.as_ref().is_ok_and(|grants| grants.is_timed())
    }

    pub(crate) fn mode(&self) -> Mode {
        self.grants.as_ref().map_or(Mode::Enforce, |grants| grants.mode())
    }

    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    /// Whether what was opened beneath a directory by the grant `opened` can be held to the terms of its grant now.
    pub(crate) fn holds_for(&self, opened: &FsGrant) -> bool {
        let now = self.grants.as_ref().ok().and_then(|grants| grants.fs(&opened.root));
        now.is_some_and(|now| now.terms.holds_for(&opened.terms))
    }

    /// How much of the network may be used.
    pub(crate) fn limits(&self) -> Limits {
        self.grants.as_ref().map(|grants| grants.net_limits().clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.0.name).finish()
    }
}
