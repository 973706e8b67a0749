//! This program's own process.

use std::io;

use rustix::process::{Resource, geteuid, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// The effective user.
pub(crate) fn user() -> u32 {
    geteuid().as_raw()
}
