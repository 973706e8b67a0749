//! `airssys inspect`: what a component or a core module is, of which WASI, and what it exports and imports. It takes what `airssys run` takes.

use std::{process::ExitCode, sync::Arc};

use airssys_osl::policy::Policy;
use airssys_wasm::{COMPONENT_BYTES, Command, Component, Digest, Engine};
use serde_json::json;

use super::runtime;
use crate::{
    args::Inspect,
    door::Door,
    report::{Failure, Style, Terminal, printable},
};

/// How the handler of a service of WASI 0.2 is called.
const OLDER_SERVICE: &str = "wasi:http/incoming-handler@0.2.";

pub(super) fn inspect(inspect: &Inspect, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let shown = inspect.file.display();
    let unreadable = |error| Failure::invalid(format!("cannot read `{shown}`")).caused_by(error);
    let bytes = airssys_osl::bootstrap::read(&inspect.file, COMPONENT_BYTES).map_err(unreadable)?.bytes;
    let (engine, door) = engine(&format!("inspect {shown}"))?;
    let (size, digest) = (bytes.len(), Digest::of(&bytes).to_string());
    let loaded = runtime()?.block_on(Command::load(&engine, bytes, None, || ()));
    door.map_or(Ok(()), |door| door.close("inspected"))?;
    let (command, _) =
        loaded.map_err(|error| Failure::invalid(format!("`{shown}` does not run here")).caused_by(error))?;

    let is_actor = command.component().is_some_and(Component::is_actor);
    let is_service = command.component().is_some_and(Component::is_service);
    let wasi = command.wasi_versions();
    let is_newer_service =
        is_service && !command.exports().iter().any(|name| name.starts_with(OLDER_SERVICE));
    let kind = match (is_actor, command.has_start(), command.component()) {
        (_, false, _) if (is_actor || is_service && !is_newer_service) && wasi.contains(&"0.3") => {
            "an actor or a service of WASI 0.2 that imports WASI 0.3, in which only programs, jobs and services \
             (`wasi:http/handler`) are run"
        }
        (true, _, _) => "an actor: name it as `source` in a manifest",
        (false, true, Some(_)) => "a WASI command: `airssys run` runs it",
        (false, true, None) => "a core module with a start: `airssys run` runs it",
        (false, false, Some(_)) if is_service => {
            "a service over HTTP: name it as `source` in a manifest, with `http.listen`"
        }
        (false, false, Some(_)) => {
            "neither an actor nor a WASI command: `airssys run --invoke` calls its functions"
        }
        (false, false, None) => "a core module without a start: `airssys run --invoke` calls its functions",
    };
    // Names in a core module can be any text.
    let line = |name: &String| format!("\n    {}", printable(name.as_bytes()));
    let list = |names: &[String]| names.iter().map(line).collect::<String>();
    let (exports, imports) = (command.exports(), command.imports());
    let versions = if wasi.is_empty() { String::new() } else { format!("\n  WASI {}", wasi.join(" and ")) };
    let text = format!(
        "{}\n  {kind}{versions}\n  {size} bytes, {digest}\n  exports{}\n  imports{}",
        terminal.out.text(Style::Bold, shown),
        list(&exports),
        list(&imports)
    );
    let value = || {
        json!({
            "component": inspect.file.to_string_lossy(),
            "bytes": size,
            "digest": digest,
            "actor": is_actor,
            "command": command.has_start(),
            "service": is_service,
            "module": command.component().is_none(),
            "wasi": wasi,
            "exports": exports,
            "imports": imports,
        })
    };
    let _ = terminal.answer(|| text, value)?;
    Ok(ExitCode::SUCCESS)
}

/// What compiles, and the door that it starts processes through. Those are on record: where there can be no log, in a
/// container that is only read, bytes are compiled in this program.
fn engine(what: &str) -> Result<(Engine, Option<Door>), Failure> {
    let opened = Door::open_for_user(Policy::builder(), Vec::new()).and_then(|door| {
        door.started(what)?;
        Ok(door)
    });
    match opened {
        Ok(door) => Ok((door.engine()?, Some(door))),
        Err(failure) => {
            tracing::warn!(cause = failure.told(), "there can be no audit log; compiling without bounds");
            let failed = |error| Failure::failed("cannot compile anything").caused_by(error);
            Ok((Engine::new().map_err(failed)?, None))
        }
    }
}
