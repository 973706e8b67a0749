//! Hello over HTTP: a fresh instance for each request, in a server of ours and in `wasmtime serve`.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use airssys_bench::{osl::Failure, turns::Turns};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::system::{GREET, Plan};

/// Connections at a time, each kept for all of its requests.
const CONNECTIONS: u32 = 4;
/// Requests of each connection in a turn.
const REQUESTS: u32 = 500;
/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it waits between two looks whether a server listens.
const LOOK: Duration = Duration::from_millis(20);

/// Serves on a port until its input ends.
pub(crate) async fn serve(port: u16) -> Result<(), Failure> {
    let http = format!("http = {{ listen = \"127.0.0.1:{port}\" }}");
    let plan = Plan::load(&format!("[component.greet]\nsource = \"greet.wasm\"\n{http}\n")).await?;
    let system = plan.start().await?;
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    plan.end(system).await
}

/// Measures nanoseconds of all connections for one request.
pub(crate) async fn run(rounds: usize, wasmtime: Option<&Path>) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let greet = dir.path().join("greet.wasm");
    fs::write(&greet, GREET)?;
    let mut servers = Vec::new();
    let (port, reserved) = reserve()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["serve", &port.to_string()]);
    servers.push(("airssys", Server::start(&mut command, port, reserved).await?));
    if let Some(wasmtime) = wasmtime {
        let (port, reserved) = reserve()?;
        let mut command = Command::new(wasmtime);
        command.args(["serve", "--addr", &format!("127.0.0.1:{port}")]).arg(&greet);
        servers.push(("wasmtime-serve", Server::start(&mut command, port, reserved).await?));
    }
    let mut turns = Turns::new();
    for round in 0..=rounds {
        for (name, server) in &servers {
            let took = load(server.address).await?;
            // The first is for the servers to get warm.
            if round > 0 {
                turns.add(name, took);
            }
        }
    }
    turns.tell("http-hello");
    Ok(())
}

/// A server that runs as long as this lives.
struct Server {
    child: Child,
    address: SocketAddr,
    _reserved: TcpSocket,
}

impl Server {
    async fn start(command: &mut Command, port: u16, reserved: TcpSocket) -> Result<Self, Failure> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, address: (Ipv4Addr::LOCALHOST, port).into(), _reserved: reserved };
        let start = Instant::now();
        while TcpStream::connect(server.address).await.is_err() {
            if start.elapsed() > PATIENCE {
                return Err(format!("{command:?} does not listen").into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port. As long as the socket is there, nobody is given it who does not ask for it by its number.
fn reserve() -> Result<(u16, TcpSocket), Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok((socket.local_addr()?.port(), socket))
}

async fn load(address: SocketAddr) -> Result<f64, Failure> {
    let start = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(client(address))).collect();
    for client in clients {
        client.await??;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(CONNECTIONS * REQUESTS))
}

async fn client(address: SocketAddr) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(1024);
    for _ in 0..REQUESTS {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        answer.clear();
        while !is_whole(&answer) {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(format!("broken off: {}", String::from_utf8_lossy(&answer)).into());
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("no hello: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    Ok(())
}

/// Whether that is all of an answer: chunks to the last, or no chunks and the word.
fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(b"\r\n0\r\n\r\n") || answer.ends_with(b"\r\n\r\nhello")
}
