//! Random policies and requests, decided by the door's table and by Cedar from the same rules in its words.
//!
//! What rates have left is state, which Cedar has none of: the door counts, and says what is spent (`Policy::spent`). In the
//! modes that let denials pass, the answers are the same, and are the strict ones. Limits of what is used (descriptors,
//! connections) are no question of yes and no, and neither printed nor drawn; nor are the terms of directories and programs,
//! which hold for what is found.

use std::{net::IpAddr, time::Duration};

use airssys_osl::{
    Action, Verdict,
    clock::Timestamp,
    net::address::{Class, embedded},
    policy::{Cedar, Endpoint, Mode, Moment, Protocol, Request, Resource, Rights},
    testing::spend,
};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet,
    RestrictedExpression, Schema, ValidationMode, Validator,
};

use crate::{
    figures::Failure,
    random::{Ask, Random, When, path},
};

/// Requests to each policy: reading one takes Cedar as long as some hundred answers.
const ASKS: u64 = 250;
/// So many policies are checked against their schema; the others differ in nothing that it would see.
const VALIDATED: u64 = 300;
const DAY: i64 = 86_400;
/// The offsets of all windows that are drawn, in minutes.
const OFFSETS: [i64; 4] = [0, 60, -210, 840];

/// Compares so many answers.
pub(crate) fn run(pairs: u64, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    let (mut done, mut policies, mut allowed, mut spent) = (0, 0, 0, 0);
    while done < pairs {
        let (policy, told) = random.policy();
        // Some say a thing twice, and some forbid what cannot be held to: they are refused.
        let Ok(policy) = policy else { continue };
        policies += 1;
        let theirs = Theirs::new(&policy.to_cedar(), policies <= VALIDATED)
            .map_err(|error| format!("{error}\n{told}"))?;
        let mut monotonic = Duration::ZERO;
        for _ in 0..ASKS {
            let (principal, ask, when) = (random.principal(), random.ask(), random.moment(monotonic));
            monotonic = when.monotonic;
            let (request, moment) = (ours(&principal, &ask), moment(when));
            let left: Vec<String> = policy.spent(&principal, moment).map(str::to_owned).collect();
            let decision = policy.decide_at(&request, moment);
            let (answer, rule) = (decision.verdict == Verdict::Allow, decision.rule);
            let expected = theirs.decide(&principal, &ask, when, &left)?;
            // Where a mode lifts denials, one that none lifts is named first; who learns is told what was needed.
            let by_rule = match policy.mode() {
                Mode::Enforce => true,
                Mode::AuditOnly => decision.permits(),
                _ => false,
            };
            let explained = !by_rule || expected.explains(answer, rule);
            if answer != expected.allowed || !explained {
                let Cedar { policies, .. } = policy.to_cedar();
                return Err(format!(
                    "seed {seed}: {principal} asks {ask:?} at {when:?}: ours {answer} by {rule}, Cedar {} by {:?}\n\
                    spent: {left:?}\n{told}\n{policies}",
                    expected.allowed, expected.rules
                )
                .into());
            }
            done += 1;
            allowed += u64::from(answer);
            spent += u64::from(!left.is_empty());
            if random.uses() && spend(&policy, &request, moment) != decision.permits() {
                return Err(
                    format!("seed {seed}: {principal} asks {ask:?} at {when:?}, and cannot\n{told}").into()
                );
            }
        }
    }
    println!(
        "{done} answers to {policies} policies are those of Cedar, {allowed} of them yes, {spent} where rates were spent \
        (seed {seed})"
    );
    Ok(())
}

fn moment(when: When) -> Moment {
    let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
    Moment::new(at(when.now), when.monotonic).set_back_from(at(when.latest))
}

fn ours<'a>(principal: &'a str, ask: &'a Ask) -> Request<'a> {
    let (action, resource) = match ask {
        Ask::Directory(root, needs) => {
            (Action::FsRead, Resource::Beneath { root: path(root), needs: *needs })
        }
        Ask::Root(root) => (Action::FsOpenRoot, Resource::Root(path(root))),
        Ask::Name(action, name) => (*action, Resource::Name(name)),
        Ask::Peer { action, protocol, host, address, port } => {
            let endpoint = Endpoint { protocol: *protocol, host: *host, address: *address, port: *port };
            (*action, Resource::Endpoint(endpoint))
        }
        Ask::Host(host) => (Action::NetResolve, Resource::Host(host)),
        Ask::Unix(action, root) => (*action, Resource::Unix(path(root))),
        Ask::Abstract(action, name) => (*action, Resource::AbstractUnix(name)),
        Ask::Program(action, program) => (*action, Resource::Program(path(program))),
        Ask::Trust("web") => (Action::NetTrust, Resource::Name("web")),
        Ask::Trust(root) => (Action::NetTrust, Resource::Root(path(root))),
    };
    Request { principal, action, resource }
}

