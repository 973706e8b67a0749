//! Listening, datagrams, and connections that wait to be used again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use airssys_osl::{
    Action, Error, ErrorKind, Os, Principal,
    audit::{Event, Sink},
    limits::DATAGRAM_PEERS,
    net::{Bound, Pool, PoolOptions},
    policy::{Grant, Ports},
    testing::ScriptedResolver,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    fixture::{AtRest, assert_denied, assert_fails},
    net_fixture::{Net, TCP, UDP, echo_server, loopback, policy},
};

fn local(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listen() -> Grant {
    Grant::listen(TCP, "127.0.0.1", Ports::PICKED).rule("listen")
}

#[tokio::test]
async fn both_ends_are_on_record() {
    let net = Net::new([listen(), loopback()]);
    let principal = net.principal();
    let listener = principal.listen(local("127.0.0.1:0")).unwrap();
    let at = listener.local_addr();
    let mut client = principal.tcp_connector().connect("127.0.0.1", at.port()).await.unwrap();
    let mut server = listener.accept().await.unwrap();
    assert_eq!(server.peer_addr(), client.local_addr().unwrap());
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello");
    let from = client.local_addr().unwrap();
    drop((client, server, listener));
    assert_eq!(
        net.story(),
        [
            "net.listen tcp://127.0.0.1:0 by listen: intent".to_owned(),
            "net.listen tcp://127.0.0.1:0 by listen: done".to_owned(),
            format!("net.connect tcp://{at}|{at} by loopback: intent"),
            format!("net.connect tcp://{at}|{at} by loopback: done"),
            format!("net.accept tcp://{at}|{from} by listen: done"),
            format!("net.close tcp://{at}|{at} received 0 sent 5 by loopback: done"),
            format!("net.close tcp://{at}|{from} received 5 sent 0 by listen: done"),
            format!("net.close tcp://{at}|received 0 sent 0 by listen: done"),
        ]
    );
}

#[tokio::test]
async fn what_is_bound_listens_later_by_the_same_permission() {
    let net = Net::new([listen(), loopback()]);
    let principal = net.principal();
    let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
    let at = bound.local_addr();
    assert_fails(principal.tcp_connector().connect_address(at).await, ErrorKind::Io, "nobody listens");
    assert!(std::net::TcpListener::bind(at).is_err(), "its port is taken");
    net.sink.take();
    let listener = bound.listen().unwrap();
    assert_eq!(listener.local_addr(), at);
    let _client = tokio::net::TcpStream::connect(at).await.unwrap();
    drop(listener.accept().await.unwrap());
    drop(listener);
    let actions: Vec<_> = net.story().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(actions, ["net.accept", "net.close", "net.close"]);
    let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
    net.reload([loopback()]);
    assert_denied(bound.listen(), "default-deny", "a new policy");
    assert_denied(principal.tcp_bind(local("127.0.0.1:0")), "default-deny", "no grant");
}

#[tokio::test]
async fn what_is_bound_connects_from_there_to_whom_it_may() {
    let net = Net::new([listen(), loopback()]);
    let principal = net.principal();
    let server = echo_server().await;
    let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
    let from = bound.local_addr();
    let mut client = bound.connect(server).await.unwrap();
    assert_eq!((client.local_addr().unwrap(), client.peer_addr()), (from, server));
    client.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await.unwrap();
    drop(client);
    assert_eq!(
        net.story(),
        [
            "net.listen tcp://127.0.0.1:0 by listen: intent".to_owned(),
            "net.listen tcp://127.0.0.1:0 by listen: done".to_owned(),
            format!("net.connect tcp://{server}|{server} by loopback: intent"),
            format!("net.connect tcp://{server}|{server} by loopback: done"),
            format!("net.close tcp://{from}|received 0 sent 0 by listen: done"),
            format!("net.close tcp://{server}|{server} received 5 sent 5 by loopback: done"),
        ]
    );
    let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
    assert_denied(bound.connect(local("10.0.0.1:80")).await, "default-deny", "not granted");
    let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
    assert_fails(bound.connect(local("[fe80::1%1]:80")).await, ErrorKind::Invalid, "a scope");
}

/// Binds a port by its name.
fn bind_by_name(principal: &Principal) -> Bound {
    for _ in 0..100 {
        let at = principal.tcp_bind(local("127.0.0.1:0")).unwrap().local_addr();
        // Another may have been given it meanwhile.
        if let Ok(bound) = principal.tcp_bind(at) {
            return bound;
        }
    }
    panic!("no port that was free can be bound by its name");
}

#[tokio::test]
async fn a_port_that_is_named_is_nobody_elses_until_its_last_life_is_over() {
    let net = Net::new([listen(), Grant::listen(TCP, "127.0.0.1", Ports::ALL), loopback()]);
    let principal = net.principal();
    let bound = bind_by_name(&principal);
    let at = bound.local_addr();
    assert_fails(principal.tcp_bind(at), ErrorKind::Io, "it is bound");
    assert_fails(principal.listen(at), ErrorKind::Io, "it is bound");
    let listener = bound.listen().unwrap();
    assert_fails(principal.tcp_bind(at), ErrorKind::Io, "it is listened at");
    let client = principal.tcp_connector().connect_address(at).await.unwrap();
    let accepted = listener.accept().await.unwrap();
    drop(listener);
    // What it accepted stands in the way as what is closed, and not yet forgotten, does.
    let again = principal.tcp_bind(at).unwrap();
    assert_fails(principal.tcp_bind(at), ErrorKind::Io, "it is bound again");
    assert_fails(principal.listen(at), ErrorKind::Io, "it is bound again");
    drop(again.listen().unwrap());
    drop((client, accepted));
    let server = echo_server().await;
    let connected = bind_by_name(&principal).connect(server).await.unwrap();
    principal.tcp_bind(connected.local_addr().unwrap()).unwrap();
}

/// Tries whether the port of what is recorded as closed can be had.
#[derive(Clone, Default)]
struct Tries(Arc<Mutex<Vec<bool>>>);

impl Sink for Tries {
    fn record(&self, event: &Event<'_>) -> Result<u64, Error> {
        if event.action == Action::NetClose {
            let resource = String::from_utf8_lossy(event.resource);
            let at = resource.strip_prefix("tcp://").unwrap().split('\0').next().unwrap();
            self.0.lock().unwrap().push(std::net::TcpListener::bind(at).is_ok());
        }
        Ok(1)
    }
}

#[tokio::test]
async fn what_is_bound_and_refused_closes_before_that_is_recorded() {
    // Another may be given the port between the two: that is not so each time.
    for _ in 0..100 {
        let tries = Tries::default();
        let os = Os::new(policy([listen(), loopback()]), tries.clone());
        let principal = os.principal("p").unwrap();
        let scoped = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
        assert_fails(scoped.connect(local("[fe80::1%1]:80")).await, ErrorKind::Invalid, "a scope");
        let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
        os.reload(policy([loopback()]));
        assert_denied(bound.listen(), "default-deny", "a new policy");
        if *tries.0.lock().unwrap() == [true, true] {
            return;
        }
    }
    panic!("it was recorded as closed before it was");
}

#[tokio::test]
async fn what_is_bound_is_one_of_those_that_may_be_open() {
    let net = Net::new([listen(), loopback(), Grant::net_limits(airssys_osl::net::Limits::new().open(1))]);
    let principal = net.principal();
    let server = echo_server().await;
    let bound = principal.tcp_bind(local("127.0.0.1:0")).unwrap();
    assert_fails(principal.tcp_bind(local("127.0.0.1:0")), ErrorKind::LimitExceeded, "a second one");
    // Its place is the connection's, and free again behind it.
    let client = bound.connect(server).await.unwrap();
    assert_fails(principal.tcp_bind(local("127.0.0.1:0")), ErrorKind::LimitExceeded, "beside the connection");
    drop(client);
    drop(principal.tcp_bind(local("127.0.0.1:0")).unwrap().listen().unwrap());
    drop(principal.tcp_bind(local("127.0.0.1:0")).unwrap());
}

#[tokio::test]
async fn who_sends_first_is_heard_by_all_only_where_it_may_be() {
    let send = || Grant::connect(UDP, "127.0.0.1", Ports::ALL).rule("send");
    let net = Net::new([send()]);
    let peer = local("127.0.0.1:9");
    assert_eq!(net.principal().udp_sender(peer).await.unwrap().peer_addr(), Some(peer));
    assert!(
        net.story().iter().all(|line| !line.contains("denied")),
        "it was not asked whether it may be bound"
    );
    let net = Net::new([send(), Grant::listen(UDP, "0.0.0.0", Ports::PICKED)]);
    let sender = net.principal().udp_sender(peer).await.unwrap();
    assert_eq!(sender.peer_addr(), None);
    sender.send_to(b"x", peer).await.unwrap();
    assert_denied(sender.send_to(b"x", local("10.0.0.1:9")).await, "default-deny", "not granted");
}

#[tokio::test]
async fn what_is_not_named_is_not_listened_on() {
    let net = Net::new([listen(), Grant::listen(TCP, "0.0.0.0/0", Ports::ALL), loopback()]);
    let principal = net.principal();
    assert_denied(principal.listen(local("0.0.0.0:0")), "default-deny", "all addresses");
    assert_denied(principal.listen(local("0.0.0.0:8080")), "non-global: unspecified", "all addresses");
    assert_denied(principal.listen(local("[::]:8080")), "default-deny", "all addresses");
    assert_denied(principal.listen(local("127.0.0.1:8080")), "non-global: loopback", "another port");
    assert_denied(principal.listen(local("127.0.0.2:0")), "default-deny", "another address");
    assert_fails(principal.listen(local("[fe80::1%1]:0")), ErrorKind::Invalid, "a scope");
    assert_denied(principal.udp_bind(local("127.0.0.1:0")).await, "default-deny", "another protocol");
    net.sink.refuse(true);
    assert_fails(principal.listen(local("127.0.0.1:0")), ErrorKind::AuditUnavailable, "unrecorded");
}

#[tokio::test]
async fn all_of_ipv6_is_not_all_of_ipv4() {
    let net = Net::new([Grant::listen(TCP, "::", Ports::PICKED)]);
    for _ in 0..100 {
        let Ok(listener) = net.principal().listen(local("[::]:0")) else {
            eprintln!("SKIPPED: this machine has no IPv6");
            return;
        };
        // What it left to others can be had, unless another one has just that already: that is not so each time.
        if std::net::TcpListener::bind(("127.0.0.1", listener.local_addr().port())).is_ok() {
            return;
        }
    }
    panic!("it has the port of IPv4, too");
}

#[tokio::test]
async fn a_listener_is_cut_under_whoever_waits_for_it() {
    let net = Net::new([listen(), loopback()]);
    let principal = net.principal();
    let listener = principal.listen(local("127.0.0.1:0")).unwrap();
    let at = listener.local_addr();
    let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
    let mut accepted = listener.accept().await.unwrap();
    let waiting = tokio::spawn(async move { listener.accept().await });
    tokio::task::yield_now().await;
    net.reload([loopback()]);
    assert_denied(waiting.await.unwrap(), "default-deny", "accept");
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "nobody listens any more");
    let error = accepted.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "what it accepted is cut with it");
    assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)), "and the peer sees it");
}

