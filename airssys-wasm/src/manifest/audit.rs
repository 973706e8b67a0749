//! `[audit]`: where the log is, how it is written, and where it is sent.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use airssys_osl::{
    Action,
    audit::{DenialLimit, Durability, LogOptions, Redaction, Retention},
};

use super::{
    Located, parse,
    section::{Notes, Section, nearest},
    units,
};

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct AuditSpec {
    /// The directory of the log, absolute.
    pub dir: PathBuf,
    /// How it is written.
    pub options: LogOptions,
    /// The file of the key by which redacted parts can be told apart, absolute.
    pub redact_key: Option<Located<PathBuf>>,
    /// Where records are sent to while the system runs.
    pub exports: Vec<Export>,
    /// Where checkpoints are published while the system runs.
    pub anchors: Vec<Anchor>,
}

/// `[audit.export.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name: the place up to which all has arrived is kept under it.
    pub name: String,
    /// Where records go.
    pub to: To,
}

/// `[audit.anchor.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its name.
    pub name: String,
    /// Where checkpoints go.
    pub to: To,
    /// How often.
    pub every: Duration,
}

/// Where records or checkpoints are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Appended to a file, absolute.
    File(PathBuf),
    /// The system's log, by a socket.
    Syslog(PathBuf),
    /// A collector of syslog over TCP.
    SyslogTcp(SocketAddr),
    /// The journal of systemd, by its socket.
    Journal(PathBuf),
    /// A collector of OpenTelemetry over HTTP: its address, what it is called, and the path of the request.
    Otlp(SocketAddr, String, String),
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Syslog,
    Journal,
    Otlp,
}

/// Where records go.
const EXPORTS: &[(&str, Kind)] =
    &[("jsonl", Kind::File), ("syslog", Kind::Syslog), ("journald", Kind::Journal), ("otlp", Kind::Otlp)];

/// Where checkpoints go.
const ANCHORS: &[(&str, Kind)] =
    &[("file", Kind::File), ("syslog", Kind::Syslog), ("journald", Kind::Journal), ("otlp", Kind::Otlp)];

const DURABILITIES: &[(&str, Durability)] =
    &[("none", Durability::None), ("batch", Durability::Batch), ("durable", Durability::Durable)];

/// How often a checkpoint is published where the manifest does not say.
const EVERY: Duration = Duration::from_secs(60);

/// The most that a manifest may say of sizes: beyond it an option is a mistake, not a wish.
const COUNTS: u32 = 1_000_000;

pub(super) fn read(section: Option<Section<'_>>, state: &Path, notes: &mut Notes<'_>) -> AuditSpec {
    let mut spec = AuditSpec {
        dir: state.join("audit"),
        options: LogOptions::default(),
        redact_key: None,
        exports: Vec::new(),
        anchors: Vec::new(),
    };
    let Some(mut section) = section else { return spec };
    if let Some(dir) = section.path("dir", notes) {
        spec.dir = dir.value;
    }
    read_options(&mut section, &mut spec.options, notes);
    if let Some(redact) = section.table("redact", notes) {
        (spec.options.redaction, spec.redact_key) = read_redaction(redact, notes);
    }
    let exports = section.table("export", notes);
    for (name, mut export) in parse::named(exports.as_ref(), notes) {
        let to = read_to(&mut export, EXPORTS, notes);
        export.finish(notes);
        spec.exports.extend(to.map(|to| Export { name: name.value, to }));
    }
    let anchors = section.table("anchor", notes);
    for (name, mut anchor) in parse::named(anchors.as_ref(), notes) {
        let to = read_to(&mut anchor, ANCHORS, notes);
        let every = anchor.time("every", notes).unwrap_or(EVERY);
        anchor.finish(notes);
        spec.anchors.extend(to.map(|to| Anchor { name: name.value, to, every }));
    }
    section.finish(notes);
    spec
}

