//! Network interfaces, by rtnetlink(7): two dumps, of links and of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::{
    fd::OwnedFd,
    io::{Errno, retry_on_intr},
    net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink},
};

use crate::{limits::RESOLVE_TRIES, os::Fault, system::Interface};

/// The kernel fills at most this much at a time (`NLMSG_GOODSIZE` and `NETLINK_SKB_MAX`).
const BUFFER_BYTES: usize = 64 * 1024;

// Of `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_addr.h` and `linux/if.h`.
const HEADER_BYTES: usize = 16;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP_INTR: u16 = 0x010;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFINFO_BYTES: usize = 16;
const IFADDR_BYTES: usize = 8;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_STATS64: u16 = 23;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;

/// One answer of the kernel.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

pub(crate) fn interfaces() -> Result<Vec<Interface>, Fault> {
    // Without a protocol it is rtnetlink.
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // A dump during which something changed is told to be none.
    for _ in 0..RESOLVE_TRIES {
        let mut found = Vec::new();
        let links = dump(&socket, RTM_GETLINK, |message| found.extend(link(message)))?;
        let addresses = dump(&socket, RTM_GETADDR, |message| {
            if let Some((index, address)) = address(message)
                && let Some(interface) = found.iter_mut().find(|interface| interface.index == index)
            {
                interface.addresses.push(address);
            }
        })?;
        if links && addresses {
            return Ok(found);
        }
    }
    Err(Errno::BUSY.into())
}

/// Asks for all of a kind; tells whether the answer is of one moment.
fn dump(socket: &OwnedFd, kind: u16, mut each: impl FnMut(Message<'_>)) -> Result<bool, Fault> {
    let mut request = Vec::new();
    request.extend_from_slice(&((HEADER_BYTES + IFINFO_BYTES) as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.resize(HEADER_BYTES + IFINFO_BYTES, 0);
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    retry_on_intr(|| net::sendto(socket, &request, SendFlags::empty(), &kernel))?;
    let (mut buffer, mut whole) = (vec![0; BUFFER_BYTES], true);
    loop {
        // The answer is there when the question was asked: nothing is waited for.
        let (read, full) =
            retry_on_intr(|| net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC))?;
        let mut rest = buffer.get(..read).filter(|_| full == read).ok_or(Errno::MSGSIZE)?;
        while let Some((message, behind)) = next_message(rest) {
            rest = behind;
            whole &= message.flags & NLM_F_DUMP_INTR == 0;
            match message.kind {
                NLMSG_DONE => return Ok(whole),
                NLMSG_ERROR => return Err(failure(message.body)),
                _ => each(message),
            }
        }
    }
}

fn failure(body: &[u8]) -> Fault {
    let number = word(body, 0).map_or(0, |number| number.cast_signed().wrapping_neg());
    if number > 0 { Errno::from_raw_os_error(number).into() } else { Errno::IO.into() }
}

fn link(message: Message<'_>) -> Option<Interface> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let (index, flags) = (word(message.body, 4)?, word(message.body, 8)?);
    let mut interface = Interface {
        name: String::new(),
        index,
        up: flags & IFF_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        mtu_bytes: 0,
        addresses: Vec::new(),
        received_bytes: 0,
        sent_bytes: 0,
    };
    let mut rest = message.body.get(IFINFO_BYTES..)?;
    while let Some((kind, value, behind)) = next_attribute(rest) {
        rest = behind;
        match kind {
            IFLA_IFNAME => {
                let name = value.strip_suffix(&[0]).unwrap_or(value);
                interface.name = String::from_utf8_lossy(name).into_owned();
            }
            IFLA_MTU => interface.mtu_bytes = word(value, 0)?,
            IFLA_STATS64 => {
                (interface.received_bytes, interface.sent_bytes) = (long(value, 16)?, long(value, 24)?);
            }
            _ => {}
        }
    }
    Some(interface)
}

/// The index of an interface, and one of its addresses.
fn address(message: Message<'_>) -> Option<(u32, (IpAddr, u8))> {
    if message.kind != RTM_NEWADDR {
        return None;
    }
    let (prefix, index) = (*message.body.get(1)?, word(message.body, 4)?);
    let (mut peer, mut local) = (None, None);
    let mut rest = message.body.get(IFADDR_BYTES..)?;
    while let Some((kind, value, behind)) = next_attribute(rest) {
        rest = behind;
        match kind {
            // On a line between two that is the other one; else it is the address, and there is no other for IPv6.
            IFA_ADDRESS => peer = ip(value),
            IFA_LOCAL => local = ip(value),
            _ => {}
        }
    }
    Some((index, (local.or(peer)?, prefix)))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

fn next_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let len = word(bytes, 0)? as usize;
    let (kind, flags) = (half(bytes, 4)?, half(bytes, 6)?);
    let body = bytes.get(HEADER_BYTES..len)?;
    Some((Message { kind, flags, body }, behind(bytes, len)))
}

fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (len, kind) = (usize::from(half(bytes, 0)?), half(bytes, 2)?);
    Some((kind, bytes.get(4..len)?, behind(bytes, len)))
}

/// What comes behind the first `len` bytes: at the next multiple of four.
fn behind(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(len.next_multiple_of(4)..).unwrap_or_default()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0_u32..80) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_chunk_mut::<4>() {
                *first = len.to_ne_bytes();
            }
            let mut rest = &*bytes;
            while let Some((message, behind)) = next_message(rest) {
                prop_assert!(behind.len() < rest.len());
                rest = behind;
                for kind in [RTM_NEWLINK, RTM_NEWADDR] {
                    let message = Message { kind, ..message };
                    let _ = (link(message), address(message));
                }
            }
        }
    }

    #[test]
    fn a_line_between_two_has_its_own_address() {
        let mut body = vec![2, 32, 0, 0, 7, 0, 0, 0];
        body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        for (kind, last) in [(IFA_ADDRESS, 2), (IFA_LOCAL, 1)] {
            body.extend_from_slice(&8_u16.to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(&[10, 0, 0, last]);
        }
        let message = Message { kind: RTM_NEWADDR, flags: 0, body: &body };
        assert_eq!(address(message), Some((7, (Ipv4Addr::new(10, 0, 0, 1).into(), 32))));
    }
}
