//! Requests over HTTP (`wasi:http`).
//!
//! `grants.connect` and `grants.resolve` of the manifest say whom a component may ask, and `grants.trust` whom it believes over
//! `https`. A redirect is an answer like any other.
//!
//! ```
//! use airssys_guest::{Error, http, testing::Host};
//!
//! fn temperature(place: &str) -> Result<String, Error> {
//!     let answer = http::get(&format!("https://api.test/now?place={place}"))?;
//!     match answer.status {
//!         200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
//!         status => Err(format!("the weather is not to be had: {status}").into()),
//!     }
//! }
//!
//! let host = Host::new();
//! host.serve("api.test", |request| http::Response {
//!     status: if request.url().ends_with("place=here") { 200 } else { 404 },
//!     headers: Vec::new(),
//!     body: b"21".to_vec(),
//! });
//! assert_eq!(temperature("here").unwrap(), "21");
//! assert_eq!(temperature("there").unwrap_err().to_string(), "the weather is not to be had: 404");
//! ```

use std::time::Duration;

use crate::{Error, ErrorKind, host};

/// The longest body of an answer that is read where the request does not say otherwise, in bytes.
const BODY_BYTES: usize = 1 << 20;

/// Asks for what is at a URL.
///
/// # Errors
///
/// As [`Request::send`].
pub fn get(url: &str) -> Result<Response, Error> {
    Request::new("GET", url).send()
}

/// A request, as far as it was made.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limit: usize,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// All of the body.
    pub body: Vec<u8>,
}

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) is_tls: bool,
    pub(crate) authority: &'a str,
    pub(crate) path_with_query: String,
}

impl Request {
    /// Makes a request without headers and body. The URL begins with `http://` or `https://`.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            limit: BODY_BYTES,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body. All of it is sent before any of the answer's body is taken. A server that answers while it still reads,
    /// as an echo does, comes to a halt with more than their connection holds; then not the [timeout](Self::timeout)
    /// ends it, but the manifest's `limits.net.idle_timeout`, after five minutes where it says nothing. Send less at once to
    /// such a one.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets how long it may take to connect, to the head of the answer, and between two pieces of its body. The manifest's
    /// `limits.http.timeout` holds where it is shorter.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the longest body of the answer, in bytes; 1 MiB otherwise. The manifest's `limits.http.body` holds where it is
    /// smaller.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// What is asked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How it is asked: `GET`, say.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// What goes with it.
    pub fn content(&self) -> &[u8] {
        &self.body
    }

    /// Sends it, and waits for all of the answer. Any status is an answer.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): policy said no; nothing was sent.
    /// * [`Invalid`](ErrorKind::Invalid): no such URL, method or header.
    /// * [`Unavailable`](ErrorKind::Unavailable): nobody is there, or the connection broke.
    /// * [`TimedOut`](ErrorKind::TimedOut): no answer in time. The request may have been acted on all the same.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): the answer is longer than its limit.
    /// * [`Io`](ErrorKind::Io): another failure, as its cause says.
    pub fn send(&self) -> Result<Response, Error> {
        let what = format_args!("{} `{}`", self.method, self.url);
        let parts = parts(&self.url).ok_or_else(|| {
            Error::cannot(ErrorKind::Invalid, what).caused_by("it is no URL of http or https")
        })?;
        host::exchange(self, &parts).map_err(|refusal| refusal.cannot(what))
    }
}

impl Response {
    /// The first header of a name, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// Takes a URL apart. What follows a `#` is for people who read; a password in it would end up in logs.
fn parts(url: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let is_tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let rest = rest.split('#').next()?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(Parts { is_tls, authority, path_with_query: format!("{slash}{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn a_url_is_taken_apart() {
        let check = |url: &str, expected: Option<(bool, &str, &str)>| {
            let read = parts(url);
            let read = read.as_ref().map(|read| (read.is_tls, read.authority, read.path_with_query.as_str()));
            assert_eq!(read, expected, "{url}");
        };
        check("http://a.b/c?d", Some((false, "a.b", "/c?d")));
        check("https://a.b:444", Some((true, "a.b:444", "/")));
        check("http://a?x=/y#z", Some((false, "a", "/?x=/y")));
        check("http://[::1]:80/", Some((false, "[::1]:80", "/")));
        for url in ["", "a.b", "ftp://a/", "http:///x", "http://u:p@a/", "http://#"] {
            check(url, None);
        }
    }

    #[test]
    fn who_is_not_served_is_denied() {
        let host = Host::new();
        let kind = |request: Request| request.send().map_err(|error| error.kind());
        assert_eq!(kind(Request::new("GET", "http://api.test/")), Err(ErrorKind::Denied));
        assert_eq!(kind(Request::new("GET", "nowhere")), Err(ErrorKind::Invalid));
        host.serve("api.test", |request| Response {
            status: 201,
            headers: vec![("X-Method".to_owned(), request.method().into())],
            body: request.content().repeat(2),
        });
        let request = Request::new("POST", "http://api.test/x").header("a", "b").body("ab");
        let answer = request.clone().timeout(Duration::from_secs(1)).send().expect("it is served");
        assert_eq!(
            (answer.status, answer.header("x-method"), &answer.body[..]),
            (201, Some("POST"), &b"abab"[..])
        );
        assert_eq!(answer.header("absent"), None);
        assert_eq!(kind(request.limit(3)), Err(ErrorKind::LimitExceeded));
    }
}
