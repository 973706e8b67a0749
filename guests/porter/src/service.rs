//! The service: which path is answered by what.

use std::time::Duration;

use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter, spawn_local};

use crate::bindings::{
    exports::wasi::http::handler::Guest,
    wasi::{
        clocks::monotonic_clock,
        http::{
            client,
            types::{ErrorCode, Fields, Request, Response, Scheme},
        },
    },
    wit_future, wit_stream,
};

type Trailers = Result<Option<Fields>, ErrorCode>;
type Sent = FutureReader<Result<(), ErrorCode>>;

/// The most of a body that is held at a time, in bytes.
const CHUNK: usize = 4096;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// The service.
pub(crate) struct Service;

impl Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (word, rest) = path.split_once('?').unwrap_or((&path, ""));
        match word {
            "/hello" => Ok(answer(200, "hello")),
            "/about" => Ok(answer(200, about(&request))),
            "/echo" => Ok(echo(request)),
            "/through" => Ok(through(request)),
            "/read" => Ok(read(request).await),
            "/fields" => Ok(with_fields()),
            "/empty" => Ok(respond(204, &[], None, Ok(None)).0),
            "/counted" => Ok(counted(rest)),
            "/long" => Ok(long(rest)),
            "/error" => Err(ErrorCode::ConfigurationError),
            "/fail" => Ok(ends_with("half", || Err(ErrorCode::LoopDetected))),
            "/half" => Ok(ends_with("half", || core::arch::wasm32::unreachable())),
            "/trap" => core::arch::wasm32::unreachable(),
            "/spin" => loop {
                core::hint::black_box(());
            },
            "/late-spin" => Ok(ends_with("half", || {
                loop {
                    core::hint::black_box(());
                }
            })),
            "/never" => {
                wait().await;
                Ok(answer(200, "at last"))
            }
            "/open" => Ok(open()),
            "/leave" => Ok(leave()),
            "/handles" => loop {
                core::mem::forget(Fields::new());
            },
            "/after" => Ok(after(rest)),
            _ => Ok(answer(404, path)),
        }
    }
}

async fn wait() {
    monotonic_clock::wait_for(u64::try_from(FOR_EVER.as_nanos()).unwrap_or(u64::MAX)).await;
}

/// A response whose body and trailers come from elsewhere.
fn make(
    status: u16,
    headers: &[(&str, &str)],
    contents: Option<StreamReader<u8>>,
    trailers: FutureReader<Trailers>,
) -> (Response, Sent) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let headers = Fields::from_list(&headers.collect::<Vec<_>>()).unwrap_or_else(|_| Fields::new());
    let (response, sent) = Response::new(headers, contents, trailers);
    let _ = response.set_status_code(status);
    (response, sent)
}

/// A response that ends so.
fn respond(
    status: u16,
    headers: &[(&str, &str)],
    contents: Option<StreamReader<u8>>,
    end: Trailers,
) -> (Response, Sent) {
    let (writer, trailers) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        // Who does not want to know has failed.
        let _ = writer.write(end).await;
    });
    make(status, headers, contents, trailers)
}

fn answer(status: u16, text: impl Into<Vec<u8>>) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let text = text.into();
    spawn_local(async move {
        writer.write_all(text).await;
    });
    respond(status, &[], Some(contents), Ok(None)).0
}

fn about(request: &Request) -> String {
    let headers = request.get_headers().copy_all();
    let headers = headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
    format!(
        "{:?} {:?} {:?} {:?}, options {}\n{}",
        request.get_method(),
        request.get_scheme(),
        request.get_authority(),
        request.get_path_with_query(),
        request.get_options().is_some(),
        headers.collect::<String>()
    )
}

/// Takes the body of a request.
fn consume(request: Request) -> (StreamReader<u8>, FutureReader<Trailers>) {
    let (_result, handled) = wit_future::new(|| Ok(()));
    Request::consume_body(request, handled)
}