/// A policy as Cedar has read it.
struct Theirs {
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
}

/// What Cedar answers, to all that one question of ours is.
struct Answer {
    allowed: bool,
    /// The rules that decided, where it was one question.
    rules: Option<Vec<String>>,
}

impl Answer {
    /// Whether our rule is among those that decided there. Where nothing is granted, ours does not look at what is
    /// forbidden beside that.
    fn explains(&self, allowed: bool, rule: &str) -> bool {
        match &self.rules {
            _ if rule == "default-deny" => !allowed,
            Some(rules) if allowed || !rules.is_empty() => rules.iter().any(|known| known == rule),
            _ => true,
        }
    }
}

impl Theirs {
    fn new(cedar: &Cedar, validate: bool) -> Result<Self, Failure> {
        let policies: PolicySet = cedar.policies.parse()?;
        if validate {
            let (schema, _) = Schema::from_cedarschema_str(&cedar.schema)?;
            let result = Validator::new(schema).validate(&policies, ValidationMode::Strict);
            if let Some(error) = result.validation_errors().next() {
                return Err(format!(
                    "the schema does not fit: {error}\n{}\n{}",
                    cedar.policies, cedar.schema
                )
                .into());
            }
        }
        let entities = Entities::from_json_str(&cedar.entities, None)?;
        Ok(Self { policies, entities, authorizer: Authorizer::new() })
    }

    fn decide(&self, principal: &str, ask: &Ask, when: When, spent: &[String]) -> Result<Answer, Failure> {
        let questions = questions(ask, &circumstances(when, spent)?)?;
        let single = questions.len() == 1;
        let any = matches!(ask, Ask::Host(_));
        let (mut allowed, mut rules) = (!any, Vec::new());
        for (action, kind, name, context) in questions {
            let request = cedar_policy::Request::new(
                uid("Principal", principal)?,
                uid("Action", action)?,
                uid(kind, &name)?,
                Context::from_pairs(context)?,
                None,
            )?;
            let response = self.authorizer.is_authorized(&request, &self.policies, &self.entities);
            if let Some(error) = response.diagnostics().errors().next() {
                return Err(format!("Cedar fails: {error}").into());
            }
            let one = response.decision() == Decision::Allow;
            allowed = if any { allowed || one } else { allowed && one };
            rules.extend(
                response
                    .diagnostics()
                    .reason()
                    .filter_map(|id| self.policies.policy(id)?.annotation("rule").map(str::to_owned)),
            );
        }
        Ok(Answer { allowed, rules: single.then_some(rules) })
    }
}

type Pairs = Vec<(String, RestrictedExpression)>;

