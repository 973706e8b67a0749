//! `airssys explain` and `airssys audit learn`: from records to what the manifest should say.

use std::{collections::HashSet, path::Path, process::ExitCode};

use airssys_osl::{
    Action,
    audit::{Reader, Record},
    policy::{
        Explanation, Mode, Policy,
        learn::{Touch, learn},
    },
};
use airssys_wasm::{add_principals, manifest::Manifest, principal_name};
use serde_json::json;

use super::audit::{open, unreadable};
use crate::{
    args::{Explain, Learn},
    report::{Failure, Terminal, record_json, record_line},
    target::ManifestFile,
};

/// Says why one record was decided as it was.
pub(super) fn explain(args: &Explain, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let file = ManifestFile::read_in(&args.path, &args.set, Some(Mode::Learn))?;
    let dir = &file.manifest.audit.dir;
    let record = find(dir, args.record)?;
    let policy = add_principals(&file.manifest, Policy::builder()).build();
    let policy = policy.map_err(|error| Failure::invalid("cannot compile the policy").caused_by(error))?;
    let touch = Touch::try_from(&record)
        .map_err(|error| Failure::failed("cannot explain the record").caused_by(error))?;
    let Explanation { rule, others, remedy, .. } = policy.explain_record(touch);
    let remedy = remedy.map(|remedy| in_its_table(&file.manifest, &record, &remedy));
    let place =
        file.manifest.place(&rule).map(|span| format!("{}:{}", file.shown, line_of(&file.text, span.start)));
    let permitted = record.verdict() == airssys_osl::Verdict::Allow;
    let text = || {
        let mut text = record_line(terminal.out, &record);
        text.push_str(&format!("\n  decided by {rule}"));
        if let Some(place) = &place {
            text.push_str(&format!(", at {place}"));
        }
        for (other, why) in &others {
            text.push_str(&format!("\n  {other}: {why}"));
        }
        match &remedy {
            Some(remedy) => {
                let what = if permitted { "what ended it" } else { "what would permit it" };
                text.push_str(&format!("\n{what}:\n{}", indented(remedy)));
            }
            None if permitted => {}
            None => text.push_str("\nnothing in a manifest permits it: it is always forbidden"),
        }
        text
    };
    let others: Vec<_> = others.iter().map(|(rule, why)| json!({"rule": rule, "why": why})).collect();
    let value = || {
        json!({
            "record": record_json(&record), "rule": rule, "place": place, "others": others, "remedy": remedy,
        })
    };
    let _ = terminal.answer(text, value)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the grants that the last run needed.
pub(super) fn learned(args: &Learn, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let file = ManifestFile::read_in(&args.path, &args.set, Some(Mode::Learn))?;
    let dir = &file.manifest.audit.dir;
    let records = needed(dir, args.all)?;
    let touches = records.iter().filter_map(|record| Touch::try_from(record).ok());
    let guest = |principal: &str, path: &Path| {
        let component =
            file.manifest.components.iter().find(|known| principal_name(&known.name) == principal)?;
        let directory = component.directories.iter().find(|directory| directory.path.value == path)?;
        directory.guest.clone()
    };
    let mut toml = learn(touches).toml_with(guest);
    if toml.is_empty() {
        let failure =
            Failure::failed(format!("no component did anything, as far as `{}` tells", dir.display()));
        return Err(failure.help("run the system with `airssys run --learn` first"));
    }
    // Who did nothing needs nothing.
    for component in &file.manifest.components {
        let table = format!("[component.{}.grants]\n", component.name);
        if !toml.contains(&table) {
            toml.push_str(&format!("\n{table}clock = false\nrandom = false\n"));
        }
    }
    let watched = records.iter().any(|record| record.verdict() == airssys_osl::Verdict::WouldDeny);
    if !watched {
        terminal.say(&"note: nothing would have been denied in that run, so nothing new was learned from it");
    }
    let _ = terminal.answer(|| toml.trim_end().to_owned(), || json!({"grants": toml}))?;
    Ok(ExitCode::SUCCESS)
}

/// What components did since the last start, each thing once: a run repeats itself more often than it fits in memory.
fn needed(dir: &Path, all: bool) -> Result<Vec<Record>, Failure> {
    let (mut records, mut seen) = (Vec::new(), HashSet::new());
    for record in open(dir)? {
        let record = record.map_err(|error| unreadable(dir, error))?;
        if record.action() == Some(Action::SystemStart) && !all {
            records.clear();
            seen.clear();
        }
        let principal = record.principal().to_owned();
        let key = (
            principal,
            record.action_number(),
            record.resource().to_vec(),
            record.rule().to_owned(),
            record.verdict(),
        );
        if record.principal().starts_with("component.") && seen.insert(key) {
            records.push(record);
        }
    }
    Ok(records)
}

fn find(dir: &Path, sequence: u64) -> Result<Record, Failure> {
    let reader: Reader = open(dir)?;
    for record in reader {
        let record = record.map_err(|error| unreadable(dir, error))?;
        if record.sequence() == sequence {
            return Ok(record);
        }
        if record.sequence() > sequence {
            break;
        }
    }
    let failure = Failure::failed(format!("the audit log in `{}` has no record {sequence}", dir.display()));
    Err(failure.help("the number is the first column of `airssys audit query`; retention removes old ones"))
}

/// The remedy as a table of the manifest, with the names that directories have there.
fn in_its_table(manifest: &Manifest, record: &Record, remedy: &str) -> String {
    let component =
        manifest.components.iter().find(|known| principal_name(&known.name) == record.principal());
    let Some(component) = component else { return remedy.to_owned() };
    let mut text = remedy.to_owned();
    for directory in &component.directories {
        let path = format!("{:?}", directory.path.value.display().to_string());
        let Some(guest) = &directory.guest else { continue };
        let named = format!("path = {path}, guest = {guest:?}");
        text = text.replace(&format!("path = {path}, guest = {path}"), &named);
    }
    // Comments alone are no grants.
    let grants = text.lines().any(|line| !line.starts_with('#'));
    if grants { format!("[component.{}.grants]\n{text}", component.name) } else { text }
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
