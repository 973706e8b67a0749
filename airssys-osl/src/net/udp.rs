use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Host,
    account::Debt,
    connector::{check, has_scope, scoped},
    held::{Opening, Socket, error},
    subject::{Subject, url},
};
use crate::{
    Action, Error, ErrorKind, Principal,
    limits::DATAGRAM_PEERS,
    os::{Done, Fault, Name, Operation},
    policy::Protocol,
    sys,
};

/// A UDP socket: either to one peer that was decided once, or bound to an address of this machine.
///
/// When it is dropped it is closed and leaves one record with the bytes that went through.
pub struct UdpSocket {
    socket: Arc<Socket<tokio::net::UdpSocket>>,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    /// To whom it sent already, and the policy epoch in which that was permitted.
    permitted: Mutex<HashMap<SocketAddr, u32>>,
    /// Bytes that came and that the rate has not been charged for.
    owed: Debt,
    idle: Duration,
}

impl Principal {
    /// Makes a socket to one peer. The host is looked up once and its addresses are decided; the socket belongs to the
    /// first that is permitted, and the system drops whatever comes from elsewhere.
    ///
    /// # Errors
    ///
    /// As [`TcpConnector::connect`](super::TcpConnector::connect), except that nobody has to answer.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the records then say `cancelled`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub async fn udp_connect(&self, host: &str, port: u16) -> Result<UdpSocket, Error> {
        let checked = check(self, Protocol::Udp, host, port).await?;
        let resource = checked.resource.to_string();
        let ip = checked.addresses.first().copied();
        let ip = ip.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("connect to `{resource}`")))?;
        let peer = SocketAddr::new(ip, port);
        let subject = Subject::endpoint(Protocol::Udp, checked.names, peer);
        self.udp(Action::NetSend, subject, resource, any_local(peer), Some(peer)).await
    }

    /// Makes a socket to one address. Hosts that this principal looked up a short while ago speak for their addresses.
    ///
    /// It is for programs that look up by one call and connect by another. Whoever has the name calls
    /// [`udp_connect`](Self::udp_connect).
    ///
    /// # Errors
    ///
    /// As [`udp_connect`](Self::udp_connect), and [`Invalid`](ErrorKind::Invalid) for an IPv6 address with a scope.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the records then say `cancelled`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub async fn udp_connect_address(&self, peer: SocketAddr) -> Result<UdpSocket, Error> {
        if has_scope(peer) {
            return Err(scoped(self, peer));
        }
        let subject = Subject::endpoint(Protocol::Udp, self.account().hosts_of(peer.ip()), peer);
        let resource = url(Protocol::Udp, Host::Address(peer.ip()), peer.port());
        self.udp(Action::NetSend, subject, resource, any_local(peer), Some(peer)).await
    }

    /// Binds a socket to an address of this machine, which receives from anyone. Port 0 is one that the system picks.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub async fn udp_bind(&self, local: SocketAddr) -> Result<UdpSocket, Error> {
        if has_scope(local) {
            return Err(scoped(self, local));
        }
        let subject = Subject::endpoint(Protocol::Udp, [], local);
        let resource = url(Protocol::Udp, Host::Address(local.ip()), local.port());
        self.udp(Action::NetListen, subject, resource, local, None).await
    }

    /// Makes a socket for who sends to `peer` and has none yet: bound to any address of this machine where it may be, and else to
    /// that one peer ([`peer_addr`](UdpSocket::peer_addr) tells), as whoever asks need not hear from anyone else.
    ///
    /// It is for programs that send without having bound a socket, which others may answer then.
    ///
    /// # Errors
    ///
    /// As [`udp_bind`](Self::udp_bind) where it may be bound, and as [`udp_connect_address`](Self::udp_connect_address) where
    /// not.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the records then say `cancelled`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub async fn udp_sender(&self, peer: SocketAddr) -> Result<UdpSocket, Error> {
        let any = any_local(peer);
        let may_bind = {
            let standing = self.standing();
            Subject::endpoint(Protocol::Udp, [], any).decide(&standing, Action::NetListen).permits()
        };
        match may_bind {
            true => self.udp_bind(any).await,
            false => self.udp_connect_address(peer).await,
        }
    }

    async fn udp(
        &self,
        action: Action,
        subject: Subject,
        resource: String,
        local: SocketAddr,
        peer: Option<SocketAddr>,
    ) -> Result<UdpSocket, Error> {
        let standing = self.standing();
        self.account().configure(&standing.limits());
        let decision = subject.decide(&standing, action);
        let to = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let operation = Operation {
            other: Some(Name::plain(to.as_bytes())).filter(|_| peer.is_some()),
            mutates: true,
            ..self.operation(action, resource.as_bytes())
        };
        let execute = async {
            let slot = self.account().try_slot().ok_or(Fault::TooMany)?;
            let io = sys::bind_udp(local).map_err(Fault::Os)?;
            if let Some(peer) = peer {
                io.connect(peer).await.map_err(Fault::Os)?;
            }
            let local = io.local_addr().map_err(Fault::Os)?;
            Ok(Done::new((io, local, slot)))
        };
        let (io, local, slot) = operation.run(decision, standing.epoch, execute).await?;
        let resource = match peer {
            Some(_) => resource,
            None => url(Protocol::Udp, Host::Address(local.ip()), local.port()),
        };
        let opening = Opening {
            principal: self,
            action,
            subject,
            resource: resource.into_bytes().into(),
            peer: to.into(),
            rule: decision.rule.into(),
            epoch: standing.epoch,
            slot,
        };
        let socket = Socket::hold(io, opening);
        let idle = standing.limits().idle_timeout;
        Ok(UdpSocket { socket, local, peer, permitted: Mutex::default(), owed: Debt::default(), idle })
    }
}

