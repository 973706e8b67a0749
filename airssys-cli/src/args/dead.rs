//! Arguments of what is done with dead letters.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::assignment;

/// Look at the messages that were given up, send them again, or throw them away.
///
/// A message becomes a dead letter when it crashed its receiver as often as `max_deliver` allows, or when its receiver was
/// stopped for good while it had it in hand, or before it came. (What was still in the mailbox then is counted, not kept.)
/// The system keeps up to 10000 of them, and 32 MiB, in `dead-letters.jsonl` in its state folder, for its owner alone:
/// payloads are in it. Where there is no room for more, the oldest quarter goes.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    List(List),
    Show(Show),
    /// Send dead letters again to a system that runs, each as its sender, which needs the grant to send now
    ///
    /// Where its receiver's mailbox takes it, the letter is gone; all others stay. Nobody waits for the answer any more of what
    /// was a call.
    Retry(Dispose),
    /// Throw dead letters away, also of a system that does not run
    Drop(Dispose),
}

/// List the dead letters, the newest last.
#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) system: DeadSystem,

    /// Only those to this component or process
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,

    /// Only those from this component or process
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
}

/// Show one dead letter with its payload: as text, or, where it is none, as hexadecimal digits.
#[derive(Debug, ClapArgs)]
pub(crate) struct Show {
    /// The letter's number, as `airssys dead list` shows it
    pub(crate) letter: u64,

    #[command(flatten)]
    pub(crate) system: DeadSystem,

    /// Print the payload alone, as it is
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// Which system.
#[derive(Debug, ClapArgs)]
pub(crate) struct DeadSystem {
    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) target: PathBuf,

    /// The values that the system was started with
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

// Which dead letters of which system. What stood here as documentation would be the help of both verbs.
#[derive(Debug, ClapArgs)]
pub(crate) struct Dispose {
    /// The numbers of letters, as `airssys dead list` shows them, and behind them the system: a folder with an
    /// `airssys.toml`, or a manifest; the current folder, unless said otherwise
    #[arg(value_name = "NUMBER|SYSTEM", required_unless_present = "all")]
    pub(crate) words: Vec<String>,

    /// All letters that there are
    #[arg(long)]
    pub(crate) all: bool,

    /// The values that the system was started with
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}
