//! `[component.NAME]`.

use std::time::Duration;

use airssys_osl::policy::Grant;
use airssys_rt::{Restart, Shutdown};
use toml::{Spanned, de::DeValue};

use super::{
    ComponentSpec, HANDED_BYTES, Limits, Located, PlugSpec, Rules, TABLE_ELEMENTS, health, http, job,
    rules::ReadRules,
    section::{Notes, Section, kind},
    terms, units,
};
use crate::{component::Digest, compose::PLUGS};

/// How many others a component names that it starts behind.
const AFTER: usize = 256;

pub(super) const RESTARTS: &[(&str, Restart)] = &[
    ("permanent", Restart::Permanent),
    ("transient", Restart::Transient),
    ("temporary", Restart::Temporary),
];

/// Whether `on_restart` is "snapshot".
const ON_RESTART: &[(&str, bool)] = &[("fresh", false), ("snapshot", true)];

/// A component as far as it could be read: a tree can be checked even where a component has problems.
pub(super) struct ReadComponent {
    pub(super) name: String,
    /// Its rules are still in `read`, and its directories are to be found.
    pub(super) spec: Option<ComponentSpec>,
    pub(super) read: ReadRules,
    /// Whom it starts behind.
    pub(super) after: Vec<Located<String>>,
}

pub(super) fn read(name: String, mut section: Section<'_>, notes: &mut Notes<'_>) -> ReadComponent {
    let source = section.path("source", notes);
    if section.take("source").is_none() {
        section.missing("source", "\"component.wasm\"", notes);
    }
    let digest = read_digest(&mut section, notes);
    let plugs = read_plugs(&mut section, notes);
    let restart = section.word("restart", RESTARTS, notes);
    let expected = format!("\"brutal_kill\", \"infinity\" or {}", units::DURATION);
    let shutdown = section.parsed("shutdown", &expected, notes, shutdown);
    let mailbox = section.integer("mailbox", 1..1_000_001, notes).unwrap_or(1024);
    let snapshots = read_snapshots(&mut section, notes);
    let max_deliver = section.integer("max_deliver", 1..1001, notes).unwrap_or(3);
    let job = job::read(&mut section, notes);
    // What is to be one message's is the whole run's.
    let deadline = Limits::default().deadline.filter(|_| job.is_none());
    let default = Limits { deadline, ..Limits::default() };
    let (limits, net) = match section.table("limits", notes) {
        Some(limits) => read_limits(limits, default, notes),
        None => (default, None),
    };
    let config = section.table("config", notes).map_or_else(Vec::new, |config| read_config(&config, notes));
    let http = http::read(&mut section, notes);
    let workers = read_workers(&mut section, notes);
    let health = health::read(&mut section, http.is_some(), notes);
    let after = section.texts("after", notes);
    if let Some(first) = after.get(AFTER) {
        let message = format!("`{}` has more than {AFTER} elements", section.place("after"));
        notes.problem(&first.span, message, None);
    }
    let mut read = ReadRules::read(&mut section, true, notes);
    read.rules.permits.extend(net);
    let http = http.map(|(http, listen)| {
        read.rules.permits.push(listen);
        http
    });
    if let Some(snapshots) = snapshots.as_ref().filter(|_| http.is_some()) {
        let message = format!("`{}` has no meaning here", section.place("on_restart"));
        let help = "what answers requests over HTTP is a fresh instance for each".to_owned();
        notes.problem(&snapshots.span, message, Some(help));
    }
    section.finish(notes);
    let spec = source.map(|source| ComponentSpec {
        name: name.clone(),
        source,
        digest,
        plugs,
        // A job that has ended well has done what it is for.
        restart: restart.unwrap_or(if job.is_some() { Restart::Transient } else { Restart::Permanent }),
        shutdown: shutdown.map_or(Shutdown::Timeout(Duration::from_secs(5)), |shutdown| shutdown.value),
        mailbox: mailbox as usize,
        max_deliver,
        snapshots,
        limits,
        config,
        rules: Rules::default(),
        directories: Vec::new(),
        trust: Vec::new(),
        http,
        workers,
        job,
        health,
    });
    ReadComponent { name, spec, read, after }
}

