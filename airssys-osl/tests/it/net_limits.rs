//! What ends a connection: revocation, a new policy, the limits of its principal.

use std::{io, num::NonZeroU64, sync::Arc, time::Duration};

use airssys_osl::{
    ErrorKind,
    net::{KeepAlive, Limits, TcpStream},
    policy::{Grant, Ports},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::Instant,
};

use crate::{
    fixture::{AtRest, assert_denied, assert_fails},
    net_fixture::{Net, TCP, echo_server, loopback, silent_server},
};

fn denied_by(error: &io::Error) -> (io::ErrorKind, Option<String>) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<airssys_osl::Error>());
    (error.kind(), inner.and_then(|inner| inner.rule()).map(str::to_owned))
}

#[track_caller]
fn assert_cut(result: io::Result<usize>, rule: &str) {
    let error = result.expect_err("it was cut");
    assert_eq!(denied_by(&error), (io::ErrorKind::PermissionDenied, Some(rule.to_owned())), "{error}");
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn revocation_cuts_an_open_connection_under_its_reader() {
    let (server, accepted) = silent_server().await;
    let net = Net::new([loopback()]);
    let principal = net.principal();
    let mut stream = principal.tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    let reader = tokio::spawn(async move {
        let read = stream.read(&mut [0; 8]).await;
        (read, stream.write(b"x").await, stream)
    });
    settle().await;
    assert!(!reader.is_finished());
    net.sink.take();
    net.os.revoke(&principal);
    let (read, written, stream) = reader.await.unwrap();
    assert_cut(read, "revoked");
    assert_cut(written, "revoked");
    drop(stream);
    let port = server.port();
    assert_eq!(
        net.story(),
        [format!("net.close tcp://127.0.0.1:{port}|127.0.0.1:{port} received 0 sent 0 by revoked: denied")]
    );
    accepted.abort();
}

#[tokio::test]
async fn a_new_policy_cuts_what_it_does_not_permit_and_nothing_else() {
    let (one, other) = (echo_server().await, echo_server().await);
    let to = |server: std::net::SocketAddr| Grant::connect(TCP, "127.0.0.1", server.port()).rule("port");
    let net = Net::new([to(one), to(other)]);
    let connector = net.principal().tcp_connector();
    let mut first = connector.connect("127.0.0.1", one.port()).await.unwrap();
    let mut second = connector.connect("127.0.0.1", other.port()).await.unwrap();
    net.reload([to(one)]);
    first.write_all(b"x").await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'x');
    assert_cut(second.write(b"x").await, "default-deny");
    assert_cut(second.read(&mut [0]).await, "default-deny");
    net.reload([to(one), to(other)]);
    assert_cut(second.read(&mut [0]).await, "default-deny");
}

#[tokio::test]
async fn what_a_peer_sent_before_the_cut_is_not_handed_out_after_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let net = Net::new([loopback()]);
    let principal = net.principal();
    let port = listener.local_addr().unwrap().port();
    let mut stream = principal.tcp_connector().connect("127.0.0.1", port).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    peer.write_all(b"secret").await.unwrap();
    net.os.revoke(&principal);
    let mut buffer = [0; 8];
    assert_cut(stream.read(&mut buffer).await, "revoked");
    assert_eq!(buffer, [0; 8]);
}

#[tokio::test]
async fn open_connections_are_counted() {
    let server = echo_server().await;
    let net = Net::new([loopback(), Grant::net_limits(Limits::new().open(2))]);
    let principal = net.principal();
    let connector = principal.tcp_connector();
    let connect = || connector.connect("127.0.0.1", server.port());
    let (one, _two) = (connect().await.unwrap(), connect().await.unwrap());
    net.sink.take();
    assert_fails(connect().await, ErrorKind::LimitExceeded, "a third");
    let story = net.story();
    assert_eq!(story.len(), 1, "nothing was begun: {story:?}");
    assert!(story[0].starts_with("net.connect ") && story[0].contains(": failed "), "{story:?}");
    assert_fails(principal.listen("127.0.0.1:0".parse().unwrap()), ErrorKind::Denied, "no grant to listen");
    let other = net.principal().tcp_connector();
    assert_fails(other.connect("127.0.0.1", server.port()).await, ErrorKind::LimitExceeded, "another life");
    drop(one);
    let _three = connect().await.unwrap();
    assert_fails(connect().await, ErrorKind::LimitExceeded, "a fourth");
    net.reload([loopback(), Grant::net_limits(Limits::new().open(3))]);
    let _four = connect().await.unwrap();
}

