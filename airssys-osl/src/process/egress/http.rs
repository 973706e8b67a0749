//! The proxy as HTTP has it: tunnels by `CONNECT`, and single requests by a URL.
//!
//! Of a connection one request is taken, and its server closes it: so nothing that a program sends behind it reaches a
//! server that was decided for another request.

use std::{future::poll_fn, io, pin::pin, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    Refusal, Way,
    chunks::Chunks,
    head::{self, Body, Forward, Request},
    part, tunnel,
};
use crate::{
    limits::{EGRESS_HEAD_BYTES, EGRESS_HEAD_TIMEOUT},
    net::{Exchange, TcpStream},
};

/// How a head ends.
const END: &[u8] = b"\r\n\r\n";

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// How much of a body is on its way at a time, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// Serves a connection that begins with `asked`.
pub(super) async fn attend(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut asked: Vec<u8>,
    way: &Way,
) -> io::Result<()> {
    let Ok(read) = timeout(EGRESS_HEAD_TIMEOUT, read_head(&mut client, &mut asked)).await else {
        return part(client, &answer("408 Request Timeout", "its head did not come")).await;
    };
    let Some((head, rest)) = read?.and_then(|end| asked.split_at_checked(end)) else {
        let status = "431 Request Header Fields Too Large";
        return part(client, &answer(status, "its head is too long")).await;
    };
    let request = match head::parse(head) {
        Ok(request) => request,
        Err(why) => return part(client, &answer("400 Bad Request", why)).await,
    };
    let authority = match &request {
        Request::Tunnel { authority } | Request::Forward(Forward { authority, .. }) => *authority,
    };
    let server = match way.connect(authority, HTTP_PORT).await {
        Ok(server) => server,
        Err(refusal) => return part(client, &refuse(refusal, authority)).await,
    };
    match request {
        Request::Tunnel { .. } => {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            tunnel(client, server, rest).await
        }
        Request::Forward(request) => forward(client, server, request, rest).await,
    }
}

/// Reads up to the end of a head, and says where that is; `None` where it is too long.
async fn read_head(client: &mut (impl AsyncRead + Unpin), asked: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut searched: usize = 0;
    loop {
        let unseen = asked.get(searched..).unwrap_or_default();
        if let Some(end) = unseen.windows(END.len()).position(|bytes| bytes == END) {
            let end = searched + end + END.len();
            return Ok(Some(end).filter(|end| *end <= EGRESS_HEAD_BYTES));
        }
        if asked.len() >= EGRESS_HEAD_BYTES {
            return Ok(None);
        }
        searched = asked.len().saturating_sub(END.len() - 1);
        if client.read_buf(asked).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Carries one request to a server, and what that answers until it closes.
async fn forward(
    client: impl AsyncRead + AsyncWrite + Unpin,
    mut server: TcpStream,
    request: Forward<'_>,
    rest: &[u8],
) -> io::Result<()> {
    let exchange = server.exchanges().begin(request.method, "http", request.authority);
    if let Err(error) = server.write_all(&request.head).await {
        exchange.failed(&error);
        return part(client, &refuse(Refusal::Failed, request.authority)).await;
    }
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    {
        let mut sending = pin!(send(&mut from_client, rest, request.body, &mut to_server));
        let mut answering = pin!(hand_back(&mut from_server, &mut to_client, exchange, request.authority));
        let mut sent = false;
        poll_fn(|cx| {
            if !sent && let Poll::Ready(result) = sending.as_mut().poll(cx) {
                result?;
                sent = true;
            }
            answering.as_mut().poll(cx)
        })
        .await?;
    }
    part(from_client.unsplit(to_client), &[]).await
}

/// What is left of a body.
enum Left {
    Bytes(u64),
    Chunks(Chunks),
}

impl Left {
    /// How many of `bytes` belong to it, and whether it is over then; `None` where they cannot.
    fn take(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        match self {
            Self::Bytes(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                Some((taken, *left == 0))
            }
            Self::Chunks(chunks) => chunks.take(bytes).map(|taken| (taken, chunks.is_over())),
        }
    }
}

/// Sends a body, which begins with `rest`, and nothing that comes behind it.
async fn send(
    client: &mut (impl AsyncRead + Unpin),
    rest: &[u8],
    body: Body,
    server: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut left = match body {
        Body::Bytes(count) => Left::Bytes(count),
        Body::Chunks => Left::Chunks(Chunks::default()),
    };
    let mut piece = rest.to_vec();
    loop {
        let (taken, over) = left.take(&piece).ok_or(io::ErrorKind::InvalidData)?;
        let sent = server.write_all(piece.get(..taken).unwrap_or_default()).await;
        // A server that takes no more may have answered.
        if over || sent.is_err() {
            return Ok(());
        }
        piece.clear();
        piece.reserve(PIECE_BYTES);
        if client.read_buf(&mut piece).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Hands an answer back, as it is.
async fn hand_back(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    exchange: Exchange,
    authority: &str,
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let first = match server.read_buf(&mut piece).await {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        first => first,
    };
    if let Err(error) = first {
        exchange.failed(&error);
        return client.write_all(&refuse(Refusal::Failed, authority)).await;
    }
    exchange.answered();
    client.write_all(&piece).await?;
    tokio::io::copy(server, client).await.map(drop)
}

/// What a program is told that does not reach a host.
fn refuse(refusal: Refusal, authority: &str) -> Vec<u8> {
    let (status, why) = match refusal {
        Refusal::NotGranted => ("403 Forbidden", "is not granted to this program"),
        Refusal::NoHost => ("400 Bad Request", "is no host and port"),
        Refusal::Unknown => ("502 Bad Gateway", "is not known"),
        Refusal::Late => ("504 Gateway Timeout", "did not answer in time"),
        Refusal::Busy => {
            ("503 Service Unavailable", "cannot be connected to now: this program has too much open")
        }
        Refusal::Failed => ("502 Bad Gateway", "cannot be reached"),
    };
    answer(status, &format!("{authority} {why}"))
}

/// An answer of the proxy's own.
fn answer(status: &str, why: &str) -> Vec<u8> {
    let text = format!("airssys: {why}\n");
    let length = text.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
        .into_bytes()
}
