//! Programs of WASI 0.3 that send requests: the component `courier` does over HTTP what its arguments say.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use crate::program::{Ended, World, repository};

/// What takes this long does not come.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a server heard of one request: its path, the body as it came over the wire, and whether that was whole.
type Heard = (String, String, bool);

fn courier() -> String {
    let path = repository().join("airssys-wasm/tests/fixtures/courier.wasm");
    path.to_str().unwrap().to_owned()
}

/// Answers each request by its path, one connection a request, until the test is over, and tells what it heard.
fn server() -> (u16, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            thread::spawn(move || answer(stream.unwrap(), &tell));
        }
    });
    (port, heard)
}

/// A client that breaks off is no failure of the server's.
fn answer(mut stream: TcpStream, tell: &Sender<Heard>) -> Option<()> {
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
    if path == "/early" {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").ok()?;
    }
    if path == "/deaf" {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").ok()?;
        // As long as the test runs, nothing more is read.
        std::thread::park();
    }
    let mut body = Vec::new();
    let is_whole = read_body(&mut reader, &head, &mut body).is_some();
    let body = String::from_utf8_lossy(&body).replace("\r\n", "|");
    let _ = tell.send((path.clone(), body.clone(), is_whole));
    let said = |body: &str, more: &str| {
        format!("HTTP/1.1 200 OK\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
    };
    match path.split('?').next()? {
        "/" => stream.write_all(said("root", "").as_bytes()).ok()?,
        "/hello" => stream.write_all(said("hello", "x-said: hi\r\nkeep-alive: 5\r\n").as_bytes()).ok()?,
        "/echo" => stream.write_all(said(&body, "").as_bytes()).ok()?,
        "/trailers" => stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\n\
                  x-sum: 5\r\nhost: x\r\n\r\n",
            )
            .ok()?,
        "/long-trailers" => stream
            .write_all(
                format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: {}\r\n\r\n",
                    "5".repeat(5000)
                )
                .as_bytes(),
            )
            .ok()?,
        "/redirect" => stream
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n")
            .ok()?,
        "/cut" => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").ok(),
        "/stall" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").ok()?,
        "/long" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").ok()?,
        "/nonsense" => return stream.write_all(b"220 smtp.example ESMTP\r\n").ok(),
        _ => {}
    }
    // Until the client has enough of it.
    let _ = reader.read_to_end(&mut Vec::new());
    Some(())
}

/// The body as it comes, chunks and all. None where it breaks off.
fn read_body(reader: &mut BufReader<TcpStream>, head: &[String], body: &mut Vec<u8>) -> Option<()> {
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length {
        let length: u64 = length.parse().ok()?;
        return (reader.take(length).read_to_end(body).ok()? as u64 == length).then_some(());
    }
    if !head.iter().any(|line| line == "transfer-encoding: chunked") {
        return Some(());
    }
    loop {
        let from = body.len();
        reader.read_until(b'\n', body).ok()?;
        let size = String::from_utf8_lossy(body.get(from..)?).trim_end().to_owned();
        match usize::from_str_radix(&size, 16).ok()? {
            0 => break,
            size => {
                let mut chunk = vec![0; size + 2];
                reader.read_exact(&mut chunk).ok()?;
                body.extend(chunk);
            }
        }
    }
    loop {
        let from = body.len();
        if reader.read_until(b'\n', body).ok()? == 0 {
            return None;
        }
        if body.get(from..) == Some(b"\r\n") {
            return Some(());
        }
    }
}

/// Runs a system with the program as a job, which may connect to these ports. What it answers is in the log.
fn job(ports: &[u16], limits: &str, words: &[&str]) -> (World, Ended) {
    let world = World::new();
    fs::copy(courier(), world.path("courier.wasm")).unwrap();
    let quoted =
        |words: Vec<String>| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    let words = quoted(words.iter().map(|word| (*word).to_owned()).collect());
    let grants = quoted(ports.iter().map(|port| format!("tcp://127.0.0.1:{port}")).collect());
    world.write(
        "airssys.toml",
        format!(
            "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.job]\nsource = \"courier.wasm\"\n\
             restart = \"temporary\"\nlimits = {{ deadline = \"10m\", {limits} }}\njob = {{ args = [{words}] }}\n\
             [component.job.grants]\nconnect = [{grants}]\n"
        ),
    );
    let ended = world.run(&["run", ".", "--until-idle"]);
    (world, ended)
}

