//! The flags of `airssys audit` and `airssys explain`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

/// Read and prove the audit log: who touched what.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    Tail(Tail),
    Query(Query),
    Verify(Verify),
    Explain(Explain),
    Learn(Learn),
    Export(Export),
    Anchor(Anchor),
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
    #[arg(long, conflicts_with_all = ["allowed", "would_deny"])]
    pub(crate) denied: bool,

    /// Only what was allowed
    #[arg(long, conflicts_with = "would_deny")]
    pub(crate) allowed: bool,

    /// Only what was done because denials were not carried out
    #[arg(long)]
    pub(crate) would_deny: bool,

    /// Only of this trace: 32 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = trace)]
    pub(crate) trace: Option<Trace>,

    /// Only from this time on (RFC 3339, such as 2026-11-22T10:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<u64>,

    /// Only before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<u64>,

    /// Print each record in the words of OCSF, as JSON
    #[arg(long)]
    pub(crate) ocsf: bool,
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

/// Say why something was allowed or denied, and the least change of the manifest that would permit it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// The number of a record, as `airssys audit query` shows it
    pub(crate) record: u64,

    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,

    /// Give a variable of the manifest's `[vars]` another value, as in the run that is asked about
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::assignment)]
    pub(crate) set: Vec<(String, String)>,
}

/// Write the grants that a run needed, and nothing more.
///
/// It reads what was recorded since the last start of the system; that should have been with `airssys run --learn`.
/// What is printed takes the place of the `grants` in the manifest.
#[derive(Debug, ClapArgs)]
pub(crate) struct Learn {
    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,

    /// Give a variable of the manifest's `[vars]` another value, as in the run that is asked about
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::assignment)]
    pub(crate) set: Vec<(String, String)>,

    /// Read the whole log, not only the last run
    #[arg(long)]
    pub(crate) all: bool,
}

/// Send the records elsewhere, each at least once.
///
/// The cursor remembers up to where all has arrived; the next export goes on there.
#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) log: LogPath,

    #[command(flatten)]
    pub(crate) target: Target,

    /// The file that remembers up to where all has arrived
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor: PathBuf,

    /// Go on with new records until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Publish the newest signed checkpoint, so that the log cannot be replaced as a whole.
///
/// Keep it where those who can write the log cannot; `airssys audit verify --anchor FILE` proves the log by it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Anchor {
    #[command(flatten)]
    pub(crate) log: LogPath,

    #[command(flatten)]
    pub(crate) target: Target,
}

/// Where to send.
#[derive(Debug, ClapArgs)]
pub(crate) struct Target {
    /// Lines on stdout or in a file; syslog (RFC 5424); systemd's journal; OpenTelemetry over HTTP
    #[arg(long, value_enum, default_value_t = TargetKind::Jsonl)]
    pub(crate) to: TargetKind,

    /// With jsonl: append to this file instead of printing on stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// With syslog and journald: the socket, if not the usual one
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// With otlp, and with syslog over TCP: the collector, such as 127.0.0.1:4318
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) address: Option<std::net::SocketAddr>,
}

/// The kinds of places to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetKind {
    Jsonl,
    Syslog,
    Journald,
    Otlp,
}

/// A W3C trace id.
pub(crate) type Trace = [u8; 16];

/// Which log.
#[derive(Debug, ClapArgs)]
pub(crate) struct LogPath {
    /// A folder with an `airssys.toml`, a manifest, or the folder of a log
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
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

fn trace(text: &str) -> Result<Trace, String> {
    let invalid = || "give the 32 hexadecimal digits of a trace id".to_owned();
    if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(|_| invalid())
}
