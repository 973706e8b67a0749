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

mod grant;
mod hash;
mod net;
mod rights;
pub mod rule;
mod table;
mod terms;

use std::{
    collections::hash_map::Entry,
    path::{Component, Path},
    sync::Arc,
};

pub(crate) use self::table::{FsGrant, Grants};
use self::{grant::Form, hash::Table};
pub use self::{
    grant::Grant,
    net::{Direction, Endpoint, Ports, Protocol},
    rights::Rights,
    terms::{FsTerms, HardLinks},
};
use crate::{
    Action, Error, ErrorKind, Verdict,
    limits::{GRANT_RULE_BYTES, GRANTS_PER_PRINCIPAL, PATH_BYTES, PRINCIPAL_BYTES, VARIABLE_BYTES},
};

/// The grants of every principal, compiled.
///
/// A policy does not change. [`Os::reload`](crate::Os::reload) puts another one in its place.
#[derive(Debug, Default)]
pub struct Policy {
    principals: Table<Box<str>, Arc<Grants>>,
}

/// Collects grants for a [`Policy`].
#[derive(Debug, Default)]
#[must_use]
pub struct PolicyBuilder {
    principals: Vec<(Box<str>, Vec<Grant>)>,
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
}

/// What policy answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Yes or no.
    pub verdict: Verdict,
    /// The rule that decided: the place of a grant, or one of [`rule`].
    pub rule: &'a str,
}

impl Policy {
    /// Starts a policy in which nobody may do anything.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// Answers a request. Never fails, never waits, allocates nothing; what is not granted is denied.
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        self.principals
            .get(request.principal)
            .map_or(Decision::DEFAULT, |grants| grants.decide(request.action, request.resource))
    }

    pub(crate) fn grants(&self, principal: &str) -> Option<&Arc<Grants>> {
        self.principals.get(principal)
    }
}

impl<'a> Decision<'a> {
    const DEFAULT: Self = Self::deny(rule::DEFAULT_DENY);

    pub(crate) const fn allow(rule: &'a str) -> Self {
        Self { verdict: Verdict::Allow, rule }
    }

    pub(crate) const fn deny(rule: &'a str) -> Self {
        Self { verdict: Verdict::Deny, rule }
    }
}

impl PolicyBuilder {
    /// Adds a principal and all that it may do.
    ///
    /// A name has at most [`PRINCIPAL_BYTES`] bytes, no control character, and is not `host`: that one stands in
    /// records for the program itself.
    pub fn principal(mut self, name: impl Into<Box<str>>, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.principals.push((name.into(), grants.into_iter().collect()));
        self
    }

    /// Checks and compiles the grants.
    ///
    /// # Errors
    ///
    /// * [`Invalid`](ErrorKind::Invalid): a name, a path or a rule is malformed, or something is granted twice. The
    ///   error names the principal and the rule.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): more than [`GRANTS_PER_PRINCIPAL`] grants.
    pub fn build(self) -> Result<Policy, Error> {
        let mut principals = Table::default();
        for (name, grants) in self.principals {
            check_name(&name, PRINCIPAL_BYTES)
                .map_err(|problem| invalid(format!("name a principal {name:?}: {problem}")))?;
            if &*name == rule::HOST {
                return Err(invalid("name a principal `host`: it stands for the program itself".to_owned()));
            }
            let grants = compile(&name, grants)?;
            match principals.entry(name) {
                Entry::Vacant(entry) => entry.insert(Arc::new(grants)),
                Entry::Occupied(entry) => {
                    return Err(invalid(format!("name a second principal `{}`", entry.key())));
                }
            };
        }
        Ok(Policy { principals })
    }
}

fn compile(principal: &str, grants: Vec<Grant>) -> Result<Grants, Error> {
    if grants.len() > GRANTS_PER_PRINCIPAL {
        let what = format!("give `{principal}` {} grants, the limit is {GRANTS_PER_PRINCIPAL}", grants.len());
        return Err(Error::new(ErrorKind::LimitExceeded, what));
    }
    let mut table = Grants::default();
    for (index, Grant { form, rule }) in grants.into_iter().enumerate() {
        let rule = rule.unwrap_or_else(|| format!("{principal}.{}[{index}]", form.name()).into());
        insert(&mut table, form, &rule)
            .map_err(|problem| invalid(format!("grant `{rule}` to `{principal}`: {problem}")))?;
    }
    Ok(table)
}

fn insert(table: &mut Grants, form: Form, rule: &str) -> Result<(), &'static str> {
    check_name(rule, GRANT_RULE_BYTES)?;
    let twice = match form {
        Form::Fs { root, rights, terms } => {
            check_root(&root)?;
            terms.check()?;
            if rights.is_empty() {
                return Err("it grants no right");
            }
            let grant = FsGrant::new(root.clone(), rights, terms, rule.into());
            table.fs.insert(root, Arc::new(grant)).is_some()
        }
        Form::Env(name) => {
            check_name(&name, VARIABLE_BYTES)?;
            if name.contains('=') {
                return Err("a variable's name has no `=`");
            }
            table.env.insert(name, rule.into()).is_some()
        }
        Form::Send(to) => {
            check_name(&to, PRINCIPAL_BYTES)?;
            table.send.insert(to, rule.into()).is_some()
        }
        Form::Clock => table.clock.replace(rule.into()).is_some(),
        Form::Random => table.random.replace(rule.into()).is_some(),
        Form::Descriptors(0) => return Err("it lets nothing be opened"),
        Form::Descriptors(count) => table.descriptors.replace(count).is_some(),
        Form::Net(form) => table.net.insert(form, rule)?,
    };
    if twice { Err("the same is granted twice") } else { Ok(()) }
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
