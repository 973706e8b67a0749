//! The target of a request: its path for the counts, its query for what attacks look like.

/// The longest path that is told apart from others.
const PATH_LIMIT_BYTES: usize = 200;

/// What attacks look like, in lower case: leaving the folder, scripts in a page, code in a log, SQL, a shell.
const ATTACKS: [&[u8]; 6] = [b"../", b"<script", b"${jndi:", b"union select", b"/etc/passwd", b"() {"];

/// A target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The path without its query, decoded, and cut to 200 bytes.
    pub(crate) path: &'a [u8],
    /// Whether the path or the query looks like an attack.
    pub(crate) suspicious: bool,
}

/// The buffers that taking apart needs, kept from target to target.
#[derive(Default)]
pub(crate) struct Scratch {
    path: Vec<u8>,
    query: Vec<u8>,
}

impl Scratch {
    /// Takes a target apart.
    pub(crate) fn take_apart(&mut self, target: &[u8]) -> Target<'_> {
        let question = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at_checked(question).unwrap_or((target, &[]));
        decode_path(path, &mut self.path);
        decode_query(query, &mut self.query);
        let suspicious = is_attack(&self.path) || is_attack(&self.query);
        self.path.truncate(PATH_LIMIT_BYTES);
        Target { path: &self.path, suspicious }
    }
}

/// Decodes the percent escapes of a path. What is no escape stays as it is.
fn decode_path(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = path;
    while let Some((&first, behind)) = rest.split_first() {
        let escape = if first == b'%' { behind.split_first_chunk() } else { None };
        let decoded = escape.and_then(|(&[high, low], behind)| Some((hex(high)? << 4 | hex(low)?, behind)));
        let (byte, behind) = decoded.unwrap_or((first, behind));
        out.push(byte);
        rest = behind;
    }
}

/// Decodes the percent escapes and the pluses of a query.
///
/// KNOWN BUG, left in on purpose: where the query ends within an escape, in `%` or `%4`, this looks past the end and
/// the component crashes. It is the poison of the example: the supervisor restarts the parser, the line goes to the
/// dead letters, and no other line notices. [`decode_path`] shows how it is done right.
#[expect(clippy::indexing_slicing, reason = "the bug of the example")]
fn decode_query(query: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut at = 0;
    while at < query.len() {
        let (byte, length) = match query[at] {
            b'+' => (b' ', 1),
            b'%' => match (hex(query[at + 1]), hex(query[at + 2])) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            byte => (byte, 1),
        };
        out.push(byte);
        at += length;
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_attack(text: &[u8]) -> bool {
    (0..text.len()).any(|at| {
        let Some(here) = text.get(at..) else { return false };
        // Most bytes begin no attack: one look decides.
        matches!(here.first(), Some(b'.' | b'<' | b'$' | b'u' | b'U' | b'/' | b'('))
            && ATTACKS.iter().any(|attack| {
                here.get(..attack.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(attack))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, path: &str, suspicious: bool) {
        let mut scratch = Scratch::default();
        let expected = Target { path: path.as_bytes(), suspicious };
        assert_eq!(scratch.take_apart(target.as_bytes()), expected, "{target}");
    }

    #[test]
    fn paths() {
        check("/", "/", false);
        check("/a?b=c?d", "/a", false);
        check("/%C3%A4%2f", "/ä/", false);
        check("*", "*", false);
    }

    #[test]
    fn what_is_no_escape_stays() {
        check("/100%", "/100%", false);
        check("/%4", "/%4", false);
        check("/%zz%", "/%zz%", false);
        check("/a?b=%zz1", "/a", false);
    }

    #[test]
    fn long_paths_are_cut() {
        check(&format!("/{}", "a".repeat(500)), &format!("/{}", "a".repeat(199)), false);
    }

    #[test]
    fn attacks() {
        check("/a/%2e%2e/b", "/a/../b", true);
        check("/?q=%3CScript%3E", "/", true);
        check("/?x=${jndi:ldap://a}", "/", true);
        check("/?id=1+UNION+SELECT+2", "/", true);
        check("/a.b/(c)?u=$1", "/a.b/(c)", false);
    }

    fn decode(query: &str) -> Vec<u8> {
        let mut out = Vec::new();
        decode_query(query.as_bytes(), &mut out);
        out
    }

    #[test]
    fn queries() {
        assert_eq!(decode("?a=b+c%26%zzd"), b"?a=b c&%zzd");
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn the_bug_in_a_lone_percent() {
        decode("?q=100%");
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn the_bug_in_half_an_escape() {
        decode("?q=%4");
    }
}
