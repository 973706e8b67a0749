//! A connection, a kilobyte there and back, and its end: by tokio alone and through the door.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use airssys_osl::{
    Os,
    audit::Log,
    policy::{Grant, Policy, Ports, Protocol},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
};

use super::{
    audit::{check, log_options},
    figures::Failure,
};
use crate::turns::{Turns, timed};

const LEN: usize = 1024;
/// Few enough that the closed ones do not use up the ports of the machine.
const CONNECTIONS: u32 = 100;
const EXCHANGES: u32 = 1_000;

/// Measures connecting and exchanging.
///
/// # Errors
///
/// A connection failed.
pub async fn run(rounds: usize) -> Result<(), Failure> {
    let server = serve()?;
    let tmp = tempfile::tempdir()?;
    let log = Log::open(tmp.path(), "example.org/bench", log_options())?;
    let grant = Grant::connect(Protocol::Tcp, "127.0.0.1", Ports::ALL);
    let policy = Policy::builder().principal("p", [grant]).build()?;
    let connector = Os::new(policy, log.clone()).principal("p")?.tcp_connector();
    // A program that has a connection open has a timer somewhere. Where there is none, each first one wakes the runtime.
    tokio::spawn(async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
        }
    });
    let bare = async || echo(&mut TcpStream::connect(server).await?).await;
    let ours = async || echo(&mut connector.connect("127.0.0.1", server.port()).await?).await;
    let (mut connections, mut exchanges) = (Turns::new(), Turns::new());
    for _ in 0..rounds {
        connections.add("tokio", timed(CONNECTIONS, bare).await?);
        connections.add("airssys", timed(CONNECTIONS, ours).await?);
        let mut stream = TcpStream::connect(server).await?;
        exchanges.add("tokio", timed(EXCHANGES, async || echo(&mut stream).await).await?);
        let mut stream = connector.connect("127.0.0.1", server.port()).await?;
        exchanges.add("airssys", timed(EXCHANGES, async || echo(&mut stream).await).await?);
    }
    connections.tell("connect-echo-1k");
    exchanges.tell("echo-1k");
    log.close()?;
    // An intent, what came of it, and the end: of each connection.
    check(tmp.path(), 3 * rounds as u64 * (u64::from(CONNECTIONS) + 1))
}

async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Failure> {
    let mut buffer = [7; LEN];
    stream.write_all(&buffer).await?;
    stream.read_exact(&mut buffer).await?;
    Ok(())
}

/// A server by tokio, on a thread of its own.
fn serve() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move { while echo_back(&mut stream).await.is_ok() {} });
            }
        });
    });
    Ok(address)
}

async fn echo_back(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; LEN];
    stream.read_exact(&mut buffer).await?;
    stream.write_all(&buffer).await
}
