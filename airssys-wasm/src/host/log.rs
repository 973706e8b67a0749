//! `airssys:actor/log`, `wasi:logging`, and the log lines that a guest's standard output becomes.

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

impl log::Host for Host {
    fn write(&mut self, level: Level, text: String) -> Result<()> {
        let line = printable(&text);
        let component = &*self.name;
        match level {
            Level::Trace => tracing::trace!(target: "guest", component, "{line}"),
            Level::Debug => tracing::debug!(target: "guest", component, "{line}"),
            Level::Info => tracing::info!(target: "guest", component, "{line}"),
            Level::Warn => tracing::warn!(target: "guest", component, "{line}"),
            Level::Error => tracing::error!(target: "guest", component, "{line}"),
        }
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
        if character.is_control() || is_bidi_control(character) {
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

/// Characters that reorder the text around them: a line could read as something that it does not say.
fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(printable(input), expected, "{input:?}");
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
        check("user\u{202e}nimda", r"user\u{202e}nimda");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let line = printable(&"ü".repeat(LINE_BYTES));
        assert!(line.len() <= LINE_BYTES + '…'.len_utf8(), "{} bytes", line.len());
        assert!(line.ends_with('…'));
    }
}
