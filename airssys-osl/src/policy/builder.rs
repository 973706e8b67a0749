//! From lists of grants to tables: names are checked, roles are gone into, prohibitions find what they forbid.

use std::{
    cell::LazyCell,
    collections::{HashMap, HashSet, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    FsGrant, FsTerms, Grant, Grants, Mode, Policy, Rights, check_name, check_root,
    clause::{Clause, Collect as _},
    directory::{Location, Part},
    grant::Form,
    hash::Table,
    invalid, net, rule,
    table::Objects,
    when::When,
};
use crate::{
    Error, ErrorKind,
    limits::{
        GRANT_RULE_BYTES, GRANTS_PER_PRINCIPAL, PRINCIPAL_BYTES, ROLE_DEPTH, ROLES_PER_PRINCIPAL,
        RULES_PER_POLICY, VARIABLE_BYTES,
    },
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
type Index = HashMap<Box<str>, usize>;

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
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): more than [`GRANTS_PER_PRINCIPAL`] rules for a principal,
    ///   [`RULES_PER_POLICY`] in all, or roles deeper than [`ROLE_DEPTH`].
    pub fn build(self) -> Result<Policy, Error> {
        let mode = self.mode;
        let (lists, index) = self.index()?;
        check_cycles(&lists, &index)?;
        let mut policy = Policy { mode, principals: Table::default(), rates: Vec::new(), lists: Vec::new() };
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
            policy.principals.insert(list.name.clone(), Arc::new(draft.finish(mode)?));
        }
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

/// The tables of one principal, in the making.
struct Draft<'a> {
    lists: &'a [List],
    index: &'a Index,
    principal: &'a str,
    grants: Grants,
    forbids: Objects,
    has_forbids: bool,
    fs: HashMap<PathBuf, (FsTerms, Vec<Part>)>,
    fs_forbids: Vec<(Location, Part)>,
    /// Lists that were gone into without conditions.
    seen: HashSet<usize>,
    /// Lists whose prohibitions were added.
    forbidding: HashSet<usize>,
    visits: usize,
    rules: usize,
    rates: Vec<(Box<str>, Box<str>, Arc<When>)>,
}

impl<'a> Draft<'a> {
    fn new(principal: &'a str, lists: &'a [List], index: &'a Index) -> Self {
        Self {
            lists,
            index,
            principal,
            grants: Grants::default(),
            forbids: Objects::default(),
            has_forbids: false,
            fs: HashMap::new(),
            fs_forbids: Vec::new(),
            seen: HashSet::new(),
            forbidding: HashSet::new(),
            visits: 0,
            rules: 0,
            rates: Vec::new(),
        }
    }

