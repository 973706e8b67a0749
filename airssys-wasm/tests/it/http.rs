//! `wasi:http/outgoing-handler`: each request decided by host, port and address, bounded, and on record once.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use airssys_osl::{
    Os,
    net::{Limits, tls::TlsAcceptor},
    policy::{Grant, Policy, Ports, Protocol, Rights},
    testing::MemorySink,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{PATIENCE, Reserved, World};

const RULE: &str = "component.a.grants.connect[0]";

/// Answers each request by its path, one connection a request, until the test is over.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    port
}

/// A client that breaks off is no failure of the server's.
fn answer(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    let path = head.first()?.split(' ').nth(1)?.to_owned();
    let mut stream = stream;
    match path.as_str() {
        "/hello" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").ok()?,
        "/secret?token=1" => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?,
        "/redirect" => stream
            .write_all(
                b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            )
            .ok()?,
        "/long" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").ok()?,
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            loop {
                stream.write_all(b"400\r\n").ok()?;
                stream.write_all(&[b'x'; 0x400]).ok()?;
                stream.write_all(b"\r\n").ok()?;
            }
        }
        "/endless-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").ok()?;
            loop {
                stream
                    .write_all(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")
                    .ok()?;
            }
        }
        "/stall" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").ok()?,
        "/nonsense" => return stream.write_all(b"220 smtp.example ESMTP\r\n").ok(),
        "/body" => {
            let mut body = Vec::new();
            // As far as the last chunk.
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                let mut byte = [0];
                reader.read_exact(&mut byte).ok()?;
                body.extend(byte);
            }
            let text = body.len().to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(head.as_bytes()).ok()?;
        }
        _ => {}
    }
    // Until the client has enough of it.
    let _ = reader.read_to_end(&mut Vec::new());
    Some(())
}

fn granted(port: u16, more: &str) -> String {
    format!("[component.a]\nWEB\n{more}\n[component.a.grants]\nconnect = [\"tcp://127.0.0.1:{port}\"]\n")
}

