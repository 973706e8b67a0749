//! The host of a component: the imports of its world.

use std::{net::SocketAddr, time::Duration};

use super::{Failure, Purpose};
use crate::{
    ErrorKind,
    bindings::{
        airssys::{
            actor::{
                log as system_log, messaging, timers,
                types::{Level as LogLevel, SendError},
            },
            process::process,
        },
        filing::airssys::actor::files,
        wasi::{
            cli::environment as cli_environment,
            clocks::{monotonic_clock, wall_clock},
            filesystem::{
                preopens as wasi_preopens,
                types::{self as wasi_fs, DescriptorFlags, DescriptorType, OpenFlags, PathFlags},
            },
            random::random as wasi_random,
            sockets::{
                instance_network::instance_network,
                network::{
                    ErrorCode as NetCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
                    Ipv6SocketAddress,
                },
                tcp_create_socket::create_tcp_socket,
            },
        },
    },
    fs::{Identity, Kind},
    log::Level,
};

pub(crate) fn send(to: &str, subject: &str, payload: &[u8]) -> Result<(), Failure> {
    messaging::send(to, subject, payload).map_err(send_failure)
}

pub(crate) fn call(to: &str, subject: &str, payload: &[u8], timeout_ms: u32) -> Result<Vec<u8>, Failure> {
    messaging::call(to, subject, payload, timeout_ms).map_err(send_failure)
}

pub(crate) fn send_typed(to: &str, subject: &str, content_type: &str, payload: &[u8]) -> Result<(), Failure> {
    messaging::send_typed(to, subject, content_type, payload).map_err(send_failure)
}

pub(crate) fn call_typed(
    to: &str,
    subject: &str,
    content_type: &str,
    payload: &[u8],
    timeout_ms: u32,
) -> Result<Vec<u8>, Failure> {
    messaging::call_typed(to, subject, content_type, payload, timeout_ms).map_err(send_failure)
}

pub(crate) fn random_bytes(count: u64) -> Vec<u8> {
    wasi_random::get_random_bytes(count)
}

pub(crate) fn random_u64() -> u64 {
    wasi_random::get_random_u64()
}

fn send_failure(error: SendError) -> Failure {
    match error {
        SendError::NoSuchActor => Failure(ErrorKind::NotFound, "no such actor"),
        SendError::NotPermitted => Failure(ErrorKind::Denied, "not permitted"),
        SendError::TooLarge => Failure(ErrorKind::LimitExceeded, "more than is taken"),
        SendError::Gone => Failure(ErrorKind::Unavailable, "the receiver is gone"),
        SendError::TimedOut => Failure(ErrorKind::TimedOut, "no answer in time"),
        SendError::NoReply => Failure(ErrorKind::Invalid, "the receiver gives no answer to it"),
    }
}

pub(crate) fn timer_set(name: &str, delay_ms: u64) {
    timers::set(name, delay_ms);
}

pub(crate) fn timer_cancel(name: &str) -> bool {
    timers::cancel(name)
}

pub(crate) fn log(level: Level, text: &str) {
    let level = match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    system_log::write(level, text);
}

pub(crate) fn monotonic_ns() -> u64 {
    monotonic_clock::now()
}

pub(crate) fn wall() -> Duration {
    let now = wall_clock::now();
    Duration::new(now.seconds, now.nanoseconds)
}

pub(crate) fn environment() -> Vec<(String, String)> {
    cli_environment::get_environment()
}

pub(crate) fn connect(address: SocketAddr) -> Result<(), Failure> {
    let (family, address) = match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            let address = Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) };
            (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(address))
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: (a, b, c, d, e, f, g, h),
                scope_id: v6.scope_id(),
            };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
        }
    };
    let socket = create_tcp_socket(family).map_err(net_failure)?;
    socket.start_connect(&instance_network(), address).map_err(net_failure)?;
    loop {
        match socket.finish_connect() {
            Ok(_) => return Ok(()),
            Err(NetCode::WouldBlock) => socket.subscribe().block(),
            Err(code) => return Err(net_failure(code)),
        }
    }
}

fn net_failure(code: NetCode) -> Failure {
    match code {
        NetCode::AccessDenied => Failure(ErrorKind::Denied, "access denied"),
        NetCode::NotSupported => Failure(ErrorKind::Unsupported, "not supported"),
        NetCode::Timeout => Failure(ErrorKind::TimedOut, "timed out"),
        NetCode::ConnectionRefused => Failure(ErrorKind::Unavailable, "connection refused"),
        NetCode::ConnectionReset => Failure(ErrorKind::Unavailable, "connection reset"),
        NetCode::ConnectionAborted => Failure(ErrorKind::Unavailable, "connection aborted"),
        NetCode::RemoteUnreachable => Failure(ErrorKind::Unavailable, "address unreachable"),
        NetCode::InvalidArgument => Failure(ErrorKind::Invalid, "invalid address"),
        NetCode::OutOfMemory => Failure(ErrorKind::LimitExceeded, "out of memory"),
        NetCode::NewSocketLimit => Failure(ErrorKind::LimitExceeded, "too many sockets"),
        _ => Failure(ErrorKind::Io, "network error"),
    }
}