/// No request of a test should be too late by chance.
const LONG: &str = "http = { timeout = \"1h\" }";

/// What Wasmtime's program answers to these words, where there is one.
fn theirs(words: &[&str]) -> Option<String> {
    let Some(program) = std::env::var_os("AIRSSYS_WASMTIME").map(PathBuf::from) else {
        eprintln!("SKIPPED: not compared with Wasmtime: AIRSSYS_WASMTIME names no program");
        return None;
    };
    let courier = courier();
    let options = ["run", "-W", "component-model-async=y", "-S", "p3,http,inherit-network", courier.as_str()];
    let output = Command::new(program).args(options).args(words).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Expects these answers to these requests, from Wasmtime too.
fn check(port: u16, script: &[(&str, &str)]) {
    let (words, expected): (Vec<_>, Vec<_>) = script.iter().copied().unzip();
    let (_world, ended) = job(&[port], LONG, &words);
    for answer in &expected {
        assert!(ended.stderr.contains(&format!(" INFO {answer} component=")), "{answer}: {}", ended.stderr);
    }
    if let Some(theirs) = theirs(&words) {
        assert_eq!(theirs.lines().collect::<Vec<_>>(), expected, "wasmtime");
    }
}

#[test]
fn a_request_and_its_answer_have_bodies_and_trailers() {
    let (port, _heard) = server();
    let url = |path: &str| format!("url=http://127.0.0.1:{port}{path}");
    let hello = format!("send:{}", url("/hello"));
    let echo = |more: &str| format!("send:{} method=POST {more}", url("/echo"));
    let (chunked, counted) = (echo("body=text"), echo("length=4 body=text"));
    let with_trailers = echo("body=text header=trailer:x-sum trailer=x-sum:5");
    let large = echo("length=300000 zeros=300000");
    let zeros = "0".repeat(60);
    let answer =
        |text: &str| format!("200  true, {} bytes: {text}; trailers Ok(None); sent Ok(())", text.len());
    check(
        port,
        &[
            (&hello, "200 hi true, 5 bytes: hello; trailers Ok(None); sent Ok(())"),
            (&chunked, &answer("4|text|0||")),
            (&counted, &answer("text")),
            (&with_trailers, &answer("4|text|0|x-sum: 5||")),
            (&large, &format!("200  true, 300000 bytes: {zeros}; trailers Ok(None); sent Ok(())")),
            (
                &format!("send:{}", url("/trailers")),
                "200  true, 4 bytes: body; trailers Ok(Some(\"x-sum: 5\")); sent Ok(())",
            ),
            (&format!("send:{}", url("/redirect")), "302  true, 0 bytes: ; trailers Ok(None); sent Ok(())"),
            (&format!("resend:{} to=http://127.0.0.1:{port}/echo", url("/hello")), &answer("hello")),
        ],
    );
}

/// What Wasmtime's program takes that its library does not any more: each would have one message read as two, or sent to
/// another host than was decided.
const LENIENT: &[&str] = &["content-length again", "content-length twice", "copy-all", "path "];

#[test]
fn headers_requests_options_and_responses_are_as_the_specification_says() {
    let words = ["fields", "requests", "options", "responses"];
    let (world, courier) = (World::new(), courier());
    let ended = world.run(&[&["run", courier.as_str()][..], &words].concat());
    let expected = include_str!("text/http_rules.txt");
    assert_eq!(
        ended.stdout.lines().collect::<Vec<_>>(),
        expected.lines().collect::<Vec<_>>(),
        "{}",
        ended.stderr
    );
    if let Some(theirs) = theirs(&words) {
        let is_strict = |line: &&str| !LENIENT.iter().any(|lenient| line.starts_with(lenient));
        let strict = |text| str::lines(text).filter(is_strict).collect::<Vec<_>>();
        assert_eq!(strict(&theirs), strict(expected), "wasmtime");
    }
}

#[test]
fn a_request_without_a_path_is_for_the_root() {
    let (port, _heard) = server();
    // Wasmtime takes it for an invalid URI.
    let (_world, ended) = job(&[port], LONG, &[&format!("send:url=http://127.0.0.1:{port}")]);
    assert!(ended.stderr.contains("200  true, 4 bytes: root; trailers Ok(None)"), "{}", ended.stderr);
}

#[test]
fn a_body_is_as_long_as_its_header_says() {
    let (port, heard) = server();
    for terms in ["length=3 body=text", "length=9 body=text"] {
        let word = format!("send:url=http://127.0.0.1:{port}/echo method=POST {terms}");
        let (_world, ended) = job(&[port], LONG, &[&word]);
        let sent = "; sent Err(ErrorCode::HttpRequestBodySize(Some(4)))";
        let line = ended.stderr.lines().find(|line| line.contains(sent));
        let is_told = line.is_some_and(|line| line.contains("ErrorCode::HttpRequestBodySize("));
        assert!(is_told, "{terms}: {}", ended.stderr);
    }
    while let Ok((_, body, is_whole)) = heard.try_recv() {
        assert!(!is_whole, "{body}");
    }
}

#[test]
fn a_body_that_its_guest_did_not_end_is_broken_off() {
    let (port, heard) = server();
    for end in ["fail", "crash"] {
        // The answer may be there before the body has ended.
        for path in ["/early", "/echo"] {
            let word = format!("send:url=http://127.0.0.1:{port}{path} method=POST end={end} zeros=300000");
            let (_world, ended) = job(&[port], LONG, &[&word]);
            let (_, body, is_whole) = heard.recv_timeout(PATIENCE).unwrap();
            assert!(!is_whole && !body.ends_with("|0||"), "{end} {path}: {}", ended.stderr);
            let expected =
                if end == "fail" { "ErrorCode::ConfigurationError" } else { "panicked or aborted" };
            assert!(ended.stderr.contains(expected), "{end} {path}: {}", ended.stderr);
        }
    }
}

#[test]
fn what_goes_wrong_is_told_by_a_code() {
    let (port, _heard) = server();
    // As long as this is bound, nobody else listens there.
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let unused = reserved.local_addr().unwrap().port();
    let here = format!("http://127.0.0.1:{port}");
    let incomplete = "200  true, 4 bytes: half; trailers Err(ErrorCode::HttpResponseIncomplete)";
    for (terms, expected) in [
        (format!("url=http://127.0.0.1:{unused}/"), "ErrorCode::ConnectionRefused"),
        ("url=http://169.254.169.254/".to_owned(), "ErrorCode::HttpRequestDenied"),
        (format!("url={here}/ method=CONNECT"), "ErrorCode::HttpRequestMethodInvalid"),
        (format!("url=ftp://127.0.0.1:{port}/"), "ErrorCode::HttpProtocolError"),
        ("url=http:///".to_owned(), "ErrorCode::HttpRequestUriInvalid"),
        (format!("url=http://0x7f.1:{port}/"), "ErrorCode::HttpRequestUriInvalid"),
        (format!("url={here}/nonsense"), "ErrorCode::HttpProtocolError"),
        (format!("url={here}/hang first=1"), "ErrorCode::ConnectionReadTimeout"),
        (format!("url={here}/stall between=1"), "trailers Err(ErrorCode::ConnectionReadTimeout)"),
        (
            format!("url={here}/deaf method=POST zeros=15000000 between=1"),
            "sent Err(ErrorCode::ConnectionWriteTimeout)",
        ),
        (format!("url={here}/ many=700"), "ErrorCode::HttpRequestHeaderSectionSize(Some("),
        (format!("url={here}/ many=2000"), "HeaderError::SizeExceeded"),
        (format!("url={here}/ header=host:x"), "HeaderError::Forbidden"),
        (format!("url={here}/cut"), incomplete),
    ] {
        let (_world, ended) = job(&[port, unused], LONG, &[&format!("send:{terms}")]);
        assert!(ended.stderr.contains(expected), "{terms}: {expected}: {}", ended.stderr);
    }
    let (world, courier) = (World::new(), courier());
    let ended = world.run(&["run", &courier, &format!("send:url={here}/hello")]);
    assert!(ended.stdout.starts_with("ErrorCode::HttpRequestDenied"), "{}", ended.stdout);
}

#[test]
fn a_request_is_decided_and_on_record() {
    let (port, heard) = server();
    let here = format!("http://127.0.0.1:{port}");
    let words = [
        &*format!("send:url={here}/hello?secret=1"),
        "send:url=http://127.0.0.1:1/",
        &*format!("cancel:url={here}/hang method=POST zeros=300000"),
    ];
    let (world, ended) = job(&[port], LONG, &words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("ErrorCode::HttpRequestDenied"), "{}", ended.stderr);
    assert!(ended.stderr.contains("cancelled"), "{}", ended.stderr);
    let query = |args: &[&str]| {
        world.run_json(&[&["audit", "query", ".", "--principal", "component.job"], args].concat()).1
    };
    let requests = query(&["--action", "net.http"]);
    let text = format!("{requests:#?}");
    assert!(text.contains(&format!("GET {here}")) && text.contains(&format!("POST {here}")), "{text}");
    assert!(text.contains("cancelled") && !text.contains("secret"), "{text}");
    assert!(requests.iter().all(|record| record["rule"] == "component.job.grants.connect[0]"), "{text}");
    assert!(!query(&["--denied"]).is_empty(), "{:#?}", query(&[]));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().0, "/hello?secret=1");
}

