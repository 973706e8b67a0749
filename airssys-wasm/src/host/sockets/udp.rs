//! `wasi:sockets/udp`.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

use airssys_osl::net;
use wasmtime::{Result, component::Resource, format_err};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
};

use super::{
    Network, SocketError, SocketResult,
    address::remote,
    now,
    tcp_socket::buffer_size,
    udp_socket::{Datagrams, UdpSocket, send},
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

/// A UDP socket, and what was started on it and not finished.
pub struct Udp {
    socket: UdpSocket,
    is_binding: bool,
    /// Whether its streams are there: it has one pair at a time.
    streams: Weak<()>,
}

/// What came in.
pub struct Incoming {
    datagrams: Datagrams,
    /// Received while the guest waited.
    next: Option<std::result::Result<(Vec<u8>, SocketAddr), ErrorCode>>,
    _streams: Arc<()>,
}

/// What goes out.
pub struct Outgoing {
    socket: Arc<net::UdpSocket>,
    family: IpAddressFamily,
    /// Where datagrams without an address go.
    peer: Option<SocketAddr>,
    permit: usize,
    _streams: Arc<()>,
}

impl udp_create_socket::Host for Host {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Udp>> {
        let socket = UdpSocket::new(family);
        Ok(self.table.push(Udp { socket, is_binding: false, streams: Weak::new() })?)
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
        let this = self.table.get_mut(&socket)?;
        this.socket.bind(&principal, address.into()).await?;
        this.is_binding = true;
        Ok(())
    }

    fn finish_bind(&mut self, socket: Resource<Udp>) -> SocketResult<()> {
        match std::mem::take(&mut self.table.get_mut(&socket)?.is_binding) {
            true => Ok(()),
            false => Err(ErrorCode::NotInProgress.into()),
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
        let family = this.socket.family();
        let peer = peer.map(|peer| remote(peer.into(), family)).transpose()?;
        // Which 0.3 binds by itself.
        if this.is_binding || this.socket.is_new() {
            return Err(ErrorCode::InvalidState.into());
        }
        let udp = this.socket.talk_to(&principal, peer).await?;
        let datagrams = this.socket.datagrams().ok_or(ErrorCode::InvalidState)?;
        let streams = Arc::new(());
        this.streams = Arc::downgrade(&streams);
        let incoming = Incoming { datagrams, next: None, _streams: streams.clone() };
        let outgoing = Outgoing { socket: udp, family, peer, permit: 0, _streams: streams };
        Ok((self.table.push_child(incoming, &socket)?, self.table.push_child(outgoing, &socket)?))
    }

    fn local_address(&mut self, socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        match self.table.get(&socket)? {
            Udp { is_binding: true, .. } => Err(ErrorCode::InvalidState.into()),
            Udp { socket, .. } => Ok(socket.local_address()?.into()),
        }
    }

    fn remote_address(&mut self, socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&socket)?.socket.remote_address()?.into())
    }

    fn address_family(&mut self, socket: Resource<Udp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.socket.family())
    }

    fn unicast_hop_limit(&mut self, socket: Resource<Udp>) -> SocketResult<u8> {
        Ok(self.table.get(&socket)?.socket.hop_limit())
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<Udp>, value: u8) -> SocketResult<()> {
        Ok(self.table.get_mut(&socket)?.socket.set_hop_limit(value)?)
    }

    /// What is set is a wish, as WASI says; this is what it comes to.
    fn receive_buffer_size(&mut self, socket: Resource<Udp>) -> SocketResult<u64> {
        self.table.get(&socket)?;
        Ok(CHUNK_BYTES as u64)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<Udp>, value: u64) -> SocketResult<()> {
        self.table.get(&socket)?;
        Ok(buffer_size(value)?)
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
    fn try_receive(&mut self) -> Option<std::result::Result<(Vec<u8>, SocketAddr), ErrorCode>> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        match pin!(self.datagrams.receive()).poll(&mut now()) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        }
    }
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        if self.next.is_none() {
            self.next = Some(self.datagrams.receive().await);
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
                    datagrams.push(IncomingDatagram { data, remote_address: from.into() });
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
                let to = remote(address.into(), self.family)?;
                if peer.is_some_and(|peer| peer != to) {
                    return Err(ErrorCode::InvalidArgument);
                }
                to
            }
        };
        send(&self.socket, &datagram.data, to).await
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
