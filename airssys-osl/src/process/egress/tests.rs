//! The proxy from a program's side: what it is asked, what servers get of it, and what is on record.

use std::net::SocketAddr;

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::{
    Action, Os,
    limits::EGRESS_HEAD_BYTES,
    policy::{Grant, Policy, Protocol},
    sys,
    testing::{MemorySink, ScriptedResolver},
};

struct World {
    server: TcpListener,
    port: u16,
    way: Way,
    sink: MemorySink,
}

/// A server at `granted.test`, which is all that may be connected to; `other.test` and `inner.test` are elsewhere.
async fn world() -> World {
    let server = sys::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = server.local_addr().unwrap().port();
    let resolver = ScriptedResolver::new()
        .answer("granted.test", &["127.0.0.1"])
        .answer("inner.test", &["10.0.0.1"])
        .answer("other.test", &["127.0.0.1"]);
    let resolver =
        (0..LOOKUPS_AT_A_TIME).fold(resolver, |resolver, n| resolver.hang(&format!("{n}.slow.test")));
    let grants = [
        Grant::connect(Protocol::Tcp, "granted.test", port),
        Grant::connect(Protocol::Tcp, "127.0.0.1", port),
        Grant::connect(Protocol::Tcp, "inner.test", 80),
        Grant::connect(Protocol::Tcp, "nowhere.test", 80),
        Grant::connect(Protocol::Tcp, "*.slow.test", 80),
    ];
    let sink = MemorySink::new();
    let policy = Policy::builder().principal("p", grants).build().unwrap();
    let os = Os::builder(policy, sink.clone()).resolver(resolver).build();
    World { server, port, way: Way::new(&os.principal("p").unwrap()), sink }
}

impl World {
    /// A connection of the program.
    fn connection(&self) -> DuplexStream {
        let (theirs, ours) = duplex(1 << 20);
        let way = self.way.clone();
        tokio::spawn(async move { attend(ours, &way).await });
        theirs
    }

    /// What is answered to `asked`, in which `PORT` stands for the server's.
    async fn ask(&self, asked: &str) -> String {
        let mut connection = self.connection();
        connection.write_all(asked.replace("PORT", &self.port.to_string()).as_bytes()).await.unwrap();
        read(&mut connection).await
    }

    /// As [`ask`](Self::ask), beside a server that reads up to `last`, answers and closes: what it got, and what is
    /// answered.
    async fn exchange(&self, asked: &str, last: &str) -> (String, String) {
        let serve = async {
            let (mut connection, _) = self.server.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(last.as_bytes()) {
                assert!(
                    connection.read_buf(&mut got).await.unwrap() > 0,
                    "{}",
                    String::from_utf8_lossy(&got)
                );
            }
            connection.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
            connection.shutdown().await.unwrap();
            connection.read_to_end(&mut got).await.unwrap();
            String::from_utf8(got).unwrap()
        };
        tokio::join!(serve, self.ask(asked))
    }

    fn connections(&self) -> usize {
        self.sink.take().iter().filter(|record| record.action == Action::NetConnect).count()
    }
}

async fn read(connection: &mut DuplexStream) -> String {
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[track_caller]
fn check(answer: &str, status: &str, why: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.ends_with(why), "{answer}");
}

