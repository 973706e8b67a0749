//! UDP, to one peer and to anyone.

use crate::{
    address,
    bindings::wasi::sockets::{
        instance_network::instance_network,
        network::{ErrorCode, IpAddressFamily, IpSocketAddress},
        udp::{
            IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
        },
        udp_create_socket::create_udp_socket,
    },
};

/// A socket with its streams, which live within it: they are dropped first.
pub(crate) struct Pair {
    incoming: IncomingDatagramStream,
    outgoing: OutgoingDatagramStream,
    socket: UdpSocket,
}

fn bound(on: &str) -> Result<UdpSocket, ErrorCode> {
    let (family, address) = address::parse(on)?;
    let socket = create_udp_socket(family)?;
    socket.start_bind(&instance_network(), address)?;
    socket.finish_bind()?;
    Ok(socket)
}

fn streams(socket: UdpSocket, peer: Option<IpSocketAddress>) -> Result<Pair, ErrorCode> {
    let (incoming, outgoing) = socket.stream(peer)?;
    Ok(Pair { incoming, outgoing, socket })
}

/// Sends one datagram to a peer, and waits for one of it.
pub(crate) fn ask(to: &str, payload: &[u8]) -> Result<String, ErrorCode> {
    let (family, peer) = address::parse(to)?;
    let any = if matches!(family, IpAddressFamily::Ipv4) { "0.0.0.0:0" } else { "[::]:0" };
    let pair = streams(bound(any)?, Some(peer))?;
    pair.outgoing.check_send()?;
    pair.outgoing.send(&[OutgoingDatagram { data: payload.to_vec(), remote_address: None }])?;
    let answer = pair.receive()?;
    let remote = address::show(pair.socket.remote_address()?);
    Ok(format!("{remote} said {}", String::from_utf8_lossy(&answer.data)))
}

pub(crate) fn bind(on: &str) -> Result<(Pair, String), ErrorCode> {
    let pair = streams(bound(on)?, None)?;
    let local = address::show(pair.socket.local_address()?);
    Ok((pair, local))
}

impl Pair {
    fn receive(&self) -> Result<IncomingDatagram, ErrorCode> {
        loop {
            if let Some(datagram) = self.incoming.receive(1)?.pop() {
                return Ok(datagram);
            }
            self.incoming.subscribe().block();
        }
    }

    /// Waits for one datagram and sends it back.
    pub(crate) fn echo_one(&self) -> Result<String, ErrorCode> {
        let IncomingDatagram { data, remote_address } = self.receive()?;
        self.outgoing.check_send()?;
        let sent = self.outgoing.send(&[OutgoingDatagram { data, remote_address: Some(remote_address) }])?;
        Ok(format!("{sent} to {}", address::show(remote_address)))
    }

    pub(crate) fn send(&self, to: &str, payload: &[u8]) -> Result<String, ErrorCode> {
        let (_, to) = address::parse(to)?;
        self.outgoing.check_send()?;
        let sent =
            self.outgoing.send(&[OutgoingDatagram { data: payload.to_vec(), remote_address: Some(to) }])?;
        Ok(format!("{sent} sent"))
    }
}
