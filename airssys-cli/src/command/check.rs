//! `airssys check`: every problem of a manifest, without running anything.

use std::{process::ExitCode, sync::Arc};

use airssys_osl::policy::{Cedar, Mode, Policy};
use airssys_wasm::{Event, Watch, add_principals, load, load_grants, manifest::ProcessSpec};
use serde_json::json;

use super::runtime;
use crate::{
    args::{CedarPart, Check},
    door::{self, Compiling, Door},
    report::{Failure, ManifestProblems, Terminal, describe_tree},
    target::ManifestFile,
};

pub(super) fn check(check: &Check, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let file = ManifestFile::read(&check.target, &check.set)?;
    door::log_options(&file.manifest.audit)?;
    if let Some(part) = check.cedar {
        return in_cedar(&file, part, terminal);
    }
    // Not the system's own log: the system may be running.
    let policy = add_principals(&file.manifest, Policy::builder());
    let door = Door::open_to_compile(policy, load_grants(&file.manifest), Compiling::of(&file.manifest))?;
    let engine = door.engine_holding(file.manifest.actors())?;
    door.started(&format!("check {} {}", file.shown, file.digest))?;

    let watch: Arc<dyn Watch> = Arc::new(Told(terminal.clone()));
    let loaded = runtime()?.block_on(async {
        load(&file.manifest, &engine, door.cache().await, &door.os, &door.program, &watch).await
    });
    terminal.status(String::new());
    door.close("checked")?;
    let components = loaded.map_err(|errors| Failure::problems(ManifestProblems::load(&file, &errors)))?;

    terminal.tell(&describe_tree(terminal.err, &file.manifest), || {
        let components: Vec<_> = file
            .manifest
            .components
            .iter()
            .zip(&components)
            .map(|(spec, component)| json!({"name": spec.name, "digest": component.digest().to_string()}))
            .collect();
        let process = |spec: &ProcessSpec| json!({"name": spec.name, "program": spec.program.value});
        let processes: Vec<_> = file.manifest.processes.iter().map(process).collect();
        json!({"ok": true, "system": file.manifest.name, "components": components, "processes": processes})
    });
    if file.manifest.mode != Mode::Enforce {
        terminal.say(&"note: its mode only records denials, and carries none out");
    }
    terminal.say(&format!("`{}` has no problems", file.shown));
    Ok(ExitCode::SUCCESS)
}

/// Prints the policy for those who review or check it with Cedar's own tools.
fn in_cedar(file: &ManifestFile, part: CedarPart, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let policy = add_principals(&file.manifest, Policy::builder()).build();
    let policy = policy.map_err(|error| Failure::invalid("cannot compile the policy").caused_by(error))?;
    let Cedar { policies, entities, schema } = policy.to_cedar();
    let value = json!({"policies": policies, "entities": entities, "schema": schema});
    let text = match part {
        CedarPart::Policies => policies,
        CedarPart::Entities => entities,
        CedarPart::Schema => schema,
    };
    let _ = terminal.answer(|| text.trim_end().to_owned(), || value)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what is being compiled: it can take a while.
struct Told(Arc<Terminal>);

impl Watch for Told {
    fn event(&self, event: &Event<'_>) {
        if let Event::Compiling { component } = event {
            self.0.status(format!("compiling {component} …"));
        }
    }
}