#[tokio::test]
async fn a_request_reaches_its_host_and_nothing_behind_it_does() {
    let world = world().await;
    let get = "GET http://granted.test:PORT/x HTTP/1.1\r\nHost: granted.test:PORT\r\n\r\n";
    let (got, answer) =
        world.exchange(&format!("{get}GET /smuggled HTTP/1.1\r\nHost: other.test\r\n\r\n"), "\r\n\r\n").await;
    let port = world.port;
    assert_eq!(got, format!("GET /x HTTP/1.1\r\nHost: granted.test:{port}\r\nConnection: close\r\n\r\n"));
    check(&answer, "200", "hello");
    let post =
        "POST http://granted.test:PORT/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (got, _) = world.exchange(&format!("{post}GET /smuggled"), "0\r\n\r\n").await;
    assert!(got.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{got}");
    let (got, _) =
        world.exchange(&post.replace("Transfer-Encoding: chunked", "Content-Length: 2"), "\r\n3\r").await;
    assert!(got.ends_with("\r\n\r\n3\r"), "{got}");
    let requests: Vec<_> =
        world.sink.take().into_iter().filter(|record| record.action == Action::NetHttp).collect();
    assert_eq!(requests.len(), 3);
    assert!(requests[0].resource.starts_with(b"GET http://granted.test:"), "{requests:?}");
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_they_are_counted() {
    let world = world().await;
    let mut connection = world.connection();
    let connect = format!("CONNECT granted.test:{} HTTP/1.1\r\n\r\nearly", world.port);
    connection.write_all(connect.as_bytes()).await.unwrap();
    let (mut server, _) = world.server.accept().await.unwrap();
    let mut got = [0; 5];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"early");
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    connection.shutdown().await.unwrap();
    check(&read(&mut connection).await, "200", "\r\n\r\nanswer");
    assert_eq!(server.read(&mut got).await.unwrap(), 0);
    let closed = async {
        loop {
            let records = world.sink.take();
            if let Some(record) = records.into_iter().find(|record| record.action == Action::NetClose) {
                return record;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(closed.await.bytes, 11);
}

#[tokio::test]
async fn what_is_not_granted_is_answered_with_403() {
    let world = world().await;
    for target in
        ["other.test:PORT", "granted.test:1", "127.0.0.1:1", "127.0.0.2:PORT", "inner.test:80", "[::1]:PORT"]
    {
        let answer = world.ask(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await;
        let why = format!("airssys: {target} is not granted to this program\n");
        check(&answer, "403 Forbidden", &why.replace("PORT", &world.port.to_string()));
        let answer = world.ask(&format!("GET http://{target}/ HTTP/1.1\r\n\r\n")).await;
        check(&answer, "403 Forbidden", "is not granted to this program\n");
    }
    let records = world.sink.take();
    assert!(records.iter().any(|record| &*record.rule == "non-global: private"), "{records:?}");
    check(
        &world.ask("CONNECT nowhere.test:80 HTTP/1.1\r\n\r\n").await,
        "502",
        "nowhere.test:80 is not known\n",
    );
    check(&world.ask("CONNECT 0x7f.1:80 HTTP/1.1\r\n\r\n").await, "400", "is no host and port\n");
    check(&world.ask("CONNECT a@granted.test:PORT HTTP/1.1\r\n\r\n").await, "400", "is no host and port\n");
}

#[tokio::test]
async fn a_head_with_two_meanings_connects_nowhere() {
    let world = world().await;
    let get = "GET http://granted.test:PORT/ HTTP/1.1\r\n";
    for fields in [
        "Host: granted.test:PORT\r\nHost: other.test\r\n",
        "Host: other.test\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n",
        "X: y\nHost: other.test\r\n",
    ] {
        check(&world.ask(&format!("{get}{fields}\r\n")).await, "400", "\n");
    }
    check(&world.ask("GET / HTTP/1.1\r\nHost: granted.test:PORT\r\n\r\n").await, "400", "with http://\n");
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn heads_are_bounded_in_length_and_time() {
    let world = world().await;
    let long = format!("GET http://granted.test/ HTTP/1.1\r\nX: {}", "x".repeat(EGRESS_HEAD_BYTES));
    check(&world.ask(&long).await, "431", "its head is too long\n");
    check(&world.ask(&format!("{long}\r\n\r\n")).await, "431", "its head is too long\n");
    check(&world.ask("GET http://granted.test/ HTTP/1.1\r\n").await, "408", "its head did not come\n");
    assert_eq!(read(&mut world.connection()).await, "", "nothing was said");
    assert_eq!(world.connections(), 0);
}

#[tokio::test]
async fn a_body_that_is_no_body_ends_the_connection() {
    let world = world().await;
    let post = "POST http://granted.test:PORT/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    let serve = async {
        let (mut connection, _) = world.server.accept().await.unwrap();
        let mut got = Vec::new();
        connection.read_to_end(&mut got).await.unwrap();
        String::from_utf8(got).unwrap()
    };
    let (got, answer) = tokio::join!(serve, world.ask(post));
    assert!(got.ends_with("\r\n\r\n"), "no byte of it: {got}");
    assert_eq!(answer, "");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_many_hosts_at_once_waits() {
    let world = world().await;
    let mut slow = Vec::new();
    for number in 0..LOOKUPS_AT_A_TIME {
        let mut connection = world.connection();
        let connect = format!("CONNECT {number}.slow.test:80 HTTP/1.1\r\n\r\n");
        connection.write_all(connect.as_bytes()).await.unwrap();
        slow.push(connection);
    }
    // Each has begun before the next one asks.
    tokio::task::yield_now().await;
    let mut connection = world.connection();
    let connect = format!("CONNECT granted.test:{} HTTP/1.1\r\n\r\n", world.port);
    connection.write_all(connect.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    for mut connection in slow {
        check(&read(&mut connection).await, "504", "did not answer in time\n");
    }
}

#[tokio::test]
async fn socks_reaches_the_same_hosts() {
    let world = world().await;
    let ask = async |command: u8, host: &str, port: u16| {
        let mut connection = world.connection();
        // In pieces, as a slow network has it.
        connection.write_all(&[5]).await.unwrap();
        connection.write_all(&[2, 2, 0]).await.unwrap();
        let mut method = [0; 2];
        connection.read_exact(&mut method).await.unwrap();
        assert_eq!(method, [5, 0]);
        let mut request = vec![5, command, 0, 3, host.len() as u8];
        request.extend(host.as_bytes());
        request.extend(port.to_be_bytes());
        connection.write_all(&request).await.unwrap();
        let mut reply = [0; 10];
        connection.read_exact(&mut reply).await.unwrap();
        (reply[1], connection)
    };
    assert_eq!(ask(1, "other.test", world.port).await.0, 2);
    assert_eq!(ask(1, "inner.test", 80).await.0, 2);
    assert_eq!(ask(1, "nowhere.test", 80).await.0, 4);
    assert_eq!(ask(2, "granted.test", world.port).await.0, 7);
    let (code, mut connection) = ask(1, "granted.test", world.port).await;
    assert_eq!(code, 0);
    connection.write_all(b"hi").await.unwrap();
    let (mut server, _) = world.server.accept().await.unwrap();
    let mut got = [0; 2];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hi");
    let mut connection = world.connection();
    connection.write_all(&[5, 1, 2]).await.unwrap();
    connection.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [5, 0xff], "only with a user name");
}
