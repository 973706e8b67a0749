//! A UDP socket, in whatever version of WASI the guest knows it.

use std::{net::SocketAddr, sync::Arc};

use airssys_osl::{Error, Principal, net};
use tokio::{sync::Mutex, task::coop::consume_budget};

use super::{
    address::{any, of_family, remote},
    code::error_code,
    tcp_socket::{HOP_LIMIT, hops},
};
use crate::host::{
    bindings::wasi::sockets::network::{ErrorCode, IpAddressFamily},
    stream::CHUNK_BYTES,
};

/// A UDP socket.
pub(crate) struct UdpSocket {
    family: IpAddressFamily,
    state: State,
    /// The one peer that the guest chose.
    peer: Option<SocketAddr>,
    hop_limit: Option<u8>,
    /// Where what comes to what is open is put first. One waits for it at a time, and the others for their turn.
    buffer: Arc<Mutex<Vec<u8>>>,
}

enum State {
    New,
    /// Bound to whatever the system picks: which address that is, and whether it may be, depends on whom it talks to.
    Anywhere,
    /// To an address, or to the one peer that it may talk to.
    Open(Arc<net::UdpSocket>),
}

/// What comes to a socket.
#[derive(Clone)]
pub(crate) struct Datagrams {
    socket: Arc<net::UdpSocket>,
    /// The one peer of a socket that was bound first: what comes from others is not told.
    only: Option<SocketAddr>,
    buffer: Arc<Mutex<Vec<u8>>>,
}

impl UdpSocket {
    pub(crate) fn new(family: IpAddressFamily) -> Self {
        Self { family, state: State::New, peer: None, hop_limit: None, buffer: Arc::default() }
    }

    pub(crate) fn family(&self) -> IpAddressFamily {
        self.family
    }

    pub(crate) fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    pub(crate) async fn bind(&mut self, principal: &Principal, address: SocketAddr) -> Result<(), ErrorCode> {
        if !self.is_new() {
            return Err(ErrorCode::InvalidState);
        }
        let address = of_family(address, self.family)?;
        if address == any(self.family) {
            self.state = State::Anywhere;
            return Ok(());
        }
        self.take(principal.udp_bind(address).await).map(drop)
    }

    /// Talks to one peer from here on, or to anyone.
    pub(crate) async fn talk_to(
        &mut self,
        principal: &Principal,
        peer: Option<SocketAddr>,
    ) -> Result<Arc<net::UdpSocket>, ErrorCode> {
        let peer = peer.map(|peer| remote(peer, self.family)).transpose()?;
        let socket = match (&self.state, peer) {
            (State::Open(socket), _) if socket.peer_addr().is_none() => Arc::clone(socket),
            (_, Some(peer)) => self.take(principal.udp_connect_address(peer).await)?,
            (_, None) => self.take(principal.udp_bind(any(self.family)).await)?,
        };
        self.peer = peer;
        Ok(socket)
    }

    /// Leaves its one peer.
    pub(crate) fn disconnect(&mut self) -> Result<(), ErrorCode> {
        if self.peer.take().is_none() {
            return Err(ErrorCode::InvalidState);
        }
        if let State::Open(socket) = &self.state
            && socket.peer_addr().is_some()
        {
            // The system would not let go of the peer alone.
            self.state = State::Anywhere;
        }
        Ok(())
    }

    /// Where a datagram goes.
    pub(crate) fn destination(&self, to: Option<SocketAddr>) -> Result<SocketAddr, ErrorCode> {
        let to = to.map(|to| remote(to, self.family)).transpose()?;
        match (to, self.peer) {
            (Some(to), Some(peer)) if to != peer => Err(ErrorCode::InvalidArgument),
            (to, peer) => to.or(peer).ok_or(ErrorCode::InvalidArgument),
        }
    }

    /// What a datagram goes out through, where there is something.
    pub(crate) fn way_to(&self, to: SocketAddr) -> Option<Arc<net::UdpSocket>> {
        match &self.state {
            State::Open(socket) if socket.peer_addr().is_none_or(|peer| peer == to) => {
                Some(Arc::clone(socket))
            }
            _ => None,
        }
    }

