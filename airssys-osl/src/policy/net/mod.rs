//! Grants on the network: what they look like. What they compile to is in [`table`].

mod blocks;
mod table;

use std::{net::IpAddr, path::PathBuf};

pub(super) use self::table::NetGrants;
use super::{Grant, grant};
use crate::net::{Cidr, Host, Limits};

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
    pub(super) first: u16,
    pub(super) last: u16,
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
    /// addresses; `0.0.0.0/0` and `*` name no special address at all. `169.254.0.0/16` does not name `169.254.169.254`, at
    /// which clouds tell a machine its secrets: that one is special within the special, and only `169.254.169.254` itself
    /// names it. Where an IPv6 address carries IPv4 addresses,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// `*`
    Every,
    /// `*.suffix`, without `*.`
    Beneath(Box<str>),
    Host(Box<str>),
    Block(Cidr),
}

pub(super) fn parse(peer: &str) -> Result<Peer, &'static str> {
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
