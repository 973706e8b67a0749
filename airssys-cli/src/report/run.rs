//! What a user sees of a system while it runs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use airssys_osl::audit;
use airssys_rt::{DeadLetterCause, EventKind, ExitReason};
use airssys_wasm::{
    Change, DeadLetter, Digest, Event, Origin, Status, Switched, Trap, Watch,
    manifest::{Child, Manifest, SupervisorSpec},
};
use serde_json::json;

use super::{Paint, Style, Terminal, failure::chain, printable, record::resource};
use crate::dead::Post;

/// How much of a dead letter's payload is shown, in bytes.
const SHOWN_BYTES: usize = 120;

/// Tells the user what happens in a system, and hands dead letters on to be kept.
pub(crate) struct Announcer {
    terminal: Arc<Terminal>,
    started: Instant,
    stopping: AtomicBool,
    restarts: Mutex<BTreeMap<String, u64>>,
    compiled: AtomicU64,
    cached: AtomicU64,
    /// What is being compiled, and since when.
    compiling: Mutex<BTreeMap<String, Instant>>,
    first: AtomicBool,
    undelivered: Arc<AtomicU64>,
    post: Post,
}

impl Announcer {
    /// `post` takes each dead letter.
    pub(crate) fn new(terminal: Arc<Terminal>, started: Instant, post: Post) -> Self {
        Self {
            terminal,
            started,
            stopping: AtomicBool::new(false),
            restarts: Mutex::default(),
            compiled: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            compiling: Mutex::default(),
            first: AtomicBool::new(true),
            undelivered: Arc::default(),
            post,
        }
    }

    /// From here on ends are expected.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Tells how the components were loaded.
    pub(crate) fn loaded(&self) {
        let (compiled, cached) = (self.compiled.load(Ordering::Relaxed), self.cached.load(Ordering::Relaxed));
        let elapsed = self.started.elapsed();
        let line = format!(
            "  loaded {} components in {} ({compiled} compiled, {cached} from the cache)",
            compiled + cached,
            show(elapsed)
        );
        let ms = millis(elapsed);
        self.terminal
            .tell(&line, || json!({"event": "loaded", "compiled": compiled, "cached": cached, "ms": ms}));
    }

    /// Shows what is being compiled, for how long, and how much of `components` is ready, where the terminal can show that.
    pub(crate) fn show_loading(&self, components: usize) {
        let compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.terminal.is_live() || compiling.is_empty() {
            return;
        }
        let names: Vec<_> =
            compiling.iter().map(|(name, since)| format!("{name} {}", show(since.elapsed()))).collect();
        let ready = self.compiled.load(Ordering::Relaxed) + self.cached.load(Ordering::Relaxed);
        self.terminal.status(format!("  {ready} of {components} ready; compiling {}", names.join(", ")));
    }

