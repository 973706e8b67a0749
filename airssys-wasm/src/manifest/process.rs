//! `[process.NAME]`.

use std::{path::PathBuf, time::Duration};

use airssys_osl::{
    policy::{ExecTerms, Grant},
    process::Limits,
};
use airssys_rt::Restart;
use toml::de::DeValue;

use super::{
    Framing, Located, ProcessSpec,
    arguments::{self, ReadArguments, plain},
    component::RESTARTS,
    confine,
    folders::Place,
    rules::{check_receiver, checked},
    section::{Notes, Section},
    units,
};

const FRAMINGS: &[(&str, Framing)] = &[
    ("lines", Framing::Lines),
    ("json_lines", Framing::JsonLines),
    ("netstring", Framing::Netstring),
    ("packet_1", Framing::Packet1),
    ("packet_2", Framing::Packet2),
    ("packet_4", Framing::Packet4),
];

/// The longest frame, where nothing else was said, in bytes.
const FRAME_BYTES: usize = 1 << 20;

/// The longest subject of its messages: that of any message.
const SUBJECT_BYTES: usize = crate::actor::SUBJECT_BYTES;

/// A process as far as it could be read.
pub(super) struct ReadProcess {
    pub(super) name: Located<String>,
    pub(super) spec: Option<ProcessSpec>,
    /// What it sees and changes, and itself.
    pub(super) places: Vec<Place>,
}

pub(super) fn read(name: Located<String>, mut section: Section<'_>, notes: &mut Notes<'_>) -> ReadProcess {
    let rule = section.path.clone();
    let mut places = Vec::new();
    let program = section.path("program", notes).map(plain);
    if section.take("program").is_none() {
        section.missing("program", "\"/usr/bin/program\"", notes);
    }
    if let Some(program) = &program {
        places.push(Place::new(program, format!("{rule}.program"), false));
    }
    let (terms, ReadArguments { arguments, grants: opened }) = read_terms(&mut section, &mut places, notes);
    let (terms, peers) = confine::read(&mut section, terms, notes);
    let restart = section.word("restart", RESTARTS, notes).unwrap_or(Restart::Permanent);
    let shutdown = section.parsed("shutdown", units::DURATION, notes, units::duration);
    let backoff = read_backoff(&mut section, notes);
    let framing = section.word("framing", FRAMINGS, notes).unwrap_or_default();
    let send_to = section.text("send_to", notes);
    let is_subject = |text: &str| (text.len() <= SUBJECT_BYTES).then(|| text.to_owned());
    let subject = section.parsed("subject", "a text of at most 256 bytes", notes, is_subject);
    let mailbox = section.integer("mailbox", 1..1_000_001, notes).unwrap_or(1024);
    let (limits, frame_bytes) = match section.table("limits", notes) {
        Some(limits) => read_limits(limits, notes),
        None => (no_limits(), FRAME_BYTES),
    };
    let span = section.span.clone();
    section.finish(notes);
    let spec = program.and_then(|program| {
        let grant = Grant::exec(&program.value, terms.limits(limits)).rule(rule.as_str());
        let mut grants = vec![checked(grant, &rule, false, &span, notes)?];
        grants.extend(peers);
        grants.extend(opened);
        if let Some(receiver) = &send_to {
            let rule = format!("{rule}.send_to");
            let grant = Grant::send(receiver.value.as_str()).rule(rule.as_str());
            grants.push(checked(grant, &rule, false, &receiver.span, notes)?);
        }
        Some(ProcessSpec {
            name: name.value.clone(),
            program,
            arguments,
            restart,
            shutdown: shutdown.map_or(Duration::from_secs(5), |shutdown| shutdown.value),
            backoff,
            framing,
            send_to,
            subject: subject.map_or_else(|| "line".to_owned(), |subject| subject.value),
            mailbox: mailbox as usize,
            frame_bytes,
            grants,
        })
    });
    ReadProcess { name, spec, places }
}

/// Reads with what the program is started, and what it finds around it.
fn read_terms(
    section: &mut Section<'_>,
    places: &mut Vec<Place>,
    notes: &mut Notes<'_>,
) -> (ExecTerms, ReadArguments) {
    let rule = section.path.clone();
    let mut terms = read_env(section, ExecTerms::new(), notes);
    let mut seen = Vec::new();
    for (key, write) in [("ro", false), ("rw", true)] {
        for path in paths(section, key, notes).into_iter().map(plain) {
            terms = if write { terms.change(&path.value) } else { terms.see(&path.value) };
            places.push(Place::new(&path, format!("{rule}.{key}"), write));
            seen.push(path.value);
        }
    }
    if let Some(directory) = section.path("directory", notes) {
        terms = terms.directory(plain(directory).value);
    }
    let read = arguments::read(section, &seen, places, notes);
    (arguments::schema(&read.arguments, terms), read)
}