#[test]
fn the_limits_of_a_manifest_hold() {
    let (port, _heard) = server();
    let here = format!("http://127.0.0.1:{port}");
    let body = "http = { body = \"10KiB\", timeout = \"1h\" }";
    for (word, limits, expected) in [
        (format!("send:url={here}/long"), body, "ErrorCode::HttpResponseBodySize(Some(1000000))"),
        (
            format!("send:url={here}/echo method=POST zeros=100000"),
            body,
            "ErrorCode::HttpRequestBodySize(None)",
        ),
        (
            format!("send:url={here}/echo method=POST length=100000 zeros=100000"),
            body,
            "ErrorCode::HttpRequestBodySize(Some(100000))",
        ),
        (
            format!("send:url={here}/ many=60"),
            "http = { headers = \"4KiB\", timeout = \"1h\" }",
            "ErrorCode::HttpRequestHeaderSectionSize(Some(",
        ),
        (
            format!("send:url={here}/long-trailers"),
            "http = { headers = \"4KiB\", timeout = \"1h\" }",
            "trailers Err(ErrorCode::HttpResponseTrailerSectionSize(Some(5009)))",
        ),
        (
            format!(
                "send:url={here}/echo method=POST body=x header=trailer:x-sum trailer=x-sum:{}",
                "5".repeat(5000)
            ),
            "http = { headers = \"4KiB\", timeout = \"1h\" }",
            "ErrorCode::HttpRequestTrailerSectionSize(Some(5009))",
        ),
        // Which of them it is depends on what there was time for.
        (format!("send:url={here}/hang first=3600000"), "http = { timeout = \"1ms\" }", "Timeout"),
        (format!("send:url={here}/hello"), "host_calls = 5", "called its host more often"),
        ("handles".to_owned(), "handles = 100", "held more handles open"),
    ] {
        let (_world, ended) = job(&[port], limits, &[&word]);
        assert!(ended.stderr.contains(expected), "{word}: {expected}: {}", ended.stderr);
    }
}
