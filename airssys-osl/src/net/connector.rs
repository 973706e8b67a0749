//! Connecting: one lookup, every address decided, and no connection but to an address that was.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};

use super::{
    Host, HostName, KeepAlive, Limits, TcpStream,
    account::Slot,
    held::Opening,
    race::{interleave, race},
    resolve::resolve,
    stream::after,
    subject::{Subject, url},
};
use crate::{
    Action, Error, ErrorKind, Principal,
    limits::{CHECKED_AGE, NET_ATTEMPT_DELAY, NET_ATTEMPT_TIMEOUT},
    os::{Done, Fault, Name, Operation},
    policy::{Protocol, Resource, rule},
    sys,
};

/// The way of a principal to TCP connections.
///
/// It is no permission by itself: each lookup and each connection is decided.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    principal: Principal,
    nodelay: bool,
    keep_alive: Option<KeepAlive>,
}

/// A host whose addresses were looked up once and decided one by one: what a connection is made to.
///
/// Only permitted addresses are in it. Where it is used later, they are decided again, and no other is asked for. It is good
/// for the principal that checked it, and a name for [`CHECKED_AGE`]: addresses change hands.
#[derive(Clone, Debug)]
pub struct Checked {
    principal: Principal,
    at: Instant,
    host: Host,
    /// The names that speak for the addresses.
    pub(super) names: Box<[HostName]>,
    port: u16,
    pub(super) addresses: Box<[IpAddr]>,
    /// How it is called in records.
    pub(super) resource: Arc<str>,
}

/// A connection that an attempt won.
struct Won {
    io: tokio::net::TcpStream,
    address: SocketAddr,
    rule: Box<str>,
    epoch: u32,
    peer: Box<str>,
}

impl Principal {
    /// Gets the way to TCP connections. Nothing is decided before it is used.
    pub fn tcp_connector(&self) -> TcpConnector {
        TcpConnector { principal: self.clone(), nodelay: false, keep_alive: None }
    }

    /// Looks a host up and returns its addresses, whatever they are for: to connect to one is decided when it is done. An
    /// address written as a host is its own answer, and no lookup.
    ///
    /// Needs [`Grant::resolve`](crate::policy::Grant::resolve), or a grant to connect to the host. The answer is remembered
    /// for its time.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): no grant permits it; the name did not leave the machine.
    /// * [`Invalid`](ErrorKind::Invalid): it is no host, or one that different programs would read differently.
    /// * [`NotFound`](ErrorKind::NotFound): there is no such host.
    /// * [`TimedOut`](ErrorKind::TimedOut): nobody answered in time.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): as many lookups are under way as may be.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let malformed = |error| {
            drop(malformed(self, host));
            error
        };
        match Host::parse(host).map_err(malformed)? {
            Host::Address(address) => Ok(vec![address]),
            Host::Name(name) => Ok(resolve(self, &name).await?.to_vec()),
        }
    }
}

