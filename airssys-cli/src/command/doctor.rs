//! `airssys doctor`: what this machine can hold a program with.

use std::{process::ExitCode, sync::Arc};

use airssys_osl::process::{Host, Profile, host};
use serde_json::json;

use crate::report::{Failure, Style, Terminal, printable};

pub(super) fn doctor(terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let host = host();
    let _ = terminal.answer(|| text(host, terminal), || value(host))?;
    Ok(ExitCode::SUCCESS)
}

fn text(host: &Host, terminal: &Terminal) -> String {
    let mut lines = vec![terminal.out.text(Style::Bold, "what can hold a program here")];
    for (layer, state) in host.layers() {
        let name = format!("{:<12}", layer.to_string());
        lines.push(match state {
            Ok(()) => format!("  {name} {}", terminal.out.text(Style::Good, "yes")),
            Err(why) => {
                format!("  {name} {} {}", terminal.out.text(Style::Bad, "no "), printable(why.as_bytes()))
            }
        });
    }
    match host.landlock_version() {
        Some(version) => lines.push(format!("  Landlock's interface has version {version}")),
        None => lines.push("  there is no Landlock".to_owned()),
    }
    lines.push(terminal.out.text(Style::Bold, "profiles"));
    for (name, profile) in Profile::NAMES {
        let missing = profile.layers() - host.available();
        let state = match () {
            () if missing.is_empty() => terminal.out.text(Style::Good, "every layer"),
            () if (profile.least() & missing).is_empty() => {
                terminal.out.text(Style::Warning, format!("without {missing}"))
            }
            () => terminal.out.text(Style::Bad, format!("not started: no {}", profile.least() & missing)),
        };
        lines.push(format!("  {name:<12} {state}"));
    }
    lines.join("\n")
}

fn value(host: &Host) -> serde_json::Value {
    let layers = host.layers().map(|(layer, state)| {
        json!({"layer": layer.to_string(), "available": state.is_ok(), "why_not": state.err()})
    });
    let profiles = Profile::NAMES.iter().map(|(name, profile)| {
        let missing = profile.layers() - host.available();
        json!({
            "profile": name,
            "starts": (profile.least() & missing).is_empty(),
            "missing": missing.iter().map(|layer| layer.to_string()).collect::<Vec<_>>(),
        })
    });
    json!({
        "layers": layers.collect::<Vec<_>>(),
        "landlock_version": host.landlock_version(),
        "profiles": profiles.collect::<Vec<_>>(),
    })
}