    /// Adds what one list says, under conditions that hold for all of its permissions.
    fn visit(&mut self, number: usize, whens: &[Arc<When>], depth: usize) -> Result<(), Error> {
        self.visits += 1;
        if depth > ROLE_DEPTH || self.visits > ROLES_PER_PRINCIPAL {
            let what = format!("go into the roles of `{}`: they are too deep, or too many", self.principal);
            return Err(Error::new(ErrorKind::LimitExceeded, what));
        }
        let Some(list) = self.lists.get(number) else { return Ok(()) };
        if whens.is_empty() && !self.seen.insert(number) {
            return Ok(());
        }
        // Prohibitions do not depend on how a role came.
        if self.forbidding.insert(number) {
            for (place, grant) in list.forbids.iter().enumerate() {
                self.add(number, list.rule_name(grant, place, true), grant, &[], true)?;
            }
        }
        // A list's own rules come before those of its roles.
        for (place, grant) in list.permits.iter().enumerate() {
            if !matches!(grant.form, Form::Role(_)) {
                self.add(number, list.rule_name(grant, place, false), grant, whens, false)?;
            }
        }
        for (place, grant) in list.permits.iter().enumerate() {
            let Form::Role(name) = &grant.form else { continue };
            let rule = list.rule_name(grant, place, false);
            let whens = self.whens(&rule, grant, whens)?;
            if let Some(role) = self.index.get(name) {
                self.visit(*role, &whens, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The conditions of a grant, behind those that it comes under.
    fn whens(&mut self, rule: &str, grant: &Grant, whens: &[Arc<When>]) -> Result<Vec<Arc<When>>, Error> {
        let mut whens = whens.to_vec();
        if !grant.conditions.is_empty() {
            let when = grant.conditions.compile();
            let when = Arc::new(when.map_err(|problem| self.problem(rule, problem))?);
            if when.rate.is_some() {
                self.rates.push((self.principal.into(), rule.into(), Arc::clone(&when)));
            }
            self.grants.timed = true;
            whens.push(when);
        }
        Ok(whens)
    }

    fn add(
        &mut self,
        owner: usize,
        rule: Box<str>,
        grant: &Grant,
        whens: &[Arc<When>],
        forbids: bool,
    ) -> Result<(), Error> {
        self.rules += 1;
        if self.rules > GRANTS_PER_PRINCIPAL {
            let what = format!("give `{}` more than {GRANTS_PER_PRINCIPAL} rules", self.principal);
            return Err(Error::new(ErrorKind::LimitExceeded, what));
        }
        check_name(&rule, GRANT_RULE_BYTES).map_err(|problem| self.problem(&rule, problem))?;
        if forbids && grant.conditions.at_most.is_some() {
            return Err(self.problem(&rule, "what is forbidden has no rate"));
        }
        let whens = self.whens(&rule, grant, whens)?;
        // Fewer lists than a policy has rules.
        let clause = Clause::new(&rule, owner as u32, &whens);
        let twice = if forbids {
            self.has_forbids = true;
            self.add_forbid(grant.form.clone(), clause)
        } else {
            self.add_permit(grant.form.clone(), clause)
        };
        match twice {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.problem(&rule, "the same is granted twice")),
            Err(problem) => Err(self.problem(&rule, problem)),
        }
    }

    fn add_permit(&mut self, form: Form, clause: Clause) -> Result<bool, &'static str> {
        let is_timed = clause.is_timed();
        match form {
            Form::Fs { root, rights, terms } => self.add_fs(root, rights, terms, clause),
            Form::Descriptors(_) | Form::Net(net::Form::Limits(_)) if is_timed => {
                Err("a limit has no conditions")
            }
            Form::Descriptors(0) => Err("it lets nothing be opened"),
            Form::Descriptors(count) => {
                // The first says it: a principal's own before those of its roles.
                self.grants.descriptors.get_or_insert(count);
                Ok(false)
            }
            Form::Env(name) if name.contains('*') => Err("a variable that is granted has no `*`"),
            Form::Exec { program, terms } => self.grants.permits.exec.permit(program, *terms, clause),
            form => add_object(&mut self.grants.permits, form, clause),
        }
    }

    fn add_fs(
        &mut self,
        root: PathBuf,
        rights: Rights,
        terms: FsTerms,
        clause: Clause,
    ) -> Result<bool, &'static str> {
        check_root(&root)?;
        terms.check()?;
        if rights.is_empty() {
            return Err("it grants no right");
        }
        let part = Part { rights, clause };
        match self.fs.entry(root) {
            Entry::Vacant(entry) => {
                entry.insert((terms, vec![part]));
                Ok(false)
            }
            Entry::Occupied(mut entry) => {
                let (known, parts) = entry.get_mut();
                if part.clause.has_rate() && parts.iter().any(|known| known.clause.has_rate()) {
                    return Err("a directory has one rate");
                }
                let repeats = |known: &Part| known.clause.repeats(&part.clause);
                let twice = parts.iter().any(repeats);
                known.tighten(terms);
                parts.push(part);
                Ok(twice)
            }
        }
    }

    fn add_forbid(&mut self, form: Form, clause: Clause) -> Result<bool, &'static str> {
        match form {
            Form::Fs { root, rights, terms } => {
                check_root(&root)?;
                if rights.is_empty() || terms != FsTerms::new() {
                    return Err("it forbids no right, or has terms");
                }
                self.fs_forbids.push((Location::of(root), Part { rights, clause }));
                Ok(false)
            }
            Form::Role(_) | Form::Descriptors(_) | Form::Net(net::Form::Limits(_)) => {
                Err("neither a role nor a limit can be forbidden")
            }
            Form::Exec { program, terms } => self.forbids.exec.forbid(program, *terms, clause),
            form => add_object(&mut self.forbids, form, clause),
        }
    }