/// A path, or those of an array.
fn paths(section: &mut Section<'_>, key: &'static str, notes: &mut Notes<'_>) -> Vec<Located<PathBuf>> {
    let place = section.place(key);
    let Some(value) = section.take(key) else { return Vec::new() };
    match value.get_ref() {
        DeValue::Array(elements) => elements.iter().filter_map(|path| notes.path(&place, path)).collect(),
        _ => notes.path(&place, value).into_iter().collect(),
    }
}

fn read_env(section: &mut Section<'_>, terms: ExecTerms, notes: &mut Notes<'_>) -> ExecTerms {
    let Some(env) = section.table("env", notes) else { return terms };
    let mut terms = terms;
    for (name, value) in env.entries() {
        if let Some(value) = notes.text(&env.place(name.value), value) {
            terms = terms.env(name.value, value.value);
        }
    }
    terms
}

/// `backoff = { min = "…", max = "…" }`: how long a program that failed waits for its restart.
fn read_backoff(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<(Duration, Duration)> {
    let mut backoff = section.table("backoff", notes)?;
    let mut time = |key, notes: &mut Notes<'_>| {
        let read = backoff.parsed(key, units::DURATION, notes, units::duration);
        if backoff.take(key).is_none() {
            backoff.missing(key, "\"1s\"", notes);
        }
        read.map(|time| time.value)
    };
    let (min, max) = (time("min", notes), time("max", notes));
    backoff.finish(notes);
    min.zip(max)
}

/// A program of a system may say as much as it likes in its life: each frame is bounded, and waits for its receiver.
fn no_limits() -> Limits {
    Limits::new().output_bytes(u64::MAX)
}

fn read_limits(mut section: Section<'_>, notes: &mut Notes<'_>) -> (Limits, usize) {
    let mut limits = no_limits();
    let size = |section: &mut Section<'_>, key, notes: &mut Notes<'_>| {
        section.parsed(key, units::SIZE, notes, units::size).map(|size| size.value as u64)
    };
    let time = |section: &mut Section<'_>, key, notes: &mut Notes<'_>| {
        section.parsed(key, units::DURATION, notes, units::duration).map(|time| time.value)
    };
    if let Some(bytes) = size(&mut section, "memory", notes) {
        limits = limits.memory_bytes(bytes);
    }
    if let Some(count) = section.integer("processes", 1..1_000_001, notes) {
        limits = limits.processes(count.into());
    }
    if let Some(computes) = time(&mut section, "cpu_time", notes) {
        limits = limits.cpu_time(computes);
    }
    if let Some(percent) = section.integer("cpu_percent", 1..1_000_001, notes) {
        limits = limits.cpu_percent(percent);
    }
    if let Some(weight) = section.integer("io_weight", 1..10_001, notes) {
        limits = limits.io_weight(weight as u16);
    }
    if let Some(lasts) = time(&mut section, "wall_time", notes) {
        limits = limits.wall_time(lasts);
    }
    if let Some(bytes) = size(&mut section, "file", notes) {
        limits = limits.file_bytes(bytes);
    }
    if let Some(bytes) = size(&mut section, "output", notes) {
        limits = limits.output_bytes(bytes);
    }
    if let Some(bytes) = size(&mut section, "temporary", notes) {
        limits = limits.temporary_bytes(bytes);
    }
    if let Some(count) = section.integer("descriptors", 1..1_000_001, notes) {
        limits = limits.descriptors(count.into());
    }
    let frame = size(&mut section, "frame", notes).map_or(FRAME_BYTES, |bytes| bytes as usize);
    section.finish(notes);
    (limits, frame)
}

/// Who gets what a process says must be a component of the system.
pub(super) fn check_receivers(processes: &[ReadProcess], components: &[&str], notes: &mut Notes<'_>) {
    for process in processes {
        let Some(receiver) = process.spec.as_ref().and_then(|spec| spec.send_to.as_ref()) else { continue };
        let rule = format!("process.{}.send_to", process.name.value);
        check_receiver(receiver, &rule, components, notes);
    }
}
