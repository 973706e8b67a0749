//! Where the workspace is, and where cargo builds.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it asks where it is")]

use std::{
    env, io,
    path::{Path, PathBuf},
};

/// The root of the workspace: absolute and short, as it is part of what a user reads.
pub(crate) fn root() -> io::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()
}

/// Where cargo builds, as it decides that itself.
pub(crate) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