#[tokio::test]
async fn an_accepted_connection_that_cannot_be_recorded_is_closed() {
    let net = Net::new([listen()]);
    let listener = net.principal().listen(local("127.0.0.1:0")).unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr()).await.unwrap();
    net.sink.refuse(true);
    assert_fails(listener.accept().await, ErrorKind::AuditUnavailable, "accept");
    assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn datagrams_to_one_peer() {
    let net = Net::with(
        ScriptedResolver::new().answer("dns.test", &["10.0.0.1", "127.0.0.1"]),
        [
            Grant::listen(UDP, "127.0.0.1", Ports::PICKED).rule("bind"),
            Grant::connect(UDP, "127.0.0.0/8", Ports::ALL).rule("send"),
            Grant::resolve("dns.test").rule("name"),
        ],
    );
    let principal = net.principal();
    let server = principal.udp_bind(local("127.0.0.1:0")).await.unwrap();
    let at = server.local_addr();
    net.sink.take();
    let client = principal.udp_connect("dns.test", at.port()).await.unwrap();
    client.send(b"ping").await.unwrap();
    let mut buffer = [0; 16];
    let (len, from) = server.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"ping");
    assert_eq!(from.port(), client.local_addr().port());
    server.send_to(b"pong", from).await.unwrap();
    server.send_to(b"pong", from).await.unwrap();
    assert_eq!(client.recv_from(&mut buffer).await.unwrap(), (4, at));
    let port = at.port();
    drop((client, server));
    assert_eq!(
        net.story(),
        [
            "net.resolve dns.test by name: intent".to_owned(),
            "net.resolve dns.test by name: done".to_owned(),
            format!("net.send udp://dns.test:{port}|10.0.0.1:{port} by default-deny: denied"),
            format!("net.send udp://dns.test:{port}|127.0.0.1:{port} by send: intent"),
            format!("net.send udp://dns.test:{port}|127.0.0.1:{port} by send: done"),
            format!("net.send udp://{from} by send: intent"),
            format!("net.send udp://{from} by send: done"),
            format!("net.close udp://dns.test:{port}|127.0.0.1:{port} received 4 sent 4 by send: done"),
            format!("net.close udp://{at}|received 4 sent 8 by bind: done"),
        ]
    );
}

