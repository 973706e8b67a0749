//! What a manifest grants, in the door's words. Pure: the same manifest gives the same policy.

use std::path::{Path, PathBuf};

use airssys_osl::policy::{FsTerms, Grant, HardLinks, PolicyBuilder, Ports, Protocol, Rights};

use crate::{
    command::{CommandDir, CommandOptions},
    manifest::{ComponentSpec, FsGrant, Manifest, Rules, role_name},
};

/// A directory that is open when a component starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preopen {
    /// Its path here.
    pub(crate) host: PathBuf,
    /// What the guest calls it; none of what its containers of objects are in.
    pub(crate) guest: Option<String>,
    /// What the guest may do in it at most, where that is less than the policy permits.
    pub(crate) narrowed: Option<Rights>,
}

/// The name of a component's principal: in rules, and in every record of what it does.
pub fn principal_name(component: &str) -> String {
    format!("component.{component}")
}

/// The name of a process's principal.
pub fn process_principal_name(process: &str) -> String {
    format!("process.{process}")
}

/// Adds a principal for each component, each process and a role for each role, with what the manifest grants and forbids them, and the
/// manifest's mode.
///
/// Clocks and random bytes are granted to every component unless the manifest says otherwise: WASI has no word for their
/// denial.
pub fn add_principals(manifest: &Manifest, policy: PolicyBuilder) -> PolicyBuilder {
    let policy = manifest.roles.iter().fold(policy.mode(manifest.mode), |policy, role| {
        let name = role_name(&role.name);
        policy.role(name.clone(), permits(&role.rules)).forbid(name, role.rules.forbids.clone())
    });
    let policy = manifest.processes.iter().fold(policy, |policy, process| {
        policy.principal(process_principal_name(&process.name), process.grants.clone())
    });
    manifest.components.iter().fold(policy, |policy, component| {
        let name = principal_name(&component.name);
        let forbids = manifest.forbid.iter().chain(&component.rules.forbids).cloned();
        policy.principal(name.clone(), permits(&component.rules)).forbid(name, forbids)
    })
}

/// Adds a principal for a command that has no manifest: it may do what its options say, and have clocks and random
/// bytes.
pub fn grant_command(policy: PolicyBuilder, name: &str, options: &CommandOptions) -> PolicyBuilder {
    let mut dirs: Vec<(&Path, Rights)> = Vec::new();
    for dir in &options.dirs {
        // A directory that has two names has one grant; each handle is narrowed to its own rights.
        match dirs.iter_mut().find(|(host, _)| *host == dir.host) {
            Some((_, rights)) => *rights |= dir.rights,
            None => dirs.push((&dir.host, dir.rights)),
        }
    }
    // Whoever gives a whole directory gives the files in it that have other names too.
    let terms = FsTerms::new().hard_links(HardLinks::Shared);
    let fs =
        dirs.into_iter().map(|(host, rights)| Grant::fs_with(host, rights, terms.clone()).rule("run.dir"));
    let env = options.inherited.iter().map(|name| Grant::env(name.as_str()).rule("run.env"));
    let network = if options.network { whole_network() } else { Vec::new() };
    let ambient = [Grant::clock().rule("builtin.clock"), Grant::random().rule("builtin.random")];
    policy.principal(principal_name(name), ambient.into_iter().chain(fs).chain(env).chain(network))
}

/// The global, loopback and private addresses: what is not global must be named, by a block within its own.
const ALL_ADDRESSES: [&str; 8] = [
    "0.0.0.0/0",
    "::/0",
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

/// All addresses of this machine at once. To listen there, a port that the system picks: what listens or sends without having
/// chosen an address has this one.
const UNSPECIFIED: [&str; 2] = ["0.0.0.0", "::"];

/// Addresses of documentation, which no machine has (RFC 5737, RFC 3849). Who would listen there is told so, and not that it may not.
const NOBODYS: [&str; 4] = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"];

fn whole_network() -> Vec<Grant> {
    let mut grants = vec![Grant::resolve("*").rule("run.network"), Grant::trust_web().rule("run.network")];
    for addresses in ALL_ADDRESSES {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            grants.push(Grant::connect(protocol, addresses, Ports::ALL).rule("run.network"));
            grants.push(Grant::listen(protocol, addresses, Ports::ALL).rule("run.network"));
            // One that the system picks.
            grants.push(Grant::listen(protocol, addresses, 0).rule("run.network"));
        }
    }
    for addresses in UNSPECIFIED.into_iter().chain(NOBODYS) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            grants.push(Grant::listen(protocol, addresses, 0).rule("run.network"));
        }
    }
    grants
}

pub(crate) fn command_preopens(options: &CommandOptions) -> Vec<Preopen> {
    let preopen = |dir: &CommandDir| Preopen {
        host: dir.host.clone(),
        guest: Some(dir.guest.clone()),
        narrowed: Some(dir.rights),
    };
    options.dirs.iter().map(preopen).collect()
}

pub(crate) fn preopens(component: &ComponentSpec) -> Vec<Preopen> {
    let preopen = |grant: &FsGrant| Preopen {
        host: grant.path.value.clone(),
        guest: grant.guest.clone(),
        narrowed: None,
    };
    component.directories.iter().map(preopen).collect()
}

fn permits(rules: &Rules) -> Vec<Grant> {
    let fs = rules.fs.iter().filter_map(|grant| grant.grant.as_ref());
    fs.chain(&rules.permits).cloned().collect()
}
