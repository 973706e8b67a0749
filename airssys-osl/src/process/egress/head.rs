//! What a request to the proxy asks for, and what of it goes on to the server (RFC 9112). Pure.
//!
//! Strict: a head that a server could read in another way than the proxy is refused, for by such a head a request gets
//! past the one that was looked at. Whom it is sent to is decided by its target alone; a `Host` that says otherwise is
//! refused, and the one that goes on is written anew.

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::process) enum Request<'a> {
    /// To carry bytes to `host:port` and back.
    Tunnel { authority: &'a str },
    /// To send a request to a server.
    Forward(Forward<'a>),
}

/// A request on its way to a server.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::process) struct Forward<'a> {
    pub(in crate::process) method: &'a str,
    pub(in crate::process) authority: &'a str,
    /// What the server gets.
    pub(in crate::process) head: Vec<u8>,
    pub(in crate::process) body: Body,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::process) enum Body {
    Bytes(u64),
    Chunks,
}

/// Fields about the connection to us, which is another one than that to the server.
const OURS: [&str; 8] = [
    "host",
    "connection",
    "proxy-connection",
    "proxy-authorization",
    "keep-alive",
    "te",
    "upgrade",
    "http2-settings",
];

/// Fields that are never ours, even where `Connection` says so: without them a body would be the next request.
const KEPT: [&str; 3] = ["content-length", "transfer-encoding", "host"];

/// The most fields of a request, and the most that its `Connection` names: each of the ones is looked for among the others.
const FIELDS: usize = 128;

/// How a URL begins that a proxy is asked for.
const HTTP: &str = "http://";

/// Reads a head with its empty line; otherwise says what is wrong with it.
pub(in crate::process) fn parse(head: &[u8]) -> Result<Request<'_>, &'static str> {
    let text = str::from_utf8(head).map_err(|_| "its head is no text")?;
    let text = text.strip_suffix("\r\n\r\n").ok_or("its head has no end")?;
    let mut lines = text.split("\r\n");
    let (method, target, version) = first_line(lines.next().unwrap_or_default())?;
    let fields = lines.take(FIELDS + 1).map(field).collect::<Result<Vec<_>, _>>()?;
    if fields.len() > FIELDS {
        return Err(TOO_MANY);
    }
    let host = only(&fields, "host", "it has two Host fields")?;
    if method == "CONNECT" {
        let well = target.rsplit_once(':').is_some_and(|(_, port)| is_number(port));
        return match () {
            () if !well => Err("the target of CONNECT is a host and a port"),
            () if !host.is_none_or(|host| is_same(host, target)) => Err(OTHER_HOST),
            () => Ok(Request::Tunnel { authority: target }),
        };
    }
    let rest = match target.split_at_checked(HTTP.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(HTTP) => rest,
        _ => return Err("this is a proxy: the target is a URL that begins with http://"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !host.is_none_or(|host| is_same(host, authority)) {
        return Err(OTHER_HOST);
    }
    let body = body(&fields, version)?;
    let head = onward(method, authority, path, version, &fields)?;
    Ok(Request::Forward(Forward { method, authority, head, body }))
}

const TOO_MANY: &str = "it has too many fields";

const OTHER_HOST: &str = "its Host is another one than its target";

fn first_line(line: &str) -> Result<(&str, &str, &str), &'static str> {
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version @ ("HTTP/1.1" | "HTTP/1.0")), None)
            if is_token(method)
                && !target.is_empty()
                && target.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok((method, target, version))
        }
        _ => Err("its first line is no request of HTTP/1"),
    }
}

fn field(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, value) =
        line.split_once(':').filter(|(name, _)| is_token(name)).ok_or("a field has no name")?;
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a field has a control character in it");
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

/// The value of a field that may be there once.
fn only<'a>(
    fields: &[(&'a str, &'a str)],
    name: &str,
    twice: &'static str,
) -> Result<Option<&'a str>, &'static str> {
    let mut values = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| *value)),
        _ => Err(twice),
    }
}

