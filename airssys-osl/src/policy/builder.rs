//! From lists of grants to a policy: names are checked, and roles that have themselves are found.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::{Grant, Mode, Policy, check_name, draft::Draft, fixed::Fixed, grant::Form, invalid, rule};
use crate::{
    Error, ErrorKind,
    limits::{PRINCIPAL_BYTES, ROLE_DEPTH, RULES_PER_POLICY},
};

/// Collects the rules of a [`Policy`].
#[derive(Debug, Default)]
#[must_use]
pub struct PolicyBuilder {
    lists: Vec<List>,
    /// Prohibitions, by the name of the list that they belong to.
    forbids: Vec<(Box<str>, Vec<Grant>)>,
    mode: Mode,
}

/// The rules of one principal or one role, as they were written: with others of its kind, all that a policy says.
#[derive(Debug)]
pub(super) struct List {
    pub(super) name: Box<str>,
    pub(super) is_role: bool,
    pub(super) permits: Vec<Grant>,
    pub(super) forbids: Vec<Grant>,
}

/// Where each list is, by its name.
pub(super) type Index = HashMap<Box<str>, usize>;

/// The name of the list that holds for everyone.
pub(super) const EVERYONE: &str = "everyone";

impl PolicyBuilder {
    /// Adds a principal and all that it may do.
    ///
    /// A name has at most [`PRINCIPAL_BYTES`] bytes, no control character, and is not `host`: that one stands in
    /// records for the program itself. Principals and roles share their names.
    pub fn principal(mut self, name: impl Into<Box<str>>, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.lists.push(List::new(name, false, grants));
        self
    }

    /// Adds a role: grants that each principal, and each other role, gets by [`Grant::role`].
    pub fn role(mut self, name: impl Into<Box<str>>, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.lists.push(List::new(name, true, grants));
        self
    }

    /// Forbids what these grants describe to a principal, or to all who have a role, whatever else permits it. Said
    /// again, it adds to what was said.
    pub fn forbid(mut self, name: impl Into<Box<str>>, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.forbids.push((name.into(), grants.into_iter().collect()));
        self
    }

    /// As [`forbid`](Self::forbid), for every principal of the policy.
    pub fn forbid_everyone(self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.forbid(EVERYONE, grants)
    }

    /// Says what becomes of denials. Without it they are enforced.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Checks and compiles the rules.
    ///
    /// # Errors
    ///
    /// * [`Invalid`](ErrorKind::Invalid): a name, a path, a rate or a rule is malformed, a list says a thing twice, a
    ///   role is missing or has itself (the error names all of the cycle). The error names the list and the rule.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): more than [`GRANTS_PER_PRINCIPAL`](crate::limits::GRANTS_PER_PRINCIPAL) rules for a principal,
    ///   [`RULES_PER_POLICY`] in all, or roles deeper than [`ROLE_DEPTH`].
    pub fn build(self) -> Result<Policy, Error> {
        let mode = self.mode;
        let (lists, index) = self.index()?;
        check_cycles(&lists, &index)?;
        let mut policy = Policy { mode, principals: Fixed::default(), rates: Vec::new(), lists: Vec::new() };
        // A role that nobody has is looked at all the same.
        for (number, list) in lists.iter().enumerate().filter(|(_, list)| list.is_role) {
            let mut draft = Draft::new(&list.name, &lists, &index);
            draft.visit(number, &[], 0)?;
            draft.finish(mode)?;
        }
        let mut total = 0;
        let principals = lists.iter().enumerate().filter(|(_, list)| !list.is_role);
        for (number, list) in principals {
            let mut draft = Draft::new(&list.name, &lists, &index);
            if let Some(everyone) = index.get(EVERYONE) {
                draft.visit(*everyone, &[], 0)?;
            }
            draft.visit(number, &[], 0)?;
            total += draft.rules;
            if total > RULES_PER_POLICY {
                let what = format!(
                    "hold more than {RULES_PER_POLICY} rules, those of roles counted for each principal"
                );
                return Err(Error::new(ErrorKind::LimitExceeded, what));
            }
            policy.rates.append(&mut draft.rates);
            policy.principals.entry(list.name.as_bytes()).insert_entry(Arc::new(draft.finish(mode)?));
        }
        policy.principals.fix();
        policy.lists = lists;
        Ok(policy)
    }

