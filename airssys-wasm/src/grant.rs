//! What a manifest grants, in the door's words. Pure: the same manifest gives the same policy.

use std::path::PathBuf;

use airssys_osl::policy::{Grant, PolicyBuilder};

use crate::manifest::{ComponentSpec, Manifest};

/// A directory that is open when a component starts.
#[derive(Clone, Debug)]
pub(crate) struct Preopen {
    /// Its path here.
    pub(crate) host: PathBuf,
    /// What the guest calls it.
    pub(crate) guest: String,
}

/// The name of a component's principal: in rules, and in every record of what it does.
pub fn principal_name(component: &str) -> String {
    format!("component.{component}")
}

/// Adds a principal per component, with what the manifest grants it.
///
/// Clocks and random bytes are granted to every component: WASI has no word for their denial.
pub fn add_principals(manifest: &Manifest, policy: PolicyBuilder) -> PolicyBuilder {
    manifest.components.iter().fold(policy, |policy, component| {
        policy.principal(principal_name(&component.name), grants(component))
    })
}

/// Adds a principal for a command that has no manifest: it is granted nothing beyond clocks and random bytes.
pub fn grant_command(policy: PolicyBuilder, name: &str) -> PolicyBuilder {
    policy.principal(principal_name(name), ambient())
}

pub(crate) fn preopens(component: &ComponentSpec) -> Vec<Preopen> {
    let preopen = |grant: &crate::manifest::FsGrant| Preopen {
        host: grant.path.value.clone(),
        guest: grant.guest.clone(),
    };
    component.grants.fs.iter().map(preopen).collect()
}

fn grants(component: &ComponentSpec) -> Vec<Grant> {
    let granted = &component.grants;
    let fs =
        granted.fs.iter().map(|grant| Grant::fs(&grant.path.value, grant.rights).rule(grant.rule.as_str()));
    let send = granted.send.iter().map(|(name, rule)| Grant::send(name.as_str()).rule(rule.as_str()));
    let env = granted.env.iter().map(|(name, rule)| Grant::env(name.as_str()).rule(rule.as_str()));
    ambient().into_iter().chain(fs).chain(send).chain(env).collect()
}

fn ambient() -> Vec<Grant> {
    vec![Grant::clock().rule("builtin.clock"), Grant::random().rule("builtin.random")]
}