/// Any address of this machine, of the family of a peer.
fn any_local(peer: SocketAddr) -> SocketAddr {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, 0)
}

impl UdpSocket {
    /// The address of this end, with the port that the system picked.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The one peer, where it has one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Sets through how many routers a datagram may go: the time to live of IPv4, the hop limit of IPv6.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io): the operating system refused; Linux does for 0.
    pub fn set_hop_limit(&self, hops: u8) -> Result<(), Error> {
        let set = sys::set_hop_limit(&self.socket.io, self.local, hops);
        set.map_err(|error| Error::io(format!("set the options of `{}`", self.socket.held.name()), error))
    }

    /// Sends one datagram to the one peer. It leaves no record of its own; it was recorded whose socket this is.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the principal was revoked, or a new policy does not permit it. The socket is
    ///   closed.
    /// * [`Invalid`](ErrorKind::Invalid): it has no one peer.
    /// * [`Io`](ErrorKind::Io): the operating system refused; also, what it heard of an earlier datagram.
    ///
    /// # Cancel safety
    ///
    /// It is sent or not.
    pub async fn send(&self, datagram: &[u8]) -> Result<(), Error> {
        let name = || format!("send a datagram to `{}`", self.socket.held.name());
        if self.peer.is_none() {
            return Err(Error::new(ErrorKind::Invalid, name()));
        }
        self.socket.check().map_err(|failed| error(name(), failed))?;
        self.socket.held.principal().account().sent.pay(datagram.len()).await;
        self.sent(self.socket.io.send(datagram)).await.map_err(|failed| error(name(), failed))
    }