fn body(fields: &[(&str, &str)], version: &str) -> Result<Body, &'static str> {
    let length = only(fields, "content-length", "it has two lengths")?;
    match (only(fields, "transfer-encoding", "it has two encodings")?, length) {
        (None, None) => Ok(Body::Bytes(0)),
        (None, Some(length)) if is_number(length) => {
            length.parse().map(Body::Bytes).map_err(|_| "its length is no number")
        }
        (None, Some(_)) => Err("its length is no number"),
        (Some(_), Some(_)) => Err("it has a length and an encoding"),
        (Some(encoding), None) if encoding.eq_ignore_ascii_case("chunked") && version == "HTTP/1.1" => {
            Ok(Body::Chunks)
        }
        (Some(_), None) => Err("its encoding is not known"),
    }
}

/// The head that the server gets.
fn onward(
    method: &str,
    authority: &str,
    path: &str,
    version: &str,
    fields: &[(&str, &str)],
) -> Result<Vec<u8>, &'static str> {
    if path.contains('#') {
        return Err("its target has a fragment");
    }
    let named = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    let named: Vec<&str> =
        named.flat_map(|(_, names)| names.split(',')).map(str::trim).take(FIELDS + 1).collect();
    if named.len() > FIELDS {
        return Err(TOO_MANY);
    }
    let is_in = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if named.iter().any(|name| is_in(&KEPT, name)) {
        return Err("its Connection takes a field away by which it is read");
    }
    let path = match path {
        "" if method == "OPTIONS" => "*".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let mut head = format!("{method} {path} {version}\r\nHost: {authority}\r\n");
    for (name, value) in fields.iter().filter(|(name, _)| !is_in(&OURS, name) && !is_in(&named, name)) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    Ok(head.into_bytes())
}

