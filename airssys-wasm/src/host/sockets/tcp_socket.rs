//! A TCP socket, in whatever version of WASI the guest knows it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use airssys_osl::{
    Error, Principal,
    net::{Bound, KeepAlive, Listener, TcpStream},
};

use super::{
    address::{any, of_family, remote, unicast},
    code::error_code,
    stream::Connection,
};
use crate::host::bindings::wasi::sockets::network::{ErrorCode, IpAddressFamily};

/// A TCP socket: where it is between its creation and its end.
pub(crate) struct TcpSocket {
    family: IpAddressFamily,
    state: State,
    /// Shared with what accepts for it, which takes them over for each connection.
    options: Arc<Mutex<Options>>,
}

enum State {
    New,
    Bound(Box<Bound>),
    Listening(Arc<Listener>),
    Connecting,
    Connected(Connection),
    /// It failed: there is nothing more to do with it.
    Closed(ErrorCode),
}

/// What is set for a connection, also before there is one.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    keep_alive: KeepAlive,
    keeps_alive: bool,
    hop_limit: Option<u8>,
}

/// What takes the connections of a socket that listens. The socket may go before it.
#[derive(Clone)]
pub(crate) struct Acceptor {
    family: IpAddressFamily,
    listener: Arc<Listener>,
    options: Arc<Mutex<Options>>,
}

/// What Linux does where nothing is set. (`ip(7)`)
pub(super) const HOP_LIMIT: u8 = 64;

/// What Linux does where nothing is set. (`tcp(7)`)
const KEEP_ALIVE: KeepAlive =
    KeepAlive { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), probes: 9 };

/// The most unanswered questions that Linux lets one ask. (`MAX_TCP_KEEPCNT`)
const MAX_PROBES: u32 = 127;

/// The longest time of keep-alive that Linux takes. (`MAX_TCP_KEEPIDLE`)
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(32_767);

impl TcpSocket {
    pub(crate) fn new(family: IpAddressFamily) -> Self {
        let options = Options { keep_alive: KEEP_ALIVE, keeps_alive: false, hop_limit: None };
        Self { family, state: State::New, options: Arc::new(Mutex::new(options)) }
    }

    pub(crate) fn family(&self) -> IpAddressFamily {
        self.family
    }

    pub(crate) fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    /// Takes an address of this machine.
    pub(crate) fn bind(&mut self, principal: &Principal, address: SocketAddr) -> Result<(), ErrorCode> {
        if !self.is_new() {
            return Err(ErrorCode::InvalidState);
        }
        let address = unicast(of_family(address, self.family)?)?;
        let bound = principal.tcp_bind(address).map_err(|error| error_code(&error))?;
        self.state = State::Bound(Box::new(bound));
        Ok(())
    }

