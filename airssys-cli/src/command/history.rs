//! `airssys history`: which versions of a component were put in place, when, and what came of it. As the log has it, so that
//! it is there when the system does not run, too.

use std::{ops::ControlFlow, process::ExitCode};

use airssys_osl::{
    Action,
    audit::{self, Reader, Record},
};
use serde_json::json;

use super::audit::{log_dir, unopened, unreadable};
use crate::{
    args::{History, LogPath},
    report::{Failure, Style, Terminal, printable, timestamp},
};

/// A change of version, or its begin.
struct Entry {
    wall_ns: u64,
    from: String,
    to: String,
    what: String,
}

impl Entry {
    /// Takes a record apart: `NAME from DIGEST to DIGEST: WHAT`.
    fn of(record: &Record, component: &str) -> Option<Self> {
        let text = String::from_utf8_lossy(record.resource());
        let (digests, what) = text.strip_prefix(component)?.strip_prefix(" from ")?.rsplit_once(": ")?;
        let (from, to) = digests.split_once(" to ")?;
        let shown = |text: &str| printable(text.as_bytes()).to_string();
        Some(Self { wall_ns: record.wall_ns(), from: shown(from), to: shown(to), what: shown(what) })
    }

    fn is_begin(&self) -> bool {
        matches!(self.what.as_str(), "begun" | "on trial")
    }

    /// Whether both are of one change.
    fn is_of(&self, other: &Self) -> bool {
        (&self.from, &self.to) == (&other.from, &other.to)
    }
}

pub(super) fn history(args: &History, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&LogPath { path: args.target.clone() })?;
    let component = args.component.as_str();
    let query = audit::Query {
        action: Some(Action::SystemUpgrade),
        resource_prefix: Some(format!("{component} from ").into_bytes()),
        ..audit::Query::default()
    };
    let mut entries: Vec<Entry> = Vec::new();
    for record in Reader::query(&dir, query).map_err(|error| unopened(&dir, error))? {
        let record = record.map_err(|error| unreadable(&dir, error))?;
        let Some(entry) = Entry::of(&record, component) else { continue };
        note(&mut entries, entry);
    }
    for entry in &entries {
        if print(terminal, component, entry)?.is_break() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds an entry, in place of the begin that it ends. One that is refused while another is on trial has a begin of its own.
fn note(entries: &mut Vec<Entry>, entry: Entry) {
    let begun = entries.iter().rposition(|begun| begun.is_begin() && begun.is_of(&entry));
    if let Some(begun) = begun.filter(|_| !entry.is_begin()) {
        entries.remove(begun);
    }
    entries.push(entry);
}

/// Prints a change, and says whether anybody wants more.
fn print(terminal: &Terminal, component: &str, entry: &Entry) -> Result<ControlFlow<()>, Failure> {
    let Entry { wall_ns, from, to, what } = entry;
    let time = timestamp(*wall_ns);
    let style = match what.as_str() {
        "done" => Style::Good,
        "begun" | "on trial" => Style::Dim,
        _ => Style::Bad,
    };
    let text = || {
        let shown = terminal.out.text(style, format!("{what:<10}"));
        format!("{time}  {shown}  {to}\n    in place of {from}")
    };
    let value = || json!({"time": time, "component": component, "from": from, "to": to, "outcome": what});
    terminal.answer(text, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_beside_a_trial_ends_its_own_begin() {
        let entry = |from: &str, to: &str, what: &str| Entry {
            wall_ns: 0,
            from: from.to_owned(),
            to: to.to_owned(),
            what: what.to_owned(),
        };
        let told = [
            entry("a", "b", "on trial"),
            entry("a", "c", "begun"),
            entry("a", "c", "refused"),
            entry("a", "b", "done"),
            entry("b", "d", "begun"),
        ];
        let mut entries = Vec::new();
        told.into_iter().for_each(|entry| note(&mut entries, entry));
        let kept: Vec<_> = entries.iter().map(|entry| (&*entry.to, &*entry.what)).collect();
        assert_eq!(kept, [("c", "refused"), ("b", "done"), ("d", "begun")]);
    }
}
