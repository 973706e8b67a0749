//! Arguments of what is said to a system that runs.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::assignment;

/// Put another version in the place of a component of a system that runs.
///
/// The new version is compiled and started beside the old one, which gives it its state; no message is lost, doubled or
/// reordered. Where it does not start or does not take the state, the old one goes on as if nothing had been asked; so
/// it does where the new one crashes of its first message. The change lasts until the system stops: to keep it, name the
/// file in the manifest.
#[derive(Debug, ClapArgs)]
pub(crate) struct Upgrade {
    /// The component's name in the manifest
    pub(crate) component: String,

    /// The new version (`.wasm`)
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) running: Running,
}

/// Put back the version of a component that ran before, in a system that runs.
#[derive(Debug, ClapArgs)]
pub(crate) struct Rollback {
    /// The component's name in the manifest
    pub(crate) component: String,

    #[command(flatten)]
    pub(crate) running: Running,
}

/// Which system, and what becomes of the state.
#[derive(Debug, ClapArgs)]
pub(crate) struct Running {
    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) target: PathBuf,

    /// Hand no state on: the version starts with nothing
    #[arg(long)]
    pub(crate) fresh: bool,

    /// The values that the system was started with
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}
