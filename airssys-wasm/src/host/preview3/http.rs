//! `wasi:http`, as a client: the resources are Wasmtime's, as in 0.2, and what leaves the sandbox goes through the same client.

use wasmtime::{
    Result,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi_http::{
    WasiHttp,
    p3::{
        Request, Response,
        bindings::http::{
            client::HostWithStore,
            types::{self, ErrorCode},
        },
    },
};

use super::super::http::newer;
use crate::instance::State;

const CLIENT: &str = "wasi:http/client@0.3.0";

type Sent = std::result::Result<Resource<Response>, ErrorCode>;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    types::add_to_linker::<State, WasiHttp>(linker, newer)?;
    linker.instance(CLIENT)?.func_wrap_concurrent("send", |guest, (request,): (Resource<Request>,)| {
        Box::pin(async move { Ok((send(guest, request).await?,)) })
    })
}

async fn send(guest: &Accessor<State>, request: Resource<Request>) -> Result<Sent> {
    guest.with(|mut access| {
        let request = access.get().host.table.get_mut(&request)?;
        // "When none, this represents an empty Path": Wasmtime finds none of its own accord invalid.
        request.path_with_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
        Ok::<_, wasmtime::Error>(())
    })?;
    let guest = guest.with_getter::<WasiHttp>(newer);
    match <WasiHttp as HostWithStore<State>>::send(&guest, request).await {
        Ok(response) => Ok(Ok(response)),
        Err(failed) => failed.downcast().map(Err),
    }
}
