//! Who may do what: grants, compiled into a table that answers without waiting and without allocating.
//!
//! ```
//! use airssys_osl::{Action, Verdict, policy::{Grant, Policy, Request, Resource}};
//!
//! let policy = Policy::builder().principal("reader", [Grant::send("parser")]).build()?;
//! let asks = |to| Request { principal: "reader", action: Action::ActorSend, resource: Resource::Name(to) };
//! assert_eq!(policy.decide(&asks("parser")).verdict, Verdict::Allow);
//! assert_eq!(policy.decide(&asks("stats")).rule, "default-deny");
//! # Ok::<(), airssys_osl::Error>(())
//! ```

pub mod always;
mod builder;
mod cedar;
mod clause;
mod directory;
mod draft;
mod exec;
mod explain;
mod few;
mod fixed;
mod grant;
mod hash;
pub mod learn;
mod mode;
mod names;
mod need;
mod net;
mod rights;
pub mod rule;
mod table;
mod terms;
mod when;

use std::{
    path::{Component, Path},
    sync::Arc,
};

#[cfg_attr(not(target_os = "linux"), allow(unused_imports, reason = "only Linux starts programs"))]
pub(crate) use self::exec::Argument;
use self::{builder::List, clause::Terms, fixed::Fixed, when::When};
pub use self::{
    builder::PolicyBuilder,
    cedar::Cedar,
    exec::ExecTerms,
    explain::Explanation,
    grant::Grant,
    mode::Mode,
    net::{Direction, Endpoint, Ports, Protocol},
    rights::Rights,
    terms::{FsTerms, HardLinks},
    when::{Days, Moment, Window},
};
pub(crate) use self::{directory::FsGrant, exec::ExecGrant, table::Grants};
use crate::{Action, Error, ErrorKind, Verdict, limits::PATH_BYTES};

/// Who may do what: principals, their roles, and what is permitted and forbidden to them, compiled.
///
/// * What no rule permits is denied.
/// * What a rule forbids is denied, whatever permits it.
/// * What is [always forbidden](always) is denied, whatever the [`Mode`].
///
/// A policy does not change. [`Os::reload`](crate::Os::reload) puts another one in its place.
#[derive(Debug, Default)]
pub struct Policy {
    principals: Fixed<Arc<Grants>>,
    /// What is counted: for whom, by which rule.
    rates: Vec<(Box<str>, Box<str>, Arc<When>)>,
    /// The rules as they were written.
    lists: Vec<List>,
    mode: Mode,
}

/// One question to a policy.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a str,
    /// What to do.
    pub action: Action,
    /// With what.
    pub resource: Resource<'a>,
}