    /// Opens a way for a datagram to `to`, which [`take_to`](Self::take_to) takes.
    pub(crate) fn open_to(
        &self,
        principal: &Principal,
        to: SocketAddr,
    ) -> impl Future<Output = Result<net::UdpSocket, Error>> + Send + use<> {
        // One that is open already is to another peer, as it may not be bound: whether that still is so, the door tells.
        let (is_open, any) = (matches!(self.state, State::Open(_)), any(self.family));
        let principal = principal.clone();
        async move { if is_open { principal.udp_bind(any).await } else { principal.udp_sender(to).await } }
    }

    /// Opens it to whoever sends something, which [`take`](Self::take) takes.
    pub(crate) fn open(
        &self,
        principal: &Principal,
    ) -> impl Future<Output = Result<net::UdpSocket, Error>> + Send + use<> {
        let (principal, any) = (principal.clone(), any(self.family));
        async move { principal.udp_bind(any).await }
    }

    /// Goes on with what was opened for it.
    pub(crate) fn take(
        &mut self,
        opened: Result<net::UdpSocket, Error>,
    ) -> Result<Arc<net::UdpSocket>, ErrorCode> {
        let socket = opened.map_err(|error| error_code(&error))?;
        if let Some(hops) = self.hop_limit {
            socket.set_hop_limit(hops).map_err(|error| error_code(&error))?;
        }
        let socket = Arc::new(socket);
        self.state = State::Open(Arc::clone(&socket));
        // Who waits still for what comes to the one before has that one's.
        self.buffer = Arc::default();
        Ok(socket)
    }

    /// Goes on with what was opened for a datagram to `to`, unless another call was faster.
    pub(crate) fn take_to(
        &mut self,
        to: SocketAddr,
        opened: Result<net::UdpSocket, Error>,
    ) -> Result<Arc<net::UdpSocket>, ErrorCode> {
        // Meanwhile it may have been given another peer.
        self.destination(Some(to)).map_err(|_| ErrorCode::InvalidState)?;
        self.way_to(to).map_or_else(|| self.take(opened), Ok)
    }

    /// What comes to it, where it is bound already.
    pub(crate) fn datagrams(&self) -> Option<Datagrams> {
        let State::Open(socket) = &self.state else { return None };
        let only = self.peer.filter(|_| socket.peer_addr().is_none());
        Some(Datagrams { socket: Arc::clone(socket), only, buffer: Arc::clone(&self.buffer) })
    }

    /// Its address. Where it was left to the system, that has to pick it now, if `principal` asks for it.
    pub(crate) async fn settle(&mut self, principal: &Principal) -> Result<SocketAddr, ErrorCode> {
        match &self.state {
            State::New => Err(ErrorCode::InvalidState),
            State::Anywhere => Ok(self.talk_to(principal, None).await?.local_addr()),
            State::Open(socket) => Ok(socket.local_addr()),
        }
    }

    /// Its address: that of all of the machine and no port, where it was left to the system.
    pub(super) fn local_address(&self) -> Result<SocketAddr, ErrorCode> {
        match &self.state {
            State::New => Err(ErrorCode::InvalidState),
            State::Anywhere => Ok(any(self.family)),
            State::Open(socket) => Ok(socket.local_addr()),
        }
    }

    pub(crate) fn remote_address(&self) -> Result<SocketAddr, ErrorCode> {
        self.peer.ok_or(ErrorCode::InvalidState)
    }

    pub(crate) fn hop_limit(&self) -> u8 {
        self.hop_limit.unwrap_or(HOP_LIMIT)
    }

    pub(crate) fn set_hop_limit(&mut self, value: u8) -> Result<(), ErrorCode> {
        self.hop_limit = Some(hops(value)?);
        match &self.state {
            State::Open(socket) => socket.set_hop_limit(value).map_err(|error| error_code(&error)),
            State::New | State::Anywhere => Ok(()),
        }
    }
}

