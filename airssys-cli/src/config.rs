//! The variables that the program reads, and where it keeps what is its own.

use std::{
    io,
    path::{Path, PathBuf},
};

use airssys_osl::bootstrap;

/// The name of a manifest in its folder.
pub(crate) const MANIFEST: &str = "airssys.toml";

/// The largest manifest, in bytes.
pub(crate) const MANIFEST_BYTES: u64 = 1 << 20;

/// How many programs without a manifest can run at a time, each with its own log.
pub(crate) const LOGS: usize = 64;

/// Where compiled components are kept: `$XDG_CACHE_HOME/airssys/code`, or `~/.cache/airssys/code`.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    user_dir("XDG_CACHE_HOME", ".cache").map(|dir| dir.join("airssys/code"))
}

/// Where programs without a manifest keep their logs: `$XDG_STATE_HOME/airssys`, or `~/.local/state/airssys`.
pub(crate) fn state_dir() -> Option<PathBuf> {
    user_dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("airssys"))
}

/// Whether the user wants no colours (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    bootstrap::variable("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The variables of this program, as far as they are text.
pub(crate) fn variables() -> Vec<String> {
    bootstrap::variable_names()
}

/// A path as the user typed it, made absolute.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

/// A directory of the XDG Base Directory Specification; a relative one is ignored, as it says.
fn user_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    let given = bootstrap::variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || bootstrap::variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| home().map(|home| home.join(below_home)))
}
