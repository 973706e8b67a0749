//! Scripts of functions, as in `calls`, that a component runs for a request over HTTP: through a system that runs, which can
//! have what a program has not, and through Wasmtime's own WASI beside it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, client::conn::http1};
use tokio::{
    net::{TcpSocket, TcpStream as AsyncTcpStream},
    runtime::Runtime,
    sync::oneshot,
};
use wasmtime::Store;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpHooks, WasiHttpView as _,
    io::TokioIo,
    p2::bindings::{http::types::Scheme, sync::Proxy},
};

use crate::{
    calls::{Answers, Guest, Wasi, compare},
    program::{World, fixture},
    script::{Line, lines},
};

/// From this line on a script says what its answer is by itself.
const BY_ITSELF: &str = "answers ";

/// What came back for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Nothing where there was no answer at all.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether the body came to its end.
    pub(crate) is_whole: bool,
    pub(crate) body: Vec<u8>,
}

impl Served {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn answers(&self) -> Answers {
        let lines = String::from_utf8_lossy(&self.body).lines().map(str::to_owned).collect();
        Answers { lines, ended: self.is_whole }
    }
}

/// Runs a script in a system with more in its manifest; the component is `a`. Compares every answer with the script's.
pub(crate) fn check_ours(prepare: impl Fn(&World), manifest: &str, script: &str) {
    let lines = lines(script);
    let run = |world: &World, script: &str| ours(world, manifest, script).answers();
    compare(&asked(&lines), |line| line.ours, "airssys", &prepare, run);
}

/// The same with Wasmtime's answers, too.
pub(crate) fn check(manifest: &str, script: &str) {
    check_ours(|_| {}, manifest, script);
    let lines = lines(script);
    let theirs: Vec<_> = asked(&lines).into_iter().filter(|line| line.wasmtimes != "-").collect();
    compare(
        &theirs,
        |line| line.wasmtimes,
        "wasmtime",
        &|_: &World| {},
        |_, script| wasmtimes(script).answers(),
    );
}

fn asked<'a, 'l>(lines: &'l [Line<'a>]) -> Vec<&'l Line<'a>> {
    lines.iter().collect()
}

/// What comes back for a script that answers by itself, from us and from Wasmtime; its answers up to there are compared.
pub(crate) fn answered(manifest: &str, script: &str) -> [Served; 2] {
    let lines = lines(script);
    let script: Vec<_> = lines.iter().map(|line| line.what).collect();
    let script = script.join("\n");
    let both = [ours(&World::new(), manifest, &script), wasmtimes(&script)];
    let before = lines.iter().take_while(|line| !line.what.starts_with(BY_ITSELF));
    for (line, at) in before.zip(0..) {
        for (served, expected) in both.iter().zip([line.ours, line.wasmtimes]) {
            let told = served.answers().lines;
            if !told.is_empty() {
                assert_eq!(told.get(at).map(String::as_str), Some(expected.trim()), "{}", line.text);
            }
        }
    }
    both
}

/// The headers of a request, beside its host and how long its body is.
fn headers(script: &str) -> Vec<(&'static str, String)> {
    let script = script.replace('\n', "\t");
    vec![("x-script", script), ("x-two", "1".to_owned()), ("x-two", "2".to_owned())]
}

const PATH: &str = "/path?query=1";
const BODY: &str = "asked";

/// What a system says that runs the component as a service.
fn ours(world: &World, manifest: &str, script: &str) -> Served {
    // As long as this is bound, nobody is given the port who does not ask for it by its number.
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.set_reuseaddr(true).unwrap();
    reserved.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = reserved.local_addr().unwrap().port();
    let source = format!("source = \"{}\"", fixture("caller.wasm"));
    let http = format!("http = {{ listen = \"127.0.0.1:{port}\", timeout = \"1h\" }}");
    let limits = "limits = { deadline = \"1h\", http = { timeout = \"1h\" } }";
    world.write(
        "airssys.toml",
        format!(
            "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.a]\n{source}\n{http}\n{limits}\n{manifest}\n"
        ),
    );
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let served = ask(port, script);
    running.signal("TERM");
    running.end();
    served
}

