//! Policies that change, end, count, watch and learn, seen from the handles that live under them.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use airssys_osl::{
    Action, Error, Os, Principal, Verdict,
    clock::Timestamp,
    fs::{Dir, Flush, OpenOptions},
    policy::{Direction, Grant, Mode, Policy, PolicyBuilder, Ports, Rights, learn::learn},
    testing::MemorySink,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    fixture::{Fixture, assert_denied},
    net_fixture::{Net, TCP, UDP, echo_server, loopback},
};

const READ: OpenOptions = OpenOptions::new().read(true);
const LONG_AGO: Timestamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 0 };
const FAR: Timestamp = Timestamp { seconds: 9_000_000_000, nanoseconds: 0 };
const DAY: Duration = Duration::from_secs(86_400);

/// All grants on the fixture's directory but one, by its number.
fn policy(fixture: &Fixture, rights: Rights) -> PolicyBuilder {
    Policy::builder().principal("p", [Grant::fs(fixture.inside(""), rights).rule("r")])
}

#[tokio::test]
async fn directories_and_files_lose_what_was_forbidden_and_keep_the_rest() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let inner = dir.open_dir("a").await.unwrap();
    let file = dir.open("a/b", &READ.write(true)).await.unwrap();
    let mut watch = dir.watch(Duration::ZERO).await.unwrap();
    let mut entries = dir.entries().await.unwrap();

    let root = fixture.inside("");
    let no_writing =
        policy(&fixture, Rights::all()).forbid("p", [Grant::fs(&root, Rights::WRITE).rule("no")]);
    fixture.os.reload(no_writing.build().unwrap());
    assert_denied(file.write_at(b"x", 0).await, "no", "a file");
    assert_denied(dir.replace("a/b", b"x", Flush::Later).await, "no", "a directory");
    assert_denied(inner.open("b", &OpenOptions::new().write(true)).await, "no", "a directory within");
    assert_eq!(file.read_at(&mut [0; 4], 0).await.unwrap(), 4);
    assert_eq!(inner.list(9).await.unwrap().len(), 1);
    entries.next().await.unwrap().unwrap();
    dir.create_dir("new").await.unwrap();
    watch.next().await.unwrap().unwrap();

    let no_listing = policy(&fixture, Rights::all()).forbid("p", [Grant::fs("/", Rights::LIST).rule("no")]);
    fixture.os.reload(no_listing.build().unwrap());
    file.write_at(b"x", 0).await.unwrap();
    assert_denied(inner.list(9).await, "no", "a directory within");
    assert_denied(watch.next().await.unwrap(), "no", "watching");
    assert_denied(dir.walk(9).await.map(drop), "no", "a walk");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn sockets_lose_what_was_forbidden_and_keep_the_rest() {
    let granted = || {
        vec![
            loopback(),
            Grant::listen(TCP, "127.0.0.1", Ports::PICKED),
            Grant::listen(UDP, "127.0.0.1", Ports::PICKED),
            Grant::connect(UDP, "127.0.0.1", Ports::ALL),
        ]
    };
    let (one, other) = (echo_server().await, echo_server().await);
    let net = Net::new(granted());
    let principal = net.principal();
    let connector = principal.tcp_connector();
    let mut cut = connector.connect("127.0.0.1", one.port()).await.unwrap();
    let mut kept = connector.connect("127.0.0.1", other.port()).await.unwrap();
    let listener = principal.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let bound = principal.udp_bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut second = [0; 1];

    let waiting = tokio::spawn(async move { cut.read(&mut [0; 1]).await });
    tokio::task::yield_now().await;
    let forbid = |builder: PolicyBuilder, grants: Vec<Grant>| builder.forbid("p", grants).build().unwrap();
    let builder = || Policy::builder().principal("p", granted());
    net.os.reload(forbid(builder(), vec![Grant::connect(TCP, "*", one.port()).rule("port")]));
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "the one who waits is told");
    kept.write_all(b"x").await.unwrap();
    kept.read_exact(&mut second).await.unwrap();
    assert_denied(connector.connect("127.0.0.1", one.port()).await.map(drop), "port", "anew");
    connector.connect("127.0.0.1", listener.local_addr().port()).await.unwrap();
    listener.accept().await.unwrap();

    net.os.reload(forbid(builder(), vec![Grant::listen(TCP, "127.0.0.0/8", 0..=65535).rule("deaf")]));
    assert_denied(listener.accept().await.map(drop), "deaf", "a listener");
    bound.send_to(b"x", bound.local_addr()).await.unwrap();
    kept.write_all(b"x").await.unwrap();
    net.os.reload(forbid(builder(), vec![Grant::connect(UDP, "127.0.0.1", Ports::ALL).rule("mute")]));
    assert_denied(bound.send_to(b"x", bound.local_addr()).await, "mute", "datagrams");
    bound.recv_from(&mut [0; 4]).await.unwrap();
    kept.write_all(b"x").await.unwrap();
}

