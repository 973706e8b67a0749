//! What a manifest grants, in the door's words. Pure: the same manifest gives the same policy.

use std::path::PathBuf;

use airssys_osl::policy::{Grant, PolicyBuilder};

use crate::manifest::{ComponentSpec, FsGrant, Manifest, Rules, role_name};

/// A directory that is open when a component starts.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Adds a principal for each component and a role for each role, with what the manifest grants and forbids them, and the
/// manifest's mode.
///
/// Clocks and random bytes are granted to every component unless the manifest says otherwise: WASI has no word for their
/// denial.
pub fn add_principals(manifest: &Manifest, policy: PolicyBuilder) -> PolicyBuilder {
    let policy = manifest.roles.iter().fold(policy.mode(manifest.mode), |policy, role| {
        let name = role_name(&role.name);
        policy.role(name.clone(), permits(&role.rules)).forbid(name, role.rules.forbids.clone())
    });
    manifest.components.iter().fold(policy, |policy, component| {
        let name = principal_name(&component.name);
        let forbids = manifest.forbid.iter().chain(&component.rules.forbids).cloned();
        policy.principal(name.clone(), permits(&component.rules)).forbid(name, forbids)
    })
}

/// Adds a principal for a command that has no manifest: it is granted nothing beyond clocks and random bytes.
pub fn grant_command(policy: PolicyBuilder, name: &str) -> PolicyBuilder {
    let ambient = [Grant::clock().rule("builtin.clock"), Grant::random().rule("builtin.random")];
    policy.principal(principal_name(name), ambient)
}

pub(crate) fn preopens(component: &ComponentSpec) -> Vec<Preopen> {
    let preopen = |grant: &FsGrant| Preopen { host: grant.path.value.clone(), guest: grant.guest.clone() };
    component.directories.iter().map(preopen).collect()
}

fn permits(rules: &Rules) -> Vec<Grant> {
    let fs = rules.fs.iter().filter_map(|grant| grant.grant.as_ref());
    fs.chain(&rules.permits).cloned().collect()
}
