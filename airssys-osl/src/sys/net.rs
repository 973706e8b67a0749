//! Sockets, by tokio and `rustix`.

#[cfg(unix)]
use std::path::Path;
use std::{io, net::SocketAddr};

use rustix::{
    fd::AsFd,
    io::Errno,
    net::{self, RecvFlags, SendFlags, Shutdown, sockopt},
};
#[cfg(unix)]
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketType},
};
#[cfg(unix)]
use tokio::net::UnixDatagram;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
#[cfg(target_os = "linux")]
use tokio::net::{UnixListener, UnixStream};

use crate::net::KeepAlive;

/// How many connections wait to be accepted. The kernel cuts it to its own limit.
const BACKLOG: u16 = 1024;

/// Has one call not wait. Windows has no word for that: there, every socket of ours is one that does not.
#[cfg(unix)]
const PEEK_NOW: RecvFlags = RecvFlags::PEEK.union(RecvFlags::DONTWAIT);
#[cfg(windows)]
const PEEK_NOW: RecvFlags = RecvFlags::PEEK;

/// As [`PEEK_NOW`]. Linux alone has a flag that holds the signal back; elsewhere the standard library has the program ignore it.
#[cfg(target_os = "linux")]
const SEND_NOW: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(all(unix, not(target_os = "linux")))]
const SEND_NOW: SendFlags = SendFlags::DONTWAIT;
#[cfg(windows)]
const SEND_NOW: SendFlags = SendFlags::empty();

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

shut!(TcpListener, TcpStream, UdpSocket);
#[cfg(unix)]
shut!(UnixDatagram);
#[cfg(target_os = "linux")]
shut!(UnixListener, UnixStream);

/// Connects. Where the peer is near the kernel is done at once, and nothing waits.
#[cfg(unix)]
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

/// Connects.
#[cfg(windows)]
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Begins to connect, or asks whether that is done.
#[cfg(unix)]
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
    Ok(net::send(socket, bytes, SEND_NOW)?)
}

#[cfg(unix)]
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, SocketType::STREAM)?;
    // A server that starts again shall not wait for what its last life left behind.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG.into())?;
    TcpListener::from_std(socket.into())
}

/// On Windows `::` is no IPv4 address unless one asks for it, and a port whose last life is not over can be had without
/// asking: who asks for that there takes it from those who have it.
#[cfg(windows)]
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(address)?;
    socket.listen(BACKLOG.into())
}

/// Binds a socket that listens or connects later. Until then its port is nobody else's: Linux lends one that nobody listens at to
/// whoever reuses addresses, if all who have it do.
#[cfg(unix)]
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    match socket.bind(address) {
        // It may be what a last life left behind, as for a listener.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() != 0 => {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.set_reuseaddr(false)?;
        }
        bound => bound?,
    }
    Ok(socket)
}

/// Binds a socket that listens or connects later.
#[cfg(windows)]
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(address)?;
    Ok(socket)
}

/// Has a socket listen that was bound before.
pub(crate) fn listen_on(socket: TcpSocket) -> io::Result<TcpListener> {
    #[cfg(unix)]
    leave_to_the_next(&socket)?;
    socket.listen(BACKLOG.into())
}

/// Connects a socket that was bound before.
pub(crate) async fn connect_from(socket: TcpSocket, address: SocketAddr) -> io::Result<TcpStream> {
    #[cfg(unix)]
    leave_to_the_next(&socket)?;
    socket.connect(address).await
}

/// Has what a socket leaves behind, and what it accepts, not stand in the way of who binds its port next: Linux asks both.
#[cfg(unix)]
fn leave_to_the_next(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseaddr(true)
}

#[cfg(windows)]
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

#[cfg(unix)]
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, SocketType::DGRAM)?;
    net::bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

#[cfg(target_os = "linux")]
pub(crate) async fn connect_unix(address: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(address).await
}

#[cfg(unix)]
pub(crate) fn connect_unix_datagram(address: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(address)?;
    Ok(socket)
}

/// `address` begins with a NUL.
#[cfg(target_os = "linux")]
pub(crate) fn listen_abstract(address: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(address)
}

/// Whether nothing has come on a connection, neither bytes nor the end. It asks the kernel, not what tokio has heard.
pub(crate) fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [0_u8];
    matches!(net::recv(stream, &mut byte, PEEK_NOW), Err(Errno::WOULDBLOCK))
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
        true => sockopt::set_ip_ttl(socket.as_fd(), hops.into())?,
        false => sockopt::set_ipv6_unicast_hops(socket.as_fd(), Some(hops))?,
    }
    Ok(())
}

#[cfg(unix)]
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

#[cfg(all(unix, not(target_os = "linux")))]
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