    pub(crate) fn restarts(&self) -> BTreeMap<String, u64> {
        self.restarts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the messages that were still in a mailbox when it closed: complete when the announcer is gone.
    pub(crate) fn undelivered(&self) -> Arc<AtomicU64> {
        self.undelivered.clone()
    }

    fn dead_letter(&self, letter: &DeadLetter<'_>) {
        let number = self.post.post(letter);
        let shown = letter.payload.get(..SHOWN_BYTES).unwrap_or(letter.payload);
        let more = if shown.len() < letter.payload.len() { "…" } else { "" };
        let line = format!(
            "  {} {number}  {}: a message from {} ({}, {} bytes) was given up after {} tries: {}\n               {}{more}",
            self.terminal.err.text(Style::Warning, "dead letter"),
            letter.component,
            letter.sender,
            printable(letter.subject.as_bytes()),
            letter.payload.len(),
            letter.deliveries,
            letter.reason,
            self.terminal.err.text(Style::Dim, printable(shown)),
        );
        let value = json!({
            "event": "dead_letter",
            "letter": number,
            "component": letter.component,
            "sender": letter.sender,
            "subject": letter.subject,
            "payload": String::from_utf8_lossy(letter.payload),
            "deliveries": letter.deliveries,
            "reason": letter.reason.to_string(),
        });
        self.terminal.tell(&line, || value);
    }

    fn switched(&self, component: &str, change: Change, switched: &Switched) {
        let Switched { from, to, .. } = switched;
        let word = if change == Change::RolledBack { "rolled back" } else { "upgraded" };
        let word = self.terminal.err.text(Style::Good, word);
        let line = format!("  {word}  {component}: {to} in place of {from}");
        let (from, to) = (from.to_string(), to.to_string());
        let change = if change == Change::RolledBack { "rollback" } else { "upgrade" };
        self.terminal
            .tell(&line, || json!({"event": change, "component": component, "from": from, "to": to}));
    }

    fn taken_back(&self, component: &str, from: &Digest, to: &Digest, reason: &Trap) {
        let word = self.terminal.err.text(Style::Bad, "taken back");
        let line = format!("  {word}  {component}: {to} goes on, because {from} crashed: {reason}");
        let (from, to) = (from.to_string(), to.to_string());
        self.terminal.tell(&line, || {
            let reason = reason.to_string();
            json!({"event": "taken_back", "component": component, "from": from, "to": to, "reason": reason})
        });
    }

    fn life(&self, event: &airssys_rt::Event) {
        let path = &*event.path;
        match &event.kind {
            EventKind::Exited { reason } if !self.stopping.load(Ordering::Relaxed) => {
                let style = if reason.is_abnormal() { Style::Warning } else { Style::Dim };
                let word = if reason.is_abnormal() { "crashed" } else { "ended" };
                let reason = why(reason);
                let line = format!("  {}  {path}: {reason}", self.terminal.err.text(style, word));
                let json = || json!({"event": word, "actor": path, "reason": reason});
                self.terminal.tell(&line, json);
            }
            EventKind::Stopped => {
                self.terminal.event(|| json!({"event": "ended", "actor": path, "reason": "shutdown"}));
            }
            EventKind::InitFailed { reason } => {
                let line =
                    format!("  {}  {path}: {reason}", self.terminal.err.text(Style::Bad, "did not start"));
                let json = || json!({"event": "init_failed", "actor": path, "reason": reason.to_string()});
                self.terminal.tell(&line, json);
            }
            EventKind::Restarting { attempt } => {
                let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
                *restarts.entry(path.rsplit('/').next().unwrap_or(path).to_owned()).or_default() += 1;
                drop(restarts);
                let line = format!(
                    "  {}  {path}, restart {attempt}",
                    self.terminal.err.text(Style::Dim, "restarting")
                );
                self.terminal
                    .tell(&line, || json!({"event": "restarting", "actor": path, "attempt": attempt}));
            }
            EventKind::GaveUp => {
                let line = format!(
                    "  {}  {path}: its children failed more often than `intensity` in `period` allows",
                    self.terminal.err.text(Style::Bad, "gave up")
                );
                self.terminal.tell(&line, || json!({"event": "gave_up", "actor": path}));
            }
            EventKind::DeadLetters { count, cause } => {
                self.undelivered.fetch_add(*count as u64, Ordering::Relaxed);
                let why = match cause {
                    DeadLetterCause::Overflow => "found no room in the mailbox",
                    DeadLetterCause::Expired => "waited for too long",
                    _ => "were still in the mailbox when it closed",
                };
                let line = format!(
                    "  {}  {path}: {count} messages {why}",
                    self.terminal.err.text(Style::Warning, "dead letters")
                );
                self.terminal.tell(&line, || json!({"event": "undelivered", "actor": path, "count": count}));
            }
            _ => {}
        }
    }
}

impl Watch for Announcer {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Compiling { component } => {
                let mut compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
                compiling.insert((*component).to_owned(), Instant::now());
                drop(compiling);
                self.terminal.tell(
                    &format!("  compiling {component} …"),
                    || json!({"event": "compiling", "component": component}),
                );
            }
            Event::Loaded { component, origin, elapsed } => {
                let mut compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
                if compiling.remove(*component).is_some() {
                    let ms = millis(*elapsed);
                    self.terminal.event(|| json!({"event": "compiled", "component": component, "ms": ms}));
                }
                drop(compiling);
                let counter = if *origin == Origin::Cached { &self.cached } else { &self.compiled };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Event::FirstMessage { component } if self.first.swap(false, Ordering::Relaxed) => {
                let elapsed = self.started.elapsed();
                let line = format!("  first message handled after {} (by {component})", show(elapsed));
                let ms = millis(elapsed);
                self.terminal
                    .tell(&line, || json!({"event": "first_message", "component": component, "ms": ms}));
            }
            Event::DeadLetter(letter) => self.dead_letter(letter),
            Event::Switched { component, change, switched } => self.switched(component, *change, switched),
            Event::TakenBack { component, from, to, reason } => self.taken_back(component, from, to, reason),
            Event::Unwell { component, why } => {
                let word = self.terminal.err.text(Style::Warning, "not well");
                let line = format!("  {word}  {component}: {why}");
                self.terminal.tell(&line, || json!({"event": "unwell", "component": component, "why": why}));
            }
            Event::Life(event) => self.life(event),
            _ => {}
        }
    }
}

