//! The same rules in the words of Cedar (<https://www.cedarpolicy.com>), for those who review or check them there.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::IpAddr,
    path::{Component, Path, PathBuf},
};

use super::{
    Direction, Grant, Policy, Ports, Protocol, Rights,
    builder::{EVERYONE, List},
    draft::topic_names,
    grant::Form,
    need::quoted,
    net::{self, Peer},
    when::{Conditions, Window},
};
use crate::net::{Cidr, address::blocks};

/// A policy as Cedar has it: made by [`Policy::to_cedar`].
///
/// | ours | Cedar's |
/// |---|---|
/// | a principal; a role | `Principal`; `Role` where it permits, `Held` where it forbids: conditions of a role do not end its prohibitions |
/// | a right beneath a directory | one request for each right, such as `Action::"fs.write"` on `Directory::"/srv"`; opening it is `fs.use` |
/// | an address, and each that is embedded in it | one request each, `Action::"net.connect"` on `Network::"ip"` |
/// | a lookup | three requests, of which one has to be permitted: `context.by` is `tcp` or `udp`, for whoever may connect, and `name` |
/// | the moment | `context.now` and `context.latest`, seconds since 1970; `context.at_p60` has the `day` (Monday is 0) and `minute` at one hour east of UTC |
/// | a rate | `context.spent` has the names of the rules that have nothing left: [`Policy::spent`] |
///
/// What our door permits is what Cedar permits in each of the requests. Directories are compared as they are spelled, which
/// for a prohibition is less than our door does. Carve-outs, quotas and the kernel's rules are not
/// in it: they hold for what is found, not for what is asked. Nor is the [`Mode`](super::Mode): Cedar's answer is the strict one.
/// Each policy has the name of its rule as `@rule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cedar {
    /// The policies.
    pub policies: String,
    /// Principals, roles and directories, as JSON.
    pub entities: String,
    /// The schema, in Cedar's own syntax.
    pub schema: String,
}

impl Policy {
    /// Prints the policy as Cedar.
    pub fn to_cedar(&self) -> Cedar {
        let mut printer = Printer { policy: self, policies: String::new(), offsets: BTreeSet::new() };
        for list in &self.lists {
            printer.permits(list, &subject(list, "Role"), &mut Vec::new(), 0);
            let held = subject(list, "Held");
            for (place, grant) in list.forbids.iter().enumerate() {
                let rule = list.rule_name(grant, place, true);
                let clause = Clause { effect: "forbid", subject: &held, rule: &rule };
                let when = printer.conditions(&grant.conditions, &rule, true);
                printer.forbid(&clause, grant, &when);
            }
        }
        let Printer { policies, offsets, .. } = printer;
        Cedar { policies, entities: self.entities(), schema: schema(&offsets) }
    }

    fn entities(&self) -> String {
        let mut entities = Vec::new();
        let mut directories = BTreeSet::new();
        let uid = |kind: &str, name: &str| format!("{{\"type\":\"{kind}\",\"id\":{}}}", quoted(name));
        for list in &self.lists {
            let roles = |kind: &str, conditional: bool| {
                let grants = list.permits.iter().filter(|grant| conditional || grant.conditions.is_empty());
                let roles = grants.filter_map(|grant| match &grant.form {
                    Form::Role(name) => Some(uid(kind, name)),
                    _ => None,
                });
                roles.collect::<Vec<_>>()
            };
            let mut entity = |uid: String, parents: Vec<String>| {
                entities
                    .push(format!("{{\"uid\":{uid},\"attrs\":{{}},\"parents\":[{}]}}", parents.join(",")));
            };
            if list.is_role {
                entity(uid("Role", &list.name), roles("Role", false));
                entity(uid("Held", &list.name), roles("Held", true));
            } else {
                entity(uid("Principal", &list.name), [roles("Role", false), roles("Held", true)].concat());
            }
            for grant in list.permits.iter().chain(&list.forbids) {
                if let Form::Fs { root, .. } = &grant.form {
                    directories.extend(plain(root).ancestors().map(Path::to_path_buf));
                }
            }
        }
        for directory in directories {
            let parent = directory.parent().map(|parent| uid("Directory", &parent.to_string_lossy()));
            let uid = uid("Directory", &directory.to_string_lossy());
            let parents = parent.unwrap_or_default();
            entities.push(format!("{{\"uid\":{uid},\"attrs\":{{}},\"parents\":[{parents}]}}"));
        }
        format!("[{}]", entities.join(",\n"))
    }
}

