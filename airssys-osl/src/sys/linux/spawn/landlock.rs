//! Landlock: what a program may reach by path, whatever its root is.

use std::{ffi::CStr, os::fd::AsRawFd as _};

use super::{
    prepare::{DEVICES, place_rules},
    script::{Fd, Script},
};
use crate::sys::plan::{Plan, Sockets};

// The accesses, in the order of their bits in `linux/landlock.h`.
pub(super) const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// From removing directories to making symbolic links, but not character and block devices.
const ENTRIES: u64 = 0b1_0111_1011 << 4;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

pub(super) const READ: u64 = READ_FILE | READ_DIR;
pub(super) const CHANGE: u64 = READ | WRITE_FILE | ENTRIES | REFER | TRUNCATE;
pub(super) const DEVICE: u64 = READ_FILE | WRITE_FILE | IOCTL_DEV;
/// What makes sense for something that is not a directory.
const FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

/// All accesses to files that a version of Landlock knows.
fn handled(version: u32) -> u64 {
    match version {
        0 | 1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// Confines the child to the places of its plan, and to `inside`, which is in each root.
pub(super) fn confine(script: &mut Script, version: u32, inside: Vec<(&CStr, u64)>, plan: &Plan) {
    let handled = handled(version);
    // TCP ports from version 4 on, where a program has none to use; scopes from version 6 on: abstract sockets, signals.
    let ports = if version >= 4 && plan.sockets == Sockets::Unix { 0b11 } else { 0 };
    let scopes = if version >= 6 { 0b11 } else { 0 };
    let words = match version {
        0..=3 => 1,
        4 | 5 => 2,
        _ => 3,
    };
    let ruleset = script.new_ruleset([handled, ports, scopes], words);
    for (path, access) in inside {
        script.permit_path("open what it has", ruleset, path, access & handled);
    }
    for (path, _) in DEVICES {
        script.permit_path("open a device", ruleset, path, DEVICE & handled);
    }
    for (fd, directory, write) in place_rules(plan) {
        let access = match (write, plan.executes) {
            (false, _) => READ | EXECUTE,
            (true, false) => CHANGE,
            (true, true) => CHANGE | EXECUTE,
        };
        let access = if directory { access } else { access & FILE };
        script.permit(ruleset, fd, access & handled);
    }
    for file in &plan.files {
        let access = if file.write { READ_FILE | WRITE_FILE | TRUNCATE } else { READ_FILE };
        script.permit(ruleset, Fd::Ours(file.fd.as_raw_fd()), access & handled);
    }
    script.permit(ruleset, Fd::Ours(plan.program.as_raw_fd()), (READ_FILE | EXECUTE) & handled);
    script.restrict_self(ruleset);
}