    /// Checks the names, and finds the list of each.
    fn index(self) -> Result<(Vec<List>, Index), Error> {
        let Self { mut lists, forbids, .. } = self;
        let named = lists.len();
        if forbids.iter().any(|(name, _)| &**name == EVERYONE) {
            lists.push(List::new(EVERYONE, true, []));
        }
        let mut index = Index::with_capacity(lists.len());
        for (number, list) in lists.iter().enumerate() {
            let (kind, name) = (if list.is_role { "role" } else { "principal" }, &list.name);
            check_name(name, PRINCIPAL_BYTES)
                .map_err(|problem| invalid(format!("name a {kind} {name:?}: {problem}")))?;
            if &**name == rule::HOST {
                return Err(invalid(format!("name a {kind} `host`: it stands for the program itself")));
            }
            if &**name == EVERYONE && number < named {
                return Err(invalid(format!("name a {kind} `everyone`: it stands for all of them")));
            }
            match index.entry(name.clone()) {
                Entry::Vacant(entry) => entry.insert(number),
                Entry::Occupied(_) => return Err(invalid(format!("name a second {kind} `{name}`"))),
            };
        }
        for (name, grants) in forbids {
            let list = index.get(&name).and_then(|number| lists.get_mut(*number));
            let list = list.ok_or_else(|| {
                invalid(format!("forbid something to `{name}`: there is no such principal or role"))
            })?;
            list.forbids.extend(grants);
        }
        Ok((lists, index))
    }
}

impl List {
    fn new(name: impl Into<Box<str>>, is_role: bool, grants: impl IntoIterator<Item = Grant>) -> Self {
        Self { name: name.into(), is_role, permits: grants.into_iter().collect(), forbids: Vec::new() }
    }

    /// The names of the roles that it has.
    pub(super) fn roles(&self) -> impl Iterator<Item = &str> {
        self.permits.iter().filter_map(|grant| match &grant.form {
            Form::Role(name) => Some(&**name),
            _ => None,
        })
    }

    /// What one of its rules is called in records.
    pub(super) fn rule_name(&self, grant: &Grant, number: usize, forbids: bool) -> Box<str> {
        let forbid = if forbids { "forbid." } else { "" };
        let default = || format!("{}.{forbid}{}[{number}]", self.name, grant.form.name()).into();
        grant.rule.clone().unwrap_or_else(default)
    }
}

/// Goes along all roles, and finds one that has itself.
fn check_cycles(lists: &[List], index: &Index) -> Result<(), Error> {
    let mut done = HashSet::new();
    for list in lists {
        check_chain(list, lists, index, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

fn check_chain<'a>(
    list: &'a List,
    lists: &'a [List],
    index: &Index,
    chain: &mut Vec<&'a str>,
    done: &mut HashSet<&'a str>,
) -> Result<(), Error> {
    if let Some(first) = chain.iter().position(|name| *name == &*list.name) {
        let mut cycle = chain.get(first..).unwrap_or_default().to_vec();
        cycle.push(&list.name);
        return Err(invalid(format!("let a role have itself: {}", cycle.join(" has "))));
    }
    if done.contains(&*list.name) {
        return Ok(());
    }
    if chain.len() > ROLE_DEPTH {
        let what = format!("go into the roles of `{}`: they are deeper than {ROLE_DEPTH}", list.name);
        return Err(Error::new(ErrorKind::LimitExceeded, what));
    }
    chain.push(&list.name);
    for name in list.roles() {
        let role = index.get(name).and_then(|number| lists.get(*number)).filter(|role| role.is_role);
        let role =
            role.ok_or_else(|| invalid(format!("give `{}` the role `{name}`: there is none", list.name)))?;
        check_chain(role, lists, index, chain, done)?;
    }
    chain.pop();
    // It is gone into once more from elsewhere only for its depth, which `Draft` looks at too.
    done.insert(&list.name);
    Ok(())
}