    /// Begins to connect. Whoever waits for what it returns tells [`connected`](Self::connected) what came of it.
    pub(crate) fn connect(
        &mut self,
        principal: &Principal,
        address: SocketAddr,
    ) -> Result<impl Future<Output = Result<TcpStream, Error>> + Send + use<>, ErrorCode> {
        if !matches!(self.state, State::New | State::Bound(_)) {
            return Err(ErrorCode::InvalidState);
        }
        let address = unicast(remote(address, self.family)?)?;
        let bound = match std::mem::replace(&mut self.state, State::Connecting) {
            State::Bound(bound) => Some(bound),
            _ => None,
        };
        let principal = principal.clone();
        Ok(async move {
            let Some(bound) = bound else {
                return principal.tcp_connector().nodelay(true).connect_address(address).await;
            };
            let stream = bound.connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    /// Goes on with what came of connecting.
    pub(crate) fn connected(&mut self, connected: Result<TcpStream, ErrorCode>) -> Result<(), ErrorCode> {
        let stream = connected.and_then(|stream| {
            self.options().set(&stream)?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => {
                self.state = State::Connected(Connection::new(stream));
                Ok(())
            }
            Err(code) => {
                self.state = State::Closed(code);
                Err(code)
            }
        }
    }

    /// Listens where it was bound, or else at any address and a port that the system picks.
    pub(crate) fn listen(&mut self, principal: &Principal) -> Result<Acceptor, ErrorCode> {
        let listener = match std::mem::replace(&mut self.state, State::Closed(ErrorCode::InvalidState)) {
            State::New => {
                self.state = State::New;
                principal.listen(any(self.family))
            }
            State::Bound(bound) => bound.listen(),
            other => {
                self.state = other;
                return Err(ErrorCode::InvalidState);
            }
        };
        let listener = Arc::new(listener.map_err(|error| error_code(&error))?);
        self.state = State::Listening(Arc::clone(&listener));
        Ok(Acceptor { family: self.family, listener, options: Arc::clone(&self.options) })
    }

    /// Its connection.
    pub(crate) fn connection(&self) -> Result<&Connection, ErrorCode> {
        match &self.state {
            State::Connected(connection) => Ok(connection),
            State::Closed(code) => Err(*code),
            _ => Err(ErrorCode::InvalidState),
        }
    }

    pub(crate) fn local_address(&self) -> Result<SocketAddr, ErrorCode> {
        match &self.state {
            State::Bound(bound) => Ok(bound.local_addr()),
            State::Listening(listener) => Ok(listener.local_addr()),
            _ => self.connection()?.with(TcpStream::local_addr).map_err(|error| error_code(&error)),
        }
    }

    pub(crate) fn remote_address(&self) -> Result<SocketAddr, ErrorCode> {
        Ok(self.connection()?.with(TcpStream::peer_addr))
    }

    /// It is a wish, as WASI says; the door has a length of its own.
    pub(crate) fn set_listen_backlog_size(&self, value: u64) -> Result<(), ErrorCode> {
        match (&self.state, value) {
            (_, 0) => Err(ErrorCode::InvalidArgument),
            (State::Connecting | State::Connected(_), _) => Err(ErrorCode::InvalidState),
            _ => Ok(()),
        }
    }

    pub(crate) fn options(&self) -> Options {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is set, also of the connection where there is one.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Options) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut options)?;
        match &self.state {
            State::Connected(connection) => connection.with(|stream| options.set(stream)),
            _ => Ok(()),
        }
    }
}

impl Acceptor {
    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> impl Future<Output = Result<TcpStream, Error>> + Send + use<> {
        let listener = Arc::clone(&self.listener);
        async move { listener.accept().await }
    }

    /// The socket of a connection, with the options of the one that listens, or of one that failed before it was one.
    pub(crate) fn accepted(&self, stream: Result<TcpStream, ErrorCode>) -> TcpSocket {
        let options = *self.options.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = stream.and_then(|stream| {
            options.set(&stream)?;
            Ok(stream)
        });
        let state = match stream {
            Ok(stream) => State::Connected(Connection::new(stream)),
            Err(code) => State::Closed(code),
        };
        TcpSocket { family: self.family, state, options: Arc::new(Mutex::new(options)) }
    }
}

impl Options {
    /// Sets a connection. What was never said is left as it is.
    fn set(&self, stream: &TcpStream) -> Result<(), ErrorCode> {
        let failed = |error: Error| error_code(&error);
        stream.set_keep_alive(self.keeps_alive.then_some(self.keep_alive)).map_err(failed)?;
        self.hop_limit.map_or(Ok(()), |hops| stream.set_hop_limit(hops)).map_err(failed)
    }

    pub(crate) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    pub(crate) fn set_keeps_alive(&mut self, value: bool) {
        self.keeps_alive = value;
    }

    /// In nanoseconds, as all times here.
    pub(crate) fn idle_time(&self) -> u64 {
        nanoseconds(self.keep_alive.idle)
    }

    pub(crate) fn set_idle_time(&mut self, value: u64) -> Result<(), ErrorCode> {
        self.keep_alive.idle = whole_seconds(value)?;
        Ok(())
    }

    pub(crate) fn interval(&self) -> u64 {
        nanoseconds(self.keep_alive.interval)
    }

    pub(crate) fn set_interval(&mut self, value: u64) -> Result<(), ErrorCode> {
        self.keep_alive.interval = whole_seconds(value)?;
        Ok(())
    }

    pub(crate) fn probes(&self) -> u32 {
        self.keep_alive.probes
    }

    pub(crate) fn set_probes(&mut self, value: u32) -> Result<(), ErrorCode> {
        if value == 0 {
            return Err(ErrorCode::InvalidArgument);
        }
        self.keep_alive.probes = value.min(MAX_PROBES);
        Ok(())
    }

    pub(crate) fn hop_limit(&self) -> u8 {
        self.hop_limit.unwrap_or(HOP_LIMIT)
    }

    pub(crate) fn set_hop_limit(&mut self, value: u8) -> Result<(), ErrorCode> {
        self.hop_limit = Some(hops(value)?);
        Ok(())
    }
}

/// Through how many routers something may go: one at least.
pub(super) fn hops(value: u8) -> Result<u8, ErrorCode> {
    if value == 0 { Err(ErrorCode::InvalidArgument) } else { Ok(value) }
}

/// A size of a buffer, which is a wish, as WASI says: any is, but none at all.
pub(crate) fn buffer_size(value: u64) -> Result<(), ErrorCode> {
    if value == 0 { Err(ErrorCode::InvalidArgument) } else { Ok(()) }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A time of keep-alive as the system takes it: in whole seconds, rounded up.
fn whole_seconds(nanoseconds: u64) -> Result<Duration, ErrorCode> {
    if nanoseconds == 0 {
        return Err(ErrorCode::InvalidArgument);
    }
    Ok(Duration::from_secs(nanoseconds.div_ceil(1_000_000_000)).min(MAX_KEEP_ALIVE))
}