/// What has been printed.
struct Printer<'a> {
    policy: &'a Policy,
    policies: String,
    /// The offsets from UTC that windows have.
    offsets: BTreeSet<i16>,
}

/// The head of a policy.
struct Clause<'a> {
    effect: &'a str,
    subject: &'a str,
    rule: &'a str,
}

impl Printer<'_> {
    /// Prints what a list permits to `subject`, under the conditions that it comes by.
    fn permits(&mut self, list: &List, subject: &str, whens: &mut Vec<String>, depth: usize) {
        for (place, grant) in list.permits.iter().enumerate() {
            let rule = list.rule_name(grant, place, false);
            let condition = self.conditions(&grant.conditions, &rule, false);
            if let Form::Role(name) = &grant.form {
                // Where a role is had at all times, the hierarchy of entities says it; here nothing has come by then
                // that is not said.
                let role = self.policy.lists.iter().find(|role| role.is_role && role.name == *name);
                if let Some(role) = role.filter(|_| depth > 0 || !condition.is_empty()) {
                    whens.push(condition);
                    self.permits(role, subject, whens, depth + 1);
                    whens.pop();
                }
                continue;
            }
            let all: Vec<_> =
                whens.iter().chain([&condition]).filter(|when| !when.is_empty()).cloned().collect();
            self.permit(&Clause { effect: "permit", subject, rule: &rule }, grant, &all.join(" && "));
        }
    }

    fn permit(&mut self, clause: &Clause<'_>, grant: &Grant, when: &str) {
        match &grant.form {
            Form::Fs { root, rights, .. } => {
                let actions = actions(*rights, true);
                let root = entity("Directory", &plain(root).to_string_lossy());
                self.policy(clause, &actions, &format!("resource == {root}"), &[when]);
            }
            Form::Net(net::Form::Peer { direction, protocol, peer, ports }) => {
                let Ok(peer) = net::parse(peer) else { return };
                let fits = [fits(*protocol, *ports), reaches(&peer), when.to_owned()];
                let action = if *direction == Direction::Connect { "net.connect" } else { "net.listen" };
                self.policy(clause, &exactly(action), NETWORK, &fits.each_ref().map(String::as_str));
                if *direction == Direction::Connect && !matches!(peer, Peer::Block(_)) {
                    let whens = [&*by(*protocol), &named(&peer), when];
                    self.policy(clause, &exactly("net.resolve"), NETWORK, &whens);
                }
            }
            _ => self.object(clause, grant, when),
        }
    }

    fn forbid(&mut self, clause: &Clause<'_>, grant: &Grant, when: &str) {
        match &grant.form {
            Form::Fs { root, rights, .. } => {
                let actions = actions(*rights, rights.is_all());
                let root = entity("Directory", &plain(root).to_string_lossy());
                self.policy(clause, &actions, &format!("resource in {root}"), &[when]);
            }
            Form::Net(net::Form::Peer { direction, protocol, peer, ports }) => {
                let Ok(peer) = net::parse(peer) else { return };
                let fits = [fits(*protocol, *ports), named(&peer), when.to_owned()];
                let action = if *direction == Direction::Connect { "net.connect" } else { "net.listen" };
                self.policy(clause, &exactly(action), NETWORK, &fits.each_ref().map(String::as_str));
                if *direction == Direction::Connect && !matches!(peer, Peer::Block(_)) && *ports == Ports::ALL
                {
                    let whens = [&*by(*protocol), &named(&peer), when];
                    self.policy(clause, &exactly("net.resolve"), NETWORK, &whens);
                }
            }
            _ => self.object(clause, grant, when),
        }
    }

    /// Prints a rule about something with a name.
    fn object(&mut self, clause: &Clause<'_>, grant: &Grant, when: &str) {
        let name = |kind: &str, name: &str| match name.strip_suffix('*') {
            Some(prefix) => {
                (format!("resource is {kind}"), format!("context.name like \"{}*\"", like(prefix)))
            }
            None => (format!("resource == {}", entity(kind, name)), String::new()),
        };
        let machine = |what: &str| (format!("resource == {}", entity("Machine", what)), String::new());
        let socket = |direction: Direction, what: &str| {
            let action = if direction == Direction::Connect { "net.connect" } else { "net.listen" };
            (action, (format!("resource == {}", entity("Socket", what)), String::new()))
        };
        let trusted = |what: &str| (format!("resource == {}", entity("Certificates", what)), String::new());
        let (action, (resource, like)) = match &grant.form {
            Form::Env(variable) => ("env.read", name("Variable", variable)),
            Form::Send(to) => ("actor.send", name("Actor", to)),
            Form::Publish(topic) => ("actor.publish", name("Topic", &below(topic))),
            Form::Subscribe(topic) => ("actor.subscribe", name("Topic", &below(topic))),
            Form::Keyvalue { bucket, rights } => {
                let (resource, like) = name("Bucket", bucket);
                let actions = bucket_actions(*rights, clause.effect == "permit");
                return self.policy(clause, &actions, &resource, &[&like, when]);
            }
            Form::Clock => ("clock.read", machine("clock")),
            Form::Random => ("random.read", machine("random")),
            Form::System(aspect) => ("system.read", machine(aspect.name())),
            Form::Exec { program, .. } => {
                let program = entity("Program", &plain(program).to_string_lossy());
                return self.policy(clause, &any_of(PROCESS), &format!("resource == {program}"), &[when]);
            }
            Form::Net(net::Form::Resolve(host)) => match net::parse(host) {
                // What forbids it forbids it by whatever way.
                Ok(peer) if clause.effect == "permit" => (
                    "net.resolve",
                    (NETWORK.to_owned(), format!("context.by == \"name\" && {}", named(&peer))),
                ),
                Ok(peer) => ("net.resolve", (NETWORK.to_owned(), named(&peer))),
                Err(_) => return,
            },
            Form::Net(net::Form::Unix { direction, root }) => {
                socket(*direction, &plain(root).to_string_lossy())
            }
            Form::Net(net::Form::AbstractUnix { direction, name }) => {
                socket(*direction, &format!("@{}", name.escape_ascii()))
            }
            Form::Net(net::Form::TrustWeb) => ("net.trust", trusted("web")),
            Form::Net(net::Form::Trust(root)) => ("net.trust", trusted(&plain(root).to_string_lossy())),
            // Printed elsewhere, or no question of yes and no.
            Form::Fs { .. } | Form::Role(_) | Form::Descriptors(_) | Form::Net(_) => return,
        };
        self.policy(clause, &exactly(action), &resource, &[&like, when]);
    }

    fn policy(&mut self, clause: &Clause<'_>, action: &str, resource: &str, whens: &[&str]) {
        let Clause { effect, subject, rule } = clause;
        let whens: Vec<_> = whens.iter().filter(|when| !when.is_empty()).copied().collect();
        let when =
            if whens.is_empty() { String::new() } else { format!("\nwhen {{ {} }}", whens.join(" && ")) };
        // Writing into a text cannot fail.
        let _ = writeln!(
            self.policies,
            "@rule({})\n{effect}({subject}, {action}, {resource}){when};\n",
            literal(rule)
        );
    }

    fn conditions(&mut self, conditions: &Conditions, rule: &str, forbids: bool) -> String {
        let mut all = Vec::new();
        if let Some(end) = conditions.until {
            let end = end.seconds.saturating_add(i64::from(end.nanoseconds > 0));
            // A clock that is set back brings nothing back, and one that is set forward ends no prohibition for good.
            all.push(format!("context.{} < {end}", if forbids { "now" } else { "latest" }));
        }
        if !conditions.during.is_empty() {
            self.offsets.extend(conditions.during.iter().map(|window| window.offset));
            let windows: Vec<_> = conditions.during.iter().map(inside).collect();
            all.push(format!("({})", windows.join(" || ")));
        }
        if conditions.at_most.is_some() {
            all.push(format!("!context.spent.contains({})", literal(rule)));
        }
        all.join(" && ")
    }
}