impl TcpConnector {
    /// Sends small pieces at once, on each connection from here on.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// Lets the system ask silent peers, on each connection from here on.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Option<KeepAlive>) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Connects to a host.
    ///
    /// The host is looked up once, as an operation of its own. Every address is decided, what is denied is recorded, and
    /// only what is permitted is connected to: one address after the other, the families in turns, and the next one
    /// beside the one before where that is slow (RFC 8305). Each attempt is recorded before it is made and when it
    /// ends.
    ///
    /// # Errors
    ///
    /// * [`Invalid`](ErrorKind::Invalid): `host` is malformed ([`Host::parse`]). The record says `malformed-host`.
    /// * [`Denied`](ErrorKind::Denied): policy denies the lookup, or each of the addresses.
    /// * [`NotFound`](ErrorKind::NotFound): there is no such host.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): the principal has as many open as it may, or looks up too many.
    /// * [`AuditUnavailable`](ErrorKind::AuditUnavailable): it cannot be recorded, so nothing was sent.
    /// * [`TimedOut`](ErrorKind::TimedOut): the lookup or the addresses took longer than the principal's
    ///   [`Limits`](super::Limits) let them.
    /// * [`Io`](ErrorKind::Io): no address answered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up what is under way; the records then say `cancelled`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let checked = self.check(host, port).await?;
        self.connect_checked(&checked).await
    }

    /// Looks a host up and decides its addresses, without connecting.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), up to the connection.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn check(&self, host: &str, port: u16) -> Result<Checked, Error> {
        check(&self.principal, Protocol::Tcp, host, port).await
    }

    /// As [`check`](Self::check), for the place that an HTTP response redirects to: `authority` is what stands in a URL
    /// between `//` and the path, such as `example.com`, `example.com:8080` or `[::1]:80`.
    ///
    /// A client calls it for each redirect, and then connects to what was checked. User names are refused.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// # Cancel safety
    ///
    /// As [`check`](Self::check).
    pub async fn recheck(&self, authority: &str, default_port: u16) -> Result<Checked, Error> {
        match split_authority(authority, default_port) {
            Some((host, port)) => self.check(host, port).await,
            None => Err(malformed(&self.principal, authority)),
        }
    }

    /// As [`recheck`](Self::recheck), for what a program asks its proxy for. Where the host may not be looked up, it is the
    /// connection that is on record as denied: that names the port too, which whoever would grant it needs.
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    pub(crate) async fn check_wanted(&self, authority: &str, default_port: u16) -> Result<Checked, Error> {
        let Some((host, port)) = split_authority(authority, default_port) else {
            return Err(malformed(&self.principal, authority));
        };
        if let Ok(Host::Name(name)) = Host::parse(host) {
            let standing = self.principal.standing();
            let decision = standing.decide(Action::NetResolve, Resource::Host(name.as_str()));
            if !decision.permits() {
                let resource = url(Protocol::Tcp, name, port);
                let operation = self.principal.operation(Action::NetConnect, resource.as_bytes());
                return Err(operation.deny(decision.rule, standing.epoch));
            }
        }
        self.check(host, port).await
    }

    /// Connects to one of the addresses of a host that was checked.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), from the connection on; [`Denied`](ErrorKind::Denied), by the rule
    /// `foreign-handle`, where another principal checked it; and [`Invalid`](ErrorKind::Invalid) where that was more than
    /// [`CHECKED_AGE`] ago: check it again.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_checked(&self, checked: &Checked) -> Result<TcpStream, Error> {
        checked.check_use(&self.principal)?;
        let limits = self.principal.standing().limits();
        self.principal.account().configure(&limits);
        let slot = self.principal.account().try_slot();
        let Some(slot) = slot else {
            let first = checked.addresses.first().copied();
            return Err(self.attempt(checked, first, false).await.err().unwrap_or_else(|| nowhere(checked)));
        };
        let won = match &*checked.addresses {
            // Most hosts have one address that is permitted, and there is nothing to race.
            [only] => {
                let attempt = self.attempt(checked, Some(*only), true);
                late_timeout(limits.connect_timeout, attempt).await.map(Some)
            }
            // Large, and rare: who has one address does not carry it about.
            several => Box::pin(timeout(limits.connect_timeout, self.race(checked, several))).await,
        };
        let won = match won {
            Ok(Some(won)) => won?,
            Ok(None) => return Err(nowhere(checked)),
            Err(_late) => {
                return Err(Error::io(format!("connect to `{}`", checked.resource), timed_out()));
            }
        };
        let stream = self.open(checked, won, slot, &limits);
        if self.nodelay {
            stream.set_nodelay(true)?;
        }
        if self.keep_alive.is_some() {
            stream.set_keep_alive(self.keep_alive)?;
        }
        Ok(stream)
    }

    /// Connects to an address. Hosts that this principal looked up a short while ago speak for their addresses.
    ///
    /// It is for programs that look up by one call and connect by another. Whoever has the name calls
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and [`Invalid`](ErrorKind::Invalid) for an IPv6 address with a scope.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_address(&self, address: SocketAddr) -> Result<TcpStream, Error> {
        if has_scope(address) {
            return Err(scoped(&self.principal, address));
        }
        let names = self.principal.account().hosts_of(address.ip());
        let host = Host::Address(address.ip());
        let (port, addresses) = (address.port(), [address.ip()].into());
        let resource = url(Protocol::Tcp, &host, port).into();
        let (principal, at) = (self.principal.clone(), Instant::now());
        let checked = Checked { principal, at, host, names, port, addresses, resource };
        self.connect_checked(&checked).await
    }

    #[cfg(feature = "tls")]
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Tries all addresses, the families in turns.
    async fn race(&self, checked: &Checked, addresses: &[IpAddr]) -> Option<Result<Won, Error>> {
        let v6_first = addresses.first().is_some_and(IpAddr::is_ipv6);
        let addresses = interleave(addresses.iter().copied(), |ip| ip.is_ipv6() == v6_first);
        let attempts = addresses.into_iter().map(|address| self.attempt(checked, Some(address), true));
        race(attempts, NET_ATTEMPT_DELAY).await
    }

    /// Takes one address through the pipeline. Without room for a connection, it ends there.
    async fn attempt(&self, checked: &Checked, ip: Option<IpAddr>, has_room: bool) -> Result<Won, Error> {
        let ip = ip.ok_or_else(|| nowhere(checked))?;
        let address = SocketAddr::new(ip, checked.port);
        let standing = self.principal.standing();
        let subject = Subject::endpoint(Protocol::Tcp, &*checked.names, address);
        let decision = subject.decide(&standing, Action::NetConnect);
        let peer = address.to_string();
        let operation = Operation {
            other: Some(Name::plain(peer.as_bytes())),
            mutates: has_room,
            ..self.principal.operation(Action::NetConnect, checked.resource.as_bytes())
        };
        let execute = async {
            if !has_room {
                return Err(Fault::TooMany);
            }
            let connecting = sys::connect(address);
            let connected = match &*checked.addresses {
                // The limit of all is the limit of the only one.
                [_] => connecting.await,
                _ => timeout(NET_ATTEMPT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(timed_out())),
            };
            connected.map(Done::new).map_err(Fault::Os)
        };
        let io = operation.run(decision, standing.epoch, execute).await?;
        Ok(Won { io, address, rule: decision.rule.into(), epoch: standing.epoch, peer: peer.into() })
    }

    fn open(&self, checked: &Checked, won: Won, slot: Slot, limits: &Limits) -> TcpStream {
        let Won { io, address, rule, epoch, peer } = won;
        let opening = Opening {
            principal: &self.principal,
            action: Action::NetConnect,
            subject: Subject::endpoint(Protocol::Tcp, &*checked.names, address),
            resource: Arc::<str>::clone(&checked.resource).into(),
            peer,
            rule,
            epoch,
            slot,
        };
        TcpStream::new(io, address, limits, opening)
    }
}

