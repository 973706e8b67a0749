//! From the lists that hold for one principal to its tables: roles are gone into, prohibitions find what they forbid.

use std::{
    cell::LazyCell,
    collections::{HashMap, HashSet, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    FsGrant, FsTerms, Grant, Grants, Mode, Rights,
    builder::{Index, List},
    check_name, check_root,
    clause::{Clause, Collect as _},
    directory::{Location, Part, Rooted},
    grant::Form,
    invalid, net,
    table::Objects,
    when::When,
};
use crate::{
    Error, ErrorKind,
    limits::{
        GRANT_RULE_BYTES, GRANTS_PER_PRINCIPAL, PRINCIPAL_BYTES, ROLE_DEPTH, ROLES_PER_PRINCIPAL,
        TOPIC_BYTES, VARIABLE_BYTES,
    },
};

/// The tables of one principal, in the making.
pub(super) struct Draft<'a> {
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
    pub(super) rules: usize,
    pub(super) rates: Vec<(Box<str>, Box<str>, Arc<When>)>,
    /// The conditions of each grant, by its list and its place there: however a role comes, its rate is one.
    whens: HashMap<(usize, usize), Arc<When>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(principal: &'a str, lists: &'a [List], index: &'a Index) -> Self {
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
            whens: HashMap::new(),
        }
    }

    /// Adds what one list says, under conditions that hold for all of its permissions.
    pub(super) fn visit(&mut self, number: usize, whens: &[Arc<When>], depth: usize) -> Result<(), Error> {
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
                let rule = list.rule_name(grant, place, true);
                let whens = self.whens((number, list.permits.len() + place), &rule, grant, &[])?;
                self.add(number, rule, grant, &whens, true)?;
            }
        }
        // A list's own rules come before those of its roles.
        for (place, grant) in list.permits.iter().enumerate() {
            if !matches!(grant.form, Form::Role(_)) {
                let rule = list.rule_name(grant, place, false);
                let whens = self.whens((number, place), &rule, grant, whens)?;
                self.add(number, rule, grant, &whens, false)?;
            }
        }
        for (place, grant) in list.permits.iter().enumerate() {
            let Form::Role(name) = &grant.form else { continue };
            let rule = list.rule_name(grant, place, false);
            let whens = self.whens((number, place), &rule, grant, whens)?;
            if let Some(role) = self.index.get(name) {
                self.visit(*role, &whens, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The conditions of the grant at a place, behind those that it comes under.
    fn whens(
        &mut self,
        place: (usize, usize),
        rule: &str,
        grant: &Grant,
        whens: &[Arc<When>],
    ) -> Result<Vec<Arc<When>>, Error> {
        let mut whens = whens.to_vec();
        if grant.conditions.is_empty() {
            return Ok(whens);
        }
        if let Some(known) = self.whens.get(&place) {
            whens.push(Arc::clone(known));
            return Ok(whens);
        }
        let when = grant.conditions.compile();
        let when = Arc::new(when.map_err(|problem| self.problem(rule, problem))?);
        if when.rate.is_some() {
            self.rates.push((self.principal.into(), rule.into(), Arc::clone(&when)));
        }
        self.grants.timed = true;
        self.whens.insert(place, Arc::clone(&when));
        whens.push(when);
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
        // Fewer lists than a policy has rules.
        let clause = Clause::new(&rule, owner as u32, whens);
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
                let other_rate = |known: &Part| known.clause.has_other_rate(&part.clause);
                if parts.iter().any(other_rate) {
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

    pub(super) fn finish(mut self, mode: Mode) -> Result<Grants, Error> {
        for (root, (terms, parts)) in std::mem::take(&mut self.fs) {
            let grant = Arc::new(self.directory(root.clone(), terms, parts, mode)?);
            self.grants.fs.entry(&root).insert_entry(Rooted::new(grant));
        }
        self.grants.fs.fix();
        let fixed = self.grants.permits.fix().and_then(|()| self.forbids.fix());
        fixed.map_err(|rule| self.problem(&rule, "the same is granted twice"))?;
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
        Form::Publish(topic) => objects.publish.add(&topic_names(&topic)?, clause),
        Form::Subscribe(topic) => objects.subscribe.add(&topic_names(&topic)?, clause),
        Form::Clock => Ok(objects.clock.add(clause)),
        Form::Random => Ok(objects.random.add(clause)),
        Form::System(aspect) => objects.system.add(aspect.name(), clause),
        Form::Net(form) => objects.net.insert(form, clause),
        Form::Keyvalue { bucket, rights } => add_bucket(objects, &bucket, rights, clause),
        Form::Fs { .. } | Form::Exec { .. } | Form::Descriptors(_) | Form::Role(_) => Err("it is no object"),
    }
}

/// What a topic of a grant is among names: a subject itself, and all below one as what they begin with.
pub(super) fn topic_names(topic: &str) -> Result<String, &'static str> {
    check_name(topic, TOPIC_BYTES)?;
    let (above, mark) = match topic.strip_suffix('>') {
        Some(above) => (above, "*"),
        None => (topic, ""),
    };
    let is_whole = mark.is_empty() || above.is_empty() || above.ends_with('.');
    if !is_whole || above.contains(['*', '>']) {
        return Err("a topic is one subject, or all below one: `orders.>`");
    }
    Ok(format!("{above}{mark}"))
}

/// Adds a rule about a bucket to each list that it is for: both share its rate.
fn add_bucket(
    objects: &mut Objects,
    bucket: &str,
    rights: Rights,
    clause: Clause,
) -> Result<bool, &'static str> {
    check_name(bucket, PRINCIPAL_BYTES)?;
    if rights.is_empty() || !(Rights::READ | Rights::WRITE).contains(rights) {
        return Err("a bucket has the rights `read` and `write`");
    }
    let mut twice = false;
    for (right, names) in
        [(Rights::READ, &mut objects.bucket_reads), (Rights::WRITE, &mut objects.bucket_writes)]
    {
        if rights.contains(right) {
            twice |= names.add(bucket, clause.clone())?;
        }
    }
    Ok(twice)
}

impl FsTerms {
    /// Takes on what others say too: of both, all holds.
    fn tighten(&mut self, other: Self) {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        self.denied.extend(other.denied);
        self.quota_bytes = least(self.quota_bytes, other.quota_bytes);
        self.quota_files = least(self.quota_files, other.quota_files);
        self.max_file_bytes = least(self.max_file_bytes, other.max_file_bytes);
        self.special &= other.special;
        self.hard_links = std::cmp::max_by_key(self.hard_links, other.hard_links, |links| links.strictness());
    }
}
