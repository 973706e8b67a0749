//! `wasi:sockets`: linked so that components which import it start, and denied by the door.
//!
//! A socket here is a value without a kernel object. Each use that would touch the network asks the door, with the
//! address as its resource. No component's manifest can grant one yet, so each is denied and on the record.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

mod tcp;
mod udp;

pub use tcp::Tcp;
pub use udp::Udp;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use airssys_osl::{Action, ErrorKind};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
};

use super::{
    Host,
    bindings::wasi::sockets::{
        instance_network, ip_name_lookup, network,
        network::{ErrorCode, IpAddress, IpSocketAddress},
    },
};

/// The network: there is one, and the door stands before it.
pub struct Network;

/// An error code for the guest, or a trap.
#[derive(Debug)]
pub(crate) enum SocketError {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

type SocketResult<T> = std::result::Result<T, SocketError>;

impl Host {
    /// Asks the door for something that it cannot permit yet.
    fn refuse_network(&self, action: Action, resource: &str) -> SocketError {
        let refused = match self.principal.attempt(action, resource) {
            Ok(never) => match never {},
            Err(refused) => refused,
        };
        SocketError::Code(match refused.kind() {
            ErrorKind::Denied => ErrorCode::AccessDenied,
            _ => ErrorCode::NotSupported,
        })
    }

    /// A pollable for something that answers at once.
    fn ready(&mut self) -> Result<Resource<DynPollable>> {
        let ready = self.table.push(Ready)?;
        subscribe(&mut self.table, ready)
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

    fn network_error_code(&mut self, _error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        Ok(None)
    }
}

impl network::HostNetwork for Host {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

impl ip_name_lookup::Host for Host {
    fn resolve_addresses(
        &mut self,
        _network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ip_name_lookup::ResolveAddressStream>> {
        Err(self.refuse_network(Action::NetResolve, &name))
    }
}

/// No lookup succeeds, so there is never a stream of addresses.
impl ip_name_lookup::HostResolveAddressStream for Host {
    fn resolve_next_address(
        &mut self,
        _stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        Err(ErrorCode::InvalidState.into())
    }

    fn subscribe(
        &mut self,
        _stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> Result<Resource<DynPollable>> {
        self.ready()
    }

    fn drop(&mut self, stream: Resource<ip_name_lookup::ResolveAddressStream>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

fn socket_address(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(v4) => {
            let (a, b, c, d) = v4.address;
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), v4.port).into()
        }
        IpSocketAddress::Ipv6(v6) => {
            let (a, b, c, d, e, f, g, h) = v6.address;
            let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
            SocketAddrV6::new(address, v6.port, v6.flow_info, v6.scope_id).into()
        }
    }
}

struct Ready;

#[async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {}
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
