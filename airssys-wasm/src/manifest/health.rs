//! `[component.NAME.health]`: how a component is asked whether it is well.

use std::time::Duration;

use super::{
    HealthSpec, Located,
    section::{Notes, Section},
};
use crate::actor::SUBJECT_BYTES;

/// What an actor is asked about, and what is fetched of a service, where nothing else is said.
const SUBJECT: &str = "health";
const PATH: &str = "/health";

/// Reads it, for a component that answers requests over HTTP or for an actor.
pub(super) fn read(section: &mut Section<'_>, is_service: bool, notes: &mut Notes<'_>) -> Option<HealthSpec> {
    let mut section = section.table("health", notes)?;
    let every = section.time("every", notes).unwrap_or(Duration::from_secs(10));
    let timeout = section.time("timeout", notes).unwrap_or(Duration::from_secs(5));
    let failures = section.integer("failures", 1..1001, notes).unwrap_or(3);
    let start = section.time("start", notes).unwrap_or(Duration::from_secs(30));
    let subject = section.text("subject", notes);
    let path = section.text("path", notes);
    let (wanted, unwanted, key, default, is_sound): (_, _, _, _, fn(&str) -> bool) = match is_service {
        true => (path, subject, "subject", PATH, is_path),
        false => (subject, path, "path", SUBJECT, |subject| subject.len() <= SUBJECT_BYTES),
    };
    if let Some(Located { span, .. }) = unwanted {
        let help =
            "actors are asked by a message with a `subject`, what has `http` by a request for a `path`";
        notes.problem(&span, format!("`{}` has no meaning here", section.place(key)), Some(help.to_owned()));
    }
    if let Some(Located { span, .. }) = wanted.as_ref().filter(|wanted| !is_sound(&wanted.value)) {
        let help = format!("a path such as `{PATH}`, or a subject of at most {SUBJECT_BYTES} bytes");
        notes.problem(span, "this cannot be asked for", Some(help));
    }
    section.finish(notes);
    let question = wanted.map_or_else(|| default.to_owned(), |wanted| wanted.value);
    Some(HealthSpec { every, timeout, failures, start, question })
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok()
}