#[tokio::test]
async fn unix_sockets_and_leases_lose_what_was_forbidden() {
    let fixture = Fixture::new(Rights::all());
    let root = fixture.inside("");
    let granted = || {
        let unix = [Direction::Connect, Direction::Listen].map(|direction| Grant::unix(direction, &root));
        let fs = Grant::fs(&root, Rights::all());
        Policy::builder().principal("p", unix.into_iter().chain([fs, Grant::clock(), Grant::random()]))
    };
    fixture.os.reload(granted().build().unwrap());
    let dir = fixture.dir().await;
    let principal = fixture.principal();
    let (clock, random) = (principal.clock().unwrap(), principal.random().unwrap());
    let listener = dir.listen_unix("s").await.unwrap();
    let mut stream = dir.connect_unix("s").await.unwrap();
    fixture.os.reload(
        granted().forbid("p", [Grant::unix(Direction::Connect, &root), Grant::clock()]).build().unwrap(),
    );
    assert_eq!(stream.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    listener.accept().await.unwrap();
    assert_denied(clock.monotonic_now(), "p.forbid.clock[1]", "a clock");
    random.fill(&mut [0; 4]).unwrap();
}

#[tokio::test]
async fn grants_end() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let file = dir.open("a/b", &READ).await.unwrap();
    let root = fixture.inside("");
    let until = |end| {
        let grants =
            [Grant::fs(&root, Rights::all()).rule("r").until(end), Grant::clock().rule("c").until(end)];
        Policy::builder().principal("p", grants).build().unwrap()
    };
    fixture.os.reload(until(FAR));
    let principal = fixture.principal();
    let clock = principal.clock().unwrap();
    assert_eq!(file.read_at(&mut [0; 4], 0).await.unwrap(), 4);
    clock.wall_now().unwrap();
    fixture.os.reload(until(LONG_AGO));
    assert_denied(file.read_at(&mut [0; 4], 0).await, "r: expired", "a file");
    assert_denied(dir.list(9).await, "r: expired", "a directory");
    assert_denied(principal.dir(&root).await, "r: expired", "the root");
    assert_denied(clock.wall_now(), "c: expired", "a lease");
}

#[tokio::test]
async fn uses_are_counted_and_not_the_looks() {
    let fixture = Fixture::new(Rights::all());
    let root = fixture.inside("");
    let limited = || {
        let grants = [
            // Opening the root is one use, each operation another.
            Grant::fs(&root, Rights::all()).rule("r").at_most(3, DAY),
            Grant::send("q").rule("s").at_most(2, DAY),
            Grant::random().rule("d").at_most(1, DAY),
        ];
        Policy::builder().principal("p", grants).build().unwrap()
    };
    fixture.os.reload(limited());
    let dir = fixture.dir().await;
    dir.read("a/b", 10).await.unwrap();
    dir.list(9).await.unwrap();
    assert_denied(dir.list(9).await, "r: over its rate", "the fourth");
    let principal = fixture.principal();
    principal.may_send("q").unwrap();
    fixture.os.reload(limited());
    principal.may_send("q").unwrap();
    assert_denied(principal.may_send("q"), "s: over its rate", "a new policy is no new bucket");
    let random = principal.random().unwrap();
    random.fill(&mut [0; 4]).unwrap();
    random.fill(&mut [0; 4]).unwrap();
    assert_denied(principal.random(), "d: over its rate", "a second handle");
}

