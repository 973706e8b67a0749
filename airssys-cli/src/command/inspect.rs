//! `airssys inspect`: what a component is and what it imports.

use std::{process::ExitCode, sync::Arc};

use airssys_wasm::{COMPONENT_BYTES, Component, Engine};
use serde_json::json;

use super::runtime;
use crate::{
    args::Inspect,
    report::{Failure, Style, Terminal},
};

pub(super) fn inspect(inspect: &Inspect, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let shown = inspect.component.display();
    let unreadable = |error| Failure::invalid(format!("cannot read `{shown}`")).caused_by(error);
    let bytes = airssys_osl::bootstrap::read(&inspect.component, COMPONENT_BYTES).map_err(unreadable)?.bytes;
    let engine =
        Engine::new().map_err(|error| Failure::failed("cannot compile anything").caused_by(error))?;
    let size = bytes.len();
    let loaded = runtime()?.block_on(Component::load(&engine, bytes, None, || ()));
    let (component, _) =
        loaded.map_err(|error| Failure::invalid(format!("`{shown}` does not run here")).caused_by(error))?;

    let kind = match (component.is_actor(), component.is_command()) {
        (true, _) => "an actor: name it as `source` in a manifest",
        (false, true) => "a WASI command: `airssys run` runs it",
        (false, false) => "neither an actor nor a WASI command: nothing here runs it",
    };
    let digest = component.digest().to_string();
    let list = |names: &[String]| names.iter().map(|name| format!("\n    {name}")).collect::<String>();
    let (exports, imports) = (component.exports(), component.imports());
    let text = format!(
        "{}\n  {kind}\n  {size} bytes, {digest}\n  exports{}\n  imports{}",
        terminal.out.text(Style::Bold, shown),
        list(exports),
        list(imports)
    );
    let value = || {
        json!({
            "component": inspect.component.to_string_lossy(),
            "bytes": size,
            "digest": digest,
            "actor": component.is_actor(),
            "command": component.is_command(),
            "exports": exports,
            "imports": imports,
        })
    };
    let _ = terminal.answer(|| text, value)?;
    Ok(ExitCode::SUCCESS)
}
