use std::{fmt, io, net::SocketAddr, sync::Arc};

use super::{
    TcpStream,
    connector::{has_scope, scoped},
    held::{Held, Opening, Socket, error},
    subject::{Subject, url},
};
use crate::{
    Action, Error, Principal,
    os::{Done, Fault, Name, Operation},
    policy::Protocol,
    sys,
};

/// A TCP socket that others connect to.
///
/// When it is dropped it is closed, with a record. What was accepted stays open; it is cut together with the listener
/// where a new policy does not permit that one any more.
pub struct Listener {
    socket: Arc<Socket<tokio::net::TcpListener>>,
    local: SocketAddr,
}

impl Principal {
    /// Listens on an address of this machine. Port 0 is one that the system picks.
    ///
    /// An IPv6 socket takes no IPv4 connections: `0.0.0.0` is named, and listened on, by itself. Leaves a record before
    /// and after.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): no grant names the address and the port.
    /// * [`Invalid`](crate::ErrorKind::Invalid): an IPv6 address with a scope.
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): the principal has as many open as it may.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused, for instance because the port is taken.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time.
    pub fn listen(&self, local: SocketAddr) -> Result<Listener, Error> {
        let listen = |local| {
            let io = sys::listen(local)?;
            let bound = io.local_addr()?;
            Ok((io, bound))
        };
        let (io, local, held) = self.take_local(local, listen)?;
        Ok(Listener::of(io, local, held))
    }

    /// Takes an address of this machine for TCP: decided, recorded, and done by `take`, which says what it got.
    pub(super) fn take_local<S>(
        &self,
        local: SocketAddr,
        take: impl FnOnce(SocketAddr) -> io::Result<(S, SocketAddr)>,
    ) -> Result<(S, SocketAddr, Held), Error> {
        if has_scope(local) {
            return Err(scoped(self, local));
        }
        let standing = self.standing();
        self.account().configure(&standing.limits());
        let subject = Subject::endpoint(Protocol::Tcp, [], local);
        let decision = subject.decide(&standing, Action::NetListen);
        let resource = url(Protocol::Tcp, super::Host::Address(local.ip()), local.port());
        let operation = Operation { mutates: true, ..self.operation(Action::NetListen, resource.as_bytes()) };
        let running = operation.begin(decision, standing.epoch)?;
        let taken = match self.account().try_slot() {
            Some(slot) => take(local).map(|taken| Done::new((taken, slot))).map_err(Fault::Os),
            None => Err(Fault::TooMany),
        };
        let ((io, bound), slot) = running.finish(taken)?;
        let held = Held::new(Opening {
            principal: self,
            action: Action::NetListen,
            subject,
            resource: url(Protocol::Tcp, super::Host::Address(bound.ip()), bound.port()).into_bytes().into(),
            peer: "".into(),
            rule: decision.rule.into(),
            epoch: standing.epoch,
            slot,
        });
        Ok((io, bound, held))
    }

    /// Asks whether it may answer what comes in at `local`, where another principal of the program listens. Leaves a record,
    /// as [`Listener::accept`] does; it is no use that its grant counts.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied): it may not listen there.
    pub fn may_answer(&self, local: SocketAddr) -> Result<(), Error> {
        let standing = self.standing().for_open();
        let decision = Subject::endpoint(Protocol::Tcp, [], local).decide(&standing, Action::NetListen);
        let resource = url(Protocol::Tcp, super::Host::Address(local.ip()), local.port());
        let operation = self.operation(Action::NetListen, resource.as_bytes());
        operation.begin(decision, standing.epoch)?.finish(Ok(Done::new(())))
    }
}

impl Listener {
    /// Of a socket that was bound before.
    pub(super) fn of(io: tokio::net::TcpListener, local: SocketAddr, held: Held) -> Self {
        Self { socket: Socket::keep(io, held), local }
    }

    /// The address that is listened on, with the port that the system picked.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next connection. Its record names the peer.
    ///
    /// Where the principal has as many open as it may, it waits until something closes; until then, connections wait in
    /// the system's queue.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): the principal was revoked, or a new policy does not permit it. The
    ///   listener is closed.
    /// * [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): it cannot be recorded; the connection was closed.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost: what was not returned waits for the next call.
    pub async fn accept(&self) -> Result<TcpStream, Error> {
        let accepting = || format!("accept a connection on `{}`", self.socket.held.name());
        let slot = self.socket.room().await.map_err(|failed| error(accepting(), failed))?;
        let (io, peer) = loop {
            match self.socket.io.accept().await {
                Ok(accepted) => break accepted,
                // The peer gave up in the queue.
                Err(failed) if failed.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(failed) => return Err(error(accepting(), self.refused(failed))),
            }
        };
        self.socket.check().map_err(|failed| error(accepting(), failed))?;
        let held = &self.socket.held;
        let principal = held.principal();
        let standing = principal.standing().for_open();
        let decision = held.subject().decide(&standing, held.action());
        let from = peer.to_string();
        let operation = Operation {
            other: Some(Name::plain(from.as_bytes())),
            ..principal.operation(Action::NetAccept, held.resource())
        };
        operation.begin(decision, standing.epoch)?.finish(Ok(Done::new(())))?;
        let opening = Opening {
            principal,
            action: Action::NetListen,
            subject: held.subject().clone(),
            resource: held.resource().clone(),
            peer: from.into(),
            rule: decision.rule.into(),
            epoch: standing.epoch,
            slot,
        };
        Ok(TcpStream::new(io, peer, &standing.limits(), opening))
    }

    /// A listener that was cut refuses because of that. Other refusals, such as too many descriptors, pass.
    fn refused(&self, failed: io::Error) -> io::Error {
        self.socket.check().err().unwrap_or(failed)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local", &self.local).finish_non_exhaustive()
    }
}
