//! What the network rules of one principal compile to, indexed by what is asked for.

use std::net::IpAddr;

use super::{Direction, Endpoint, Form, Peer, Ports, Protocol, blocks::Blocks, parse};
use crate::{
    Action,
    limits::ABSTRACT_NAME_BYTES,
    net::{
        Cidr, Limits,
        address::{Class, embedded, special},
    },
    policy::{
        Decision, Resource, always, check_root,
        clause::{Clause, Clauses, Collect as _},
        few::Few,
        fixed::{Fixed, Paths},
        names::put,
        when::Moment,
    },
};

/// What is known of an address that is not global.
type Special = (Class, &'static Cidr);

/// Rules on the network: those of permissions, or those of prohibitions.
#[derive(Debug, Default)]
pub(in crate::policy) struct NetGrants {
    connect: Peers,
    listen: Peers,
    /// The hosts that are looked up, or not, whatever is ruled about connecting.
    resolve: Hosts<Option<Clauses>>,
    unix: [Paths<Clauses>; 2],
    abstract_unix: [Fixed<Clauses>; 2],
    trust_web: Option<Clauses>,
    trust: Paths<Clauses>,
    pub(in crate::policy) limits: Limits,
    /// Which list the limits come from.
    limited: Option<u32>,
}

#[derive(Debug, Default)]
struct Peers {
    hosts: Hosts<Few<Rule>>,
    blocks: Blocks<Few<Rule>>,
}

/// Patterns of hosts and what they mean.
#[derive(Debug, Default)]
struct Hosts<T> {
    exact: Fixed<T>,
    /// By the suffix without `*.`.
    beneath: Fixed<T>,
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
                let table = if direction == Direction::Connect { connect } else { listen };
                Ok(put(table.entry(&root), clause))
            }
            Form::AbstractUnix { direction, name } => {
                if name.is_empty() || name.len() > ABSTRACT_NAME_BYTES {
                    return Err("the name is empty or too long");
                }
                let [connect, listen] = &mut self.abstract_unix;
                let table = if direction == Direction::Connect { connect } else { listen };
                Ok(put(table.entry(&name), clause))
            }
            Form::TrustWeb => Ok(self.trust_web.add(clause)),
            Form::Trust(root) => {
                check_root(&root)?;
                Ok(put(self.trust.entry(&root), clause))
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
    pub(in crate::policy) fn fix(&mut self) -> Result<(), Box<str>> {
        self.resolve.fix();
        self.unix.iter_mut().for_each(Paths::fix);
        self.abstract_unix.iter_mut().for_each(Fixed::fix);
        self.trust.fix();
        let mut twice = None;
        for peers in [&mut self.connect, &mut self.listen] {
            peers.hosts.fix();
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
        let connects =
            self.connect.hosts.find(Some(host), |rules| rules.find_map(|rule| permitted(connect(rule))));
        let resolves = || self.resolve.find(Some(host), |clauses| permitted(clauses.as_ref()?.permit(now)));
        connects.or_else(resolves).or(unmet).unwrap_or(Decision::DEFAULT)
    }

    fn forbid_lookup(&self, host: &str, now: Moment) -> Option<&Clause> {
        self.resolve.find(Some(host), |clauses| clauses.as_ref()?.forbids(now))
    }

    /// What forbids to connect to a host by a protocol, at whatever port.
    fn forbid_all(&self, protocol: Protocol, host: &str, now: Moment) -> Option<&Clause> {
        let all =
            |rule: &Rule| rule.protocol == protocol && rule.ports == Ports::ALL && rule.clause.forbids(now);
        self.connect.hosts.find(Some(host), |rules| rules.find(all)).map(|rule| &rule.clause)
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

    #[inline]
    fn permit_one(&self, endpoint: &Endpoint<'_>, address: IpAddr, now: Moment) -> Decision<'_> {
        let special = special(address);
        let mut fits = false;
        let holds = |rule: &Rule| {
            fits = true;
            rule.clause.holds(now)
        };
        match self.find(endpoint, address, special, holds) {
            Some(rule) => rule.clause.permit(now),
            None if fits || special.is_some() => self.deny(endpoint, address, special, now),
            None => Decision::DEFAULT,
        }
    }

    /// The first rule of those that reach the address and fit which `takes` takes.
    #[inline]
    fn find<'a>(
        &'a self,
        endpoint: &Endpoint<'_>,
        address: IpAddr,
        special: Option<Special>,
        mut takes: impl FnMut(&Rule) -> bool,
    ) -> Option<&'a Rule> {
        let mut fitting = |rules: &'a Few<Rule>| rules.find(|rule| rule.fits(endpoint) && takes(rule));
        let Some((_, special)) = special else {
            // A name reaches only what is global, and there it is the shorter way.
            let by_name = self.hosts.find(endpoint.host, &mut fitting);
            return by_name.or_else(|| self.blocks.of(address).find_map(|(_, rules)| fitting(rules)));
        };
        // All these blocks have the address, as the special one has: the narrower are within the wider.
        let mut named = self.blocks.of(address).filter(|(block, _)| block.prefix() >= special.prefix());
        named.find_map(|(_, rules)| fitting(rules))
    }

    /// Why nothing permits it now.
    fn deny<'a>(
        &'a self,
        endpoint: &Endpoint<'_>,
        address: IpAddr,
        special: Option<Special>,
        now: Moment,
    ) -> Decision<'a> {
        if let Some(unmet) = self.find(endpoint, address, special, |_| true) {
            return unmet.clause.permit(now);
        }
        let Some((class, _)) = special else { return Decision::DEFAULT };
        if let Some(denied) = always::unnamed(class) {
            return denied;
        }
        let fitting = |rules: &'a Few<Rule>| rules.find(|rule| rule.fits(endpoint));
        let by_block = self.blocks.of(address).find_map(|(_, rules)| fitting(rules));
        // Something would permit it, if it were global.
        match by_block.or_else(|| self.hosts.find(endpoint.host, fitting)) {
            Some(_) => Decision::deny(class.rule()),
            None => Decision::DEFAULT,
        }
    }

    /// A prohibition reaches whatever it names, by its name or its address, special or not.
    fn forbid(&self, endpoint: &Endpoint<'_>, now: Moment) -> Option<&Clause> {
        let fits = |rule: &Rule| rule.fits(endpoint) && rule.clause.forbids(now);
        let by_name = self.hosts.find(endpoint.host, |rules| rules.find(fits));
        let by_address = || {
            let inner = embedded(endpoint.address).into_iter().flatten().map(IpAddr::V4);
            let mut addresses = std::iter::once(endpoint.address).chain(inner);
            addresses.find_map(|address| self.blocks.of(address).find_map(|(_, rules)| rules.find(fits)))
        };
        by_name.or_else(by_address).map(|rule| &rule.clause)
    }
}