const NETWORK: &str = "resource == Network::\"ip\"";

/// What a grant of a program permits with it.
const PROCESS: [&str; 3] = ["process.open", "process.spawn", "process.signal"];

fn subject(list: &List, kind: &str) -> String {
    match (&*list.name, list.is_role) {
        (EVERYONE, _) => "principal".to_owned(),
        (name, true) => format!("principal in {}", entity(kind, name)),
        (name, false) => format!("principal == {}", entity("Principal", name)),
    }
}

fn exactly(action: &str) -> String {
    format!("action == Action::\"{action}\"")
}

fn any_of<const N: usize>(actions: [&str; N]) -> String {
    format!("action in [{}]", actions.map(|action| format!("Action::\"{action}\"")).join(", "))
}

fn actions(rights: Rights, using: bool) -> String {
    let names = Rights::NAMES.iter().filter(|(_, right)| rights.contains(*right)).map(|(name, _)| *name);
    let names: Vec<_> =
        names.chain(using.then_some("use")).map(|name| format!("Action::\"fs.{name}\"")).collect();
    format!("action in [{}]", names.join(", "))
}

/// Whoever may read or write a bucket may open it; who is forbidden either may open it all the same.
fn bucket_actions(rights: Rights, opens: bool) -> String {
    let names = Rights::NAMES.iter().filter(|(_, right)| rights.contains(*right)).map(|(name, _)| *name);
    let names = names.chain(opens.then_some("open")).map(|name| format!("Action::\"keyvalue.{name}\""));
    format!("action in [{}]", names.collect::<Vec<_>>().join(", "))
}

