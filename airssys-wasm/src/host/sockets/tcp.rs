//! `wasi:sockets/tcp`.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use std::future::poll_fn;

use airssys_osl::net::TcpStream;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
    streams::{DynInputStream, DynOutputStream},
};

use super::{
    Network, Pending, SocketResult,
    stream::{Connection, Receiver, Sender},
    tcp_socket::{Acceptor, Options, TcpSocket, buffer_size},
};
use crate::host::{
    Host,
    bindings::wasi::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress},
        tcp, tcp_create_socket,
    },
    stream::CHUNK_BYTES,
};

/// A TCP socket, and what was started on it and not finished.
pub struct Tcp {
    socket: TcpSocket,
    progress: Progress,
}

enum Progress {
    Nothing,
    Binding,
    Connecting(Pending<TcpStream>),
    /// Once it has finished to listen, it accepts.
    Listening {
        started: bool,
        acceptor: Acceptor,
        next: Pending<TcpStream>,
    },
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl Tcp {
    fn new(socket: TcpSocket) -> Self {
        Self { socket, progress: Progress::Nothing }
    }
}

impl tcp_create_socket::Host for Host {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Tcp>> {
        Ok(self.table.push(Tcp::new(TcpSocket::new(family)))?)
    }
}

impl Host {
    /// Gives the streams of a connection, which live within its socket.
    fn streams(&mut self, socket: &Resource<Tcp>, connection: &Connection) -> SocketResult<Streams> {
        let input: DynInputStream = Box::new(Receiver(connection.clone()));
        let output: DynOutputStream = Box::new(Sender(connection.clone()));
        Ok((self.table.push_child(input, socket)?, self.table.push_child(output, socket)?))
    }
}

impl tcp::Host for Host {}

impl tcp::HostTcpSocket for Host {
    fn start_bind(
        &mut self,
        socket: Resource<Tcp>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let principal = self.principal.clone();
        let this = self.table.get_mut(&socket)?;
        this.socket.bind(&principal, address.into())?;
        this.progress = Progress::Binding;
        Ok(())
    }

    fn finish_bind(&mut self, socket: Resource<Tcp>) -> SocketResult<()> {
        let progress = &mut self.table.get_mut(&socket)?.progress;
        if !matches!(progress, Progress::Binding) {
            return Err(ErrorCode::NotInProgress.into());
        }
        *progress = Progress::Nothing;
        Ok(())
    }

    fn start_connect(
        &mut self,
        socket: Resource<Tcp>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let principal = self.principal.clone();
        let this = self.table.get_mut(&socket)?;
        if matches!(this.progress, Progress::Binding | Progress::Connecting(_)) {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        let connecting = Pending::start(this.socket.connect(&principal, address.into())?);
        if let Some(code) = connecting.failed() {
            return Ok(this.socket.connected(Err(code))?);
        }
        this.progress = Progress::Connecting(connecting);
        Ok(())
    }

    fn finish_connect(&mut self, socket: Resource<Tcp>) -> SocketResult<Streams> {
        let this = self.table.get_mut(&socket)?;
        let Progress::Connecting(connecting) = &mut this.progress else {
            return Err(ErrorCode::NotInProgress.into());
        };
        let Some(connected) = connecting.take() else { return Err(ErrorCode::WouldBlock.into()) };
        this.progress = Progress::Nothing;
        this.socket.connected(connected)?;
        let connection = this.socket.connection()?.clone();
        self.streams(&socket, &connection)
    }

    fn start_listen(&mut self, socket: Resource<Tcp>) -> SocketResult<()> {
        let principal = self.principal.clone();
        let this = self.table.get_mut(&socket)?;
        if matches!(this.progress, Progress::Binding) {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        // Which 0.3 binds by itself.
        if this.socket.is_new() {
            return Err(ErrorCode::InvalidState.into());
        }
        let acceptor = this.socket.listen(&principal)?;
        let next = Pending::start(acceptor.accept());
        this.progress = Progress::Listening { started: true, acceptor, next };
        Ok(())
    }

    fn finish_listen(&mut self, socket: Resource<Tcp>) -> SocketResult<()> {
        match &mut self.table.get_mut(&socket)?.progress {
            Progress::Listening { started, .. } if *started => {
                *started = false;
                Ok(())
            }
            _ => Err(ErrorCode::NotInProgress.into()),
        }
    }

    fn accept(
        &mut self,
        socket: Resource<Tcp>,
    ) -> SocketResult<(Resource<Tcp>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let this = self.table.get_mut(&socket)?;
        let Progress::Listening { started: false, acceptor, next } = &mut this.progress else {
            return Err(ErrorCode::InvalidState.into());
        };
        let Some(accepted) = next.take() else { return Err(ErrorCode::WouldBlock.into()) };
        *next = Pending::start(acceptor.accept());
        let child = acceptor.accepted(accepted);
        let connection = child.connection()?.clone();
        let child = self.table.push(Tcp::new(child))?;
        let (input, output) = self.streams(&child, &connection)?;
        Ok((child, input, output))
    }

    fn local_address(&mut self, socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        match self.table.get(&socket)? {
            Tcp { progress: Progress::Binding, .. } => Err(ErrorCode::InvalidState.into()),
            Tcp { socket, .. } => Ok(socket.local_address()?.into()),
        }
    }

    fn remote_address(&mut self, socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&socket)?.socket.remote_address()?.into())
    }

