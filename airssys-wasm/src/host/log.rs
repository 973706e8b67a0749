//! `airssys:actor/log`, `wasi:logging`, and the log lines that a guest's standard output becomes.

use std::sync::{Mutex, PoisonError};

use airssys_osl::audit::steers;
use tokio::time::{Duration, Instant};
use wasmtime::Result;

use super::{
    Host,
    bindings::{
        airssys::actor::{log, types::Level},
        wasi::logging::logging,
    },
};

/// The longest line that a guest may log, in bytes; the rest is cut.
pub(crate) const LINE_BYTES: usize = 4096;

/// The most lines that a component logs in a second, all its instances together. More fills disks, and nobody reads it.
const LINES_A_SECOND: u32 = 200;

/// How many it may log at once where it has been silent for long enough.
const LINES_AT_ONCE: u32 = 1_000;

/// What one line costs of the time that a component has been silent.
const COST: Duration = Duration::from_micros(1_000_000 / LINES_A_SECOND as u64);

/// Which lines of a component are logged.
#[derive(Debug, Default)]
pub(crate) struct LogRate(Mutex<Option<Rate>>);

/// What becomes of lines. Pure.
#[derive(Debug)]
struct Rate {
    credit: Duration,
    at: Instant,
    /// How many were left out since the last that was logged.
    left_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// It is logged, after so many that were not.
    Logged(u64),
    /// It is the first that is not.
    First,
    LeftOut,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { credit: COST * LINES_AT_ONCE, at: now, left_out: 0 }
    }

    /// Who was stopped goes on when there is room for the lines of a second: else each line would need a word about those
    /// that are missing before it.
    fn take(&mut self, now: Instant) -> Line {
        let earned = now.saturating_duration_since(self.at);
        self.credit = self.credit.saturating_add(earned).min(COST * LINES_AT_ONCE);
        self.at = self.at.max(now);
        let needed = if self.left_out > 0 { COST * LINES_A_SECOND } else { COST };
        if self.credit >= needed {
            self.credit -= COST;
            return Line::Logged(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        if self.left_out == 1 { Line::First } else { Line::LeftOut }
    }
}

impl LogRate {
    /// Logs a line, if there are not too many.
    pub(crate) fn log(&self, component: &str, level: Level, text: &str) {
        if !is_enabled(level) {
            return;
        }
        let now = Instant::now();
        let mut rate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = rate.get_or_insert_with(|| Rate::new(now)).take(now);
        drop(rate);
        match line {
            Line::Logged(0) => {}
            Line::Logged(count) => tracing::warn!(target: "guest", component, "{count} lines were left out"),
            Line::First => {
                tracing::warn!(
                    target: "guest",
                    component,
                    "more than {LINES_A_SECOND} lines a second: what comes now is left out"
                );
                return;
            }
            Line::LeftOut => return,
        }
        let line = printable(text);
        match level {
            Level::Trace => tracing::trace!(target: "guest", component, "{line}"),
            Level::Debug => tracing::debug!(target: "guest", component, "{line}"),
            Level::Info => tracing::info!(target: "guest", component, "{line}"),
            Level::Warn => tracing::warn!(target: "guest", component, "{line}"),
            Level::Error => tracing::error!(target: "guest", component, "{line}"),
        }
    }
}

/// Whether anybody would read a line: one that nobody does is not counted.
fn is_enabled(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(target: "guest", tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(target: "guest", tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(target: "guest", tracing::Level::INFO),
        Level::Warn => tracing::enabled!(target: "guest", tracing::Level::WARN),
        Level::Error => tracing::enabled!(target: "guest", tracing::Level::ERROR),
    }
}

impl log::Host for Host {
    fn write(&mut self, level: Level, text: String) -> Result<()> {
        self.log.log(&self.name, level, &text);
        Ok(())
    }
}

impl logging::Host for Host {
    /// The context, where there is one, stands before the message. There is nothing above an error.
    fn log(&mut self, level: logging::Level, context: String, message: String) -> Result<()> {
        let level = match level {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error | logging::Level::Critical => Level::Error,
        };
        let text = if context.is_empty() { message } else { format!("{context}: {message}") };
        log::Host::write(self, level, text)
    }
}

/// Cuts a guest's text to one line's length and escapes what could drive a terminal or fake a second line.
pub(crate) fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(LINE_BYTES);
    let (shown, cut) = text.split_at(end);
    let mut line = String::with_capacity(shown.len());
    for character in shown.trim_end_matches('\n').chars() {
        if steers(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if !cut.is_empty() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(printable(input), expected, "{input:?}");
    }

    #[test]
    fn a_flood_of_lines_is_cut_off_and_counted() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..LINES_AT_ONCE {
            assert_eq!(rate.take(start), Line::Logged(0));
        }
        assert_eq!(rate.take(start), Line::First);
        assert_eq!(rate.take(start), Line::LeftOut);
        let soon = start + Duration::from_millis(900);
        assert_eq!(rate.take(soon), Line::LeftOut, "not before there is room for those of a second");
        let later = start + Duration::from_secs(1);
        assert_eq!(rate.take(later), Line::Logged(3));
        assert_eq!(rate.take(later), Line::Logged(0));
    }

    #[test]
    fn who_logs_within_the_rate_logs_for_ever() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for line in 0..LINES_AT_ONCE * 10 {
            assert_eq!(rate.take(start + COST * line), Line::Logged(0), "{line}");
        }
    }

    #[test]
    fn plain_text_stays() {
        check("done: 3 files, ü", "done: 3 files, ü");
    }

    #[test]
    fn one_trailing_newline_is_no_second_line() {
        check("done\n", "done");
    }

    #[test]
    fn control_characters_are_escaped() {
        check("a\u{1b}[2Jb\nINFO fake", r"a\u{1b}[2Jb\nINFO fake");
    }

    #[test]
    fn bidi_controls_are_escaped() {
        check("user\u{202e}nimda\u{2028}\u{feff}", r"user\u{202e}nimda\u{2028}\u{feff}");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let line = printable(&"ü".repeat(LINE_BYTES));
        assert!(line.len() <= LINE_BYTES + '…'.len_utf8(), "{} bytes", line.len());
        assert!(line.ends_with('…'));
    }
}
