//! Where records and checkpoints are sent to, and when they have arrived there.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::format;
use crate::{
    audit::{Record, ocsf},
    sys::{self, log_file},
};

/// The most that is read of an answer, in bytes.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Where records and checkpoints go.
pub struct Target(Kind);

enum Kind {
    Lines(Box<dyn AsyncWrite + Send + Sync + Unpin>),
    Append(PathBuf),
    Syslog(PathBuf),
    Journal(PathBuf),
    SyslogTcp(SocketAddr),
    Otlp { address: SocketAddr, host: String, path: String },
}

impl Target {
    /// Lines of [OCSF](ocsf) JSON; checkpoints as they are, with an empty line behind each. They have arrived when they
    /// are flushed.
    pub fn lines(writer: impl AsyncWrite + Send + Sync + Unpin + 'static) -> Self {
        Self(Kind::Lines(Box::new(writer)))
    }

    /// The same, appended to a file. They have arrived when they are on the device.
    pub fn append(file: &Path) -> Self {
        Self(Kind::Append(file.to_owned()))
    }

    /// The system's log by RFC 5424, to a UNIX socket of datagrams, `/dev/log` by custom: one message a record, which
    /// has OCSF JSON. They have arrived when the socket has taken them.
    pub fn syslog(socket: &Path) -> Self {
        Self(Kind::Syslog(socket.to_owned()))
    }

    /// The same over TCP, each message with its length before it (RFC 6587, 3.4.1). They have arrived when the other
    /// side has read all to the end and closes the connection: the protocol has no other answer.
    pub fn syslog_tcp(address: SocketAddr) -> Self {
        Self(Kind::SyslogTcp(address))
    }

    /// The journal of systemd, by its own protocol, to a UNIX socket of datagrams, `/run/systemd/journal/socket` by
    /// custom. They have arrived when the socket has taken them.
    pub fn journal(socket: &Path) -> Self {
        Self(Kind::Journal(socket.to_owned()))
    }

    /// A collector of OpenTelemetry, by OTLP over HTTP as JSON, without TLS: one on this machine, by intention. `host` is
    /// what the request calls it, `path` is `/v1/logs` by custom. They have arrived when it answers with a status of
    /// 200 to 299; what it refuses of a request that it accepts, is lost, as the protocol says.
    pub fn otlp(address: SocketAddr, host: &str, path: &str) -> Self {
        // Nothing of the two may end a line of the request.
        let clean = |text: &str| text.chars().filter(|c| c.is_ascii_graphic()).collect();
        Self(Kind::Otlp { address, host: clean(host), path: clean(path) })
    }

    /// Sends records. All have arrived where it succeeds.
    pub(super) async fn send(&mut self, records: &[Record]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Lines(writer) => write(writer, &lines(records)).await,
            Kind::Append(file) => append(file, lines(records)).await,
            Kind::Syslog(socket) => datagrams(socket, records.iter().map(format::syslog)).await,
            Kind::Journal(socket) => datagrams(socket, records.iter().map(format::journal)).await,
            Kind::SyslogTcp(address) => octets_counted(*address, records.iter().map(format::syslog)).await,
            Kind::Otlp { address, host, path } => post(*address, host, path, &format::otlp(records)).await,
        }
    }

    /// Sends a checkpoint. It has arrived where it succeeds.
    pub(super) async fn publish(&mut self, note: &str) -> io::Result<()> {
        match &mut self.0 {
            Kind::Lines(writer) => write(writer, format!("{note}\n").as_bytes()).await,
            Kind::Append(file) => append(file, format!("{note}\n").into_bytes()).await,
            Kind::Syslog(socket) => datagrams(socket, [format::syslog_checkpoint(note)].into_iter()).await,
            Kind::Journal(socket) => datagrams(socket, [format::journal_checkpoint(note)].into_iter()).await,
            Kind::SyslogTcp(address) => {
                octets_counted(*address, [format::syslog_checkpoint(note)].into_iter()).await
            }
            Kind::Otlp { address, host, path } => {
                post(*address, host, path, &format::otlp_checkpoint(note)).await
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Lines(_) => f.write_str("a writer"),
            Kind::Append(path) => write!(f, "`{}`", path.display()),
            Kind::Syslog(path) | Kind::Journal(path) => write!(f, "`{}`", path.display()),
            Kind::SyslogTcp(address) => write!(f, "syslog at {address}"),
            Kind::Otlp { address, .. } => write!(f, "the collector at {address}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

fn lines(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| (ocsf::to_json(record) + "\n").into_bytes()).collect()
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

async fn append(file: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let file = file.to_owned();
    let written = tokio::task::spawn_blocking(move || log_file::append(&file, &bytes)).await;
    written.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(unix)]
async fn datagrams(socket: &Path, messages: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    // A new one each time: what listens there may have been started again.
    let socket = sys::connect_unix_datagram(socket)?;
    for message in messages {
        socket.send(&message).await?;
    }
    Ok(())
}

#[cfg(not(unix))]
async fn datagrams(_: &Path, _: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let why = "this system has no UNIX sockets; send to a file, to syslog over TCP, or by OTLP";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

async fn octets_counted(address: SocketAddr, messages: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(format!("{} ", message.len()).as_bytes());
        bytes.extend_from_slice(&message);
    }
    let mut stream = sys::connect(address).await?;
    stream.write_all(&bytes).await?;
    stream.shutdown().await?;
    // A side that closes without having read all resets the connection, and that is an error here.
    to_end(&mut stream).await.map(drop)
}

async fn post(address: SocketAddr, host: &str, path: &str, body: &str) -> io::Result<()> {
    let mut stream = sys::connect(address).await?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let answer = to_end(&mut stream).await?;
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or_default();
    let whole = answer.windows(4).any(|window| window == b"\r\n\r\n");
    match status {
        [b'2', b'0'..=b'9', b'0'..=b'9'] if whole => Ok(()),
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        status => {
            let status = String::from_utf8_lossy(status).escape_debug().to_string();
            Err(io::Error::other(format!("it answered with status {status}")))
        }
    }
}

/// Reads what comes until the other side closes, and the beginning of it.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}
