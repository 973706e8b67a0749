//! Why something is permitted or not, and what would permit it.

use std::{collections::BTreeSet, fmt};

use super::{
    Endpoint, Grant, Grants, Moment, Policy, Request, Resource, Rights, always,
    builder::{EVERYONE, List},
    grant::Form,
    learn::Touch,
    need::{Needs, homeless},
    net, rule,
};
use crate::{Action, Verdict, audit::Outcome, sys::errno};

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
    /// permit it. A comment says what is to be changed instead, where adding is not enough; of what was permitted, which
    /// limit may have ended it.
    pub remedy: Option<Box<str>>,
}

impl Policy {
    /// Says why a request is decided as it is.
    pub fn explain(&self, request: &Request<'_>, now: Moment) -> Explanation {
        let decision = self.decide_at(request, now);
        let mut needs = Needs::default();
        self.need_of(request, &mut needs);
        let touch = Touch {
            principal: request.principal,
            action: request.action,
            resource: &[],
            verdict: decision.verdict,
            rule: decision.rule,
            outcome: Outcome::Pending,
        };
        self.explanation(touch, &needs, |grant, forbids| why_not(grant, forbids, request, now))
    }

    /// Says why a recorded operation was decided as it was. The rule and the verdict are those of the record; the other
    /// rules are those of this policy.
    pub fn explain_record<'a>(&self, record: impl Into<Touch<'a>>) -> Explanation {
        let touch = record.into();
        let mut needs = Needs::default();
        let mut roots: BTreeSet<_> = self
            .grants(touch.principal)
            .map(|grants| grants.fs.values().map(|rooted| rooted.grant.root.to_path_buf()).collect())
            .unwrap_or_default();
        roots.extend(homeless(touch.action, touch.resource, &roots));
        // Who comes is let in by what permits to listen.
        let action = if touch.action == Action::NetAccept { Action::NetListen } else { touch.action };
        needs.add(action, touch.resource, touch.rule, &roots);
        self.explanation(touch, &needs, |grant, _| {
            is_about(touch.action, &grant.form).then(|| "it did not decide".into())
        })
    }

    fn explanation(
        &self,
        touch: Touch<'_>,
        needs: &Needs,
        why: impl Fn(&Grant, bool) -> Option<Box<str>>,
    ) -> Explanation {
        let Touch { principal, action, verdict, rule, .. } = touch;
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
            Verdict::Allow => {
                limit_of(action, touch.outcome).map(|limit| format!("# permitted, but {limit}\n").into())
            }
            _ if rule == rule::WIDER_DESTINATION => {
                let terms = "# its terms must be no stricter there than where it is moved to\n";
                Some([&*self.remedy(touch, forbidden, needs), terms].concat().into())
            }
            _ if always::RULES.contains(&rule) => {
                instead_of_a_grant(rule).map(|instead| format!("# {instead}\n").into())
            }
            _ => Some(self.remedy(touch, forbidden, needs)),
        };
        Explanation { verdict, rule: rule.into(), others, remedy }
    }

    fn remedy(&self, touch: Touch<'_>, forbidden: bool, needs: &Needs) -> Box<str> {
        let Touch { principal, action, rule, .. } = touch;
        if forbidden {
            return format!("# `{rule}` forbids it: no grant permits it while that stands\n").into();
        }
        for condition in [rule::EXPIRED, rule::OUTSIDE_HOURS, rule::OVER_RATE] {
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
        let lines = needs.toml(&|_| None);
        if !lines.is_empty() {
            return lines.into();
        }
        let whose = match action {
            Action::NetTls => {
                "what `trust` named then is not trusted now: its record of `net.trust` says what that was"
            }
            Action::ProcessSpawn | Action::ProcessSignal => {
                "no grant is for this: a program is started and signalled as a `[process.NAME]` of its own"
            }
            _ => "no grant names this: it belongs to the program, or to what was granted and is not any more",
        };
        format!("# {whose}\n").into()
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
            Resource::Root(root) if request.action == Action::NetTrust => drop(needs.add_trust(root)),
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

/// What helps against a rule that no grant lifts: a key of the grant that there is, or another way. `None` where nothing does.
fn instead_of_a_grant(rule: &str) -> Option<&'static str> {
    Some(match rule {
        rule::CARVE_OUT => {
            "the `deny` of the directory's grant takes it out, or a `forbid` of something in it: no grant permits it while that stands"
        }
        rule::HARD_LINKED => {
            "the file has other names: `hard_links = \"shared\"` in the directory's grant permits it all the same; to read it, `\"read_only\"` is enough"
        }
        rule::MOUNT_POINT => "something else is mounted there: grant that place by an `fs` of its own",
        rule::PLAIN_FILES => {
            "it is no regular file: where `FsTerms::special_files` permits it, `Dir::open_special` opens FIFOs and character devices; components have no word for that"
        }
        rule::CHANGED_TERMS => {
            "its grant changed after it was opened: what opens it again, such as a restart, may use it"
        }
        rule::NARROWED_HANDLE => {
            "the grants permit it, the handle does not: it was opened for less, or narrowed"
        }
        rule::REVOKED => {
            "who held it has ended, or was withdrawn: whoever is started in its place opens it again"
        }
        rule::NO_SCRIPTS => "make the script's interpreter the `program`, and the script one of its `args`",
        rule::OTHER_PROGRAM => "the program is not what its `digest` says: change that, or the program",
        rule::OTHER_ARGUMENTS => {
            "the program is to be started with what its grant says: change that, or the start"
        }
        rule::COUNTED_FILE => {
            "it is in a directory with a `quota`, a `quota_files` or a `max_file`, or only to be appended to, which no program can be held to"
        }
        _ => return None,
    })
}

/// The limit that ended what was permitted, where one of the door's own may have.
fn limit_of(action: Action, outcome: Outcome) -> Option<&'static str> {
    let Outcome::Failed(number) = outcome else { return None };
    let is_file = action.name().starts_with("fs.");
    match number {
        errno::QUOTA if is_file => {
            Some("the directory is full: raise `quota` or `quota_files` in its grant, where it has them")
        }
        errno::TOO_LARGE if is_file => Some(
            "the file is too large: raise `max_file` in the grant, where it has it, or what is asked for",
        ),
        errno::TOO_MANY_OPEN => {
            Some("too much is open: close something, or raise what its principal may have open (`limits`)")
        }
        _ => None,
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
        (false, _) if decision.rule == rule::DEFAULT_DENY => "it names something else".into(),
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
            Some(remedy) if self.verdict == Verdict::Allow => write!(f, "what ended it:\n{remedy}"),
            Some(remedy) => write!(f, "what would permit it:\n{remedy}"),
            None if self.verdict == Verdict::Allow => Ok(()),
            None => writeln!(f, "nothing permits it: it is always forbidden"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each action is recorded with.
    fn resource(action: Action) -> &'static [u8] {
        match action {
            Action::FsRename | Action::FsHardLink | Action::FsCopy => b"/d/to\0/d/from",
            Action::NetTrust => b"/d/ca.pem",
            Action::NetTls => b"tls://a.test:443\x00192.0.2.1:443",
            Action::NetResolve => b"a.test",
            Action::NetAccept => b"tcp://127.0.0.1:80\x00127.0.0.1:5000",
            _ if action.name().starts_with("fs.") => b"/d/file",
            _ if action.name().starts_with("net.") => b"tcp://192.0.2.1:443",
            _ if action.name().starts_with("process.") => b"/bin/sh",
            Action::EnvRead => b"*",
            Action::SystemRead => b"cpu",
            _ => b"name",
        }
    }

    #[test]
    fn every_denial_has_a_remedy_or_is_always_forbidden() {
        let forbidden =
            [rule::BENEATH_ROOT, rule::KERNEL_FILESYSTEM, rule::MALFORMED_HOST, rule::FOREIGN_HANDLE];
        let empty = Policy::builder().principal("p", []).build().unwrap();
        let granted = Policy::builder().principal("p", [Grant::fs("/d", Rights::LIST)]).build().unwrap();
        let more =
            [rule::DEFAULT_DENY, rule::METADATA, "r: lacks read", "r: expired", "learn: needs nothing"];
        for policy in [&empty, &granted] {
            for (action, rule) in Action::ALL
                .iter()
                .flat_map(|action| always::RULES.iter().chain(&more).map(move |rule| (*action, *rule)))
            {
                let resource = resource(action);
                let verdict = Verdict::Deny;
                let touch =
                    Touch { principal: "p", action, resource, verdict, rule, outcome: Outcome::Denied };
                let explanation = policy.explain_record(touch);
                match &explanation.remedy {
                    None => assert!(forbidden.contains(&rule), "{action} {rule}: no remedy"),
                    Some(remedy) => {
                        assert!(!forbidden.contains(&rule), "{action} {rule}: {remedy}");
                        assert!(remedy.len() > 10 && remedy.ends_with('\n'), "{action} {rule}: {remedy:?}");
                    }
                }
            }
        }
    }

    fn check(action: Action, resource: &[u8], rule: &str, expected: &str) {
        let policy = Policy::builder().principal("p", [Grant::fs("/d", Rights::LIST)]).build().unwrap();
        let verdict = Verdict::Deny;
        let touch = Touch { principal: "p", action, resource, verdict, rule, outcome: Outcome::Denied };
        let remedy = policy.explain_record(touch).remedy.unwrap();
        assert!(remedy.contains(expected), "{action} {rule}: {remedy}");
        assert!(!remedy.contains("path = \"/\""), "{action} {rule}: no manifest takes {remedy}");
    }

    #[test]
    fn remedies_name_what_is_to_be_changed() {
        check(Action::FsRead, b"/d/x", rule::CARVE_OUT, "`deny`");
        check(Action::FsWrite, b"/d/x", rule::HARD_LINKED, "hard_links = \"shared\"");
        check(Action::FsRead, b"/d/x", rule::MOUNT_POINT, "an `fs` of its own");
        check(Action::ProcessSpawn, b"/bin/sh", rule::DEFAULT_DENY, "[process.NAME]");
        check(Action::NetTls, b"tls://a.test:443", rule::DEFAULT_DENY, "`trust`");
        check(Action::NetTrust, b"web", rule::DEFAULT_DENY, "trust = [\"web\"]\n");
        check(Action::NetTrust, b"/d/ca.pem", rule::DEFAULT_DENY, "trust = [\"/d/ca.pem\"]\n");
        check(Action::EnvRead, b"*", rule::DEFAULT_DENY, "env = ");
        check(
            Action::NetAccept,
            b"tcp://127.0.0.1:80\x00127.0.0.1:5000",
            rule::DEFAULT_DENY,
            "listen = [\"tcp://127.0.0.1:80\"]\n",
        );
        // Of a directory that the policy does not have any more.
        check(
            Action::FsRead,
            b"/gone/x",
            rule::DEFAULT_DENY,
            "{ path = \"/gone\", guest = \"/gone\", rights = [\"read\"] }",
        );
        check(
            Action::FsList,
            b"/gone/x",
            rule::DEFAULT_DENY,
            "{ path = \"/gone/x\", guest = \"/gone/x\", rights = [\"list\"] }",
        );
        check(Action::FsRename, b"/d/x\0/gone/x", rule::WIDER_DESTINATION, "path = \"/gone\"");
        // No manifest grants all there is.
        for action in [Action::FsRead, Action::FsMetadata, Action::FsOpenRoot] {
            let resource = if action == Action::FsOpenRoot { &b"/"[..] } else { b"/x" };
            check(action, resource, rule::DEFAULT_DENY, "beneath \"/\": no manifest grants that");
        }
        check(Action::FsRead, b"/x", rule::DEFAULT_DENY, "# \"read\" beneath \"/\"");
        check(Action::NetTrust, b"/ca.pem", rule::DEFAULT_DENY, "# trust certificates beneath \"/\"\n");
        check(Action::FsList, b"/x", rule::DEFAULT_DENY, "{ path = \"/x\", guest");
    }

    #[test]
    fn what_a_limit_ended_says_which() {
        let explain = |action, outcome| {
            let (resource, verdict) = (&b"/d/x"[..], Verdict::Allow);
            let touch = Touch { principal: "p", action, resource, verdict, rule: "r", outcome };
            Policy::builder().principal("p", []).build().unwrap().explain_record(touch).remedy
        };
        let full = explain(Action::FsWrite, Outcome::Failed(errno::QUOTA));
        assert!(full.is_some_and(|limit| limit.contains("`quota`")));
        assert!(explain(Action::FsWrite, Outcome::Failed(errno::TOO_LARGE)).unwrap().contains("`max_file`"));
        assert!(explain(Action::NetConnect, Outcome::Failed(errno::TOO_MANY_OPEN)).is_some());
        assert_eq!(explain(Action::FsWrite, Outcome::Success), None);
        assert_eq!(explain(Action::FsWrite, Outcome::Failed(errno::NOT_FOUND)), None);
    }
}
