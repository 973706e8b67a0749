//! Audit records, for people and for programs.

use airssys_osl::{
    Action, Verdict,
    audit::{Outcome, Phase, Record, Report, State},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Paint, Style, printable};

/// One record as one line: when, who, what, of what, and what came of it.
pub(crate) fn record_line(paint: Paint, record: &Record) -> String {
    let verdict = match record.verdict() {
        Verdict::Allow => paint.text(Style::Good, "allow"),
        Verdict::Deny => paint.text(Style::Bad, "deny "),
        Verdict::WouldDeny => paint.text(Style::Bad, "would deny"),
    };
    let outcome = match record.outcome() {
        Outcome::Pending => "intent".to_owned(),
        Outcome::Success => "ok".to_owned(),
        Outcome::Denied => "denied".to_owned(),
        Outcome::Failed(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        Outcome::Cancelled => "cancelled".to_owned(),
    };
    let mut line = format!(
        "{:>8} {} {verdict} {:<20} {:<14} {}  [{}] {outcome}",
        record.sequence(),
        timestamp(record.wall_ns()),
        record.principal(),
        action(record),
        resource(record.action(), record.resource()),
        record.rule(),
    );
    if record.bytes() > 0 {
        line.push_str(&format!(", {} bytes", record.bytes()));
    }
    line
}

/// A resource on one line. Of two objects, the second is told in words.
pub(crate) fn resource(action: Option<Action>, resource: &[u8]) -> String {
    let Some(at) = resource.iter().position(|byte| *byte == 0) else { return printable(resource) };
    let (first, second) = (resource.get(..at), resource.get(at + 1..));
    let between = match action {
        Some(Action::NetAccept | Action::FsRename | Action::FsCopy) => "from",
        Some(Action::FsSymlink | Action::FsHardLink) => "to",
        _ => "at",
    };
    format!("{} {between} {}", printable(first.unwrap_or_default()), printable(second.unwrap_or_default()))
}

/// One record with all its fields. Resources that are not UTF-8 are also given as hexadecimal digits.
pub(crate) fn record_json(record: &Record) -> Value {
    let mut value = json!({
        "seq": record.sequence(),
        "time": timestamp(record.wall_ns()),
        "time_ns": record.wall_ns(),
        "monotonic_ns": record.monotonic_ns(),
        "boot_id": hex(&record.boot_id()),
        "principal": record.principal(),
        "action": action(record),
        "resource": String::from_utf8_lossy(record.resource()),
        "verdict": match record.verdict() {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::WouldDeny => "would_deny",
        },
        "rule": record.rule(),
        "epoch": record.epoch(),
        "phase": match record.phase() { Phase::Intent => "intent", Phase::Done => "done" },
        "outcome": match record.outcome() {
            Outcome::Pending => "pending",
            Outcome::Success => "success",
            Outcome::Denied => "denied",
            Outcome::Failed(_) => "failed",
            Outcome::Cancelled => "cancelled",
        },
        "bytes": record.bytes(),
        "duration_ns": record.duration_ns(),
    });
    let Some(fields) = value.as_object_mut() else { return value };
    if let Outcome::Failed(errno) = record.outcome() {
        fields.insert("errno".to_owned(), errno.into());
    }
    if record.intent() != 0 {
        fields.insert("intent".to_owned(), record.intent().into());
    }
    if record.trace() != [0; 16] {
        fields.insert("trace".to_owned(), hex(&record.trace()).into());
    }
    if record.is_cut() {
        fields.insert("resource_cut".to_owned(), true.into());
    }
    if std::str::from_utf8(record.resource()).is_err() {
        fields.insert("resource_hex".to_owned(), hex(record.resource()).into());
    }
    value
}

/// What `audit verify` found, for people.
pub(crate) fn report_text(paint: Paint, dir: &str, report: &Report) -> String {
    let verdict = paint.text(Style::Good, "verified");
    let state = match report.state {
        State::Open => "a program writes it now",
        State::Closed => "closed in order",
        State::Crashed => "its last writer died; the next one repairs it",
    };
    let mut text = format!(
        "{verdict} {dir}\n  {} records, {} checkpoints, the last of {}\n  {state}",
        report.records,
        report.checkpoints,
        timestamp(report.last_checkpoint_ns),
    );
    if report.unsealed > 0 {
        text.push_str(&format!(
            "\n  {} records after the last checkpoint: linked, not yet signed",
            report.unsealed
        ));
    }
    if report.torn_bytes > 0 {
        text.push_str(&format!("\n  {} bytes after the last whole record", report.torn_bytes));
    }
    text
}

/// What `audit verify` found, for programs. `checkpoint` is what to keep elsewhere.
pub(crate) fn report_json(dir: &str, report: &Report) -> Value {
    json!({
        "verified": true,
        "log": dir,
        "records": report.records,
        "checkpoints": report.checkpoints,
        "last_checkpoint": timestamp(report.last_checkpoint_ns),
        "unsealed": report.unsealed,
        "torn_bytes": report.torn_bytes,
        "state": match report.state {
            State::Open => "open",
            State::Closed => "closed",
            State::Crashed => "crashed",
        },
        "checkpoint": report.checkpoint,
    })
}

/// RFC 3339, in UTC.
pub(crate) fn timestamp(wall_ns: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(wall_ns.into()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{wall_ns} ns"))
}

/// The name of an action, or the number of one that a newer version knows.
fn action(record: &Record) -> String {
    record
        .action()
        .map_or_else(|| format!("action {}", record.action_number()), |action| action.name().to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
