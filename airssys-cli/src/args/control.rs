//! Arguments of what is said to a system that runs.

use std::{path::PathBuf, time::Duration};

use clap::Args as ClapArgs;

use super::{assignment, duration};
use crate::control::TRIAL;

/// Show what the components of a system that runs are doing.
///
/// Whether each is ready, and what it has done and has before it. `starting` has not said yet that it is well, `unhealthy` did not say so when it was asked last (`health` in the
/// manifest), `stopped` waits to be started or has ended for good. Of a program of the machine only its messages are known.
#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) target: PathBuf,

    /// The values that the system was started with
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

/// Put another version in the place of a component of a system that runs.
///
/// The new version is compiled and started beside the old one, which gives it its state; no message is lost, doubled or
/// reordered. Where it does not start or does not take the state, the old one goes on as if nothing had been asked; so
/// it does where the new one crashes of its first message. What answers requests over HTTP has no state: it changes from
/// one request to the next, or with --canary after a trial. The change lasts until the system stops: to keep it, name the
/// file in the manifest. A job has no version to change.
#[derive(Debug, ClapArgs)]
pub(crate) struct Upgrade {
    /// The component's name in the manifest
    pub(crate) component: String,

    /// The new version (`.wasm`)
    pub(crate) file: PathBuf,

    /// Of what has no state: give it only so many of a hundred requests or messages at first, and take it out again at the
    /// first that it breaks: a crash, or over HTTP no answer in time, an error or a status of 500 or more. Ctrl-C and
    /// `rollback` take it out, too
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) canary: Option<u8>,

    /// After how many requests or messages that it did well it gets them all
    #[arg(long, value_name = "COUNT", default_value_t = 100, requires = "canary",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,

    /// How long it may take until then: 24h at most
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "canary", value_parser = trial)]
    pub(crate) within: Duration,

    #[command(flatten)]
    pub(crate) running: Running,
}

fn trial(text: &str) -> Result<Duration, String> {
    let within = duration(text)?;
    if within > TRIAL { Err("a trial takes at most 24h".to_owned()) } else { Ok(within) }
}

/// Put back the version of a component that ran before, in a system that runs.
#[derive(Debug, ClapArgs)]
pub(crate) struct Rollback {
    /// The component's name in the manifest
    pub(crate) component: String,

    #[command(flatten)]
    pub(crate) running: Running,
}

/// Show which versions of a component were put in place, when, and what came of it.
///
/// As the audit log has it, of this run of the system and those before. `done`: it took over; `refused`: the old one went on;
/// `given up`: its trial was broken off; `taken back`: it crashed of its first message; `begun` and `on trial`: that is under way, or was when
/// the system was killed.
#[derive(Debug, ClapArgs)]
pub(crate) struct History {
    /// The component's name in the manifest
    pub(crate) component: String,

    /// A folder with an `airssys.toml`, a manifest, or the folder of a log
    #[arg(default_value = ".")]
    pub(crate) target: PathBuf,
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