#[tokio::test]
async fn many_at_once_get_no_more_than_the_limit() {
    let server = echo_server().await;
    let net = Net::new([loopback(), Grant::net_limits(Limits::new().open(5))]);
    let connector = Arc::new(net.principal().tcp_connector());
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let connector = Arc::clone(&connector);
            tokio::spawn(async move { connector.connect("127.0.0.1", server.port()).await })
        })
        .collect();
    let mut open = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(stream) => open.push(stream),
            Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded),
        }
    }
    assert_eq!(open.len(), 5);
}

#[tokio::test]
async fn accepting_waits_for_room() {
    let net =
        Net::new([Grant::listen(TCP, "127.0.0.1", Ports::PICKED), Grant::net_limits(Limits::new().open(2))]);
    let listener = net.principal().listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let local = listener.local_addr();
    let _clients = (
        tokio::net::TcpStream::connect(local).await.unwrap(),
        tokio::net::TcpStream::connect(local).await.unwrap(),
    );
    let first = listener.accept().await.unwrap();
    let second = tokio::spawn(async move { (listener.accept().await, listener) });
    settle().await;
    assert!(!second.is_finished(), "the listener and one connection are two");
    drop(first);
    let (second, _listener) = second.await.unwrap();
    second.unwrap();
}

/// A connection that may be silent for half a minute, to a server that is.
async fn silence() -> (Net, TcpStream, JoinHandle<Vec<tokio::net::TcpStream>>) {
    let (server, accepted) = silent_server().await;
    let limits = Limits::new().idle_timeout(Duration::from_secs(30));
    let net = Net::new([loopback(), Grant::net_limits(limits)]);
    let rest = AtRest::begin();
    let stream = net.principal().tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    drop(rest);
    (net, stream, accepted)
}

#[tokio::test(start_paused = true)]
async fn silence_ends() {
    let (net, mut stream, _accepted) = silence().await;
    let start = Instant::now();
    tokio::time::advance(Duration::from_secs(20)).await;
    stream.write_all(b"x").await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 50));
    assert_eq!(stream.write(b"x").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    net.sink.take();
    drop(stream);
    assert!(net.story()[0].ends_with("received 0 sent 1 by loopback: failed timed out"));
}

#[tokio::test(start_paused = true)]
async fn a_silence_under_nobody_is_none() {
    let (_net, mut stream, _accepted) = silence().await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 30, "from when someone waits");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_counts_for_the_next() {
    let (_net, mut stream, _accepted) = silence().await;
    let start = Instant::now();
    tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 30, "from when someone first waited");
}

#[tokio::test(start_paused = true)]
async fn nothing_stays_open_for_ever() {
    let server = echo_server().await;
    let limits = Limits::new().total_timeout(Duration::from_secs(10)).idle_timeout(Duration::MAX);
    let net = Net::new([loopback(), Grant::net_limits(limits)]);
    let rest = AtRest::begin();
    let mut stream = net.principal().tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    let error = loop {
        if let Err(error) = stream.write_all(b"x").await {
            break error;
        }
        stream.read_u8().await.unwrap();
        tokio::time::advance(Duration::from_secs(3)).await;
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "after twelve seconds nothing goes, not even once");
    net.sink.take();
    drop(stream);
    assert!(net.story()[0].ends_with("received 4 sent 4 by loopback: failed timed out"));
    let mut stream = net.principal().tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    drop(rest);
    let start = Instant::now();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 10, "also under someone who waits");
}

