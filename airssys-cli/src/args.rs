//! Every flag, documented. `airssys help COMMAND` prints what is said here.

mod audit;

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand};

pub(crate) use self::audit::{
    Anchor, Audit, Explain, Export, Learn, LogPath, Query, Tail, Target, TargetKind, Verify,
};

/// Runs code that you do not fully trust as supervised actors.
///
/// Each component is a WebAssembly sandbox with a mailbox. A supervisor restarts it when it crashes. Every file,
/// socket, variable and clock that it touches goes through one door, which checks a policy and leaves a record in a
/// tamper-evident log.
#[derive(Debug, Parser)]
#[command(name = "airssys", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print what a program can read: JSON, one value a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Which log lines to print on stderr: error, warn, info, debug, trace, or a filter such as `guest=debug`
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        default_value = "warn,guest=info",
        env = "AIRSSYS_LOG"
    )]
    pub(crate) log: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  airssys run examples/logwatch                 run the system that examples/logwatch/airssys.toml describes
  airssys run tool.wasm -- --flag               run a WASI command that is granted nothing
  airssys check examples/logwatch               find every problem of a manifest
  airssys audit query examples/logwatch --denied    who was denied what
  airssys explain 17 examples/logwatch          why, and what would permit it

Exit status: 0 done; 1 the system or the component failed; 2 wrong usage;
  3 a manifest or a component is not what it should be; 4 an audit log was tampered with.
  A WASI command's own status is passed through.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Check(Check),
    Inspect(Inspect),
    #[command(subcommand)]
    Audit(Audit),
    Explain(Explain),
}

/// Run a system from its manifest, or one WASI command.
///
/// A manifest's system runs until it is idle (with --until-idle), until it gives up, or until Ctrl-C; then its
/// components stop in reverse start order, each after what is in its mailbox. A second Ctrl-C ends it at once.
///
/// A command runs with the standard streams of this program and is granted nothing: no file, no network, no variable.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// A folder with an `airssys.toml`, a manifest, or a component (`.wasm`)
    pub(crate) target: PathBuf,

    /// Give a variable of the manifest's `[vars]` another value; a path is relative to the current folder
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,

    /// Stop when there is nothing left to do: no message sent for this long, every mailbox empty
    #[arg(long, value_name = "QUIET", num_args = 0..=1, require_equals = true, default_missing_value = "1s",
          value_parser = duration)]
    pub(crate) until_idle: Option<Duration>,

    /// Carry no denial out, only record what would be denied: to try a manifest's policy
    #[arg(long, conflicts_with = "learn")]
    pub(crate) audit_only: bool,

    /// As --audit-only, and record all that is needed: `airssys audit learn` then writes the grants of this run
    #[arg(long)]
    pub(crate) learn: bool,

    /// Arguments of the command
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Find every problem of a manifest, without running anything.
///
/// The components that it names are loaded and compiled, and the directories that it grants are opened.
#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) target: PathBuf,

    /// Give a variable of the manifest's `[vars]` another value; a path is relative to the current folder
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

/// Show what a component is and what it imports.
#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// The component (`.wasm`)
    pub(crate) component: PathBuf,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give a name and a value, such as inbox=/var/log/nginx".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = airssys_wasm::manifest::parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "give a whole number and ms, s, m or h, such as 500ms".to_owned())
}
