//! Every flag, documented. `airssys help COMMAND` prints what is said here.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand};

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

/// Read and prove the audit log: who touched what.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    Tail(Tail),
    Query(Query),
    Verify(Verify),
}

/// Print the last records, and go on with new ones (--follow).
#[derive(Debug, ClapArgs)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) log: LogPath,

    /// How many records to begin with
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    pub(crate) lines: usize,

    /// Go on with new records until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Print the records that match all that is given.
#[derive(Debug, ClapArgs)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) log: LogPath,

    /// Only of this principal, such as `component.reader`
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,

    /// Only of this action, such as `fs.read`
    #[arg(long, value_name = "NAME", value_parser = action)]
    pub(crate) action: Option<airssys_osl::Action>,

    /// Only of resources that begin so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) resource: Option<String>,

    /// Only what was denied
    #[arg(long, conflicts_with = "allowed")]
    pub(crate) denied: bool,

    /// Only what was allowed
    #[arg(long)]
    pub(crate) allowed: bool,

    /// Only from this time on (RFC 3339, such as 2026-11-22T10:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<u64>,

    /// Only before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<u64>,
}

/// Prove that no record was changed, removed, inserted or moved.
///
/// Every hash, link, number, checkpoint and signature is recomputed. A copy of a checkpoint that was kept elsewhere
/// (--anchor) also finds a log that was replaced as a whole.
#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) log: LogPath,

    /// A file with a checkpoint of this log that was kept elsewhere
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Option<PathBuf>,
}

/// Which log.
#[derive(Debug, ClapArgs)]
pub(crate) struct LogPath {
    /// A folder with an `airssys.toml`, a manifest, or the folder of a log
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
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

fn action(text: &str) -> Result<airssys_osl::Action, String> {
    airssys_osl::Action::from_name(text).ok_or_else(|| {
        let names: Vec<_> = airssys_osl::Action::ALL.iter().map(|action| action.name()).collect();
        format!("the actions are {}", names.join(", "))
    })
}

/// Nanoseconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    let parsed = parsed.map_err(|error| format!("{error}; give a time such as 2026-11-22T10:00:00Z"))?;
    match parsed.unix_timestamp_nanos() {
        before if before < 0 => Err("that is before 1970".to_owned()),
        // No record is from the year 2554 or later.
        nanoseconds => Ok(u64::try_from(nanoseconds).unwrap_or(u64::MAX)),
    }
}
