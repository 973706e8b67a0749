//! TLS: who is trusted, who a server proves to be, and what is recorded.

use std::{error::Error as _, fs, net::SocketAddr, time::Duration};

use airssys_osl::{
    ErrorKind, Os, Principal,
    fs::Dir,
    net::{
        Limits,
        tls::{Roots, TlsAcceptor, TlsConnector, TlsStream},
    },
    policy::{Grant, Mode, Policy, Ports, Rights, learn::learn},
    testing::{MemorySink, ScriptedResolver},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    fixture::{assert_denied, assert_fails},
    net_fixture::{TCP, line, loopback, silent_server},
};

/// A folder with `ca.pem`, `other-ca.pem`, and `NAME.pem` with `NAME.key` for servers.
struct World {
    tmp: tempfile::TempDir,
    sink: MemorySink,
    os: Os,
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

impl World {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let write = |name: &str, content: String| fs::write(tmp.path().join(name), content).unwrap();
        let (pem, issuer) = authority("one");
        write("ca.pem", pem);
        write("other-ca.pem", authority("other").0);
        for (file, name, last_year) in
            [("a", "a.test", 4000), ("old", "a.test", 2001), ("ip", "127.0.0.1", 4000)]
        {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
            let key = KeyPair::generate().unwrap();
            write(&format!("{file}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
            write(&format!("{file}.key"), key.serialize_pem());
        }
        let sink = MemorySink::new();
        let resolver =
            ScriptedResolver::new().answer("a.test", &["127.0.0.1"]).answer("b.test", &["127.0.0.1"]);
        let world =
            Self { os: Os::builder(Policy::default(), sink.clone()).resolver(resolver).build(), tmp, sink };
        world.os.reload(world.policy([world.trust()]));
        world
    }

    fn trust(&self) -> Grant {
        Grant::trust(self.tmp.path()).rule("trust")
    }

    fn policy(&self, more: impl IntoIterator<Item = Grant>) -> Policy {
        let grants = [
            loopback(),
            Grant::resolve("*").rule("names"),
            Grant::listen(TCP, "127.0.0.1", Ports::PICKED).rule("listen"),
            Grant::fs(self.tmp.path(), Rights::READ),
        ];
        Policy::builder().principal("p", grants.into_iter().chain(more)).build().unwrap()
    }

    async fn dir(&self, principal: &Principal) -> Dir {
        principal.dir(self.tmp.path()).await.unwrap()
    }

    /// A server that says `hello` to everyone who gets so far, and returns the name that the last one asked for.
    async fn server(&self, principal: &Principal, certificate: &str) -> SocketAddr {
        let listener = principal.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr();
        let dir = self.dir(principal).await;
        let files = (format!("{certificate}.pem"), format!("{certificate}.key"));
        let acceptor = TlsAcceptor::read(&dir, files.0, files.1, &[b"http/1.1"]).await.unwrap();
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(tcp).await {
                    let name = stream.server_name().unwrap_or("nobody").to_owned();
                    let _ = stream.write_all(format!("hello {name}").as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        at
    }

    async fn connector(&self, principal: &Principal, roots: &str) -> TlsConnector {
        let roots = Roots::read(&self.dir(principal).await, roots).await.unwrap();
        TlsConnector::new(principal.tcp_connector(), &roots, &[b"h2", b"http/1.1"]).unwrap()
    }
}

async fn hear(mut stream: TlsStream) -> String {
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    heard
}

#[tokio::test]
async fn a_server_that_proves_who_it_is() {
    let world = World::new();
    let principal = world.os.principal("p").unwrap();
    let at = world.server(&principal, "a").await;
    let connector = world.connector(&principal, "ca.pem").await;
    world.sink.take();
    let stream = connector.connect("A.test", at.port()).await.unwrap();
    assert_eq!(stream.protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(hear(stream).await, "hello a.test", "it was told the host that was decided");
    let story: Vec<_> = world.sink.take().iter().map(line).collect();
    let port = at.port();
    assert!(
        story.contains(&format!("net.tls tls://a.test:{port}|127.0.0.1:{port} by trust: done")),
        "{story:#?}"
    );
    assert!(
        story
            .iter()
            .any(|line| line.starts_with("net.tls tls://127.0.0.1") && line.ends_with("by listen: done")),
        "{story:#?}"
    );
    let at = world.server(&principal, "ip").await;
    assert_eq!(hear(connector.connect("127.0.0.1", at.port()).await.unwrap()).await, "hello nobody");
}

#[tokio::test]
async fn servers_that_do_not() {
    let world = World::new();
    let principal = world.os.principal("p").unwrap();
    let (good, old) = (world.server(&principal, "a").await, world.server(&principal, "old").await);
    let connector = world.connector(&principal, "ca.pem").await;
    let other = world.connector(&principal, "other-ca.pem").await;
    for (connector, host, at, cause) in [
        (&connector, "b.test", good, "not valid for name"),
        (&connector, "127.0.0.1", good, "not valid for name"),
        (&connector, "a.test", old, "expired"),
        (&other, "a.test", good, "UnknownIssuer"),
    ] {
        let error = connector.connect(host, at.port()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(cause), "{host}: {source}");
    }
    let plain = principal.tcp_connector().connect("127.0.0.1", good.port()).await.unwrap();
    drop(plain);
    assert_eq!(hear(connector.connect("a.test", good.port()).await.unwrap()).await, "hello a.test");
}

#[tokio::test]
async fn trust_is_a_grant() {
    let world = World::new();
    let principal = world.os.principal("p").unwrap();
    let at = world.server(&principal, "a").await;
    let connector = world.connector(&principal, "ca.pem").await;
    assert_denied(Roots::web(&principal), "default-deny", "the web");
    world.os.reload(world.policy([Grant::trust_web().rule("web")]));
    let web = Roots::web(&principal).unwrap();
    assert_denied(Roots::read(&world.dir(&principal).await, "ca.pem").await, "default-deny", "a file");
    assert_denied(connector.connect("a.test", at.port()).await, "default-deny", "what was trusted before");
    let roots = TlsConnector::new(principal.tcp_connector(), &web, &[]).unwrap();
    assert_fails(roots.connect("a.test", at.port()).await, ErrorKind::Io, "nobody on the web vouches for it");

    world.os.reload(world.policy([Grant::trust_web().rule("web"), world.trust()]));
    let own = Roots::read(&world.dir(&principal).await, "ca.pem").await.unwrap();
    let both = TlsConnector::new(principal.tcp_connector(), &own.and(web).unwrap(), &[]).unwrap();
    assert_eq!(hear(both.connect("a.test", at.port()).await.unwrap()).await, "hello a.test");
    world.os.reload(world.policy([world.trust()]));
    assert_denied(both.connect("a.test", at.port()).await, "default-deny", "one of both is gone");
}

#[tokio::test]
async fn whom_a_run_trusted_is_learned() {
    let world = World::new();
    let at = world.server(&world.os.principal("p").unwrap(), "a").await;
    let sink = MemorySink::new();
    let resolver = ScriptedResolver::new().answer("a.test", &["127.0.0.1"]);
    // A handshake is bounded by it.
    let patience = || Grant::net_limits(Limits::new().connect_timeout(Duration::from_secs(600)));
    let run = async |grants: Vec<Grant>, mode| {
        let policy = Policy::builder().principal("component.c", grants).mode(mode).build().unwrap();
        let os = Os::builder(policy, sink.clone()).resolver(resolver.clone()).build();
        let principal = os.principal("component.c").unwrap();
        let file = Roots::read(&principal.dir(world.tmp.path()).await?, "ca.pem").await?;
        let roots = file.and(Roots::web(&principal)?)?;
        let connector = TlsConnector::new(principal.tcp_connector(), &roots, &[])?;
        connector.connect("a.test", at.port()).await.map(drop)
    };
    run(vec![patience()], Mode::Learn).await.unwrap();
    let learned = learn(&sink.take());
    let grants = learned.grants("component.c").into_iter().chain([patience()]).collect();
    run(grants, Mode::Enforce).await.unwrap();
    let (toml, file) = (learned.toml(), world.tmp.path().join("ca.pem"));
    assert!(toml.contains(&format!("trust = [\"web\", {file:?}]\n")), "{toml}");
    assert!(!toml.contains('#'), "all of it is a key of the manifest: {toml}");
}

#[tokio::test]
async fn roots_of_another_principal() {
    let world = World::new();
    let (one, other) = (world.os.principal("p").unwrap(), world.os.principal("p").unwrap());
    let roots = Roots::read(&world.dir(&one).await, "ca.pem").await.unwrap();
    let foreign = Roots::read(&world.dir(&other).await, "ca.pem").await.unwrap();
    assert_denied(TlsConnector::new(other.tcp_connector(), &roots, &[]), "foreign-handle", "connector");
    assert_denied(roots.and(foreign), "foreign-handle", "roots");
}

#[tokio::test]
async fn files_that_are_none() {
    let world = World::new();
    let principal = world.os.principal("p").unwrap();
    let dir = world.dir(&principal).await;
    fs::write(world.tmp.path().join("empty.pem"), "").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(world.tmp.path().join("broken.pem"), broken).unwrap();
    for path in ["empty.pem", "a.key", "broken.pem"] {
        assert_fails(Roots::read(&dir, path).await, ErrorKind::Invalid, path);
    }
    assert_fails(Roots::read(&dir, "absent.pem").await, ErrorKind::NotFound, "absent");
    assert_denied(Roots::read(&dir, "../ca.pem").await, "beneath-root", "outside");
    let acceptor = async |chain, key| TlsAcceptor::read(&dir, chain, key, &[]).await;
    assert_fails(acceptor("a.pem", "old.key").await, ErrorKind::Invalid, "another key");
    assert_fails(acceptor("a.pem", "a.pem").await, ErrorKind::Invalid, "no key");
    assert_fails(acceptor("empty.pem", "a.key").await, ErrorKind::Invalid, "no certificate");
}

#[tokio::test]
async fn a_handshake_that_nobody_answers_is_given_up() {
    let world = World::new();
    let limits = Limits::new().connect_timeout(Duration::from_secs(7));
    world.os.reload(world.policy([world.trust(), Grant::net_limits(limits)]));
    let principal = world.os.principal("p").unwrap();
    let connector = world.connector(&principal, "ca.pem").await;
    let (silent, _accepted) = silent_server().await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = connector.connect("a.test", silent.port()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up() {
    let world = World::new();
    let limits = Limits::new().connect_timeout(Duration::from_secs(7));
    world.os.reload(world.policy([world.trust(), Grant::net_limits(limits)]));
    let principal = world.os.principal("p").unwrap();
    let dir = world.dir(&principal).await;
    let acceptor = TlsAcceptor::read(&dir, "a.pem", "a.key", &[]).await.unwrap();
    let listener = principal.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let _silent = tokio::net::TcpStream::connect(listener.local_addr()).await.unwrap();
    let tcp = listener.accept().await.unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = acceptor.accept(tcp).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::TimedOut, 7), "{error}");
}
