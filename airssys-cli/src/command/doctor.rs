//! `airssys doctor`: what this machine can hold a program with.

use std::{process::ExitCode, sync::Arc};

use airssys_osl::process::{Host, Means, Profile, host, means};
use airssys_wasm::Engine;
use serde_json::json;

use crate::report::{Failure, Style, Terminal, printable};

pub(super) fn doctor(terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let host = host();
    let means = means();
    let _ = terminal.answer(|| text(host, &means, terminal), || value(host, &means))?;
    Ok(ExitCode::SUCCESS)
}

fn text(host: &Host, means: &Means, terminal: &Terminal) -> String {
    let mut lines = vec![terminal.out.text(Style::Bold, "what can hold a program here")];
    let line = |name: &str, state: Result<(), &str>| match state {
        Ok(()) => format!("  {name:<12} {}", terminal.out.text(Style::Good, "yes")),
        Err(why) => {
            format!("  {name:<12} {} {}", terminal.out.text(Style::Bad, "no "), printable(why.as_bytes()))
        }
    };
    lines.extend(host.layers().map(|(layer, state)| line(&layer.to_string(), state)));
    match host.landlock_version() {
        Some(version) => lines.push(format!("  Landlock's interface has version {version}")),
        None => lines.push("  there is no Landlock".to_owned()),
    }
    if let Some(version) = means.cgroup_version {
        lines.push(format!("  control groups have version {version}"));
    }
    lines.push(terminal.out.text(Style::Bold, "limits"));
    lines.extend(means.limits.iter().map(|(name, state)| line(name, why(state))));
    lines.push(terminal.out.text(Style::Bold, "what else a program has"));
    lines.push(line("one host", why(&means.egress)));
    lines.push(line("/proc", why(&means.proc)));
    lines.push(terminal.out.text(Style::Bold, "actors of a system"));
    lines.push(match Engine::most_actors() {
        None => "  as many as there is memory for".to_owned(),
        Some(most) => format!(
            "  about {most}: before Linux 6.13 each takes areas of address space; root raises them (`sysctl vm.max_map_count`)"
        ),
    });
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

fn why(state: &Result<(), Box<str>>) -> Result<(), &str> {
    state.as_ref().copied().map_err(|why| &**why)
}

fn value(host: &Host, means: &Means) -> serde_json::Value {
    let layers = host.layers().map(|(layer, state)| {
        json!({"layer": layer.to_string(), "available": state.is_ok(), "why_not": state.err()})
    });
    let state =
        |state: &Result<(), Box<str>>| json!({"available": state.is_ok(), "why_not": why(state).err()});
    let limits = means
        .limits
        .iter()
        .map(|(name, state)| json!({"limit": name, "available": state.is_ok(), "why_not": why(state).err()}));
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
        "cgroup_version": means.cgroup_version,
        "limits": limits.collect::<Vec<_>>(),
        "egress": state(&means.egress),
        "proc": state(&means.proc),
        "most_actors": Engine::most_actors(),
        "profiles": profiles.collect::<Vec<_>>(),
    })
}