fn read_options(section: &mut Section<'_>, options: &mut LogOptions, notes: &mut Notes<'_>) {
    if let Some(durability) = section.word("durability", DURABILITIES, notes) {
        options.durability = durability;
    }
    if let Some(bytes) = section.parsed("queue", units::SIZE, notes, units::size) {
        options.queue_bytes = bytes.value;
    }
    if let Some(deadline) = section.parsed("queue_deadline", units::DURATION, notes, units::duration) {
        options.queue_deadline = deadline.value;
    }
    if let Some(records) = section.integer("checkpoint_records", 1..COUNTS + 1, notes) {
        options.checkpoint_records = records.into();
    }
    if let Some(interval) = section.time("checkpoint_interval", notes) {
        options.checkpoint_interval = interval;
    }
    if let Some(bytes) = read_size(section, "segment", notes) {
        options.segment_bytes = bytes;
    }
    if let Some(age) = section.time("segment_age", notes) {
        options.segment_age = age;
    }
    if let Some(interval) = section.time("key_interval", notes) {
        options.key_interval = interval;
    }
    if let Some(mut kept) = section.table("retention", notes) {
        options.retention = Retention {
            bytes: read_size(&mut kept, "size", notes),
            age: kept.time("age", notes),
            segments: kept.integer("segments", 1..COUNTS + 1, notes).map(|count| count as usize),
        };
        kept.finish(notes);
    }
    if let Some(mut denials) = section.table("denials", notes) {
        let DenialLimit { burst, per_second } = DenialLimit::default();
        options.denials = DenialLimit {
            burst: denials.integer("burst", 1..COUNTS + 1, notes).unwrap_or(burst),
            per_second: denials.integer("per_second", 1..COUNTS + 1, notes).unwrap_or(per_second),
        };
        denials.finish(notes);
    }
}

fn read_size(section: &mut Section<'_>, key: &'static str, notes: &mut Notes<'_>) -> Option<u64> {
    let size = |text: &str| units::size(text).filter(|size| *size > 0);
    section.parsed(key, units::SIZE, notes, size).map(|size| size.value as u64)
}

fn read_redaction(mut section: Section<'_>, notes: &mut Notes<'_>) -> (Redaction, Option<Located<PathBuf>>) {
    let mut redaction = Redaction::new();
    for below in section.texts("below", notes) {
        if below.value.starts_with('/') {
            redaction = redaction.below(below.value);
        } else {
            let message = format!("`{}` must be absolute paths", section.place("below"));
            notes.problem(&below.span, message, None);
        }
    }
    for pattern in section.texts("names", notes) {
        if pattern.value.matches('*').count() > 1 || pattern.value.contains('/') || pattern.value.is_empty() {
            let message = format!("`{}`: \"{}\" is no pattern", section.place("names"), pattern.value);
            let help = "a name without `/`, with one `*` at most, such as \"*.pem\"".to_owned();
            notes.problem(&pattern.span, message, Some(help));
        } else {
            redaction = redaction.component(&pattern.value);
        }
    }
    for name in section.texts("actions", notes) {
        match Action::from_name(&name.value) {
            Some(action) => redaction = redaction.whole(action),
            None => {
                let message = format!("`{}`: no action is called `{}`", section.place("actions"), name.value);
                let help = nearest(&name.value, Action::ALL.iter().map(|action| action.name()));
                notes.problem(&name.span, message, help);
            }
        }
    }
    let key = section.path("key", notes);
    section.finish(notes);
    (redaction, key)
}

/// Where records go: a kind, and what it needs.
fn read_to(section: &mut Section<'_>, kinds: &[(&str, Kind)], notes: &mut Notes<'_>) -> Option<To> {
    let kind = section.word("to", kinds, notes);
    if section.take("to").is_none() {
        section.missing("to", "\"syslog\"", notes);
    }
    let Some(kind) = kind else {
        // What it needs depends on what it is; until that is said, nothing is too much.
        for key in ["file", "socket", "address", "host", "path"] {
            section.take(key);
        }
        return None;
    };
    let parse_address = |text: &str| text.parse::<SocketAddr>().ok();
    let expected = "an address and a port, such as \"127.0.0.1:4318\"";
    Some(match kind {
        Kind::File => {
            let file = section.path("file", notes);
            if section.take("file").is_none() {
                section.missing("file", "\"audit.jsonl\"", notes);
            }
            To::File(file?.value)
        }
        Kind::Syslog => {
            let address = section.parsed("address", expected, notes, parse_address);
            match address {
                Some(address) => To::SyslogTcp(address.value),
                None if section.take("address").is_some() => return None,
                None => To::Syslog(read_socket(section, "/dev/log", notes)),
            }
        }
        Kind::Journal => To::Journal(read_socket(section, "/run/systemd/journal/socket", notes)),
        Kind::Otlp => {
            let address = section.parsed("address", expected, notes, parse_address);
            if section.take("address").is_none() {
                section.missing("address", "\"127.0.0.1:4318\"", notes);
            }
            let host = section.text("host", notes).map(|host| host.value);
            let path = section.text("path", notes).map_or_else(|| "/v1/logs".to_owned(), |path| path.value);
            let address = address?.value;
            To::Otlp(address, host.unwrap_or_else(|| address.to_string()), path)
        }
    })
}

fn read_socket(section: &mut Section<'_>, default: &str, notes: &mut Notes<'_>) -> PathBuf {
    section.path("socket", notes).map_or_else(|| PathBuf::from(default), |socket| socket.value)
}
