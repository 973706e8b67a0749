//! `wasi:http`: requests over connections of the door.
//!
//! The resources and their methods are Wasmtime's; what leaves the sandbox goes through [`client`]. Each request is decided
//! anew, by the host, the port and every address: a redirect is an answer like any other, and following it is the guest's
//! own next request. WASI 0.3 goes the same way (`preview3/http.rs`).

mod body;
mod client;
mod error;
mod moving;
mod trust;
mod whole;

use std::sync::{Arc, atomic::AtomicBool};

use airssys_osl::{Principal, trace};
use http::uri::Scheme;
use wasmtime::{
    Result as Linked, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, p2,
};

use self::client::Client;
pub(crate) use self::{
    body::{Bounded, Message},
    whole::{Alarm, Whole},
};
use crate::{
    instance::State,
    manifest::{HttpLimits, Trust},
};

/// The interface of `wasi:http` whose functions are linked by name.
const TYPES: &str = "wasi:http/types@0.2.12";

/// The least that the headers of one message may take of this program's memory, in bytes.
const FIELD_BYTES: usize = 64 << 10;

/// The most headers of a request or an answer.
pub(crate) const HEADERS: usize = 128;

/// The smallest buffer that hyper takes, in bytes.
pub(crate) const BUFFER_BYTES: usize = 8192;

/// What one instance needs of HTTP.
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
    /// Those of WASI 0.3.
    newer: Hooks,
    gone: Arc<AtomicBool>,
    /// Tells the bodies that the instance has not ended that they are not whole.
    _alarm: Alarm,
}

struct Hooks {
    client: Arc<Client>,
    /// Whether the guest wants to know how a connection ended. In WASI 0.2 the answer's body tells that.
    tells_end: bool,
}

/// What goes on over a connection while its answer is read.
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Driver), Error>> + Send>;

impl Http {
    pub(crate) fn new(principal: &Principal, limits: &HttpLimits, trust: &[Trust]) -> Self {
        let mut context = WasiHttpCtx::new();
        // Beyond it the guest ends; a request with more than `header_bytes` of them is refused, and no more.
        context.set_field_size_limit(limits.header_bytes.saturating_mul(2).saturating_add(FIELD_BYTES));
        let gone = Arc::<AtomicBool>::default();
        let client = Arc::new(Client::new(principal.clone(), limits.clone(), trust, gone.clone()));
        let hooks = Hooks { client: client.clone(), tells_end: false };
        let newer = Hooks { client, tells_end: true };
        Self { context, hooks, newer, _alarm: Alarm::new(gone.clone()), gone }
    }

    /// To be dropped before the store: what the guest of WASI 0.3 writes goes before this does.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm::new(self.gone.clone())
    }
}

/// Links `wasi:http`.
pub(crate) fn link(linker: &mut Linker<State>) -> Linked<()> {
    p2::add_only_http_to_linker_async(linker)?;
    // Wasmtime's own looks for an error code where its bodies leave an error of another type, and finds nothing: a guest
    // could not tell why a body broke off.
    linker.allow_shadowing(true);
    let linked = linker.instance(TYPES)?.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, State>, (failed,): (Resource<wasmtime::Error>,)| {
            let failed = store.data_mut().host.table.get(&failed)?;
            Ok((error::code_of(failed),))
        },
    );
    linker.allow_shadowing(false);
    linked
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http = &mut self.host.http;
        WasiHttpCtxView { ctx: &mut http.context, table: &mut self.host.table, hooks: &mut http.hooks }
    }
}

/// What [`WasiHttpView::http`] gives, for WASI 0.3.
pub(crate) fn newer(state: &mut State) -> WasiHttpCtxView<'_> {
    let http = &mut state.host.http;
    WasiHttpCtxView { ctx: &mut http.context, table: &mut state.host.table, hooks: &mut http.newer }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        let (client, tells_end) = (self.client.clone(), self.tells_end);
        // It runs as a task of its own, which would forget what it belongs to.
        let send = trace::scope(trace::current(), async move {
            let (response, driver) = client.send(request, options).await?;
            let driver: Driver = match tells_end {
                true => driver,
                false => Box::new(async {
                    let _ = Box::into_pin(driver).await;
                    Ok(())
                }),
            };
            Ok((response, driver))
        });
        Box::new(send)
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        super::stream::CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        super::stream::CHUNK_BYTES
    }

    fn p2_error_from_hyper(&mut self, failed: &hyper::Error) -> p2::bindings::http::types::ErrorCode {
        error::code(&error::of_hyper(failed))
    }
}
