//! `airssys upgrade` and `airssys rollback`: another version for a component of a system that runs.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use airssys_osl::bootstrap;
use airssys_wasm::{COMPONENT_BYTES, Canary, Handover};
use serde_json::Value;

use super::{
    STATUS,
    ask::{ask_and_hear, not_running, refusal},
    runtime,
};
use crate::{
    args::{Rollback, Running, Upgrade},
    control::Request,
    report::{Failure, Style, Terminal, printable, show},
    target::ManifestFile,
};

pub(super) fn upgrade(args: &Upgrade, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let shown = args.file.display();
    let unreadable = |error| Failure::invalid(format!("cannot read `{shown}`")).caused_by(error);
    let bytes = bootstrap::read(&args.file, COMPONENT_BYTES).map_err(unreadable)?.bytes;
    let (component, handover) = (args.component.clone(), handover(&args.running));
    let canary = args.canary.map(|percent| (Canary { percent, requests: args.requests }, args.within));
    change(&args.running, Request::Upgrade { component, handover, canary, bytes }, terminal)
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
    let progress = Progress { terminal, doing: Mutex::default() };
    let asked = runtime()?.block_on(async {
        let heard = |what: &str| progress.begin(what);
        tokio::select! {
            asked = ask_and_hear(&file.manifest.state, &file.shown, &request, &heard) => asked,
            never = progress.renew() => never,
        }
    });
    terminal.status(String::new());
    let asked = asked?;
    let answer = asked.map_err(|error| {
        not_running(&file.shown, error)
            .help("start it with `airssys run`; what is changed lasts as long as it runs")
    })?;
    if let Some(refusal) = refusal(&answer) {
        return Err(refusal);
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

/// What the system does for us, and for how long, where the terminal can show that.
struct Progress<'a> {
    terminal: &'a Terminal,
    doing: Mutex<Option<(String, Instant)>>,
}

impl Progress<'_> {
    fn begin(&self, what: &str) {
        let doing = (printable(what.as_bytes()), Instant::now());
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = Some(doing);
        self.show();
    }

    fn show(&self) {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((what, since)) = doing {
            self.terminal.status(format!("  {what} … {}", show(since.elapsed())));
        }
    }

    /// Does not end.
    async fn renew<T>(&self) -> T {
        let mut renew = tokio::time::interval(STATUS);
        loop {
            renew.tick().await;
            self.show();
        }
    }
}
