//! `tcp-socket` of `wasi:sockets/types`.

use wasmtime::{
    Result,
    component::{Access, Accessor, FutureReader, HasSelf, Resource, StreamReader},
};

use super::{
    super::{
        bindings::wasi::sockets::types::{
            Duration, ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress,
        },
        stream::outcome,
    },
    stream::{Accepting, Receiving, Sending, code},
};
use crate::{
    host::{
        Host,
        bindings::wasi::sockets::network as old,
        sockets::{Connection, Options, SocketError, SocketResult, TcpSocket, buffer_size, socket_error},
        stream::CHUNK_BYTES,
    },
    instance::State,
};

type Ended = FutureReader<std::result::Result<(), ErrorCode>>;

/// A TCP socket, and which of its streams the guest has had.
pub struct Tcp {
    socket: TcpSocket,
    has_received: bool,
    has_sent: bool,
}

impl Tcp {
    pub(super) fn new(socket: TcpSocket) -> Self {
        Self { socket, has_received: false, has_sent: false }
    }

    /// Its connection, for a stream that `had` says of whether it was there before.
    fn once(
        &mut self,
        had: impl FnOnce(&mut Self) -> &mut bool,
    ) -> std::result::Result<Connection, old::ErrorCode> {
        let connection = self.socket.connection()?.clone();
        match std::mem::replace(had(self), true) {
            false => Ok(connection),
            true => Err(old::ErrorCode::InvalidState),
        }
    }
}

impl HostTcpSocketWithStore<State> for HasSelf<Host> {
    async fn connect(
        guest: &Accessor<State, Self>,
        socket: Resource<Tcp>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        let connecting = guest.with(|mut access| -> SocketResult<_> {
            let host = access.get();
            let principal = host.principal.clone();
            Ok(host.table.get_mut(&socket)?.socket.connect(&principal, address.into())?)
        })?;
        let connected = connecting.await.map_err(|error| socket_error(&error));
        guest.with(|mut access| Ok(access.get().table.get_mut(&socket)?.socket.connected(connected)?))
    }

    fn listen(
        mut store: Access<'_, State, Self>,
        socket: Resource<Tcp>,
    ) -> SocketResult<StreamReader<Resource<Tcp>>> {
        let host = store.get();
        let principal = host.principal.clone();
        let acceptor = host.table.get_mut(&socket)?.socket.listen(&principal)?;
        StreamReader::new(&mut store, Accepting::new(acceptor)).map_err(SocketError::Trap)
    }

    fn send(
        mut store: Access<'_, State, Self>,
        socket: Resource<Tcp>,
        mut data: StreamReader<u8>,
    ) -> Result<Ended> {
        let (mut outcome, sent) = outcome(code);
        match store.get().table.get_mut(&socket)?.once(|tcp| &mut tcp.has_sent) {
            Ok(connection) => data.pipe(&mut store, Sending::new(connection, outcome))?,
            Err(code) => {
                outcome.fail(ErrorCode::from(code).into())?;
                data.close(&mut store)?;
            }
        }
        FutureReader::new(&mut store, sent)
    }

    fn receive(
        mut store: Access<'_, State, Self>,
        socket: Resource<Tcp>,
    ) -> Result<(StreamReader<u8>, Ended)> {
        let (mut outcome, received) = outcome(code);
        let stream = match store.get().table.get_mut(&socket)?.once(|tcp| &mut tcp.has_received) {
            Ok(connection) => StreamReader::new(&mut store, Receiving::new(connection, outcome))?,
            Err(code) => {
                outcome.fail(ErrorCode::from(code).into())?;
                StreamReader::new(&mut store, std::iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, received)?))
    }
}

impl HostTcpSocket for Host {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Tcp>> {
        Ok(self.table.push(Tcp::new(TcpSocket::new(family.into())))?)
    }

    fn bind(&mut self, socket: Resource<Tcp>, address: IpSocketAddress) -> SocketResult<()> {
        let principal = self.principal.clone();
        Ok(self.table.get_mut(&socket)?.socket.bind(&principal, address.into())?)
    }

    fn get_local_address(&mut self, socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&socket)?.socket.local_address()?.into())
    }

    fn get_remote_address(&mut self, socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&socket)?.socket.remote_address()?.into())
    }

    fn get_is_listening(&mut self, socket: Resource<Tcp>) -> Result<bool> {
        Ok(self.table.get(&socket)?.socket.is_listening())
    }

    fn get_address_family(&mut self, socket: Resource<Tcp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.socket.family().into())
    }

    fn set_listen_backlog_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.set_listen_backlog_size(value)?)
    }

    fn get_keep_alive_enabled(&mut self, socket: Resource<Tcp>) -> SocketResult<bool> {
        Ok(self.table.get(&socket)?.socket.options().keeps_alive())
    }

    fn set_keep_alive_enabled(&mut self, socket: Resource<Tcp>, value: bool) -> SocketResult<()> {
        let socket = &self.table.get(&socket)?.socket;
        let change = |options: &mut Options| {
            options.set_keeps_alive(value);
            Ok(())
        };
        Ok(socket.change(change)?)
    }

    fn get_keep_alive_idle_time(&mut self, socket: Resource<Tcp>) -> SocketResult<Duration> {
        Ok(self.table.get(&socket)?.socket.options().idle_time())
    }

    fn set_keep_alive_idle_time(&mut self, socket: Resource<Tcp>, value: Duration) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_idle_time(value))?)
    }

    fn get_keep_alive_interval(&mut self, socket: Resource<Tcp>) -> SocketResult<Duration> {
        Ok(self.table.get(&socket)?.socket.options().interval())
    }

    fn set_keep_alive_interval(&mut self, socket: Resource<Tcp>, value: Duration) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_interval(value))?)
    }

    fn get_keep_alive_count(&mut self, socket: Resource<Tcp>) -> SocketResult<u32> {
        Ok(self.table.get(&socket)?.socket.options().probes())
    }

    fn set_keep_alive_count(&mut self, socket: Resource<Tcp>, value: u32) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_probes(value))?)
    }

    fn get_hop_limit(&mut self, socket: Resource<Tcp>) -> SocketResult<u8> {
        Ok(self.table.get(&socket)?.socket.options().hop_limit())
    }

    fn set_hop_limit(&mut self, socket: Resource<Tcp>, value: u8) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_hop_limit(value))?)
    }

    /// What is set is a wish, as WASI says; this is what it comes to.
    fn get_receive_buffer_size(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        self.table.get(&socket)?;
        Ok(CHUNK_BYTES as u64)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        self.table.get(&socket)?;
        Ok(buffer_size(value)?)
    }

    fn get_send_buffer_size(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        HostTcpSocket::get_receive_buffer_size(self, socket)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        HostTcpSocket::set_receive_buffer_size(self, socket, value)
    }

    fn drop(&mut self, socket: Resource<Tcp>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
