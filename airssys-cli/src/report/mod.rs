//! All text and JSON that a user sees. Data goes to stdout; what is said about the work goes to stderr.

mod failure;
mod letter;
mod record;
mod run;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
};

pub(crate) use self::{
    failure::{Failure, ManifestProblems, chain},
    letter::{letter_line, letter_text},
    record::{hex, record_json, record_line, report_json, report_text, timestamp},
    run::{Announcer, Summary, describe_tree, show},
};
use airssys_osl::audit::steers;

use crate::{args::Args, config};

/// Where output goes, and in which form.
pub(crate) struct Terminal {
    json: bool,
    /// Colours on stdout.
    pub(crate) out: Paint,
    /// Colours on stderr.
    pub(crate) err: Paint,
    /// Whether stderr can show a line that changes.
    live: bool,
    /// The live line that stands on the screen now.
    status: Mutex<String>,
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    /// A text in a style.
    pub(crate) fn text(self, style: Style, text: impl fmt::Display) -> String {
        if !self.0 {
            return text.to_string();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warning => "33",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// How a word is shown on a terminal.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    Bold,
    Dim,
    Good,
    Warning,
    Bad,
}

impl Terminal {
    pub(crate) fn new(args: &Args) -> Self {
        let live = io::stderr().is_terminal() && !args.json;
        let color = !args.json && !config::no_color();
        let (out, err) = (Paint(color && io::stdout().is_terminal()), Paint(color && live));
        Self { json: args.json, out, err, live, status: Mutex::default() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// A line on stdout.
    fn data(&self, line: &dyn fmt::Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{line}")
    }

    /// What the user asked for, on stdout. A reader that has seen enough is no error: `airssys audit query | head`.
    pub(crate) fn answer(
        &self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> serde_json::Value,
    ) -> Result<ControlFlow<()>, Failure> {
        let printed = if self.json { self.data(&json()) } else { self.data(&text()) };
        Self::printed(printed)
    }

    /// A line that looks the same to everybody, on stdout.
    pub(crate) fn line(&self, line: &str) -> Result<ControlFlow<()>, Failure> {
        Self::printed(self.data(&line))
    }

    /// Bytes on stdout, as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
        let mut stdout = io::stdout().lock();
        Self::printed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
    }

    fn printed(printed: io::Result<()>) -> Result<ControlFlow<()>, Failure> {
        match printed {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(Failure::failed("cannot write to stdout").caused_by(error)),
        }
    }

    /// A line on stderr, above the live line.
    pub(crate) fn say(&self, line: &dyn fmt::Display) {
        if !self.json {
            self.print(format_args!("{line}\n"));
        }
    }

    /// An event: a line for people on stderr, or a JSON value on stdout.
    pub(crate) fn tell(&self, line: &dyn fmt::Display, json: impl FnOnce() -> serde_json::Value) {
        if self.json {
            // Who closed the pipe has heard enough.
            let _ = self.data(&json());
        } else {
            self.say(line);
        }
    }

    /// An event that only programs care about.
    pub(crate) fn event(&self, json: impl FnOnce() -> serde_json::Value) {
        if self.json {
            // As above.
            let _ = self.data(&json());
        }
    }

    /// Replaces the live line. An empty one takes it away.
    pub(crate) fn status(&self, line: String) {
        if self.live {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = write!(io::stderr().lock(), "\r\x1b[K{line}");
            *status = line;
        }
    }

    fn print(&self, text: fmt::Arguments<'_>) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stderr = io::stderr().lock();
        // Where stderr is closed there is nobody to tell.
        let _ =
            if status.is_empty() { stderr.write_fmt(text) } else { write!(stderr, "\r\x1b[K{text}{status}") };
    }
}

/// Log lines go above the live line too.
impl io::Write for &Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.print(format_args!("{}", String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of something is done, as a bar of so many columns between two brackets.
pub(crate) fn bar(percent: u64, width: usize) -> String {
    let done = (percent.min(100) as usize * width) / 100;
    format!("[{}{}]", "#".repeat(done), " ".repeat(width.saturating_sub(done)))
}

/// Text from outside on one line of a terminal: what could drive the terminal, or reorder the line, is escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if steers(character) {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_to_its_end_and_no_further() {
        assert_eq!(bar(0, 4), "[    ]");
        assert_eq!(bar(24, 4), "[    ]");
        assert_eq!(bar(25, 4), "[#   ]");
        assert_eq!(bar(99, 4), "[### ]");
        assert_eq!(bar(100, 4), "[####]");
        assert_eq!(bar(1000, 4), "[####]");
        assert_eq!(bar(50, 0), "[]");
    }

    #[test]
    fn what_could_drive_a_terminal_is_escaped() {
        assert_eq!(printable(b"/srv/\x1b[2J\xffa\n"), r"/srv/\u{1b}[2J\xffa\n");
        assert_eq!(printable("a\u{202e}b\u{2028}\u{61c}".as_bytes()), r"a\u{202e}b\u{2028}\u{61c}");
        assert_eq!(printable("ü/日本".as_bytes()), "ü/日本");
    }
}
