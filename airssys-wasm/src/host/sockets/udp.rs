//! `wasi:sockets/udp`.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use airssys_osl::Action;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::poll::DynPollable;

use super::{Network, SocketResult, socket_address};
use crate::host::{
    Host,
    bindings::wasi::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress},
        udp::{self, IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream},
        udp_create_socket,
    },
};

/// A socket that was created, and can come no further.
pub struct Udp {
    family: IpAddressFamily,
}

impl udp_create_socket::Host for Host {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Udp>> {
        Ok(self.table.push(Udp { family })?)
    }
}

impl udp::Host for Host {}

impl udp::HostUdpSocket for Host {
    fn start_bind(
        &mut self,
        _socket: Resource<Udp>,
        _network: Resource<Network>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        Err(self.refuse_network(Action::NetListen, &format!("udp://{}", socket_address(local))))
    }

    fn finish_bind(&mut self, _socket: Resource<Udp>) -> SocketResult<()> {
        Err(ErrorCode::NotInProgress.into())
    }

    fn stream(
        &mut self,
        _socket: Resource<Udp>,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>)> {
        let resource =
            remote.map_or("udp://*".to_owned(), |remote| format!("udp://{}", socket_address(remote)));
        Err(self.refuse_network(Action::NetSend, &resource))
    }

    fn local_address(&mut self, _socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        Err(ErrorCode::InvalidState.into())
    }

    fn remote_address(&mut self, _socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        Err(ErrorCode::InvalidState.into())
    }

    fn address_family(&mut self, socket: Resource<Udp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.family)
    }

    fn unicast_hop_limit(&mut self, _socket: Resource<Udp>) -> SocketResult<u8> {
        Err(ErrorCode::NotSupported.into())
    }

    fn set_unicast_hop_limit(&mut self, _socket: Resource<Udp>, _value: u8) -> SocketResult<()> {
        Err(ErrorCode::NotSupported.into())
    }

    fn receive_buffer_size(&mut self, _socket: Resource<Udp>) -> SocketResult<u64> {
        Err(ErrorCode::NotSupported.into())
    }

    fn set_receive_buffer_size(&mut self, _socket: Resource<Udp>, _value: u64) -> SocketResult<()> {
        Err(ErrorCode::NotSupported.into())
    }

    fn send_buffer_size(&mut self, _socket: Resource<Udp>) -> SocketResult<u64> {
        Err(ErrorCode::NotSupported.into())
    }

    fn set_send_buffer_size(&mut self, _socket: Resource<Udp>, _value: u64) -> SocketResult<()> {
        Err(ErrorCode::NotSupported.into())
    }

    fn subscribe(&mut self, _socket: Resource<Udp>) -> Result<Resource<DynPollable>> {
        self.ready()
    }

    fn drop(&mut self, socket: Resource<Udp>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}

/// No socket gets as far as its streams; these exist because the interface names them.
impl udp::HostIncomingDatagramStream for Host {
    fn receive(
        &mut self,
        _stream: Resource<IncomingDatagramStream>,
        _max_results: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        Err(ErrorCode::InvalidState.into())
    }

    fn subscribe(&mut self, _stream: Resource<IncomingDatagramStream>) -> Result<Resource<DynPollable>> {
        self.ready()
    }

    fn drop(&mut self, stream: Resource<IncomingDatagramStream>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl udp::HostOutgoingDatagramStream for Host {
    fn check_send(&mut self, _stream: Resource<OutgoingDatagramStream>) -> SocketResult<u64> {
        Err(ErrorCode::InvalidState.into())
    }

    fn send(
        &mut self,
        _stream: Resource<OutgoingDatagramStream>,
        _datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        Err(ErrorCode::InvalidState.into())
    }

    fn subscribe(&mut self, _stream: Resource<OutgoingDatagramStream>) -> Result<Resource<DynPollable>> {
        self.ready()
    }

    fn drop(&mut self, stream: Resource<OutgoingDatagramStream>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
