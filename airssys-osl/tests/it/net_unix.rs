//! UNIX sockets beneath a directory, and in the abstract namespace.

use std::{
    fs,
    os::unix::{
        fs::symlink,
        net::{UnixDatagram, UnixListener},
    },
    time::Duration,
};

use airssys_osl::{
    ErrorKind,
    fs::Dir,
    policy::{Direction, FsTerms, Grant, HardLinks, Policy, Rights},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Fixture, assert_denied, assert_fails, step_by_step};

const BOTH: [Direction; 2] = [Direction::Connect, Direction::Listen];

fn policy(fixture: &Fixture, rights: Rights, directions: &[Direction]) -> Policy {
    let root = fixture.inside("");
    let sockets = directions.iter().map(|direction| Grant::unix(*direction, root.clone()).rule("unix"));
    let grants = std::iter::once(Grant::fs(root.clone(), rights).rule("r")).chain(sockets);
    Policy::builder().principal("p", grants).build().unwrap()
}

fn policy_with(fixture: &Fixture, terms: FsTerms) -> Policy {
    let root = fixture.inside("");
    let sockets = BOTH.map(|direction| Grant::unix(direction, root.clone()));
    let grants = std::iter::once(Grant::fs_with(root.clone(), Rights::all(), terms)).chain(sockets);
    Policy::builder().principal("p", grants).build().unwrap()
}

async fn dir(fixture: &Fixture, rights: Rights, directions: &[Direction]) -> Dir {
    fixture.os.reload(policy(fixture, rights, directions));
    fixture.dir().await
}

#[tokio::test]
async fn a_stream_beneath_a_directory() {
    let fixture = Fixture::new(Rights::all());
    let dir = dir(&fixture, Rights::all(), &BOTH).await;
    let listener = dir.listen_unix("a/socket").await.unwrap();
    let mut client = dir.connect_unix("a/../a/socket").await.unwrap();
    let mut server = listener.accept().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!((heard.as_str(), client.bytes()), ("hello", (0, 5)));
    drop((client, server, listener));
    let root = fixture.inside("");
    let root = root.to_str().unwrap();
    let peer = format!("uid {} pid {}", rustix::process::getuid().as_raw(), std::process::id());
    let story: Vec<_> = fixture.sink.take().iter().map(crate::net_fixture::line).collect();
    assert_eq!(
        story,
        [
            format!("net.listen unix:{root}a/socket by unix: intent"),
            format!("net.listen unix:{root}a/socket by unix: done"),
            format!("net.connect unix:{root}a/../a/socket by unix: intent"),
            format!("net.connect unix:{root}a/../a/socket by unix: done"),
            format!("net.accept unix:{root}a/socket|{peer} by unix: done"),
            format!("net.close unix:{root}a/../a/socket|received 0 sent 5 by unix: done"),
            format!("net.close unix:{root}a/socket|{peer} received 5 sent 0 by unix: done"),
            format!("net.close unix:{root}a/socket|received 0 sent 0 by unix: done"),
        ]
    );
    assert!(fixture.inside("a/socket").exists());
    dir.remove_file("a/socket").await.unwrap();
}

