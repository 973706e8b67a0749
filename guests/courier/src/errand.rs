//! One request and what came of it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamWriter};

use crate::bindings::{
    wasi::http::{
        client,
        types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme},
    },
    wit_future, wit_stream,
};

type Trailers = Result<Option<Fields>, ErrorCode>;
type Sent = FutureReader<Result<(), ErrorCode>>;

const MILLISECOND: u64 = 1_000_000;

/// How much of a body is shown.
const SHOWN: usize = 60;

/// What is to be sent, as `name=value` by name.
#[derive(Default)]
struct Errand {
    url: String,
    method: Option<String>,
    /// `body=` writes a text, `zeros=` so many bytes.
    body: Option<Vec<u8>>,
    /// `header=name:value`, `length=`, `many=` so many headers.
    headers: Vec<(String, Vec<u8>)>,
    /// `trailer=name:value`
    trailers: Vec<(String, Vec<u8>)>,
    /// `connect=`, `first=`, `between=`: milliseconds.
    times: [Option<u64>; 3],
    /// `end=fail` tells an error in place of trailers, `end=crash` crashes before the end of the body.
    end: String,
}

impl Errand {
    fn read(terms: &str) -> Self {
        let mut errand = Self::default();
        let field = |value: &str| {
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            (name.to_owned(), value.as_bytes().to_vec())
        };
        for (name, value) in terms.split(' ').filter_map(|term| term.split_once('=')) {
            let number: u64 = value.parse().unwrap_or(0);
            match name {
                "url" => value.clone_into(&mut errand.url),
                "method" => errand.method = Some(value.to_owned()),
                "body" => errand.body = Some(value.as_bytes().to_vec()),
                "zeros" => errand.body = Some(vec![b'0'; usize::try_from(number).unwrap_or(0)]),
                "header" => errand.headers.push(field(value)),
                "length" => errand.headers.push(("content-length".to_owned(), value.as_bytes().to_vec())),
                "many" => errand.headers.extend((0..number).map(|i| (format!("x-{i}"), vec![b'y'; 100]))),
                "trailer" => errand.trailers.push(field(value)),
                "connect" => errand.times[0] = Some(number * MILLISECOND),
                "first" => errand.times[1] = Some(number * MILLISECOND),
                "between" => errand.times[2] = Some(number * MILLISECOND),
                "end" => value.clone_into(&mut errand.end),
                _ => {}
            }
        }
        errand
    }

    fn request(
        &self,
        contents: Option<StreamReader<u8>>,
        trailers: FutureReader<Trailers>,
    ) -> Result<(Request, Sent), String> {
        let headers = Fields::from_list(&self.headers).map_err(|error| format!("{error:?}"))?;
        let options = RequestOptions::new();
        let [connect, first, between] = self.times;
        let set = options
            .set_connect_timeout(connect)
            .and(options.set_first_byte_timeout(first))
            .and(options.set_between_bytes_timeout(between));
        set.map_err(|error| format!("{error:?}"))?;
        let (request, sent) = Request::new(headers, contents, trailers, Some(options));
        let method = match self.method.as_deref() {
            None | Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            Some("CONNECT") => Method::Connect,
            Some(other) => Method::Other(other.to_owned()),
        };
        request.set_method(&method).map_err(|()| "no method")?;
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let scheme = match scheme {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            "" => None,
            other => Some(Scheme::Other(other.to_owned())),
        };
        request.set_scheme(scheme.as_ref()).map_err(|()| "no scheme")?;
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        request.set_authority(some(authority).as_deref()).map_err(|()| "no authority")?;
        request.set_path_with_query(some(path).as_deref()).map_err(|()| "no path")?;
        Ok((request, sent))
    }

    /// Writes the body, and what is behind it.
    async fn write(&self, body: Option<StreamWriter<u8>>, trailers: FutureWriter<Trailers>) {
        if let (Some(mut writer), Some(bytes)) = (body, &self.body) {
            writer.write_all(bytes.clone()).await;
            if self.end == "crash" {
                core::arch::wasm32::unreachable();
            }
        }
        let end = match (self.end.as_str(), Fields::from_list(&self.trailers)) {
            ("fail", _) => Err(ErrorCode::ConfigurationError),
            (_, Ok(fields)) if !self.trailers.is_empty() => Ok(Some(fields)),
            _ => Ok(None),
        };
        // Who does not want to know has failed.
        let _ = trailers.write(end).await;
    }