/// Sends back what comes, piece by piece, with its trailers.
fn echo(request: Request) -> Response {
    let (body, trailers) = consume(request);
    let (writer, contents) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    spawn_local(copy(body, trailers, writer, end));
    make(200, &[("trailer", "x-sum")], Some(contents), ended).0
}

async fn copy(
    mut body: StreamReader<u8>,
    trailers: FutureReader<Trailers>,
    mut writer: StreamWriter<u8>,
    end: FutureWriter<Trailers>,
) {
    loop {
        let (result, bytes) = body.read(Vec::with_capacity(CHUNK)).await;
        if !writer.write_all(bytes).await.is_empty() || !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    drop(writer);
    let _ = end.write(trailers.await).await;
}

/// Sends back what comes, without looking at it.
fn through(request: Request) -> Response {
    let (body, trailers) = consume(request);
    make(200, &[], Some(body), trailers).0
}

/// Reads all, and then tells how it ended.
async fn read(request: Request) -> Response {
    let (body, trailers) = consume(request);
    let bytes = body.collect().await;
    let trailers = trailers.await;
    let status = if trailers.is_ok() { 200 } else { 400 };
    let trailers = trailers.map(|fields| {
        let all = fields.map(|fields| fields.copy_all()).unwrap_or_default();
        let all = all.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
        all.collect::<Vec<_>>().join(", ")
    });
    answer(status, format!("{} bytes; {trailers:?}", bytes.len()))
}

fn with_fields() -> Response {
    let (mut writer, contents) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(b"body".to_vec()).await;
    });
    let trailers = Fields::from_list(&[("x-sum".to_owned(), b"5".to_vec())]).ok();
    let headers = [("x-said", "one"), ("x-said", "two"), ("trailer", "x-sum")];
    respond(201, &headers, Some(contents), Ok(trailers)).0
}

/// Says that it is so long, and writes four bytes.
fn counted(length: &str) -> Response {
    let (mut writer, contents) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(b"four".to_vec()).await;
    });
    respond(200, &[("content-length", length)], Some(contents), Ok(None)).0
}

/// Writes so many bytes.
fn long(length: &str) -> Response {
    let mut left: usize = length.parse().unwrap_or(0);
    let (mut writer, contents) = wit_stream::new();
    spawn_local(async move {
        while left > 0 {
            let piece = left.min(CHUNK);
            if !writer.write_all(vec![b'x'; piece]).await.is_empty() {
                return;
            }
            left -= piece;
        }
    });
    respond(200, &[], Some(contents), Ok(None)).0
}

/// Writes a text, and then comes to an end of its own.
fn ends_with(text: &'static str, end: impl FnOnce() -> Trailers + 'static) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, told) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        writer.write_all(text.into()).await;
        let end = end();
        drop(writer);
        let _ = trailers.write(end).await;
    });
    make(200, &[], Some(contents), told).0
}

/// Begins a body, and has it open for ever.
fn open() -> Response {
    let (mut writer, contents) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(b"half".to_vec()).await;
        wait().await;
    });
    respond(200, &[], Some(contents), Ok(None)).0
}

/// Begins a body, and leaves without an end.
fn leave() -> Response {
    let (mut writer, contents) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(b"half".to_vec()).await;
        core::mem::forget(writer);
    });
    respond(200, &[], Some(contents), Ok(None)).0
}

/// Answers, and once the answer has been taken, sends a request to this authority with what it was told of that.
fn after(authority: &str) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (response, sent) = respond(200, &[], Some(contents), Ok(None));
    let authority = authority.to_owned();
    spawn_local(async move {
        writer.write_all(b"before".to_vec()).await;
        drop(writer);
        let path = match sent.await {
            Ok(()) => "/sent",
            Err(_) => "/failed",
        };
        let (_end, trailers) = wit_future::new(|| Ok(None));
        let (request, _) = Request::new(Fields::new(), None, trailers, None);
        let _ = request.set_scheme(Some(&Scheme::Http));
        let _ = request.set_authority(Some(&authority));
        let _ = request.set_path_with_query(Some(path));
        let _ = client::send(request).await;
    });
    response
}
