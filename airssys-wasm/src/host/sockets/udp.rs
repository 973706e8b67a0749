//! `wasi:sockets/udp`.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

use airssys_osl::{Principal, net::UdpSocket};
use wasmtime::{Result, component::Resource, format_err};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
};

use super::{
    Network, SocketError, SocketResult,
    address::{local, remote, to_wasi},
    code::error_code,
    now,
    tcp::HOP_LIMIT,
};
use crate::host::{
    Host,
    bindings::wasi::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress},
        udp::{self, IncomingDatagram, OutgoingDatagram},
        udp_create_socket,
    },
    stream::CHUNK_BYTES,
};

/// The most datagrams of one call.
const DATAGRAMS: usize = 16;

/// A UDP socket.
pub struct Udp {
    family: IpAddressFamily,
    state: State,
    /// The one peer of its streams.
    peer: Option<SocketAddr>,
    hop_limit: Option<u8>,
    /// Whether its streams are there: it has one pair at a time.
    streams: Weak<()>,
}

enum State {
    New,
    /// Bound to whatever the system picks: which address that is, and whether it may be, depends on whom it talks to.
    Anywhere {
        started: bool,
    },
    Bound {
        socket: Arc<UdpSocket>,
        started: bool,
    },
    /// To one peer, which the door checked.
    Connected(Arc<UdpSocket>),
}

/// What came in.
pub struct Incoming {
    socket: Arc<UdpSocket>,
    /// The one peer of a socket that was bound first: what comes from others is not told.
    only: Option<SocketAddr>,
    /// Received while the guest waited.
    next: Option<std::result::Result<(Vec<u8>, SocketAddr), ErrorCode>>,
    buffer: Vec<u8>,
    _streams: Arc<()>,
}

/// What goes out.
pub struct Outgoing {
    socket: Arc<UdpSocket>,
    family: IpAddressFamily,
    /// Where datagrams without an address go.
    peer: Option<SocketAddr>,
    permit: usize,
    _streams: Arc<()>,
}

impl udp_create_socket::Host for Host {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Udp>> {
        Ok(self.table.push(Udp {
            family,
            state: State::New,
            peer: None,
            hop_limit: None,
            streams: Weak::new(),
        })?)
    }
}

impl Udp {
    /// The socket that talks to `peer`, or to anyone.
    async fn open(
        &mut self,
        principal: &Principal,
        peer: Option<SocketAddr>,
    ) -> SocketResult<Arc<UdpSocket>> {
        let failed = |error: airssys_osl::Error| SocketError::from(error_code(&error));
        let any = match self.family {
            IpAddressFamily::Ipv4 => SocketAddr::from(([0; 4], 0)),
            IpAddressFamily::Ipv6 => SocketAddr::from(([0_u16; 8], 0)),
        };
        let socket = match (&self.state, peer) {
            (State::Bound { socket, started: false }, _) => return Ok(Arc::clone(socket)),
            (State::Anywhere { started: false } | State::Connected(_), Some(peer)) => {
                principal.udp_connect_address(peer).await.map_err(failed)?
            }
            (State::Anywhere { started: false } | State::Connected(_), None) => {
                principal.udp_bind(any).await.map_err(failed)?
            }
            _ => return Err(ErrorCode::InvalidState.into()),
        };
        self.set_hop_limit(&socket)?;
        let socket = Arc::new(socket);
        self.state = match peer {
            Some(_) => State::Connected(Arc::clone(&socket)),
            None => State::Bound { socket: Arc::clone(&socket), started: false },
        };
        Ok(socket)
    }

    fn set_hop_limit(&self, socket: &UdpSocket) -> SocketResult<()> {
        let set = self.hop_limit.map_or(Ok(()), |hops| socket.set_hop_limit(hops));
        set.map_err(|error| error_code(&error).into())
    }
}

impl udp::Host for Host {}

