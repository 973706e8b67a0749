//! `wasi:sockets`.

use std::net::{IpAddr, SocketAddr};

use crate::{
    bindings::wasi::sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp::{ShutdownType, TcpSocket},
        tcp_create_socket::create_tcp_socket,
        udp::OutgoingDatagram,
        udp_create_socket::create_udp_socket,
    },
    script::{Call, Failed, Outcome, show},
    table::{Table, Value},
};

const DONE: &str = "ok";

/// What a TCP socket does; its settings are in [`tcp_settings`].
pub(crate) fn tcp(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    match function.as_str() {
        "create-tcp-socket" => {
            let socket = create_tcp_socket(family(&call.word()?)?)?;
            return table.keep(call, Value::Tcp(socket));
        }
        "start-bind" => table.tcp(call)?.start_bind(&instance_network(), address(call, table)?)?,
        "finish-bind" => table.tcp(call)?.finish_bind()?,
        "start-connect" => table.tcp(call)?.start_connect(&instance_network(), address(call, table)?)?,
        "finish-connect" => {
            let (input, output) = table.tcp(call)?.finish_connect()?;
            table.keep(call, Value::Input(input))?;
            return table.keep(call, Value::Output(output));
        }
        "start-listen" => table.tcp(call)?.start_listen()?,
        "finish-listen" => table.tcp(call)?.finish_listen()?,
        "accept" => {
            let (socket, input, output) = table.tcp(call)?.accept()?;
            table.keep(call, Value::Tcp(socket))?;
            table.keep(call, Value::Input(input))?;
            return table.keep(call, Value::Output(output));
        }
        "local-address" => {
            let address = table.tcp(call)?.local_address()?;
            return told(call, table, address);
        }
        "remote-address" => {
            let address = table.tcp(call)?.remote_address()?;
            return told(call, table, address);
        }
        "is-listening" => return Ok(table.tcp(call)?.is_listening().to_string()),
        "address-family" => return Ok(family_name(table.tcp(call)?.address_family()).to_owned()),
        "subscribe" => {
            let pollable = table.tcp(call)?.subscribe();
            return table.keep(call, Value::Pollable(pollable));
        }
        "shutdown" => {
            let socket = table.tcp(call)?;
            socket.shutdown(match call.word()?.as_str() {
                "receive" => ShutdownType::Receive,
                "send" => ShutdownType::Send,
                _ => ShutdownType::Both,
            })?;
        }
        _ => return tcp_settings(call, table),
    }
    Ok(DONE.to_owned())
}

