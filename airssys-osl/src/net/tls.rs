//! TLS over connections of the door, by rustls.
//!
//! Whom a client trusts is a grant: [`Roots`] are made of what the policy names, be it the root certificates of the web
//! or certificates in files beneath a directory. The name that is verified, and that the server is told, is that of the
//! host which was decided.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    time_provider::TimeProvider,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{Checked, Host, TcpConnector, TcpStream};
use crate::{
    Action, Error, ErrorKind, Principal,
    fs::Dir,
    limits::TLS_FILE_BYTES,
    os::{Done, Fault, Name, Operation, Standing},
    policy::{Decision, Resource, rule},
    sys,
};

/// The certificates that a client trusts, and the grants that permit it to.
///
/// To make them is an operation that is decided and recorded; the grants are looked at again for each connection.
#[derive(Clone)]
pub struct Roots {
    principal: Principal,
    sources: Vec<Source>,
    store: RootCertStore,
}

/// Where trusted certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Web,
    Beneath(PathBuf),
}

impl Roots {
    /// Takes the root certificates of the web, as Mozilla has them and as this program was built with them.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): no grant permits it ([`Grant::trust_web`](crate::policy::Grant::trust_web)).
    pub fn web(principal: &Principal) -> Result<Self, Error> {
        let standing = principal.standing();
        let decision = Source::Web.decide(&standing);
        let operation = principal.operation(Action::NetTrust, b"web");
        operation.begin(decision, standing.epoch)?.finish(Ok(Done::new(())))?;
        let store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self { principal: principal.clone(), sources: vec![Source::Web], store })
    }

    /// Takes the certificates in a file of the PEM format.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): no grant permits to trust what is beneath the directory's root
    ///   ([`Grant::trust`](crate::policy::Grant::trust)), or to read the file.
    /// * [`Invalid`](ErrorKind::Invalid): there is no certificate in it, or a malformed one.
    /// * As [`Dir::read`], of at most [`TLS_FILE_BYTES`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn read(dir: &Dir, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let anchor = dir.anchor();
        let (principal, source) = (anchor.principal, Source::Beneath(anchor.grant.root.to_path_buf()));
        let standing = principal.standing();
        let decision = source.decide(&standing);
        let operation = Operation {
            resource: Name::beneath(anchor.name, path.as_os_str().as_encoded_bytes()),
            ..principal.operation(Action::NetTrust, b"")
        };
        if !decision.permits() {
            return Err(operation.deny(decision.rule, standing.epoch));
        }
        let pem = dir.read(path, TLS_FILE_BYTES).await?;
        let store = operation
            .begin(decision, standing.epoch)?
            .finish(read_roots(&pem).map(Done::new).map_err(Fault::Os))?;
        Ok(Self { principal: principal.clone(), sources: vec![source], store })
    }

    /// Trusts what either of both does.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied), by the rule `foreign-handle`: they belong to different principals.
    pub fn and(mut self, other: Self) -> Result<Self, Error> {
        if !self.principal.is(&other.principal) {
            let operation = self.principal.operation(Action::NetTrust, b"");
            return Err(operation.deny(rule::FOREIGN_HANDLE, self.principal.os().epoch()));
        }
        self.sources.extend(other.sources);
        self.store.roots.extend(other.store.roots);
        Ok(self)
    }
}

impl Source {
    fn decide<'s>(&self, standing: &'s Standing) -> Decision<'s> {
        match self {
            Self::Web => standing.decide(Action::NetTrust, Resource::Name("web")),
            Self::Beneath(root) => standing.decide(Action::NetTrust, Resource::Root(root)),
        }
    }
}

/// The way of a principal to encrypted connections.
#[derive(Clone)]
pub struct TlsConnector {
    tcp: TcpConnector,
    sources: Arc<[Source]>,
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    /// Makes a connector whose servers prove who they are to `roots`. `protocols` are offered to them, the best first
    /// (ALPN): `h2`, `http/1.1`.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied), by the rule `foreign-handle`: connector and roots belong to different principals.
    /// * [`Bug`](ErrorKind::Bug): the cryptography that it is built with does not fit together.
    pub fn new(tcp: TcpConnector, roots: &Roots, protocols: &[&[u8]]) -> Result<Self, Error> {
        if !tcp.principal().is(&roots.principal) {
            let operation = roots.principal.operation(Action::NetTls, b"");
            return Err(operation.deny(rule::FOREIGN_HANDLE, roots.principal.os().epoch()));
        }
        let config = ClientConfig::builder_with_details(provider(), Arc::new(WallClock));
        let config = config.with_safe_default_protocol_versions().map_err(broken)?;
        let mut config = config.with_root_certificates(roots.store.clone()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { tcp, sources: roots.sources.clone().into(), config: Arc::new(config) })
    }

    /// Connects to a host, and makes sure that it is that host.
    ///
    /// # Errors
    ///
    /// * As [`TcpConnector::connect`].
    /// * [`Denied`](ErrorKind::Denied): the roots are not granted any more.
    /// * [`Invalid`](ErrorKind::Invalid): no certificate can be for a host that is called like this.
    /// * [`TimedOut`](ErrorKind::TimedOut): the server did not prove in time that it is the host.
    /// * [`Io`](ErrorKind::Io): the server did not prove that it is the host; the cause says why.
    ///
    /// # Cancel safety
    ///
    /// As [`TcpConnector::connect`].
    pub async fn connect(&self, host: &str, port: u16) -> Result<TlsStream, Error> {
        let checked = self.tcp.check(host, port).await?;
        self.connect_checked(&checked).await
    }

