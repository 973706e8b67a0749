//! Access logs: folders of files, lines in the Combined (or Common) Log Format.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use crate::stamp::Stamp;

const BUFFER: usize = 64 * 1024;
/// Paths are counted by at most this many bytes.
const PATH_LIMIT: usize = 200;
/// What attacks look like, in any case: leaving the folder, scripts in a page, code in a log, SQL, a shell.
const ATTACKS: [&[u8]; 6] = [b"../", b"<script", b"${jndi:", b"union select", b"/etc/passwd", b"() {"];

/// What is counted of one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'line> {
    /// The address of the client, as the server wrote it.
    pub client: &'line [u8],
    /// When the request was answered.
    pub time: Stamp,
    /// The method of the request.
    pub method: &'line [u8],
    /// The path that was asked for: without the query, percent escapes decoded, at most 200 bytes.
    pub path: Cow<'line, [u8]>,
    /// Whether the path or the query, both decoded, looks like an attack.
    pub suspicious: bool,
    /// The status of the answer.
    pub status: u16,
    /// The bytes of the answer's body; a `-` is zero.
    pub bytes: u64,
}

impl<'line> Record<'line> {
    /// Parses one line without its line end.
    ///
    /// `None` where the line is malformed: where the fields are not those of the format, or the request is not a
    /// method, a target and `HTTP/x.y`.
    pub fn parse(line: &'line [u8]) -> Option<Self> {
        let (client, rest) = split(line, b" ")?;
        let (_identity_and_user, rest) = split(rest, b" [")?;
        let (time, rest) = split(rest, b"] \"")?;
        let (request, rest) = quoted(rest)?;
        let (status, rest) = split(rest.strip_prefix(b" ")?, b" ")?;
        let (bytes, _referrer_and_agent) = split(rest, b" ").unwrap_or((rest, b""));

        let (method, rest) = split(request, b" ")?;
        let (target, version) = split(rest, b" ")?;
        let upper_case = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
        if target.is_empty() || !upper_case || !matches!(version, [b'H', b'T', b'T', b'P', b'/', _, b'.', _])
        {
            return None;
        }
        let (path, query) = split(target, b"?").unwrap_or((target, b""));
        let path = decoded(path, false);
        Some(Self {
            client,
            time: Stamp::parse(str::from_utf8(time).ok()?)?,
            method,
            suspicious: is_attack(&path) || is_attack(&decoded(query, true)),
            path: cut(path),
            status: str::from_utf8(status).ok()?.parse().ok()?,
            bytes: if bytes == b"-" { 0 } else { str::from_utf8(bytes).ok()?.parse().ok()? },
        })
    }
}

/// The logs in a folder, in the order of their names.
///
/// # Errors
///
/// Where the folder cannot be listed.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Calls `each` with every line of a log, without its line end. Names that end in `.gz` are unpacked.
///
/// # Errors
///
/// Where the file cannot be opened, read or unpacked.
pub fn for_each_line(path: &Path, each: impl FnMut(&[u8])) -> io::Result<()> {
    let file = BufReader::with_capacity(BUFFER, File::open(path)?);
    if path.extension() == Some(OsStr::new("gz")) {
        lines(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)), each)
    } else {
        lines(file, each)
    }
}

/// Splits around the first `separator`.
pub fn split<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    let (before, rest) = text.split_at(at);
    Some((before, rest.strip_prefix(separator)?))
}

fn lines(mut reader: impl BufRead, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        each(line.trim_ascii_end());
        line.clear();
    }
    Ok(())
}

/// Splits at the quote that ends a quoted field; a backslash takes the meaning off the byte that follows it.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (field, rest) = text.split_at(end);
    Some((field, rest.strip_prefix(b"\"")?))
}

/// Decodes percent escapes, and the pluses of a query; what only looks like an escape stays as it is.
fn decoded(text: &[u8], pluses: bool) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| *byte == b'%' || (pluses && *byte == b'+')) {
        return Cow::Borrowed(text);
    }
    let hex = |digit: &u8| char::from(*digit).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut text = text;
    while let [first, rest @ ..] = text {
        text = rest;
        let mut byte = *first;
        if byte == b'+' && pluses {
            byte = b' ';
        } else if let (b'%', [high, low, rest @ ..]) = (byte, rest)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
            && let Ok(escaped) = u8::try_from(high * 16 + low)
        {
            text = rest;
            byte = escaped;
        }
        decoded.push(byte);
    }
    Cow::Owned(decoded)
}