pub(crate) fn run(program: &str, arguments: &[String]) -> Result<u8, Failure> {
    process::run(program, arguments).map_err(|error| match error {
        process::Error::NotPermitted => Failure(ErrorKind::Denied, "not permitted"),
        process::Error::Unsupported => Failure(ErrorKind::Unsupported, "not supported"),
    })
}

pub(crate) fn preopens() -> Vec<(Descriptor, String)> {
    wasi_preopens::get_directories()
        .into_iter()
        .map(|(directory, path)| (Descriptor(directory), path))
        .collect()
}

/// An open file or directory.
#[derive(Debug)]
pub(crate) struct Descriptor(wasi_fs::Descriptor);

impl Descriptor {
    pub(crate) fn open_at(&self, path: &str, purpose: Purpose) -> Result<Self, Failure> {
        let (open, flags) = match purpose {
            Purpose::Read => (OpenFlags::empty(), DescriptorFlags::READ),
            Purpose::Replace => (OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE),
        };
        self.0.open_at(PathFlags::SYMLINK_FOLLOW, path, open, flags).map(Self).map_err(fs_failure)
    }

    pub(crate) fn read(&self, length: u64, offset: u64) -> Result<Vec<u8>, Failure> {
        self.0.read(length, offset).map(|(bytes, _)| bytes).map_err(fs_failure)
    }

    pub(crate) fn read_whole(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
        files::read(&self.0, path, limit_bytes).map_err(fs_failure)
    }

    pub(crate) fn replace(&self, path: &str, content: &[u8], flush: bool) -> Result<(), Failure> {
        files::replace(&self.0, path, content, flush).map_err(fs_failure)
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<u64, Failure> {
        self.0.write(bytes, offset).map_err(fs_failure)
    }

    pub(crate) fn sync(&self) -> Result<(), Failure> {
        self.0.sync().map_err(fs_failure)
    }

    pub(crate) fn entries(&self) -> Result<Vec<(String, Kind)>, Failure> {
        let stream = self.0.read_directory().map_err(fs_failure)?;
        let mut entries = Vec::new();
        while let Some(entry) = stream.read_directory_entry().map_err(fs_failure)? {
            entries.push((entry.name, kind(entry.type_)));
        }
        Ok(entries)
    }

    pub(crate) fn stat_at(&self, path: &str) -> Result<(Kind, u64), Failure> {
        let stat = self.0.stat_at(PathFlags::SYMLINK_FOLLOW, path).map_err(fs_failure)?;
        Ok((kind(stat.type_), stat.size))
    }

    pub(crate) fn identity_at(&self, path: &str) -> Result<Identity, Failure> {
        let hash = self.0.metadata_hash_at(PathFlags::SYMLINK_FOLLOW, path).map_err(fs_failure)?;
        Ok(Identity(hash.upper, hash.lower))
    }

    pub(crate) fn rename_at(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.0.rename_at(from, &self.0, to).map_err(fs_failure)
    }

    pub(crate) fn unlink_at(&self, path: &str) -> Result<(), Failure> {
        self.0.unlink_file_at(path).map_err(fs_failure)
    }
}

fn kind(kind: DescriptorType) -> Kind {
    match kind {
        DescriptorType::RegularFile => Kind::File,
        DescriptorType::Directory => Kind::Directory,
        DescriptorType::SymbolicLink => Kind::Symlink,
        _ => Kind::Other,
    }
}

fn fs_failure(code: wasi_fs::ErrorCode) -> Failure {
    use wasi_fs::ErrorCode as Code;
    let kind = match code {
        Code::Access | Code::NotPermitted => ErrorKind::Denied,
        Code::NoEntry => ErrorKind::NotFound,
        Code::Exist => ErrorKind::AlreadyExists,
        Code::Unsupported => ErrorKind::Unsupported,
        Code::Quota | Code::FileTooLarge | Code::NameTooLong | Code::InsufficientMemory => {
            ErrorKind::LimitExceeded
        }
        Code::BadDescriptor
        | Code::IllegalByteSequence
        | Code::Invalid
        | Code::IsDirectory
        | Code::NotDirectory
        | Code::InvalidSeek => ErrorKind::Invalid,
        _ => ErrorKind::Io,
    };
    Failure(kind, code.name())
}
