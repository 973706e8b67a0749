//! What is told of a program at its end.

use std::path::{Path, PathBuf};

use airssys_osl::process::{Cause, Exit, Status};
use serde_json::{Value, json};

use super::denied::{Denial, Denials};
use crate::{
    args::Sandbox,
    report::{Style, Terminal, printable},
};

/// The signal that the filter of system calls ends a program with.
const SIGSYS: i32 = 31;

/// The signal that nothing can be done about.
const SIGKILL: i32 = 9;

/// How a program was held, and how it ended.
pub(super) struct Told<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) path: &'a Path,
    pub(super) exit: &'a Exit,
    pub(super) held_by: &'a str,
    pub(super) denied: &'a Denials,
}

/// The exit status, as a shell has it.
pub(super) fn status(exit: &Exit) -> u8 {
    match exit.status {
        Status::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Status::Signal(signal) => u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)),
    }
}

impl Told<'_> {
    /// Says what it was denied, why it ended where something ended it, and the rest where that was asked for.
    pub(super) fn tell(&self, terminal: &Terminal) {
        let (ended, short) = (ended_by(self.exit), short_of(self.exit));
        for denial in &self.denied.told {
            terminal.say(&format!("{} {denial}", terminal.err.text(Style::Bad, "denied:")));
        }
        if self.denied.untold > 0 {
            let more = format!("{} more times, other hosts", self.denied.untold);
            terminal.say(&format!("{} {more}", terminal.err.text(Style::Bad, "denied:")));
        }
        if let Some(short) = &short {
            terminal.say(&format!("{} {short}", terminal.err.text(Style::Bad, "denied:")));
        }
        if let Some(ended) = ended {
            terminal.say(&format!("{} {ended}", terminal.err.text(Style::Bad, "ended:")));
        }
        if self.sandbox.explain {
            self.explain(terminal);
        }
        terminal.event(|| self.value(ended));
    }

    fn value(&self, ended: Option<&str>) -> Value {
        let usage = &self.exit.usage;
        json!({
            "event": "ended",
            "program": self.path.to_string_lossy(),
            "status": status(self.exit),
            "cause": self.exit.cause.to_string(),
            "limit": ended,
            "denied": self.denied.told.iter().map(Denial::value).collect::<Vec<_>>(),
            "denied_untold": self.denied.untold,
            "refused_processes": usage.refused_processes,
            "held_by": self.held_by,
            "user_us": usage.user_time.as_micros() as u64,
            "system_us": usage.system_time.as_micros() as u64,
            "wall_us": usage.wall_time.as_micros() as u64,
            "peak_memory_bytes": usage.peak_memory_bytes,
        })
    }

    fn explain(&self, terminal: &Terminal) {
        let line = |name: &str, text: String| {
            let name = terminal.err.text(Style::Dim, format!("{name:>8}:"));
            terminal.say(&format!("{name} {}", printable(text.as_bytes())));
        };
        line("program", self.path.display().to_string());
        line("held by", self.held_by.to_owned());
        let paths = |paths: &[PathBuf]| {
            let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            if paths.is_empty() { "nothing else".to_owned() } else { paths.join(", ") }
        };
        line("read", format!("the system's programs and libraries, {}", paths(&self.sandbox.ro)));
        line("changed", format!("its own /tmp, {}", paths(&self.sandbox.rw)));
        if !self.sandbox.net.is_empty() {
            let peers: Vec<_> = self.sandbox.net.iter().map(|peer| peer.text.as_str()).collect();
            line("reached", format!("through its proxy, {}", peers.join(", ")));
        }
        line("ended", self.exit.to_string());
    }
}

/// What ended it, where that was not itself: a limit, or a layer.
fn ended_by(exit: &Exit) -> Option<&'static str> {
    match (exit.cause, exit.status) {
        (Cause::OutOfMemory, _) => Some("it needed more memory than --mem allows"),
        (Cause::WallTime, _) => Some("it took longer than --time allows"),
        (Cause::CpuTime, _) => Some("it computed for longer than --cpu-time allows"),
        (Cause::FileSize, _) => Some("it wrote a longer file than --file-size allows"),
        // What the filter refuses else is an error that the program sees; see `seccomp` in the door.
        (Cause::Itself, Status::Signal(SIGSYS)) => Some(
            "seccomp ends programs so for a system call of another architecture, such as 32-bit and x32 ones make",
        ),
        (Cause::Itself, Status::Signal(SIGKILL)) => {
            Some("it was killed, by one of its own processes or by somebody outside: no limit of ours did")
        }
        _ => None,
    }
}

/// What it was refused and went on without.
fn short_of(exit: &Exit) -> Option<String> {
    let count = exit.usage.refused_processes.filter(|count| *count > 0)?;
    Some(format!("to start a process, {count} times: there were as many as --pids allows"))
}