    /// Sends one datagram to an address. Hosts that this principal looked up a short while ago speak for their
    /// addresses.
    ///
    /// Each address is decided. The first datagram to it is recorded; further ones are counted, until the policy changes
    /// or [`DATAGRAM_PEERS`] others came between.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Denied`](ErrorKind::Denied) where no grant permits the address, which leaves the
    /// socket open; [`Invalid`](ErrorKind::Invalid) where the socket has one peer, or the address a scope.
    ///
    /// # Cancel safety
    ///
    /// It is sent or not.
    pub async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> Result<(), Error> {
        let name = || format!("send a datagram to `{to}`");
        let principal = self.socket.held.principal();
        if self.peer.is_some() || has_scope(to) {
            return Err(Error::new(ErrorKind::Invalid, name()));
        }
        self.socket.check().map_err(|failed| error(name(), failed))?;
        principal.account().sent.pay(datagram.len()).await;
        let standing_epoch = principal.os().epoch();
        if self.permitted().get(&to) == Some(&standing_epoch) && !principal.is_revoked() {
            return self
                .sent(self.socket.io.send_to(datagram, to))
                .await
                .map_err(|failed| error(name(), failed));
        }
        let names = principal.account().hosts_of(to.ip());
        let standing = principal.standing();
        let decision = Subject::endpoint(Protocol::Udp, names, to).decide(&standing, Action::NetSend);
        let resource = url(Protocol::Udp, Host::Address(to.ip()), to.port());
        let operation =
            Operation { mutates: true, ..principal.operation(Action::NetSend, resource.as_bytes()) };
        let execute = async {
            self.sent(self.socket.io.send_to(datagram, to)).await.map_err(Fault::Os)?;
            Ok(Done::with_bytes((), datagram.len()))
        };
        operation.run(decision, standing.epoch, execute).await?;
        let mut permitted = self.permitted();
        if permitted.len() >= DATAGRAM_PEERS {
            permitted.clear();
        }
        // What may end by itself, or is counted, is decided each time.
        if !standing.is_timed() {
            permitted.insert(to, standing.epoch);
        }
        Ok(())
    }

    /// Waits for a datagram, and returns its length and who sent it. What is longer than the buffer is cut.
    ///
    /// A socket that is bound to an address waits as long as it takes, as a listener does for its next connection.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`TimedOut`](ErrorKind::TimedOut): nothing came from the one peer for as long as a
    /// connection may be silent, since this call began to wait. The socket stays open.
    ///
    /// # Cancel safety
    ///
    /// No datagram is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let name = || format!("receive a datagram on `{}`", self.local);
        self.socket.check().map_err(|failed| error(name(), failed))?;
        // What came is charged before the next comes: waiting with it in the hand could lose it.
        self.owed.pay(&self.socket.held.principal().account().received).await;
        let (len, from) = loop {
            self.readable().await.map_err(|failed| error(name(), failed))?;
            // A socket that was cut is readable for ever, and has nothing.
            self.socket.check().map_err(|failed| error(name(), failed))?;
            match self.socket.io.try_recv_from(buffer) {
                Ok(received) => break received,
                Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => {}
                Err(failed) => return Err(error(name(), failed)),
            }
        };
        self.owed.add(len);
        self.socket.held.count_received(len);
        Ok((len, from))
    }

    fn permitted(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, u32>> {
        self.permitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the system to take a datagram, and counts it.
    async fn sent(&self, sending: impl Future<Output = io::Result<usize>>) -> io::Result<()> {
        let late = |_| Err(io::Error::from_raw_os_error(sys::errno::TIMED_OUT));
        match timeout(self.idle, sending).await.unwrap_or_else(late) {
            Ok(bytes) => {
                self.socket.held.count_sent(bytes);
                Ok(())
            }
            Err(failed) => Err(self.socket.check().err().unwrap_or(failed)),
        }
    }

    /// Waits for a datagram: of one peer as long as a connection may be silent, of whoever may come for ever.
    async fn readable(&self) -> io::Result<()> {
        if self.peer.is_none() {
            return self.socket.io.readable().await;
        }
        let late = |_| Err(io::Error::from_raw_os_error(sys::errno::TIMED_OUT));
        timeout(self.idle, self.socket.io.readable()).await.unwrap_or_else(late)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}
