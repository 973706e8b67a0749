//! Every flag, documented. `airssys help COMMAND` prints what is said here.

mod audit;
mod control;
mod dead;
mod new;
mod process;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    audit::{Anchor, Audit, Explain, Export, Learn, LogPath, Query, Tail, Target, TargetKind, Verify},
    control::{History, Rollback, Running, Status, Upgrade},
    dead::{Dead, DeadSystem, Dispose, List, Show},
    new::{Language, New},
    process::Sandbox,
};
use crate::target;

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
  airssys new word-count --lang c               begin a component
  airssys run examples/logwatch                 run the system that examples/logwatch/airssys.toml describes
  airssys run --dir data tool.wasm --flag       run a WASI program that may use one folder
  airssys upgrade stats new.wasm examples/logwatch  another version for a component that runs
  airssys dead list examples/logwatch           which messages were given up, and why
  airssys check examples/logwatch               find every problem of a manifest
  airssys audit query examples/logwatch --denied    who was denied what
  airssys explain 17 examples/logwatch          why, and what would permit it
  airssys sandbox --ro . -- grep -r word .      run a program of this machine in a sandbox

Exit status: 0 done; 1 the system or the component failed; 2 wrong usage;
  3 a manifest or a component is not what it should be; 4 an audit log was tampered with.
  A WASI program's own status is passed through; 134 is one that was ended.
  130 is a system that a second Ctrl-C ended at once.";

impl Args {
    /// Reads the program's own arguments.
    ///
    /// What stands behind a program that is run is the program's own; behind a system it is for us, as behind anything
    /// else: there the options are read as if they stood before it.
    pub(crate) fn read() -> Self {
        let given: Vec<OsString> = std::env::args_os().collect();
        let args = Self::parse_from(&given);
        match &args.command {
            Command::Run(run) if run.behind().is_some() && !target::is_program(run.target()) => {
                Self::parse_from(options_first(given, run.behind().unwrap_or_default().len()))
            }
            _ => args,
        }
    }
}

/// Puts the last `count` arguments before the one that they stand behind. Behind a `--` nothing is an option.
fn options_first(mut given: Vec<OsString>, count: usize) -> Vec<OsString> {
    let behind = given.split_off(given.len().saturating_sub(count));
    let target = given.pop();
    let is_system =
        behind.first().is_some_and(|first| first != "--") && given.last().is_some_and(|last| last != "--");
    match is_system {
        true => given.into_iter().chain(behind).chain(target).collect(),
        false => given.into_iter().chain(target).chain(behind).collect(),
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(New),
    Run(Run),
    Status(Status),
    Upgrade(Upgrade),
    Rollback(Rollback),
    History(History),
    #[command(subcommand)]
    Dead(Dead),
    Check(Check),
    Inspect(Inspect),
    #[command(subcommand)]
    Audit(Audit),
    Explain(Explain),
    Sandbox(Sandbox),
    #[command(subcommand)]
    Cache(Cache),
    /// Show what this machine can hold a program with, and why not the rest
    ///
    /// It finds out by trying. Of that nothing stays, but where control groups are made, of version 2, they go on counting memory
    /// and processes; and where the own group was delegated, airssys is in a leaf of that while it runs.
    Doctor,
    /// What this program is started as, to compile: not for people
    #[command(name = PRECOMPILE, hide = true)]
    Precompile {
        /// What to make of the bytes on stdin
        recipe: String,
    },
}

/// By which name this program is started to compile, in a sandbox.
pub(crate) const PRECOMPILE: &str = "precompile";

/// The compiled code that is kept, so that the next start costs milliseconds.
///
/// All systems and programs of this user share it. It bounds itself: a manifest's `system.cache` says how large it gets.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Cache {
    /// Show where it is and how much it holds
    Show,
    /// Remove what it holds; what runs goes on, what is started next is compiled anew
    Clean {
        /// Remove only what was used the longest time ago, until the rest fits into this
        #[arg(long, value_name = "SIZE", value_parser = size)]
        keep: Option<usize>,
    },
}

/// Run a system from its manifest, or one program.
///
/// A manifest's system runs until it is idle (with --until-idle), until it gives up, or until Ctrl-C; then its
/// components stop in reverse start order, each after what is in its mailbox. A second Ctrl-C ends it at once, with
/// status 130.
///
/// A program is a component that exports `wasi:cli/run`, or a core module of WASI 0.1, as bytes or as text (`.wat`). It
/// runs with the standard streams of this program and may do what the options give it: without them no file, no
/// network, no variable. What stands behind it is its own.
#[derive(Debug, ClapArgs)]
#[command(override_usage = "airssys run [OPTIONS] <TARGET> [ARGUMENT]...", after_help = RUN_AFTER_HELP)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) system: RunSystem,

    #[command(flatten)]
    pub(crate) program: RunProgram,

    /// A folder with an `airssys.toml`, a manifest, or a program: a `.wasm`, a `.wat`, or what begins as one;
    /// and behind it, the program's arguments
    // One list, so that nothing behind the target is ever read as an option of ours.
    #[arg(value_name = "TARGET", required = true, trailing_var_arg = true)]
    pub(crate) target_and_arguments: Vec<OsString>,
}