#[tokio::test]
async fn datagrams_beneath_a_directory() {
    let fixture = Fixture::new(Rights::all());
    let dir = dir(&fixture, Rights::all(), &BOTH).await;
    let receiver = dir.bind_unix_datagram("log").await.unwrap();
    let sender = dir.connect_unix_datagram("log").await.unwrap();
    sender.send(b"one").await.unwrap();
    sender.send(b"").await.unwrap();
    let mut buffer = [0; 8];
    assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 3);
    assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 0, "an empty one is no end");
    assert_fails(sender.recv(&mut buffer).await, ErrorKind::Invalid, "nobody sends to what has no name");
    assert_fails(dir.connect_unix("log").await, ErrorKind::Io, "a stream to a datagram socket");
    let waiting = tokio::spawn(async move { receiver.recv(&mut [0; 8]).await });
    tokio::task::yield_now().await;
    fixture.os.reload(policy(&fixture, Rights::all(), &[Direction::Connect]));
    assert_denied(waiting.await.unwrap(), "default-deny", "cut under whoever waits");
    sender.send(b"x").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_read_holds_nobody_up_for_ever() {
    let fixture = Fixture::new(Rights::all());
    let root = fixture.inside("");
    let limits = airssys_osl::net::Limits::new().idle_timeout(Duration::from_secs(9));
    let grants =
        [Grant::fs(&root, Rights::all()), Grant::unix(Direction::Connect, &root), Grant::net_limits(limits)];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let _receiver = UnixDatagram::bind(fixture.inside("full")).unwrap();
    let sender = fixture.dir().await.connect_unix_datagram("full").await.unwrap();
    let start = tokio::time::Instant::now();
    let error = loop {
        if let Err(error) = sender.send(b"x").await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(start.elapsed().as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn datagrams_beneath_a_directory_go_at_their_rate() {
    let fixture = Fixture::new(Rights::all());
    let root = fixture.inside("");
    let took = async |limits| {
        let sockets = BOTH.map(|direction| Grant::unix(direction, &root));
        let grants = [Grant::fs(&root, Rights::all()), Grant::net_limits(limits)].into_iter().chain(sockets);
        fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
        let dir = fixture.dir().await;
        let receiver = dir.bind_unix_datagram("rate").await.unwrap();
        let sender = dir.connect_unix_datagram("rate").await.unwrap();
        let start = tokio::time::Instant::now();
        for _ in 0..4 {
            sender.send(&[7; 1_000]).await.unwrap();
            assert_eq!(receiver.recv(&mut [0; 2_000]).await.unwrap(), 1_000);
        }
        dir.remove_file("rate").await.unwrap();
        start.elapsed().as_secs_f64()
    };
    let (rate, limits) = (std::num::NonZeroU64::new(1_000), airssys_osl::net::Limits::new);
    // A second's worth goes at once. What came is paid for before the next comes.
    let sent = took(limits().sent_per_second(rate)).await;
    assert!((3.0..3.2).contains(&sent), "{sent}");
    let received = took(limits().received_per_second(rate)).await;
    assert!((2.0..2.2).contains(&received), "{received}");
}

#[tokio::test]
async fn both_grants_are_needed() {
    let fixture = Fixture::new(Rights::all());
    let outside = UnixListener::bind(fixture.inside("there")).unwrap();
    for (rights, directions, connects, listens) in [
        (Rights::all(), &BOTH[..], None, None),
        (Rights::all(), &[][..], Some("default-deny"), Some("default-deny")),
        (Rights::all(), &BOTH[..1], None, Some("default-deny")),
        (Rights::all(), &BOTH[1..], Some("default-deny"), None),
        (Rights::READ, &BOTH[..], Some("r: lacks write"), Some("r: lacks create")),
        (Rights::WRITE, &BOTH[..], None, Some("r: lacks create")),
    ] {
        let dir = dir(&fixture, rights, directions).await;
        let what = format!("{rights} {directions:?}");
        let check = |result: Result<(), airssys_osl::Error>, expected: Option<&str>| match expected {
            None => result.unwrap_or_else(|error| panic!("{what}: {error}")),
            Some(rule) => assert_denied(result, rule, &what),
        };
        check(dir.connect_unix("there").await.map(drop), connects);
        check(dir.listen_unix("new").await.map(drop), listens);
        assert_eq!(fixture.inside("new").exists(), listens.is_none(), "{what}");
        let _ = fs::remove_file(fixture.inside("new"));
    }
    let narrow = dir(&fixture, Rights::all(), &BOTH).await.narrow(Rights::READ);
    assert_denied(narrow.connect_unix("there").await, "narrowed-handle", "a narrowed handle");
    assert_denied(narrow.listen_unix("new").await, "narrowed-handle", "a narrowed handle");
    drop(outside);
}

#[tokio::test]
async fn sockets_are_held_to_the_terms_of_their_directory() {
    let fixture = Fixture::new(Rights::all());
    let _carved = UnixDatagram::bind(fixture.inside("carved")).unwrap();
    symlink("carved", fixture.inside("link")).unwrap();
    let terms = || FsTerms::new().deny("carved").deny("vacant");
    fixture.os.reload(policy_with(&fixture, terms()));
    let dir = fixture.dir().await;
    for path in ["carved", "a/../carved", "link"] {
        assert_denied(dir.connect_unix(path).await, "carve-out", path);
        assert_denied(dir.connect_unix_datagram(path).await, "carve-out", path);
    }
    for path in ["carved", "vacant"] {
        assert_denied(dir.listen_unix(path).await, "carve-out", path);
        assert_denied(dir.bind_unix_datagram(path).await, "carve-out", path);
    }
    let bound = dir.bind_unix_datagram("bound").await.unwrap();
    fixture.os.reload(policy_with(&fixture, terms().deny("bound")));
    assert_denied(bound.recv(&mut [0]).await, "changed-terms", "an open socket");
    assert_denied(dir.connect_unix_datagram("bound").await, "changed-terms", "a handle of before");
}

#[tokio::test]
async fn a_socket_takes_a_name_of_the_quota() {
    let fixture = Fixture::new(Rights::all());
    // `a` and `a/b` are there.
    fixture.os.reload(policy_with(&fixture, FsTerms::new().quota_files(3)));
    let dir = fixture.dir().await;
    dir.listen_unix("one").await.unwrap();
    assert_fails(dir.listen_unix("two").await, ErrorKind::LimitExceeded, "one more");
    assert_fails(dir.bind_unix_datagram("two").await, ErrorKind::LimitExceeded, "one more");
    assert!(!fixture.inside("two").exists());
    dir.remove_file("one").await.unwrap();
    assert_fails(dir.listen_unix("x/absent").await, ErrorKind::NotFound, "what was not made counts nothing");
    dir.bind_unix_datagram("two").await.unwrap();
}

#[tokio::test]
async fn a_socket_with_a_name_outside() {
    let fixture = Fixture::new(Rights::all());
    let _outside = UnixListener::bind(fixture.outside("socket")).unwrap();
    fs::hard_link(fixture.outside("socket"), fixture.inside("twin")).unwrap();
    for (hard_links, refused) in
        [(HardLinks::ReadOnly, true), (HardLinks::Refused, true), (HardLinks::Shared, false)]
    {
        fixture.os.reload(policy_with(&fixture, FsTerms::new().hard_links(hard_links)));
        let connected = fixture.dir().await.connect_unix("twin").await;
        match refused {
            true => assert_denied(connected, "hard-linked", "a socket of two names"),
            false => drop(connected.unwrap()),
        }
    }
}

#[test]
fn terms_step_by_step() {
    step_by_step(&[
        sockets_are_held_to_the_terms_of_their_directory,
        a_socket_takes_a_name_of_the_quota,
        a_socket_with_a_name_outside,
        paths_that_leave,
    ]);
}

#[test]
fn a_deadline_of_the_directory_holds_for_opening_a_socket() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).max_blocking_threads(1);
    runtime.build().unwrap().block_on(async {
        let fixture = Fixture::new(Rights::all());
        let dir = dir(&fixture, Rights::all(), &BOTH).await.with_deadline(Duration::from_secs(5));
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        let mut listening = std::pin::pin!(dir.listen_unix("late"));
        tokio::select! {
            biased;
            _ = &mut listening => panic!("nothing can be done yet"),
            () = tokio::time::advance(Duration::from_secs(4)) => {}
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_fails(listening.await, ErrorKind::TimedOut, "no thread is free");
        drop(release);
        let _ = busy.await;
        assert!(!fixture.inside("late").exists());
    });
}

#[tokio::test]
async fn paths_that_leave() {
    let fixture = Fixture::new(Rights::all());
    let dir = dir(&fixture, Rights::all(), &BOTH).await;
    let _secret = UnixListener::bind(fixture.outside("socket")).unwrap();
    symlink(fixture.outside("socket"), fixture.inside("link")).unwrap();
    symlink(fixture.outside(""), fixture.inside("dir")).unwrap();
    symlink(fixture.outside("planted"), fixture.inside("dangling")).unwrap();
    for path in ["../outside/socket", "link", "dir/socket", "/etc/passwd", "a/../../outside/socket"] {
        assert_denied(dir.connect_unix(path).await, "beneath-root", path);
        assert_denied(dir.connect_unix_datagram(path).await, "beneath-root", path);
    }
    for path in ["../outside/new", "dir/new", "/tmp/new"] {
        assert_denied(dir.listen_unix(path).await, "beneath-root", path);
        assert_denied(dir.bind_unix_datagram(path).await, "beneath-root", path);
    }
    assert_fails(dir.listen_unix("dangling").await, ErrorKind::Io, "a name that is taken, by a link");
    assert!(!fixture.outside("planted").exists() && !fixture.outside("new").exists());
    assert_fails(dir.connect_unix("a/b").await, ErrorKind::Io, "a file is no socket");
    assert_fails(dir.connect_unix("absent").await, ErrorKind::NotFound, "absent");
    assert_fails(dir.connect_unix("a\0b").await, ErrorKind::Invalid, "NUL");
    assert_fails(dir.connect_unix("\0abstract").await, ErrorKind::Invalid, "the abstract namespace");
    assert_fails(dir.listen_unix("new/").await, ErrorKind::Invalid, "a slash");
    assert_fails(dir.listen_unix("x".repeat(200)).await, ErrorKind::Invalid, "longer than an address");
}

/// Ends the attacker, also where the test fails.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_socket_outside_is_not_reached_by_renaming() {
    let fixture = Fixture::new(Rights::all());
    let outside = UnixDatagram::bind(fixture.outside("socket")).unwrap();
    outside.set_nonblocking(true).unwrap();
    let inside = UnixDatagram::bind(fixture.inside("real")).unwrap();
    inside.set_nonblocking(true).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut arrived = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = fs::remove_file(fixture.inside("swap"));
                let _ = symlink("real", fixture.inside("swap"));
                let _ = fs::remove_file(fixture.inside("swap"));
                let _ = symlink(fixture.outside("socket"), fixture.inside("swap"));
            }
        });
        let _stop = Stop(&stop);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = dir(&fixture, Rights::all(), &BOTH).await;
            for _ in 0..500 {
                if let Ok(socket) = dir.connect_unix_datagram("swap").await {
                    let _ = socket.send(b"x").await;
                    arrived += usize::from(inside.recv(&mut [0; 8]).is_ok());
                }
            }
        });
    });
    println!("{arrived} of 500 arrived inside");
    assert_eq!(outside.recv(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_abstract_namespace() {
    let fixture = Fixture::new(Rights::all());
    let name = format!("airssys-test-{}", std::process::id());
    let grant = |direction, name: &str| Grant::abstract_unix(direction, name.as_bytes()).rule("abstract");
    let grants = BOTH.map(|direction| grant(direction, &name));
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let listener = principal.listen_abstract(name.as_bytes()).await.unwrap();
    let mut client = principal.connect_abstract(name.as_bytes()).await.unwrap();
    let mut server = listener.accept().await.unwrap();
    client.write_all(b"x").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    let other = format!("{name}2");
    assert_denied(principal.listen_abstract(other.as_bytes()).await, "default-deny", "another name");
    assert_denied(principal.connect_abstract(b"").await, "default-deny", "no name");
    assert_denied(principal.connect_abstract(&[b'x'; 10_000]).await, "default-deny", "a long name");
    assert_denied(principal.connect_abstract(b"/tmp/.X11-unix/X0").await, "default-deny", "a display");
    fixture.os.revoke(&principal);
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
}