/// What Cedar is asked for one question of ours: all of it must be permitted, and any of it for a lookup.
fn questions(
    ask: &Ask,
    circumstances: &Pairs,
) -> Result<Vec<(&'static str, &'static str, String, Pairs)>, Failure> {
    let context = |more: Pairs| -> Result<Pairs, Failure> { Ok([circumstances.clone(), more].concat()) };
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    Ok(match ask {
        Ask::Directory(root, needs) if needs.is_empty() => {
            vec![("fs.use", "Directory", (*root).to_owned(), context(Vec::new())?)]
        }
        Ask::Directory(root, needs) => {
            let names = [
                (Rights::READ, "fs.read"),
                (Rights::LIST, "fs.list"),
                (Rights::WRITE, "fs.write"),
                (Rights::CREATE, "fs.create"),
                (Rights::DELETE, "fs.delete"),
            ];
            let needed = names.into_iter().filter(|(right, _)| needs.contains(*right));
            let question = |(_, name)| Ok((name, "Directory", (*root).to_owned(), context(Vec::new())?));
            needed.map(question).collect::<Result<_, Failure>>()?
        }
        Ask::Root(root) => vec![("fs.use", "Directory", (*root).to_owned(), context(Vec::new())?)],
        Ask::Name(action, name) => {
            let named = vec![("name".to_owned(), text(name))];
            vec![match action {
                Action::EnvRead => ("env.read", "Variable", (*name).to_owned(), context(named)?),
                Action::ActorSend => ("actor.send", "Actor", (*name).to_owned(), context(named)?),
                Action::ActorPublish => ("actor.publish", "Topic", (*name).to_owned(), context(named)?),
                Action::ActorSubscribe => ("actor.subscribe", "Topic", (*name).to_owned(), context(named)?),
                Action::KeyvalueOpen => ("keyvalue.open", "Bucket", (*name).to_owned(), context(named)?),
                Action::KeyvalueRead => ("keyvalue.read", "Bucket", (*name).to_owned(), context(named)?),
                Action::KeyvalueWrite => ("keyvalue.write", "Bucket", (*name).to_owned(), context(named)?),
                Action::SystemRead => ("system.read", "Machine", (*name).to_owned(), context(Vec::new())?),
                Action::ClockRead => ("clock.read", "Machine", "clock".to_owned(), context(Vec::new())?),
                _ => ("random.read", "Machine", "random".to_owned(), context(Vec::new())?),
            }]
        }
        Ask::Peer { action, protocol, host, address, port } => {
            let inner = embedded(*address).into_iter().flatten().map(IpAddr::V4);
            let question = |address| {
                let peer = peer(*protocol, *host, address, *port);
                Ok((net(*action), "Network", "ip".to_owned(), context(peer)?))
            };
            std::iter::once(*address).chain(inner).map(question).collect::<Result<_, Failure>>()?
        }
        Ask::Host(host) => {
            let question = |by| {
                let pairs = vec![("host".to_owned(), text(host)), ("by".to_owned(), text(by))];
                Ok(("net.resolve", "Network", "ip".to_owned(), context(pairs)?))
            };
            ["tcp", "udp", "name"].into_iter().map(question).collect::<Result<_, Failure>>()?
        }
        Ask::Unix(action, root) => {
            vec![(net(*action), "Socket", (*root).to_owned(), context(nowhere())?)]
        }
        Ask::Abstract(action, name) => {
            vec![(net(*action), "Socket", format!("@{}", name.escape_ascii()), context(nowhere())?)]
        }
        Ask::Program(action, program) => {
            let action = match action {
                Action::ProcessOpen => "process.open",
                Action::ProcessSpawn => "process.spawn",
                _ => "process.signal",
            };
            vec![(action, "Program", (*program).to_owned(), context(Vec::new())?)]
        }
        Ask::Trust(what) => vec![("net.trust", "Certificates", (*what).to_owned(), context(Vec::new())?)],
    })
}

/// The peer of a question in which there is none.
fn nowhere() -> Pairs {
    peer(Protocol::Tcp, None, IpAddr::from([1, 1, 1, 1]), 1)
}

fn net(action: Action) -> &'static str {
    if action == Action::NetListen { "net.listen" } else { "net.connect" }
}

fn peer(protocol: Protocol, host: Option<&str>, address: IpAddr, port: u16) -> Pairs {
    let address_text = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    };
    let protocol = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
    let mut pairs = vec![
        ("protocol".to_owned(), RestrictedExpression::new_string(protocol.to_owned())),
        ("port".to_owned(), RestrictedExpression::new_long(port.into())),
        ("address".to_owned(), RestrictedExpression::new_ip(address_text)),
        ("global".to_owned(), RestrictedExpression::new_bool(Class::of(address) == Class::Global)),
    ];
    pairs.extend(host.map(|host| ("host".to_owned(), RestrictedExpression::new_string(host.to_owned()))));
    pairs
}

/// The moment, what the clocks of all zones show, and which rules have nothing left.
fn circumstances(When { now, latest, .. }: When, spent: &[String]) -> Result<Pairs, Failure> {
    let long = RestrictedExpression::new_long;
    let spent = spent.iter().map(|rule| RestrictedExpression::new_string(rule.clone()));
    let mut pairs = vec![
        ("now".to_owned(), long(now)),
        ("latest".to_owned(), long(latest)),
        ("spent".to_owned(), RestrictedExpression::new_set(spent)),
    ];
    for offset in OFFSETS {
        let local = now + offset * 60;
        let fields = [
            // The first of January 1970 was a Thursday: the third day after a Monday.
            ("day".to_owned(), long((local.div_euclid(DAY) + 3).rem_euclid(7))),
            ("minute".to_owned(), long(local.rem_euclid(DAY) / 60)),
        ];
        let name = format!("at_{}{}", if offset < 0 { 'm' } else { 'p' }, offset.abs());
        pairs.push((name, RestrictedExpression::new_record(fields)?));
    }
    Ok(pairs)
}

fn uid(kind: &str, name: &str) -> Result<EntityUid, Failure> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(name)))
}
