//! Addresses of WASI and of the rest of the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::host::bindings::wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

/// The address of a peer.
///
/// # Errors
///
/// `invalid-argument`, as WASI prescribes: another family than the socket's, an address or a port that is none, an IPv4
/// address in IPv6.
pub(super) fn remote(address: IpSocketAddress, family: IpAddressFamily) -> Result<SocketAddr, ErrorCode> {
    let address = of_family(address, family)?;
    let is_peer = !address.ip().is_unspecified() && address.port() != 0;
    if is_peer { Ok(address) } else { Err(ErrorCode::InvalidArgument) }
}

/// The address of this machine to bind to.
///
/// # Errors
///
/// `invalid-argument`: another family than the socket's, an IPv4 address in IPv6, a multicast address.
pub(super) fn local(address: IpSocketAddress, family: IpAddressFamily) -> Result<SocketAddr, ErrorCode> {
    let address = of_family(address, family)?;
    if address.ip().is_multicast() { Err(ErrorCode::InvalidArgument) } else { Ok(address) }
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

fn of_family(address: IpSocketAddress, family: IpAddressFamily) -> Result<SocketAddr, ErrorCode> {
    let address = from_wasi(address);
    let fits = match (address.ip(), family) {
        (IpAddr::V4(_), IpAddressFamily::Ipv4) => true,
        (IpAddr::V6(v6), IpAddressFamily::Ipv6) => v6.to_ipv4_mapped().is_none(),
        _ => false,
    };
    if fits { Ok(address) } else { Err(ErrorCode::InvalidArgument) }
}

fn from_wasi(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(v4) => {
            let (a, b, c, d) = v4.address;
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), v4.port).into()
        }
        IpSocketAddress::Ipv6(v6) => {
            let (a, b, c, d, e, f, g, h) = v6.address;
            let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
            SocketAddrV6::new(address, v6.port, v6.flow_info, v6.scope_id).into()
        }
    }
}

pub(super) fn to_wasi(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => {
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: v4.port(), address: parts_v4(*v4.ip()) })
        }
        SocketAddr::V6(v6) => IpSocketAddress::Ipv6(Ipv6SocketAddress {
            port: v6.port(),
            flow_info: v6.flowinfo(),
            address: parts_v6(*v6.ip()),
            scope_id: v6.scope_id(),
        }),
    }
}

pub(super) fn ip_to_wasi(address: IpAddr) -> IpAddress {
    match address {
        IpAddr::V4(v4) => IpAddress::Ipv4(parts_v4(v4)),
        IpAddr::V6(v6) => IpAddress::Ipv6(parts_v6(v6)),
    }
}

fn parts_v4(address: Ipv4Addr) -> (u8, u8, u8, u8) {
    let [a, b, c, d] = address.octets();
    (a, b, c, d)
}

fn parts_v6(address: Ipv6Addr) -> (u16, u16, u16, u16, u16, u16, u16, u16) {
    let [a, b, c, d, e, f, g, h] = address.segments();
    (a, b, c, d, e, f, g, h)
}