/// What is set of a socket, and what it says that it is.
fn tcp_settings(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let socket: &TcpSocket = table.tcp(call)?;
    match function.as_str() {
        "set-listen-backlog-size" => socket.set_listen_backlog_size(table.number(call)?)?,
        "keep-alive-enabled" => return Ok(socket.keep_alive_enabled()?.to_string()),
        "set-keep-alive-enabled" => socket.set_keep_alive_enabled(call.word()? == "true")?,
        "keep-alive-idle-time" => return Ok(socket.keep_alive_idle_time()?.to_string()),
        "set-keep-alive-idle-time" => socket.set_keep_alive_idle_time(table.number(call)?)?,
        "keep-alive-interval" => return Ok(socket.keep_alive_interval()?.to_string()),
        "set-keep-alive-interval" => socket.set_keep_alive_interval(table.number(call)?)?,
        "keep-alive-count" => return Ok(socket.keep_alive_count()?.to_string()),
        "set-keep-alive-count" => socket.set_keep_alive_count(small(table.number(call)?)?)?,
        "hop-limit" => return Ok(socket.hop_limit()?.to_string()),
        "set-hop-limit" => socket.set_hop_limit(small(table.number(call)?)?)?,
        // What the kernel makes of the sizes of its buffers is its own.
        "receive-buffer-size" => return Ok(some(socket.receive_buffer_size()?)),
        "set-receive-buffer-size" => socket.set_receive_buffer_size(table.number(call)?)?,
        "send-buffer-size" => return Ok(some(socket.send_buffer_size()?)),
        "set-send-buffer-size" => socket.set_send_buffer_size(table.number(call)?)?,
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

pub(crate) fn udp(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    match function.as_str() {
        "create-udp-socket" => {
            let socket = create_udp_socket(family(&call.word()?)?)?;
            return table.keep(call, Value::Udp(socket));
        }
        "start-bind" => table.udp(call)?.start_bind(&instance_network(), address(call, table)?)?,
        "finish-bind" => table.udp(call)?.finish_bind()?,
        "stream" => {
            let (incoming, outgoing) = table.udp(call)?.stream(maybe_address(call, table)?)?;
            table.keep(call, Value::Incoming(incoming))?;
            return table.keep(call, Value::Outgoing(outgoing));
        }
        "local-address" => {
            let address = table.udp(call)?.local_address()?;
            return told(call, table, address);
        }
        "remote-address" => {
            let address = table.udp(call)?.remote_address()?;
            return told(call, table, address);
        }
        "address-family" => return Ok(family_name(table.udp(call)?.address_family()).to_owned()),
        "unicast-hop-limit" => return Ok(table.udp(call)?.unicast_hop_limit()?.to_string()),
        "set-unicast-hop-limit" => {
            table.udp(call)?.set_unicast_hop_limit(small(table.number(call)?)?)?;
        }
        "receive-buffer-size" => return Ok(some(table.udp(call)?.receive_buffer_size()?)),
        "set-receive-buffer-size" => table.udp(call)?.set_receive_buffer_size(table.number(call)?)?,
        "send-buffer-size" => return Ok(some(table.udp(call)?.send_buffer_size()?)),
        "set-send-buffer-size" => table.udp(call)?.set_send_buffer_size(table.number(call)?)?,
        "subscribe" => {
            let pollable = table.udp(call)?.subscribe();
            return table.keep(call, Value::Pollable(pollable));
        }
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

/// `incoming.receive` answers the text of each datagram.
pub(crate) fn incoming(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let stream = table.incoming(call)?;
    match function.as_str() {
        "receive" => {
            let datagrams = stream.receive(table.number(call)?)?;
            let shown: Vec<_> = datagrams.iter().map(|datagram| show(&datagram.data)).collect();
            Ok(if shown.is_empty() { "none".to_owned() } else { shown.join(" ") })
        }
        "subscribe" => {
            let pollable = stream.subscribe();
            table.keep(call, Value::Pollable(pollable))
        }
        _ => Err(call.unknown()),
    }
}

/// `outgoing.send` sends one datagram, to an address or to `-`.
pub(crate) fn outgoing(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let stream = table.outgoing(call)?;
    match function.as_str() {
        // How many is the host's to say.
        "check-send" => Ok(some(stream.check_send()?)),
        "send" => {
            let data = call.text()?.into_bytes();
            let datagram = OutgoingDatagram { data, remote_address: maybe_address(call, table)? };
            Ok(stream.send(&[datagram])?.to_string())
        }
        "subscribe" => {
            let pollable = stream.subscribe();
            table.keep(call, Value::Pollable(pollable))
        }
        _ => Err(call.unknown()),
    }
}

/// Looks names up.
pub(crate) fn names(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "resolve-addresses" => {
            let addresses = resolve_addresses(&instance_network(), &call.text()?)?;
            table.keep(call, Value::Names(addresses))
        }
        "resolve-next-address" => {
            let address = table.names(call)?.resolve_next_address()?;
            Ok(address.map_or("end".to_owned(), |address| ip(address).to_string()))
        }
        "subscribe" => {
            let pollable = table.names(call)?.subscribe();
            table.keep(call, Value::Pollable(pollable))
        }
        _ => Err(call.unknown()),
    }
}

fn some(number: u64) -> String {
    if number > 0 { "some" } else { "none" }.to_owned()
}

fn small<T: TryFrom<u64>>(number: u64) -> Result<T, Failed> {
    T::try_from(number).map_err(|_| Failed("script: the number is too large".to_owned()))
}

fn family(word: &str) -> Result<IpAddressFamily, Failed> {
    match word {
        "ipv4" => Ok(IpAddressFamily::Ipv4),
        "ipv6" => Ok(IpAddressFamily::Ipv6),
        _ => Err(Failed(format!("script: {word} is no family"))),
    }
}

fn family_name(family: IpAddressFamily) -> &'static str {
    match family {
        IpAddressFamily::Ipv4 => "ipv4",
        IpAddressFamily::Ipv6 => "ipv6",
    }
}

/// Keeps the port of an address, and answers the rest.
fn told(call: &mut Call, table: &mut Table, address: IpSocketAddress) -> Outcome {
    let (ip, port) = match address {
        IpSocketAddress::Ipv4(v4) => (ip(IpAddress::Ipv4(v4.address)), v4.port),
        IpSocketAddress::Ipv6(v6) => (ip(IpAddress::Ipv6(v6.address)), v6.port),
    };
    table.keep(call, Value::Number(port.into()))?;
    Ok(ip.to_string())
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

/// The address that comes next; `-` is none.
fn maybe_address(call: &mut Call, table: &Table) -> Result<Option<IpSocketAddress>, Failed> {
    let word = call.word()?;
    if word == "-" {
        return Ok(None);
    }
    let no_address = || Failed(format!("script: {word} is no address"));
    let (host, port) = word.rsplit_once(':').ok_or_else(no_address)?;
    let port: u16 = small(table.number(&mut Call::parse(&format!("port {port}")))?)?;
    let address: SocketAddr = format!("{host}:{port}").parse().map_err(|_| no_address())?;
    Ok(Some(match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) })
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = (a, b, c, d, e, f, g, h);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
        }
    }))
}

fn address(call: &mut Call, table: &Table) -> Result<IpSocketAddress, Failed> {
    maybe_address(call, table)?.ok_or_else(|| Failed("script: an address is missing".to_owned()))
}
