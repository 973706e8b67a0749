//! Whether a text is JSON (RFC 8259): nothing is kept of it.

/// How deep arrays and objects may lie within each other: as deep as common readers go.
const DEPTH: usize = 128;

/// Whether `text` is one JSON text in UTF-8.
pub(super) fn is_valid(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let mut scanner = Scanner { rest: text.as_bytes() };
    scanner.value(0).is_some() && {
        scanner.space();
        scanner.rest.is_empty()
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.space();
        match self.rest.first()? {
            b'{' => self.list(depth, b'}', |scanner, depth| {
                scanner.space();
                scanner.string()?;
                scanner.space();
                scanner.take(b":")?;
                scanner.value(depth)
            }),
            b'[' => self.list(depth, b']', Self::value),
            b'"' => self.string(),
            b't' => self.take(b"true"),
            b'f' => self.take(b"false"),
            b'n' => self.take(b"null"),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize, end: u8, member: impl Fn(&mut Self, usize) -> Option<()>) -> Option<()> {
        self.rest = self.rest.get(1..)?;
        self.space();
        if self.take(&[end]).is_some() {
            return Some(());
        }
        loop {
            (depth < DEPTH).then_some(())?;
            member(self, depth + 1)?;
            self.space();
            if self.take(b",").is_none() {
                return self.take(&[end]);
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.take(b"\"")?;
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(());
                }
                [b'\\', b'u', a, b, c, d, rest @ ..]
                    if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
                {
                    self.rest = rest;
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => {
                    self.rest = rest
                }
                [b'\\' | 0..=0x1f, ..] | [] => return None,
                [_, rest @ ..] => self.rest = rest,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b"-");
        if self.take(b"0").is_none() {
            self.digits()?;
        }
        if self.take(b".").is_some() {
            self.digits()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
            if let [b'+' | b'-', rest @ ..] = self.rest {
                self.rest = rest;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = self.rest.get(count..)?;
        (count > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        assert_eq!(is_valid(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn texts() {
        for good in [
            "null",
            " [1, -0.5e+3 ,\"a\\u00e9\\n\"] ",
            "{}",
            "{\"a\":{\"b\":[]},\"c\":true}",
            "0",
            "\"é\"",
            "1E5",
        ] {
            check(good, true);
        }
        for bad in [
            "",
            "nul",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            "-",
            "\"a",
            "\"\\x\"",
            "\"\n\"",
            "1 2",
            "[",
            "]",
            "+1",
            "\"\\u12\"",
            "{,}",
            "'a'",
        ] {
            check(bad, false);
        }
        assert!(!is_valid(b"\"\xff\""));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        check(&nested(DEPTH), true);
        check(&nested(DEPTH + 1), false);
        check(&"[".repeat(1_000_000), false);
    }
}
