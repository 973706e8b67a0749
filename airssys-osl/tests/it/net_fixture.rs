//! A door to the loopback network, with hosts from a script.

use std::net::SocketAddr;

use airssys_osl::{
    Action, Os, Principal, Verdict,
    audit::Outcome,
    policy::{Grant, Policy, Ports, Protocol},
    testing::{MemorySink, Recorded, ScriptedResolver},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
};

pub(crate) const TCP: Protocol = Protocol::Tcp;
pub(crate) const UDP: Protocol = Protocol::Udp;

pub(crate) struct Net {
    pub(crate) os: Os,
    pub(crate) sink: MemorySink,
    pub(crate) resolver: ScriptedResolver,
}

impl Net {
    pub(crate) fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        Self::with(ScriptedResolver::new(), grants)
    }

    pub(crate) fn with(resolver: ScriptedResolver, grants: impl IntoIterator<Item = Grant>) -> Self {
        let sink = MemorySink::new();
        let os = Os::builder(policy(grants), sink.clone()).resolver(resolver.clone()).build();
        Self { os, sink, resolver }
    }

    pub(crate) fn principal(&self) -> Principal {
        self.os.principal("p").unwrap()
    }

    pub(crate) fn reload(&self, grants: impl IntoIterator<Item = Grant>) {
        self.os.reload(policy(grants));
    }

    /// What was recorded since the last time: action, resource with NULs as `|`, rule, outcome.
    pub(crate) fn story(&self) -> Vec<String> {
        self.sink.take().iter().map(line).collect()
    }
}

pub(crate) fn policy(grants: impl IntoIterator<Item = Grant>) -> Policy {
    Policy::builder().principal("p", grants).build().unwrap()
}

/// One grant that permits TCP connections to all of this machine.
pub(crate) fn loopback() -> Grant {
    Grant::connect(TCP, "127.0.0.0/8", Ports::ALL).rule("loopback")
}

pub(crate) fn line(record: &Recorded) -> String {
    let outcome = match record.outcome {
        Outcome::Pending => "intent".to_owned(),
        Outcome::Success => "done".to_owned(),
        Outcome::Denied => "denied".to_owned(),
        Outcome::Failed(errno) => format!("failed {}", std::io::Error::from_raw_os_error(errno).kind()),
        Outcome::Cancelled => "cancelled".to_owned(),
    };
    assert_eq!(record.verdict == Verdict::Deny, record.outcome == Outcome::Denied, "{record:?}");
    let resource = String::from_utf8_lossy(&record.resource).replace('\0', "|");
    format!("{} {resource} by {}: {outcome}", record.action, record.rule)
}

pub(crate) fn actions(records: &[Recorded]) -> Vec<Action> {
    records.iter().map(|record| record.action).collect()
}

/// A server behind the door's back, which says back what it is told.
pub(crate) async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A server that accepts and says nothing.
pub(crate) async fn silent_server() -> (SocketAddr, tokio::task::JoinHandle<Vec<tokio::net::TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
        kept
    });
    (address, accepted)
}

/// A port of this machine that nobody listens on: nobody else is given it as long as the socket lives.
pub(crate) fn closed_port() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    (socket.local_addr().unwrap(), socket)
}