/// Which of the bytes of a text are dots, from the lowest bit on: its first 64.
fn dots(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks();
    let whole = words.iter().take(8).enumerate();
    let mask = whole.fold(0, |mask, (number, word)| mask | dots_of_eight(*word) << (8 * number));
    match text.last_chunk() {
        _ if rest.is_empty() || text.len() > 64 => mask,
        Some(last) => mask | dots_of_eight(*last) << (text.len() - 8),
        None => rest.iter().rev().fold(0, |mask, byte| mask << 1 | u64::from(*byte == b'.')),
    }
}

/// The same for eight bytes, all at once.
fn dots_of_eight(bytes: [u8; 8]) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let zeros = u64::from_le_bytes(bytes) ^ u64::from_le_bytes([b'.'; 8]);
    // The highest bit of each byte that is zero; nothing is carried to the next one.
    let flags = !(((zeros & LOW) + LOW) | zeros | LOW);
    // All of them, side by side.
    (flags >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// How many dots stand at and behind a place.
fn dots_behind(host: &str, begin: usize) -> u32 {
    host.as_bytes().get(begin..).unwrap_or_default().chunks(64).map(|piece| dots(piece).count_ones()).sum()
}

impl<T: Default> Hosts<T> {
    /// The first that `f` takes of what the patterns mean that name `host`, the exact one first and then the longest.
    /// Without a name there is only `*`.
    fn find<'a, R>(&'a self, host: Option<&str>, mut f: impl FnMut(&'a T) -> Option<R>) -> Option<R> {
        if let Some(host) = host {
            if let Some(found) = self.exact.get(host.as_bytes()).and_then(&mut f) {
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
        let mut begin = 0;
        // Few hosts have more than 64 bytes.
        for piece in host.as_bytes().chunks(64) {
            let (mut dots, behind) = (dots(piece), dots_behind(host, begin + 64));
            while dots != 0 {
                let parent = host.get(begin + dots.trailing_zeros() as usize + 1..)?;
                dots &= dots - 1;
                let depth = dots.count_ones() + behind;
                if self.depths.checked_shr(depth).is_some_and(|depths| depths & 1 == 1)
                    && let Some(found) = self.beneath.get(parent.as_bytes()).and_then(&mut *f)
                {
                    return Some(found);
                }
            }
            begin += 64;
        }
        None
    }

    /// Makes everything that was added findable.
    fn fix(&mut self) {
        self.exact.fix();
        self.beneath.fix();
    }

    /// The place of a pattern; `None` where it is no name.
    fn place(&mut self, peer: Peer) -> Option<&mut T> {
        Some(match peer {
            Peer::Every => &mut self.every,
            Peer::Beneath(suffix) => {
                // A host of 253 bytes has at most 126 dots.
                self.depths |= 1_u128.checked_shl(dots_behind(&suffix, 0)).unwrap_or_default();
                self.beneath.entry(suffix.as_bytes()).or_default()
            }
            Peer::Host(host) => self.exact.entry(host.as_bytes()).or_default(),
            Peer::Block(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dots_are_where_they_are(text in "[a.\\-/\u{ae}]{0,64}") {
            let text = text.as_bytes();
            let text = text.get(..64).unwrap_or(text);
            let naive = text.iter().enumerate().map(|(at, byte)| u64::from(*byte == b'.') << at).sum::<u64>();
            prop_assert_eq!(dots(text), naive);
        }

        /// Whatever the length: the suffix that a host is beneath is found, and no other.
        #[test]
        fn suffixes_are_found(labels in prop::collection::vec("[a-c]{1,20}", 1..12), at: prop::sample::Index) {
            let host = labels.join(".");
            let at = at.index(labels.len());
            let mut hosts = Hosts::<Few<u8>>::default();
            hosts.place(Peer::Beneath(labels[at..].join(".").into())).unwrap().push(7);
            hosts.fix();
            let found = hosts.find(Some(&host), |few| few.find(|_| true));
            prop_assert_eq!(found.is_some(), at > 0, "{} beneath {}", host, labels[at..].join("."));
        }
    }
}
