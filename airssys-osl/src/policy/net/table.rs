//! What the network rules of one principal compile to, indexed by what is asked for.

use std::{net::IpAddr, path::PathBuf};

use super::{Direction, Endpoint, Form, Peer, Ports, Protocol, blocks::Blocks, parse};
use crate::{
    Action,
    limits::ABSTRACT_NAME_BYTES,
    net::{
        Limits,
        address::{embedded, special},
    },
    policy::{
        Decision, Resource, always, check_root,
        clause::{Clause, Clauses, Collect as _},
        hash::Table,
        names::put,
        when::Moment,
    },
};

/// Rules on the network: those of permissions, or those of prohibitions.
#[derive(Debug, Default)]
pub(in crate::policy) struct NetGrants {
    connect: Peers,
    listen: Peers,
    /// The hosts that are looked up, or not, whatever is ruled about connecting.
    resolve: Hosts<Option<Clauses>>,
    unix: [Table<PathBuf, Clauses>; 2],
    abstract_unix: [Table<Box<[u8]>, Clauses>; 2],
    trust_web: Option<Clauses>,
    trust: Table<PathBuf, Clauses>,
    pub(in crate::policy) limits: Limits,
    /// Which list the limits come from.
    limited: Option<u32>,
}

#[derive(Debug, Default)]
struct Peers {
    hosts: Hosts<Vec<Rule>>,
    blocks: Blocks<Vec<Rule>>,
}

/// Patterns of hosts and what they mean.
#[derive(Debug, Default)]
struct Hosts<T> {
    exact: Table<Box<str>, T>,
    /// By the suffix without `*.`.
    beneath: Table<Box<str>, T>,
    /// How many dots the suffixes have, as bits: others are not looked up.
    depths: u128,
    every: T,
}

#[derive(Debug)]
struct Rule {
    protocol: Protocol,
    ports: Ports,
    clause: Clause,
}