impl Datagrams {
    /// Waits for a datagram of the peer. None is lost where nobody waits to the end.
    pub(crate) async fn receive(&self) -> Result<(Vec<u8>, SocketAddr), ErrorCode> {
        let mut buffer = self.buffer.lock().await;
        buffer.resize(CHUNK_BYTES, 0);
        loop {
            let received = self.socket.recv_from(&mut buffer).await;
            let (length, from) = received.map_err(|error| error_code(&error))?;
            if self.only.is_none_or(|only| only == from) {
                return Ok((buffer.get(..length).unwrap_or_default().to_vec(), from));
            }
            // Strangers that send as fast as they can take no turn of others.
            consume_budget().await;
        }
    }
}

/// Sends a datagram through what was opened for it.
pub(crate) async fn send(socket: &net::UdpSocket, datagram: &[u8], to: SocketAddr) -> Result<(), ErrorCode> {
    let sent = match socket.peer_addr() {
        Some(_) => socket.send(datagram).await,
        None => socket.send_to(datagram, to).await,
    };
    sent.map_err(|error| error_code(&error))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the peers are no guests")]
mod tests {
    use std::{net::UdpSocket as Peer, pin::pin, time::Duration};

    use airssys_osl::{
        Os,
        policy::{Grant, Policy, Ports, Protocol},
        testing::MemorySink,
    };
    use tokio::time::timeout;

    use super::*;

    /// How long something is waited for that comes.
    const LONG: Duration = Duration::from_secs(300);

    /// More than tokio lets one task take in a turn.
    const MANY: usize = 150;

    fn principal() -> Principal {
        let grants = [
            Grant::listen(Protocol::Udp, "127.0.0.1", Ports::PICKED),
            Grant::connect(Protocol::Udp, "127.0.0.1", Ports::ALL),
        ];
        let policy = Policy::builder().principal("program", grants).build().unwrap();
        Os::new(policy, MemorySink::new()).principal("program").unwrap()
    }

    fn peer() -> (Peer, SocketAddr) {
        let peer = Peer::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        (peer, address)
    }

    async fn received(datagrams: &Datagrams) -> (Vec<u8>, SocketAddr) {
        timeout(LONG, datagrams.receive()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn who_waits_for_a_peer_that_was_left_is_in_nobodys_way() {
        let (principal, (_, first), (second, to)) = (principal(), peer(), peer());
        let mut socket = UdpSocket::new(IpAddressFamily::Ipv4);
        socket.talk_to(&principal, Some(first)).await.unwrap();
        let left = socket.datagrams().unwrap();
        let mut waiting = pin!(left.receive());
        assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
        let way = socket.talk_to(&principal, Some(to)).await.unwrap();
        second.send_to(b"here", way.local_addr()).unwrap();
        assert_eq!(received(&socket.datagrams().unwrap()).await, (b"here".to_vec(), to));
    }

    #[tokio::test]
    async fn strangers_take_no_turn_of_others() {
        let (principal, (friend, from), (stranger, _)) = (principal(), peer(), peer());
        let mut socket = UdpSocket::new(IpAddressFamily::Ipv4);
        socket.bind(&principal, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let at = socket.talk_to(&principal, Some(from)).await.unwrap().local_addr();
        friend.send_to(b"first", at).unwrap();
        for _ in 0..MANY {
            stranger.send_to(b"x", at).unwrap();
        }
        friend.send_to(b"last", at).unwrap();
        let datagrams = socket.datagrams().unwrap();
        assert_eq!(received(&datagrams).await.0, b"first");
        let other = tokio::spawn(async {});
        assert_eq!(received(&datagrams).await.0, b"last");
        assert!(other.is_finished(), "it had its turn meanwhile");
    }

    #[tokio::test]
    async fn what_was_opened_for_a_peer_that_was_left_is_not_taken() {
        let (principal, (_, first), (_, second)) = (principal(), peer(), peer());
        let mut socket = UdpSocket::new(IpAddressFamily::Ipv4);
        let opened = socket.open_to(&principal, first).await;
        socket.talk_to(&principal, Some(second)).await.unwrap();
        assert_eq!(socket.take_to(first, opened).map(drop), Err(ErrorCode::InvalidState));
        assert_eq!(socket.remote_address(), Ok(second));
        assert!(socket.way_to(second).is_some(), "what it has is still to whom it talks");
        let opened = socket.open_to(&principal, second).await;
        assert!(Arc::ptr_eq(&socket.take_to(second, opened).unwrap(), &socket.way_to(second).unwrap()));
    }
}