impl Checked {
    /// The host, as it was understood.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses that are permitted, the best first; never empty.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    fn check_use(&self, principal: &Principal) -> Result<(), Error> {
        if !self.principal.is(principal) {
            let operation = principal.operation(Action::NetConnect, self.resource.as_bytes());
            return Err(operation.deny(rule::FOREIGN_HANDLE, principal.os().epoch()));
        }
        if matches!(self.host, Host::Name(_)) && self.at.elapsed() > CHECKED_AGE {
            let what = format!("connect to `{}`: it was checked too long ago", self.resource);
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        Ok(())
    }
}

/// Looks a host up and decides each of its addresses. What is denied is recorded; what is permitted stays.
pub(super) async fn check(
    principal: &Principal,
    protocol: Protocol,
    host: &str,
    port: u16,
) -> Result<Checked, Error> {
    let host = match Host::parse(host) {
        Ok(host) => host,
        Err(error) => {
            drop(malformed(principal, host));
            return Err(error);
        }
    };
    let (names, addresses): (Box<[HostName]>, Box<[IpAddr]>) = match &host {
        Host::Address(address) => (Box::default(), [*address].into()),
        Host::Name(name) => ([name.clone()].into(), (*Box::pin(resolve(principal, name)).await?).into()),
    };
    let action = match protocol {
        Protocol::Tcp => Action::NetConnect,
        Protocol::Udp => Action::NetSend,
    };
    let standing = principal.standing();
    let resource: Arc<str> = url(protocol, &host, port).into();
    let (mut permitted, mut denied) = (Vec::new(), None);
    for ip in addresses {
        let address = SocketAddr::new(ip, port);
        let decision = Subject::endpoint(protocol, &*names, address).decide(&standing, action);
        if decision.permits() {
            permitted.push(ip);
            continue;
        }
        let peer = address.to_string();
        let operation = Operation {
            other: Some(Name::plain(peer.as_bytes())),
            ..principal.operation(action, resource.as_bytes())
        };
        let error = operation.deny(decision.rule, standing.epoch);
        denied.get_or_insert(error);
    }
    let (principal, addresses) = (principal.clone(), permitted.into());
    let checked = Checked { principal, at: Instant::now(), host, names, port, addresses, resource };
    match denied {
        Some(denied) if checked.addresses.is_empty() => Err(denied),
        _ => Ok(checked),
    }
}