    fn finish(mut self, mode: Mode) -> Result<Grants, Error> {
        for (root, (terms, parts)) in std::mem::take(&mut self.fs) {
            let grant = Arc::new(self.directory(root.clone(), terms, parts, mode)?);
            self.grants.spelled.insert(root.as_os_str().as_encoded_bytes().into(), Arc::clone(&grant));
            self.grants.fs.insert(root, grant);
        }
        let sorted = self.grants.permits.net.sort().and_then(|()| self.forbids.net.sort());
        sorted.map_err(|rule| self.problem(&rule, "the same is granted twice"))?;
        self.grants.forbids = self.has_forbids.then(|| Box::new(self.forbids));
        self.grants.mode = mode;
        Ok(self.grants)
    }

    /// Finds what is forbidden at and beneath a directory.
    fn directory(
        &self,
        root: PathBuf,
        mut terms: FsTerms,
        parts: Vec<Part>,
        mode: Mode,
    ) -> Result<FsGrant, Error> {
        let mut forbids = Vec::new();
        // Nobody looks for links where nothing is forbidden.
        let here = LazyCell::new(|| Location::of(root.clone()));
        for (place, part) in &self.fs_forbids {
            if here.is_within(place) {
                forbids.push(part.clone());
            } else if let Some(inner) = place.beneath(&here) {
                if !part.rights.is_all() || part.clause.is_timed() {
                    let problem = format!(
                        "beneath the granted {root:?} only all rights, at all times, can be forbidden"
                    );
                    return Err(self.problem(&part.clause.rule, &problem));
                }
                terms = terms.deny(inner);
            }
        }
        terms.check().map_err(|problem| self.problem(&root.to_string_lossy(), problem))?;
        Ok(FsGrant::new(root, terms, parts, forbids, mode))
    }

    fn problem(&self, rule: &str, problem: &str) -> Error {
        invalid(format!("grant `{rule}` to `{}`: {problem}", self.principal))
    }
}

/// Adds a rule about anything but a directory.
fn add_object(objects: &mut Objects, form: Form, clause: Clause) -> Result<bool, &'static str> {
    match form {
        Form::Env(name) => {
            check_name(&name, VARIABLE_BYTES)?;
            if name.contains('=') {
                return Err("a variable's name has no `=`");
            }
            objects.env.add(&name, clause)
        }
        Form::Send(to) => {
            check_name(&to, PRINCIPAL_BYTES)?;
            objects.send.add(&to, clause)
        }
        Form::Clock => Ok(objects.clock.add(clause)),
        Form::Random => Ok(objects.random.add(clause)),
        Form::System(aspect) => objects.system.add(aspect.name(), clause),
        Form::Net(form) => objects.net.insert(form, clause),
        Form::Fs { .. } | Form::Exec { .. } | Form::Descriptors(_) | Form::Role(_) => Err("it is no object"),
    }
}

impl FsTerms {
    /// Takes on what others say too: of both, all holds.
    fn tighten(&mut self, other: Self) {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        self.denied.extend(other.denied);
        self.quota_bytes = least(self.quota_bytes, other.quota_bytes);
        self.quota_files = least(self.quota_files, other.quota_files);
        self.max_file_bytes = least(self.max_file_bytes, other.max_file_bytes);
        self.hard_links = std::cmp::max_by_key(self.hard_links, other.hard_links, |links| links.strictness());
    }
}
