//! `wasi:sockets/tcp`.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use airssys_osl::Action;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::{
    poll::DynPollable,
    streams::{DynInputStream, DynOutputStream},
};

use super::{Network, SocketError, SocketResult, socket_address};
use crate::host::{
    Host,
    bindings::wasi::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress},
        tcp, tcp_create_socket,
    },
};

/// A socket that was created, and can come no further.
pub struct Tcp {
    family: IpAddressFamily,
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl tcp_create_socket::Host for Host {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Tcp>> {
        Ok(self.table.push(Tcp { family })?)
    }
}

impl tcp::Host for Host {}

impl tcp::HostTcpSocket for Host {
    fn start_bind(
        &mut self,
        _socket: Resource<Tcp>,
        _network: Resource<Network>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        Err(self.refuse_network(Action::NetListen, &format!("tcp://{}", socket_address(local))))
    }

    fn start_connect(
        &mut self,
        _socket: Resource<Tcp>,
        _network: Resource<Network>,
        remote: IpSocketAddress,
    ) -> SocketResult<()> {
        Err(self.refuse_network(Action::NetConnect, &format!("tcp://{}", socket_address(remote))))
    }

    fn finish_bind(&mut self, _socket: Resource<Tcp>) -> SocketResult<()> {
        Err(ErrorCode::NotInProgress.into())
    }

    fn finish_connect(&mut self, _socket: Resource<Tcp>) -> SocketResult<Streams> {
        Err(ErrorCode::NotInProgress.into())
    }

    fn start_listen(&mut self, _socket: Resource<Tcp>) -> SocketResult<()> {
        Err(ErrorCode::InvalidState.into())
    }

    fn finish_listen(&mut self, _socket: Resource<Tcp>) -> SocketResult<()> {
        Err(ErrorCode::NotInProgress.into())
    }

    fn accept(
        &mut self,
        _socket: Resource<Tcp>,
    ) -> SocketResult<(Resource<Tcp>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        Err(ErrorCode::InvalidState.into())
    }

    fn local_address(&mut self, _socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        Err(ErrorCode::InvalidState.into())
    }

    fn remote_address(&mut self, _socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        Err(ErrorCode::InvalidState.into())
    }

    fn is_listening(&mut self, _socket: Resource<Tcp>) -> Result<bool> {
        Ok(false)
    }

    fn address_family(&mut self, socket: Resource<Tcp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.family)
    }

    fn set_listen_backlog_size(&mut self, _socket: Resource<Tcp>, _value: u64) -> SocketResult<()> {
        Err(unsupported())
    }

    fn keep_alive_enabled(&mut self, _socket: Resource<Tcp>) -> SocketResult<bool> {
        Err(unsupported())
    }

    fn set_keep_alive_enabled(&mut self, _socket: Resource<Tcp>, _value: bool) -> SocketResult<()> {
        Err(unsupported())
    }

    fn keep_alive_idle_time(&mut self, _socket: Resource<Tcp>) -> SocketResult<u64> {
        Err(unsupported())
    }

    fn set_keep_alive_idle_time(&mut self, _socket: Resource<Tcp>, _value: u64) -> SocketResult<()> {
        Err(unsupported())
    }

    fn keep_alive_interval(&mut self, _socket: Resource<Tcp>) -> SocketResult<u64> {
        Err(unsupported())
    }

    fn set_keep_alive_interval(&mut self, _socket: Resource<Tcp>, _value: u64) -> SocketResult<()> {
        Err(unsupported())
    }

    fn keep_alive_count(&mut self, _socket: Resource<Tcp>) -> SocketResult<u32> {
        Err(unsupported())
    }

    fn set_keep_alive_count(&mut self, _socket: Resource<Tcp>, _value: u32) -> SocketResult<()> {
        Err(unsupported())
    }

    fn hop_limit(&mut self, _socket: Resource<Tcp>) -> SocketResult<u8> {
        Err(unsupported())
    }

    fn set_hop_limit(&mut self, _socket: Resource<Tcp>, _value: u8) -> SocketResult<()> {
        Err(unsupported())
    }

    fn receive_buffer_size(&mut self, _socket: Resource<Tcp>) -> SocketResult<u64> {
        Err(unsupported())
    }

    fn set_receive_buffer_size(&mut self, _socket: Resource<Tcp>, _value: u64) -> SocketResult<()> {
        Err(unsupported())
    }

    fn send_buffer_size(&mut self, _socket: Resource<Tcp>) -> SocketResult<u64> {
        Err(unsupported())
    }

    fn set_send_buffer_size(&mut self, _socket: Resource<Tcp>, _value: u64) -> SocketResult<()> {
        Err(unsupported())
    }

    fn subscribe(&mut self, _socket: Resource<Tcp>) -> Result<Resource<DynPollable>> {
        self.ready()
    }

    fn shutdown(&mut self, _socket: Resource<Tcp>, _how: tcp::ShutdownType) -> SocketResult<()> {
        Err(ErrorCode::InvalidState.into())
    }

    fn drop(&mut self, socket: Resource<Tcp>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}

/// A socket without a kernel object has no options to read or set.
fn unsupported() -> SocketError {
    ErrorCode::NotSupported.into()
}
