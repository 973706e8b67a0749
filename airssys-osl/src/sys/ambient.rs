//! What the standard library does on every platform.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    net::{IpAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

use crate::{os::Fault, policy::rule};

/// Reads an environment variable.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// The names of the environment variables that are set, as far as they are text.
pub(crate) fn variables() -> Vec<String> {
    env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// Where a path leads now, with all links followed; of what is not there yet, where it would be made.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|known| {
        let rest = path.strip_prefix(known).ok()?;
        Some(fs::canonicalize(known).ok()?.components().chain(rest.components()).collect())
    });
    real.unwrap_or_else(|| path.to_path_buf())
}

/// Asks the system for the addresses of a host, on the caller's thread.
pub(crate) fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (host, 0).to_socket_addrs()?.map(|found| found.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Reads a whole regular file from wherever it is, and says where that was.
pub(crate) fn read_ambient(path: &Path, limit_bytes: u64) -> Result<(Vec<u8>, PathBuf), Fault> {
    // The kind is asked before the file is opened: opening a FIFO would wait for a writer.
    let path = fs::canonicalize(path).map_err(Fault::Os)?;
    let metadata = fs::metadata(&path).map_err(Fault::Os)?;
    if metadata.is_dir() {
        return Err(Fault::Os(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(Fault::Os)?;
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(Fault::Os)?;
    if bytes.len() as u64 > limit_bytes { Err(Fault::TooLarge) } else { Ok((bytes, path)) }
}
