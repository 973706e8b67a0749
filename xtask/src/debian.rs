//! What Debian has and we need: found, and installed where it can be.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it runs apt-get")]

use std::{env, process::Command};

/// Installs packages where this is a Debian on which we may. Where that fails the caller finds out by looking again.
pub(crate) fn install(packages: &[&str]) {
    if !can_install() {
        return;
    }
    let apt_get = |args: &[&str]| {
        let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
        if !status.as_ref().is_ok_and(|status| status.success()) {
            eprintln!("apt-get {}: {status:?}", args.join(" "));
        }
    };
    apt_get(&["update"]);
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat());
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|dir| dir.join(program).exists())
}

fn can_install() -> bool {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    is_root && has("apt-get")
}
