//! `airssys status`: what the components of a system that runs are doing.

use std::{process::ExitCode, sync::Arc};

use serde_json::Value;

use super::{
    ask::{ask, not_running, refusal},
    runtime,
};
use crate::{
    args::Status,
    control::Request,
    report::{Failure, Paint, Style, Terminal, printable},
    target::ManifestFile,
};

pub(super) fn status(args: &Status, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let file = ManifestFile::read(&args.target, &args.set)?;
    let asked = runtime()?.block_on(ask(&file.manifest.state, &file.shown, &Request::Status))?;
    let answer = asked.map_err(|error| not_running(&file.shown, error))?;
    if let Some(refusal) = refusal(&answer) {
        return Err(refusal);
    }
    let empty = Vec::new();
    let members = answer.get("members").and_then(Value::as_array).unwrap_or(&empty);
    let named = members.iter().map(|member| said(member, "name").len());
    let width = named.chain([9]).max().unwrap_or_default();
    terminal.say(&terminal.err.text(
        Style::Dim,
        format!(
            "{:<width$}  {:<9} {:>9} {:>12} {:>13}",
            "component", "state", "waiting", "handled", "dead letters"
        ),
    ));
    for member in members {
        let printed = terminal.answer(|| line(terminal.out, member, width), || member.clone())?;
        if printed.is_break() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn said(member: &Value, key: &str) -> String {
    printable(member.get(key).and_then(Value::as_str).unwrap_or("-").as_bytes()).to_string()
}

fn line(paint: Paint, member: &Value, width: usize) -> String {
    let count = |key: &str| member.get(key).and_then(Value::as_u64).unwrap_or_default();
    let state = said(member, "state");
    let style = match state.as_str() {
        "ready" => Style::Good,
        "unhealthy" => Style::Bad,
        _ => Style::Dim,
    };
    format!(
        "{:<width$}  {} {:>9} {:>12} {:>13}",
        said(member, "name"),
        paint.text(style, format!("{state:<9}")),
        count("waiting"),
        count("handled"),
        count("dead_letters")
    )
}