#[tokio::test(start_paused = true)]
async fn one_half_that_times_out_ends_the_other() {
    let (server, _accepted) = silent_server().await;
    let limits = Limits::new().idle_timeout(Duration::from_secs(5));
    let net = Net::new([loopback(), Grant::net_limits(limits)]);
    let rest = AtRest::begin();
    let stream = net.principal().tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    drop(rest);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = tokio::spawn(async move { reader.read(&mut [0]).await });
    let writing = tokio::spawn(async move {
        let block = vec![0; 1 << 20];
        loop {
            if let Err(error) = writer.write_all(&block).await {
                break error;
            }
        }
    });
    assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(writing.await.unwrap().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_half_that_waited_once_does_not_take_the_timer_with_it() {
    let (server, accepted) = silent_server().await;
    let limits = Limits::new().idle_timeout(Duration::from_secs(5));
    let net = Net::new([loopback(), Grant::net_limits(limits)]);
    let rest = AtRest::begin();
    let stream = net.principal().tcp_connector().connect("127.0.0.1", server.port()).await.unwrap();
    drop(rest);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let start = Instant::now();
    let reading = tokio::spawn(async move { reader.read(&mut [0]).await });
    settle().await;
    // It waits for room in the buffers, and is given up: whoever reads still hears of the silence.
    let writing = tokio::spawn(async move {
        let block = vec![0; 1 << 20];
        let waits = async { while writer.write_all(&block).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(1), waits).await.unwrap_err();
        std::future::pending::<()>().await;
    });
    let read =
        tokio::time::timeout(Duration::from_secs(60), reading).await.expect("the silence ends").unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 5);
    writing.abort();
    accepted.abort();
}

async fn timed_transfer(limits: Limits, bytes: usize, send: bool) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let net = Net::new([loopback(), Grant::net_limits(limits)]);
    let rest = AtRest::begin();
    let mut stream = net.principal().tcp_connector().connect("127.0.0.1", port).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    drop(rest);
    let start = Instant::now();
    if send {
        let peer = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        stream.write_all(&vec![7; bytes]).await.unwrap();
        drop(stream);
        assert_eq!(peer.await.unwrap(), bytes);
    } else {
        let peer = tokio::spawn(async move { peer.write_all(&vec![7; bytes]).await });
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert!(all.len() == bytes && all.iter().all(|byte| *byte == 7));
        peer.await.unwrap().unwrap();
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn bytes_go_at_their_rate() {
    let rate = NonZeroU64::new(10_000);
    for send in [false, true] {
        let limited =
            if send { Limits::new().sent_per_second(rate) } else { Limits::new().received_per_second(rate) };
        let took = timed_transfer(limited, 50_000, send).await;
        assert!(
            (4.0..4.2).contains(&took.as_secs_f64()),
            "a second's worth at once, four seconds' later: {took:?}"
        );
        let other =
            if send { Limits::new().received_per_second(rate) } else { Limits::new().sent_per_second(rate) };
        assert!(
            timed_transfer(other, 50_000, send).await < Duration::from_millis(100),
            "the other direction"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn connections_share_the_rate_of_their_principal() {
    let (server, _accepted) = silent_server().await;
    let limits = Limits::new().sent_per_second(NonZeroU64::new(1_000));
    let net = Net::new([loopback(), Grant::net_limits(limits)]);
    let connector = net.principal().tcp_connector();
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let rest = AtRest::begin();
        let mut stream = connector.connect("127.0.0.1", server.port()).await.unwrap();
        drop(rest);
        tasks.push(tokio::spawn(async move { stream.write_all(&[7; 1_000]).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let took = start.elapsed().as_secs_f64();
    assert!((2.0..2.2).contains(&took), "{took}");
}

#[tokio::test]
async fn options_of_a_connection() {
    let server = echo_server().await;
    let net = Net::new([loopback()]);
    let keep_alive = KeepAlive { idle: Duration::from_secs(30), interval: Duration::from_secs(5), probes: 3 };
    let connector = net.principal().tcp_connector().nodelay(true).keep_alive(Some(keep_alive));
    let stream = connector.connect("127.0.0.1", server.port()).await.unwrap();
    stream.set_keep_alive(None).unwrap();
    stream.set_nodelay(false).unwrap();
    let never = KeepAlive { idle: Duration::ZERO, ..keep_alive };
    assert_fails(stream.set_keep_alive(Some(never)), ErrorKind::Invalid, "no time at all");
}

#[tokio::test]
async fn a_connector_of_a_revoked_principal() {
    let net = Net::new([loopback()]);
    let principal = net.principal();
    let connector = principal.tcp_connector();
    net.os.revoke(&principal);
    assert_denied(connector.connect("127.0.0.1", 80).await, "revoked", "an address");
    assert_denied(connector.connect("a.test", 80).await, "revoked", "a host");
}
