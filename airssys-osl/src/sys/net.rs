//! Sockets, by tokio and `rustix`.

use std::{io, net::SocketAddr, path::Path};

use rustix::{
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketType, sockopt},
};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};

use crate::net::KeepAlive;

/// How many connections wait to be accepted. The kernel cuts it to its own limit.
const BACKLOG: i32 = 1024;

/// What can be ended without being owned.
pub(crate) trait Shut {
    /// Ends both directions: whoever waits for it wakes up.
    fn shut(&self);

    /// Ends the direction of sending.
    fn finish(&self) -> io::Result<()>;
}

macro_rules! shut {
    ($($socket:ty),*) => {
        $(impl Shut for $socket {
            fn shut(&self) {
                // A socket without a peer refuses, and wakes those who wait for it all the same.
                let _ = net::shutdown(self, Shutdown::Both);
            }

            fn finish(&self) -> io::Result<()> {
                match net::shutdown(self, Shutdown::Write) {
                    // The peer was faster.
                    Err(Errno::NOTCONN) => Ok(()),
                    result => Ok(result?),
                }
            }
        })*
    };
}

shut!(TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream);

/// Connects. Where the peer is near the kernel is done at once, and nothing waits.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(address, SocketType::STREAM)?;
    // A peer on this machine has answered before the first call returns, which says all the same that it goes on. The second
    // one tells, for a fraction of what it costs to hear of it from the runtime.
    let connected = try_connect(&socket, address)? || try_connect(&socket, address)?;
    let stream = TcpStream::from_std(socket.into())?;
    if !connected {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(stream)
}

/// Begins to connect, or asks whether that is done.
fn try_connect(socket: &OwnedFd, address: SocketAddr) -> io::Result<bool> {
    match net::connect(socket, &address) {
        Ok(()) | Err(Errno::ISCONN) => Ok(true),
        // A signal does not stop it: it goes on in the kernel.
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sends without asking tokio whether it can: a new connection is writable before anyone has heard of it.
pub(crate) fn send_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // Elsewhere no flag holds the signal back, and the standard library has the program ignore it.
    #[cfg(target_os = "linux")]
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = SendFlags::DONTWAIT;
    Ok(net::send(socket, bytes, flags)?)
}

pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, SocketType::STREAM)?;
    // A server that starts again shall not wait for what its last life left behind.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, SocketType::DGRAM)?;
    net::bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

pub(crate) async fn connect_unix(address: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(address).await
}

pub(crate) fn connect_unix_datagram(address: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(address)?;
    Ok(socket)
}

/// `address` begins with a NUL.
pub(crate) fn listen_abstract(address: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(address)
}

/// Whether nothing has come on a connection, neither bytes nor the end. It asks the kernel, not what tokio has heard.
pub(crate) fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [0_u8];
    matches!(net::recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
}

pub(crate) fn set_nodelay(stream: &TcpStream, on: bool) -> io::Result<()> {
    stream.set_nodelay(on)
}

pub(crate) fn set_keep_alive(stream: &TcpStream, keep_alive: Option<KeepAlive>) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, keep_alive.is_some())?;
    if let Some(KeepAlive { idle, interval, probes }) = keep_alive {
        sockopt::set_tcp_keepidle(stream, idle)?;
        sockopt::set_tcp_keepintvl(stream, interval)?;
        sockopt::set_tcp_keepcnt(stream, probes)?;
    }
    Ok(())
}

/// Sets through how many routers what is sent may go.
pub(crate) fn set_hop_limit(socket: &impl AsFd, peer: SocketAddr, hops: u8) -> io::Result<()> {
    match peer.is_ipv4() {
        true => sockopt::set_ip_ttl(socket, hops.into())?,
        false => sockopt::set_ipv6_unicast_hops(socket, Some(hops))?,
    }
    Ok(())
}

fn socket(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = open_socket(family, kind)?;
    if address.is_ipv6() {
        // `::` shall be what was decided: no IPv4 address, which `0.0.0.0` names.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn open_socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let flags = net::SocketFlags::CLOEXEC | net::SocketFlags::NONBLOCK;
    Ok(net::socket_with(family, kind, flags, None)?)
}

#[cfg(not(target_os = "linux"))]
fn open_socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = net::socket(family, kind, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn options_reach_the_socket() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let stream = connect(listener.local_addr().unwrap()).await.unwrap();
        let keep_alive =
            KeepAlive { idle: Duration::from_secs(30), interval: Duration::from_secs(5), probes: 3 };
        set_keep_alive(&stream, Some(keep_alive)).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), keep_alive.idle);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), keep_alive.interval);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), keep_alive.probes);
        set_keep_alive(&stream, None).unwrap();
        assert!(!sockopt::socket_keepalive(&stream).unwrap());
        set_nodelay(&stream, true).unwrap();
        assert!(sockopt::tcp_nodelay(&stream).unwrap());
        set_hop_limit(&stream, stream.peer_addr().unwrap(), 42).unwrap();
        assert_eq!(sockopt::ip_ttl(&stream).unwrap(), 42);
    }
}