impl udp::HostUdpSocket for Host {
    async fn start_bind(
        &mut self,
        socket: Resource<Udp>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let principal = self.principal.clone();
        let socket = self.table.get_mut(&socket)?;
        if !matches!(socket.state, State::New) {
            return Err(ErrorCode::InvalidState.into());
        }
        let address = local(address, socket.family)?;
        socket.state = if address.ip().is_unspecified() && address.port() == 0 {
            State::Anywhere { started: true }
        } else {
            let bound = principal.udp_bind(address).await.map_err(|error| error_code(&error))?;
            socket.set_hop_limit(&bound)?;
            State::Bound { socket: Arc::new(bound), started: true }
        };
        Ok(())
    }

    fn finish_bind(&mut self, socket: Resource<Udp>) -> SocketResult<()> {
        match &mut self.table.get_mut(&socket)?.state {
            State::Anywhere { started } | State::Bound { started, .. } if *started => {
                *started = false;
                Ok(())
            }
            _ => Err(ErrorCode::NotInProgress.into()),
        }
    }

    async fn stream(
        &mut self,
        socket: Resource<Udp>,
        peer: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<Incoming>, Resource<Outgoing>)> {
        let principal = self.principal.clone();
        let this = self.table.get_mut(&socket)?;
        if this.streams.strong_count() > 0 {
            return Err(SocketError::Trap(format_err!("udp-socket.stream: its streams are not dropped yet")));
        }
        let (family, peer) = (this.family, peer.map(|peer| remote(peer, this.family)).transpose()?);
        let udp = this.open(&principal, peer).await?;
        this.peer = peer;
        let streams = Arc::new(());
        this.streams = Arc::downgrade(&streams);
        let only = peer.filter(|_| udp.peer_addr().is_none());
        let incoming =
            Incoming { socket: udp.clone(), only, next: None, buffer: Vec::new(), _streams: streams.clone() };
        let outgoing = Outgoing { socket: udp, family, peer, permit: 0, _streams: streams };
        Ok((self.table.push_child(incoming, &socket)?, self.table.push_child(outgoing, &socket)?))
    }

    fn local_address(&mut self, socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        let socket = self.table.get(&socket)?;
        match (&socket.state, socket.family) {
            (State::Bound { socket, started: false } | State::Connected(socket), _) => {
                Ok(to_wasi(socket.local_addr()))
            }
            (State::Anywhere { started: false }, IpAddressFamily::Ipv4) => {
                Ok(to_wasi(SocketAddr::from(([0; 4], 0))))
            }
            (State::Anywhere { started: false }, IpAddressFamily::Ipv6) => {
                Ok(to_wasi(SocketAddr::from(([0_u16; 8], 0))))
            }
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn remote_address(&mut self, socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        let peer = self.table.get(&socket)?.peer;
        peer.map(to_wasi).ok_or_else(|| ErrorCode::InvalidState.into())
    }

    fn address_family(&mut self, socket: Resource<Udp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.family)
    }

    fn unicast_hop_limit(&mut self, socket: Resource<Udp>) -> SocketResult<u8> {
        Ok(self.table.get(&socket)?.hop_limit.unwrap_or(HOP_LIMIT))
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<Udp>, value: u8) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        socket.hop_limit = Some(value);
        match &socket.state {
            State::Bound { socket: bound, .. } | State::Connected(bound) => socket.set_hop_limit(bound),
            State::New | State::Anywhere { .. } => Ok(()),
        }
    }

    /// What is set is a wish, as WASI says; this is what it comes to.
    fn receive_buffer_size(&mut self, socket: Resource<Udp>) -> SocketResult<u64> {
        self.table.get(&socket)?;
        Ok(CHUNK_BYTES as u64)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<Udp>, value: u64) -> SocketResult<()> {
        self.table.get(&socket)?;
        if value == 0 { Err(ErrorCode::InvalidArgument.into()) } else { Ok(()) }
    }

    fn send_buffer_size(&mut self, socket: Resource<Udp>) -> SocketResult<u64> {
        udp::HostUdpSocket::receive_buffer_size(self, socket)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Udp>, value: u64) -> SocketResult<()> {
        udp::HostUdpSocket::set_receive_buffer_size(self, socket, value)
    }

