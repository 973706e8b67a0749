//! What no grant permits, and no mode lets through: the one list.
//!
//! | rule | forbids | where it is found |
//! |---|---|---|
//! | [`kernel-filesystem`](rule::KERNEL_FILESYSTEM) | granting a directory in which names are controls of the kernel | when the directory is opened, by what it is |
//! | [`beneath-root`](rule::BENEATH_ROOT), [`mount-point`](rule::MOUNT_POINT) | leaving a granted directory | by the kernel, while it resolves the path |
//! | [`plain-files-only`](rule::PLAIN_FILES) | devices, FIFOs and sockets as files | by the opened object |
//! | [`carve-out`](rule::CARVE_OUT), [`hard-linked`](rule::HARD_LINKED) | what the terms of a grant take out of it | by the opened object |
//! | [`malformed-host`](rule::MALFORMED_HOST) | hosts that programs read differently | before anything is asked |
//! | [`default-deny`](rule::DEFAULT_DENY) | starting a program that no grant says how to hold: of all that this rule denies, the one thing that no mode lets through | in the decision |
//! | [`no-scripts`](rule::NO_SCRIPTS), [`other-program`](rule::OTHER_PROGRAM), [`other-arguments`](rule::OTHER_ARGUMENTS) | starting anything but what the grant describes | by the opened program, and what it is started with |
//! | [`counted-file`](rule::COUNTED_FILE) | handing files to programs that would not be held to the grant's terms | by the handle |
//! | [`revoked`](rule::REVOKED), [`narrowed-handle`](rule::NARROWED_HANDLE), [`foreign-handle`](rule::FOREIGN_HANDLE), [`changed-terms`](rule::CHANGED_TERMS), [`wider-destination`](rule::WIDER_DESTINATION) | using a handle for more than it is | by the handle |
//!
//! The addresses at which clouds tell a machine its identity and its secrets are all but on it: a grant permits one only by
//! naming that very address. No name of a host, no wildcard, no wider block and no mode lets one through, in whatever it is
//! embedded: the rule is [`non-global: metadata`](rule::METADATA).

use std::net::IpAddr;

use super::{Decision, Resource, rule};
use crate::net::address::{Class, embedded, special};

/// Every rule of the list, by its name in records.
pub const RULES: &[&str] = &[
    rule::KERNEL_FILESYSTEM,
    rule::BENEATH_ROOT,
    rule::MOUNT_POINT,
    rule::PLAIN_FILES,
    rule::CARVE_OUT,
    rule::HARD_LINKED,
    rule::MALFORMED_HOST,
    rule::NO_SCRIPTS,
    rule::OTHER_PROGRAM,
    rule::OTHER_ARGUMENTS,
    rule::COUNTED_FILE,
    rule::REVOKED,
    rule::NARROWED_HANDLE,
    rule::FOREIGN_HANDLE,
    rule::CHANGED_TERMS,
    rule::WIDER_DESTINATION,
];

/// File systems in which names are controls of the kernel, by their magic numbers in `linux/magic.h`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells them by numbers"))]
pub(crate) const KERNEL_FILESYSTEMS: &[u64] = &[
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xf97c_ff8c, // selinuxfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6265_6570, // configfs
    0xcafe_4a11, // bpf
    0x1cd1,      // devpts
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
];

/// The decision about an address of this class that no grant names, in every mode.
pub(super) fn unnamed(class: Class) -> Option<Decision<'static>> {
    (class == Class::Metadata).then_some(Decision { fixed: true, ..Decision::deny(rule::METADATA) })
}

/// The decision about a program that no grant names: there is no way to hold it that would be right for all.
pub(super) fn without_terms() -> Decision<'static> {
    Decision { fixed: true, ..Decision::DEFAULT }
}

/// The decision about a resource that is denied, where no mode lifts that, whatever it is embedded in.
pub(super) fn resource(resource: Resource<'_>) -> Option<Decision<'static>> {
    let Resource::Endpoint(endpoint) = resource else { return None };
    let inner = embedded(endpoint.address).into_iter().flatten().map(IpAddr::V4);
    std::iter::once(endpoint.address).chain(inner).find_map(|at| unnamed(special(at)?.0))
}