/// By which permission a host is looked up.
fn by(protocol: Protocol) -> String {
    format!("context.by == \"{}\"", name_of(protocol))
}

fn name_of(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Tcp { "tcp" } else { "udp" }
}

fn fits(protocol: Protocol, ports: Ports) -> String {
    let protocol = name_of(protocol);
    let Ports { first, last } = ports;
    format!("context.protocol == \"{protocol}\" && context.port >= {first} && context.port <= {last}")
}

/// Whether the peer is meant, be it special or not.
fn named(peer: &Peer) -> String {
    match peer {
        Peer::Every => "true".to_owned(),
        Peer::Host(host) => format!("context has host && context.host == {}", literal(host)),
        Peer::Beneath(suffix) => format!("context has host && context.host like \"*.{}\"", like(suffix)),
        Peer::Block(block) => in_block(block),
    }
}

/// Whether the peer is meant, and may be reached by what names it.
fn reaches(peer: &Peer) -> String {
    let Peer::Block(block) = peer else { return format!("{} && context.global", named(peer)) };
    // What is special within the block is not named by it.
    let inner = blocks().filter(|(_, special)| block.covers(special) && *special != block);
    let inner: Vec<_> = inner.map(|(_, special)| in_block(special)).collect();
    match inner.is_empty() {
        true => in_block(block),
        false => format!("{} && !({})", in_block(block), inner.join(" || ")),
    }
}

