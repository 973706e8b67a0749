//! Connecting: what is looked up, decided, connected to and recorded; and what hostile hosts and resolvers try.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use airssys_osl::{
    Action, ErrorKind, Os,
    limits::{ADDRESSES_PER_HOST, CHECKED_AGE, LOOKUPS_AT_A_TIME, NET_ATTEMPT_TIMEOUT},
    net::Limits,
    policy::{Grant, Policy, Ports},
    testing::{MemorySink, ScriptedResolver},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    fixture::{AtRest, assert_denied, assert_fails},
    net_fixture::{Net, TCP, actions, closed_port, echo_server, loopback},
};

#[tokio::test]
async fn an_echo_and_its_records() {
    let server = echo_server().await;
    let net = Net::with(
        ScriptedResolver::new().answer("echo.test", &["127.0.0.1"]),
        [loopback(), Grant::resolve("echo.test").rule("names")],
    );
    let connector = net.principal().tcp_connector();
    let mut stream = connector.connect("Echo.Test", server.port()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
    assert_eq!((stream.peer_addr(), stream.bytes()), (server, (5, 5)));
    drop(stream);
    let port = server.port();
    assert_eq!(
        net.story(),
        [
            "net.resolve echo.test by names: intent".to_owned(),
            "net.resolve echo.test by names: done".to_owned(),
            format!("net.connect tcp://echo.test:{port}|127.0.0.1:{port} by loopback: intent"),
            format!("net.connect tcp://echo.test:{port}|127.0.0.1:{port} by loopback: done"),
            format!("net.close tcp://echo.test:{port}|127.0.0.1:{port} received 5 sent 5 by loopback: done"),
        ]
    );
}

#[tokio::test]
async fn the_bytes_stand_in_the_closing_record() {
    let server = echo_server().await;
    let net = Net::new([loopback()]);
    let mut stream = net.principal().tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    stream.write_all(&[7; 1000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back.len(), 1000);
    drop(stream);
    let records = net.sink.take();
    assert_eq!(actions(&records), [Action::NetConnect, Action::NetConnect, Action::NetClose]);
    assert_eq!(records[2].bytes, 2000);
    assert_eq!(records[1].intent, 1, "the end names its intent");
}

/// Tries to connect under a policy that permits every global address and host.
async fn refused(resolver: ScriptedResolver, host: &str) -> (Net, airssys_osl::Error) {
    let net = Net::with(
        resolver,
        [
            Grant::connect(TCP, "*", Ports::ALL).rule("every"),
            Grant::connect(TCP, "0.0.0.0/0", Ports::ALL),
            Grant::connect(TCP, "::/0", Ports::ALL),
        ],
    );
    let error = net.principal().tcp_connector().connect(host, 80).await.unwrap_err();
    let touched = net.sink.take().iter().any(|record| {
        record.action == Action::NetConnect && record.outcome != airssys_osl::audit::Outcome::Denied
    });
    assert!(!touched, "{host}: something was connected to");
    (net, error)
}

#[tokio::test]
async fn special_addresses_are_denied_whatever_leads_to_them() {
    for (address, class) in [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "carrier-grade"),
        ("169.254.169.254", "metadata"),
        ("169.254.0.1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("192.0.2.1", "documentation"),
        ("198.18.0.1", "benchmark"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fd00:ec2::254", "metadata"),
        ("fd00::1", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "documentation"),
        ("::ffff:127.0.0.1", "mapped-v4"),
        ("::ffff:7f00:1", "mapped-v4"),
        ("::127.0.0.1", "compatible-v4"),
        ("64:ff9b::127.0.0.1", "translated"),
        ("64:ff9b::a9fe:a9fe", "translated"),
        ("2002:7f00:0001::1", "tunnel"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "tunnel"),
    ] {
        let rule = format!("non-global: {class}");
        let (_, by_address) = refused(ScriptedResolver::new(), address).await;
        assert_eq!((by_address.kind(), by_address.rule()), (ErrorKind::Denied, Some(&*rule)), "{address}");
        let resolver = ScriptedResolver::new().answer("evil.test", &[address]);
        let (_, by_name) = refused(resolver, "evil.test").await;
        assert_eq!((by_name.kind(), by_name.rule()), (ErrorKind::Denied, Some(&*rule)), "by name: {address}");
    }
}

#[tokio::test]
async fn malformed_hosts_are_refused_and_on_record() {
    let net = Net::new([Grant::connect(TCP, "*", Ports::ALL), loopback()]);
    let connector = net.principal().tcp_connector();
    for host in [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "0x7f.0.0.1",
        "user@example.com",
        "user:password@example.com",
        "example.com@127.0.0.1",
        "bücher.example",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "a..b",
        "example.com.",
        "[fe80::1%eth0]",
        "fe80::1%1",
        "exa\0mple.com",
        "example.com#",
        "example.com/..",
        "example.com\\@127.0.0.1",
        "%31%32%37.0.0.1",
        " 127.0.0.1",
        "127.0.0.1\n",
        "localhost:80",
        "",
    ] {
        let error = connector.connect(host, 80).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{host:?}: {error}");
        let records = net.sink.take();
        assert_eq!(actions(&records), [Action::NetResolve], "{host:?}");
        assert_eq!((&*records[0].rule, &*records[0].resource), ("malformed-host", host.as_bytes()));
    }
    let long = "a".repeat(1 << 20);
    assert_fails(connector.connect(&long, 80).await, ErrorKind::Invalid, "a megabyte");
    assert!(net.sink.take()[0].resource.len() < 5000, "nobody fills the log with one call");
    assert_eq!(net.resolver.take_asked(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_lookup_is_an_operation_of_its_own() {
    let net = Net::with(
        ScriptedResolver::new().answer("api.test", &["127.0.0.1"]),
        [loopback(), Grant::connect(TCP, "api.test", 443)],
    );
    let connector = net.principal().tcp_connector();
    let secret = "c2vjcmv0.exfil.test";
    assert_denied(connector.connect(secret, 443).await, "default-deny", "a name that nobody granted");
    assert_eq!(net.resolver.take_asked(), [] as [&str; 0], "not even the name leaves");
    assert_eq!(net.story(), [format!("net.resolve {secret} by default-deny: denied")]);
    net.sink.refuse(true);
    assert_fails(connector.connect("api.test", 443).await, ErrorKind::AuditUnavailable, "unrecorded");
    assert_eq!(net.resolver.take_asked(), [] as [&str; 0], "what cannot be recorded is not asked");
    assert_fails(
        connector.connect("127.0.0.1", 443).await,
        ErrorKind::AuditUnavailable,
        "unrecorded connect",
    );
}

#[tokio::test]
async fn a_host_is_looked_up_without_connecting_to_it() {
    let resolver =
        ScriptedResolver::new().answer_for("api.test", &["10.0.0.1", "::1"], Duration::from_secs(60));
    let net = Net::with(resolver, [Grant::resolve("api.test")]);
    let principal = net.principal();
    let addresses = principal.resolve("api.test").await.unwrap();
    assert_eq!(addresses, ["10.0.0.1", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    assert_eq!(principal.resolve("api.test").await.unwrap(), addresses, "as it was remembered");
    assert_eq!(net.resolver.take_asked(), ["api.test"]);
    net.sink.take();
    assert_denied(principal.resolve("other.test").await, "default-deny", "another host");
    assert_denied(
        principal.tcp_connector().connect("api.test", 443).await,
        "default-deny",
        "to know an address is not to connect to it",
    );
    assert_fails(principal.resolve("127.1").await, ErrorKind::Invalid, "a number in disguise");
    assert_eq!(net.sink.take().last().unwrap().rule, "malformed-host");
    assert_eq!(principal.resolve("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(net.sink.take(), [], "it told nobody anything");
    assert_eq!(net.resolver.take_asked(), [] as [&str; 0]);
}

#[tokio::test]
async fn of_mixed_answers_only_what_is_permitted_is_connected_to() {
    let server = echo_server().await;
    let answer = ["10.0.0.1", "169.254.169.254", "127.0.0.1", "::1"];
    let net = Net::with(
        ScriptedResolver::new().answer("mixed.test", &answer),
        [loopback(), Grant::connect(TCP, "mixed.test", Ports::ALL)],
    );
    let stream = net.principal().tcp_connector().connect("mixed.test", server.port()).await.unwrap();
    assert_eq!(stream.peer_addr(), server);
    let port = server.port();
    let url = format!("net.connect tcp://mixed.test:{port}");
    assert_eq!(
        net.story()[2..],
        [
            format!("{url}|10.0.0.1:{port} by non-global: private: denied"),
            format!("{url}|169.254.169.254:{port} by non-global: metadata: denied"),
            format!("{url}|[::1]:{port} by non-global: loopback: denied"),
            format!("{url}|127.0.0.1:{port} by loopback: intent"),
            format!("{url}|127.0.0.1:{port} by loopback: done"),
        ]
    );
}

#[tokio::test]
async fn an_answer_that_changes_changes_nothing_for_what_was_checked() {
    let server = echo_server().await;
    let resolver = ScriptedResolver::new()
        .answer("rebind.test", &["127.0.0.1"])
        .answer("rebind.test", &["169.254.169.254"]);
    let net = Net::with(resolver, [loopback(), Grant::connect(TCP, "rebind.test", Ports::ALL)]);
    let connector = net.principal().tcp_connector();
    let checked = connector.check("rebind.test", server.port()).await.unwrap();
    for _ in 0..2 {
        let stream = connector.connect_checked(&checked).await.unwrap();
        assert_eq!(stream.peer_addr(), server, "it is pinned");
    }
    assert_eq!(net.resolver.take_asked(), ["rebind.test"], "one lookup");
    let again = connector.connect("rebind.test", server.port()).await;
    assert_denied(again, "non-global: metadata", "the second answer is decided for itself");
}

#[tokio::test(start_paused = true)]
async fn answers_are_remembered_for_their_time() {
    let resolver = ScriptedResolver::new()
        .answer_for("a.test", &["127.0.0.1"], Duration::from_secs(60))
        .answer_for("a.test", &["10.0.0.1"], Duration::from_secs(60));
    let net = Net::with(resolver, [loopback(), Grant::connect(TCP, "a.test", Ports::ALL).rule("a")]);
    let connector = net.principal().tcp_connector();
    connector.check("a.test", 80).await.unwrap();
    net.story();
    tokio::time::advance(Duration::from_secs(59)).await;
    connector.check("A.test", 80).await.unwrap();
    assert_eq!(net.resolver.take_asked(), ["a.test"]);
    assert_eq!(net.story(), ["net.resolve a.test by a: done"], "decided and recorded all the same");
    net.reload([loopback()]);
    assert_denied(connector.check("a.test", 80).await, "default-deny", "what is remembered is decided");
    net.reload([loopback(), Grant::connect(TCP, "a.test", Ports::ALL)]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_denied(connector.check("a.test", 80).await, "non-global: private", "and then asked again");
    let other = net.principal();
    other.tcp_connector().check("a.test", 80).await.unwrap_err();
    assert_eq!(net.resolver.take_asked(), ["a.test"], "another life of the principal has the same memory");
}

#[tokio::test(start_paused = true)]
async fn what_was_checked_is_good_for_its_principal_and_for_a_while() {
    let _rest = AtRest::begin();
    let server = echo_server().await;
    let granted = || [loopback(), Grant::connect(TCP, "a.test", Ports::ALL)];
    let resolver = ScriptedResolver::new().answer("a.test", &["127.0.0.1"]);
    let policy = Policy::builder().principal("p", granted()).principal("q", granted()).build().unwrap();
    let sink = MemorySink::new();
    let os = Os::builder(policy, sink.clone()).resolver(resolver).build();
    let [connector, other] = ["p", "q"].map(|name| os.principal(name).unwrap().tcp_connector());
    let checked = connector.check("a.test", server.port()).await.unwrap();
    assert_denied(other.connect_checked(&checked).await, "foreign-handle", "another principal");
    assert_eq!(sink.take().pop().unwrap().rule, "foreign-handle");
    tokio::time::advance(CHECKED_AGE).await;
    connector.connect_checked(&checked).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_fails(connector.connect_checked(&checked).await, ErrorKind::Invalid, "long ago");
    let address = connector.check("127.0.0.1", server.port()).await.unwrap();
    tokio::time::advance(2 * CHECKED_AGE).await;
    connector.connect_checked(&address).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_checked_again() {
    let resolver =
        ScriptedResolver::new().answer("public.test", &["127.0.0.1"]).answer("evil.test", &["10.0.0.1"]);
    let net = Net::with(resolver, [loopback(), Grant::connect(TCP, "*.test", Ports::ALL)]);
    let connector = net.principal().tcp_connector();
    let checked = connector.recheck("public.test", 80).await.unwrap();
    assert_eq!((checked.host().to_string(), checked.port()), ("public.test".to_owned(), 80));
    assert_eq!(connector.recheck("public.test:8080", 80).await.unwrap().port(), 8080);
    assert_denied(connector.recheck("evil.test:80", 80).await, "non-global: private", "a private host");
    assert_denied(connector.recheck("169.254.169.254", 80).await, "non-global: metadata", "an address");
    assert_denied(connector.recheck("[::1]:80", 80).await, "default-deny", "loopback of the other family");
    for authority in
        ["public.test@127.0.0.1", "u:p@public.test", "[::1%lo]:80", "public.test:80:80", "::1", "0x7f.1"]
    {
        assert_fails(connector.recheck(authority, 80).await, ErrorKind::Invalid, authority);
    }
}

#[tokio::test]
async fn an_address_is_reached_under_the_name_that_was_looked_up() {
    let server = echo_server().await;
    let resolver = ScriptedResolver::new().answer_for("api.test", &["127.0.0.1"], Duration::from_secs(60));
    let net = Net::with(resolver, [loopback(), Grant::resolve("api.test")]);
    let connector = net.principal().tcp_connector();
    connector.check("api.test", server.port()).await.unwrap();
    let stream = connector.connect_address(server).await.unwrap();
    assert_eq!(stream.peer_addr(), server);
    let scoped: SocketAddr = "[fe80::1%2]:80".parse().unwrap();
    assert_fails(connector.connect_address(scoped).await, ErrorKind::Invalid, "a scope");
    assert_denied(connector.connect_address("10.0.0.1:80".parse().unwrap()).await, "default-deny", "unknown");
}

#[tokio::test]
async fn a_host_that_is_not_there() {
    let resolver =
        ScriptedResolver::new().answer("empty.test", &[]).fail("broken.test", io::ErrorKind::Other);
    let net = Net::with(resolver, [Grant::connect(TCP, "*", Ports::ALL), loopback()]);
    let connector = net.principal().tcp_connector();
    assert_fails(connector.connect("absent.test", 80).await, ErrorKind::NotFound, "absent");
    assert_fails(connector.connect("empty.test", 80).await, ErrorKind::NotFound, "empty");
    assert_fails(connector.connect("broken.test", 80).await, ErrorKind::Io, "broken");
    let (closed, _reserved) = closed_port();
    let error = connector.connect("127.0.0.1", closed.port()).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CONNREFUSED.raw_os_error()));
    assert!(net.story().last().unwrap().ends_with("failed connection refused"));
}

#[tokio::test]
async fn the_next_address_is_tried_where_one_refuses() {
    let server = echo_server().await;
    let resolver = ScriptedResolver::new().answer("two.test", &["127.0.0.2", "127.0.0.1"]);
    let net = Net::with(resolver, [loopback(), Grant::resolve("two.test")]);
    let stream = net.principal().tcp_connector().connect("two.test", server.port()).await.unwrap();
    assert_eq!(stream.peer_addr(), server);
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let addresses: Vec<String> = (0..200).map(|last| format!("127.0.0.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(|address| &**address).collect();
    let resolver = ScriptedResolver::new().answer("long.test", &addresses);
    let net = Net::with(resolver, [loopback(), Grant::resolve("long.test")]);
    let checked = net.principal().tcp_connector().check("long.test", 80).await.unwrap();
    assert_eq!(checked.addresses().len(), ADDRESSES_PER_HOST);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_given_up() {
    let limits = Limits::new().resolve_timeout(Duration::from_secs(3));
    let grants = [Grant::connect(TCP, "*", Ports::ALL).rule("r"), Grant::net_limits(limits)];
    let net = Net::with(ScriptedResolver::new().hang("slow.test"), grants);
    let start = tokio::time::Instant::now();
    let error = net.principal().tcp_connector().connect("slow.test", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(
        net.story(),
        ["net.resolve slow.test by r: intent", "net.resolve slow.test by r: failed timed out"]
    );
}

/// A listener that has as many waiting as it takes, so that whoever comes next gets no answer.
async fn full_listener() -> (SocketAddr, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let at = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let connect = || tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(at));
    while let Ok(Ok(stream)) = connect().await {
        waiting.push(stream);
        assert!(waiting.len() < 64, "it is never full");
    }
    (at, (listener, waiting))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_given_up() {
    // That it is full shows only to whoever really waits.
    tokio::time::resume();
    let (at, _full) = full_listener().await;
    tokio::time::pause();
    let limits = Limits::new().connect_timeout(Duration::from_secs(7));
    let resolver = ScriptedResolver::new().answer("two.test", &["127.0.0.1", "127.0.0.2"]);
    let net = Net::with(resolver, [loopback(), Grant::resolve("*"), Grant::net_limits(limits)]);
    let connector = net.principal().tcp_connector();
    let start = tokio::time::Instant::now();
    let error = connector.connect("127.0.0.1", at.port()).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::TimedOut, 7));
    assert!(net.story().last().unwrap().ends_with("by loopback: cancelled"));

    let start = tokio::time::Instant::now();
    let error = connector.connect("two.test", at.port()).await.unwrap_err();
    // A timer may be late by a tick of its wheel.
    let waited = start.elapsed().as_secs();
    assert_eq!((error.kind(), waited), (ErrorKind::TimedOut, NET_ATTEMPT_TIMEOUT.as_secs()));
    let story = net.story();
    let of = |address: &str, end: &str| {
        story.iter().any(|line| line.contains(&format!("|{address}:")) && line.ends_with(end))
    };
    assert!(
        of("127.0.0.1", ": failed timed out") && of("127.0.0.2", ": failed connection refused"),
        "{story:#?}"
    );
}

#[tokio::test]
async fn lookups_are_counted() {
    let net = Net::with(ScriptedResolver::new().hang("slow.test"), [Grant::resolve("*").rule("r")]);
    let connector = net.principal().tcp_connector();
    let mut lookups: Vec<_> =
        (0..LOOKUPS_AT_A_TIME).map(|_| Box::pin(connector.check("slow.test", 80))).collect();
    assert!(lookups.iter_mut().all(|lookup| !poll_once(lookup.as_mut())));
    assert_fails(connector.check("slow.test", 80).await, ErrorKind::LimitExceeded, "one more");
    net.sink.take();
    drop(lookups);
    let cancelled = net.story();
    assert_eq!(cancelled.len(), LOOKUPS_AT_A_TIME);
    assert!(cancelled.iter().all(|line| line == "net.resolve slow.test by r: cancelled"), "{cancelled:?}");
}

#[tokio::test]
async fn a_dropped_connection_attempt_is_recorded() {
    let net = Net::with(ScriptedResolver::new(), [loopback()]);
    let connector = net.principal().tcp_connector();
    let (at, _full) = full_listener().await;
    {
        let connect = std::pin::pin!(connector.connect("127.0.0.1", at.port()));
        assert!(!poll_once(connect), "nobody answers");
    }
    let story = net.story();
    assert!(story.last().unwrap().ends_with("by loopback: cancelled"), "{story:?}");
}

/// Polls once, and says whether it was ready.
fn poll_once(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

#[tokio::test]
async fn the_system_resolves_what_it_is_asked() {
    let server = echo_server().await;
    let sink = airssys_osl::testing::MemorySink::new();
    let policy = crate::net_fixture::policy([loopback(), Grant::connect(TCP, "localhost", Ports::ALL)]);
    let os = airssys_osl::Os::new(policy, sink.clone());
    let connector = os.principal("p").unwrap().tcp_connector();
    let stream = connector.connect("localhost", server.port()).await.unwrap();
    assert_eq!(stream.peer_addr(), server);
}
