//! `wasi:sockets/ip-name-lookup`.

use std::{future::poll_fn, net::IpAddr, vec};

use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
};

use super::{Network, Pending, SocketResult, code::of_lookup};
use crate::host::{
    Host,
    bindings::wasi::sockets::{
        ip_name_lookup,
        network::{ErrorCode, IpAddress},
    },
};

/// The addresses of a host that is looked up.
pub struct Addresses {
    lookup: Pending<Vec<IpAddr>>,
    found: vec::IntoIter<IpAddr>,
}

impl ip_name_lookup::Host for Host {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<Addresses>> {
        self.table.get(&network)?;
        let principal = self.principal.clone();
        let lookup = Pending::start(async move { principal.resolve(&name).await });
        if let Some(code) = lookup.failed() {
            return Err(of_lookup(code).into());
        }
        Ok(self.table.push(Addresses { lookup, found: Vec::new().into_iter() })?)
    }
}

impl ip_name_lookup::HostResolveAddressStream for Host {
    fn resolve_next_address(&mut self, stream: Resource<Addresses>) -> SocketResult<Option<IpAddress>> {
        let stream = self.table.get_mut(&stream)?;
        match stream.lookup.take() {
            Some(Ok(found)) => stream.found = found.into_iter(),
            Some(Err(code)) => return Err(of_lookup(code).into()),
            None if matches!(stream.lookup, Pending::Running(_)) => return Err(ErrorCode::WouldBlock.into()),
            None => {}
        }
        Ok(stream.found.next().map(IpAddress::from))
    }

    fn subscribe(&mut self, stream: Resource<Addresses>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<Addresses>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        poll_fn(|cx| self.lookup.poll(cx)).await;
    }
}
