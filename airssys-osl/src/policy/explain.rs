//! Why something is permitted or not, and what would permit it.

use std::{collections::BTreeSet, fmt};

use super::{
    Endpoint, Grant, Grants, Moment, Policy, Request, Resource, Rights, always,
    builder::{EVERYONE, List},
    grant::Form,
    learn::Touch,
    need::Needs,
    net,
};
use crate::{Action, Verdict};

/// The reasons of one decision.
///
/// `Display` writes them as lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is decided.
    pub verdict: Verdict,
    /// The rule that decides.
    pub rule: Box<str>,
    /// The other rules of the kind that hold for the principal, and why each did not decide.
    pub others: Vec<(Box<str>, Box<str>)>,
    /// The least that is to be added to the grants of the principal, as lines of a manifest, where something would
    /// permit it. A comment says what is to be changed instead, where adding is not enough.
    pub remedy: Option<Box<str>>,
}

impl Policy {
    /// Says why a request is decided as it is.
    pub fn explain(&self, request: &Request<'_>, now: Moment) -> Explanation {
        let decision = self.decide_at(request, now);
        let mut needs = Needs::default();
        self.need_of(request, &mut needs);
        self.explanation(request.principal, decision.verdict, decision.rule, &needs, |grant, forbids| {
            why_not(grant, forbids, request, now)
        })
    }

    /// Says why a recorded operation was decided as it was. The rule and the verdict are those of the record; the other
    /// rules are those of this policy.
    pub fn explain_record<'a>(&self, record: impl Into<Touch<'a>>) -> Explanation {
        let touch = record.into();
        let mut needs = Needs::default();
        let roots: BTreeSet<_> = self
            .grants(touch.principal)
            .map(|grants| grants.fs.values().map(|rooted| rooted.grant.root.to_path_buf()).collect())
            .unwrap_or_default();
        needs.add(touch.action, touch.resource, touch.rule, &roots);
        self.explanation(touch.principal, touch.verdict, touch.rule, &needs, |grant, _| {
            is_about(touch.action, &grant.form).then(|| "it did not decide".into())
        })
    }

    fn explanation(
        &self,
        principal: &str,
        verdict: Verdict,
        rule: &str,
        needs: &Needs,
        why: impl Fn(&Grant, bool) -> Option<Box<str>>,
    ) -> Explanation {
        let mut others = Vec::new();
        let mut forbidden = false;
        for list in self.lists_of(principal) {
            let permits = list.permits.iter().enumerate().map(|(place, grant)| (place, grant, false));
            let forbids = list.forbids.iter().enumerate().map(|(place, grant)| (place, grant, true));
            for (place, grant, forbids) in permits.chain(forbids) {
                let name = list.rule_name(grant, place, forbids);
                forbidden |= forbids && *name == *rule;
                if let Some(why) = why(grant, forbids).filter(|_| *name != *rule) {
                    others.push((name, why));
                }
            }
        }
        let remedy = match verdict {
            Verdict::Allow => None,
            _ if always::RULES.contains(&rule) => None,
            _ => Some(self.remedy(principal, rule, forbidden, needs)),
        };
        Explanation { verdict, rule: rule.into(), others, remedy }
    }

    fn remedy(&self, principal: &str, rule: &str, forbidden: bool, needs: &Needs) -> Box<str> {
        if forbidden {
            return format!("# `{rule}` forbids it: no grant permits it while that stands\n").into();
        }
        for condition in [super::rule::EXPIRED, super::rule::OUTSIDE_HOURS, super::rule::OVER_RATE] {
            if let Some(name) = rule.strip_suffix(condition) {
                return format!("# `{name}` permits it, but not now: change its conditions\n").into();
            }
        }
        let mut needs = needs.clone();
        // Of a directory that is granted, the line is the one that is there, with what it lacks.
        if let Some(grants) = self.grants(principal) {
            for (root, rights) in &mut needs.fs {
                *rights |= grants.find_rights(root);
            }
        }
        needs.settle();
        needs.toml(&|_| None).into()
    }

    /// The lists that hold for a principal: what everyone is forbidden, its own, its roles'.
    fn lists_of(&self, principal: &str) -> Vec<&List> {
        let find = |name: &str| self.lists.iter().find(|list| &*list.name == name);
        let mut lists: Vec<&List> = find(EVERYONE).into_iter().chain(find(principal)).collect();
        let mut next = 0;
        while let Some(list) = lists.get(next).copied() {
            next += 1;
            for role in list.roles().filter_map(find) {
                if !lists.iter().any(|known| known.name == role.name) {
                    lists.push(role);
                }
            }
        }
        lists
    }

    fn need_of(&self, request: &Request<'_>, needs: &mut Needs) {
        let listens = request.action == Action::NetListen;
        match request.resource {
            Resource::Root(root) => needs.add_rights(root, Rights::empty()),
            Resource::Beneath { root, needs: rights } => needs.add_rights(root, rights),
            Resource::Name(name) => needs.add(request.action, name.as_bytes(), "", &BTreeSet::new()),
            Resource::Endpoint(Endpoint { protocol, host, address, port }) => {
                needs.add_peer(listens, protocol, host.map(str::to_owned), Some(address), port);
            }
            Resource::Host(host) => needs.add_lookup(host),
            Resource::Unix(root) => needs.add_unix(listens, root),
            Resource::Program(program) => needs.add_program(program),
            Resource::AbstractUnix(name) => {
                needs.add(request.action, &[b"unix:@", name].concat(), "", &BTreeSet::new());
            }
        }
    }
}

