//! The way out of a program that has no network but a loopback of its own: a proxy, by the rules of the program's principal.
//!
//! It speaks HTTP: `CONNECT`, and requests whose target is an `http` URL (RFC 9110, 9112); and SOCKS 5 (RFC 1928), on the
//! same port. Hosts are looked up here, and each connection is the principal's own, by [`TcpConnector`]: a name is looked up
//! once, every address is decided, and no other is connected to. It runs from the start of the program to its end.
//!
//! | file | does |
//! |---|---|
//! | `head` | what a request asks for, and what goes on to the server; pure |
//! | `chunks` | where a body in chunks ends; pure |
//! | `http` | tunnels, requests and answers |
//! | `socks` | the same tunnels, asked for in another way |

pub(super) mod chunks;
pub(super) mod head;
mod http;
mod socks;

use std::{future::poll_fn, io, net, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Cause, Exit};
use crate::{
    Error, ErrorKind, Principal,
    limits::{EGRESS_CONNECTIONS, EGRESS_HEAD_TIMEOUT, LOOKUPS_AT_A_TIME, NET_IDLE_TIMEOUT},
    net::{TcpConnector, TcpStream},
};

/// How long to wait where the machine has no more descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long, and how much, is taken of what was sent before a refusal: a connection that is closed with something unread
/// takes back what was written last.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// How a SOCKS 5 request begins; no method of HTTP does.
const SOCKS: u8 = 5;

/// What a program's connections are accepted from.
pub(super) struct Egress {
    listener: TcpListener,
    way: Way,
}

/// The way to the hosts of a program.
#[derive(Clone)]
struct Way {
    connector: TcpConnector,
    /// A program that opens many connections at once does not know that its principal looks up a few hosts at a time.
    lookups: Arc<Semaphore>,
}

impl Way {
    fn new(principal: &Principal) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_AT_A_TIME));
        Self { connector: principal.tcp_connector().nodelay(true), lookups }
    }

    /// Connects to what stands in a URL between `//` and the path.
    async fn connect(&self, authority: &str, default_port: u16) -> Result<TcpStream, Refusal> {
        let lookup = self.lookups.acquire().await;
        let checked = self.connector.check_wanted(authority, default_port).await;
        drop(lookup);
        let connected = match checked {
            Ok(checked) => self.connector.connect_checked(&checked).await,
            Err(error) => Err(error),
        };
        connected.map_err(|error| Refusal::from(&error))
    }
}

impl Egress {
    pub(super) fn new(listener: net::TcpListener, principal: &Principal) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, way: Way::new(principal) })
    }

    /// Serves the program until it has ended. What is returned is closed when that is over, in whichever way.
    pub(super) fn start(self, exit: watch::Receiver<Option<Exit>>) -> watch::Receiver<()> {
        let (over, is_over) = watch::channel(());
        tokio::spawn(async move {
            self.serve(exit).await;
            drop(over);
        });
        is_over
    }

    /// Serves the program until it has ended; its connections are closed then, and on record.
    async fn serve(self, mut exit: watch::Receiver<Option<Exit>>) {
        let mut connections = JoinSet::new();
        {
            let mut ended = pin!(exit.wait_for(Option::is_some));
            let mut accepting = pin!(self.accept(&mut connections));
            poll_fn(|cx| match ended.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => accepting.as_mut().poll(cx),
            })
            .await;
        }
        let by_itself = exit.borrow().as_ref().is_some_and(|exit| exit.cause == Cause::Itself);
        if by_itself {
            // What it sent last may be on its way still. More does not come: its ends of all connections are closed.
            drop(timeout(LINGER, async { while connections.join_next().await.is_some() {} }).await);
        }
        connections.shutdown().await;
    }

    /// Accepts connections, for ever.
    async fn accept(&self, connections: &mut JoinSet<()>) {
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= EGRESS_CONNECTIONS {
                connections.join_next().await;
                continue;
            }
            match self.listener.accept().await {
                Ok((client, _)) => {
                    // Small pieces go at once: who has asked for that cannot say so here.
                    let _ = client.set_nodelay(true);
                    let way = self.way.clone();
                    // What went wrong has been told to the program, as far as it listened.
                    connections.spawn(async move { drop(attend(client, &way).await) });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => sleep(ACCEPT_RETRY).await,
            }
        }
    }
}

/// Serves one connection of the program.
async fn attend(mut client: impl AsyncRead + AsyncWrite + Unpin, way: &Way) -> io::Result<()> {
    let mut asked = Vec::new();
    let greeting = client.read_buf(&mut asked);
    if timeout(EGRESS_HEAD_TIMEOUT, greeting).await?? == 0 {
        return Ok(());
    }
    match asked.first() {
        Some(&SOCKS) => socks::attend(client, asked, way).await,
        _ => http::attend(client, asked, way).await,
    }
}

/// Carries bytes both ways until both have ended; `asked` is what the program has sent already.
async fn tunnel(
    client: impl AsyncRead + AsyncWrite + Unpin,
    mut server: TcpStream,
    asked: &[u8],
) -> io::Result<()> {
    server.write_all(asked).await?;
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let mut there = pin!(async {
        copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    });
    let mut back = pin!(async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    });
    let mut is_sent = false;
    poll_fn(|cx| {
        if !is_sent && let Poll::Ready(sent) = there.as_mut().poll(cx) {
            sent?;
            is_sent = true;
        }
        back.as_mut().poll(cx)
    })
    .await?;
    // The server has said its last, so its idle timeout runs no more: that of the program's side is here.
    if is_sent { Ok(()) } else { timeout(NET_IDLE_TIMEOUT, there).await? }
}

/// Says the last word to a program, so that it arrives.
async fn part(mut client: impl AsyncRead + AsyncWrite + Unpin, word: &[u8]) -> io::Result<()> {
    client.write_all(word).await?;
    client.shutdown().await?;
    let mut rest = (&mut client).take(LINGER_BYTES);
    // It has what it was told, or will not take it.
    drop(timeout(LINGER, copy(&mut rest, &mut tokio::io::sink())).await);
    Ok(())
}

/// What a program is told of a connection that did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The principal may not.
    NotGranted,
    /// It is no host.
    NoHost,
    /// There is none of this name.
    Unknown,
    /// Nobody answered.
    Late,
    /// The principal has as many open as it may, or nothing can be recorded.
    Busy,
    /// The connection failed.
    Failed,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Denied => Self::NotGranted,
            ErrorKind::Invalid => Self::NoHost,
            ErrorKind::NotFound => Self::Unknown,
            ErrorKind::TimedOut => Self::Late,
            ErrorKind::LimitExceeded | ErrorKind::AuditUnavailable => Self::Busy,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests;
