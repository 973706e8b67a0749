use std::path::PathBuf;

use super::{FsTerms, Rights, net};

/// One thing that a principal may do.
///
/// A grant is only a wish until [`PolicyBuilder::build`](super::PolicyBuilder::build) has checked it.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) form: Form,
    pub(super) rule: Option<Box<str>>,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Fs { root: PathBuf, rights: Rights, terms: FsTerms },
    Env(Box<str>),
    Send(Box<str>),
    Clock,
    Random,
    Descriptors(usize),
    Net(net::Form),
}

impl Grant {
    /// Permits `rights` beneath the directory `root`, an absolute path without `..`.
    pub fn fs(root: impl Into<PathBuf>, rights: Rights) -> Self {
        Self::fs_with(root, rights, FsTerms::new())
    }

    /// As [`fs`](Self::fs), with exceptions and limits.
    pub fn fs_with(root: impl Into<PathBuf>, rights: Rights, terms: FsTerms) -> Self {
        Self::of(Form::Fs { root: root.into(), rights, terms })
    }

    /// Lets the principal have `count` files and directories open at a time, in place of
    /// [`DESCRIPTORS`](crate::limits::DESCRIPTORS).
    pub fn descriptors(count: usize) -> Self {
        Self::of(Form::Descriptors(count))
    }

    /// Permits to read the environment variable `name`.
    pub fn env(name: impl Into<Box<str>>) -> Self {
        Self::of(Form::Env(name.into()))
    }

    /// Permits to send messages to the actor `to`.
    pub fn send(to: impl Into<Box<str>>) -> Self {
        Self::of(Form::Send(to.into()))
    }

    /// Permits to read the clocks.
    pub fn clock() -> Self {
        Self::of(Form::Clock)
    }

    /// Permits to draw random bytes.
    pub fn random() -> Self {
        Self::of(Form::Random)
    }

    /// Names the place where the grant is written: `component.reader.grants.fs[0]`.
    ///
    /// It stands in each record that the grant decides, so that a reader of the log finds the line. At most
    /// [`GRANT_RULE_BYTES`](crate::limits::GRANT_RULE_BYTES). Without it the rule is called after its principal,
    /// its form and its place: `reader.fs[0]`.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<Box<str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    pub(super) fn of(form: Form) -> Self {
        Self { form, rule: None }
    }
}

impl Form {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Net(form) => form.name(),
            Self::Fs { .. } => "fs",
            Self::Env(_) => "env",
            Self::Send(_) => "send",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Descriptors(_) => "descriptors",
        }
    }
}
