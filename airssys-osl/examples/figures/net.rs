//! A connection, a kilobyte there and back, and its end: by tokio alone and through the door.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use airssys_osl::{
    Os,
    audit::{Log, LogOptions, Sink},
    net::TcpConnector,
    policy::{Grant, Policy, Ports, Protocol},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{Discard, ROUNDS, median, report};

/// Few enough that the closed ones do not use up the ports of the machine.
const CONNECTIONS: usize = 100;
const EXCHANGES: usize = 1_000;
const LEN: usize = 1024;

pub(super) async fn echoes() -> Result<(), Box<dyn Error>> {
    let server = serve()?;
    let tmp = tempfile::tempdir()?;
    let plain = connector(Discard)?;
    let log = Log::open(&tmp.path().join("log"), "example.org/figures", LogOptions::default())?;
    let logged = connector(log)?;

    let mut times = [const { Vec::new() }; 5];
    let [tokio, discarded, recorded, bare, held] = &mut times;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CONNECTIONS {
            echo(&mut TcpStream::connect(server).await?).await?;
        }
        tokio.push(start.elapsed() / CONNECTIONS as u32);
        discarded.push(connect_and_echo(&plain, server).await?);
        recorded.push(connect_and_echo(&logged, server).await?);
        bare.push(exchange(TcpStream::connect(server).await?).await?);
        held.push(exchange(logged.connect("127.0.0.1", server.port()).await?).await?);
    }
    let [tokio, discarded, recorded, bare, held] = times.map(median);
    println!("a TCP connection, {LEN} bytes there and back:");
    report("tokio", tokio, tokio);
    report("through the door, records dropped", discarded, tokio);
    report("through the door, records in the log", recorded, tokio);
    println!("{LEN} bytes there and back on an open connection:");
    report("tokio", bare, bare);
    report("through the door", held, bare);
    Ok(())
}

fn connector(sink: impl Sink) -> Result<TcpConnector, airssys_osl::Error> {
    let grant = Grant::connect(Protocol::Tcp, "127.0.0.1", Ports::ALL);
    let policy = Policy::builder().principal("p", [grant]).build()?;
    Ok(Os::new(policy, sink).principal("p")?.tcp_connector())
}

async fn connect_and_echo(connector: &TcpConnector, server: SocketAddr) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        echo(&mut connector.connect("127.0.0.1", server.port()).await?).await?;
    }
    Ok(start.elapsed() / CONNECTIONS as u32)
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    for _ in 0..EXCHANGES {
        echo(&mut stream).await?;
    }
    Ok(start.elapsed() / EXCHANGES as u32)
}

async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut buffer = [7; LEN];
    stream.write_all(&buffer).await?;
    stream.read_exact(&mut buffer).await?;
    Ok(())
}

/// A server by tokio, on a thread of its own.
fn serve() -> Result<SocketAddr, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        runtime.block_on(async {
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
