//! `[component.NAME.http]`: a fresh instance for each request, whatever the last one did.

use std::{
    cell::Cell,
    fmt,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::Field,
    span::{Attributes, Id, Record},
};

use airssys_wasm::{Canary, Change, Component, ErrorKind, Handover};

use crate::{
    versions::told,
    world::{ENGINE, PATIENCE, Reserved, World},
};

const RULE: &str = "component.web.http.listen";

async fn serve(port: u16, http: &str, more: &str) -> World {
    let listen = format!("listen = \"127.0.0.1:{port}\"");
    World::start(&format!("[component.web]\nWEB\n{more}\n[component.web.http]\n{listen}\n{http}\n")).await
}

/// Says something to a server, and hears it out.
pub(crate) async fn say(port: u16, text: &str) -> String {
    let text = text.to_owned();
    let said = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        hear(stream)
    });
    said.await.unwrap()
}

pub(crate) fn hear(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // A server that breaks off has said what it said.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// The status and the body of an answer.
pub(crate) async fn get(port: u16, path: &str) -> (String, String) {
    let answer =
        say(port, &format!("GET {path} HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n")).await;
    parts(&answer)
}

pub(crate) fn parts(answer: &str) -> (String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn status(answer: &(String, String)) -> &str {
    &answer.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_and_on_record() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "").await;
    let (status, body) = get(port, "/hello").await;
    assert_eq!((status.as_str(), body.contains("hello")), ("200", true), "{body}");
    assert_eq!(world.requests(), [format!("GET http://api.test {RULE} Success")]);
    let two = say(
        port,
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfirstPOST /echo HTTP/1.1\r\nhost: b\r\n\
         content-length: 6\r\nconnection: close\r\n\r\nsecond",
    );
    let two = two.await;
    assert!(two.contains("first") && two.contains("second"), "{two}");
    assert_eq!(world.requests().len(), 2, "one connection, two requests");
    assert!(world.told().is_empty(), "nothing crashed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifests_config_is_there_by_wasi_config_and_its_log_by_wasi_logging() {
    tracing::subscriber::set_global_default(Log).unwrap();
    let reserved = Reserved::new();
    let port = reserved.0;
    let _world = serve(port, "", "config = { greeting = \"hello\", loud = true }").await;
    let expected = r#"Some("hello") Some(None) Some([("greeting", "hello"), ("loud", "true")])"#;
    let began = Instant::now();
    loop {
        let (status, body) = get(port, "/config").await;
        assert_eq!(status, "200");
        assert!(body.contains(expected), "{body}");
        let lines = std::mem::take(&mut *LINES.lock().unwrap());
        if !lines.is_empty() || began.elapsed() > PATIENCE {
            return assert_eq!(lines, [format!("INFO web config: {expected}")]);
        }
        // Where a guest of another test logs for the first time while the log is put in place, it can be noted for good
        // that nobody wants to hear of it.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// What guests called `web` logged with the context `config`.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes what guests log, of whatever test: there is one log for a program.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "guest"
    }

    fn event(&self, event: &Event<'_>) {
        let (mut component, mut text) = (String::new(), String::new());
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| match field.name() {
            "message" => text = format!("{value:?}"),
            "component" => component = format!("{value:?}").replace('"', ""),
            _ => {}
        });
        if text.starts_with("config: ") && component == "web" {
            LINES.lock().unwrap().push(format!("{} {component} {text}", event.metadata().level()));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Asks until it is answered with 200: where time is short, a machine that is busy may need more than one try.
pub(crate) async fn answers(port: u16, after: &str) {
    let (began, hello) = (Instant::now(), "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    while !say(port, hello).await.starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < PATIENCE, "no answer after {after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_does_costs_its_own_request_alone() {
    let long = "timeout = \"1h\"";
    for (timeout, deadline, cases) in [
        (
            long,
            "1h",
            &[
                ("/trap", "500", "Failed(5)"),
                ("/silent", "500", "Failed(5)"),
                ("/handles", "500", "Failed(5)"),
            ][..],
        ),
        (long, "50ms", &[("/spin", "500", "Failed(5)")]),
        ("timeout = \"300ms\"", "1h", &[("/sleep", "504", "Failed(110)")]),
    ] {
        let reserved = Reserved::new();
        let port = reserved.0;
        let world = serve(port, timeout, &format!("limits = {{ deadline = \"{deadline}\" }}")).await;
        for (path, expected, outcome) in cases {
            world.requests();
            assert_eq!(status(&get(port, path).await), *expected, "{path}");
            assert_eq!(world.requests(), [format!("GET http://api.test {RULE} {outcome}")], "{path}");
            answers(port, path).await;
        }
        assert!(world.told().is_empty(), "the service itself did not crash");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_guest_leaves_half_breaks_off() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "").await;
    let half = say(port, "GET /half HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // How much of it had left already is chance; that it is no whole answer is not.
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 200"), "{half}");
    assert!(!half.ends_with("0\r\n\r\n"), "it breaks off: {half}");
    answers(port, "half an answer").await;
    assert!(world.told().is_empty(), "the service itself did not crash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_refused_before_a_guest_sees_them() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let _world = serve(port, "", "limits = { http = { body = \"10B\", headers = \"1KiB\" } }").await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let long = say(port, &format!("{head}content-length: 11\r\n\r\n12345678901")).await;
    assert_eq!(parts(&long).0, "413");
    let chunked =
        say(port, &format!("{head}transfer-encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n")).await;
    assert_eq!(parts(&chunked).0, "400", "the guest was told: {chunked}");
    let trailers = format!("x-sum: {}\r\n", "5".repeat(2000));
    let trailed = format!("{head}transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n{trailers}\r\n");
    let trailers = say(port, &trailed).await;
    let is_told = trailers.contains("HttpRequestTrailerSectionSize(Some(2009))");
    assert!(parts(&trailers).0 == "400" && is_told, "the guest was told: {trailers}");
    let headers = say(port, &format!("{head}x: {}\r\n\r\n", "y".repeat(20_000))).await;
    assert_eq!(parts(&headers).0, "431");
    let nameless = say(port, "GET /hello HTTP/1.0\r\n\r\n").await;
    assert_eq!(parts(&nameless).0, "400");
    let both =
        say(port, &format!("{head}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")).await;
    assert!(
        !both.contains("HTTP/1.1 200") || both.matches("HTTP/1.1").count() == 1,
        "no second request: {both}"
    );
    assert_eq!(status(&get(port, "/hello").await), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_go_on_is_hung_up_on() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let _world = serve(port, "timeout = \"500ms\"", "limits = { http = { timeout = \"100ms\" } }").await;
    assert_eq!(say(port, "GET /hello HT").await, "", "half a head");
    let half = say(port, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").await;
    assert!(!half.contains("hello"), "its body never came: {half}");
    answers(port, "both").await;
}

/// Begins a request that has its place until its body is whole.
async fn begin(world: &World, port: u16) -> TcpStream {
    let mut begun = TcpStream::connect(("127.0.0.1", port)).unwrap();
    begun
        .write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhe")
        .unwrap();
    while !world.system.status().iter().any(|status| status.busy) {
        tokio::task::yield_now().await;
    }
    begun
}

/// Goes on with one that was begun, and expects its answer.
async fn finish(mut begun: TcpStream) {
    begun.write_all(b"llo").unwrap();
    let answer = tokio::task::spawn_blocking(move || hear(begun)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_at_once_than_the_manifest_says() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "requests = 1", "").await;
    let first = begin(&world, port).await;
    // The second waits for the place of the first, if it comes before that is free.
    let second = tokio::spawn(async move { get(port, "/hello").await });
    finish(first).await;
    assert_eq!(status(&second.await.unwrap()), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_for_a_place_is_told_to_come_back() {
    let time = Duration::from_secs(8);
    loop {
        let reserved = Reserved::new();
        let port = reserved.0;
        let world = serve(port, "requests = 1\ntimeout = \"8s\"", "").await;
        let began = Instant::now();
        // Where the machine stands still, the first can have had all of its time before anybody has seen it, or before the
        // second comes: then it says nothing.
        let Ok(slow) = tokio::time::timeout(time, begin(&world, port)).await else { continue };
        let second = get(port, "/hello").await;
        if status(&second) == "503" {
            drop(slow);
            return answers(port, "it").await;
        }
        assert!(began.elapsed() >= time, "after half of its time: {second:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_what_was_begun() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "shutdown = \"1h\"").await;
    let begun = begin(&world, port).await;
    let stop = tokio::spawn(async move { world.system.shutdown().await });
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        tokio::task::yield_now().await;
    }
    finish(begun).await;
    stop.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sends_messages_to_a_service() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "").await;
    let error = world.system.call("web", "x", Vec::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), airssys_wasm::ErrorKind::NotFound);
    assert_eq!(world.told(), [""; 0], "it is no dead letter either: those would pile up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_for_an_instance_the_answer_is_that_it_is_unavailable() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let http = format!("[component.web.http]\nlisten = \"127.0.0.1:{port}\"\n");
    let _world = World::start(&format!("memory = \"64KiB\"\n[component.web]\nWEB\n{http}")).await;
    assert_eq!(status(&get(port, "/hello").await), "503");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_may_listen_again_does() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "").await;
    assert_eq!(status(&get(port, "/hello").await), "200");
    let with = format!("[component.web]\nWEB\n[component.web.http]\nlisten = \"127.0.0.1:{port}\"\n");
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    for _ in 0..3 {
        world.reload("[component.web]\nWEB\n");
        while listens() {
            tokio::task::yield_now().await;
        }
        world.reload(&with);
        while !listens() {
            tokio::task::yield_now().await;
        }
        assert_eq!(status(&get(port, "/hello").await), "200");
    }
    assert!(world.told().iter().all(|line| !line.starts_with("exited")), "it is the same incarnation");
}

fn web() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web.wasm")).unwrap()
}

/// The same component with another digest.
async fn version(mark: u8) -> Component {
    // A custom section, of which nobody takes notice.
    load([web(), vec![0, 2, 1, mark]].concat()).await
}

/// One that answers with 503 where the other one says 404.
async fn failing() -> Component {
    // `i32.const 404`.
    failing_for(b"\x41\x94\x03").await
}

/// One that answers with 503 where the other one says what this code does.
async fn failing_for(from: &[u8; 3]) -> Component {
    // `i32.const 503`.
    let to = b"\x41\xf7\x03";
    let mut bytes = web();
    while let Some(at) = bytes.windows(3).position(|window| window == from) {
        bytes.iter_mut().skip(at).zip(to).for_each(|(byte, new)| *byte = *new);
    }
    load(bytes).await
}

pub(crate) async fn load(bytes: Vec<u8>) -> Component {
    Component::load(&ENGINE, bytes, None, || ()).await.unwrap().0
}

fn changes(world: &World) -> Vec<Change> {
    world.system.history("web").unwrap().iter().map(|version| version.change).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_upgraded_between_two_requests_and_rolled_back() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "").await;
    let error = world.system.rollback("web", Handover::State, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let begun = begin(&world, port).await;
    let switched =
        world.system.upgrade("web", &version(b'2').await, Handover::State, PATIENCE).await.unwrap();
    // What is in hand is not broken off.
    finish(begun).await;
    assert_eq!(switched.to, version(b'2').await.digest());
    assert_eq!(status(&get(port, "/hello").await), "200");
    let back = world.system.rollback("web", Handover::State, PATIENCE).await.unwrap();
    assert_eq!((back.from, back.to), (switched.to, switched.from));
    assert_eq!(changes(&world), [Change::Started, Change::Upgraded, Change::RolledBack]);
    assert_eq!(status(&get(port, "/hello").await), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_well_answers_no_request() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let health = "health = { path = \"/hello\", every = \"1h\", timeout = \"1m\", start = \"1m\" }";
    let world = serve(port, "", health).await;
    // `i32.const 200`.
    let ill = failing_for(b"\x41\xc8\x01").await;
    let upgraded = world.system.upgrade("web", &ill, Handover::State, PATIENCE).await;
    let canary = Canary { percent: 100, requests: 1 };
    let tried = world.system.canary("web", &ill, canary, PATIENCE).await;
    for error in [upgraded.unwrap_err(), tried.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Guest);
        assert!(told(&error).contains("it is not well: it answered with the status 503"), "{error:?}");
    }
    assert_eq!(status(&get(port, "/hello").await), "200", "the old one goes on");
    world.system.upgrade("web", &version(b'2').await, Handover::State, PATIENCE).await.unwrap();
    assert_eq!(changes(&world), [Change::Started, Change::Upgraded]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_takes_over_when_it_has_answered_its_share() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "", "").await;
    let new = version(b'2').await;
    let canary = Canary { percent: 25, requests: 3 };
    let trial = world.system.canary("web", &new, canary, PATIENCE);
    let asked = async {
        let mut asked = 0;
        loop {
            assert_eq!(status(&get(port, "/hello").await), "200");
            asked += 1;
            // What is answered by the old version until the trial has begun counts for nobody.
            if changes(&world).len() == 2 {
                return asked;
            }
        }
    };
    let (switched, asked) = tokio::join!(trial, asked);
    assert_eq!(switched.unwrap().to, new.digest());
    assert!(asked >= 12, "three of a quarter of the requests, and there were {asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_breaks_is_taken_out_and_costs_one_request() {
    for (http, path, answer, why) in [
        ("", "/trap", "500", "panicked"),
        ("", "/silent", "500", "it gave no answer"),
        ("timeout = \"300ms\"", "/sleep", "504", "longer for a request than it may"),
    ] {
        let reserved = Reserved::new();
        let port = reserved.0;
        let world = serve(port, http, "").await;
        let new = version(b'2').await;
        let canary = Canary { percent: 100, requests: 1000 };
        let trial = world.system.canary("web", &new, canary, PATIENCE);
        let broken = async {
            // The old version breaks of it as well: of that the trial hears nothing.
            loop {
                assert_eq!(status(&get(port, path).await), answer);
                tokio::task::yield_now().await;
            }
        };
        let error = tokio::select! {
            ended = trial => ended.unwrap_err(),
            () = broken => unreachable!(),
        };
        assert_eq!(error.kind(), ErrorKind::Guest, "{error}");
        assert!(error.to_string().contains("the old one goes on"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(why), "{cause}");
        assert_eq!(changes(&world), [Change::Started]);
        answers(port, path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_that_comes_to_nothing_leaves_the_old_version() {
    let reserved = Reserved::new();
    let world = serve(reserved.0, "", "").await;
    let new = version(b'2').await;
    let canary = Canary { percent: 10, requests: 5 };
    let error = world.system.canary("web", &new, canary, Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("it answered 0 of 5 requests in time"), "{error}");
    // One at a time; one that is given up is over.
    let refused = tokio::select! {
        ended = world.system.canary("web", &new, canary, PATIENCE) => ended.unwrap_err(),
        ended = world.system.canary("web", &new, canary, PATIENCE) => ended.unwrap_err(),
    };
    assert!(refused.to_string().contains("another one is on trial"), "{refused}");
    let given_up =
        tokio::time::timeout(Duration::from_millis(10), world.system.canary("web", &new, canary, PATIENCE));
    assert!(given_up.await.is_err());
    assert!(world.system.upgrade("web", &new, Handover::State, PATIENCE).await.is_ok());
    let wrong = Canary { percent: 0, requests: 5 };
    let error = world.system.canary("web", &new, wrong, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_by_its_own_words_or_after_its_head_is_taken_out() {
    for (new, path, why) in
        [(failing().await, "/nothing", "the status 503"), (version(b'2').await, "/half", "panicked")]
    {
        let reserved = Reserved::new();
        let port = reserved.0;
        let world = serve(port, "", "").await;
        let trial = world.system.canary("web", &new, Canary { percent: 100, requests: 1000 }, PATIENCE);
        let asked = async {
            loop {
                say(port, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
            }
        };
        let error = tokio::select! {
            ended = trial => ended.unwrap_err(),
            () = asked => unreachable!(),
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains(why), "{error}: {cause}");
        assert_eq!(changes(&world), [Change::Started]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_does_not_end_a_trial() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let world = serve(port, "timeout = \"2s\"", "").await;
    let new = version(b'2').await;
    loop {
        let trial = world.system.canary("web", &new, Canary { percent: 100, requests: 1 }, PATIENCE);
        // When the client that is not slow asked. The machine may stand still until it has no answer in time either.
        let hello = Cell::new(None::<Instant>);
        let is_late = || hello.get().is_some_and(|began| began.elapsed() >= Duration::from_secs(2));
        let asked = async {
            for _ in 0..2 {
                let half =
                    "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhe";
                let answer = say(port, half).await;
                assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
            }
            loop {
                hello.set(Some(Instant::now()));
                let answer = say(port, "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
                assert!(answer.starts_with("HTTP/1.1 200") || is_late(), "{answer}");
            }
        };
        let switched = tokio::select! {
            switched = trial => switched,
            () = asked => unreachable!(),
        };
        match switched {
            Ok(switched) => return assert_eq!(switched.to, new.digest()),
            Err(error) => assert!(is_late(), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_ends_a_trial() {
    let reserved = Reserved::new();
    let world = serve(reserved.0, "", "").await;
    let new = version(b'2').await;
    let trial = world.system.canary("web", &new, Canary { percent: 10, requests: 5 }, PATIENCE);
    let back = async {
        loop {
            // Before the trial there is nothing to go back to.
            match world.system.rollback("web", Handover::State, PATIENCE).await {
                Ok(back) => return back,
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let (ended, back) = tokio::join!(trial, back);
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("its trial was ended"), "{error}");
    assert_eq!(back.from, new.digest());
    assert_eq!(changes(&world), [Change::Started]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_answer_at_one_address_by_host_and_path() {
    let reserved = Reserved::new();
    let port = reserved.0;
    let component = |name: &str, route: &str| {
        let listen = format!("listen = \"127.0.0.1:{port}\"");
        format!("[component.{name}]\nWEB\nconfig = {{ who = \"{name}\" }}\nhttp = {{ {listen}, {route} }}\n")
    };
    let routes = [
        ("deep", "path = \"/config/deep\""),
        ("plain", "path = \"/config\""),
        ("other", "host = \"Other.test\", path = \"/config/\""),
    ];
    let components: String = routes.iter().map(|(name, route)| component(name, route)).collect();
    let world = World::start(&components).await;
    let ask = async |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let (status, body) = parts(&say(port, &request).await);
        let who = ["deep", "plain", "other"].into_iter().find(|who| body.contains(&format!("\"{who}\"")));
        (status, who)
    };
    assert_eq!(ask("a.test", "/config").await, ("200".to_owned(), Some("plain")));
    assert_eq!(ask("other.test", "/config").await, ("200".to_owned(), Some("other")));
    assert_eq!(ask("OTHER.test:80", "/config").await, ("200".to_owned(), Some("other")));
    assert_eq!(ask("a.test", "/configs").await.0, "404", "whole segments");
    assert_eq!(ask("a.test", "/").await.0, "404");
    // That guest knows no such path, but it is the one that is asked.
    ask("a.test", "/config/deep/x").await;
    let handled = |name: &str| {
        let status = world.system.status();
        status.iter().find(|status| *status.name == *name).unwrap().handled
    };
    assert_eq!((handled("plain"), handled("other"), handled("deep")), (1, 2, 1));

    // Who may not listen there any more answers nothing there, whoever listens.
    let forbid = format!("forbid = {{ listen = [\"tcp://127.0.0.1:{port}\"] }}");
    world.reload(&components.replace("[component.other]", &format!("[component.other]\n{forbid}")));
    assert_eq!(ask("other.test", "/config").await.0, "503");
    assert_eq!(ask("a.test", "/config").await.0, "200");
    world.reload(&components);
    assert_eq!(ask("other.test", "/config").await.0, "200");
    world.system.shutdown().await;
}
