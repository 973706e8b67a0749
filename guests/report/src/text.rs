//! Numbers and hostile text, as a page shows them.

use std::fmt::{self, Write};

/// Text from outside, made harmless: no markup, nothing invisible, nothing that turns the direction of reading.
pub(crate) struct Html<'a>(pub(crate) &'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            _ if is_invisible(char) => write!(f, "\\u{{{:x}}}", u32::from(char)),
            _ => f.write_char(char),
        })
    }
}

fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number with a comma before every three digits.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size with three digits or so: `1.24 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut name = "B";
    for unit in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1_000.0;
        name = unit;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {name}")
}

/// A share of one, in percent: `4.2 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = if percent > 0.0 && percent < 0.095 { 3 } else { 1 };
    format!("{percent:.decimals$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(
            Html(r#"<script>alert("x&y'")</script>"#).to_string(),
            "&lt;script&gt;alert(&quot;x&amp;y&#39;&quot;)&lt;/script&gt;"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(Html("a\u{202e}b\n\u{0}ü").to_string(), r"a\u{202e}b\u{a}\u{0}ü");
    }

    #[test]
    fn numbers() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 1_234_567].map(number),
            ["0", "999", "1,000", "12,345", "1,234,567"]
        );
    }

    #[test]
    fn sizes() {
        let sizes = [0, 999, 1_000, 1_236, 12_360, 123_600, 999_500, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.00 kB", "1.24 kB", "12.4 kB", "124 kB", "1.00 MB", "18.4 EB"]);
    }

    #[test]
    fn percents() {
        assert_eq!([0.0, 0.000_5, 0.042, 1.0].map(percent), ["0.0 %", "0.050 %", "4.2 %", "100.0 %"]);
    }
}
