//! `wasi:sockets` over the door: what is granted works as WASI says, all else is denied and on the record.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread::{self, JoinHandle},
};

use crate::world::{Reserved, World};

/// A component that may use all of the loopback network, TCP and UDP, and `more`.
fn granted(more: &str) -> String {
    format!(
        "[component.a]\nSOCKETS\n{more}\n[component.a.grants]\n\
         connect = [\"tcp://127.0.0.0/8:*\", \"udp://127.0.0.0/8:*\"]\n\
         listen = [\"tcp://127.0.0.1:0\", \"udp://127.0.0.1:0\"]\nresolve = [\"api.test\"]\n"
    )
}

/// Takes one connection, reads it to its end, and sends all back.
fn echo_server() -> (u16, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        all.len()
    };
    (port, thread::spawn(serve))
}

/// Takes one connection and sends each piece back at once, until the end.
fn piecewise_server() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(buffer.get(..length).unwrap());
        }
    };
    (port, thread::spawn(serve))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_talks_to_whom_it_may_and_each_end_is_recorded() {
    let world = World::start(&granted("")).await;
    let (port, server) = echo_server();
    // More than any buffer on the way holds.
    let payload = "0123456789".repeat(400_000);
    let answer = world.ask("a", &format!("connect:127.0.0.1:{port}"), &payload[..1_000_000]).await;
    assert_eq!(answer, format!("127.0.0.1:{port} said 1000000 bytes: {}", "0123456789".repeat(4)));
    assert_eq!(server.join().unwrap(), 1_000_000);
    let rule = "component.a.grants.connect[0]";
    assert_eq!(world.network(), [format!("net.connect {rule}"), format!("net.close {rule}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_denied_and_recorded() {
    let components = "[component.a]\nSOCKETS\n[component.a.grants]\nconnect = [\"tcp://127.0.0.1:7\"]\n";
    let world = World::start(components).await;
    for (subject, record) in [
        ("connect:127.0.0.1:8", "net.connect default-deny"),
        ("connect:127.0.0.2:7", "net.connect default-deny"),
        ("connect:[::1]:7", "net.connect default-deny"),
        ("listen:127.0.0.1:0", "net.listen default-deny"),
        ("listen:0.0.0.0:80", "net.listen default-deny"),
        ("udp:127.0.0.1:7", "net.send default-deny"),
        ("udp-bind:127.0.0.1:0", "net.listen default-deny"),
        ("udp-bind:0.0.0.0:0", "net.listen default-deny"),
        ("resolve:example.org", "net.resolve default-deny"),
    ] {
        assert_eq!(world.ask("a", subject, "x").await, "access-denied", "{subject}");
        assert_eq!(world.denied(), [format!("component.a {record}")], "{subject}");
    }
    for subject in ["resolve:0x7f.1", "resolve:user@example.org", "resolve:"] {
        assert_eq!(world.ask("a", subject, "").await, "invalid-argument", "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_serves_where_it_may() {
    let world = World::start(&granted("")).await;
    let address = world.ask("a", "listen:127.0.0.1:0", "").await;
    assert_eq!(world.ask("a", "accept-now", "").await, "would-block");
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&[b'x'; 300_000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        (stream.local_addr().unwrap(), all.len())
    });
    let answer = world.ask("a", "accept", "").await;
    let (address, echoed) = client.join().unwrap();
    assert_eq!((answer, echoed), (format!("{address} said 300000 bytes"), 300_000));
    let rule = "component.a.grants.listen[0]";
    let expected = ["net.listen", "net.accept", "net.close"].map(|action| format!("{action} {rule}"));
    assert_eq!(world.network(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_told() {
    let world = World::start(&granted("")).await;
    let unused = Reserved::new();
    assert_eq!(world.ask("a", &format!("connect:127.0.0.1:{}", unused.0), "").await, "connection-refused");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let listen = format!("listen = [\"tcp://127.0.0.1:{port}\"]");
    let world = World::start(&format!("[component.a]\nSOCKETS\n[component.a.grants]\n{listen}\n")).await;
    assert_eq!(world.ask("a", &format!("listen:127.0.0.1:{port}"), "").await, "address-in-use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_orders_and_wrong_addresses_are_answered_as_wasi_says() {
    let world = World::start(&granted("")).await;
    let expected = "finish-bind: not-in-progress\nfinish-connect: not-in-progress\nstart-listen: invalid-state\n\
                    finish-listen: not-in-progress\naccept: invalid-state\nlocal-address: invalid-state\n\
                    remote-address: invalid-state\nshutdown: invalid-state\nconnect [::1]:1: invalid-argument\n\
                    connect 0.0.0.0:1: invalid-argument\nconnect 127.0.0.1:0: invalid-argument\nbind: ok\n\
                    bind again: invalid-state\nlisten while binding: concurrency-conflict\nfinish-bind: ok\n\
                    bind a third time: invalid-state";
    assert_eq!(world.ask("a", "order", "").await, expected);
    assert!(world.denied().is_empty(), "what is no address is no question to the policy");
}

#[tokio::test]
async fn options_are_taken_cut_or_refused() {
    let world = World::start(&granted("")).await;
    let expected = "true 2000000000 127 Err(\"invalid-argument\") Ok(())";
    assert_eq!(world.ask("a", "options", "").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_looked_up_speaks_for_its_address() {
    let connect =
        |grant: &str| format!("[component.a]\nSOCKETS\n[component.a.grants]\nconnect = [{grant}]\n");
    let (port, server) = echo_server();
    let both = format!("\"tcp://api.test:{port}\", \"tcp://127.0.0.1:{port}\"");
    let world = World::start(&connect(&both)).await;
    assert_eq!(world.ask("a", "resolve:api.test", "").await, "127.0.0.1");
    assert_eq!(world.ask("a", "resolve:other.test", "").await, "access-denied");
    let answer = world.ask("a", &format!("connect:127.0.0.1:{port}"), "hello").await;
    assert_eq!(answer, format!("127.0.0.1:{port} said 5 bytes: hello"));
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_go_to_one_peer_or_to_those_that_are_granted() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let echo = thread::spawn(move || {
        let mut buffer = [0; 100];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(buffer.get(..length).unwrap(), from).unwrap();
        server
    });
    let world = World::start(&granted("")).await;
    assert_eq!(world.ask("a", &format!("udp:{address}"), "hello").await, format!("{address} said hello"));
    let server = echo.join().unwrap();

    let own = world.ask("a", "udp-bind:127.0.0.1:0", "").await;
    server.send_to(b"ping", &own).unwrap();
    assert_eq!(world.ask("a", "udp-echo", "").await, format!("1 to {address}"));
    let mut buffer = [0; 100];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((buffer.get(..length), from.to_string()), (Some(&b"ping"[..]), own));

    assert!(world.denied().is_empty());
    assert_eq!(world.ask("a", "udp-to:10.0.0.1:9", "x").await, "access-denied");
    assert_eq!(world.denied(), ["component.a net.send default-deny"]);
    assert_eq!(world.ask("a", "udp-to:0.0.0.0:9", "x").await, "invalid-argument");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_the_manifest_lets_it_have() {
    let world = World::start(&granted("limits = { net = { connections = 1 } }")).await;
    let (port, _server) = piecewise_server();
    assert_eq!(world.ask("a", &format!("hold:127.0.0.1:{port}"), "").await, "held");
    assert_eq!(world.ask("a", &format!("hold:127.0.0.1:{port}"), "").await, "new-socket-limit");
    assert_eq!(world.ask("a", "use", "still there").await, "still there");
    assert_eq!(world.ask("a", "let-go", "").await, "true");
    let (port, _server) = piecewise_server();
    assert_eq!(world.ask("a", &format!("hold:127.0.0.1:{port}"), "").await, "held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_takes_it_away_cuts_an_open_connection() {
    let world = World::start(&granted("")).await;
    let (port, server) = piecewise_server();
    assert_eq!(world.ask("a", &format!("hold:127.0.0.1:{port}"), "").await, "held");
    assert_eq!(world.ask("a", "use", "hello").await, "hello");
    world.network();
    world.reload("[component.a]\nSOCKETS\n");
    // The server sees the end of it, though the guest holds it still.
    server.join().unwrap();
    assert_eq!(world.ask("a", "use", "hello").await, "connection-reset");
    assert_eq!(world.ask("a", "let-go", "").await, "true");
    assert_eq!(world.network(), ["net.close default-deny"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incarnation_takes_its_connections_with_it() {
    let world = World::start(&granted("max_deliver = 1")).await;
    let (port, server) = piecewise_server();
    assert_eq!(world.ask("a", &format!("hold:127.0.0.1:{port}"), "").await, "held");
    world.crash("a", "no-such-request").await;
    server.join().unwrap();
    assert_eq!(world.ask("a", "use", "x").await, "invalid-state", "the next one has none");
}
