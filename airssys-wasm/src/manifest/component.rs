//! `[component.NAME]`.

use std::time::Duration;

use airssys_osl::policy::Grant;
use airssys_rt::{Restart, Shutdown};
use toml::de::DeValue;

use super::{
    ComponentSpec, Limits, Rules,
    rules::ReadRules,
    section::{Notes, Section, kind},
    terms, units,
};

pub(super) const RESTARTS: &[(&str, Restart)] = &[
    ("permanent", Restart::Permanent),
    ("transient", Restart::Transient),
    ("temporary", Restart::Temporary),
];

/// A component as far as it could be read: a tree can be checked even where a component has problems.
pub(super) struct ReadComponent {
    pub(super) name: String,
    /// Its rules are still in `read`, and its directories are to be found.
    pub(super) spec: Option<ComponentSpec>,
    pub(super) read: ReadRules,
}

pub(super) fn read(name: String, mut section: Section<'_>, notes: &mut Notes<'_>) -> ReadComponent {
    let source = section.path("source", notes);
    if section.take("source").is_none() {
        section.missing("source", "\"component.wasm\"", notes);
    }
    let digest =
        section.parsed("digest", "`sha256:` and 64 hexadecimal digits", notes, |text| text.parse().ok());
    let restart = section.word("restart", RESTARTS, notes).unwrap_or(Restart::Permanent);
    let expected = format!("\"brutal_kill\", \"infinity\" or {}", units::DURATION);
    let shutdown = section.parsed("shutdown", &expected, notes, shutdown);
    let mailbox = section.integer("mailbox", 1..1_000_001, notes).unwrap_or(1024);
    let max_deliver = section.integer("max_deliver", 1..1001, notes).unwrap_or(3);
    let (limits, net) = match section.table("limits", notes) {
        Some(limits) => read_limits(limits, notes),
        None => (Limits::default(), None),
    };
    let config = section.table("config", notes).map_or_else(Vec::new, |config| read_config(&config, notes));
    let mut read = ReadRules::read(&mut section, true, notes);
    read.rules.permits.extend(net);
    section.finish(notes);
    let spec = source.map(|source| ComponentSpec {
        name: name.clone(),
        source,
        digest,
        restart,
        shutdown: shutdown.map_or(Shutdown::Timeout(Duration::from_secs(5)), |shutdown| shutdown.value),
        mailbox: mailbox as usize,
        max_deliver,
        limits,
        config,
        rules: Rules::default(),
        directories: Vec::new(),
    });
    ReadComponent { name, spec, read }
}

fn read_limits(mut section: Section<'_>, notes: &mut Notes<'_>) -> (Limits, Option<Grant>) {
    let default = Limits::default();
    let memory = section.parsed("memory", units::SIZE, notes, units::size);
    let payload = section.parsed("payload", units::SIZE, notes, units::size);
    let deadline = section.parsed("deadline", units::DURATION, notes, units::duration);
    let net = terms::read_net(&mut section, notes);
    section.finish(notes);
    let limits = Limits {
        memory_bytes: memory.map_or(default.memory_bytes, |memory| memory.value),
        payload_bytes: payload.map_or(default.payload_bytes, |payload| payload.value),
        deadline: deadline.map_or(default.deadline, |deadline| Some(deadline.value)),
    };
    (limits, net)
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