/// The object of a [`Request`], as far as policy looks at it.
///
/// There is no path here but that of a granted directory: what lies beneath is decided by the rights of the grant,
/// and whether a path stays beneath is decided by the kernel when it walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A directory that a grant names.
    Root(&'a Path),
    /// Something beneath a directory that a grant names.
    Beneath {
        /// The directory of the grant.
        root: &'a Path,
        /// The rights that the operation needs, all of them.
        needs: Rights,
    },
    /// An object with a name: a variable, an actor. Empty where the action has only one object.
    Name(&'a str),
    /// An address and a port to connect to, to send to, or to listen on.
    Endpoint(Endpoint<'a>),
    /// A host whose addresses are looked up, in the spelling of [`HostName`](crate::net::HostName).
    Host(&'a str),
    /// UNIX sockets beneath a directory that a grant names.
    Unix(&'a Path),
    /// A UNIX socket in the abstract namespace, without the leading NUL.
    AbstractUnix(&'a [u8]),
    /// A program that a grant names.
    Program(&'a Path),
}

/// What policy answers.
///
/// Only a policy makes one:
///
/// ```compile_fail,E0451
/// use airssys_osl::{Verdict, policy::Decision};
///
/// let forged = Decision { verdict: Verdict::Allow, rule: "mine", spends: None, fixed: false };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Yes or no.
    pub verdict: Verdict,
    /// The rule that decided: the place of a grant, or one of [`rule`].
    pub rule: &'a str,
    /// The rates that a use is counted by, and conditions beside them.
    spends: Option<&'a Terms>,
    /// Whether it stands in every mode.
    fixed: bool,
}

impl PartialEq for Decision<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.verdict, self.rule) == (other.verdict, other.rule)
    }
}

impl Eq for Decision<'_> {}

impl Policy {
    /// Starts a policy in which nobody may do anything.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// Answers a request at no moment in particular ([`Moment::UNKNOWN`]). Never fails, never waits, allocates nothing;
    /// what is not granted is denied.
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        self.decide_at(request, Moment::UNKNOWN)
    }

    /// As [`decide`](Self::decide), at a moment. What was counted so far is looked at; counted is only what passes
    /// through the door.
    pub fn decide_at(&self, request: &Request<'_>, now: Moment) -> Decision<'_> {
        self.principals
            .get(request.principal.as_bytes())
            .map_or(Decision::DEFAULT, |grants| grants.decide(request.action, request.resource, now))
    }

    /// The rules of a principal that have nothing left of their rates, by their names: what
    /// [`context.spent`](Cedar) holds at that moment.
    pub fn spent<'a>(&'a self, principal: &'a str, now: Moment) -> impl Iterator<Item = &'a str> {
        let spent =
            self.rates.iter().filter(move |(whose, _, when)| **whose == *principal && when.is_spent(now));
        spent.map(|(_, rule, _)| &**rule)
    }

    /// What becomes of its denials.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn grants(&self, principal: &str) -> Option<&Arc<Grants>> {
        self.principals.get(principal.as_bytes())
    }

    /// Goes on counting where an earlier policy stands, for the rules that both have.
    pub(crate) fn continue_from(&self, earlier: &Self) {
        let key = |(principal, rule, _): &(Box<str>, Box<str>, Arc<When>)| (principal.clone(), rule.clone());
        let known: std::collections::HashMap<_, _> =
            earlier.rates.iter().map(|rate| (key(rate), &rate.2)).collect();
        for rate in &self.rates {
            if let Some(before) = known.get(&key(rate)) {
                rate.2.continue_from(before);
            }
        }
    }
}

impl<'a> Decision<'a> {
    const DEFAULT: Self = Self::deny(rule::DEFAULT_DENY);

    pub(crate) const fn allow(rule: &'a str) -> Self {
        Self { verdict: Verdict::Allow, rule, spends: None, fixed: false }
    }

    pub(crate) const fn deny(rule: &'a str) -> Self {
        Self { verdict: Verdict::Deny, rule, spends: None, fixed: false }
    }

    /// Whether the operation goes on: it is allowed, or the policy only watches.
    pub fn permits(&self) -> bool {
        self.verdict != Verdict::Deny
    }

    /// Counts one use at a time of the monotonic clock; says by which rule not, where there were too many.
    pub(crate) fn take(&self, now_ns: impl FnOnce() -> u64) -> Result<(), &'a str> {
        match self.spends {
            Some(terms) if self.verdict == Verdict::Allow => terms.take(now_ns()),
            // What is only watched is counted, and stopped by nothing.
            Some(terms) => {
                let _ = terms.take(now_ns());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Takes back what [`take`](Self::take) counted.
    pub(crate) fn give_back(&self) {
        if let Some(terms) = self.spends.filter(|_| self.verdict == Verdict::Allow) {
            terms.give_back();
        }
    }

    /// The answer where both are needed: the first that is not simply yes, and what the second counts.
    pub(crate) fn and(self, second: Self) -> Self {
        match (self.verdict, second.verdict) {
            (Verdict::Allow, _) | (Verdict::WouldDeny, Verdict::Deny) => second,
            (Verdict::WouldDeny, _) => Self { spends: second.spends, ..self },
            (Verdict::Deny, _) => self,
        }
    }

    /// The answer where either does: a plain yes before one that only this mode gives.
    pub(crate) fn or(self, second: impl FnOnce() -> Self) -> Self {
        if self.verdict == Verdict::Allow {
            return self;
        }
        let second = second();
        let better = second.verdict == Verdict::Allow || (!self.permits() && second.permits());
        if better { second } else { self }
    }

    /// The same answer for something that was counted when it was opened.
    pub(crate) fn uncounted(self) -> Self {
        Self { spends: None, ..self }
    }
}

fn check_name(name: &str, limit_bytes: usize) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("the name is empty")
    } else if name.len() > limit_bytes {
        Err("the name is too long")
    } else if name.contains(char::is_control) {
        Err("the name has a control character")
    } else {
        Ok(())
    }
}

pub(super) fn check_root(root: &Path) -> Result<(), &'static str> {
    let bytes = root.as_os_str().as_encoded_bytes();
    if !root.is_absolute() {
        Err("the directory is not an absolute path")
    } else if root.components().any(|component| component == Component::ParentDir) {
        Err("the directory has a `..` in it")
    } else if bytes.contains(&0) {
        Err("the directory has a NUL in it")
    } else if bytes.len() > PATH_BYTES {
        Err("the directory is too long")
    } else {
        Ok(())
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

#[cfg(test)]
mod tests;