#[tokio::test]
async fn each_destination_of_a_datagram_is_decided() {
    let grants = || {
        [
            Grant::listen(UDP, "127.0.0.1", Ports::PICKED),
            Grant::connect(UDP, "127.0.0.0/8", Ports::ALL),
            Grant::connect(UDP, "*", Ports::ALL),
        ]
    };
    let net = Net::new(grants());
    let socket = net.principal().udp_bind(local("127.0.0.1:0")).await.unwrap();
    socket.send_to(b"x", socket.local_addr()).await.unwrap();
    for (to, class) in [
        ("169.254.169.254:53", "metadata"),
        ("10.0.0.1:53", "private"),
        ("224.0.0.251:5353", "multicast"),
        ("255.255.255.255:67", "broadcast"),
        ("[::ffff:127.0.0.1]:53", "mapped-v4"),
    ] {
        assert_denied(socket.send_to(b"x", local(to)).await, &format!("non-global: {class}"), to);
    }
    assert_fails(socket.send_to(b"x", local("[fe80::1%3]:53")).await, ErrorKind::Invalid, "a scope");
    assert_fails(socket.send(b"x").await, ErrorKind::Invalid, "it has no one peer");
    for port in 1..=2 * DATAGRAM_PEERS as u16 {
        socket.send_to(b"x", SocketAddr::from(([127, 0, 0, 9], port))).await.unwrap();
    }
    net.reload([Grant::listen(UDP, "127.0.0.1", Ports::PICKED)]);
    let again = socket.send_to(b"x", socket.local_addr()).await;
    assert_denied(again, "default-deny", "what was permitted is decided again");
    net.reload(grants());
    socket.send_to(b"x", socket.local_addr()).await.unwrap();
}

