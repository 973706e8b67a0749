//! `airssys upgrade` and `airssys rollback`: another version for a component of a system that runs.

use std::{path::Path, process::ExitCode, sync::Arc};

use airssys_osl::{
    bootstrap,
    net::UnixStream,
    policy::{Direction, Policy},
};
use airssys_wasm::{COMPONENT_BYTES, Handover};
use serde_json::Value;

use super::runtime;
use crate::{
    args::{Rollback, Running, Upgrade},
    control::{self, Request, SOCKET},
    door::Door,
    report::{Failure, Style, Terminal, printable},
    target::ManifestFile,
};

pub(super) fn upgrade(args: &Upgrade, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let shown = args.file.display();
    let unreadable = |error| Failure::invalid(format!("cannot read `{shown}`")).caused_by(error);
    let bytes = bootstrap::read(&args.file, COMPONENT_BYTES).map_err(unreadable)?.bytes;
    let (component, handover) = (args.component.clone(), handover(&args.running));
    change(&args.running, Request::Upgrade { component, handover, bytes }, terminal)
}

pub(super) fn rollback(args: &Rollback, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let (component, handover) = (args.component.clone(), handover(&args.running));
    change(&args.running, Request::Rollback { component, handover }, terminal)
}

fn handover(running: &Running) -> Handover {
    if running.fresh { Handover::Fresh } else { Handover::State }
}

fn change(running: &Running, request: Request, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let file = ManifestFile::read(&running.target, &running.set)?;
    let answer = runtime()?.block_on(ask(&file.manifest.state, &file.shown, &request))?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        let because = answer.get("because").and_then(Value::as_str).unwrap_or_default();
        let failure = Failure::failed(printable(error.as_bytes()));
        return Err(match because {
            "" => failure,
            because => failure.caused_by(printable(because.as_bytes())),
        });
    }
    let text = || {
        let said =
            |key: &str| printable(answer.get(key).and_then(Value::as_str).unwrap_or("unknown").as_bytes());
        let state = match answer.get("state_bytes").and_then(Value::as_u64) {
            Some(bytes) => format!("with a state of {bytes} bytes"),
            None => "without a state".to_owned(),
        };
        let held = answer.get("held_us").and_then(Value::as_u64).unwrap_or_default() / 1000;
        let name = terminal.out.text(Style::Bold, said("component"));
        format!("{name} runs {}\n  in place of {}, {state}; held for {held} ms", said("to"), said("from"))
    };
    let _ = terminal.answer(text, || answer.clone())?;
    Ok(ExitCode::SUCCESS)
}

/// Sends a request to the system whose state folder this is. The connection is on the record of the user's own log.
async fn ask(state: &Path, shown: &str, request: &Request) -> Result<Value, Failure> {
    let grants = control::grants(state, Direction::Connect).to_vec();
    let door = Door::open_for_user(Policy::builder(), grants)?;
    door.started(&format!("control {shown}"))?;
    let answer = async {
        let mut stream = connect(&door, state).await.map_err(|error| {
            let failure = Failure::failed(format!("the system of `{shown}` does not run")).caused_by(error);
            failure.help("start it with `airssys run`; what is changed lasts as long as it runs")
        })?;
        let lost = |cause: String| Failure::failed("the system did not answer").caused_by(cause);
        request.ask(&mut stream).await.map_err(lost)
    };
    let answer = answer.await;
    door.close("asked")?;
    answer
}

async fn connect(door: &Door, state: &Path) -> Result<UnixStream, airssys_osl::Error> {
    door.program.dir(control::folder(state)).await?.connect_unix(SOCKET).await
}
