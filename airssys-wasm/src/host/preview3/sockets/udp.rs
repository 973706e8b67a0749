//! `udp-socket` of `wasi:sockets/types`.

use wasmtime::{
    Result,
    component::{Accessor, HasSelf, Resource},
};

use super::super::bindings::wasi::sockets::types::{
    HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress,
};
use crate::{
    host::{
        Host,
        bindings::wasi::sockets::network::ErrorCode,
        sockets::{SocketResult, UdpSocket, buffer_size, send},
        stream::CHUNK_BYTES,
    },
    instance::State,
};

/// The most bytes of a datagram, as its length is written in two.
const DATAGRAM_BYTES: usize = 65_535;

/// A UDP socket.
pub struct Udp(UdpSocket);

impl HostUdpSocketWithStore<State> for HasSelf<Host> {
    async fn send(
        guest: &Accessor<State, Self>,
        socket: Resource<Udp>,
        data: Vec<u8>,
        address: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        if data.len() > DATAGRAM_BYTES {
            return Err(ErrorCode::DatagramTooLarge.into());
        }
        let (to, way) = guest.with(|mut access| -> SocketResult<_> {
            let host = access.get();
            let udp = &host.table.get(&socket)?.0;
            let to = udp.destination(address.map(Into::into))?;
            Ok((to, udp.way_to(to).ok_or_else(|| udp.open_to(&host.principal, to))))
        })?;
        let way = match way {
            Ok(way) => way,
            Err(opening) => {
                let opened = opening.await;
                guest.with(|mut access| -> SocketResult<_> {
                    Ok(access.get().table.get_mut(&socket)?.0.take_to(to, opened)?)
                })?
            }
        };
        Ok(send(&way, &data, to).await?)
    }

    async fn receive(
        guest: &Accessor<State, Self>,
        socket: Resource<Udp>,
    ) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        let (datagrams, opening) = guest.with(|mut access| -> SocketResult<_> {
            let host = access.get();
            let udp = &host.table.get(&socket)?.0;
            if udp.is_new() {
                return Err(ErrorCode::InvalidState.into());
            }
            Ok((udp.datagrams(), udp.open(&host.principal)))
        })?;
        let datagrams = match datagrams {
            Some(datagrams) => datagrams,
            None => {
                let opened = opening.await;
                guest.with(|mut access| -> SocketResult<_> {
                    let udp = &mut access.get().table.get_mut(&socket)?.0;
                    if udp.datagrams().is_none() {
                        udp.take(opened)?;
                    }
                    Ok(udp.datagrams().ok_or(ErrorCode::InvalidState)?)
                })?
            }
        };
        let (data, from) = datagrams.receive().await?;
        Ok((data, from.into()))
    }
}

impl HostUdpSocket for Host {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Udp>> {
        Ok(self.table.push(Udp(UdpSocket::new(family.into())))?)
    }

    async fn bind(&mut self, socket: Resource<Udp>, address: IpSocketAddress) -> SocketResult<()> {
        let principal = self.principal.clone();
        Ok(self.table.get_mut(&socket)?.0.bind(&principal, address.into()).await?)
    }

    async fn connect(&mut self, socket: Resource<Udp>, address: IpSocketAddress) -> SocketResult<()> {
        let principal = self.principal.clone();
        self.table.get_mut(&socket)?.0.talk_to(&principal, Some(address.into())).await?;
        Ok(())
    }

    fn disconnect(&mut self, socket: Resource<Udp>) -> SocketResult<()> {
        Ok(self.table.get_mut(&socket)?.0.disconnect()?)
    }

    /// Where the address was left to the system, it has to pick one now.
    async fn get_local_address(&mut self, socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        let principal = self.principal.clone();
        Ok(self.table.get_mut(&socket)?.0.settle(&principal).await?.into())
    }

    fn get_remote_address(&mut self, socket: Resource<Udp>) -> SocketResult<IpSocketAddress> {
        Ok(self.table.get(&socket)?.0.remote_address()?.into())
    }

    fn get_address_family(&mut self, socket: Resource<Udp>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.0.family().into())
    }

    fn get_unicast_hop_limit(&mut self, socket: Resource<Udp>) -> SocketResult<u8> {
        Ok(self.table.get(&socket)?.0.hop_limit())
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<Udp>, value: u8) -> SocketResult<()> {
        Ok(self.table.get_mut(&socket)?.0.set_hop_limit(value)?)
    }

    /// What is set is a wish, as WASI says; this is what it comes to.
    fn get_receive_buffer_size(&mut self, socket: Resource<Udp>) -> SocketResult<u64> {
        self.table.get(&socket)?;
        Ok(CHUNK_BYTES as u64)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<Udp>, value: u64) -> SocketResult<()> {
        self.table.get(&socket)?;
        Ok(buffer_size(value)?)
    }

    fn get_send_buffer_size(&mut self, socket: Resource<Udp>) -> SocketResult<u64> {
        HostUdpSocket::get_receive_buffer_size(self, socket)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Udp>, value: u64) -> SocketResult<()> {
        HostUdpSocket::set_receive_buffer_size(self, socket, value)
    }

    fn drop(&mut self, socket: Resource<Udp>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
