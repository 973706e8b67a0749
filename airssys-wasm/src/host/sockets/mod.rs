//! `wasi:sockets`: TCP, UDP and lookups of the door. What sockets do is `tcp_socket` and `udp_socket`, for 0.3 as well; `tcp`,
//! `udp` and `lookup` are 0.2's words for it.
//!
//! Each start of something (connect, bind, lookup, the first datagram to an address) is one operation of the component's
//! principal: decided, recorded, and done. What is started goes on while the guest polls; no task is left behind when the
//! guest drops it.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

mod address;
mod code;
mod lookup;
mod stream;
mod tcp;
mod tcp_socket;
mod udp;
mod udp_socket;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use self::code::error_code;
pub(crate) use self::{
    address::addresses,
    code::{error_code as socket_error, of_io, of_lookup},
    stream::Connection,
    tcp_socket::{Acceptor, Options, TcpSocket, buffer_size},
    udp_socket::{UdpSocket, send},
};
pub use self::{
    lookup::Addresses,
    tcp::Tcp,
    udp::{Incoming, Outgoing, Udp},
};
use wasmtime::{Result, component::Resource};

use super::{
    Host,
    bindings::wasi::sockets::{instance_network, network, network::ErrorCode},
    stream::now,
};

/// The network: there is one, and the door stands before it.
pub struct Network;

/// An error code for the guest, or a trap.
#[derive(Debug)]
pub enum SocketError {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

pub(crate) type SocketResult<T> = std::result::Result<T, SocketError>;

/// An operation of the door that was started and is looked at again and again.
enum Pending<T> {
    Running(Pin<Box<dyn Future<Output = std::result::Result<T, airssys_osl::Error>> + Send>>),
    Done(Option<std::result::Result<T, ErrorCode>>),
}

impl<T> Pending<T> {
    /// Starts it: what can be decided at once, is.
    fn start(
        operation: impl Future<Output = std::result::Result<T, airssys_osl::Error>> + Send + 'static,
    ) -> Self {
        let mut pending = Self::Running(Box::pin(operation));
        let _ = pending.poll(&mut now());
        pending
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Running(running) = self {
            let Poll::Ready(done) = running.as_mut().poll(cx) else { return Poll::Pending };
            *self = Self::Done(Some(done.map_err(|error| error_code(&error))));
        }
        Poll::Ready(())
    }

    /// Gives what came of it, once: nothing as long as it goes on, and again after that.
    fn take(&mut self) -> Option<std::result::Result<T, ErrorCode>> {
        let _ = self.poll(&mut now());
        match self {
            Self::Running(_) => None,
            Self::Done(done) => done.take(),
        }
    }

    /// The error of one that failed already.
    fn failed(&self) -> Option<ErrorCode> {
        match self {
            Self::Done(Some(Err(code))) => Some(*code),
            _ => None,
        }
    }
}

impl instance_network::Host for Host {
    fn instance_network(&mut self) -> Result<Resource<Network>> {
        Ok(self.table.push(Network)?)
    }
}

impl network::Host for Host {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        match error {
            SocketError::Code(code) => Ok(code),
            SocketError::Trap(error) => Err(error),
        }
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<std::io::Error>().map(of_io))
    }
}

impl network::HostNetwork for Host {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

impl From<ErrorCode> for SocketError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<wasmtime::component::ResourceTableError> for SocketError {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}
