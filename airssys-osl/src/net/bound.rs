//! TCP sockets that have an address of this machine, before they listen or connect.

use std::{fmt, io, net::SocketAddr};

use tokio::time::timeout;

use super::{
    Host, Listener, TcpStream,
    connector::{has_scope, scoped},
    held::{Held, Opening, error},
    subject::{Subject, url},
};
use crate::{
    Action, Error, ErrorKind, Principal,
    os::{Done, Fault, Name, Operation},
    policy::Protocol,
    sys,
};

/// A TCP socket that is bound to an address of this machine, and not yet what it will be: a [`Listener`], or a connection
/// from that address.
///
/// It is for programs that bind by one call and go on by another. Who knows that it will listen calls
/// [`Principal::listen`], and who does not mind where it connects from, [`Principal::tcp_connector`]. When it is dropped, or
/// connects, it leaves the record of its end; as a listener it lives on.
pub struct Bound {
    io: tokio::net::TcpSocket,
    local: SocketAddr,
    held: Held,
}

impl Principal {
    /// Binds a TCP socket to an address of this machine, which takes the same grant as listening there. Port 0 is one that
    /// the system picks. Leaves a record before and after.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub fn tcp_bind(&self, local: SocketAddr) -> Result<Bound, Error> {
        let bind = |local| {
            let io = sys::bind_tcp(local)?;
            let bound = io.local_addr()?;
            Ok((io, bound))
        };
        let (io, local, held) = self.take_local(local, bind)?;
        Ok(Bound { io, local, held })
    }
}

impl Bound {
    /// The address, with the port that the system picked.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Listens from here on. That it may was recorded when it was bound.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the principal was revoked, or a new policy does not permit it.
    /// * [`Io`](ErrorKind::Io): the operating system refused, for instance because another listens there by now.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub fn listen(self) -> Result<Listener, Error> {
        // Where it fails, the socket closes first, then its end is recorded.
        let Self { held, local, io } = self;
        let listening = || format!("listen on `{}`", held.name());
        held.check().map_err(|failed| error(listening(), failed))?;
        let io = sys::listen_on(io).map_err(|failed| Error::io(listening(), failed))?;
        Ok(Listener::of(io, local, held))
    }

    /// Connects from here to an address. Hosts that the principal looked up a short while ago speak for their addresses.
    ///
    /// # Errors
    ///
    /// As [`TcpConnector::connect_address`](super::TcpConnector::connect_address), and [`Denied`](ErrorKind::Denied) where
    /// a new policy does not permit that it is bound any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up what is under way; the record then says `cancelled`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub async fn connect(self, address: SocketAddr) -> Result<TcpStream, Error> {
        // Where it fails, the socket closes first, then its end is recorded.
        let Self { mut held, io, .. } = self;
        let principal = held.principal().clone();
        if has_scope(address) {
            return Err(scoped(&principal, address));
        }
        let resource = url(Protocol::Tcp, Host::Address(address.ip()), address.port());
        let connecting = || format!("connect to `{resource}`");
        held.check().map_err(|failed| error(connecting(), failed))?;
        let standing = principal.standing();
        let limits = standing.limits();
        let subject = Subject::endpoint(Protocol::Tcp, principal.account().hosts_of(address.ip()), address);
        let decision = subject.decide(&standing, Action::NetConnect);
        let peer = address.to_string();
        let operation = Operation {
            other: Some(Name::plain(peer.as_bytes())),
            mutates: true,
            ..principal.operation(Action::NetConnect, resource.as_bytes())
        };
        let execute = async {
            let late = |_| Err(io::Error::from_raw_os_error(sys::errno::TIMED_OUT));
            let connected =
                timeout(limits.connect_timeout, sys::connect_from(io, address)).await.unwrap_or_else(late);
            connected.map(Done::new).map_err(Fault::Os)
        };
        let io = operation.run(decision, standing.epoch, execute).await?;
        let slot = held.take_slot().ok_or_else(|| Error::new(ErrorKind::Bug, connecting()))?;
        let opening = Opening {
            principal: &principal,
            action: Action::NetConnect,
            subject,
            resource: resource.into_bytes().into(),
            peer: peer.into(),
            rule: decision.rule.into(),
            epoch: standing.epoch,
            slot,
        };
        Ok(TcpStream::new(io, address, &limits, opening))
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("local", &self.local).finish_non_exhaustive()
    }
}