/// `workers`, without what goes with one instance alone.
fn read_workers(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<usize> {
    section.take("workers")?;
    let why = "a worker is a fresh instance for each message";
    job::refuse(section, &[("on_restart", why), ("http", "a component gets messages or requests")], notes);
    section.integer("workers", 1..1001, notes).map(|count| count as usize)
}

fn read_digest(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<Located<Digest>> {
    section.parsed("digest", "`sha256:` and 64 hexadecimal digits", notes, |text| text.parse().ok())
}

/// `plug`: files, or tables with a `source`.
fn read_plugs(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Vec<PlugSpec> {
    let elements = section.array("plug", notes);
    if elements.len() > PLUGS {
        let message = format!("`{}` has more than {PLUGS} elements", section.place("plug"));
        let span = section.take("plug").map_or(0..0, Spanned::span);
        notes.problem(&span, message, None);
    }
    let mut plugs = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        let place = format!("{}[{index}]", section.place("plug"));
        let DeValue::Table(table) = element.get_ref() else {
            let source = notes.path(&place, element);
            plugs.extend(source.map(|source| PlugSpec { source, digest: None }));
            continue;
        };
        let mut plug = Section::new(place, table, element.span());
        let source = plug.path("source", notes);
        if plug.take("source").is_none() {
            plug.missing("source", "\"adapter.wasm\"", notes);
        }
        let digest = read_digest(&mut plug, notes);
        plug.finish(notes);
        plugs.extend(source.map(|source| PlugSpec { source, digest }));
    }
    plugs
}

/// `on_restart` and `snapshot_every`.
fn read_snapshots(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<Located<u32>> {
    let is_wanted = section.word("on_restart", ON_RESTART, notes).unwrap_or(false);
    let every = section.integer("snapshot_every", 1..1_000_001, notes);
    let span = section.take("on_restart").map(Spanned::span);
    match (is_wanted, every, section.take("snapshot_every")) {
        (true, every, _) => span.map(|span| Located { value: every.unwrap_or(1), span }),
        (false, Some(_), Some(value)) => {
            let message = format!("`{}` has no meaning here", section.place("snapshot_every"));
            let help = "it goes with `on_restart = \"snapshot\"`".to_owned();
            notes.problem(&value.span(), message, Some(help));
            None
        }
        _ => None,
    }
}

fn read_limits(mut section: Section<'_>, default: Limits, notes: &mut Notes<'_>) -> (Limits, Option<Grant>) {
    let memory = section.parsed("memory", units::SIZE, notes, units::size);
    let tables = section.integer("tables", 0..TABLE_ELEMENTS as u32 + 1, notes);
    let cpu_percent = section.integer("cpu_percent", 1..1_000_001, notes);
    let payload = read_handed(&mut section, "payload", notes);
    let snapshot = read_handed(&mut section, "snapshot", notes);
    let deadline = section.parsed("deadline", units::DURATION, notes, units::duration);
    let fuel = section.integer("fuel", 1..u32::MAX, notes);
    let host_calls = section.integer("host_calls", 1..u32::MAX, notes);
    let handles = section.integer("handles", 16..1_000_001, notes);
    let net = terms::read_net(&mut section, notes);
    let http = http::read_limits(&mut section, notes);
    section.finish(notes);
    let limits = Limits {
        memory_bytes: memory.map_or(default.memory_bytes, |memory| memory.value),
        table_elements: tables.map_or(default.table_elements, |tables| tables as usize),
        cpu_percent,
        payload_bytes: payload.unwrap_or(default.payload_bytes),
        snapshot_bytes: snapshot.unwrap_or(default.snapshot_bytes),
        deadline: deadline.map_or(default.deadline, |deadline| Some(deadline.value)),
        fuel,
        host_calls,
        handles: handles.map_or(default.handles, |handles| handles as usize),
        http,
    };
    (limits, net)
}

/// The size of something that a guest hands its host in one call.
fn read_handed(section: &mut Section<'_>, key: &'static str, notes: &mut Notes<'_>) -> Option<usize> {
    let size = section.parsed(key, units::SIZE, notes, units::size)?;
    if size.value > HANDED_BYTES {
        let most = HANDED_BYTES >> 20;
        let message = format!("`{}` is more than {most}MiB", section.place(key));
        let help = format!("a component hands over {most}MiB at once at most; beyond is a trap");
        notes.problem(&size.span, message, Some(help));
    }
    Some(size.value)
}

/// `config`: strings, numbers and booleans, all handed to the guest as strings.
fn read_config(section: &Section<'_>, notes: &mut Notes<'_>) -> Vec<(String, String)> {
    let mut config = Vec::new();
    for (key, value) in section.entries() {
        let place = section.place(key.value);
        let value = match value.get_ref() {
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(boolean) => Some(boolean.to_string()),
            DeValue::String(_) => notes.text(&place, value).map(|text| text.value),
            other => {
                let message =
                    format!("`{place}` must be a string, a number or a boolean, not {}", kind(other));
                notes.problem(&value.span(), message, None);
                None
            }
        };
        config.extend(value.map(|value| (key.value.to_owned(), value)));
    }
    config
}

fn shutdown(text: &str) -> Option<Shutdown> {
    match text {
        "brutal_kill" => Some(Shutdown::BrutalKill),
        "infinity" => Some(Shutdown::Infinity),
        _ => units::duration(text).map(Shutdown::Timeout),
    }
}
