//! The grammar of the Common and the Combined Log Format.

use crate::time;

/// A line, as far as the statistics want to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) client: &'a [u8],
    /// In seconds since 1970 in UTC.
    pub(crate) time: i64,
    pub(crate) method: &'a [u8],
    /// The path and the query, as they were sent.
    pub(crate) target: &'a [u8],
    pub(crate) status: u16,
    pub(crate) bytes: u64,
}

/// Parses `client ident user [time] "METHOD target HTTP/x.y" status bytes`, and `"referrer" "agent"` where they follow.
///
/// What a server appends to that, as some are configured to, is passed over. None where the line is anything else,
/// a broken request included.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut rest = Cursor(line);
    let client = rest.word()?;
    rest.word()?;
    let time = user_and_time(&mut rest)?;
    let (method, target) = request(rest.quoted()?)?;
    rest.skip(b" ")?;
    let status = status(rest.word()?)?;
    let bytes = rest.until_space_or_end();
    let bytes = if bytes == b"-" { 0 } else { number(bytes)? };
    if !rest.0.is_empty() {
        rest.skip(b" ")?;
        rest.quoted()?;
        rest.skip(b" ")?;
        rest.quoted()?;
        if !rest.0.is_empty() {
            rest.skip(b" ")?;
        }
    }
    Some(Line { client, time, method, target, status, bytes })
}

/// What has not been parsed yet.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Takes a word of at least one byte, and the space behind it.
    fn word(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == b' ')?;
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        (!word.is_empty()).then_some(word)
    }

    /// Takes what comes before the next space, and leaves that.
    fn until_space_or_end(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| byte == b' ').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end).unwrap_or((self.0, &[]));
        self.0 = rest;
        word
    }

    /// Takes a text in quotes. A backslash makes the byte after it part of the text, whatever that is.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        self.skip(b"\"")?;
        let mut escaped = false;
        let end = self.0.iter().position(|&byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }
}

/// Takes the user and the time. A user may hold spaces and brackets: what matters is where the time begins.
fn user_and_time(rest: &mut Cursor<'_>) -> Option<i64> {
    loop {
        let bracket = rest.0.windows(2).position(|pair| pair == b" [")?;
        let after = rest.0.get(bracket + 2..)?;
        if let Some((time, behind)) = after.split_at_checked(time::LENGTH)
            && let Some(behind) = behind.strip_prefix(b"] ")
            && let Some(time) = time::parse(time)
        {
            rest.0 = behind;
            return Some(time);
        }
        rest.0 = after;
    }
}

/// Takes a request line apart, into method and target.
fn request(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = Cursor(text);
    let method = rest.word()?;
    let target = rest.word()?;
    let is_version = matches!(rest.0, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']);
    (is_version && method.iter().all(u8::is_ascii_uppercase)).then_some((method, target))
}

fn status(text: &[u8]) -> Option<u16> {
    (text.len() == 3).then(|| number(text)).flatten()?.try_into().ok()
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "[22/Nov/2026:10:00:00 +0000]";

    fn with_request(request: &str) -> String {
        format!(r#"203.0.113.7 - - {TIME} "{request}" 200 512 "-" "curl/8""#)
    }

    #[track_caller]
    fn check(line: &str, client: &str, target: &str, status: u16, bytes: u64) {
        let parsed = parse(line.as_bytes()).unwrap_or_else(|| panic!("malformed: {line}"));
        assert_eq!(parsed.client, client.as_bytes());
        assert_eq!(parsed.target, target.as_bytes());
        assert_eq!((parsed.status, parsed.bytes, parsed.time), (status, bytes, 1_795_341_600));
    }

    #[track_caller]
    fn refuse(line: &str) {
        assert_eq!(parse(line.as_bytes()), None, "{line}");
    }

    #[test]
    fn combined() {
        check(&with_request("GET /a HTTP/1.1"), "203.0.113.7", "/a", 200, 512);
    }

    #[test]
    fn common() {
        check(&format!(r#"host.example - frank {TIME} "GET / HTTP/1.0" 304 -"#), "host.example", "/", 304, 0);
    }

    #[test]
    fn ipv6() {
        check(
            &format!(r#"2001:db8::7 - - {TIME} "GET / HTTP/2.0" 204 0 "-" "-""#),
            "2001:db8::7",
            "/",
            204,
            0,
        );
    }

    #[test]
    fn a_user_with_spaces_and_brackets() {
        check(&format!(r#"::1 - a [b c] [d {TIME} "GET / HTTP/1.1" 200 1"#), "::1", "/", 200, 1);
    }

    #[test]
    fn escaped_quotes() {
        check(&with_request(r#"GET /\"a\" HTTP/1.1"#), "203.0.113.7", r#"/\"a\""#, 200, 512);
        let agent = format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 200 1 "\x22\\" "a \" b""#);
        check(&agent, "::1", "/", 200, 1);
    }

    #[test]
    fn more_fields_than_combined() {
        check(
            &format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 200 1 "-" "x" "10.0.0.1" 0.003"#),
            "::1",
            "/",
            200,
            1,
        );
    }

    #[test]
    fn bytes_of_a_whole_disk() {
        let line = format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 200 18446744073709551615"#);
        check(&line, "::1", "/", 200, u64::MAX);
        refuse(&line.replace("1615", "1616"));
    }

    #[test]
    fn broken_requests() {
        for request in [
            "",
            "-",
            "GET",
            "GET /",
            r"\x16\x03\x01\x02",
            "GET /a b HTTP/1.1",
            "get / HTTP/1.1",
            "GET / HTTP/11",
        ] {
            refuse(&with_request(request));
        }
    }

    #[test]
    fn broken_lines() {
        let line = with_request("GET / HTTP/1.1");
        for broken in [
            "",
            " ",
            "hello",
            &line.replace(" 200 ", " 20 "),
            &line.replace(" 200 ", " 2000 "),
            &line.replace(" 512 ", " 5x2 "),
            &line.replace(" 512 ", "  "),
            &line.replace("+0000", "UTC"),
            &line.replace('[', ""),
            line.trim_start_matches("203.0.113.7"),
            line.trim_end_matches('"'),
        ] {
            refuse(broken);
        }
    }

    #[test]
    fn every_beginning_of_a_line_is_survived() {
        let line = with_request(r#"GET /\"a?b=%41 HTTP/1.1"#);
        for end in 0..line.len() {
            let _ = parse(&line.as_bytes()[..end]);
        }
    }
}