/// Records that a host was refused for its spelling, and makes the error.
pub(super) fn malformed(principal: &Principal, host: &str) -> Error {
    let epoch = principal.os().epoch();
    drop(principal.operation(Action::NetResolve, host.as_bytes()).deny(rule::MALFORMED_HOST, epoch));
    Host::parse(host).err().unwrap_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("take `{}` as a host and a port", host.escape_default()))
    })
}

/// As [`malformed`], for an address with a scope.
pub(super) fn scoped(principal: &Principal, address: SocketAddr) -> Error {
    let text = address.to_string();
    malformed(principal, text.rsplit_once(':').map_or(&*text, |(host, _)| host))
}

/// Whether an address says on which link it is: what that means is this machine's alone.
pub(super) fn has_scope(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.scope_id() != 0)
}

/// As [`timeout`], but the timer is set only where the work is not done after the runtime has looked at its sockets once: a
/// timer that is the next of all wakes the runtime, and connecting nearby takes less than that.
async fn late_timeout<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let start = Instant::now();
    let mut work = pin!(work);
    for first in [true, false] {
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            return Ok(done);
        }
        if first {
            yield_now().await;
        }
    }
    timeout_at(after(start, limit), work).await
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(sys::errno::TIMED_OUT)
}

fn nowhere(checked: &Checked) -> Error {
    Error::new(ErrorKind::NotFound, format!("connect to `{}`", checked.resource))
}

fn split_authority(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            let (host, rest) = authority.split_at_checked(end)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return None,
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    match port {
        // A URL may end in a colon without a port.
        None | Some("") => Some((host, default_port)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, port.parse().ok()?)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authority: &str, expected: Option<(&str, u16)>) {
        assert_eq!(split_authority(authority, 443), expected, "{authority:?}");
    }

    #[test]
    fn authorities() {
        check("a.b", Some(("a.b", 443)));
        check("a.b:80", Some(("a.b", 80)));
        check("a.b:", Some(("a.b", 443)));
        check("[::1]", Some(("[::1]", 443)));
        check("[::1]:80", Some(("[::1]", 80)));
        check("[::1]80", None);
        check("[::1", None);
        check("a:+80", None);
        check("a:65536", None);
        check("a:80:80", None);
        check("user:password@a", None);
        check("", Some(("", 443)));
        check("::1", None);
    }
}
