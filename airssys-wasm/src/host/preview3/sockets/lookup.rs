//! `wasi:sockets/ip-name-lookup`.

use wasmtime::{
    Result,
    component::{Accessor, HasSelf},
};

use super::super::bindings::wasi::sockets::{
    ip_name_lookup::{ErrorCode, Host as Lookup, HostWithStore},
    types::IpAddress,
};
use crate::{
    host::{
        Host,
        sockets::{of_lookup, socket_error},
    },
    instance::State,
};

impl Lookup for Host {}

impl HostWithStore<State> for HasSelf<Host> {
    async fn resolve_addresses(
        guest: &Accessor<State, Self>,
        name: String,
    ) -> Result<std::result::Result<Vec<IpAddress>, ErrorCode>> {
        let principal = guest.with(|mut access| access.get().principal.clone());
        Ok(match principal.resolve(&name).await {
            Ok(found) => Ok(found.into_iter().map(|address| address.to_canonical().into()).collect()),
            Err(error) => Err(of_lookup(socket_error(&error)).into()),
        })
    }
}