    fn is_listening(&mut self, socket: Resource<Tcp>) -> Result<bool> {
        Ok(matches!(self.table.get(&socket)?.progress, Progress::Listening { started: false, .. }))
    }

    fn address_family(&mut self, socket: Resource<Tcp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.socket.family())
    }

    fn set_listen_backlog_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.set_listen_backlog_size(value)?)
    }

    fn keep_alive_enabled(&mut self, socket: Resource<Tcp>) -> SocketResult<bool> {
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

    fn keep_alive_idle_time(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        Ok(self.table.get(&socket)?.socket.options().idle_time())
    }

    fn set_keep_alive_idle_time(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_idle_time(value))?)
    }

    fn keep_alive_interval(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        Ok(self.table.get(&socket)?.socket.options().interval())
    }

    fn set_keep_alive_interval(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_interval(value))?)
    }

    fn keep_alive_count(&mut self, socket: Resource<Tcp>) -> SocketResult<u32> {
        Ok(self.table.get(&socket)?.socket.options().probes())
    }

    fn set_keep_alive_count(&mut self, socket: Resource<Tcp>, value: u32) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_probes(value))?)
    }

    fn hop_limit(&mut self, socket: Resource<Tcp>) -> SocketResult<u8> {
        Ok(self.table.get(&socket)?.socket.options().hop_limit())
    }

    fn set_hop_limit(&mut self, socket: Resource<Tcp>, value: u8) -> SocketResult<()> {
        Ok(self.table.get(&socket)?.socket.change(|options| options.set_hop_limit(value))?)
    }

    /// What is set is a wish, as WASI says; this is what it comes to.
    fn receive_buffer_size(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        self.table.get(&socket)?;
        Ok(CHUNK_BYTES as u64)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        self.table.get(&socket)?;
        Ok(buffer_size(value)?)
    }

    fn send_buffer_size(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        tcp::HostTcpSocket::receive_buffer_size(self, socket)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        tcp::HostTcpSocket::set_receive_buffer_size(self, socket, value)
    }

    fn subscribe(&mut self, socket: Resource<Tcp>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, socket)
    }

    fn shutdown(&mut self, socket: Resource<Tcp>, how: tcp::ShutdownType) -> SocketResult<()> {
        let connection = self.table.get(&socket)?.socket.connection().map_err(|_| ErrorCode::InvalidState)?;
        if matches!(how, tcp::ShutdownType::Receive | tcp::ShutdownType::Both) {
            connection.close_input();
        }
        if matches!(how, tcp::ShutdownType::Send | tcp::ShutdownType::Both) {
            connection.close_output();
        }
        Ok(())
    }

    fn drop(&mut self, socket: Resource<Tcp>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}

/// Ready when a connection is there, or has failed to be.
#[async_trait]
impl Pollable for Tcp {
    async fn ready(&mut self) {
        if let Progress::Connecting(pending) | Progress::Listening { next: pending, .. } = &mut self.progress
        {
            poll_fn(|cx| pending.poll(cx)).await;
        }
    }
}