impl NetGrants {
    /// Adds a rule, and says whether the same list said so before.
    pub(in crate::policy) fn insert(&mut self, form: Form, clause: Clause) -> Result<bool, &'static str> {
        match form {
            Form::Peer { direction, protocol, peer, ports } => {
                if ports.first > ports.last {
                    return Err("its ports end before they begin");
                }
                if direction == Direction::Connect && ports.first == 0 {
                    return Err("nothing connects to port 0");
                }
                let rule = Rule { protocol, ports, clause };
                match direction {
                    Direction::Connect => Ok(self.connect.insert(parse(&peer)?, rule)),
                    Direction::Listen => match parse(&peer)? {
                        peer @ Peer::Block(_) => Ok(self.listen.insert(peer, rule)),
                        _ => Err("one listens on an address, not on a host"),
                    },
                }
            }
            Form::Resolve(host) => {
                let place = self.resolve.place(parse(&host)?).ok_or("an address needs no lookup")?;
                Ok(place.add(clause))
            }
            Form::Unix { direction, root } => {
                check_root(&root)?;
                let [connect, listen] = &mut self.unix;
                Ok(put(if direction == Direction::Connect { connect } else { listen }, root, clause))
            }
            Form::AbstractUnix { direction, name } => {
                if name.is_empty() || name.len() > ABSTRACT_NAME_BYTES {
                    return Err("the name is empty or too long");
                }
                let [connect, listen] = &mut self.abstract_unix;
                Ok(put(if direction == Direction::Connect { connect } else { listen }, name, clause))
            }
            Form::TrustWeb => Ok(self.trust_web.add(clause)),
            Form::Trust(root) => {
                check_root(&root)?;
                Ok(put(&mut self.trust, root, clause))
            }
            Form::Limits(limits) => {
                let twice = self.limited == Some(clause.owner);
                // The first says it: a principal's own before those of its roles.
                if self.limited.is_none() {
                    (self.limits, self.limited) = (limits, Some(clause.owner));
                }
                Ok(twice)
            }
        }
    }

    /// Makes everything that was added findable; says which block was ruled about twice by one list.
    pub(in crate::policy) fn sort(&mut self) -> Result<(), Box<str>> {
        let mut twice = None;
        for peers in [&mut self.connect, &mut self.listen] {
            peers.blocks.sort(|known, more| {
                for rule in more {
                    if known.iter().any(|other| other.repeats(&rule)) {
                        twice = Some(rule.clause.rule.clone());
                    }
                    known.push(rule);
                }
            });
        }
        twice.map_or(Ok(()), Err)
    }

    pub(in crate::policy) fn permit(
        &self,
        action: Action,
        resource: Resource<'_>,
        now: Moment,
    ) -> Decision<'_> {
        match (action, resource) {
            (Action::NetConnect | Action::NetSend, Resource::Endpoint(endpoint)) => {
                self.connect.permit(&endpoint, now)
            }
            (Action::NetListen, Resource::Endpoint(endpoint)) => self.listen.permit(&endpoint, now),
            _ => self.object(action, resource).map_or(Decision::DEFAULT, |clauses| clauses.permit(now)),
        }
    }

    pub(in crate::policy) fn forbid(
        &self,
        action: Action,
        resource: Resource<'_>,
        now: Moment,
    ) -> Option<&Clause> {
        match (action, resource) {
            (Action::NetConnect | Action::NetSend, Resource::Endpoint(endpoint)) => {
                self.connect.forbid(&endpoint, now)
            }
            (Action::NetListen, Resource::Endpoint(endpoint)) => self.listen.forbid(&endpoint, now),
            _ => self.object(action, resource)?.forbids(now),
        }
    }

    /// What is ruled about something that only its own name means.
    fn object(&self, action: Action, resource: Resource<'_>) -> Option<&Clauses> {
        let direction = match action {
            Action::NetConnect | Action::NetSend => 0,
            Action::NetListen => 1,
            Action::NetTrust => {
                return match resource {
                    Resource::Name("web") => self.trust_web.as_ref(),
                    Resource::Root(root) => self.trust.get(root),
                    _ => None,
                };
            }
            _ => return None,
        };
        match resource {
            Resource::Unix(root) => self.unix.get(direction)?.get(root),
            Resource::AbstractUnix(name) => self.abstract_unix.get(direction)?.get(name),
            _ => None,
        }
    }

    /// Whoever may connect to a host may look it up. What forbids to connect to it at all, by a protocol, takes that back
    /// for the protocol: the name would be told. What forbids the lookup takes all of it.
    pub(in crate::policy) fn decide_lookup<'a>(
        &'a self,
        forbids: Option<&'a Self>,
        host: &str,
        now: Moment,
    ) -> Decision<'a> {
        if let Some(clause) = forbids.and_then(|forbids| forbids.forbid_lookup(host, now)) {
            return Decision::deny(&clause.rule);
        }
        let mut unmet = None;
        let mut permitted = |decision: Decision<'a>| {
            if !decision.permits() {
                unmet.get_or_insert(decision);
            }
            decision.permits().then_some(decision)
        };
        let connect = |rule: &'a Rule| {
            let permit = rule.clause.permit(now);
            let forbid = forbids.and_then(|forbids| forbids.forbid_all(rule.protocol, host, now));
            match forbid.filter(|_| permit.permits()) {
                Some(clause) => Decision::deny(&clause.rule),
                None => permit,
            }
        };
        let connects = self
            .connect
            .hosts
            .find(Some(host), |rules| rules.iter().find_map(|rule| permitted(connect(rule))));
        let resolves = || self.resolve.find(Some(host), |clauses| permitted(clauses.as_ref()?.permit(now)));
        connects.or_else(resolves).or(unmet).unwrap_or(Decision::DEFAULT)
    }

    fn forbid_lookup(&self, host: &str, now: Moment) -> Option<&Clause> {
        self.resolve.find(Some(host), |clauses| clauses.as_ref()?.forbids(now))
    }

    /// What forbids to connect to a host by a protocol, at whatever port.
    fn forbid_all(&self, protocol: Protocol, host: &str, now: Moment) -> Option<&Clause> {
        let all =
            |rule: &&Rule| rule.protocol == protocol && rule.ports == Ports::ALL && rule.clause.forbids(now);
        self.connect.hosts.find(Some(host), |rules| rules.iter().find(all)).map(|rule| &rule.clause)
    }
}

impl Rule {
    fn fits(&self, endpoint: &Endpoint<'_>) -> bool {
        self.protocol == endpoint.protocol && self.ports.contains(endpoint.port)
    }

    fn repeats(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.ports == other.ports
            && self.clause.owner == other.clause.owner
            && !self.clause.is_timed()
            && !other.clause.is_timed()
    }
}

impl Peers {
    /// Adds a rule. Blocks are looked through for repetitions when they are sorted.
    fn insert(&mut self, peer: Peer, rule: Rule) -> bool {
        let rules = match peer {
            Peer::Block(block) => self.blocks.entry(block),
            name => match self.hosts.place(name) {
                Some(place) => place,
                None => return false,
            },
        };
        let twice = rules.iter().any(|known| known.repeats(&rule));
        rules.push(rule);
        twice
    }

