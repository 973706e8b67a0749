//! Grants on the network: what they look like, and the table that they compile to.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{Decision, Grant, Resource, check_root, grant, hash::Table};
use crate::{
    Action, Verdict,
    limits::ABSTRACT_NAME_BYTES,
    net::{
        Cidr, Host, Limits,
        address::{embedded, special},
        parents,
    },
};

/// What carries the bytes between two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which end of a connection a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To connect to others, or to send to them.
    Connect,
    /// To be connected to: bind, listen, receive from anyone.
    Listen,
}

/// A range of ports, both ends included. Port 0 stands for one that the system picks, and only listening takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// An address and a port, as policy looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// What carries the bytes.
    pub protocol: Protocol,
    /// The name by which the address was found, in the spelling of [`HostName`](crate::net::HostName).
    pub host: Option<&'a str>,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Grant {
    /// Permits to connect, or to send datagrams, to the peers that `peer` names, and to look the hosts among them up.
    ///
    /// | text | names |
    /// |---|---|
    /// | `api.example.com` | that host, at any global address |
    /// | `*.example.com` | every host beneath `example.com`, but not that one itself; at any global address |
    /// | `*` | every host and every address, as long as it is global |
    /// | `192.0.2.7`, `::1` | that address |
    /// | `10.0.0.0/8` | the addresses of that block |
    ///
    /// An address that is not global ([`Class`](crate::net::address::Class)) is reached only through a block that names
    /// it: one that lies wholly within the special block which the address belongs to. `127.0.0.0/8` names the loopback
    /// addresses; `0.0.0.0/0` and `*` name no special address at all, and `169.254.0.0/16` does not name
    /// `169.254.169.254`, for that one is special within the special. Where an IPv6 address carries IPv4 addresses,
    /// each of those must be permitted too.
    pub fn connect(protocol: Protocol, peer: impl Into<Box<str>>, ports: impl Into<Ports>) -> Self {
        Self::peer(Direction::Connect, protocol, peer.into(), ports.into())
    }

    /// Permits to listen, or to receive datagrams from anyone, on the local addresses that `local` names: an address
    /// or a block. `0.0.0.0` is all of the machine's, and must be named as such.
    pub fn listen(protocol: Protocol, local: impl Into<Box<str>>, ports: impl Into<Ports>) -> Self {
        Self::peer(Direction::Listen, protocol, local.into(), ports.into())
    }

    /// Permits to look up the addresses of the hosts that `host` names: `host`, `*.suffix` or `*`.
    ///
    /// Whoever may look up any name can tell the outside anything, in the names that it asks for.
    pub fn resolve(host: impl Into<Box<str>>) -> Self {
        Self::of(grant::Form::Net(Form::Resolve(host.into())))
    }

    /// Permits to trust the root certificates of the web.
    pub fn trust_web() -> Self {
        Self::of(grant::Form::Net(Form::TrustWeb))
    }

    /// Permits to trust certificates in files beneath `root`, a directory that is granted as well ([`Grant::fs`]).
    pub fn trust(root: impl Into<PathBuf>) -> Self {
        Self::of(grant::Form::Net(Form::Trust(root.into())))
    }

    /// Bounds what the principal uses of the network. It permits nothing by itself.
    pub fn net_limits(limits: Limits) -> Self {
        Self::of(grant::Form::Net(Form::Limits(limits)))
    }

    /// Permits UNIX sockets beneath `root`, a directory that is granted as well ([`Grant::fs`]): connecting needs its
    /// right WRITE, listening CREATE.
    pub fn unix(direction: Direction, root: impl Into<PathBuf>) -> Self {
        Self::of(grant::Form::Net(Form::Unix { direction, root: root.into() }))
    }

    /// Permits the UNIX socket `name`, without its leading NUL, in Linux' abstract namespace, which no directory
    /// confines.
    pub fn abstract_unix(direction: Direction, name: impl Into<Box<[u8]>>) -> Self {
        Self::of(grant::Form::Net(Form::AbstractUnix { direction, name: name.into() }))
    }

    fn peer(direction: Direction, protocol: Protocol, peer: Box<str>, ports: Ports) -> Self {
        Self::of(grant::Form::Net(Form::Peer { direction, protocol, peer, ports }))
    }
}

impl Ports {
    /// Every port, but not the system's choice.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// The port that the system picks when one listens.
    pub const PICKED: Self = Self { first: 0, last: 0 };

    /// Whether `port` is among them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl From<std::ops::RangeInclusive<u16>> for Ports {
    fn from(ports: std::ops::RangeInclusive<u16>) -> Self {
        Self { first: *ports.start(), last: *ports.end() }
    }
}

/// A grant as it was asked for.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Peer { direction: Direction, protocol: Protocol, peer: Box<str>, ports: Ports },
    Resolve(Box<str>),
    Unix { direction: Direction, root: PathBuf },
    AbstractUnix { direction: Direction, name: Box<[u8]> },
    TrustWeb,
    Trust(PathBuf),
    Limits(Limits),
}