impl Terminal {
    /// Tells of something that the door denied.
    pub(crate) fn denied(&self, event: &audit::Event<'_>) {
        let resource = resource(Some(event.action), event.resource);
        let line = format!(
            "  {}  {}  {}  {resource}  by {}",
            self.err.text(Style::Bad, "denied"),
            event.principal,
            event.action,
            event.rule
        );
        self.tell(&line, || {
            json!({
                "event": "denied",
                "principal": event.principal,
                "action": event.action.name(),
                "resource": String::from_utf8_lossy(event.resource),
                "rule": event.rule,
            })
        });
    }

    /// The line that changes while a system runs.
    pub(crate) fn show_status(&self, status: &[Status], running: Duration) {
        let handled: u64 = status.iter().map(|component| component.handled).sum();
        let waiting: usize = status.iter().map(|component| component.waiting).sum();
        let busy: Vec<&str> =
            status.iter().filter(|component| component.busy).map(|component| &*component.name).collect();
        let busy = if busy.is_empty() { "idle".to_owned() } else { busy.join(", ") };
        let line = format!("  {}  {handled} messages handled, {waiting} waiting, {busy}", show(running));
        self.status(self.err.text(Style::Dim, line));
    }
}

/// An exit reason with its causes.
fn why(reason: &ExitReason) -> String {
    match reason.error() {
        Some(error) => chain(error).join(": "),
        None => reason.to_string(),
    }
}

/// The end of a run.
pub(crate) struct Summary<'a> {
    pub(crate) system: &'a str,
    pub(crate) why: &'a str,
    pub(crate) status: &'a [Status],
    pub(crate) restarts: &'a BTreeMap<String, u64>,
    pub(crate) elapsed: Duration,
    pub(crate) log: &'a str,
}

impl Summary<'_> {
    pub(crate) fn tell(&self, terminal: &Terminal) {
        let restarts = |name: &str| self.restarts.get(name).copied().unwrap_or(0);
        let width = self.status.iter().map(|component| component.name.len()).max().unwrap_or(0).max(9);
        let mut text = format!("{} {} after {}\n", self.system, self.why, show(self.elapsed));
        text.push_str(&format!(
            "  {:<width$} {:>12} {:>9} {:>13}\n",
            "component", "handled", "restarts", "dead letters"
        ));
        for component in self.status {
            let (name, handled, dead) = (&component.name, component.handled, component.dead);
            text.push_str(&format!("  {name:<width$} {handled:>12} {:>9} {dead:>13}\n", restarts(name)));
        }
        text.push_str(&format!("  who touched what: airssys audit query {}", self.log));
        terminal.tell(&text, || {
            let components: Vec<_> = self
                .status
                .iter()
                .map(|component| {
                    json!({
                        "name": &*component.name,
                        "handled": component.handled,
                        "restarts": restarts(&component.name),
                        "dead_letters": component.dead,
                    })
                })
                .collect();
            json!({
                "event": "stopped",
                "why": self.why,
                "ms": millis(self.elapsed),
                "components": components,
                "audit": self.log,
            })
        });
    }
}

/// The tree of a manifest, one name a line.
pub(crate) fn describe_tree(paint: Paint, manifest: &Manifest) -> String {
    let mut text = supervisor_line(paint, &manifest.root);
    branches(paint, manifest, &manifest.root, "  ", &mut text);
    text
}

fn branches(paint: Paint, manifest: &Manifest, supervisor: &SupervisorSpec, indent: &str, text: &mut String) {
    let last = supervisor.children.len().saturating_sub(1);
    for (index, child) in supervisor.children.iter().enumerate() {
        let (branch, below) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push('\n');
        text.push_str(&paint.text(Style::Dim, format!("{indent}{branch}")));
        match child {
            Child::Supervisor(child) => {
                text.push_str(&supervisor_line(paint, child));
                branches(paint, manifest, child, &format!("{indent}{below}"), text);
            }
            Child::Process(index) => {
                if let Some(process) = manifest.processes.get(*index) {
                    let program = printable(process.program.value.to_string_lossy().as_bytes());
                    text.push_str(&format!("{} {}", process.name, paint.text(Style::Dim, program)));
                }
            }
            Child::Component(index) => {
                text.push_str(
                    manifest.components.get(*index).map_or("", |component| component.name.as_str()),
                );
            }
        }
    }
}

fn supervisor_line(paint: Paint, supervisor: &SupervisorSpec) -> String {
    let strategy = match supervisor.strategy {
        airssys_rt::Strategy::OneForOne => "one_for_one",
        airssys_rt::Strategy::OneForAll => "one_for_all",
        airssys_rt::Strategy::RestForOne => "rest_for_one",
    };
    format!("{} {}", paint.text(Style::Bold, &supervisor.name), paint.text(Style::Dim, strategy))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn show(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