fn in_block(block: &Cidr) -> String {
    let network = match block.network() {
        IpAddr::V4(network) => network.to_string(),
        // Without the short forms: some of them have IPv4 in them, which Cedar does not read.
        IpAddr::V6(network) => network.segments().map(|group| format!("{group:x}")).join(":"),
    };
    format!("context.address.isInRange(ip(\"{network}/{}\"))", block.prefix())
}

/// Whether a moment is in a window.
fn inside(window: &Window) -> String {
    let at = format!("context.{}", offset_name(window.offset));
    let days = |shift: usize| {
        let days = (0..7).filter(|day| window.days.bits() & (1 << day) != 0);
        let days: Vec<_> = days.map(|day: usize| ((day + shift) % 7).to_string()).collect();
        format!("[{}].contains({at}.day)", days.join(", "))
    };
    let Window { from, to, .. } = window;
    if from < to {
        format!("({} && {at}.minute >= {from} && {at}.minute < {to})", days(0))
    } else {
        format!("({} && {at}.minute >= {from} || {} && {at}.minute < {to})", days(0), days(1))
    }
}

fn offset_name(offset: i16) -> String {
    format!("at_{}{}", if offset < 0 { 'm' } else { 'p' }, offset.unsigned_abs())
}

/// A directory in the one spelling that equal paths share.
fn plain(root: &Path) -> PathBuf {
    root.components().filter(|part| *part != Component::CurDir).collect()
}

fn entity(kind: &str, name: &str) -> String {
    format!("{kind}::{}", literal(name))
}

fn literal(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// A text within a pattern.
fn like(text: &str) -> String {
    text.escape_default().to_string().replace('*', "\\*")
}

/// A topic of a grant as a pattern of names. What is no topic was refused when the policy was built.
fn below(topic: &str) -> String {
    topic_names(topic).unwrap_or_else(|_| topic.to_owned())
}

fn schema(offsets: &BTreeSet<i16>) -> String {
    let at = |offset: &i16| format!(", \"{}\": {{ day: Long, minute: Long }}", offset_name(*offset));
    let common =
        format!("now: Long, latest: Long, spent: Set<String>{}", offsets.iter().map(at).collect::<String>());
    let action = |names: &str, resources: &str, more: &str| {
        format!(
            "action {names} appliesTo {{ principal: [Principal], resource: [{resources}], context: {{ {common}{more} }} }};\n"
        )
    };
    let rights = Rights::NAMES.iter().map(|(name, _)| *name).chain(["use"]);
    let rights = rights.map(|name| format!("\"fs.{name}\"")).collect::<Vec<_>>().join(", ");
    let peer = ", protocol: String, port: Long, address: ipaddr, global: Bool, host?: String";
    [
        "entity Role in [Role];\nentity Held in [Held];\nentity Principal in [Role, Held];\n".to_owned(),
        "entity Directory in [Directory];\n".to_owned(),
        "entity Variable, Actor, Topic, Bucket, Machine, Network, Socket, Certificates, Program;\n"
            .to_owned(),
        action(&rights, "Directory", ""),
        action("\"env.read\"", "Variable", ", name: String"),
        action("\"actor.send\"", "Actor", ", name: String"),
        action("\"actor.publish\", \"actor.subscribe\"", "Topic", ", name: String"),
        action("\"keyvalue.open\", \"keyvalue.read\", \"keyvalue.write\"", "Bucket", ", name: String"),
        action("\"clock.read\", \"random.read\", \"system.read\"", "Machine", ""),
        action("\"net.connect\", \"net.listen\"", "Network, Socket", peer),
        action("\"net.resolve\"", "Network", ", by: String, host?: String"),
        action("\"net.trust\"", "Certificates", ""),
        action(&PROCESS.map(literal).join(", "), "Program", ""),
    ]
    .concat()
}
