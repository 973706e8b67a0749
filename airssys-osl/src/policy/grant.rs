use std::{path::PathBuf, time::Duration};

use super::{
    ExecTerms, FsTerms, Rights, net,
    when::{Conditions, Window},
};
use crate::{clock::Timestamp, system::Aspect};

/// One thing that a principal or a role may do; in a list of prohibitions, one that it may not.
///
/// A grant is only a wish until [`PolicyBuilder::build`](super::PolicyBuilder::build) has checked it.
///
/// ```
/// use std::time::Duration;
/// use airssys_osl::{clock::Timestamp, policy::{Grant, Policy, Rights}};
///
/// let policy = Policy::builder()
///     .role("staff", [Grant::send("printer").at_most(10, Duration::from_secs(60))])
///     .role("night", [Grant::role("staff"), Grant::clock().during("fri 22:00-06:00 +01:00".parse()?)])
///     .forbid("staff", [Grant::env("AWS_*")])
///     .principal("alice", [
///         Grant::role("night"),
///         Grant::fs("/srv/inbox", Rights::READ).until(Timestamp { seconds: 1_900_000_000, nanoseconds: 0 }),
///     ])
///     .build()?;
/// # Ok::<(), airssys_osl::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) form: Form,
    pub(super) rule: Option<Box<str>>,
    pub(super) conditions: Conditions,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Fs { root: PathBuf, rights: Rights, terms: FsTerms },
    Env(Box<str>),
    Send(Box<str>),
    Publish(Box<str>),
    Subscribe(Box<str>),
    Clock,
    Random,
    System(Aspect),
    Descriptors(usize),
    Net(net::Form),
    Role(Box<str>),
    Exec { program: PathBuf, terms: Box<ExecTerms> },
    Keyvalue { bucket: Box<str>, rights: Rights },
}

impl Grant {
    /// Permits `rights` beneath the directory `root`, an absolute path without `..`.
    ///
    /// Forbidden, it takes `rights` from whatever is granted at `root` and beneath it: by its path, or by where links lead
    /// when the policy is built. A second mount of the same directory is not known. Where a directory *above* `root`
    /// is granted, only all rights at all times can be taken from what lies in between ([`FsTerms::deny`]).
    pub fn fs(root: impl Into<PathBuf>, rights: Rights) -> Self {
        Self::fs_with(root, rights, FsTerms::new())
    }

    /// As [`fs`](Self::fs), with exceptions and limits.
    ///
    /// Where several lists grant the same directory, such as those of two roles, their rights add up, and of their terms
    /// all hold.
    pub fn fs_with(root: impl Into<PathBuf>, rights: Rights, terms: FsTerms) -> Self {
        Self::of(Form::Fs { root: root.into(), rights, terms })
    }

    /// Lets the principal have `count` files and directories open at a time, in place of
    /// [`DESCRIPTORS`](crate::limits::DESCRIPTORS). A principal's own count goes before those of its roles.
    pub fn descriptors(count: usize) -> Self {
        Self::of(Form::Descriptors(count))
    }

    /// Permits to read the environment variable `name`. Forbidden, it may end in `*`: `AWS_*`.
    pub fn env(name: impl Into<Box<str>>) -> Self {
        Self::of(Form::Env(name.into()))
    }

    /// Permits to send messages to the actor `to`, or to all whose names begin so: `worker-*`.
    pub fn send(to: impl Into<Box<str>>) -> Self {
        Self::of(Form::Send(to.into()))
    }

    /// Permits to publish messages under the subject `topic`, or under all below one: `orders.>`. `>` is all there are.
    pub fn publish(topic: impl Into<Box<str>>) -> Self {
        Self::of(Form::Publish(topic.into()))
    }

    /// Permits to hear what is published under the subject `topic`, or under all below one: `orders.>`.
    ///
    /// A pattern is permitted where all that it can select is. Forbidden, a subject is not heard by a pattern, either.
    pub fn subscribe(topic: impl Into<Box<str>>) -> Self {
        Self::of(Form::Subscribe(topic.into()))
    }

    /// Permits to read the bucket `bucket`, to write it, or both, as `rights` says; other rights a bucket has none. A name
    /// that ends in `*` means all buckets whose names begin so.
    ///
    /// Forbidden, a bucket may still be opened by whoever is granted it, and is then of no use.
    pub fn keyvalue(bucket: impl Into<Box<str>>, rights: Rights) -> Self {
        Self::of(Form::Keyvalue { bucket: bucket.into(), rights })
    }

    /// Permits to read the clocks.
    pub fn clock() -> Self {
        Self::of(Form::Clock)
    }

    /// Permits to draw random bytes.
    pub fn random() -> Self {
        Self::of(Form::Random)
    }

    /// Gives all that the role `name` has, its prohibitions and the roles in it included. Conditions of this grant hold
    /// for each of the role's permissions, and leave its prohibitions as they are.
    pub fn role(name: impl Into<Box<str>>) -> Self {
        Self::of(Form::Role(name.into()))
    }

    /// Ends it at `end`, by the wall clock. A clock that is set back does not bring it back.
    #[must_use]
    pub fn until(mut self, end: Timestamp) -> Self {
        self.conditions.until = Some(end);
        self
    }

    /// Holds only during `window`. Said again, it holds during any of the windows.
    #[must_use]
    pub fn during(mut self, window: Window) -> Self {
        self.conditions.during.push(window);
        self
    }

    /// Permits `count` uses at once, and as many more as come in evenly over each `period`: a bucket that fills within
    /// the period. One bucket is one principal's, whatever handles it has and by however many roles it has the grant, and
    /// goes on when the policy is replaced by one with the same rule. A directory has one rate: two grants of it, or two roles that
    /// bring one with rates of their own, are refused.
    ///
    /// Each operation on a directory is a use, and each connection, each message that may be sent, each operation on a bucket
    /// and each time that a clock, random bytes or variables are asked for; what goes through what is open is not.
    #[must_use]
    pub fn at_most(mut self, count: u64, period: Duration) -> Self {
        self.conditions.at_most = Some((count, period));
        self
    }

    /// Permits to ask about the machine: about this one aspect.
    pub fn system(aspect: Aspect) -> Self {
        Self::of(Form::System(aspect))
    }

    /// Names the place where the grant is written: `component.reader.grants.fs[0]`.
    ///
    /// It stands in each record that the grant decides, so that a reader of the log finds the line. At most
    /// [`GRANT_RULE_BYTES`](crate::limits::GRANT_RULE_BYTES). Without it the rule is called after its list,
    /// its form and its place: `reader.fs[0]`, `reader.forbid.fs[0]`.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<Box<str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    pub(super) fn of(form: Form) -> Self {
        Self { form, rule: None, conditions: Conditions::default() }
    }
}

impl Form {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Net(form) => form.name(),
            Self::Exec { .. } => "exec",
            Self::Fs { .. } => "fs",
            Self::Env(_) => "env",
            Self::Send(_) => "send",
            Self::Publish(_) => "publish",
            Self::Subscribe(_) => "subscribe",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::System(_) => "system",
            Self::Descriptors(_) => "descriptors",
            Self::Role(_) => "role",
            Self::Keyvalue { .. } => "keyvalue",
        }
    }
}
