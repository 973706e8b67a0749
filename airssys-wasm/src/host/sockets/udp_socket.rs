//! A UDP socket, in whatever version of WASI the guest knows it.

use std::{net::SocketAddr, sync::Arc};

use airssys_osl::{Error, Principal, net};
use tokio::sync::Mutex;

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
    /// Where what comes is put first. One waits for it at a time, and the others for their turn.
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

    /// Opens a way for a datagram to `to`, which [`take`](Self::take) takes.
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
        Ok(socket)
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
