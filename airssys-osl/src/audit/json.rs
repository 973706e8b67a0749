//! JSON, as far as records need it: written, never read.

use std::fmt::Write as _;

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl Object<'_> {
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        text(value, self.out);
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        object(self.out, fill);
    }

    /// An array of one object.
    pub(super) fn one(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        self.out.push('[');
        object(self.out, fill);
        self.out.push(']');
    }

    /// An array of objects, one for each item.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only what goes over sockets has such"))]
    pub(super) fn each<T>(&mut self, key: &str, items: &[T], mut fill: impl FnMut(&T, &mut Object<'_>)) {
        self.key(key);
        for (index, item) in items.iter().enumerate() {
            self.out.push(if index == 0 { '[' } else { ',' });
            object(self.out, |object| fill(item, object));
        }
        self.out.push_str(if items.is_empty() { "[]" } else { "]" });
    }

    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        text(key, self.out);
        self.out.push(':');
    }
}

/// Appends an object.
pub(super) fn object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    fill(&mut Object { out: &mut *out, is_empty: true });
    out.push('}');
}

/// Appends a text. What would steer a terminal, turn a line around or end it is escaped: the text is one line wherever it
/// is shown.
fn text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            character if steers(character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

/// Whether a character does something else than to be seen: C0, DEL, C1, separators of lines, what changes the direction
/// of the text or has no width. Whoever shows text that is not his own escapes these.
pub fn steers(character: char) -> bool {
    let invisible = matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    character.is_control() || invisible
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        let mut out = String::new();
        object(&mut out, |object| {
            object.text("a", "b\"\\\n");
            object.number("n", 7);
            object.one("l", |one| one.text("x", ""));
            object.each("e", &[1, 2], |item, each| each.number("i", *item));
            object.each("none", &[] as &[u64], |item, each| each.number("i", *item));
            object.object("o", |_| {});
        });
        let expected = r#"{"a":"b\"\\\u000a","n":7,"l":[{"x":""}],"e":[{"i":1},{"i":2}],"none":[],"o":{}}"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn nothing_that_steers_comes_through() {
        let hostile: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let mut out = String::new();
        text(&hostile, &mut out);
        assert!(!out.chars().any(steers));
        for character in
            ['\0', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}', '\u{202e}', '\u{2066}']
        {
            assert!(steers(character), "{character:?}");
        }
        assert!(!"aé日\u{1f600} ".chars().any(steers));
    }
}
