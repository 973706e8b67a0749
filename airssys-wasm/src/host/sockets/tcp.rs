//! `wasi:sockets/tcp`.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use std::{future::poll_fn, sync::Arc, time::Duration};

use airssys_osl::net::{KeepAlive, Listener, TcpStream};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
    streams::{DynInputStream, DynOutputStream},
};

use super::{
    Network, Pending, SocketResult,
    address::{local, remote, to_wasi, unicast},
    code::error_code,
    stream::{Connection, Receiver, Sender},
};
use crate::host::{
    Host,
    bindings::wasi::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress},
        tcp, tcp_create_socket,
    },
    stream::CHUNK_BYTES,
};

/// A TCP socket: where it is between its creation and its end.
pub struct Tcp {
    family: IpAddressFamily,
    state: State,
    /// What is set of keep-alive before there is a connection, and goes for all that come of this socket.
    keep_alive: KeepAlive,
    keeps_alive: bool,
    /// The same of the hop limit.
    hop_limit: Option<u8>,
}

enum State {
    New,
    /// Bound: the kernel listens from here on, because the door knows no address that is bound and does not.
    Bound {
        listener: Arc<Listener>,
        started: bool,
    },
    Listening {
        listener: Arc<Listener>,
        started: bool,
        next: Pending<TcpStream>,
    },
    Connecting(Pending<TcpStream>),
    Connected(Connection),
    /// It failed to connect: there is nothing more to do with it.
    Closed,
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

/// What Linux does where nothing is set. (`ip(7)`)
pub(super) const HOP_LIMIT: u8 = 64;

/// What Linux does where nothing is set. (`tcp(7)`)
const KEEP_ALIVE: KeepAlive =
    KeepAlive { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), probes: 9 };

impl Tcp {
    fn new(family: IpAddressFamily, state: State) -> Self {
        Self { family, state, keep_alive: KEEP_ALIVE, keeps_alive: false, hop_limit: None }
    }

    fn set_keep_alive(&mut self) -> SocketResult<()> {
        let wanted = self.keeps_alive.then_some(self.keep_alive);
        match &self.state {
            State::Connected(connection) => connection
                .with(|stream| stream.set_keep_alive(wanted))
                .map_err(|error| error_code(&error).into()),
            _ => Ok(()),
        }
    }

    fn set_hop_limit(&self) -> SocketResult<()> {
        match (&self.state, self.hop_limit) {
            (State::Connected(connection), Some(hops)) => connection
                .with(|stream| stream.set_hop_limit(hops))
                .map_err(|error| error_code(&error).into()),
            _ => Ok(()),
        }
    }
}

fn accept(listener: &Arc<Listener>) -> Pending<TcpStream> {
    let listener = Arc::clone(listener);
    Pending::start(async move { listener.accept().await })
}

impl tcp_create_socket::Host for Host {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Tcp>> {
        Ok(self.table.push(Tcp::new(family, State::New))?)
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
        let socket = self.table.get_mut(&socket)?;
        if !matches!(socket.state, State::New) {
            return Err(ErrorCode::InvalidState.into());
        }
        let address = unicast(local(address, socket.family)?)?;
        let listener = principal.listen(address).map_err(|error| error_code(&error))?;
        socket.state = State::Bound { listener: Arc::new(listener), started: true };
        Ok(())
    }

    fn finish_bind(&mut self, socket: Resource<Tcp>) -> SocketResult<()> {
        match &mut self.table.get_mut(&socket)?.state {
            State::Bound { started, .. } if *started => {
                *started = false;
                Ok(())
            }
            _ => Err(ErrorCode::NotInProgress.into()),
        }
    }

    fn start_connect(
        &mut self,
        socket: Resource<Tcp>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let principal = self.principal.clone();
        let socket = self.table.get_mut(&socket)?;
        match socket.state {
            State::New => {}
            State::Connecting(_) => return Err(ErrorCode::ConcurrencyConflict.into()),
            // The door connects from wherever the system likes.
            State::Bound { .. } => return Err(ErrorCode::NotSupported.into()),
            _ => return Err(ErrorCode::InvalidState.into()),
        }
        let address = unicast(remote(address, socket.family)?)?;
        let keep_alive = socket.keeps_alive.then_some(socket.keep_alive);
        let connecting = Pending::start(async move {
            let connector = principal.tcp_connector().nodelay(true).keep_alive(keep_alive);
            connector.connect_address(address).await
        });
        if let Some(code) = connecting.failed() {
            socket.state = State::Closed;
            return Err(code.into());
        }
        socket.state = State::Connecting(connecting);
        Ok(())
    }

    fn finish_connect(&mut self, socket: Resource<Tcp>) -> SocketResult<Streams> {
        let this = self.table.get_mut(&socket)?;
        let State::Connecting(connecting) = &mut this.state else {
            return Err(ErrorCode::NotInProgress.into());
        };
        let Some(connected) = connecting.take() else { return Err(ErrorCode::WouldBlock.into()) };
        this.state = State::Closed;
        let connection = Connection::new(connected?);
        this.state = State::Connected(connection.clone());
        this.set_hop_limit()?;
        self.streams(&socket, &connection)
    }

