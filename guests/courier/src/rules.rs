//! What the specification says of headers, requests, options and responses, without a connection. Each line of an answer is
//! a rule and what the host does.

use std::fmt::Debug;

use crate::bindings::{
    wasi::http::types::{Fields, HeaderError, Method, Request, RequestOptions, Response, Scheme},
    wit_future, wit_stream,
};

/// More than a header may have anywhere, in bytes.
const HUGE: usize = 1 << 20;

#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn tell(&mut self, what: &str, answer: impl Debug) {
        self.0.push(format!("{what} = {answer:?}"));
    }

    fn end(self) -> String {
        self.0.join("\n")
    }
}

fn texts(values: Vec<Vec<u8>>) -> Vec<String> {
    values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn list(fields: &Fields) -> String {
    let all = fields.copy_all();
    let all = all
        .iter()
        .map(|(name, value)| format!("{}: {}", name.to_ascii_lowercase(), String::from_utf8_lossy(value)));
    all.collect::<Vec<_>>().join(", ")
}

/// Headers.
pub(crate) fn fields() -> String {
    let mut told = Told::default();
    let fields = Fields::new();
    told.tell("append", fields.append("Name", b"one"));
    told.tell("append again", fields.append("name", b"two"));
    told.tell("append empty", fields.append("empty", b""));
    told.tell("append bytes", fields.append("bytes", b"\xff\xfe"));
    for name in ["", "na me", "na\u{e4}me", "na:me", "na\nme"] {
        told.tell(&format!("append {name:?}"), fields.append(name, b"x"));
        told.tell(&format!("set {name:?}"), fields.set(name, &[b"x".to_vec()]));
        told.tell(&format!("delete {name:?}"), fields.delete(name));
        told.tell(&format!("get-and-delete {name:?}"), fields.get_and_delete(name));
        told.tell(&format!("has {name:?}"), fields.has(name));
        told.tell(&format!("get {name:?}"), fields.get(name));
    }
    for value in ["a\nb", "a\rb", "a\0b", "\x7f"] {
        told.tell(&format!("append value {value:?}"), fields.append("value", value.as_bytes()));
        told.tell(&format!("set value {value:?}"), fields.set("value", &[value.as_bytes().to_vec()]));
    }
    for name in [
        "Connection",
        "keep-alive",
        "Proxy-Connection",
        "transfer-encoding",
        "upgrade",
        "HOST",
        "http2-settings",
    ] {
        told.tell(&format!("append {name}"), fields.append(name, b"x"));
        told.tell(&format!("set {name}"), fields.set(name, &[b"x".to_vec()]));
        told.tell(&format!("delete {name}"), fields.delete(name));
    }
    told.tell("has", (fields.has("NAME"), fields.has("value"), fields.has("empty")));
    told.tell("get", texts(fields.get("NAME")));
    told.tell("get empty", texts(fields.get("empty")));
    told.tell("get bytes", fields.get("bytes"));
    told.tell("set", fields.set("name", &[b"three".to_vec(), b"four".to_vec()]));
    told.tell("get", texts(fields.get("name")));
    told.tell("get-and-delete", fields.get_and_delete("Name").map(texts));
    told.tell("get-and-delete nothing", fields.get_and_delete("name").map(texts));
    told.tell("delete nothing", fields.delete("name"));
    told.tell("delete", fields.delete("bytes"));
    told.tell("set nothing", fields.set("empty", &[]));
    told.tell("content-length", fields.append("Content-Length", b"5"));
    told.tell("content-length again", fields.append("content-length", b"5"));
    told.tell("content-length twice", fields.set("content-length", &[b"5".to_vec(), b"5".to_vec()]));
    told.tell("content-length +5", fields.set("content-length", &[b"+5".to_vec()]));
    told.tell("copy-all", list(&fields));
    let cloned = fields.clone();
    told.tell("clone", cloned.append("more", b"x"));
    told.tell("clone apart", (cloned.has("more"), fields.has("more")));
    told.tell("set huge", fields.set("huge", &[vec![b'x'; HUGE]]));
    told.tell("append huge", fields.append("huge", &vec![b'x'; HUGE]));
    told.tell("huge", fields.has("huge"));
    let from = |entries: &[(&str, &[u8])]| {
        let entries: Vec<_> =
            entries.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        Fields::from_list(&entries).map(|fields| list(&fields))
    };
    told.tell("from-list", from(&[("b", b"1"), ("a", b"2"), ("B", b"3")]));
    told.tell("from-list name", from(&[("a b", b"1")]));
    told.tell("from-list value", from(&[("a", b"1\n")]));
    told.tell("from-list forbidden", from(&[("a", b"1"), ("Host", b"x")]));
    told.tell("from-list huge", from(&[("a", &vec![b'x'; HUGE])]));
    told.end()
}

fn request(options: Option<RequestOptions>) -> Request {
    let (_end, trailers) = wit_future::new(|| Ok(None));
    let headers = Fields::new();
    let _ = headers.append("name", b"value");
    Request::new(headers, None, trailers, options).0
}

fn immutable(told: &mut Told, headers: &Fields) {
    let errors: [Result<(), HeaderError>; 3] =
        [headers.append("a", b"b"), headers.set("a", &[]), headers.delete("name")];
    for error in errors {
        told.tell("headers", error);
    }
    told.tell("headers", headers.get_and_delete("name").map(texts));
    told.tell("headers of another name", headers.append("na me", b"b").is_err());
    let cloned = headers.clone();
    told.tell("clone", cloned.append("a", b"b"));
    told.tell("clone", list(&cloned));
}

/// Requests that are not sent.
pub(crate) fn requests() -> String {
    let mut told = Told::default();
    let request = request(None);
    told.tell("new", (request.get_method(), request.get_scheme(), request.get_authority()));
    told.tell("new", (request.get_path_with_query(), request.get_options().is_some()));
    for method in ["GET", "PURGE", "", "a b", "a\n"] {
        told.tell(&format!("method {method:?}"), request.set_method(&Method::Other(method.to_owned())));
    }
    told.tell("method", request.get_method());
    told.tell("method", request.set_method(&Method::Patch));
    told.tell("method", request.get_method());
    for path in ["/a?b", "?b", "", "a", "*", "/a b", "/a\n", "http://other/"] {
        told.tell(&format!("path {path:?}"), request.set_path_with_query(Some(path)));
    }
    told.tell("path", request.set_path_with_query(None));
    told.tell("path", request.get_path_with_query());
    for scheme in ["ftp", "HTTP", "a b", "1a:"] {
        told.tell(&format!("scheme {scheme:?}"), request.set_scheme(Some(&Scheme::Other(scheme.to_owned()))));
    }
    told.tell("scheme", request.set_scheme(Some(&Scheme::Https)));
    told.tell("scheme", request.get_scheme());
    told.tell("scheme", (request.set_scheme(None), request.get_scheme()));
    for authority in [
        "a.test",
        "a.test:80",
        "[::1]:80",
        "[::1]",
        "1.2.3.4",
        "u@a.test",
        "",
        "a b",
        "a:b",
        "a:",
        "a/b",
        "a:99999",
    ] {
        told.tell(&format!("authority {authority:?}"), request.set_authority(Some(authority)));
    }
    told.tell("authority", request.get_authority());
    told.tell("authority", (request.set_authority(None), request.get_authority()));
    immutable(&mut told, &request.get_headers());
    told.end()
}

/// Options of a request.
pub(crate) fn options() -> String {
    let mut told = Told::default();
    let options = RequestOptions::new();
    let all = |options: &RequestOptions| {
        (options.get_connect_timeout(), options.get_first_byte_timeout(), options.get_between_bytes_timeout())
    };
    told.tell("new", all(&options));
    told.tell("connect", options.set_connect_timeout(Some(1)));
    told.tell("first byte", options.set_first_byte_timeout(Some(2)));
    told.tell("between bytes", options.set_between_bytes_timeout(Some(u64::MAX)));
    told.tell("set", all(&options));
    told.tell("first byte", options.set_first_byte_timeout(None));
    let request = request(Some(options));
    let Some(options) = request.get_options() else { return "no options".to_owned() };
    told.tell("of a request", all(&options));
    told.tell("connect", options.set_connect_timeout(Some(1)));
    told.tell("first byte", options.set_first_byte_timeout(None));
    told.tell("between bytes", options.set_between_bytes_timeout(None));
    let cloned = options.clone();
    told.tell("clone", cloned.set_connect_timeout(None));
    told.tell("clone", all(&cloned));
    told.tell("of a request", all(&options));
    told.end()
}

/// Responses, and a body that is taken out of one again.
pub(crate) async fn responses() -> String {
    let mut told = Told::default();
    let (end, trailers) = wit_future::new(|| Ok(None));
    let (mut writer, contents) = wit_stream::new();
    let headers = Fields::new();
    let _ = headers.append("name", b"value");
    let (response, sent) = Response::new(headers, Some(contents), trailers);
    told.tell("new", response.get_status_code());
    for status in [100, 404, 599, 0, 99, 600, 1000] {
        told.tell(&format!("status {status}"), response.set_status_code(status));
    }
    told.tell("status", response.get_status_code());
    immutable(&mut told, &response.get_headers());
    let (result, handled) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, handled);
    // Both ends are the guest's: nothing else reads what it writes.
    let mut read = Box::pin(stream.read(Vec::with_capacity(8)));
    let left = {
        let mut write = Box::pin(writer.write_all(b"body".to_vec()));
        std::future::poll_fn(|cx| {
            let _ = read.as_mut().poll(cx);
            write.as_mut().poll(cx)
        })
        .await
    };
    told.tell("written", left.is_empty());
    told.tell("read", String::from_utf8_lossy(&read.await.1));
    drop(writer);
    told.tell("end", stream.next().await.is_none());
    // Nobody reads from itself what is no bytes.
    drop(trailers);
    drop(end);
    let _ = result.write(Err(crate::bindings::wasi::http::types::ErrorCode::LoopDetected)).await;
    told.tell("sent", sent.await);
    told.end()
}