impl Form {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Peer { direction: Direction::Connect, .. } => "connect",
            Self::Peer { direction: Direction::Listen, .. } => "listen",
            Self::Resolve(_) => "resolve",
            Self::Unix { .. } => "unix",
            Self::AbstractUnix { .. } => "abstract_unix",
            Self::TrustWeb | Self::Trust(_) => "trust",
            Self::Limits(_) => "net_limits",
        }
    }
}

/// What a peer's text says.
#[derive(Debug, PartialEq, Eq)]
enum Peer {
    Every,
    Beneath(Box<str>),
    Host(Box<str>),
    Block(Cidr),
}

/// All network grants of one principal, indexed by what is asked for.
#[derive(Debug, Default)]
pub(super) struct NetGrants {
    connect: Peers,
    listen: Peers,
    /// The hosts that may be looked up although nothing may connect to them.
    resolve: Names<Option<Box<str>>>,
    unix: Table<(u8, PathBuf), Box<str>>,
    abstract_unix: Table<(u8, Box<[u8]>), Box<str>>,
    trust_web: Option<Box<str>>,
    trust: Table<PathBuf, Box<str>>,
    pub(super) limits: Limits,
    limited: bool,
}

#[derive(Debug, Default)]
struct Peers {
    names: Names<Vec<Rule>>,
    blocks: Table<Cidr, Vec<Rule>>,
    /// The lengths of the prefixes in `blocks`, longest first: each is one lookup.
    prefixes: Vec<u8>,
}

/// Patterns of hosts and what they mean.
#[derive(Debug, Default)]
struct Names<T> {
    exact: Table<Box<str>, T>,
    /// By the suffix without `*.`.
    beneath: Table<Box<str>, T>,
    every: T,
}

#[derive(Debug)]
struct Rule {
    protocol: Protocol,
    ports: Ports,
    rule: Box<str>,
}

impl NetGrants {
    /// Adds a grant, and says whether the same was there.
    pub(super) fn insert(&mut self, form: Form, rule: &str) -> Result<bool, &'static str> {
        match form {
            Form::Peer { direction, protocol, peer, ports } => {
                if ports.first > ports.last {
                    return Err("its ports end before they begin");
                }
                if direction == Direction::Connect && ports.first == 0 {
                    return Err("nothing connects to port 0");
                }
                let rule = Rule { protocol, ports, rule: rule.into() };
                match direction {
                    Direction::Connect => self.connect.insert(parse(&peer)?, rule),
                    Direction::Listen => match parse(&peer)? {
                        peer @ Peer::Block(_) => self.listen.insert(peer, rule),
                        _ => Err("one listens on an address, not on a host"),
                    },
                }
            }
            Form::Resolve(host) => {
                let place = self.resolve.place(parse(&host)?).ok_or("an address needs no lookup")?;
                Ok(place.replace(rule.into()).is_some())
            }
            Form::Unix { direction, root } => {
                check_root(&root)?;
                Ok(self.unix.insert((direction as u8, root), rule.into()).is_some())
            }
            Form::AbstractUnix { direction, name } => {
                if name.is_empty() || name.len() > ABSTRACT_NAME_BYTES {
                    return Err("the name is empty or too long");
                }
                Ok(self.abstract_unix.insert((direction as u8, name), rule.into()).is_some())
            }
            Form::TrustWeb => Ok(self.trust_web.replace(rule.into()).is_some()),
            Form::Trust(root) => {
                check_root(&root)?;
                Ok(self.trust.insert(root, rule.into()).is_some())
            }
            Form::Limits(limits) => {
                self.limits = limits;
                Ok(std::mem::replace(&mut self.limited, true))
            }
        }
    }

    pub(super) fn decide(&self, action: Action, resource: Resource<'_>) -> Decision<'_> {
        let direction = match action {
            Action::NetConnect | Action::NetSend => Direction::Connect,
            Action::NetListen => Direction::Listen,
            Action::NetResolve => return self.decide_lookup(resource),
            Action::NetTrust => return self.decide_trust(resource),
            _ => return Decision::DEFAULT,
        };
        let rule = match resource {
            Resource::Endpoint(endpoint) => {
                return match direction {
                    Direction::Connect => self.connect.decide(&endpoint),
                    Direction::Listen => self.listen.decide(&endpoint),
                };
            }
            Resource::Unix(root) => find_unix(&self.unix, direction, root),
            Resource::AbstractUnix(name) => self
                .abstract_unix
                .iter()
                .find(|((granted, known), _)| *granted == direction as u8 && **known == *name)
                .map(|(_, rule)| &**rule),
            _ => None,
        };
        rule.map_or(Decision::DEFAULT, Decision::allow)
    }

    fn decide_trust(&self, resource: Resource<'_>) -> Decision<'_> {
        let rule = match resource {
            Resource::Name("web") => self.trust_web.as_ref(),
            Resource::Root(root) => self.trust.get(root),
            _ => None,
        };
        rule.map_or(Decision::DEFAULT, |rule| Decision::allow(rule))
    }

    fn decide_lookup(&self, resource: Resource<'_>) -> Decision<'_> {
        let Resource::Host(host) = resource else { return Decision::DEFAULT };
        let connects = self.connect.names.of(host).flatten().map(|rule| &rule.rule).next();
        let rule = connects.or_else(|| self.resolve.of(host).flatten().next());
        rule.map_or(Decision::DEFAULT, |rule| Decision::allow(rule))
    }
}

/// A principal has few of them, and their paths need no copy to be compared.
fn find_unix<'a>(
    table: &'a Table<(u8, PathBuf), Box<str>>,
    direction: Direction,
    root: &Path,
) -> Option<&'a str> {
    table
        .iter()
        .find(|((granted, known), _)| *granted == direction as u8 && known == root)
        .map(|(_, rule)| &**rule)
}

