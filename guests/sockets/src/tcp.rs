//! TCP, as client and as server.

use crate::{
    address,
    bindings::wasi::{
        io::streams::{InputStream, OutputStream, StreamError},
        sockets::{
            instance_network::instance_network,
            network::{ErrorCode, IpAddressFamily},
            tcp::{ShutdownType, TcpSocket},
            tcp_create_socket::create_tcp_socket,
        },
    },
};

/// An open connection. The streams live within the socket: they are dropped first.
pub(crate) struct Connection {
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
}

pub(crate) fn connect(to: &str) -> Result<Connection, ErrorCode> {
    let (family, address) = address::parse(to)?;
    let socket = create_tcp_socket(family)?;
    socket.start_connect(&instance_network(), address)?;
    loop {
        match socket.finish_connect() {
            Ok((input, output)) => return Ok(Connection { input, output, socket }),
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            Err(code) => return Err(code),
        }
    }
}

/// Sends all, says that this was all, and gives what comes until the end.
pub(crate) fn ask(to: &str, payload: &[u8]) -> Result<String, ErrorCode> {
    let connection = connect(to)?;
    connection.write(payload)?;
    connection.socket.shutdown(ShutdownType::Send)?;
    let answer = connection.read_to_end()?;
    let peer = address::show(connection.socket.remote_address()?);
    Ok(format!(
        "{peer} said {} bytes: {}",
        answer.len(),
        String::from_utf8_lossy(answer.get(..40).unwrap_or(&answer))
    ))
}

impl Connection {
    /// Sends something, and waits for as much to come back.
    pub(crate) fn echo(&self, payload: &[u8]) -> Result<String, ErrorCode> {
        self.write(payload)?;
        let mut answer = Vec::new();
        while answer.len() < payload.len() {
            match self.input.blocking_read(4_096) {
                Ok(bytes) => answer.extend_from_slice(&bytes),
                Err(StreamError::Closed) => return Ok("closed".to_owned()),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Ok(format!("failed: {}", error.to_debug_string()));
                }
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Writes without ever blocking in the call: by `check-write` and polling.
    fn write(&self, mut payload: &[u8]) -> Result<(), ErrorCode> {
        let failed = |_: StreamError| ErrorCode::ConnectionReset;
        while !payload.is_empty() {
            let permit = self.output.check_write().map_err(failed)? as usize;
            if permit == 0 {
                self.output.subscribe().block();
                continue;
            }
            let (now, later) = payload.split_at(payload.len().min(permit));
            self.output.write(now).map_err(failed)?;
            payload = later;
        }
        self.output.blocking_flush().map_err(failed)
    }

    fn read_to_end(&self) -> Result<Vec<u8>, ErrorCode> {
        let mut all = Vec::new();
        loop {
            match self.input.read(65_536) {
                Ok(bytes) if bytes.is_empty() => self.input.subscribe().block(),
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(StreamError::Closed) => return Ok(all),
                Err(StreamError::LastOperationFailed(_)) => return Err(ErrorCode::ConnectionReset),
            }
        }
    }
}

pub(crate) fn listen(on: &str) -> Result<(TcpSocket, String), ErrorCode> {
    let (family, address) = address::parse(on)?;
    let socket = create_tcp_socket(family)?;
    socket.start_bind(&instance_network(), address)?;
    socket.finish_bind()?;
    socket.start_listen()?;
    socket.finish_listen()?;
    let local = address::show(socket.local_address()?);
    Ok((socket, local))
}

/// Waits for one connection and gives back what comes through it.
pub(crate) fn serve_one(listener: &TcpSocket) -> Result<String, ErrorCode> {
    let (socket, input, output) = loop {
        match listener.accept() {
            Ok(accepted) => break accepted,
            Err(ErrorCode::WouldBlock) => listener.subscribe().block(),
            Err(code) => return Err(code),
        }
    };
    let connection = Connection { input, output, socket };
    let all = connection.read_to_end()?;
    connection.write(&all)?;
    Ok(format!("{} said {} bytes", address::show(connection.socket.remote_address()?), all.len()))
}

pub(crate) fn accept_now(listener: &TcpSocket) -> Result<String, ErrorCode> {
    listener.accept().map(|_| "accepted".to_owned())
}

/// Calls in orders that are wrong, and what each is answered with.
pub(crate) fn wrong_orders() -> String {
    let network = instance_network();
    let new = || create_tcp_socket(IpAddressFamily::Ipv4);
    let (Ok(one), Ok(other)) = (new(), new()) else { return "no sockets".to_owned() };
    let connect = |to: &str| address::parse(to).and_then(|(_, address)| one.start_connect(&network, address));
    let bind = |on: &str| address::parse(on).and_then(|(_, address)| other.start_bind(&network, address));
    let answers = [
        ("finish-bind", one.finish_bind()),
        ("finish-connect", one.finish_connect().map(drop)),
        ("start-listen", one.start_listen()),
        ("finish-listen", one.finish_listen()),
        ("accept", one.accept().map(drop)),
        ("local-address", one.local_address().map(drop)),
        ("remote-address", one.remote_address().map(drop)),
        ("shutdown", one.shutdown(ShutdownType::Both)),
        ("connect [::1]:1", connect("[::1]:1")),
        ("connect 0.0.0.0:1", connect("0.0.0.0:1")),
        ("connect 127.0.0.1:0", connect("127.0.0.1:0")),
        ("bind", bind("127.0.0.1:0")),
        ("bind again", bind("127.0.0.1:0")),
        ("listen while binding", other.start_listen()),
        ("finish-bind", other.finish_bind()),
        ("bind a third time", bind("127.0.0.1:0")),
    ];
    let show = |(what, answer): &(&str, Result<(), ErrorCode>)| match answer {
        Ok(()) => format!("{what}: ok"),
        Err(code) => format!("{what}: {}", code.name()),
    };
    answers.iter().map(show).collect::<Vec<_>>().join("\n")
}

/// Sets options and reads them back.
pub(crate) fn options() -> Result<String, ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.set_keep_alive_enabled(true)?;
    socket.set_keep_alive_idle_time(1_500_000_000)?;
    socket.set_keep_alive_count(1_000)?;
    socket.set_receive_buffer_size(1 << 20)?;
    Ok(format!(
        "{} {} {} {:?} {:?}",
        socket.keep_alive_enabled()?,
        socket.keep_alive_idle_time()?,
        socket.keep_alive_count()?,
        socket.set_send_buffer_size(0).map_err(|code| code.name()),
        socket.set_hop_limit(5).map_err(|code| code.name()),
    ))
}
