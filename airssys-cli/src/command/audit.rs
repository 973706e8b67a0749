//! `airssys audit`: read and prove the log.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use airssys_osl::{
    ErrorKind, Verdict,
    audit::{self, Progress, Reader, Record, ocsf},
    bootstrap,
    policy::Mode,
};

use super::{explain, export};
use crate::{
    args::{Audit, LogPath, Query, Tail, Verify},
    report::{Failure, Terminal, bar, record_json, record_line, report_json, report_text},
    target::ManifestFile,
};

/// How often a log that is followed is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

/// The largest file with checkpoints, in bytes: one each second for some days. Of a longer one, the end proves the most.
const ANCHOR_BYTES: u64 = 128 << 20;

/// How wide what shows progress is, in columns.
const BAR: usize = 24;

pub(super) fn audit(audit: Audit, terminal: &Terminal) -> Result<ExitCode, Failure> {
    match audit {
        Audit::Tail(args) => tail(&args, terminal),
        Audit::Query(args) => query(args, terminal),
        Audit::Verify(args) => verify(&args, terminal),
        Audit::Explain(args) => explain::explain(&args, terminal),
        Audit::Learn(args) => explain::learned(&args, terminal),
        Audit::Export(args) => export::export(&args, terminal),
        Audit::Anchor(args) => export::anchor(&args, terminal),
    }
}

fn tail(args: &Tail, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.log)?;
    let mut reader = open(&dir)?;
    let mut last = VecDeque::with_capacity(args.lines.min(1024));
    for record in &mut reader {
        last.push_back(record.map_err(|error| unreadable(&dir, error))?);
        if last.len() > args.lines {
            last.pop_front();
        }
    }
    for record in last {
        if print(terminal, &record)?.is_break() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if args.follow {
        follow(&dir, reader, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints new records until nobody wants them any more.
fn follow(dir: &Path, mut reader: Reader, terminal: &Terminal) -> Result<(), Failure> {
    loop {
        for record in &mut reader {
            if print(terminal, &record.map_err(|error| unreadable(dir, error))?)?.is_break() {
                return Ok(());
            }
        }
        std::thread::sleep(FOLLOW);
    }
}

fn query(args: Query, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.log)?;
    let query = audit::Query {
        since_ns: args.since,
        until_ns: args.until,
        principal: args.principal,
        action: args.action,
        resource_prefix: args.resource.map(String::into_bytes),
        verdict: match (args.denied, args.allowed, args.would_deny) {
            (true, ..) => Some(Verdict::Deny),
            (_, true, _) => Some(Verdict::Allow),
            (_, _, true) => Some(Verdict::WouldDeny),
            _ => None,
        },
        trace: args.trace,
    };
    for record in Reader::query(&dir, query).map_err(|error| unopened(&dir, error))? {
        let record = record.map_err(|error| unreadable(&dir, error))?;
        let printed = match args.ocsf {
            true => terminal.line(&ocsf::to_json(&record))?,
            false => print(terminal, &record)?,
        };
        if printed.is_break() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &Verify, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.log)?;
    let anchor = args.anchor.as_ref().map(|file| read_anchor(file)).transpose()?;
    let shown = dir.display().to_string();
    let mut told = 0;
    let progress = |progress: Progress| {
        let Progress { bytes, total_bytes, records, .. } = progress;
        let percent = (bytes.saturating_mul(100) / total_bytes.max(1)).min(100);
        if terminal.is_live() && percent > told {
            told = percent;
            let bar = bar(percent, BAR);
            terminal.status(format!("verifying {shown} {bar} {percent} %, {records} records"));
        }
    };
    let verified = audit::verify_with(&dir, anchor.as_deref(), progress);
    terminal.status(String::new());
    let report = verified.map_err(|error| match error.kind() {
        ErrorKind::Tampered => Failure::tampered(format!("the audit log in `{shown}` is not what it was"))
            .caused_by(error)
            .help("keep the folder as evidence; the records before that place are as they were written"),
        _ => unreadable(&dir, error),
    })?;
    let text = || report_text(terminal.out, &shown, &report);
    let _ = terminal.answer(text, || report_json(&shown, &report))?;
    Ok(ExitCode::SUCCESS)
}

fn read_anchor(file: &Path) -> Result<String, Failure> {
    let unusable = || Failure::invalid(format!("cannot read the checkpoint `{}`", file.display()));
    let bytes = bootstrap::read(file, ANCHOR_BYTES).map_err(|error| unusable().caused_by(error))?.bytes;
    String::from_utf8(bytes).map_err(|error| unusable().caused_by(error))
}

/// The folder of the log: itself, or what a manifest says.
pub(super) fn log_dir(path: &LogPath) -> Result<PathBuf, Failure> {
    if Reader::open(&path.path).is_ok() {
        return Ok(path.path.clone());
    }
    // What a run is still to find out is nobody's concern here.
    match ManifestFile::read_in(&path.path, &[], Some(Mode::Learn)) {
        Ok(file) => Ok(file.manifest.audit.dir),
        Err(failure) => {
            Err(failure.help("give a folder with an `airssys.toml`, a manifest, or the folder of a log"))
        }
    }
}

pub(super) fn open(dir: &Path) -> Result<Reader, Failure> {
    Reader::open(dir).map_err(|error| unopened(dir, error))
}

pub(super) fn unopened(dir: &Path, error: airssys_osl::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::failed(format!("there is no audit log in `{}` yet", dir.display())),
        _ => unreadable(dir, error),
    }
}

pub(super) fn unreadable(dir: &Path, error: airssys_osl::Error) -> Failure {
    let failure = match error.kind() {
        ErrorKind::Tampered => Failure::tampered(format!("cannot read the audit log in `{}`", dir.display())),
        _ => Failure::failed(format!("cannot read the audit log in `{}`", dir.display())),
    };
    failure.caused_by(error)
}

/// Prints one record, and says whether anybody wants more.
fn print(terminal: &Terminal, record: &Record) -> Result<ControlFlow<()>, Failure> {
    terminal.answer(|| record_line(terminal.out, record), || record_json(record))
}
