//! SIGHUP to a system that runs: its policy is read again.

use airssys_osl::policy::{Mode, Policy};
use airssys_wasm::{System, add_principals, principal_name};
use serde_json::json;

use super::signals::Hangups;
use crate::{
    args::Run,
    door::Door,
    report::{Failure, Terminal},
    target::ManifestFile,
};

/// The mode that the command line asks for, in place of the manifest's.
pub(super) fn mode(run: &Run) -> Option<Mode> {
    if run.system.learn {
        return Some(Mode::Learn);
    }
    run.system.audit_only.then_some(Mode::AuditOnly)
}

/// Reads the manifest again at each SIGHUP and puts its policy in place: whole, or not at all.
pub(super) async fn follow(
    hangups: &mut Hangups,
    run: &Run,
    running: &ManifestFile,
    system: &System,
    door: &Door,
    terminal: &Terminal,
) {
    while hangups.next().await.is_some() {
        if let Err(failure) = reload(run, running, system, door, terminal) {
            terminal.failure(&failure);
            terminal.tell(&"  the policy stays as it was", || json!({"event": "reload_failed"}));
        }
    }
}

fn reload(
    run: &Run,
    running: &ManifestFile,
    system: &System,
    door: &Door,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let file = ManifestFile::read_in(run.target(), &run.system.set, mode(run))?;
    let what = format!("{} {}", file.shown, file.digest);
    // A program goes on as it was started: to take its grant away would be to end it, again at each restart.
    let mut manifest = file.manifest.clone();
    manifest.processes.clone_from(&running.manifest.processes);
    // What is gone from the manifest runs on until the system stops, with nothing.
    let is_gone = |name: &str| file.manifest.components.iter().all(|known| known.name != name);
    let gone = running.manifest.components.iter().filter(|component| is_gone(&component.name));
    let policy = gone.fold(add_principals(&manifest, Policy::builder()), |policy, component| {
        policy.principal(principal_name(&component.name), [])
    });
    door.reload(policy, &what)?;
    system.reload(&file.manifest);
    let restart = running.manifest.restart_for(&file.manifest);
    let epoch = door.os.epoch();
    let mut text = format!("  policy {epoch} in place, from `{}`", file.shown);
    for change in &restart {
        text.push_str(&format!("\n    takes a restart: {change}"));
    }
    terminal.tell(&text, || json!({"event": "reloaded", "epoch": epoch, "restart": restart}));
    Ok(())
}
