//! The way out of a program that has no network: who it reaches from within its sandbox, and who not.

use airssys_osl::{
    Action,
    audit::Outcome,
    limits::EGRESS_HEAD_TIMEOUT,
    policy::{ExecTerms, Grant},
    process::{Collected, Launch, Layers, Stdio, host},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    net_fixture::TCP,
    process::{Programs, exec},
};

/// A server that answers each connection with `hello`, as HTTP has it.
async fn hello_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    // Whoever hangs up needs no answer.
                    let Ok(1..) = connection.read_buf(&mut asked).await else { return };
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
                let _ = connection.write_all(answer).await;
            });
        }
    });
    port
}

/// Runs `script` with a way out to `port` of this machine. Where it took so long that its proxy may have given up waiting
/// for what it asks, it runs again.
async fn run(port: u16, script: &str) -> (Collected, Programs) {
    let mut tries = 0;
    loop {
        let terms = ExecTerms::new().arg("-c").arg(script.replace("PORT", &port.to_string())).egress();
        let terms = terms.env("PATH", "/usr/bin:/bin");
        let grants = [Grant::exec("/bin/bash", terms), Grant::connect(TCP, "127.0.0.1", port)];
        let programs = Programs::new(grants);
        let launch = Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
        let process = exec(&programs, "/bin/bash").await.spawn(launch).await.unwrap();
        let collected = process.collect().await.unwrap();
        tries += 1;
        if collected.exit.usage.wall_time < EGRESS_HEAD_TIMEOUT || tries == 20 {
            return (collected, programs);
        }
    }
}

#[track_caller]
fn said(collected: &Collected) -> String {
    let [out, errors] = [&collected.stdout, &collected.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(collected.exit.is_success(), "{}: {out}{errors}", collected.exit);
    out.into_owned()
}

fn is_missing() -> bool {
    let missing = !host().available().contains(Layers::NETWORK);
    if missing {
        eprintln!("SKIPPED: there are no networks for programs here");
    }
    missing
}

#[tokio::test]
async fn a_program_reaches_what_is_granted_and_that_only_through_its_proxy() {
    if is_missing() {
        return;
    }
    let port = hello_server().await;
    let script = r#"
        ask() { exec 3<>/dev/tcp/127.0.0.1/3128; printf '%s\r\n\r\n' "$1" >&3; cat <&3; }
        echo "$http_proxy $HTTPS_PROXY"
        ask 'GET http://127.0.0.1:PORT/ HTTP/1.1' | tail -n 1
        ask 'GET http://127.0.0.1:1/ HTTP/1.1' | head -n 1
        ask 'CONNECT localhost:PORT HTTP/1.1' | head -n 1
        (exec 4<>/dev/tcp/127.0.0.1/PORT) 2>/dev/null || echo no way around
    "#;
    let (collected, programs) = run(port, script).await;
    let proxy = "http://127.0.0.1:3128";
    assert_eq!(
        said(&collected),
        format!(
            "{proxy} {proxy}\nhello\nHTTP/1.1 403 Forbidden\r\nHTTP/1.1 403 Forbidden\r\nno way around\n"
        )
    );
    let records = programs.sink.take();
    let closed = records.iter().find(|record| record.action == Action::NetClose).unwrap();
    assert!(closed.bytes > 0 && closed.resource.starts_with(b"tcp://127.0.0.1:"), "{closed:?}");
    let denied = records.iter().filter(|record| record.outcome == Outcome::Denied);
    let denied: Vec<_> =
        denied.map(|record| String::from_utf8_lossy(&record.resource).into_owned()).collect();
    assert_eq!(denied, ["tcp://127.0.0.1:1\u{0}127.0.0.1:1".to_owned(), format!("tcp://localhost:{port}")]);
}

#[tokio::test]
async fn curl_needs_to_be_told_nothing() {
    if is_missing() {
        return;
    }
    if !std::path::Path::new("/usr/bin/curl").exists() {
        eprintln!("SKIPPED: there is no curl here");
        return;
    }
    let port = hello_server().await;
    let script = r#"
        curl -sS http://127.0.0.1:PORT/
        curl -sS --proxytunnel http://127.0.0.1:PORT/
        curl -sS -x socks5h://127.0.0.1:3128 http://127.0.0.1:PORT/
        curl -sS -o /dev/null -w '%{http_code}\n' http://elsewhere.example/
        curl -sS https://elsewhere.example/ 2>&1
        curl -sS --noproxy '*' http://127.0.0.1:PORT/ 2>/dev/null || echo not without it
    "#;
    let (collected, _) = run(port, script).await;
    let told = said(&collected);
    assert!(told.starts_with("hello\nhello\nhello\n403\n") && told.ends_with("\nnot without it\n"), "{told}");
    assert!(told.contains("response 403"), "{told}");
}

#[tokio::test]
async fn the_proxy_ends_with_the_program() {
    if is_missing() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // A connection that is open, and one that says nothing. Whoever was kept from asking for so long that the proxy gave up
    // asks again.
    let script = r#"
        trap '' PIPE
        until
            exec 3<>/dev/tcp/127.0.0.1/3128 4<>/dev/tcp/127.0.0.1/3128
            printf 'CONNECT 127.0.0.1:PORT HTTP/1.1\r\n\r\n' >&3
            read -r answer <&3 && [[ $answer == 'HTTP/1.1 200'* ]]
        do :; done
        echo "$answer"
        read -r more <&3
        exec sleep 1000
    "#;
    let terms = ExecTerms::new().arg("-c").arg(script.replace("PORT", &port.to_string())).egress();
    let programs = Programs::new([
        Grant::exec("/bin/bash", terms.env("PATH", "/usr/bin:/bin")),
        Grant::connect(TCP, "127.0.0.1", port),
    ]);
    let mut process =
        exec(&programs, "/bin/bash").await.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut said = [0; 12];
    process.stdout.as_mut().unwrap().read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 200");
    process.kill();
    process.wait().await;
    let ends = programs.records(Action::NetClose);
    assert_eq!(ends.len(), 1, "what went through it is on record when its end is told: {ends:?}");
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "and its connections are closed");
}

#[tokio::test]
async fn without_a_network_of_its_own_it_is_not_started() {
    let terms = ExecTerms::new().egress().without(Layers::NETWORK);
    let programs = Programs::new([Grant::exec("/bin/true", terms)]);
    let refused = exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap_err();
    assert_eq!(refused.kind(), airssys_osl::ErrorKind::Unsupported);
}