#[tokio::test]
async fn a_datagram_socket_is_cut_under_whoever_waits_for_it() {
    let net = Net::new([Grant::listen(UDP, "127.0.0.1", Ports::PICKED)]);
    let principal = net.principal();
    let socket = principal.udp_bind(local("127.0.0.1:0")).await.unwrap();
    let waiting = tokio::spawn(async move { socket.recv_from(&mut [0; 8]).await });
    tokio::task::yield_now().await;
    net.os.revoke(&principal);
    assert_denied(waiting.await.unwrap(), "revoked", "receive");
}

#[tokio::test(start_paused = true)]
async fn datagrams_go_at_their_rate() {
    let rate = std::num::NonZeroU64::new(1_000);
    let limits = airssys_osl::net::Limits::new().sent_per_second(rate).received_per_second(rate);
    let net = Net::new([
        Grant::listen(UDP, "127.0.0.1", Ports::PICKED),
        Grant::connect(UDP, "127.0.0.1", Ports::ALL),
        Grant::net_limits(limits),
    ]);
    let socket = net.principal().udp_bind(local("127.0.0.1:0")).await.unwrap();
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        socket.send_to(&[7; 1_000], socket.local_addr()).await.unwrap();
        socket.recv_from(&mut [0; 2_000]).await.unwrap();
    }
    let took = start.elapsed().as_secs_f64();
    assert!((2.0..2.2).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn one_peer_that_sends_nothing_is_not_waited_for_for_ever() {
    let limits = airssys_osl::net::Limits::new().idle_timeout(Duration::from_secs(9));
    let net = Net::new([Grant::connect(UDP, "127.0.0.1", Ports::ALL), Grant::net_limits(limits)]);
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = silent.local_addr().unwrap();
    let socket = net.principal().udp_connect("127.0.0.1", to.port()).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_fails(socket.recv_from(&mut [0; 8]).await, ErrorKind::TimedOut, "silence");
    assert_eq!(start.elapsed().as_secs(), 9);
    tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut [0; 8])).await.unwrap_err();
    assert_fails(socket.recv_from(&mut [0; 8]).await, ErrorKind::TimedOut, "silence again");
    assert_eq!(start.elapsed().as_secs(), 9 + 5 + 9, "each wait counts by itself");
    let _rest = AtRest::begin();
    silent.send_to(b"late", socket.local_addr()).await.unwrap();
    assert_eq!(socket.recv_from(&mut [0; 8]).await.unwrap(), (4, to), "it is still open");
}

