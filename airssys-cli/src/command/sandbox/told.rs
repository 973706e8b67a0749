//! What is told of a program at its end.

use std::path::{Path, PathBuf};

use airssys_osl::process::{Call, Cause, Exit, Status, Want};
use serde_json::{Value, json};

use super::{
    Ended,
    denied::{Denial, Denials},
    is_networked,
    learned::{Learned, flag},
};
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
    pub(super) ended: &'a Ended,
    pub(super) denied: &'a Denials,
    pub(super) see: Vec<PathBuf>,
    pub(super) change: Vec<PathBuf>,
    pub(super) learned: Option<Learned>,
}

/// How many files and calls are told one by one.
const TOLD: usize = 32;

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
        let (ended, short) = (self.ended_by(), short_of(&self.ended.exit));
        let denied = |what: &dyn std::fmt::Display| {
            terminal.say(&format!("{} {what}", terminal.err.text(Style::Bad, "denied:")));
        };
        self.denied.told.iter().for_each(|denial| denied(denial));
        if self.denied.untold > 0 {
            denied(&format!("{} more times, other hosts", self.denied.untold));
        }
        let files = self.files();
        files.iter().take(TOLD).for_each(|want| denied(&of_file(want)));
        if files.len() > TOLD {
            denied(&format!("{} more files; --learn would tell what it needs", files.len() - TOLD));
        }
        self.calls().take(TOLD).for_each(|(call, count)| denied(&of_call(call, count)));
        if let Some(short) = &short {
            denied(short);
        }
        if let Some(ended) = &ended {
            terminal.say(&format!("{} {ended}", terminal.err.text(Style::Bad, "ended:")));
        }
        if self.sandbox.explain {
            self.explain(terminal);
        }
        if let Some(learned) = &self.learned {
            learned.tell(terminal);
        }
        terminal.event(|| self.value(ended.as_deref()));
    }

    /// The files that it asked for in vain, though its user may use them.
    fn files(&self) -> Vec<Want> {
        let asked = self.ended.asked.as_ref().filter(|_| self.learned.is_none());
        let mut wants = asked.map(|asked| asked.wants(is_networked(self.sandbox))).unwrap_or_default();
        // What it names in a /tmp of its own is not what the machine's has there, but where a flag gives it.
        let given = |path: &Path| self.see.iter().chain(&self.change).any(|place| path.starts_with(place));
        let is_own = |path: &Path| self.ended.own_tmp && path.starts_with("/tmp") && !given(path);
        // No flag gives the root directory.
        wants.retain(|want| {
            let can_be = want.path.parent().is_some() && !is_own(&want.path);
            can_be && !want.is_met(&self.see, &self.change)
        });
        wants
    }

    /// The calls that it was refused, or that a process of it was ended for, and how often.
    fn calls(&self) -> impl Iterator<Item = (&Call, u64)> {
        let calls = self.ended.asked.iter().flat_map(|asked| &asked.calls);
        let fatal = self.fatal();
        calls.filter(move |(call, _)| Some(*call) != fatal).map(|(call, count)| (call, *count))
    }

    /// The call that it was ended for itself, where that is how it ended: it goes on where one of its processes was.
    fn fatal(&self) -> Option<&Call> {
        let exit = &self.ended.exit;
        let is_killed = (exit.cause, exit.status) == (Cause::Itself, Status::Signal(SIGKILL));
        let asked = self.ended.asked.as_ref().filter(|_| is_killed)?;
        asked.calls.keys().find(|call| call.foreign)
    }

    fn value(&self, ended: Option<&str>) -> Value {
        let usage = &self.ended.exit.usage;
        let files = self.files().into_iter().map(
            |want| json!({"path": want.path.to_string_lossy(), "write": want.write, "flag": flag(&want)}),
        );
        let calls = self.calls().map(|(call, count)| {
            json!({"number": call.number, "name": call.name, "foreign": call.foreign, "count": count})
        });
        json!({
            "event": "ended",
            "program": self.path.to_string_lossy(),
            "status": status(&self.ended.exit),
            "cause": self.ended.exit.cause.to_string(),
            "limit": ended,
            "denied": self.denied.told.iter().map(Denial::value).collect::<Vec<_>>(),
            "denied_untold": self.denied.untold,
            "denied_files": files.collect::<Vec<_>>(),
            "denied_calls": calls.collect::<Vec<_>>(),
            "learned": self.learned.as_ref().map(Learned::value),
            "refused_processes": usage.refused_processes,
            "held_by": self.ended.held_by,
            "user_us": usage.user_time.as_micros() as u64,
            "system_us": usage.system_time.as_micros() as u64,
            "wall_us": usage.wall_time.as_micros() as u64,
            "peak_memory_bytes": usage.peak_memory_bytes,
            "read_bytes": usage.read_bytes,
            "written_bytes": usage.written_bytes,
        })
    }

    fn explain(&self, terminal: &Terminal) {
        let line = |name: &str, text: String| {
            let name = terminal.err.text(Style::Dim, format!("{name:>8}:"));
            terminal.say(&format!("{name} {}", printable(text.as_bytes())));
        };
        line("program", self.path.display().to_string());
        line("held by", self.ended.held_by.clone());
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
        if self.ended.asked.is_none() {
            line(
                "watched",
                "not, for that takes seccomp, and that nothing outside is told of system calls by it already: which files it did not find is not known".to_owned(),
            );
        }
        line("ended", self.ended.exit.to_string());
    }

    /// What ended it, where that was not itself: a limit, or a layer.
    fn ended_by(&self) -> Option<String> {
        match self.fatal() {
            Some(call) => Some(format!(
                "seccomp ended it, or a process of it, for {call}: a call of another architecture, such as 32-bit and x32 programs make"
            )),
            None => ended_by(&self.ended.exit).map(str::to_owned),
        }
    }
}

/// A file that was not there for it, or not to be changed, and the least flag.
fn of_file(want: &Want) -> String {
    let verb = if want.write { "change" } else { "find" };
    let path = want.path.to_string_lossy();
    format!(
        "to {verb} {}: no flag permits it; {} would",
        printable(path.as_bytes()),
        printable(flag(want).as_bytes())
    )
}

fn of_call(call: &Call, count: u64) -> String {
    let times = if count > 1 { format!(", {count} times") } else { String::new() };
    match call.foreign {
        true => format!(
            "to call {call}{times}, as another architecture does: seccomp ended the process of it that did"
        ),
        false => format!("to call {call}{times}: seccomp refuses it to every program"),
    }
}

/// As far as its end alone tells.
fn ended_by(exit: &Exit) -> Option<&'static str> {
    match (exit.cause, exit.status) {
        (Cause::OutOfMemory, _) => Some("it needed more memory than --mem allows"),
        (Cause::WallTime, _) => Some("it took longer than --time allows"),
        (Cause::CpuTime, _) => Some("it computed for longer than --cpu-time allows"),
        (Cause::OutputLimit, _) => Some("it said more than --output allows"),
        (Cause::FileSize, _) => Some("it wrote a longer file than --file-size allows"),
        // What the filter refuses else is an error that the program sees; see `seccomp` in the door.
        (Cause::Itself, Status::Signal(SIGSYS)) => Some(
            "seccomp ends programs so for a system call of another architecture, such as 32-bit and x32 ones make; --explain tells which call",
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
