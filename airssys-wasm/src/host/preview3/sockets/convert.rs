//! The words of WASI 0.3 about sockets, in those of 0.2.

use super::super::bindings::wasi::sockets::{
    ip_name_lookup,
    types::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
};
use crate::host::{bindings::wasi::sockets::network as old, sockets::addresses};

addresses!();

impl From<IpAddressFamily> for old::IpAddressFamily {
    fn from(family: IpAddressFamily) -> Self {
        match family {
            IpAddressFamily::Ipv4 => Self::Ipv4,
            IpAddressFamily::Ipv6 => Self::Ipv6,
        }
    }
}

impl From<old::IpAddressFamily> for IpAddressFamily {
    fn from(family: old::IpAddressFamily) -> Self {
        match family {
            old::IpAddressFamily::Ipv4 => Self::Ipv4,
            old::IpAddressFamily::Ipv6 => Self::Ipv6,
        }
    }
}

impl From<old::ErrorCode> for ErrorCode {
    fn from(code: old::ErrorCode) -> Self {
        macro_rules! same {
            ($($name:ident),*) => {
                match code {
                    $(old::ErrorCode::$name => Self::$name,)*
                    // Which 0.3 has no words for.
                    other => Self::Other((other != old::ErrorCode::Unknown).then(|| other.name().to_owned())),
                }
            };
        }
        same!(
            AccessDenied,
            NotSupported,
            InvalidArgument,
            OutOfMemory,
            Timeout,
            InvalidState,
            AddressNotBindable,
            AddressInUse,
            RemoteUnreachable,
            ConnectionRefused,
            ConnectionReset,
            ConnectionAborted,
            DatagramTooLarge
        )
    }
}

impl From<old::ErrorCode> for ip_name_lookup::ErrorCode {
    fn from(code: old::ErrorCode) -> Self {
        match code {
            old::ErrorCode::AccessDenied => Self::AccessDenied,
            old::ErrorCode::InvalidArgument => Self::InvalidArgument,
            old::ErrorCode::NameUnresolvable => Self::NameUnresolvable,
            old::ErrorCode::TemporaryResolverFailure => Self::TemporaryResolverFailure,
            old::ErrorCode::PermanentResolverFailure => Self::PermanentResolverFailure,
            other => Self::Other(Some(other.name().to_owned())),
        }
    }
}