#[tokio::test]
async fn a_pool_hands_out_what_was_given_back() {
    let server = echo_server().await;
    let net = Net::new([loopback(), Grant::connect(TCP, "127.0.0.1", server.port()).rule("port")]);
    let pool = Pool::new(net.principal().tcp_connector(), PoolOptions::default());
    let mut first = pool.take("127.0.0.1", server.port()).await.unwrap();
    assert!(!first.is_reused());
    first.write_all(b"x").await.unwrap();
    first.read_u8().await.unwrap();
    let from = first.local_addr().unwrap();
    first.give_back();
    assert_eq!(pool.idle(), 1);
    let mut second = pool.take("127.0.0.1", server.port()).await.unwrap();
    assert!(second.is_reused() && second.local_addr().unwrap() == from);
    second.write_all(b"y").await.unwrap();
    assert_eq!(second.read_u8().await.unwrap(), b'y');
    second.give_back();
    net.reload([]);
    assert_denied(pool.take("127.0.0.1", server.port()).await, "default-deny", "a new policy");
    assert_eq!(pool.idle(), 0, "what was cut is not kept");
}

#[tokio::test]
async fn a_pool_does_not_hand_out_what_its_peer_ended_or_spoke_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let net = Net::new([loopback()]);
    let pool = Pool::new(net.principal().tcp_connector(), PoolOptions::default());
    for speak in [true, false] {
        let pooled = pool.take("127.0.0.1", port).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        pooled.give_back();
        if speak {
            peer.write_all(b"unasked").await.unwrap();
        } else {
            // Closing it alone would leave it open to a child that another test starts, until that is a program.
            peer.shutdown().await.unwrap();
        }
        let next = pool.take("127.0.0.1", port).await.unwrap();
        assert!(!next.is_reused(), "spoke: {speak}");
        let _ = listener.accept().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_keeps_few_and_not_for_long() {
    let _rest = AtRest::begin();
    let server = echo_server().await;
    let net = Net::new([loopback()]);
    let options = PoolOptions { per_host: 2, total: 3, keep: Duration::from_secs(60) };
    let pool = Pool::new(net.principal().tcp_connector(), options);
    let mut taken = Vec::new();
    for host in ["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
        taken.push(pool.take(host, server.port()).await.unwrap());
    }
    taken.into_iter().for_each(|pooled| pooled.give_back());
    assert_eq!(pool.idle(), 2);
    tokio::time::advance(Duration::from_secs(59)).await;
    let pooled = pool.take("127.0.0.1", server.port()).await.unwrap();
    assert!(pooled.is_reused());
    pooled.give_back();
    tokio::time::advance(Duration::from_secs(1)).await;
    let pooled = pool.take("127.0.0.1", server.port()).await.unwrap();
    assert!(pooled.is_reused(), "the one that was given back just now");
    assert_eq!(pool.idle(), 0, "the other has waited too long");
}

#[tokio::test]
async fn a_request_is_one_record_without_secrets() {
    let net = Net::new([listen(), loopback()]);
    let listener = net.principal().listen(local("127.0.0.1:0")).unwrap();
    let at = listener.local_addr();
    let client = net.principal().tcp_connector().connect("127.0.0.1", at.port()).await.unwrap();
    net.story();
    let exchanges = client.exchanges();
    exchanges.begin("GET", "http", "127.0.0.1").answered();
    exchanges.begin("GET", "http", "a\nb").failed(&std::io::ErrorKind::TimedOut.into());
    drop(exchanges.begin("PUT", "http", &"x".repeat(1000)));
    assert_eq!(
        net.story(),
        [
            format!("net.http GET http://127.0.0.1|{at} by loopback: done"),
            format!("net.http GET http://ab|{at} by loopback: failed timed out"),
            format!("net.http PUT http://{}|{at} by loopback: cancelled", "x".repeat(256)),
        ]
    );
}
