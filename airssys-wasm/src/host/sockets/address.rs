//! Addresses of WASI and of the rest of the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::host::bindings::wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

/// The address of a peer.
///
/// # Errors
///
/// `invalid-argument`, as WASI prescribes: another family than the socket's, an address or a port that is none, an IPv4
/// address in IPv6.
pub(super) fn remote(address: SocketAddr, family: IpAddressFamily) -> Result<SocketAddr, ErrorCode> {
    let address = of_family(address, family)?;
    let is_peer = !address.ip().is_unspecified() && address.port() != 0;
    if is_peer { Ok(address) } else { Err(ErrorCode::InvalidArgument) }
}

/// The address of one, not of many: all that TCP has to do with.
///
/// # Errors
///
/// `invalid-argument`: a multicast or the broadcast address.
pub(super) fn unicast(address: SocketAddr) -> Result<SocketAddr, ErrorCode> {
    let is_broadcast = address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.ip().is_multicast() || is_broadcast { Err(ErrorCode::InvalidArgument) } else { Ok(address) }
}

/// An address as sockets of `family` have them.
///
/// # Errors
///
/// `invalid-argument`: another family than the socket's, an IPv4 address in IPv6.
pub(super) fn of_family(address: SocketAddr, family: IpAddressFamily) -> Result<SocketAddr, ErrorCode> {
    let fits = match (address.ip(), family) {
        (IpAddr::V4(_), IpAddressFamily::Ipv4) => true,
        (IpAddr::V6(v6), IpAddressFamily::Ipv6) => v6.to_ipv4_mapped().is_none() && !is_compatible(v6),
        _ => false,
    };
    if fits { Ok(address) } else { Err(ErrorCode::InvalidArgument) }
}

/// Whether it is an IPv4 address in IPv6 as they were written before 2006. (RFC 4291, 2.5.5.1)
fn is_compatible(address: Ipv6Addr) -> bool {
    let is_own = address.is_unspecified() || address.is_loopback();
    matches!(address.segments(), [0, 0, 0, 0, 0, 0, _, _]) && !is_own
}

/// Any address of this machine, and any port.
pub(super) fn any(family: IpAddressFamily) -> SocketAddr {
    match family {
        IpAddressFamily::Ipv4 => SocketAddr::from(([0; 4], 0)),
        IpAddressFamily::Ipv6 => SocketAddr::from(([0_u16; 8], 0)),
    }
}

/// What turns the addresses that one version of WASI has into those of the rest of the world, and back. Their names are in
/// scope where it stands.
macro_rules! addresses {
    () => {
        impl From<IpSocketAddress> for std::net::SocketAddr {
            fn from(address: IpSocketAddress) -> Self {
                match address {
                    IpSocketAddress::Ipv4(v4) => {
                        let (a, b, c, d) = v4.address;
                        Self::from(([a, b, c, d], v4.port))
                    }
                    IpSocketAddress::Ipv6(v6) => {
                        let (a, b, c, d, e, f, g, h) = v6.address;
                        let address = std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h);
                        std::net::SocketAddrV6::new(address, v6.port, v6.flow_info, v6.scope_id).into()
                    }
                }
            }
        }

        impl From<std::net::SocketAddr> for IpSocketAddress {
            fn from(address: std::net::SocketAddr) -> Self {
                match address {
                    std::net::SocketAddr::V4(v4) => {
                        let [a, b, c, d] = v4.ip().octets();
                        Self::Ipv4(Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) })
                    }
                    std::net::SocketAddr::V6(v6) => {
                        let [a, b, c, d, e, f, g, h] = v6.ip().segments();
                        Self::Ipv6(Ipv6SocketAddress {
                            port: v6.port(),
                            flow_info: v6.flowinfo(),
                            address: (a, b, c, d, e, f, g, h),
                            scope_id: v6.scope_id(),
                        })
                    }
                }
            }
        }

        impl From<std::net::IpAddr> for IpAddress {
            fn from(address: std::net::IpAddr) -> Self {
                match address {
                    std::net::IpAddr::V4(v4) => {
                        let [a, b, c, d] = v4.octets();
                        Self::Ipv4((a, b, c, d))
                    }
                    std::net::IpAddr::V6(v6) => {
                        let [a, b, c, d, e, f, g, h] = v6.segments();
                        Self::Ipv6((a, b, c, d, e, f, g, h))
                    }
                }
            }
        }
    };
}

pub(crate) use addresses;

addresses!();
