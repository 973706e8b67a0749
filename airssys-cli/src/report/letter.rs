//! Dead letters, as people see them.

use super::{Paint, Style, hex, printable};
use crate::dead::Letter;

/// How many bytes stand on a line of hexadecimal digits.
const DIGITS: usize = 16;

/// One letter as one line.
pub(crate) fn letter_line(paint: Paint, letter: &Letter) -> String {
    let way = format!("{} → {}", printable(letter.from.as_bytes()), printable(letter.to.as_bytes()));
    format!(
        "{:>6} {} {way:<24} {:<12} {:>8} bytes, {} tries: {}",
        letter.number,
        paint.text(Style::Dim, letter.time.get(..19).unwrap_or(&letter.time)),
        printable(letter.subject.as_bytes()),
        letter.bytes,
        letter.tries,
        printable(letter.reason.as_bytes()),
    )
}

/// One letter with all that is known of it.
pub(crate) fn letter_text(paint: Paint, letter: &Letter) -> String {
    let line = |name: &str, text: &str| format!("\n  {name:<8} {}", printable(text.as_bytes()));
    let mut text = format!("{} {}", paint.text(Style::Bold, "dead letter"), letter.number);
    text.push_str(&line("time", &letter.time));
    text.push_str(&line("from", &letter.from));
    text.push_str(&line("to", &letter.to));
    text.push_str(&line("subject", &letter.subject));
    text.push_str(&line("tries", &letter.tries.to_string()));
    text.push_str(&line("reason", &letter.reason));
    text.push_str(&line("trace", &hex(&letter.trace)));
    text.push_str(&line("payload", &format!("{} bytes, {}", letter.bytes, letter.digest)));
    let Some(payload) = &letter.payload else {
        text.push_str("\n\nthe payload was not kept: it is too large");
        return text;
    };
    if payload.is_empty() {
        return text;
    }
    text.push('\n');
    match letter.text() {
        Some(readable) => readable.lines().for_each(|line| {
            text.push('\n');
            text.push_str(&printable(line.as_bytes()));
        }),
        None => payload.chunks(DIGITS).enumerate().for_each(|(row, bytes)| {
            let (digits, seen) = (hex(bytes), bytes.iter().map(|byte| seen(*byte)).collect::<String>());
            text.push_str(&format!("\n{:08x}  {digits:<32}  {seen}", row * DIGITS));
        }),
    }
    text
}

fn seen(byte: u8) -> char {
    if byte == b' ' || byte.is_ascii_graphic() { byte.into() } else { '.' }
}