impl Run {
    pub(crate) fn target(&self) -> &Path {
        self.target_and_arguments.first().map_or(Path::new(""), Path::new)
    }

    /// What stands behind the target, where there is anything.
    fn behind(&self) -> Option<&[OsString]> {
        self.target_and_arguments.get(1..).filter(|behind| !behind.is_empty())
    }

    /// The arguments: what stands behind the target, without a `--` between.
    pub(crate) fn arguments(&self) -> &[OsString] {
        match self.behind().unwrap_or_default() {
            [dashes, arguments @ ..] if dashes == "--" => arguments,
            arguments => arguments,
        }
    }
}

const RUN_AFTER_HELP: &str = "\
Examples:
  airssys run --dir data::/data:ro tool.wasm --flag /data/in.csv
  airssys run --env LANG=C --max-memory 64MiB --timeout 10s tool.wasm
  airssys run --invoke add module.wat 1 2

Exit status: the program's own; 134 where it was ended, because it crashed or passed a limit.";

/// Options of a system.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of a system")]
pub(crate) struct RunSystem {
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

    /// As --audit-only, and record all that is needed: `airssys audit learn` then writes the grants of this run. What a
    /// component asks for it gets, so have no secrets in the environment
    #[arg(long)]
    pub(crate) learn: bool,
}

/// Options of a program.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of a program")]
pub(crate) struct RunProgram {
    /// Open a directory for it, under its own name or another one (--dir /srv/data::/data); `:ro` at the end lets it
    /// only read
    #[arg(long, value_name = "HOST[::GUEST][:ro]", value_parser = mapping)]
    pub(crate) dir: Vec<Mapping>,

    /// Give it a variable; without a value, the one that this program has
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub(crate) env: Vec<(String, Option<String>)>,

    /// Call this function in place of its start, and print what it returns: of a module by its name, with the
    /// arguments as its values; of a component with them, as in `greet("you")`
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) invoke: Option<String>,

    /// The most memory of it, 1GiB unless said otherwise; wanting more ends it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_memory: Option<usize>,

    /// How long it may take, waiting included
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long compiling it may take, 2m unless said otherwise; it happens in a sandbox, once
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) compile_time: Option<Duration>,

    /// How much memory compiling it may take, 2GiB unless said otherwise
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) compile_memory: Option<usize>,

    /// What it sees as its own name (`argv[0]`): the file's by default
    #[arg(long, value_name = "NAME")]
    pub(crate) argv0: Option<String>,

    /// Let it use the network: any name, and any global, loopback or private address
    #[arg(long)]
    pub(crate) inherit_network: bool,

    /// Let it read every variable of this program
    #[arg(long)]
    pub(crate) inherit_env: bool,

    /// Settings by the names of `wasmtime run`: `timeout=TIME`, `max-memory-size=BYTES`; `component-model` and other
    /// proposals that are there anyway change nothing
    #[arg(short = 'W', long = "wasm", value_name = "KEY[=VALUE]", value_delimiter = ',')]
    pub(crate) wasm: Vec<String>,

    /// Settings by the names of `wasmtime run`: `inherit-network`, `inherit-env`; `cli`, `http` and others that are there
    /// anyway change nothing
    #[arg(short = 'S', long = "wasi", value_name = "KEY[=VALUE]", value_delimiter = ',')]
    pub(crate) wasi: Vec<String>,
}

impl RunProgram {
    /// Whether any option of a program is given.
    pub(crate) fn is_used(&self) -> bool {
        let lists =
            self.dir.is_empty() && self.env.is_empty() && self.wasm.is_empty() && self.wasi.is_empty();
        let limits = self.max_memory.is_none() && self.timeout.is_none();
        let limits = limits && self.compile_time.is_none() && self.compile_memory.is_none();
        let others = self.invoke.is_none() && self.argv0.is_none();
        !(lists && limits && others) || self.inherit_network || self.inherit_env
    }
}

/// A directory of the user's, and what a program calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) read_only: bool,
}

/// Find every problem of a manifest, without running anything.
///
/// The components that it names are loaded and compiled, and the directories that it grants are opened.
#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// A folder with an `airssys.toml`, or a manifest
    #[arg(default_value = ".")]
    pub(crate) target: PathBuf,

    /// Print the policy in the words of Cedar instead, and load nothing
    #[arg(long, value_name = "PART")]
    pub(crate) cedar: Option<CedarPart>,

    /// Give a variable of the manifest's `[vars]` another value; a path is relative to the current folder
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