    fn start_listen(&mut self, socket: Resource<Tcp>) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        let listener = match &socket.state {
            State::Bound { listener, started: false } => Arc::clone(listener),
            State::Bound { .. } => return Err(ErrorCode::ConcurrencyConflict.into()),
            _ => return Err(ErrorCode::InvalidState.into()),
        };
        let next = accept(&listener);
        socket.state = State::Listening { listener, started: true, next };
        Ok(())
    }

    fn finish_listen(&mut self, socket: Resource<Tcp>) -> SocketResult<()> {
        match &mut self.table.get_mut(&socket)?.state {
            State::Listening { started, .. } if *started => {
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
        let State::Listening { listener, started: false, next } = &mut this.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        let Some(accepted) = next.take() else { return Err(ErrorCode::WouldBlock.into()) };
        *next = accept(listener);
        let connection = Connection::new(accepted?);
        let mut child = Tcp::new(this.family, State::Connected(connection.clone()));
        (child.keep_alive, child.keeps_alive) = (this.keep_alive, this.keeps_alive);
        child.hop_limit = this.hop_limit;
        child.set_keep_alive()?;
        child.set_hop_limit()?;
        let child = self.table.push(child)?;
        let (input, output) = self.streams(&child, &connection)?;
        Ok((child, input, output))
    }

    fn local_address(&mut self, socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        match &self.table.get(&socket)?.state {
            State::Bound { listener, started: false } | State::Listening { listener, .. } => {
                Ok(to_wasi(listener.local_addr()))
            }
            State::Connected(connection) => {
                let address = connection.with(TcpStream::local_addr);
                address.map(to_wasi).map_err(|error| error_code(&error).into())
            }
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn remote_address(&mut self, socket: Resource<Tcp>) -> SocketResult<IpSocketAddress> {
        match &self.table.get(&socket)?.state {
            State::Connected(connection) => Ok(to_wasi(connection.with(TcpStream::peer_addr))),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn is_listening(&mut self, socket: Resource<Tcp>) -> Result<bool> {
        Ok(matches!(self.table.get(&socket)?.state, State::Listening { started: false, .. }))
    }

    fn address_family(&mut self, socket: Resource<Tcp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.family)
    }

    /// It is a wish, as WASI says; the door has a length of its own.
    fn set_listen_backlog_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        match (&self.table.get(&socket)?.state, value) {
            (_, 0) => Err(ErrorCode::InvalidArgument.into()),
            (State::Connecting(_) | State::Connected(_), _) => Err(ErrorCode::InvalidState.into()),
            _ => Ok(()),
        }
    }

    fn keep_alive_enabled(&mut self, socket: Resource<Tcp>) -> SocketResult<bool> {
        Ok(self.table.get(&socket)?.keeps_alive)
    }

    fn set_keep_alive_enabled(&mut self, socket: Resource<Tcp>, value: bool) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        socket.keeps_alive = value;
        socket.set_keep_alive()
    }

    fn keep_alive_idle_time(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        Ok(nanoseconds(self.table.get(&socket)?.keep_alive.idle))
    }

    fn set_keep_alive_idle_time(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        socket.keep_alive.idle = whole_seconds(value)?;
        socket.set_keep_alive()
    }

    fn keep_alive_interval(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        Ok(nanoseconds(self.table.get(&socket)?.keep_alive.interval))
    }

    fn set_keep_alive_interval(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        socket.keep_alive.interval = whole_seconds(value)?;
        socket.set_keep_alive()
    }

    fn keep_alive_count(&mut self, socket: Resource<Tcp>) -> SocketResult<u32> {
        Ok(self.table.get(&socket)?.keep_alive.probes)
    }

    fn set_keep_alive_count(&mut self, socket: Resource<Tcp>, value: u32) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        socket.keep_alive.probes = value.min(MAX_PROBES);
        socket.set_keep_alive()
    }

    fn hop_limit(&mut self, socket: Resource<Tcp>) -> SocketResult<u8> {
        Ok(self.table.get(&socket)?.hop_limit.unwrap_or(HOP_LIMIT))
    }

    fn set_hop_limit(&mut self, socket: Resource<Tcp>, value: u8) -> SocketResult<()> {
        let socket = self.table.get_mut(&socket)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        socket.hop_limit = Some(value);
        socket.set_hop_limit()
    }

    /// What is set is a wish, as WASI says; this is what it comes to.
    fn receive_buffer_size(&mut self, socket: Resource<Tcp>) -> SocketResult<u64> {
        self.table.get(&socket)?;
        Ok(CHUNK_BYTES as u64)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<Tcp>, value: u64) -> SocketResult<()> {
        self.table.get(&socket)?;
        if value == 0 { Err(ErrorCode::InvalidArgument.into()) } else { Ok(()) }
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
        let State::Connected(connection) = &self.table.get(&socket)?.state else {
            return Err(ErrorCode::InvalidState.into());
        };
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

/// The most unanswered questions that Linux lets one ask. (`MAX_TCP_KEEPCNT`)
const MAX_PROBES: u32 = 127;

/// The longest time of keep-alive that Linux takes. (`MAX_TCP_KEEPIDLE`)
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(32_767);

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A time of keep-alive as the system takes it: in whole seconds, rounded up.
fn whole_seconds(nanoseconds: u64) -> SocketResult<Duration> {
    if nanoseconds == 0 {
        return Err(ErrorCode::InvalidArgument.into());
    }
    Ok(Duration::from_secs(nanoseconds.div_ceil(1_000_000_000)).min(MAX_KEEP_ALIVE))
}

/// Ready when a connection is there, or has failed to be.
#[async_trait]
impl Pollable for Tcp {
    async fn ready(&mut self) {
        if let State::Connecting(pending) | State::Listening { next: pending, .. } = &mut self.state {
            poll_fn(|cx| pending.poll(cx)).await;
        }
    }
}
