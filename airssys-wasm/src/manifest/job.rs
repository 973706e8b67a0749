//! `[component.NAME.job]`: a component that is run from its start to its end.

use toml::Spanned;

use super::{
    JobReady, JobSpec,
    section::{Notes, Section},
};

const READY: &[(&str, JobReady)] = &[("started", JobReady::Started), ("done", JobReady::Done)];

/// The keys of a component that a job has no use for, and why.
const MEANINGLESS: &[(&str, &str)] = &[
    ("http", "a component is a job or answers requests"),
    ("workers", "a component is a job or handles messages"),
    ("mailbox", "nobody sends a job messages"),
    ("max_deliver", "nobody sends a job messages"),
    ("on_restart", "a job begins anew each time"),
    ("health", "a job cannot be asked; whether it is ready, `job.ready` says"),
];

/// Reads it, and refuses what of the component's section does not go with it.
pub(super) fn read(component: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<JobSpec> {
    let mut section = component.table("job", notes)?;
    let place = section.place("args");
    let elements = section.array("args", notes);
    let arguments = elements.into_iter().filter_map(|element| notes.text(&place, element));
    let arguments = arguments.map(|text| text.value).collect();
    let mut variables = Vec::new();
    if let Some(env) = section.table("env", notes) {
        for (name, value) in env.entries() {
            let value = notes.text(&env.place(name.value), value);
            variables.extend(value.map(|value| (name.value.to_owned(), value.value)));
        }
    }
    let timeout = section.time("timeout", notes);
    let ready = section.word("ready", READY, notes).unwrap_or_default();
    section.finish(notes);
    refuse(component, MEANINGLESS, notes);
    Some(JobSpec { arguments, variables, timeout, ready })
}

/// Tells of each key that is there and has no meaning in what the component is.
pub(super) fn refuse(
    component: &mut Section<'_>,
    meaningless: &[(&'static str, &str)],
    notes: &mut Notes<'_>,
) {
    for &(key, why) in meaningless {
        if let Some(span) = component.take(key).map(Spanned::span) {
            let message = format!("`{}` has no meaning here", component.place(key));
            notes.problem(&span, message, Some(why.to_owned()));
        }
    }
}
