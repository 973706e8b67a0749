//! What a socket is decided by: the same question at its opening and whenever the policy changes.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use super::HostName;
use crate::{
    Action,
    os::Standing,
    policy::{Decision, Endpoint, FsGrant, Protocol, Resource, Rights, rule},
};

#[derive(Clone, Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has the sockets of UNIX"))]
pub(super) enum Subject {
    /// An address, and the hosts by whose names it was found.
    Endpoint { protocol: Protocol, hosts: Box<[HostName]>, address: SocketAddr },
    /// A socket beneath a granted directory.
    Beneath { grant: Arc<FsGrant>, needs: Rights },
    /// A name in the abstract namespace.
    Abstract(Box<[u8]>),
}

impl Subject {
    pub(super) fn endpoint(
        protocol: Protocol,
        hosts: impl Into<Box<[HostName]>>,
        address: SocketAddr,
    ) -> Self {
        Self::Endpoint { protocol, hosts: hosts.into(), address }
    }

    pub(super) fn decide<'s>(&self, standing: &'s Standing, action: Action) -> Decision<'s> {
        match self {
            Self::Endpoint { protocol, hosts, address } => {
                let ask = |host| {
                    let (address, port) = (address.ip(), address.port());
                    let endpoint = Endpoint { protocol: *protocol, host, address, port };
                    standing.decide(action, Resource::Endpoint(endpoint))
                };
                let mut hosts = hosts.iter().map(|host| host.as_str());
                // Whoever may reach it by one of its names may reach it.
                let first = ask(hosts.next());
                hosts.fold(first, |decision, host| decision.or(|| ask(Some(host))))
            }
            Self::Beneath { grant: opened, needs } => {
                let root: &Path = &opened.root;
                let beneath = Resource::Beneath { root, needs: *needs };
                let decision = standing.decide(action, beneath);
                if !decision.permits() {
                    return decision;
                }
                if !standing.holds_for(opened) {
                    return Decision::deny(rule::CHANGED_TERMS);
                }
                decision.and(standing.decide(action, Resource::Unix(root)))
            }
            Self::Abstract(name) => standing.decide(action, Resource::AbstractUnix(name)),
        }
    }
}

/// The name of an address in records: `tcp://127.0.0.1:80`.
pub(super) fn url(protocol: Protocol, host: impl fmt::Display, port: u16) -> String {
    let scheme = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{scheme}://{host}:{port}")
}