async fn get(world: &World, port: u16, path: &str) -> String {
    world.ask("a", &format!("GET http://127.0.0.1:{port}{path}"), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_sends_requests_too() {
    let port = server();
    let world = World::start(&granted(port, "limits = { http = { body = \"1MiB\" } }")).await;
    let reserved = Reserved::new();
    let check = async |verb: &str, url: &str, body: &str, expected: &str| {
        let answer = world.ask("a", &format!("sdk-{verb} {url}"), body).await;
        assert!(answer.starts_with(expected), "{verb} {url}: {answer}");
    };
    let here = format!("http://127.0.0.1:{port}");
    check("GET", &format!("{here}/hello"), "", "200, 5 bytes, length known: hello").await;
    check("GET", &format!("{here}/hello#part"), "", "200, 5 bytes, length known: hello").await;
    check("GET", &format!("{here}/redirect"), "", "302, 0 bytes").await;
    check("POST", &format!("{here}/body"), "some bytes", "200, 2 bytes, length known: ").await;
    check("GET", &format!("{here}/endless"), "", "LimitExceeded: cannot GET").await;
    check("GET", &format!("{here}/nonsense"), "", "Io: cannot GET").await;
    check("GET", "here", "", "Invalid: cannot GET `here`: it is no URL of http or https").await;
    check("CONNECT", &here, "", "Invalid: cannot CONNECT").await;
    check("GET", "http://127.0.0.1:1/", "", "Denied: cannot GET `http://127.0.0.1:1/`: denied by policy")
        .await;
    let nobody = World::start(&granted(reserved.0, "")).await;
    let answer = nobody.ask("a", &format!("sdk-GET http://127.0.0.1:{}/", reserved.0), "").await;
    assert!(answer.starts_with("Unavailable: cannot GET"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_where_it_may_and_is_on_record_once() {
    let port = server();
    let world = World::start(&granted(port, "")).await;
    assert_eq!(get(&world, port, "/hello").await, "200, 5 bytes: hello");
    let records = ["net.connect", "net.http", "net.close"].map(|action| format!("{action} {RULE}"));
    let mut seen = world.network();
    while seen.len() < records.len() {
        // The connection closes when nobody reads from it any more.
        tokio::task::yield_now().await;
        seen.extend(world.network());
    }
    assert_eq!(seen, records);
    assert_eq!(get(&world, port, "/secret?token=1").await, "204, 0 bytes: ");
    assert_eq!(world.requests(), [format!("GET http://127.0.0.1:{port} {RULE} Success")]);
    let sent = world.ask("a", &format!("POST http://127.0.0.1:{port}/body"), &"x".repeat(100_000)).await;
    assert!(sent.starts_with("200"), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_denied_and_recorded() {
    let port = server();
    let grants = format!("\"tcp://127.0.0.1:{port}\", \"tcp://private.test:80\", \"tcp://*:80\"");
    let world =
        World::start(&format!("[component.a]\nWEB\n[component.a.grants]\nconnect = [{grants}]\n")).await;
    for (url, record) in [
        ("http://127.0.0.1:9/", "net.connect default-deny"),
        ("http://api.test:81/", "net.connect default-deny"),
        ("http://private.test/", "net.connect non-global: private"),
        ("http://169.254.169.254/", "net.connect non-global: metadata"),
        ("http://[::ffff:10.0.0.1]/", "net.connect non-global: mapped-v4"),
    ] {
        let answer = world.ask("a", &format!("GET {url}"), "").await;
        assert_eq!(answer, "ErrorCode::HttpRequestDenied", "{url}");
        assert_eq!(world.denied(), [format!("component.a {record}")], "{url}");
    }
    for (request, code) in [
        (format!("GET http://user@127.0.0.1:{port}/"), "ErrorCode::HttpRequestUriInvalid"),
        ("GET http://0x7f.1/".to_owned(), "ErrorCode::HttpRequestUriInvalid"),
        (format!("CONNECT http://127.0.0.1:{port}/"), "ErrorCode::HttpRequestMethodInvalid"),
    ] {
        assert_eq!(world.ask("a", &request, "").await, code, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_an_answer_and_following_it_is_decided_anew() {
    let port = server();
    let world = World::start(&granted(port, "")).await;
    assert_eq!(get(&world, port, "/redirect").await, "302, 0 bytes: ");
    let followed = world.ask("a", "GET http://169.254.169.254/", "").await;
    assert_eq!(followed, "ErrorCode::HttpRequestDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_heads_have_bounds() {
    let port = server();
    let world =
        World::start(&granted(port, "limits = { http = { body = \"10KiB\", headers = \"4KiB\" } }")).await;
    assert_eq!(get(&world, port, "/long").await, "ErrorCode::HttpResponseBodySize(Some(1000000))");
    let endless = get(&world, port, "/endless").await;
    assert!(endless.contains("bytes and Some(ErrorCode::HttpResponseBodySize(None))"), "{endless}");
    let head = get(&world, port, "/endless-head").await;
    assert!(head.starts_with("ErrorCode::HttpResponseHeaderSectionSize"), "{head}");
    let sent = world.ask("a", &format!("POST http://127.0.0.1:{port}/body"), &"x".repeat(100_000)).await;
    assert_eq!(sent, "ErrorCode::HttpRequestBodySize(None)");
    let many = get(&world, port, "/many-headers").await;
    assert!(many.starts_with("ErrorCode::HttpRequestHeaderSectionSize(Some("), "{many}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up() {
    let port = server();
    let world = World::start(&granted(port, "limits = { http = { timeout = \"100ms\" } }")).await;
    let asked = async |path: &str, expected: &str| {
        let began = Instant::now();
        loop {
            world.requests();
            let answer = get(&world, port, path).await;
            // Where the machine is busy, there may be no time to connect, or what the server says may come too late.
            if answer.starts_with(expected) || began.elapsed() > PATIENCE {
                return answer;
            }
        }
    };
    let late = "ErrorCode::ConnectionReadTimeout";
    assert_eq!(asked("/hang", late).await, late);
    assert_eq!(world.requests(), [format!("GET http://127.0.0.1:{port} {RULE} Failed(110)")]);
    let expected = "200, 4 bytes and Some(ErrorCode::ConnectionReadTimeout)";
    let stalled = asked("/stall", expected).await;
    assert!(stalled.starts_with(expected), "{stalled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_something_else_or_is_not_there_is_told() {
    let (port, unused) = (server(), Reserved::new());
    let world = World::start(&granted(port, "")).await;
    assert_eq!(get(&world, port, "/nonsense").await, "ErrorCode::HttpProtocolError");
    let world = World::start(&granted(unused.0, "")).await;
    assert_eq!(get(&world, unused.0, "/").await, "ErrorCode::ConnectionRefused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_to_trust_over_tls_is_a_grant() {
    let (dir, port) = encrypted().await;
    let url = format!("GET https://api.test:{port}/");
    let manifest = |trust: &str| {
        format!(
            "[component.a]\nWEB\nlimits = {{ net = {{ connect_timeout = \"1h\" }} }}\n\
             [component.a.grants]\nconnect = [\"tcp://api.test:{port}\", \
             \"tcp://127.0.0.1:{port}\"]\nfs = [{{ path = \"certs\", guest = \"/certs\", rights = [\"read\"] }}]\n{trust}"
        )
    };
    let world = World::start_in(dir, &manifest("trust = [\"certs/ca.pem\"]")).await;
    assert_eq!(world.ask("a", &url, "").await, "200, 9 bytes: encrypted");
    // Its address is no public one, so that the grant of the address decided.
    let rule = "component.a.grants.connect[1]";
    assert_eq!(world.requests(), [format!("GET https://api.test:{port} {rule} Success")]);
    let World { dir, .. } = world;
    let world = World::start_in(dir, &manifest("trust = [\"web\"]")).await;
    assert_eq!(world.ask("a", &url, "").await, "ErrorCode::TlsCertificateError");
    let World { dir, .. } = world;
    let world = World::start_in(dir, &manifest("")).await;
    assert_eq!(world.ask("a", &url, "").await, "ErrorCode::HttpRequestDenied");
    assert_eq!(world.denied(), ["component.a net.trust default-deny"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_program_of_wasi_0_3_trusts_over_tls_is_a_grant() {
    let (dir, port) = encrypted().await;
    let manifest = |trust: &str, expected: &str| {
        format!(
            "[component.a]\nCOURIER\nrestart = \"temporary\"\nlimits = {{ net = {{ connect_timeout = \"1h\" }} }}\n\
             job = {{ args = [\"expect:{expected}|url=https://api.test:{port}/\"] }}\n\
             [component.a.grants]\nconnect = [\"tcp://api.test:{port}\", \"tcp://127.0.0.1:{port}\"]\n\
             fs = [{{ path = \"certs\", guest = \"/certs\", rights = [\"read\"] }}]\n{trust}"
        )
    };
    let mut dir = dir;
    for (trust, expected) in [
        ("trust = [\"certs/ca.pem\"]", "200  true, 9 bytes: encrypted; trailers Ok(None)"),
        ("trust = [\"web\"]", "ErrorCode::TlsCertificateError"),
        ("", "ErrorCode::HttpRequestDenied"),
    ] {
        let world = World::start_in(dir, &manifest(trust, expected)).await;
        let told = world.until_told("exited s/a").await;
        assert_eq!(told, ["exited s/a: normal"], "{trust}: {expected}");
        World { dir, .. } = world;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_run_trusted_is_learned_and_lets_exactly_that_run_pass() {
    let (dir, port) = encrypted().await;
    let url = format!("GET https://api.test:{port}/");
    let manifest = |mode: &str, grants: &str| {
        format!(
            "[policy]\nmode = \"{mode}\"\n[component.a]\nWEB\n\
             limits = {{ net = {{ connect_timeout = \"1h\" }} }}\n{grants}"
        )
    };
    let given =
        "[component.a.grants]\nfs = [{ path = \"certs\", guest = \"/certs\" }]\ntrust = [\"certs/ca.pem\"]\n";
    let world = World::start_in(dir, &manifest("learn", given)).await;
    assert_eq!(world.ask("a", &url, "").await, "200, 9 bytes: encrypted");
    let learned = world.learned().toml_with(|_, path| path.ends_with("certs").then(|| "/certs".to_owned()));
    assert!(learned.contains("certs/ca.pem\"]\n"), "{learned}");
    // What it did before it was asked was not looked at.
    let grants = learned.replace("clock = false\n", "").replace("random = false\n", "");
    let World { dir, .. } = world;
    let world = World::start_in(dir, &manifest("enforce", &grants)).await;
    assert_eq!(world.ask("a", &url, "").await, "200, 9 bytes: encrypted");
    assert_eq!(world.denied(), [""; 0]);
    assert_eq!(world.ask("a", "GET https://b.test/", "").await, "ErrorCode::HttpRequestDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_are_bounded_and_a_crash_gives_them_back() {
    let world = World::start("[component.a]\nWEB\nmax_deliver = 1\nlimits = { handles = 100 }\n").await;
    world.crash("a", "handles").await;
    let told = world.told();
    assert!(told[0].contains("held more handles open than its limit (limits.handles)"), "{told:?}");
    world.crash("a", "handles").await;
}

/// A folder with `certs`, and a server that proves with them to be `api.test`.
async fn encrypted() -> (tempfile::TempDir, u16) {
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    std::fs::write(certs.join("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(certs.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = encrypted_server(&certs).await;
    (dir, port)
}

/// A server behind TLS, by the door of somebody else.
async fn encrypted_server(certs: &std::path::Path) -> u16 {
    let grants = [
        Grant::fs(certs, Rights::READ),
        Grant::listen(Protocol::Tcp, "127.0.0.1", Ports::PICKED),
        // A handshake is bounded by it.
        Grant::net_limits(Limits::new().connect_timeout(PATIENCE)),
    ];
    let policy = Policy::builder().principal("server", grants).build().unwrap();
    let principal = Os::new(policy, MemorySink::new()).principal("server").unwrap();
    let dir = principal.dir(certs).await.unwrap();
    let acceptor = TlsAcceptor::read(&dir, "ca.pem", "key.pem", &[b"http/1.1"]).await.unwrap();
    let listener = principal.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().port();
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            // A client that does not trust it breaks off.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nencrypted";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}
