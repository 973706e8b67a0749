//! The network: who may talk to whom, decided by address and not by spelling.
//!
//! [`Principal::tcp_connector`] connects, [`Principal::listen`] accepts, [`Principal::udp_connect`] and
//! [`Principal::udp_bind`] exchange datagrams, [`Dir::connect_unix`] and its like reach UNIX sockets beneath a granted
//! directory. What a grant can name is written at [`Grant::connect`].
//!
//! ```
//! use airssys_osl::{Os, policy::{Grant, Policy, Protocol}, testing::{MemorySink, ScriptedResolver}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), airssys_osl::Error> {
//! // Some host that a stranger gave us. Its owner's name server says where it is.
//! let resolver = ScriptedResolver::new().answer("evil.example", &["169.254.169.254"]);
//! let policy = Policy::builder().principal("fetcher", [Grant::connect(Protocol::Tcp, "*", 80)]).build()?;
//! let os = Os::builder(policy, MemorySink::new()).resolver(resolver).build();
//!
//! let connector = os.principal("fetcher")?.tcp_connector();
//! let denied = connector.connect("evil.example", 80).await.unwrap_err();
//! assert_eq!(denied.rule(), Some("non-global: metadata"));
//! let denied = connector.connect("[::ffff:10.0.0.1]", 80).await.unwrap_err();
//! assert_eq!(denied.rule(), Some("non-global: mapped-v4"));
//! # Ok(())
//! # }
//! ```
//!
//! # How a connection comes about
//!
//! 1. The host is read ([`Host`]). What different programs would read differently is refused, and on record.
//! 2. It is looked up, once, as an operation of its own: a lookup tells the outside what is asked for. The answer is
//!    remembered for its time, for this principal alone.
//! 3. Each address is decided, together with the name, the port and the protocol, and so is each IPv4 address that an
//!    IPv6 address carries. What is not global ([`address::Class`]) needs a grant that names it.
//! 4. Only an address that was decided is connected to. Nothing looks the host up again: an answer that changes in
//!    between changes nothing.
//! 5. Each use of the connection looks whether it still may. A new policy or a revocation cuts what it does not permit, at
//!    once and under whoever waits.
//!
//! # What needs which grant
//!
//! | operation | grant |
//! |---|---|
//! | [`Principal::resolve`] | [`Grant::resolve`], or [`Grant::connect`] to it |
//! | [`TcpConnector::connect`], [`Principal::udp_connect`], [`UdpSocket::send_to`] | [`Grant::connect`] |
//! | [`Principal::listen`], [`Principal::tcp_bind`], [`Principal::udp_bind`] | [`Grant::listen`] |
//! | [`Bound::connect`] | [`Grant::listen`] and [`Grant::connect`] |
//! | [`Dir::connect_unix`], [`Dir::connect_unix_datagram`] | [`Grant::unix`] to connect, and the right WRITE |
//! | [`Dir::listen_unix`], [`Dir::bind_unix_datagram`] | [`Grant::unix`] to listen, and the right CREATE |
//! | [`Principal::connect_abstract`], [`Principal::listen_abstract`] | [`Grant::abstract_unix`] |
//! | whom TLS trusts (feature `tls`) | [`Grant::trust_web`], [`Grant::trust`] |
//!
//! # What is recorded
//!
//! Lookups, connections and listeners before and after, each accepted connection, the first datagram to each
//! destination, TLS handshakes, requests over HTTP ([`Exchange`]), and the end of everything that was open: with all bytes that went through it, what ended
//! it, and how long it was open. The resource is `tcp://host:port`, `udp://…`, `unix:/path`, `unix:@abstract`,
//! `tls://…` or the host of a lookup; behind a NUL stands the peer's address, and in the last record the bytes in either
//! direction. Single reads and writes are not recorded.
//!
//! # Limits
//!
//! [`Limits`] bound, for each principal, how many it has open, how many bytes go in a second in either direction, and how
//! long lookups, connecting, silence and connections may last; who listens, or is bound to an address for datagrams, waits as
//! long as it takes. [`limits`](crate::limits) has the rest.
//!
//! # What it does not do
//!
//! It does not look into what is said: a host that is permitted can still be asked to fetch something else. It trusts the
//! system's resolver with names, not with addresses. UNIX sockets are for Linux, in the abstract namespace streams
//! alone; elsewhere who asks for one is told
//! [`Unsupported`](crate::ErrorKind::Unsupported).
//!
//! [`Dir::connect_unix`]: crate::fs::Dir::connect_unix
//! [`Dir::connect_unix_datagram`]: crate::fs::Dir::connect_unix_datagram
//! [`Dir::listen_unix`]: crate::fs::Dir::listen_unix
//! [`Dir::bind_unix_datagram`]: crate::fs::Dir::bind_unix_datagram
//! [`Principal::resolve`]: crate::Principal::resolve
//! [`Principal::tcp_connector`]: crate::Principal::tcp_connector
//! [`Principal::listen`]: crate::Principal::listen
//! [`Principal::tcp_bind`]: crate::Principal::tcp_bind
//! [`Principal::udp_connect`]: crate::Principal::udp_connect
//! [`Principal::udp_bind`]: crate::Principal::udp_bind
//! [`Principal::connect_abstract`]: crate::Principal::connect_abstract
//! [`Principal::listen_abstract`]: crate::Principal::listen_abstract
//! [`Grant::connect`]: crate::policy::Grant::connect
//! [`Grant::listen`]: crate::policy::Grant::listen
//! [`Grant::resolve`]: crate::policy::Grant::resolve
//! [`Grant::unix`]: crate::policy::Grant::unix
//! [`Grant::abstract_unix`]: crate::policy::Grant::abstract_unix
//! [`Grant::trust_web`]: crate::policy::Grant::trust_web
//! [`Grant::trust`]: crate::policy::Grant::trust

mod account;
pub mod address;
mod bound;
mod bucket;
mod cidr;
mod connector;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod held;
mod host;
mod http;
mod listener;
mod options;
mod pool;
mod race;
mod resolve;
mod stream;
mod subject;
#[cfg(feature = "tls")]
pub mod tls;
mod udp;
#[cfg(target_os = "linux")]
mod unix;

pub(crate) use self::account::{Account, Accounts};
#[cfg(not(target_os = "linux"))]
pub use self::elsewhere::{UnixListener, UnixStream};
#[cfg(target_os = "linux")]
pub use self::unix::{UnixDatagram, UnixListener, UnixStream};
pub use self::{
    bound::Bound,
    cidr::Cidr,
    connector::{Checked, TcpConnector},
    host::{Host, HostName},
    http::{Exchange, Exchanges},
    listener::Listener,
    options::{KeepAlive, Limits},
    pool::{Pool, PoolOptions, Pooled},
    resolve::{Answer, Lookup, LookupSlot, Resolve, SystemResolver},
    stream::TcpStream,
    udp::UdpSocket,
};