impl Peers {
    fn insert(&mut self, peer: Peer, rule: Rule) -> Result<bool, &'static str> {
        let rules = match peer {
            Peer::Block(block) => {
                if !self.prefixes.contains(&block.prefix()) {
                    self.prefixes.push(block.prefix());
                    self.prefixes.sort_unstable_by(|one, other| other.cmp(one));
                }
                self.blocks.entry(block).or_default()
            }
            name => self.names.place(name).ok_or("it names no peer")?,
        };
        let twice = rules.iter().any(|known| known.protocol == rule.protocol && known.ports == rule.ports);
        rules.push(rule);
        Ok(twice)
    }

    /// The address and all that is embedded in it must be permitted.
    fn decide(&self, endpoint: &Endpoint<'_>) -> Decision<'_> {
        let decision = self.decide_one(endpoint, endpoint.address);
        if decision.verdict == Verdict::Deny {
            return decision;
        }
        let inner = embedded(endpoint.address).into_iter().flatten();
        inner
            .map(|address| self.decide_one(endpoint, address.into()))
            .find(|inner| inner.verdict == Verdict::Deny)
            .unwrap_or(decision)
    }

    fn decide_one(&self, endpoint: &Endpoint<'_>, address: IpAddr) -> Decision<'_> {
        let fits = |rule: &&Rule| rule.protocol == endpoint.protocol && rule.ports.contains(endpoint.port);
        let special = special(address);
        let by_name = || match endpoint.host {
            Some(host) => self.names.of(host).flatten().find(fits),
            None => self.names.every.iter().find(fits),
        };
        // A name reaches only what is global, and there it is the shorter way.
        if special.is_none()
            && let Some(rule) = by_name()
        {
            return Decision::allow(&rule.rule);
        }
        let mut wider = false;
        for prefix in &self.prefixes {
            let block = Cidr::around(address, *prefix);
            if block.prefix() != *prefix {
                continue;
            }
            let Some(rule) = self.blocks.get(&block).and_then(|rules| rules.iter().find(fits)) else {
                continue;
            };
            match special {
                Some((_, special)) if !special.covers(&block) => wider = true,
                _ => return Decision::allow(&rule.rule),
            }
        }
        match special {
            // Something would permit it, if it were global.
            Some((class, _)) if wider || by_name().is_some() => Decision::deny(class.rule()),
            _ => Decision::DEFAULT,
        }
    }
}

impl<T: Default> Names<T> {
    /// What the patterns mean that name `host`, the exact one first.
    fn of<'a, 'h>(&'a self, host: &'h str) -> impl Iterator<Item = &'a T> + use<'a, 'h, T> {
        let beneath = parents(host).filter_map(|parent| self.beneath.get(parent));
        self.exact.get(host).into_iter().chain(beneath).chain([&self.every])
    }

    /// The place of a pattern; `None` where it is no name.
    fn place(&mut self, peer: Peer) -> Option<&mut T> {
        Some(match peer {
            Peer::Every => &mut self.every,
            Peer::Beneath(suffix) => self.beneath.entry(suffix).or_default(),
            Peer::Host(host) => self.exact.entry(host).or_default(),
            Peer::Block(_) => return None,
        })
    }
}

fn parse(peer: &str) -> Result<Peer, &'static str> {
    if peer == "*" {
        return Ok(Peer::Every);
    }
    if peer.contains('/') {
        return Cidr::parse(peer).map(Peer::Block);
    }
    let (beneath, host) = match peer.strip_prefix("*.") {
        Some(suffix) => (true, suffix),
        None => (false, peer),
    };
    match (Host::read(host)?, beneath) {
        (Host::Name(name), true) => Ok(Peer::Beneath(name.as_str().into())),
        (Host::Name(name), false) => Ok(Peer::Host(name.as_str().into())),
        (Host::Address(address), false) => Ok(Peer::Block(Cidr::single(address))),
        (Host::Address(_), true) => Err("an address has nothing beneath it"),
    }
}

#[cfg(test)]
mod tests;