    /// As [`connect`](Self::connect), to a host that was checked.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_checked(&self, checked: &Checked) -> Result<TlsStream, Error> {
        let principal = self.tcp.principal();
        let resource = format!("tls://{}:{}", checked.host(), checked.port());
        let name = server_name(checked.host())
            .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("verify the name of `{resource}`")))?;
        let standing = principal.standing();
        let decision = self.decide(&standing);
        let operation = principal.operation(Action::NetTls, resource.as_bytes());
        if !decision.permits() {
            return Err(operation.deny(decision.rule, standing.epoch));
        }
        let tcp = self.tcp.connect_checked(checked).await?;
        let peer = tcp.peer_addr().to_string();
        let operation = Operation { other: Some(Name::plain(peer.as_bytes())), ..operation };
        let handshake = tokio_rustls::TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp);
        let limit = standing.limits().connect_timeout;
        let execute = async { within(limit, handshake).await.map(|stream| Done::new(stream.into())) };
        let stream = operation.run(decision, standing.epoch, execute).await?;
        Ok(TlsStream { stream })
    }

    /// Every source must be granted; the rule on record is that of the first.
    fn decide<'s>(&self, standing: &'s Standing) -> Decision<'s> {
        let decisions = self.sources.iter().rev().map(|source| source.decide(standing));
        decisions.reduce(Decision::and).unwrap_or(Decision::deny(rule::DEFAULT_DENY))
    }
}

/// What a server proves with who it is.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
}

impl TlsAcceptor {
    /// Reads a chain of certificates, the server's own first, and its key, both files of the PEM format beneath `dir`.
    /// `protocols` are those that the server speaks, the best first (ALPN).
    ///
    /// # Errors
    ///
    /// * As [`Dir::read`], of at most [`TLS_FILE_BYTES`].
    /// * [`Invalid`](ErrorKind::Invalid): a file is malformed, or the key does not belong to the certificate.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn read(
        dir: &Dir,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
        protocols: &[&[u8]],
    ) -> Result<Self, Error> {
        let invalid = |what: &Path| format!("take `{}` for TLS", what.to_string_lossy().escape_default());
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&dir.read(chain, TLS_FILE_BYTES).await?).collect();
        let certificates =
            certificates.map_err(|error| Error::new(ErrorKind::Invalid, invalid(chain)).caused_by(error))?;
        let secret = PrivateKeyDer::from_pem_slice(&dir.read(key, TLS_FILE_BYTES).await?)
            .map_err(|error| Error::new(ErrorKind::Invalid, invalid(key)).caused_by(error))?;
        let config = ServerConfig::builder_with_details(provider(), Arc::new(WallClock));
        let config = config.with_safe_default_protocol_versions().map_err(broken)?;
        let mut config = config
            .with_no_client_auth()
            .with_single_cert(certificates, secret)
            .map_err(|error| Error::new(ErrorKind::Invalid, invalid(chain)).caused_by(error))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { config: Arc::new(config) })
    }

    /// Encrypts a connection that was accepted. It leaves one record.
    ///
    /// # Errors
    ///
    /// * [`TimedOut`](ErrorKind::TimedOut): the client did not come to the end in time.
    /// * [`Io`](ErrorKind::Io): the client and the server do not agree; the cause says why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the record then says `cancelled`.
    pub async fn accept(&self, tcp: TcpStream) -> Result<TlsStream, Error> {
        let (principal, peer, local) =
            (tcp.principal().clone(), tcp.peer_addr().to_string(), tcp.local_addr()?);
        let (resource, permitted) = (format!("tls://{local}"), tcp.rule().to_owned());
        let operation = Operation {
            other: Some(Name::plain(peer.as_bytes())),
            ..principal.operation(Action::NetTls, resource.as_bytes())
        };
        let standing = principal.standing();
        let handshake = tokio_rustls::TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp);
        let limit = standing.limits().connect_timeout;
        let execute = async { within(limit, handshake).await.map(|stream| Done::new(stream.into())) };
        let stream = operation.run(Decision::allow(&permitted), standing.epoch, execute).await?;
        Ok(TlsStream { stream })
    }
}

/// An encrypted connection.
///
/// Everything that ends the connection below ends it too. Whoever has no more to send shuts it down, so that its peer
/// can tell the end from a cut.
pub struct TlsStream {
    stream: tokio_rustls::TlsStream<TcpStream>,
}

impl TlsStream {
    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0
    }

    /// The protocol that both ends chose (ALPN).
    pub fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// The name that the client asked for, at the server's end.
    pub fn server_name(&self) -> Option<&str> {
        match &self.stream {
            tokio_rustls::TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            tokio_rustls::TlsStream::Client(_) => None,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The wall clock of the door, for what certificates say of their time.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(sys::wall_now().seconds).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn broken(error: rustls::Error) -> Error {
    Error::new(ErrorKind::Bug, "set up TLS").caused_by(error)
}

fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
        Host::Address(address) => Some(ServerName::IpAddress((*address).into())),
    }
}

fn read_roots(pem: &[u8]) -> io::Result<RootCertStore> {
    let invalid = |error: &dyn fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate.map_err(|error| invalid(&error))?).map_err(|error| invalid(&error))?;
    }
    if store.is_empty() { Err(invalid(&"there is no certificate in it")) } else { Ok(store) }
}

async fn within<T>(limit: Duration, handshake: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
    let done = timeout(limit, handshake).await.map_err(|_| Fault::errno(sys::errno::TIMED_OUT))?;
    done.map_err(Fault::Os)
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("roots", &self.sources).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsStream").field(self.tcp()).finish()
    }
}