/// Whether a `Host` names what the target does. It may lack the port.
fn is_same(host: &str, authority: &str) -> bool {
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    host.eq_ignore_ascii_case(authority) || host.eq_ignore_ascii_case(name)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<String, &'static str> {
        let head = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
        parse(head.as_bytes()).map(|request| match request {
            Request::Tunnel { authority } => format!("tunnel to {authority}"),
            Request::Forward(Forward { authority, head, body, .. }) => {
                let head = String::from_utf8(head).unwrap().replace("\r\n", "\n");
                format!("to {authority} with {body:?}: {}", head.trim_end())
            }
        })
    }

    #[track_caller]
    fn check(head: &str, expected: Result<&str, &str>) {
        assert_eq!(read(head).as_deref().map_err(|why| *why), expected, "{head}");
    }

    #[test]
    fn tunnels() {
        check("CONNECT a.b:443 HTTP/1.1\nHost: a.b:443", Ok("tunnel to a.b:443"));
        check("CONNECT a.b:443 HTTP/1.0\nProxy-Authorization: x", Ok("tunnel to a.b:443"));
        check("CONNECT [::1]:443 HTTP/1.1\nHost: [::1]", Ok("tunnel to [::1]:443"));
        check("CONNECT a.b HTTP/1.1", Err("the target of CONNECT is a host and a port"));
        check("CONNECT a.b: HTTP/1.1", Err("the target of CONNECT is a host and a port"));
        check("CONNECT [::1] HTTP/1.1", Err("the target of CONNECT is a host and a port"));
        check("CONNECT a.b:443 HTTP/1.1\nHost: c.d:443", Err(OTHER_HOST));
    }

    #[test]
    fn fields_are_bounded() {
        let with = |fields: &str| format!("GET http://a.b/ HTTP/1.1{fields}");
        assert!(read(&with(&"\na: b".repeat(128))).is_ok());
        check(&with(&"\na: b".repeat(129)), Err(TOO_MANY));
        assert!(read(&with(&format!("\nConnection: x{}", ",x".repeat(127)))).is_ok());
        check(&with(&format!("\nConnection: x{}", ",x".repeat(128))), Err(TOO_MANY));
    }

    #[test]
    fn requests_are_written_anew() {
        check(
            "GET http://a.b:81/x?y HTTP/1.1\nHOST: A.B:81\nAccept: *\nProxy-Connection: keep-alive\nConnection: close, X-Mine\nX-Mine: 1",
            Ok("to a.b:81 with Bytes(0): GET /x?y HTTP/1.1\nHost: a.b:81\nAccept: *\nConnection: close"),
        );
        check(
            "POST HTTP://a.b?y HTTP/1.1\ncontent-length: 7",
            Ok("to a.b with Bytes(7): POST /?y HTTP/1.1\nHost: a.b\ncontent-length: 7\nConnection: close"),
        );
        check(
            "OPTIONS http://a.b HTTP/1.0",
            Ok("to a.b with Bytes(0): OPTIONS * HTTP/1.0\nHost: a.b\nConnection: close"),
        );
        check(
            "PUT http://a/ HTTP/1.1\nTransfer-Encoding: Chunked",
            Ok("to a with Chunks: PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\nConnection: close"),
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let get = |fields: &str| format!("GET http://a.b/ HTTP/1.1\n{fields}");
        for (fields, why) in [
            ("Host: a.b\nHost: a.b", "it has two Host fields"),
            ("Host: a.b\nhost: c.d", "it has two Host fields"),
            ("Host: c.d", OTHER_HOST),
            ("Host:\u{b}a.b", "a field has a control character in it"),
            ("Host : a.b", "a field has no name"),
            (" Host: a.b", "a field has no name"),
            ("Accept: x\n folded", "a field has no name"),
            ("Content-Length: 1\nContent-Length: 1", "it has two lengths"),
            ("Content-Length: 1, 2", "its length is no number"),
            ("Content-Length: +1", "its length is no number"),
            ("Content-Length: 99999999999999999999", "its length is no number"),
            ("Content-Length: 1\nTransfer-Encoding: chunked", "it has a length and an encoding"),
            ("Transfer-Encoding: chunked\nTransfer-Encoding: identity", "it has two encodings"),
            ("Transfer-Encoding: xchunked", "its encoding is not known"),
            (
                "Connection: content-length\nContent-Length: 5",
                "its Connection takes a field away by which it is read",
            ),
            ("Connection: Host", "its Connection takes a field away by which it is read"),
        ] {
            check(&get(fields), Err(why));
        }
        assert!(parse(b"GET http://a.b/ HTTP/1.1\r\nA: b\nHost: c.d\r\n\r\n").is_err(), "a bare line feed");
        assert!(parse(b"GET http://a.b/ HTTP/1.1\r\nA: b\rHost: c.d\r\n\r\n").is_err(), "a bare return");
        assert!(parse(b"GET http://a.b/ HTTP/1.1\r\nA: \xff\r\n\r\n").is_err(), "no text");
    }

    #[test]
    fn what_is_no_request_to_a_proxy() {
        for line in [
            "",
            "GET",
            "GET  http://a/ HTTP/1.1",
            "GET http://a/ HTTP/2",
            "GET http://a/ HTTP/1.1 x",
            "G(T http://a/ HTTP/1.1",
        ] {
            check(line, Err("its first line is no request of HTTP/1"));
        }
        for target in ["/", "*", "https://a/", "ftp://a/", "a:80"] {
            let why = "this is a proxy: the target is a URL that begins with http://";
            check(&format!("GET {target} HTTP/1.1\nHost: a"), Err(why));
        }
        check("GET http://a/#b HTTP/1.1", Err("its target has a fragment"));
        // Whether it is a host is for the connector to say.
        assert!(read("GET http://user@a/ HTTP/1.1").is_ok());
    }
}
