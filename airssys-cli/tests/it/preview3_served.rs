//! Services of WASI 0.3 through a system that runs: the component `porter` does with a request what its path says, and
//! Wasmtime's own `wasi:http` has the same requests.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    sync::OnceLock,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request};
use tokio::net::TcpSocket;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, WasiHttpCtx, WasiHttpCtxView, WasiHttpView,
    p3::{self, bindings::Service},
};

use crate::{
    program::{World, repository},
    served::{Requests, Served, parse},
};

fn porter() -> PathBuf {
    repository().join("airssys-wasm/tests/fixtures/porter.wasm").canonicalize().unwrap()
}

/// A port that nobody else is given as long as this lives, and its number.
fn reserved() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn manifest(port: u16) -> String {
    format!(
        "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.porter]\nsource = \"{}\"\n\
         http = {{ listen = \"127.0.0.1:{port}\", timeout = \"1h\" }}\n\
         limits = {{ deadline = \"1h\", http = {{ timeout = \"1h\" }} }}\n",
        porter().display()
    )
}

/// What a system says to a request.
fn ours(port: u16, method: &str, path: &str, body: &str) -> Served {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: api.test\r\nte: trailers\r\nconnection: close\r\nx-two: 1\r\nx-two: 2\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    // A server that breaks off has said what it said.
    let _ = stream.read_to_end(&mut all);
    parse(&all)
}

/// The guest as Wasmtime runs it, compiled once.
struct Guest {
    engine: Engine,
    component: Component,
    linker: Linker<Wasi>,
}

impl Guest {
    fn get() -> &'static Self {
        static GUEST: OnceLock<Guest> = OnceLock::new();
        GUEST.get_or_init(|| {
            let mut config = Config::new();
            config.wasm_component_model_async(true);
            let engine = Engine::new(&config).unwrap();
            let component = Component::from_file(&engine, porter()).unwrap();
            let mut linker = Linker::new(&engine);
            wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
            p3::add_to_linker(&mut linker).unwrap();
            Self { engine, component, linker }
        })
    }
}

struct Wasi {
    context: WasiCtx,
    http: WasiHttpCtx,
    requests: Requests,
    table: ResourceTable,
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

impl WasiHttpView for Wasi {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.requests }
    }
}

/// What Wasmtime's own handler says to it. Nothing where the guest ended with an error.
fn wasmtimes(method: &str, path: &str, body: &'static str) -> Served {
    let guest = Guest::get();
    let context = WasiCtx::builder().build();
    let table = ResourceTable::new();
    let wasi = Wasi { context, http: WasiHttpCtx::new(), requests: Requests, table };
    let mut store = Store::new(&guest.engine, wasi);
    let request = Request::builder().method(method).uri(format!("http://api.test{path}"));
    let request =
        ["host: api.test", "te: trailers", "x-two: 1", "x-two: 2"].iter().fold(request, |request, header| {
            let (name, value) = header.split_once(": ").unwrap();
            request.header(name, value)
        });
    let request = request.header("content-length", body.len());
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| -> Error { match never {} });
    let request = request.body(body).unwrap();
    let serve = async {
        let service = Service::instantiate_async(&mut store, &guest.component, &guest.linker).await.unwrap();
        store
            .run_concurrent(async |store| {
                let request = store.with(|mut access| {
                    let (request, _) = p3::Request::from_http(access.get().http().hooks, request);
                    request
                });
                let Ok(Ok(response)) = service.handle(store, request).await else { return Served::default() };
                let response = store.with(|access| response.into_http(access, async { Ok(()) })).unwrap();
                let (parts, body) = response.into_parts();
                let mut served = Served {
                    status: Some(parts.status.as_u16()),
                    headers: pairs(&parts.headers),
                    ..Served::default()
                };
                if let Ok(body) = body.collect().await {
                    served.trailers = body.trailers().map(pairs).unwrap_or_default();
                    served.body = body.to_bytes().to_vec();
                    served.is_whole = true;
                }
                served
            })
            .await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve).unwrap_or_default()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// What the guest says by itself: without the headers that are of the connection.
fn own(served: &Served) -> Served {
    let mut own = served.clone();
    own.headers.retain(|(name, _)| name.starts_with("x-") || name == "trailer");
    own
}

#[test]
fn a_service_answers_as_it_does_in_wasmtime() {
    let (world, (_reserved, port)) = (World::new(), reserved());
    world.write("airssys.toml", manifest(port));
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    for (method, path, body, expected) in [
        ("GET", "/hello", "", Some("hello")),
        ("POST", "/echo", "asked", Some("asked")),
        ("POST", "/through", "asked", Some("asked")),
        ("POST", "/read", "asked", Some("5 bytes; Ok(\"\")")),
        ("GET", "/fields", "", Some("body")),
        ("GET", "/counted?4", "", Some("four")),
        ("GET", "/nothing", "", Some("/nothing")),
        ("PURGE", "/about?query=1", "", None),
        ("POST", "/about", "asked", None),
    ] {
        let (ours, theirs) = (ours(port, method, path, body), wasmtimes(method, path, body));
        assert_eq!(own(&ours), own(&theirs), "{path}");
        assert!(ours.is_whole, "{path}: {ours:?}");
        if let Some(expected) = expected {
            assert_eq!(String::from_utf8_lossy(&ours.body), expected, "{path}");
        }
    }
    // Wasmtime leaves to its embedder what becomes of the rest.
    for (path, status) in
        [("/trap", 500), ("/error", 500), ("/half", 200), ("/fail", 200), ("/counted?9", 200)]
    {
        let (ours, theirs) = (ours(port, "GET", path, ""), wasmtimes("GET", path, ""));
        assert!(!theirs.is_whole || path == "/half", "{path}: {theirs:?}");
        match ours.status {
            Some(told) => assert_eq!((told, ours.is_whole), (status, status == 500), "{path}: {ours:?}"),
            // It broke off before its head had left.
            None => assert_eq!(status, 200, "{path}"),
        }
    }
    running.signal("TERM");
    let (code, _) = running.end();
    assert_eq!(code, Some(0), "it ends in order");
    let (_, records) = world.run_json(&["audit", "query", ".", "--action", "net.http"]);
    assert_eq!(records.len(), 14, "each request is on record: {records:#?}");
    assert!(records.iter().all(|record| record["rule"] == "component.porter.http.listen"), "{records:#?}");
}
