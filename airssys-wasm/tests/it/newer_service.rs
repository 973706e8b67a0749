//! `[component.NAME.http]` of WASI 0.3: the component `porter` does with a request what its path says.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
};

use airssys_wasm::{Canary, Change, ErrorKind, Handover};

use crate::{
    service::{answers, get, hear, load, parts, say},
    versions::told,
    world::{ENGINE, PATIENCE, Reserved, World},
};

const RULE: &str = "component.porter.http.listen";

async fn serve(port: u16, http: &str, more: &str) -> World {
    let listen = format!("listen = \"127.0.0.1:{port}\"");
    World::start(&format!("[component.porter]\nPORTER\n{more}\n[component.porter.http]\n{listen}\n{http}\n"))
        .await
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Hears from a server until it has said this.
fn until(stream: &mut TcpStream, heard: &mut String, what: &str) {
    let mut piece = [0; 1024];
    while !heard.contains(what) {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "it hung up before `{what}`: {heard}");
        heard.push_str(&String::from_utf8_lossy(piece.get(..length).unwrap()));
    }
}

fn is_busy(world: &World) -> bool {
    world.system.status().iter().any(|status| status.busy)
}

async fn wait_until_busy(world: &World, busy: bool) {
    let began = std::time::Instant::now();
    while is_busy(world) != busy {
        assert!(began.elapsed() < PATIENCE, "busy: {}", !busy);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_wasi_0_3_answers_requests_which_are_on_record() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "health = { path = \"/hello\", every = \"1h\", timeout = \"1h\" }").await;
    let (status, body) = get(port, "/hello").await;
    assert_eq!((status.as_str(), body.contains("hello")), ("200", true), "{body}");
    assert_eq!(world.requests(), [format!("GET http://api.test {RULE} Success")]);
    let about = say(
        port,
        "POST /about?x=1 HTTP/1.1\r\nhost: a:80\r\nx-two: 1\r\nx-two: 2\r\nconnection: close\r\n\r\n",
    );
    let (_, body) = parts(&about.await);
    let expected = "Method::Post Some(Scheme::Http) Some(\"a:80\") Some(\"/about?x=1\"), options false\nx-two: 1\nx-two: 2\n";
    assert!(body.contains(expected), "{body}");
    let fields =
        say(port, "GET /fields HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n").await;
    assert!(fields.starts_with("HTTP/1.1 201"), "{fields}");
    assert!(fields.contains("x-said: one\r\nx-said: two\r\n"), "{fields}");
    assert!(fields.ends_with("4\r\nbody\r\n0\r\nx-sum: 5\r\n\r\n"), "{fields}");
    let head = say(port, "HEAD /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(get(port, "/empty").await, ("204".to_owned(), String::new()));
    let two = "GET /counted?4 HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let two = say(port, two).await;
    assert!(two.contains("content-length: 4\r\n") && two.contains("four"), "{two}");
    assert!(two.contains("hello"), "one connection, two requests: {two}");
    let (status, _) =
        parts(&say(port, "GET /hello HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n").await);
    assert_eq!(status, "400", "no guest is told of a host that is none");
    assert!(world.told().is_empty(), "nothing crashed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_in_and_out_and_trailers_go_through() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let _world = serve(port, "", "").await;
    let talk = move |path: &str| {
        let (mut stream, mut heard) = (connect(port), String::new());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
             trailer: x-sum\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The next piece leaves when the one before has come back.
        for piece in ["first", "other", "third"] {
            stream.write_all(format!("5\r\n{piece}\r\n").as_bytes()).unwrap();
            until(&mut stream, &mut heard, &format!("5\r\n{piece}\r\n"));
        }
        stream.write_all(b"0\r\nx-sum: 15\r\n\r\n").unwrap();
        heard + &hear(stream)
    };
    let (echo, through) =
        tokio::task::spawn_blocking(move || (talk("/echo"), talk("/through"))).await.unwrap();
    assert!(echo.ends_with("third\r\n0\r\nx-sum: 15\r\n\r\n"), "{echo}");
    // Nobody said that there would be some: those are not sent.
    assert!(through.ends_with("third\r\n0\r\n\r\n"), "{through}");
    let read = "POST /read HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                4\r\nbody\r\n0\r\nx-sum: 5\r\n\r\n";
    assert!(say(port, read).await.contains("4 bytes; Ok(\"x-sum: 5\")"));
    // More than all buffers on the way hold.
    let long = say(port, "GET /long?20000000 HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(parts(&long).1.len(), 20_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_body_off_is_told_to_its_guest() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "limits = { http = { body = \"10B\", headers = \"1KiB\" } }").await;
    let head = "POST /read HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let told = say(port, &format!("{head}content-length: 11\r\n\r\n12345678901")).await;
    assert_eq!(parts(&told).0, "413");
    let long =
        say(port, &format!("{head}transfer-encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n")).await;
    assert!(parts(&long).0 == "400" && long.contains("Err(ErrorCode::HttpRequestBodySize(None))"), "{long}");
    let broken = say(port, &format!("{head}transfer-encoding: chunked\r\n\r\n2\r\nhe\r\nnonsense\r\n")).await;
    assert!(broken.contains("2 bytes; Err(ErrorCode::HttpProtocolError)"), "{broken}");
    let trailers = format!("x-sum: {}\r\n", "5".repeat(2000));
    let large =
        say(port, &format!("{head}transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n{trailers}\r\n")).await;
    assert!(large.contains("2 bytes; Err(ErrorCode::HttpRequestTrailerSectionSize(Some(2009)))"), "{large}");
    drop(world);

    let reserved = Reserved::new();
    let port = reserved.0;
    let _world = serve(port, "", "limits = { http = { timeout = \"100ms\" } }").await;
    let began = std::time::Instant::now();
    loop {
        let silent = say(port, &format!("{head}content-length: 5\r\n\r\nhe")).await;
        if silent.contains("2 bytes; Err(ErrorCode::ConnectionReadTimeout)") {
            break;
        }
        // A machine that stands still can be late with the head.
        assert!(silent.is_empty() && began.elapsed() < PATIENCE, "{silent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_does_costs_its_own_request_alone() {
    let long = "timeout = \"1h\"";
    for (timeout, limits, cases) in [
        (
            long,
            "deadline = \"1h\"",
            &[
                ("/trap", "500", "Failed(5)"),
                ("/error", "500", "Failed(5)"),
                ("/handles", "500", "Failed(5)"),
            ][..],
        ),
        (long, "deadline = \"50ms\"", &[("/spin", "500", "Failed(5)")]),
        (long, "deadline = \"1h\", fuel = 1000000", &[("/spin", "500", "Failed(5)")]),
        ("timeout = \"300ms\"", "deadline = \"1h\"", &[("/never", "504", "Failed(110)")]),
    ] {
        let reserved = Reserved::new();
        let port = reserved.0;
        let world = serve(port, timeout, &format!("limits = {{ {limits} }}")).await;
        for (path, expected, outcome) in cases {
            world.requests();
            assert_eq!(get(port, path).await.0, *expected, "{path}");
            assert_eq!(world.requests(), [format!("GET http://api.test {RULE} {outcome}")], "{path}");
            answers(port, path).await;
        }
        assert!(world.told().is_empty(), "the service itself did not crash");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_ended_breaks_off() {
    for (timeout, deadline, paths, instead) in [
        ("1h", "1h", &["/half", "/fail", "/counted?9", "/counted?3"][..], "200"),
        ("1h", "50ms", &["/late-spin"], "500"),
        ("300ms", "1h", &["/open", "/leave"], "504"),
    ] {
        let reserved = Reserved::new();
        let port = reserved.0;
        let limits = format!("limits = {{ deadline = \"{deadline}\" }}");
        let world = serve(port, &format!("timeout = \"{timeout}\""), &limits).await;
        for path in paths {
            let half = say(port, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            // How much of it had left already is chance, and with little time whether there was enough for a head.
            let status = half.split(' ').nth(1).unwrap_or_default();
            assert!(half.is_empty() || status == "200" || status == instead, "{path}: {half}");
            let body = half.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(!body.ends_with("0\r\n\r\n") && body.len() <= "4\r\nhalf\r\n".len(), "{path}: {half}");
            answers(port, path).await;
        }
        assert!(world.told().is_empty(), "the service itself did not crash");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_behind_the_head_of_an_answer_is_on_record() {
    let reserved = Reserved::new();
    let world = serve(reserved.0, "", "").await;
    for path in ["/trap", "/half"] {
        say(reserved.0, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        wait_until_busy(&world, false).await;
        let incidents = world.incidents();
        let [exit] = &incidents[..] else { panic!("{path}: {incidents:?}") };
        assert!(exit.starts_with("component.porter actor.exit ") && exit.contains("panicked"), "{exit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_ends_what_was_done_for_him() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "requests = 1", "").await;
    for path in ["/never", "/open"] {
        let mut stream = connect(port);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
        wait_until_busy(&world, true).await;
        if path == "/open" {
            let stream = &mut stream;
            tokio::task::block_in_place(|| until(stream, &mut String::new(), "half"));
        }
        // Its time would not be over for an hour.
        drop(stream);
        wait_until_busy(&world, false).await;
        answers(port, path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_goes_on_behind_its_answer_in_the_same_trace() {
    let reserved = Reserved::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap().port();
    let grants = format!("grants = {{ connect = [\"tcp://127.0.0.1:{other}\"] }}");
    let world = serve(reserved.0, "", &grants).await;
    world.traces();
    let heard = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        until(&mut stream, &mut heard, "\r\n\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        heard
    });
    let (status, body) = get(reserved.0, &format!("/after?127.0.0.1:{other}")).await;
    assert_eq!((status.as_str(), body.contains("before")), ("200", true), "{body}");
    let heard = tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap();
    assert!(heard.starts_with("GET /sent HTTP/1.1\r\n"), "{heard}");
    wait_until_busy(&world, false).await;
    let traces: Vec<_> = world.traces().into_iter().filter(|trace| *trace != [0; 16]).collect();
    assert!(traces.len() > 2 && traces.iter().all(|trace| *trace == traces[0]), "{traces:?}");
}

/// Begins a request that has its place until its body is whole.
async fn begin(world: &World, port: u16) -> TcpStream {
    let mut begun = connect(port);
    begun
        .write_all(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhe")
        .unwrap();
    wait_until_busy(world, true).await;
    begun
}

/// Goes on with one that was begun, and expects its answer.
async fn finish(mut begun: TcpStream) {
    begun.write_all(b"llo").unwrap();
    let answer = tokio::task::spawn_blocking(move || hear(begun)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("5 bytes; Ok"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_at_once_than_the_manifest_says_and_a_stop_answers_what_was_begun() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "requests = 1", "shutdown = \"1h\"").await;
    let first = begin(&world, port).await;
    let second = tokio::spawn(async move { get(port, "/hello").await });
    finish(first).await;
    assert_eq!(second.await.unwrap().0, "200");
    let begun = begin(&world, port).await;
    let stop = tokio::spawn(async move { world.system.shutdown().await });
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        tokio::task::yield_now().await;
    }
    finish(begun).await;
    stop.await.unwrap();
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_changes_from_one_wasi_to_the_other_while_it_runs() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let listen = format!("[component.web.http]\nlisten = \"127.0.0.1:{port}\"\n");
    let world = World::start(&format!("[component.web]\nWEB\n{listen}")).await;
    let porter = load(bytes("porter.wasm")).await;
    let is_newer = async || {
        let (_, body) = get(port, "/about").await;
        body.contains("Method::Get")
    };
    assert!(!is_newer().await);
    world.system.upgrade("web", &porter, Handover::State, PATIENCE).await.unwrap();
    assert!(is_newer().await);
    world.system.rollback("web", Handover::State, PATIENCE).await.unwrap();
    assert!(!is_newer().await);
    // One that answers and breaks behind that is found out, too.
    let trial = world.system.canary("web", &porter, Canary { percent: 100, requests: 1000 }, PATIENCE);
    let asked = async {
        loop {
            say(port, "GET /half HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        }
    };
    let error = tokio::select! {
        ended = trial => ended.unwrap_err(),
        () = asked => unreachable!(),
    };
    assert!(told(&error).contains("panicked"), "{error:?}");
    let changes: Vec<_> = world.system.history("web").unwrap().iter().map(|version| version.change).collect();
    assert_eq!(changes, [Change::Started, Change::Upgraded, Change::RolledBack]);
}

#[tokio::test]
async fn a_handler_that_is_imported_is_another_components() {
    let text = r#"(component (import "wasi:http/handler@0.3.0" (instance (export "x" (func)))))"#;
    let loaded = airssys_wasm::Component::load(&ENGINE, wat::parse_str(text).unwrap(), None, || ()).await;
    let error = loaded.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidComponent);
    let told = told(&error);
    assert!(told.contains("it imports `wasi:http/handler@0.3.0`") && told.contains("`plug`"), "{told}");
}