#[tokio::test]
async fn connections_are_counted_once_each() {
    let server = echo_server().await;
    let net = Net::new([loopback().at_most(2, DAY)]);
    let connector = net.principal().tcp_connector();
    let mut first = connector.connect("127.0.0.1", server.port()).await.unwrap();
    let _second = connector.connect("127.0.0.1", server.port()).await.unwrap();
    assert_denied(
        connector.connect("127.0.0.1", server.port()).await.map(drop),
        "loopback: over its rate",
        "third",
    );
    first.write_all(b"x").await.unwrap();
    first.read_exact(&mut [0; 1]).await.unwrap();
}

#[tokio::test]
async fn audit_only_does_what_it_would_deny() {
    let fixture = Fixture::new(Rights::all());
    let watch = || policy(&fixture, Rights::READ).mode(Mode::AuditOnly).build().unwrap();
    fixture.os.reload(watch());
    let dir = fixture.dir().await;
    dir.replace("a/b", b"new", Flush::Later).await.unwrap();
    let record = fixture.sink.take().pop().unwrap();
    assert_eq!((record.verdict, &*record.rule), (Verdict::WouldDeny, "r: lacks write+create"));
    assert_eq!(fs::read(fixture.inside("a/b")).unwrap(), b"new");
    dir.read("a/b", 10).await.unwrap();
    assert_eq!(fixture.sink.take().pop().unwrap().verdict, Verdict::Allow);

    // What is always forbidden stays so, by the kernel, by the object, by the handle.
    assert_denied(dir.read("../outside/secret", 10).await, "beneath-root", "outside");
    assert_denied(fixture.principal().dir("/proc").await, "kernel-filesystem", "procfs");
    assert_denied(dir.narrow(Rights::LIST).read("a/b", 10).await, "narrowed-handle", "narrowed");
    let connector = fixture.principal().tcp_connector();
    assert_denied(
        connector.connect("169.254.169.254", 80).await.map(drop),
        "non-global: metadata",
        "metadata",
    );

    let outside = fixture.principal().dir(fixture.outside("")).await.unwrap();
    assert_eq!(outside.read("secret", 10).await.unwrap(), b"outside", "a directory that nothing grants");
    fixture.os.reload(policy(&fixture, Rights::READ).build().unwrap());
    assert_denied(outside.read("secret", 10).await, "default-deny", "from now on it is enforced");
    assert_denied(dir.replace("a/b", b"x", Flush::Later).await, "r: lacks write+create", "and here");
}

/// What a program does that learns, and then does it again.
async fn job(principal: &Principal, fixture: &Fixture, server: u16) -> Result<(), Error> {
    let dir: Dir = principal.dir(fixture.inside("")).await?;
    let outside = principal.dir(fixture.outside("")).await?;
    dir.read("a/b", 100).await?;
    dir.create_dir_all("made/here").await?;
    let file = dir.open("made/file", &OpenOptions::new().write(true).create(true)).await?;
    file.write_at(b"x", 0).await?;
    dir.metadata("a/b", true).await?;
    outside.metadata("secret", true).await?;
    dir.copy("a/b", &dir, "made/copy").await?;
    dir.rename("made/copy", &dir, "made/moved").await?;
    principal.may_send("printer")?;
    principal.clock()?;
    let mut stream = principal.tcp_connector().connect("127.0.0.1", server).await?;
    stream.write_all(b"x").await.map_err(Error::unrecorded)?;
    let listener = principal
        .listen("127.0.0.1:0".parse().map_err(|error: std::net::AddrParseError| Error::unrecorded(error))?)?;
    principal.tcp_connector().connect("127.0.0.1", server).await?;
    drop(listener);
    assert!(principal.env()?.iter().any(|(name, _)| name == "CARGO_PKG_NAME"));
    Ok(())
}