fn ask(port: u16, script: &str) -> Served {
    let headers = headers(script).into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: api.test\r\nte: trailers\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{BODY}",
        headers.collect::<String>(),
        BODY.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    // A server that breaks off has said what it said.
    let _ = stream.read_to_end(&mut all);
    parse(&all)
}

/// An answer as it is on the wire: of a known length, or in chunks.
pub(crate) fn parse(all: &[u8]) -> Served {
    let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") else { return Served::default() };
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let rest = &all[end + 4..];
    let (status, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut served = Served {
        status: status.split(' ').nth(1).and_then(|status| status.parse().ok()),
        headers: pairs(fields),
        ..Served::default()
    };
    match served.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => {
            served.is_whole = rest.len() == length;
            served.body = rest.to_vec();
        }
        None => chunks(rest, &mut served),
    }
    served
}

fn pairs(fields: &str) -> Vec<(String, String)> {
    let fields = fields.lines().filter_map(|line| line.split_once(": "));
    fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}

fn chunks(mut rest: &[u8], served: &mut Served) {
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).unwrap();
        rest = &rest[end + 2..];
        if length == 0 {
            served.is_whole = rest.ends_with(b"\r\n");
            served.trailers = pairs(&String::from_utf8_lossy(rest));
            return;
        }
        if rest.len() < length + 2 {
            return;
        }
        served.body.extend(&rest[..length]);
        rest = &rest[length + 2..];
    }
}

/// What Wasmtime's own WASI says to the same request.
fn wasmtimes(script: &str) -> Served {
    let guest = Guest::get();
    let mut request = Request::post(PATH).header("host", "api.test");
    for (name, value) in headers(script) {
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::from_static(BODY.as_bytes())).map_err(|never| -> Error { match never {} });
    let request = request.body(body.boxed_unsync()).unwrap();

    let mut store = Store::new(&guest.engine, Wasi::new(WasiCtx::builder().build()));
    let (sender, receiver) = oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).unwrap();
    let out = store.data_mut().http().new_response_outparam(sender).unwrap();
    thread::scope(|scope| {
        let guest = scope.spawn(move || {
            let proxy = Proxy::instantiate(&mut store, &guest.component, &guest.linker).unwrap();
            let ended = proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out);
            if let Err(trap) = &ended {
                eprintln!("the guest ended early: {trap:?}");
            }
            ended.is_ok()
        });
        let served = Runtime::new().unwrap().block_on(async {
            // Dropped without an answer where the guest ends early.
            let Ok(Ok(response)) = receiver.await else { return Served::default() };
            let (parts, body) = response.into_parts();
            let (body, is_whole) = match body.collect().await {
                Ok(body) => (body, true),
                Err(_broken) => return Served { status: Some(parts.status.as_u16()), ..Served::default() },
            };
            let told = |headers: &hyper::HeaderMap| {
                let text = |value: &hyper::header::HeaderValue| {
                    String::from_utf8_lossy(value.as_bytes()).into_owned()
                };
                headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
            };
            Served {
                status: Some(parts.status.as_u16()),
                headers: told(&parts.headers),
                trailers: body.trailers().map(told).unwrap_or_default(),
                is_whole,
                body: body.to_bytes().to_vec(),
            }
        });
        let is_whole = guest.join().unwrap() && served.is_whole;
        Served { is_whole, ..served }
    })
}

/// How requests leave where Wasmtime runs the guest: over a connection of their own, as they do from us.
pub(crate) struct Requests;

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Driver), Error>> + Send>;

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        Box::new(async move {
            let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.to_string();
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
            let stream = AsyncTcpStream::connect(authority).await.map_err(|_| Error::ConnectionRefused)?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let response = sender.send_request(request).await?;
            let driver: Driver = Box::new(async move {
                // What breaks the connection is told by the body.
                let _ = connection.await;
                Ok(())
            });
            Ok((response.map(|body| body.map_err(Error::from).boxed_unsync()), driver))
        })
    }
}
