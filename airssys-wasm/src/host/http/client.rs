//! One request: decided, sent, and its answer as far as its head.

use std::{
    future::Future,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use airssys_osl::{
    Principal,
    net::{
        Exchange,
        tls::{Roots, TlsConnector},
    },
};
use http::{HeaderMap, Method, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
    task::{JoinSet, yield_now},
    time::timeout,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{
    BUFFER_BYTES, Bounded, Driver, HEADERS, Message, Whole, body::section_bytes, error, moving::Moving, trust,
};
use crate::manifest::{HttpLimits, Trust};

/// Sends what one instance asks to be sent.
pub(super) struct Client {
    principal: Principal,
    limits: HttpLimits,
    trust: Box<[Trust]>,
    roots: OnceCell<Roots>,
    /// Whether the instance has gone.
    gone: Arc<AtomicBool>,
}

type Answer = Result<(Response<WasiBody>, Driver), Error>;

impl Client {
    pub(super) fn new(
        principal: Principal,
        limits: HttpLimits,
        trust: &[Trust],
        gone: Arc<AtomicBool>,
    ) -> Self {
        Self { principal, limits, trust: trust.into(), roots: OnceCell::new(), gone }
    }

    /// Sends a request over a connection of its own. What the answer's body still needs is in the driver.
    pub(super) async fn send(
        &self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Answer {
        // A tunnel would carry what nobody decided.
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        check_headers(request.headers(), self.limits.header_bytes)?;
        let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
        let is_encrypted = request.uri().scheme() == Some(&Scheme::HTTPS);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;
        let times = Times::new(options, self.limits.timeout);
        let (authority, method) = (authority.as_str(), request.method().clone());
        match is_encrypted {
            false => {
                let connecting = async {
                    let connector = self.principal.tcp_connector().nodelay(true);
                    let checked = connector.recheck(authority, 80).await?;
                    connector.connect_checked(&checked).await
                };
                let stream = times.connect(connecting).await?.map_err(|failed| error::of_door(&failed))?;
                let exchange = stream.exchanges().begin(method.as_str(), "http", authority);
                self.exchange(stream, exchange, request, &times).await
            }
            true => {
                let stream = times.connect(self.encrypt(authority)).await?;
                let stream = stream.map_err(|failed| error::of_tls(&failed))?;
                let exchange = stream.tcp().exchanges().begin(method.as_str(), "https", authority);
                self.exchange(stream, exchange, request, &times).await
            }
        }
    }

    async fn encrypt(&self, authority: &str) -> Result<airssys_osl::net::tls::TlsStream, airssys_osl::Error> {
        let tcp = self.principal.tcp_connector().nodelay(true);
        let checked = tcp.recheck(authority, 443).await?;
        let roots = self.roots.get_or_try_init(|| trust::roots(&self.principal, &self.trust)).await?;
        TlsConnector::new(tcp, roots, &[b"http/1.1"])?.connect_checked(&checked).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        exchange: Exchange,
        request: Request<WasiBody>,
        times: &Times,
    ) -> Answer {
        let answered = self.answer(stream, request, times).await;
        match &answered {
            Ok(_) => exchange.answered(),
            Err(Error::ConnectionReadTimeout | Error::ConnectionWriteTimeout) => {
                exchange.failed(&io::ErrorKind::TimedOut.into());
            }
            Err(failed) => exchange.failed(&io::Error::other(failed.to_string())),
        }
        answered
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<WasiBody>,
        times: &Times,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let body = Whole::new(body, self.gone.clone()).boxed_unsync();
        // A guest that is slow to write its body is its own: what bounds that is what bounds the guest.
        let body = Bounded::new(body, Message::Request, &self.limits, None)?;
        let handshake = http1::Builder::new()
            .max_buf_size(self.limits.header_bytes.max(BUFFER_BYTES))
            .max_headers(HEADERS)
            .handshake(TokioIo::new(Moving::new(stream, times.between_bytes)));
        let (mut sender, connection) = handshake.await.map_err(|failed| error::of_hyper(&failed))?;
        // It ends with the set, and the set with whoever reads the answer.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let sent = sender.send_request(Request::from_parts(parts, body));
        let response = match timeout(times.first_byte, sent).await {
            Ok(sent) => sent.map_err(error::of_request)?,
            Err(_late) => return Err(Error::ConnectionReadTimeout),
        };
        let (parts, body) = response.into_parts();
        let body = body.map_err(|failed| error::of_hyper(&failed));
        let body = Bounded::new(body, Message::Response, &self.limits, Some(times.between_bytes))?;
        let driver = async move {
            // The head of the answer is the guest's, whatever became of the connection since.
            yield_now().await;
            match driver.join_next().await {
                Some(Ok(Err(failed))) => Err(error::of_request(failed)),
                _ => Ok(()),
            }
        };
        Ok((Response::from_parts(parts, body.boxed_unsync()), Box::new(driver)))
    }
}

/// How long a request may take, step by step: what the guest says, where that is no more than the manifest lets it.
struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Times {
    fn new(options: Option<RequestOptions>, limit: Duration) -> Self {
        let options = options.unwrap_or_default();
        let least = |wanted: Option<Duration>| wanted.map_or(limit, |wanted| wanted.min(limit));
        Self {
            connect: least(options.connect_timeout),
            first_byte: least(options.first_byte_timeout),
            between_bytes: least(options.between_bytes_timeout),
        }
    }

    async fn connect<T>(&self, connecting: impl Future<Output = T>) -> Result<T, Error> {
        timeout(self.connect, connecting).await.map_err(|_late| Error::ConnectionTimeout)
    }
}

fn check_headers(headers: &HeaderMap, limit: usize) -> Result<(), Error> {
    let bytes = section_bytes(headers);
    match bytes > limit {
        true => Err(Error::HttpRequestHeaderSectionSize(u32::try_from(bytes).ok())),
        false => Ok(()),
    }
}
