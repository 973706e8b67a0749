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
}

pub(super) fn history(args: &History, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&LogPath { path: args.target.clone() })?;
    let component = args.component.as_str();
    let query = audit::Query {
        action: Some(Action::SystemUpgrade),
        resource_prefix: Some(format!("{component} from ").into_bytes()),
        ..audit::Query::default()
    };
    let mut begun: Option<Entry> = None;
    for record in Reader::query(&dir, query).map_err(|error| unopened(&dir, error))? {
        let record = record.map_err(|error| unreadable(&dir, error))?;
        let Some(entry) = Entry::of(&record, component) else { continue };
        // One that a crash of the system cut short has no end.
        let cut_short = begun.take().filter(|_| entry.is_begin());
        let ended = match entry.is_begin() {
            true => {
                begun = Some(entry);
                None
            }
            false => Some(entry),
        };
        for entry in cut_short.into_iter().chain(ended) {
            if print(terminal, component, &entry)?.is_break() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    if let Some(entry) = &begun {
        let _ = print(terminal, component, entry)?;
    }
    Ok(ExitCode::SUCCESS)
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
