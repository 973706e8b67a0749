//! The network: who may talk to whom.

mod account;
pub mod address;
mod bucket;
mod cidr;
mod connector;
mod held;
mod host;
mod listener;
mod options;
mod pool;
mod race;
mod resolve;
mod stream;
mod subject;
#[cfg(feature = "tls")]
pub mod tls;
mod udp;
#[cfg(target_os = "linux")]
mod unix;

#[cfg(target_os = "linux")]
pub use self::unix::{UnixDatagram, UnixListener, UnixStream};
pub(crate) use self::{
    account::{Account, Accounts},
    host::parents,
};
pub use self::{
    cidr::Cidr,
    connector::{Checked, TcpConnector},
    host::{Host, HostName},
    listener::Listener,
    options::{KeepAlive, Limits},
    pool::{Pool, PoolOptions, Pooled},
    resolve::{Answer, Lookup, LookupSlot, Resolve, SystemResolver},
    stream::TcpStream,
    udp::UdpSocket,
};
