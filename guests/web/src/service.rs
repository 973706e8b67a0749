//! The service: the path of a request names what to do with it.

use crate::{
    bindings::{
        exports::wasi::http::incoming_handler::Guest,
        wasi::{
            clocks::monotonic_clock,
            config::store,
            http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
            logging::logging::{Level, log},
        },
    },
    client,
};

pub(crate) struct Service;

impl Guest for Service {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/echo" => echo(&request, out),
            "/spin" => loop {
                core::hint::black_box(());
            },
            "/sleep" => monotonic_clock::subscribe_duration(u64::MAX).block(),
            "/trap" => core::arch::wasm32::unreachable(),
            "/silent" => {}
            "/handles" => client::hoard(),
            "/half" => {
                let body = begin(out, 200);
                let _ = body.write().map(|stream| client::write(&stream, b"half"));
                core::arch::wasm32::unreachable()
            }
            "/config" => answer(out, 200, config().as_bytes()),
            "/hello" => answer(out, 200, b"hello"),
            _ => answer(out, 404, path.as_bytes()),
        }
    }
}

/// What it was configured with, on record in the log.
fn config() -> String {
    let greeting = store::get("greeting").ok().flatten();
    let shown = format!("{greeting:?} {:?} {:?}", store::get("absent").ok(), store::get_all().ok());
    log(Level::Info, "config", &shown);
    shown
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let Some((stream, body)) = request.consume().ok().and_then(|body| Some((body.stream().ok()?, body)))
    else {
        return answer(out, 500, b"no body");
    };
    let (bytes, end) = client::drain(&stream);
    match end.is_empty() {
        true => answer(out, 200, &bytes),
        false => answer(out, 400, end.as_bytes()),
    }
    drop((stream, body));
}

fn begin(out: ResponseOutparam, status: u16) -> OutgoingBody {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    let body = response.body();
    ResponseOutparam::set(out, Ok(response));
    match body {
        Ok(body) => body,
        Err(()) => core::arch::wasm32::unreachable(),
    }
}

fn answer(out: ResponseOutparam, status: u16, bytes: &[u8]) {
    let body = begin(out, status);
    if let Ok(stream) = body.write() {
        let _ = client::write(&stream, bytes);
    }
    let _ = OutgoingBody::finish(body, None);
}