fn cut(path: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(path.get(..PATH_LIMIT).unwrap_or(path)),
        Cow::Owned(mut path) => {
            path.truncate(PATH_LIMIT);
            Cow::Owned(path)
        }
    }
}

fn is_attack(mut text: &[u8]) -> bool {
    while let [first, rest @ ..] = text {
        // Most bytes begin no attack: one look decides.
        if b".<$uU/(".contains(first) && ATTACKS.iter().any(|attack| begins_with(text, attack)) {
            return true;
        }
        text = rest;
    }
    false
}

/// Whether a text begins with another, in any case.
fn begins_with(text: &[u8], beginning: &[u8]) -> bool {
    text.get(..beginning.len()).is_some_and(|here| here.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = r#" 200 42 "-" "agent \"x\"""#;

    fn parse(line: &str) -> Option<(String, String, u16, u64)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Record::parse(line.as_bytes())
            .map(|record| (text(record.client), text(&record.path), record.status, record.bytes))
    }

    fn request(request: &str) -> Option<String> {
        parse(&format!("192.0.2.1 - - [24/Oct/2026:06:31:59 +0200] \"{request}\"{REST}"))
            .map(|(_, path, ..)| path)
    }

    #[test]
    fn fields_are_taken_apart() {
        let line =
            r#"2001:db8::7 - Jane Doe [24/Oct/2026:06:31:59 +0200] "GET /a?b HTTP/2.0" 404 17 "-" "x""#;
        assert_eq!(parse(line), Some(("2001:db8::7".into(), "/a".into(), 404, 17)));
    }

    #[test]
    fn the_common_log_format_is_taken_too() {
        let line = r#"192.0.2.1 - - [24/Oct/2026:06:31:59 +0200] "GET / HTTP/1.1" 304 -"#;
        assert_eq!(parse(line), Some(("192.0.2.1".into(), "/".into(), 304, 0)));
    }

    #[test]
    fn paths_are_decoded_and_cut() {
        assert_eq!(request("GET /a%20b/%c3%A9?q=100% HTTP/1.1").as_deref(), Some("/a b/é"));
        assert_eq!(request("GET /100%/%zz/%4 HTTP/1.1").as_deref(), Some("/100%/%zz/%4"));
        assert_eq!(request(&format!("GET /{} HTTP/1.1", "x".repeat(900))).map(|path| path.len()), Some(200));
    }

    #[test]
    fn attacks_are_seen_through_escapes() {
        let suspicious = |target: &str| {
            let line = format!("192.0.2.1 - - [24/Oct/2026:06:31:59 +0200] \"GET {target} HTTP/1.1\"{REST}");
            Record::parse(line.as_bytes()).map(|record| record.suspicious)
        };
        for target in ["/a/..%2fb", "/?q=1+UNION%20Select", "/?q=%3CSCRIPT", "/${jndi:ldap", "/x?/etc/passwd"]
        {
            assert_eq!(suspicious(target), Some(true), "{target}");
        }
        for target in ["/", "/a..b/", "/1+union+select", "/?q=%", "/?q=script", "/?q=100%2"] {
            assert_eq!(suspicious(target), Some(false), "{target}");
        }
    }

    #[test]
    fn an_escaped_quote_does_not_end_the_request() {
        assert_eq!(request(r#"GET /a\"b\\ HTTP/1.1"#).as_deref(), Some(r#"/a\"b\\"#));
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        for text in
            ["", "GET /", "GET /a b HTTP/1.1", "get / HTTP/1.1", r"\x16\x03\x01", "OPTIONS sip:nm SIP/2.0"]
        {
            assert_eq!(request(text), None, "{text}");
        }
        for line in ["", "-", "192.0.2.1 - - [", r#"192.0.2.1 - - [now] "GET / HTTP/1.1" 200 1"#] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