#[tokio::test]
async fn what_was_learned_lets_exactly_that_run_pass() {
    let fixture = Fixture::new(Rights::all());
    let server = echo_server().await.port();
    let sink = MemorySink::new();
    let nothing = Policy::builder().principal("component.job", []).mode(Mode::Learn).build().unwrap();
    let os = Os::new(nothing, sink.clone());
    job(&os.principal("component.job").unwrap(), &fixture, server).await.unwrap();
    let learned = learn(&sink.take());
    fs::remove_dir_all(fixture.inside("made")).unwrap();

    let os = Os::new(learned.builder().build().unwrap(), sink.clone());
    let principal = os.principal("component.job").unwrap();
    job(&principal, &fixture, server).await.unwrap();
    assert!(
        sink.take().iter().all(|record| record.verdict == Verdict::Allow),
        "and nothing was denied on the way"
    );

    let dir = principal.dir(fixture.inside("")).await.unwrap();
    let outside = principal.dir(fixture.outside("")).await.unwrap();
    let all = "component.job.fs[0]: lacks";
    assert_denied(dir.list(9).await, &format!("{all} list"), "listing");
    assert_denied(dir.remove_file("a/b").await, &format!("{all} delete"), "removing");
    let rule = "component.job.fs[1]: lacks read";
    assert_denied(outside.read("secret", 9).await, rule, "only its metadata was read");
    assert_denied(principal.dir("/usr").await, "default-deny", "another directory");
    assert_denied(principal.may_send("boss"), "default-deny", "another actor");
    assert_denied(principal.random(), "default-deny", "random bytes");
    let connector = principal.tcp_connector();
    let port = if server == 1 { 2 } else { server - 1 };
    assert_denied(connector.connect("127.0.0.1", port).await.map(drop), "default-deny", "another port");
    let listen = principal.listen("127.0.0.2:0".parse().unwrap());
    assert_denied(listen.map(drop), "default-deny", "another address");

    let toml = learned.toml();
    let root = fixture.inside("").display().to_string();
    assert!(toml.starts_with("[component.job.grants]\nfs = [{ path = "), "{toml}");
    assert!(toml.contains(&format!("{root:?}, rights = [\"read\", \"write\", \"create\"] }}")), "{toml}");
    let network = format!("connect = [\"tcp://127.0.0.1:{server}\"]\nlisten = [\"tcp://127.0.0.1:0\"]\n");
    assert!(
        toml.contains(&format!("rights = [\"list\"] }}]\n{network}send = [\"printer\"]\nenv = [")),
        "{toml}"
    );
    assert!(toml.ends_with("clock = true\nrandom = false\n"), "{toml}");
    let named =
        learned.toml_with(|name, path| (name == "component.job").then(|| format!("/g{}", path.display())));
    assert!(
        named.contains(&format!("path = {root:?}, guest = \"/g{}", root.trim_end_matches('"'))),
        "{named}"
    );
}