impl Grants {
    fn find_rights(&self, root: &std::path::Path) -> Rights {
        self.fs.get(root).map_or(Rights::empty(), |rooted| rooted.grant.rights)
    }
}

/// Asks one rule alone; `None` where it is about something else altogether.
fn why_not(grant: &Grant, forbids: bool, request: &Request<'_>, now: Moment) -> Option<Box<str>> {
    if !is_about(request.action, &grant.form) {
        return None;
    }
    let alone = Policy::builder().principal(request.principal, [grant.clone().rule("it")]).build().ok()?;
    let decision = alone.decide_at(request, now);
    Some(match (decision.permits(), forbids) {
        (true, false) => "it would permit it as well".into(),
        (true, true) => "it forbids it as well".into(),
        (false, _) if decision.rule == super::rule::DEFAULT_DENY => "it names something else".into(),
        (false, _) => decision.rule.trim_start_matches("it: ").into(),
    })
}

/// Whether a rule is of the kind that can decide about an action.
fn is_about(action: Action, form: &Form) -> bool {
    match form {
        Form::Env(_) => action == Action::EnvRead,
        Form::Send(_) => action == Action::ActorSend,
        Form::Publish(_) => action == Action::ActorPublish,
        Form::Subscribe(_) => action == Action::ActorSubscribe,
        Form::Clock => action == Action::ClockRead,
        Form::Random => action == Action::RandomRead,
        Form::System(_) => action == Action::SystemRead,
        Form::Keyvalue { .. } => action.name().starts_with("keyvalue."),
        Form::Exec { .. } => action.name().starts_with("process."),
        Form::Fs { .. } => action.name().starts_with("fs."),
        Form::Net(net::Form::TrustWeb | net::Form::Trust(_)) => action == Action::NetTrust,
        Form::Net(net::Form::Resolve(_)) => action == Action::NetResolve,
        Form::Net(net::Form::Limits(_)) | Form::Descriptors(_) | Form::Role(_) => false,
        Form::Net(_) => {
            matches!(action, Action::NetConnect | Action::NetListen | Action::NetSend | Action::NetResolve)
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
            Verdict::WouldDeny => "would be denied",
        };
        writeln!(f, "{verdict} by {}", self.rule)?;
        for (rule, why) in &self.others {
            writeln!(f, "  {rule}: {why}")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "what would permit it:\n{remedy}"),
            None if self.verdict == Verdict::Allow => Ok(()),
            None => writeln!(f, "nothing permits it: it is always forbidden"),
        }
    }
}
