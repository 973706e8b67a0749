//! From what was recorded of a run to the smallest policy that lets it pass.
//!
//! Run a program under a policy in [`Mode::Learn`](super::Mode::Learn), give its records to [`learn`], and enforce what
//! comes out:
//!
//! ```
//! use airssys_osl::{Os, policy::{Mode, Policy, learn::learn}, testing::MemorySink};
//!
//! let policy = Policy::builder().principal("component.clerk", []).mode(Mode::Learn).build()?;
//! let records = MemorySink::new();
//! let clerk = Os::new(policy, records.clone()).principal("component.clerk")?;
//! clerk.may_send("printer")?;
//!
//! let learned = learn(&records.take());
//! let grants = "[component.clerk.grants]\nsend = [\"printer\"]\nclock = false\nrandom = false\n";
//! assert_eq!(learned.toml(), grants);
//! let os = Os::new(learned.builder().build()?, records);
//! let clerk = os.principal("component.clerk")?;
//! assert!(clerk.may_send("printer").is_ok() && clerk.may_send("boss").is_err());
//! # Ok::<(), airssys_osl::Error>(())
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Grant, Policy, PolicyBuilder, need::Needs, rule};
use crate::{
    Action, Verdict,
    audit::{Outcome, Record},
    testing::Recorded,
};

/// What a record tells about one operation.
#[derive(Clone, Copy, Debug)]
pub struct Touch<'a> {
    /// Who did it.
    pub principal: &'a str,
    /// What was done.
    pub action: Action,
    /// With which object, as records call it.
    pub resource: &'a [u8],
    /// What policy answered.
    pub verdict: Verdict,
    /// The rule that answered.
    pub rule: &'a str,
    /// What came of it.
    pub outcome: Outcome,
}

impl<'a> From<&'a Recorded> for Touch<'a> {
    fn from(record: &'a Recorded) -> Self {
        let Recorded { principal, action, resource, verdict, rule, outcome, .. } = record;
        Self { principal, action: *action, resource, verdict: *verdict, rule, outcome: *outcome }
    }
}

impl<'a> TryFrom<&'a Record> for Touch<'a> {
    type Error = crate::Error;

    /// Takes a record of a log.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported): a newer version wrote it, about an action that this one does not
    /// know.
    fn try_from(record: &'a Record) -> Result<Self, crate::Error> {
        let action = record.action().ok_or_else(|| {
            let what = format!("understand the action {} in a record", record.action_number());
            crate::Error::new(crate::ErrorKind::Unsupported, what)
        })?;
        let (principal, resource) = (record.principal(), record.resource());
        let (verdict, outcome) = (record.verdict(), record.outcome());
        Ok(Self { principal, action, resource, verdict, rule: record.rule(), outcome })
    }
}

/// What all principals of a run needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    principals: BTreeMap<Box<str>, Needs>,
}

/// Reads what was needed from the records of a run, in their order. What was denied all the same, because it is always
/// forbidden, is needed by nobody.
///
/// A path belongs to the directory that was opened on the way to it; where directories within each other were opened,
/// to each of them. Which addresses of a host are used may differ in the next run: hosts are learned by their names, and
/// addresses only where they are not global. No record tells how a program was held and with what it may be started:
/// programs, those that were asked for in vain too, are learned with [`ExecTerms::new`](super::ExecTerms::new).
pub fn learn<'a, T: Into<Touch<'a>>>(records: impl IntoIterator<Item = T>) -> Learned {
    let mut learned = Learned::default();
    let mut roots: BTreeMap<Box<str>, BTreeSet<std::path::PathBuf>> = BTreeMap::new();
    for touch in records.into_iter().map(Into::into) {
        // No mode starts a program that nothing grants.
        let in_vain = touch.action == Action::ProcessOpen && touch.rule == rule::DEFAULT_DENY;
        if touch.principal == rule::HOST || (touch.verdict == Verdict::Deny && !in_vain) {
            continue;
        }
        let needs = learned.principals.entry(touch.principal.into()).or_default();
        let roots = roots.entry(touch.principal.into()).or_default();
        needs.add(touch.action, touch.resource, touch.rule, roots);
        if touch.action == Action::FsOpenRoot {
            roots.extend(needs.fs.keys().cloned());
        }
    }
    learned.principals.values_mut().for_each(Needs::settle);
    learned
}

impl Learned {
    /// A policy in which each principal may do what it did.
    pub fn builder(&self) -> PolicyBuilder {
        let principals = self.principals.iter();
        principals
            .fold(Policy::builder(), |builder, (name, needs)| builder.principal(name.clone(), needs.grants()))
    }

    /// The grants of one principal.
    pub fn grants(&self, principal: &str) -> Vec<Grant> {
        self.principals.get(principal).map(Needs::grants).unwrap_or_default()
    }

    /// Whom one principal connected to, by TCP, as manifests name peers without the protocol: `example.com:443`.
    pub fn peers(&self, principal: &str) -> Vec<String> {
        self.principals.get(principal).map(Needs::tcp_peers).unwrap_or_default()
    }

    /// The same as tables of a manifest, one for each component. What a manifest has no key for, and principals that are
    /// no components, are comments.
    pub fn toml(&self) -> String {
        self.toml_with(|_, _| None)
    }

    /// As [`toml`](Self::toml); `guest` says what a principal calls a directory. Where it says nothing, the directory
    /// keeps its path as its name.
    pub fn toml_with(&self, guest: impl Fn(&str, &Path) -> Option<String>) -> String {
        let mut tables = Vec::new();
        for (name, needs) in &self.principals {
            let lines = needs.toml(&|root| guest(name, root));
            tables.push(match name.strip_prefix("component.") {
                Some(component) => {
                    format!("[component.{component}.grants]\n{lines}{}", needs.toml_without())
                }
                None => {
                    let lines = lines.lines().map(|line| format!("# {line}\n")).collect::<String>();
                    format!("# {}, which is no component:\n{lines}", name.escape_default())
                }
            });
        }
        tables.join("\n")
    }
}