#[tokio::test]
async fn a_move_between_directories_is_learned_with_all_that_it_takes() {
    let fixture = Fixture::new(Rights::all());
    let sink = MemorySink::new();
    let run = async |policy: Policy| {
        fs::create_dir_all(fixture.inside("a")).unwrap();
        fs::write(fixture.inside("a/b"), "inside").unwrap();
        let _ = fs::remove_file(fixture.outside("b"));
        let os = Os::new(policy, sink.clone());
        let principal = os.principal("p").unwrap();
        let (dir, outside) =
            (principal.dir(fixture.inside("")).await?, principal.dir(fixture.outside("")).await?);
        dir.rename("a/b", &outside, "b").await?;
        outside.read("b", 10).await
    };
    run(Policy::builder().principal("p", []).mode(Mode::Learn).build().unwrap()).await.unwrap();
    run(learn(&sink.take()).builder().build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_explanation_says_what_would_permit_it() {
    let fixture = Fixture::new(Rights::READ);
    let dir = fixture.dir().await;
    dir.remove_file("a/b").await.unwrap_err();
    let record = fixture.sink.take().pop().unwrap();
    let root = fixture.inside("").display().to_string();
    let explanation = fixture.policy(Rights::READ).explain_record(&record);
    assert_eq!(&*explanation.rule, "r: lacks delete");
    let remedy = format!("fs = [{{ path = {root:?}, guest = {root:?}, rights = [\"read\", \"delete\"] }}]\n");
    assert_eq!(explanation.remedy.as_deref(), Some(&*remedy));
    dir.read("../outside/secret", 9).await.unwrap_err();
    let record = fixture.sink.take().pop().unwrap();
    let explanation = fixture.policy(Rights::READ).explain_record(&record);
    assert_eq!(explanation.remedy, None);
    assert!(
        explanation.to_string().ends_with("nothing permits it: it is always forbidden\n"),
        "{explanation}"
    );
    let wrong = record.action;
    assert_eq!(wrong, Action::FsRead);
}

/// The verdict and the rule of the last record.
fn last(fixture: &Fixture) -> (Verdict, String) {
    let record = fixture.sink.take().pop().unwrap();
    (record.verdict, record.rule)
}

#[tokio::test]
async fn what_would_be_denied_is_told_though_another_half_is_permitted() {
    let fixture = Fixture::new(Rights::all());
    let (inside, outside) = (fixture.inside(""), fixture.outside(""));
    let grants = || {
        [
            Grant::fs(&inside, Rights::LIST).rule("in"),
            Grant::fs(&outside, Rights::all()).rule("out"),
            Grant::unix(Direction::Listen, &inside).rule("unix"),
            Grant::env("PATH").rule("path"),
            Grant::env("CARGO_PKG_NAME").rule("name"),
        ]
    };
    let policy = Policy::builder().principal("p", grants()).forbid("p", [Grant::env("PATH").rule("no")]);
    fixture.os.reload(policy.mode(Mode::AuditOnly).build().unwrap());
    let principal = fixture.principal();
    let (dir, there) = (principal.dir(&inside).await.unwrap(), principal.dir(&outside).await.unwrap());
    let denied = |rule: &str| (Verdict::WouldDeny, rule.to_owned());

    dir.copy("a/b", &there, "copy").await.unwrap();
    assert_eq!(last(&fixture), denied("in: lacks read"));
    there.copy("copy", &dir, "copy").await.unwrap();
    assert_eq!(last(&fixture), denied("in: lacks write+create"));
    dir.rename("copy", &there, "moved").await.unwrap();
    assert_eq!(last(&fixture), denied("in: lacks write+create"));
    dir.listen_unix("s").await.unwrap();
    let records = fixture.sink.take();
    assert_eq!((records[0].verdict, &*records[0].rule), (Verdict::WouldDeny, "in: lacks create"));
    principal.env().unwrap();
    assert!(
        fixture.sink.take().iter().any(|record| record.rule == "no" && record.verdict == Verdict::WouldDeny)
    );
    // And nothing is told that would not be denied.
    dir.metadata("a/b", true).await.unwrap();
    assert_eq!(last(&fixture), (Verdict::Allow, "in".to_owned()));
}

#[tokio::test]
async fn whoever_starts_anew_does_not_count_anew() {
    let fixture = Fixture::new(Rights::all());
    let limited = Grant::random().rule("r").at_most(1, DAY);
    fixture.os.reload(Policy::builder().principal("p", [limited]).build().unwrap());
    let first = fixture.principal();
    first.random().unwrap();
    fixture.os.revoke(&first);
    assert_denied(fixture.principal().random(), "r: over its rate", "the next life");
}

#[tokio::test]
async fn what_is_forbidden_is_the_place_and_not_its_spelling() {
    let fixture = Fixture::new(Rights::all());
    let [link, way] = ["link", "way"].map(|name| fixture.outside(name));
    symlink(fixture.inside("a"), &link).unwrap();
    symlink(fixture.inside(""), &way).unwrap();
    let reload = |root: &Path, forbidden: &Path| {
        let policy = Policy::builder().principal("p", [Grant::fs(root, Rights::all())]);
        let forbidden = Grant::fs(forbidden, Rights::all()).rule("no");
        fixture.os.reload(policy.forbid("p", [forbidden]).build().unwrap());
    };
    reload(&link, &fixture.inside(""));
    assert_denied(fixture.principal().dir(&link).await, "no", "granted by a link, forbidden as it is");
    reload(&fixture.inside("a"), &way);
    assert_denied(fixture.principal().dir(fixture.inside("a")).await, "no", "forbidden by a link");
    reload(&way, &fixture.inside("a"));
    let dir = fixture.principal().dir(&way).await.unwrap();
    assert_denied(dir.read("a/b", 9).await, "carve-out", "what lies beneath is taken out");
    reload(&way, &fixture.outside("link"));
    let dir = fixture.principal().dir(&way).await.unwrap();
    assert_denied(dir.read("a/b", 9).await, "carve-out", "and so by two links");
}
