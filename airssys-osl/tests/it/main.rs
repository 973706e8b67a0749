//! The public face of the crate, and what hostile callers try on it.

#![expect(clippy::disallowed_methods, reason = "tests prepare and inspect files behind the door's back")]

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod audit_attacks;
#[cfg(test)]
mod audit_crash;
#[cfg(test)]
#[cfg(unix)]
mod audit_export;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod audit_full;
#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod audit_segments;
#[cfg(test)]
mod audit_shape;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod filtered;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fs_steps;
#[cfg(test)]
mod fs_stream;
#[cfg(test)]
mod fs_terms;
#[cfg(test)]
mod fs_tree;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod keyvalue;
#[cfg(test)]
mod lifetime;
#[cfg(test)]
mod net_connect;
#[cfg(test)]
mod net_fixture;
#[cfg(test)]
mod net_limits;
#[cfg(test)]
mod net_listen;
#[cfg(test)]
#[cfg(feature = "tls")]
mod net_tls;
#[cfg(test)]
mod net_unix;
#[cfg(test)]
mod policy;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_asked;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_attacks;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_egress;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_end;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_fallback;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_groups;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_means;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_policy;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod process_spares;
#[cfg(test)]
mod race;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod threat_model;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod unrecorded;
#[cfg(test)]
mod utilities;
#[cfg(test)]
mod verbs;