    fn begin(&self) -> Result<(Request, Sent, impl Future<Output = ()> + '_), String> {
        let (writer, contents) = match self.body {
            Some(_) => {
                let (writer, reader) = wit_stream::new();
                (Some(writer), Some(reader))
            }
            None => (None, None),
        };
        let (end, trailers) = wit_future::new(|| Ok(None));
        let (request, sent) = self.request(contents, trailers)?;
        Ok((request, sent, self.write(writer, end)))
    }
}

/// Sends a request, and tells the answer.
pub(crate) async fn send(terms: &str) -> String {
    let errand = Errand::read(terms);
    let (request, sent, write) = match errand.begin() {
        Ok(begun) => begun,
        Err(why) => return why,
    };
    let answer = async {
        match client::send(request).await {
            Ok(response) => tell(response).await,
            Err(code) => format!("{code:?}"),
        }
    };
    let answer = beside(answer, write).await;
    format!("{answer}; sent {:?}", sent.await)
}

async fn tell(response: Response) -> String {
    let status = response.get_status_code();
    let headers = response.get_headers();
    let is_immutable = headers.append("x", b"y").is_err();
    let said = headers.get("x-said").concat();
    let (result, handled) = wit_future::new(|| Ok(()));
    let (stream, trailers) = Response::consume_body(response, handled);
    let bytes = stream.collect().await;
    drop(result);
    let trailers = trailers.await.map(|trailers| trailers.map(|fields| text_of(&fields)));
    let shown = String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect::<String>();
    let said = String::from_utf8_lossy(&said);
    format!("{status} {said} {is_immutable}, {} bytes: {shown}; trailers {trailers:?}", bytes.len())
}

fn text_of(fields: &Fields) -> String {
    let all = fields.copy_all();
    let all = all.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
    all.collect::<Vec<_>>().join(", ")
}

/// Drops a request whose body the host has begun to send.
pub(crate) async fn cancel(terms: &str) -> String {
    let errand = Errand::read(terms);
    let (request, _sent, write) = match errand.begin() {
        Ok(begun) => begun,
        Err(why) => return why,
    };
    let mut send = Box::pin(client::send(request));
    let mut write = pin!(write);
    poll_fn(|cx| match send.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready("answered"),
        // As much of it as the server takes.
        Poll::Pending => write.as_mut().poll(cx).map(|()| "cancelled"),
    })
    .await
    .to_owned()
}

/// Sends the body of one answer, `url=`, on as that of a request to `to=`: none of it passes through the guest.
pub(crate) async fn resend(terms: &str) -> String {
    let (from, to) = terms.split_once(" to=").unwrap_or((terms, ""));
    let errand = Errand::read(from);
    let (request, _sent, write) = match errand.begin() {
        Ok(begun) => begun,
        Err(why) => return why,
    };
    let response = match beside(client::send(request), write).await {
        Ok(response) => response,
        Err(code) => return format!("{code:?}"),
    };
    let (_result, handled) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Response::consume_body(response, handled);
    let errand = Errand { method: Some("POST".to_owned()), url: to.to_owned(), ..Errand::default() };
    match errand.request(Some(contents), trailers) {
        Ok((request, sent)) => {
            let answer = match client::send(request).await {
                Ok(response) => tell(response).await,
                Err(code) => format!("{code:?}"),
            };
            format!("{answer}; sent {:?}", sent.await)
        }
        Err(why) => why,
    }
}

/// Waits for both, and gives what came of the first.
async fn beside<T>(work: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let (mut work, mut other) = (pin!(work), pin!(other));
    let (mut done, mut other_is_done) = (None, false);
    poll_fn(|cx| {
        other_is_done = other_is_done || other.as_mut().poll(cx).is_ready();
        if done.is_none()
            && let Poll::Ready(value) = work.as_mut().poll(cx)
        {
            done = Some(value);
        }
        match done.take() {
            Some(value) if other_is_done => Poll::Ready(value),
            kept => {
                done = kept;
                Poll::Pending
            }
        }
    })
    .await
}