/// What Cedar has a file for each of.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CedarPart {
    /// The rules
    Policies,
    /// Principals, roles and directories, as JSON
    Entities,
    /// What the others are made of
    Schema,
}

/// Show what a component or a core module is, exports and imports.
#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A component or a core module, as bytes or as text (`.wasm`, `.wat`)
    pub(crate) file: PathBuf,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give a name and a value, such as inbox=/var/log/nginx".to_owned()),
    }
}

/// A directory: what is behind the first `::` is its name for the program.
fn mapping(text: &str) -> Result<Mapping, String> {
    let (path, read_only) = match text.strip_suffix(":ro") {
        Some(path) => (path, true),
        None => (text, false),
    };
    let (host, guest) = path.split_once("::").unwrap_or((path, path));
    if host.is_empty() || guest.is_empty() {
        return Err("give a directory and perhaps its name for the program, such as data::/data".to_owned());
    }
    Ok(Mapping { host: host.into(), guest: guest.to_owned(), read_only })
}

fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() || text.contains('\0') {
        return Err("give a name and perhaps a value, such as LANG=C".to_owned());
    }
    Ok((name.to_owned(), value))
}

pub(crate) fn size(text: &str) -> Result<usize, String> {
    let parsed = airssys_wasm::manifest::parse_size(text).or_else(|| text.parse().ok());
    parsed.filter(|size| *size > 0).ok_or_else(|| {
        "give a whole number of bytes, or one with B, KiB, MiB or GiB, such as 64MiB".to_owned()
    })
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = airssys_wasm::manifest::parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "give a whole number and ms, s, m, h or d, such as 500ms".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_behind_a_system_are_ours() {
        let given = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let check =
            |text, count, expected| assert_eq!(options_first(given(text), count), given(expected), "{text}");
        check("airssys run logwatch --until-idle", 1, "airssys run --until-idle logwatch");
        check("airssys run logwatch --set a=b --json", 3, "airssys run --set a=b --json logwatch");
        check("airssys run logwatch -- a", 2, "airssys run logwatch -- a");
        check("airssys run -- logwatch a", 1, "airssys run -- logwatch a");
    }

    #[test]
    fn what_stands_behind_a_program_is_its_own() {
        let check = |behind: &[&str], expected: &[&str]| {
            let given = ["airssys", "run", "--timeout", "1s", "tool.wasm"].iter().chain(behind);
            let Command::Run(run) = Args::parse_from(given).command else { panic!("another command") };
            assert_eq!((run.target(), run.arguments().len()), (Path::new("tool.wasm"), expected.len()));
            assert!(run.arguments().iter().eq(expected), "{behind:?}");
        };
        check(&[], &[]);
        check(&["--version"], &["--version"]);
        check(&["--json", "--dir", "x"], &["--json", "--dir", "x"]);
        check(&["--", "--help", "--"], &["--help", "--"]);
        check(&["-", "-x"], &["-", "-x"]);
    }

    #[test]
    fn every_option_of_a_program_counts_as_used() {
        let check = |options: &[&str], expected| {
            let given = ["airssys", "run"].iter().chain(options).chain(&["logwatch"]);
            let Command::Run(run) = Args::parse_from(given).command else { panic!("another command") };
            assert_eq!(run.program.is_used(), expected, "{options:?}");
        };
        check(&[], false);
        check(&["--until-idle"], false);
        check(&["--dir", "."], true);
        check(&["--env", "LANG"], true);
        check(&["--invoke", "add"], true);
        check(&["--max-memory", "1GiB"], true);
        check(&["--timeout", "1s"], true);
        check(&["--compile-time", "1s"], true);
        check(&["--compile-memory", "1GiB"], true);
        check(&["--argv0", "tool"], true);
        check(&["--inherit-network"], true);
        check(&["--inherit-env"], true);
        check(&["-W", "timeout=1s"], true);
        check(&["-S", "cli"], true);
    }

    fn check(text: &str, expected: Option<(&str, &str, bool)>) {
        let mapping = mapping(text).ok();
        let found = mapping
            .as_ref()
            .map(|mapping| (mapping.host.to_str().unwrap(), mapping.guest.as_str(), mapping.read_only));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn directories() {
        check(".", Some((".", ".", false)));
        check("a:ro", Some(("a", "a", true)));
        check("a::/b", Some(("a", "/b", false)));
        check("a::/b:ro", Some(("a", "/b", true)));
        check("a b::c::d", Some(("a b", "c::d", false)));
        check("a:b", Some(("a:b", "a:b", false)));
        check("", None);
        check("::b", None);
        check("a::", None);
        check(":ro", None);
    }

    #[test]
    fn variables() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(variable("A="), Ok(("A".to_owned(), Some(String::new()))));
        assert_eq!(variable("A"), Ok(("A".to_owned(), None)));
        assert!(variable("=b").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("65536"), Ok(65536));
        assert!(size("0").is_err());
        assert!(size("many").is_err());
    }
}