    /// The address and all that is embedded in it must be permitted.
    fn permit(&self, endpoint: &Endpoint<'_>, now: Moment) -> Decision<'_> {
        let decision = self.permit_one(endpoint, endpoint.address, now);
        if !decision.permits() || endpoint.address.is_ipv4() {
            return decision;
        }
        let inner = embedded(endpoint.address).into_iter().flatten();
        inner
            .map(|address| self.permit_one(endpoint, address.into(), now))
            .find(|inner| !inner.permits())
            .unwrap_or(decision)
    }

    fn permit_one(&self, endpoint: &Endpoint<'_>, address: IpAddr, now: Moment) -> Decision<'_> {
        let special = special(address);
        let mut unmet = None;
        let mut permit = |rule| permit_by(rule, endpoint, now, &mut unmet);
        // A name reaches only what is global, and there it is the shorter way.
        if special.is_none()
            && let Some(permitted) =
                self.hosts.find(endpoint.host, |rules| rules.iter().find_map(&mut permit))
        {
            return permitted;
        }
        let mut wider = false;
        for (block, rules) in self.blocks.of(address) {
            if special.is_some_and(|(_, special)| !special.covers(block)) {
                wider |= rules.iter().any(|rule| rule.fits(endpoint));
            } else if let Some(permitted) = rules.iter().find_map(&mut permit) {
                return permitted;
            }
        }
        let by_name = || {
            self.hosts.find(endpoint.host, |rules| rules.iter().find(|rule| rule.fits(endpoint))).is_some()
        };
        if let Some(unmet) = unmet {
            return unmet;
        }
        if let Some(denied) = special.and_then(|(class, _)| always::unnamed(class)) {
            return denied;
        }
        match special {
            // Something would permit it, if it were global.
            Some((class, _)) if wider || by_name() => Decision::deny(class.rule()),
            _ => Decision::DEFAULT,
        }
    }

    /// A prohibition reaches whatever it names, by its name or its address, special or not.
    fn forbid(&self, endpoint: &Endpoint<'_>, now: Moment) -> Option<&Clause> {
        let fits = |rule: &&Rule| rule.fits(endpoint) && rule.clause.forbids(now);
        let by_name = self.hosts.find(endpoint.host, |rules| rules.iter().find(fits));
        let by_address = || {
            let inner = embedded(endpoint.address).into_iter().flatten().map(IpAddr::V4);
            let mut addresses = std::iter::once(endpoint.address).chain(inner);
            addresses
                .find_map(|address| self.blocks.of(address).find_map(|(_, rules)| rules.iter().find(fits)))
        };
        by_name.or_else(by_address).map(|rule| &rule.clause)
    }
}

fn dots(host: &str) -> u32 {
    host.bytes().map(|byte| u32::from(byte == b'.')).sum()
}

/// Permits by a rule that fits; remembers what is in the way of the first that would.
fn permit_by<'a>(
    rule: &'a Rule,
    endpoint: &Endpoint<'_>,
    now: Moment,
    unmet: &mut Option<Decision<'a>>,
) -> Option<Decision<'a>> {
    if !rule.fits(endpoint) {
        return None;
    }
    let decision = rule.clause.permit(now);
    if decision.permits() {
        return Some(decision);
    }
    unmet.get_or_insert(decision);
    None
}

impl<T: Default> Hosts<T> {
    /// The first that `f` takes of what the patterns mean that name `host`, the exact one first and then the longest.
    /// Without a name there is only `*`.
    fn find<'a, R>(&'a self, host: Option<&str>, mut f: impl FnMut(&'a T) -> Option<R>) -> Option<R> {
        if let Some(host) = host {
            if !self.exact.is_empty()
                && let Some(found) = self.exact.get(host).and_then(&mut f)
            {
                return Some(found);
            }
            if self.depths != 0
                && let Some(found) = self.find_beneath(host, &mut f)
            {
                return Some(found);
            }
        }
        f(&self.every)
    }

    fn find_beneath<'a, R>(&'a self, host: &str, f: &mut impl FnMut(&'a T) -> Option<R>) -> Option<R> {
        let mut depth = dots(host);
        for (at, byte) in host.bytes().enumerate() {
            if byte != b'.' {
                continue;
            }
            depth -= 1;
            if self.depths.checked_shr(depth).is_some_and(|depths| depths & 1 == 1)
                && let Some(parent) = host.get(at + 1..)
                && let Some(found) = self.beneath.get(parent).and_then(&mut *f)
            {
                return Some(found);
            }
        }
        None
    }

    /// The place of a pattern; `None` where it is no name.
    fn place(&mut self, peer: Peer) -> Option<&mut T> {
        Some(match peer {
            Peer::Every => &mut self.every,
            Peer::Beneath(suffix) => {
                // A host of 253 bytes has at most 126 dots.
                self.depths |= 1_u128.checked_shl(dots(&suffix)).unwrap_or_default();
                self.beneath.entry(suffix).or_default()
            }
            Peer::Host(host) => self.exact.entry(host).or_default(),
            Peer::Block(_) => return None,
        })
    }
}
