//! A connection, a kilobyte there and back, and its end: by tokio alone and through the door.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use airssys_osl::{
    Action, Os,
    audit::{Log, LogOptions, Sink},
    net::TcpConnector,
    policy::{Endpoint, Grant, Policy, Ports, Protocol, Request, Resource},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{Discard, ROUNDS, median, report, time_each};

/// Few enough that the closed ones do not use up the ports of the machine.
const CONNECTIONS: usize = 100;
const EXCHANGES: usize = 1_000;
const LEN: usize = 1024;

/// How long a decision takes for one principal with many grants on the network.
pub(super) fn decisions(grants: usize) -> Result<(), Box<dyn Error>> {
    let hosts =
        (0..grants / 2).map(|number| Grant::connect(Protocol::Tcp, format!("h{number}.example.com"), 443));
    let blocks = (0..grants / 2).map(|number| {
        let block = format!("10.{}.{}.0/{}", number / 256, number % 256, 24 + number % 4);
        Grant::connect(Protocol::Tcp, block, 5432)
    });
    let policy = Policy::builder().principal("p", hosts.chain(blocks)).build()?;
    let by_name =
        |host| Endpoint { protocol: Protocol::Tcp, host, address: [93, 184, 215, 14].into(), port: 443 };
    let by_block =
        Endpoint { protocol: Protocol::Tcp, host: None, address: [10, 0, 2, 1].into(), port: 5432 };
    let decide = |endpoint| {
        let resource = Resource::Endpoint(endpoint);
        policy.decide(&Request { principal: "p", action: Action::NetConnect, resource }).verdict
    };
    let calls = [(); 2_000];
    let named = time_each(&calls, |()| decide(by_name(Some("h3.example.com"))));
    let blocked = time_each(&calls, |()| decide(by_block));
    let denied = time_each(&calls, |()| decide(by_name(Some("a.b.c.example.org"))));
    println!("{grants:>6} grants on the network: by host {named:?}, by block {blocked:?}, denied {denied:?}");
    Ok(())
}

pub(super) fn run() -> Result<(), Box<dyn Error>> {
    let measure = || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(echoes()).map_err(|error| error.to_string())
    };
    thread::scope(|scope| scope.spawn(measure).join()).map_err(|_| "the measuring thread panicked")??;
    Ok(())
}

async fn echoes() -> Result<(), Box<dyn Error>> {
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
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
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