    fn subscribe(&mut self, socket: Resource<Udp>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, socket)
    }

    fn drop(&mut self, socket: Resource<Udp>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}

/// Nothing that the socket itself does is waited for.
#[async_trait]
impl Pollable for Udp {
    async fn ready(&mut self) {}
}

impl Incoming {
    /// Waits for a datagram of the peer. None is lost where nobody waits to the end.
    async fn receive(&mut self) -> std::result::Result<(Vec<u8>, SocketAddr), ErrorCode> {
        self.buffer.resize(CHUNK_BYTES, 0);
        loop {
            let received = self.socket.recv_from(&mut self.buffer).await;
            let (length, from) = received.map_err(|error| error_code(&error))?;
            if self.only.is_none_or(|only| only == from) {
                return Ok((self.buffer.get(..length).unwrap_or_default().to_vec(), from));
            }
        }
    }

    fn try_receive(&mut self) -> Option<std::result::Result<(Vec<u8>, SocketAddr), ErrorCode>> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        match pin!(self.receive()).poll(&mut now()) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        }
    }
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        if self.next.is_none() {
            self.next = Some(self.receive().await);
        }
    }
}

impl udp::HostIncomingDatagramStream for Host {
    fn receive(
        &mut self,
        stream: Resource<Incoming>,
        max_results: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        let stream = self.table.get_mut(&stream)?;
        let most = usize::try_from(max_results).unwrap_or(usize::MAX).min(DATAGRAMS);
        let (mut datagrams, mut bytes) = (Vec::new(), 0);
        while datagrams.len() < most && bytes < CHUNK_BYTES {
            match stream.try_receive() {
                None => break,
                Some(Ok((data, from))) => {
                    bytes += data.len();
                    datagrams.push(IncomingDatagram { data, remote_address: to_wasi(from) });
                }
                Some(Err(code)) if datagrams.is_empty() => return Err(code.into()),
                Some(error) => {
                    // What came before is told first.
                    stream.next = Some(error);
                    break;
                }
            }
        }
        Ok(datagrams)
    }

    fn subscribe(&mut self, stream: Resource<Incoming>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<Incoming>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl Outgoing {
    async fn send(&self, datagram: &OutgoingDatagram) -> std::result::Result<(), ErrorCode> {
        let to = match (datagram.remote_address, self.peer) {
            (None, None) => return Err(ErrorCode::InvalidArgument),
            (None, Some(peer)) => peer,
            (Some(address), peer) => {
                let to = remote(address, self.family)?;
                if peer.is_some_and(|peer| peer != to) {
                    return Err(ErrorCode::InvalidArgument);
                }
                to
            }
        };
        let sent = match self.socket.peer_addr() {
            Some(_) => self.socket.send(&datagram.data).await,
            None => self.socket.send_to(&datagram.data, to).await,
        };
        sent.map_err(|error| error_code(&error))
    }
}

impl udp::HostOutgoingDatagramStream for Host {
    fn check_send(&mut self, stream: Resource<Outgoing>) -> SocketResult<u64> {
        let stream = self.table.get_mut(&stream)?;
        stream.permit = DATAGRAMS;
        Ok(DATAGRAMS as u64)
    }

    /// Waits where the rate of the component, or the system, lets nothing out now.
    async fn send(
        &mut self,
        stream: Resource<Outgoing>,
        datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let stream = self.table.get_mut(&stream)?;
        if datagrams.is_empty() {
            return Ok(0);
        }
        if datagrams.len() > std::mem::take(&mut stream.permit) {
            return Err(SocketError::Trap(format_err!("udp: send without a permit of check-send")));
        }
        for (sent, datagram) in (0..).zip(&datagrams) {
            match stream.send(datagram).await {
                Ok(()) => {}
                Err(code) if sent == 0 => return Err(code.into()),
                Err(_) => return Ok(sent),
            }
        }
        Ok(datagrams.len() as u64)
    }

    fn subscribe(&mut self, stream: Resource<Outgoing>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<Outgoing>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {}
}
