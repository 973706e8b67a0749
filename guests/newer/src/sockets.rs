//! What is done with sockets. What a word takes is separated by commas, as there are colons in addresses.

use std::net::{IpAddr, SocketAddr};

use crate::{
    bindings::{
        wasi::sockets::{
            ip_name_lookup,
            types::{
                ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
                TcpSocket, UdpSocket,
            },
        },
        wit_stream,
    },
    files::name,
    program::{join, say},
};

/// More than the buffers on the way hold.
const LARGE: usize = 4_000_000;

/// The answer to a word, if it is about sockets.
pub(crate) async fn answer(word: &str, rest: &str) -> Option<String> {
    let mut words = rest.split(',');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let done = match word {
        "tcp-states" => tcp_states(first).await,
        "tcp-options" => tcp_options(first).await,
        "tcp-pair" => tcp_pair(first).await,
        "tcp-shared" => tcp_shared(first).await,
        "tcp-dropped" => tcp_dropped(first).await,
        "tcp-taken" => tcp_taken(first),
        "connect" => connect(first, second).await,
        "listen" => listen(first).await,
        "drain" => drain(first).await,
        "pour" => pour(first).await,
        "part" => part(first).await,
        "many" => many(),
        "udp-states" => udp_states(first).await,
        "udp-pair" => udp_pair(first).await,
        "ask" => ask(first, second).await,
        "ask-bound" => ask_bound(first, second).await,
        "hear" => hear(first).await,
        "lookup" => Ok(lookup(first).await),
        _ => return None,
    };
    Some(done.unwrap_or_else(|code| name(&code)))
}

fn family(of: &str) -> IpAddressFamily {
    if of == "6" { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
}

fn other(family: IpAddressFamily) -> IpAddressFamily {
    match family {
        IpAddressFamily::Ipv4 => IpAddressFamily::Ipv6,
        IpAddressFamily::Ipv6 => IpAddressFamily::Ipv4,
    }
}

fn loopback(family: IpAddressFamily, port: u16) -> IpSocketAddress {
    match family {
        IpAddressFamily::Ipv4 => to_wasi(SocketAddr::from(([127, 0, 0, 1], port))),
        IpAddressFamily::Ipv6 => to_wasi(SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], port))),
    }
}

fn anywhere(family: IpAddressFamily, port: u16) -> IpSocketAddress {
    match family {
        IpAddressFamily::Ipv4 => to_wasi(SocketAddr::from(([0; 4], port))),
        IpAddressFamily::Ipv6 => to_wasi(SocketAddr::from(([0_u16; 8], port))),
    }
}

/// Addresses that no socket of a family for TCP is bound or connected to.
fn refused(family: IpAddressFamily) -> Vec<IpSocketAddress> {
    let texts: &[&str] = match family {
        IpAddressFamily::Ipv4 => &["224.0.0.1", "239.255.255.255", "255.255.255.255"],
        IpAddressFamily::Ipv6 => &["ff00::1", "ff02::1", "::ffff:127.0.0.1", "::1.2.3.4"],
    };
    let mut addresses: Vec<_> =
        texts.iter().filter_map(|text| text.parse().ok()).map(|ip: IpAddr| to_wasi((ip, 7).into())).collect();
    addresses.push(loopback(other(family), 7));
    addresses
}

fn to_wasi(address: SocketAddr) -> IpSocketAddress {
    let port = address.port();
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) })
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = (a, b, c, d, e, f, g, h);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
        }
    }
}

fn from_wasi(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(v4) => (ip(IpAddress::Ipv4(v4.address)), v4.port).into(),
        IpSocketAddress::Ipv6(v6) => (ip(IpAddress::Ipv6(v6.address)), v6.port).into(),
    }
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

fn parse(address: &str) -> Result<IpSocketAddress, ErrorCode> {
    address.parse().map(to_wasi).map_err(|_| ErrorCode::InvalidArgument)
}

fn of(address: IpSocketAddress) -> IpAddressFamily {
    match address {
        IpSocketAddress::Ipv4(_) => IpAddressFamily::Ipv4,
        IpSocketAddress::Ipv6(_) => IpAddressFamily::Ipv6,
    }
}

fn told<T>(result: Result<T, ErrorCode>) -> String {
    result.map_or_else(|code| name(&code), |_| "ok".to_owned())
}

/// What all of these were told, if it was one thing.
fn all(mut told: Vec<String>) -> String {
    told.dedup();
    told.join("|")
}

fn has_port(address: Result<IpSocketAddress, ErrorCode>) -> bool {
    address.is_ok_and(|address| from_wasi(address).port() != 0)
}

/// A listener of this machine, with who connects and where.
fn listener(
    family: IpAddressFamily,
) -> Result<(TcpSocket, wit_bindgen::StreamReader<TcpSocket>, IpSocketAddress), ErrorCode> {
    let listener = TcpSocket::create(family)?;
    listener.bind(loopback(family, 0))?;
    let accepting = listener.listen()?;
    let address = listener.get_local_address()?;
    Ok((listener, accepting, address))
}

/// Both ends of a connection.
async fn pair(family: IpAddressFamily) -> Result<(TcpSocket, TcpSocket), ErrorCode> {
    let (_listener, mut accepting, address) = listener(family)?;
    let client = TcpSocket::create(family)?;
    client.connect(address).await?;
    Ok((client, accepting.next().await.ok_or(ErrorCode::Other(None))?))
}

async fn tcp_states(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let socket = TcpSocket::create(family)?;
    let mut facts = vec![
        told(socket.get_local_address()),
        told(socket.get_remote_address()),
        socket.get_is_listening().to_string(),
        (socket.get_address_family() == family).to_string(),
    ];
    facts.push(all(refused(family).into_iter().map(|address| told(socket.bind(address))).collect()));
    let mut connected = Vec::new();
    let nowhere = [anywhere(family, 7), loopback(family, 0)];
    for address in refused(family).into_iter().chain(nowhere) {
        connected.push(told(socket.connect(address).await));
    }
    facts.push(all(connected));
    let (mut bytes, received) = socket.receive();
    facts.push(format!("{} {}", bytes.next().await.is_none(), told(received.await)));
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    facts.push(format!("{} {}", writer.write_all(vec![1, 2]).await.len(), told(sent.await)));
    facts.push(told(socket.bind(loopback(family, 0))));
    facts.push(told(socket.bind(loopback(family, 0))));
    facts.push(has_port(socket.get_local_address()).to_string());
    facts.push(socket.get_is_listening().to_string());
    // Nobody listens there yet.
    let client = TcpSocket::create(family)?;
    facts.push(told(client.connect(socket.get_local_address()?).await));
    facts.push(told(client.connect(socket.get_local_address()?).await));
    facts.push(told(client.bind(loopback(family, 0))));
    let accepting = socket.listen();
    facts.push(told(accepting.as_ref().map_err(Clone::clone)));
    facts.push(socket.get_is_listening().to_string());
    facts.push(told(socket.listen()));
    facts.push(told(socket.bind(loopback(family, 0))));
    facts.push(told(socket.connect(loopback(family, 7)).await));
    facts.push(told(socket.get_remote_address()));
    facts.push(told(socket.set_listen_backlog_size(9)));
    let unbound = TcpSocket::create(family)?;
    facts.push(told(unbound.listen()));
    facts.push(has_port(unbound.get_local_address()).to_string());
    Ok(facts.join(", "))
}

async fn tcp_options(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let (listener, mut accepting, address) = listener(family)?;
    let zeros = all(vec![
        told(listener.set_listen_backlog_size(0)),
        told(listener.set_keep_alive_idle_time(0)),
        told(listener.set_keep_alive_interval(0)),
        told(listener.set_keep_alive_count(0)),
        told(listener.set_hop_limit(0)),
        told(listener.set_receive_buffer_size(0)),
        told(listener.set_send_buffer_size(0)),
    ]);
    let most = all(vec![
        told(listener.set_listen_backlog_size(u64::MAX)),
        told(listener.set_keep_alive_idle_time(u64::MAX)),
        told(listener.set_keep_alive_interval(u64::MAX)),
        told(listener.set_keep_alive_count(u32::MAX)),
        told(listener.set_hop_limit(u8::MAX)),
        told(listener.set_receive_buffer_size(1 << 16)),
        told(listener.set_send_buffer_size(1 << 16)),
    ]);
    let mut facts = vec![zeros, most, options(&listener)?];
    listener.set_keep_alive_idle_time(1)?;
    listener.set_keep_alive_interval(5_000_000_000)?;
    listener.set_keep_alive_count(7)?;
    listener.set_keep_alive_enabled(true)?;
    listener.set_hop_limit(42)?;
    let client = TcpSocket::create(family)?;
    client.set_hop_limit(43)?;
    client.connect(address).await?;
    let accepted = accepting.next().await.ok_or(ErrorCode::Other(None))?;
    // Those that come take over what is set, and go their own ways from there.
    facts.push(options(&accepted)?);
    accepted.set_hop_limit(44)?;
    accepted.set_keep_alive_enabled(false)?;
    facts.push(options(&accepted)?);
    facts.push(options(&listener)?);
    facts.push(client.get_hop_limit()?.to_string());
    facts.push(told(client.set_listen_backlog_size(9)));
    Ok(facts.join(", "))
}

fn options(socket: &TcpSocket) -> Result<String, ErrorCode> {
    Ok(format!(
        "{} {} {} {} {}",
        socket.get_keep_alive_enabled()?,
        socket.get_keep_alive_idle_time()?,
        socket.get_keep_alive_interval()?,
        socket.get_keep_alive_count()?,
        socket.get_hop_limit()?
    ))
}

/// Sends all of it, and the end.
async fn send(socket: &TcpSocket, bytes: Vec<u8>) -> String {
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let left = writer.write_all(bytes).await.len();
    drop(writer);
    format!("{left} {}", told(sent.await))
}

/// All that comes, to the end.
async fn receive(socket: &TcpSocket) -> (Vec<u8>, String) {
    let (bytes, received) = socket.receive();
    let bytes = bytes.collect().await;
    (bytes, told(received.await))
}

/// A client that is bound first sends more than fits, and then the end; then it is answered.
async fn tcp_pair(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let (_listener, mut accepting, address) = listener(family)?;
    let client = TcpSocket::create(family)?;
    client.bind(loopback(family, 0))?;
    let from = client.get_local_address()?;
    client.connect(address).await?;
    let server = accepting.next().await.ok_or(ErrorCode::Other(None))?;
    let ends = [client.get_local_address()?, client.get_remote_address()?, server.get_local_address()?];
    let is_right = ends.map(from_wasi) == [from, address, address].map(from_wasi)
        && from_wasi(server.get_remote_address()?) == from_wasi(from);
    let (mut sent, mut heard) = (String::new(), (Vec::new(), String::new()));
    join(async { sent = send(&client, vec![b'x'; LARGE]).await }, async { heard = receive(&server).await })
        .await;
    let question = format!("{is_right}, {sent}, {} {}", heard.0.len(), heard.1);
    let (mut sent, mut heard) = (String::new(), (Vec::new(), String::new()));
    join(async { sent = send(&server, b"answer".to_vec()).await }, async { heard = receive(&client).await })
        .await;
    let answer = format!("{sent}, {} {}", String::from_utf8_lossy(&heard.0), heard.1);
    let again = send(&client, vec![1]).await;
    let (bytes, received) = receive(&client).await;
    Ok(format!(
        "{question}, {answer}, {again}, {} {received}, {} {} {}",
        bytes.len(),
        told(client.connect(address).await),
        told(client.listen()),
        told(client.bind(loopback(family, 0)))
    ))
}

/// Streams outlive the sockets that they are of.
async fn tcp_shared(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let (listener, mut accepting, address) = listener(family)?;
    drop(listener);
    let client = TcpSocket::create(family)?;
    client.connect(address).await?;
    let server = accepting.next().await.ok_or(ErrorCode::Other(None))?;
    drop(accepting);
    let (mut writer, reader) = wit_stream::new();
    let sent = server.send(reader);
    let (bytes, received) = client.receive();
    drop((client, server));
    let left = writer.write_all(b"still there".to_vec()).await.len();
    drop(writer);
    let text = String::from_utf8_lossy(&bytes.collect().await).into_owned();
    let late = TcpSocket::create(family)?;
    // Nobody has the listener any more.
    let refused = told(late.connect(address).await);
    Ok(format!("{left} {}, {text} {}, {refused}", told(sent.await), told(received.await)))
}

/// Streams that are dropped in the middle: what comes is not read, and what goes ends.
async fn tcp_dropped(of: &str) -> Result<String, ErrorCode> {
    let (client, server) = pair(family(of)).await?;
    let (mut bytes, received) = server.receive();
    let (mut writer, reader) = wit_stream::new();
    let sent = client.send(reader);
    writer.write_all(vec![b'x'; 1000]).await;
    let (_, some) = bytes.read(Vec::with_capacity(10)).await;
    drop(bytes);
    let received = told(received.await);
    drop(writer);
    let sent = told(sent.await);
    let (nothing, _) = server.receive();
    Ok(format!("{} {received}, {sent}, {}", some.len(), nothing.collect().await.len()))
}

/// A port that is bound is nobody else's.
fn tcp_taken(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let socket = TcpSocket::create(family)?;
    socket.bind(loopback(family, 0))?;
    let (second, address) = (TcpSocket::create(family)?, socket.get_local_address()?);
    Ok(format!("{} {}", told(second.bind(address)), told(second.bind(loopback(family, 0)))))
}

/// Says something, then the end, and hears what is answered.
async fn connect(address: &str, text: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = TcpSocket::create(of(address))?;
    socket.connect(address).await?;
    let sent = send(&socket, text.as_bytes().to_vec()).await;
    let (bytes, received) = receive(&socket).await;
    Ok(format!("{sent}, {} {received}", String::from_utf8_lossy(&bytes)))
}

/// Listens, says where, and gives one client back what it says.
async fn listen(address: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = TcpSocket::create(of(address))?;
    socket.bind(address)?;
    let mut accepting = socket.listen()?;
    let _ = say(format!("{}\n", from_wasi(socket.get_local_address()?))).await;
    let client = accepting.next().await.ok_or(ErrorCode::Other(None))?;
    // The host takes it from one stream to the other.
    let (bytes, received) = client.receive();
    let sent = client.send(bytes);
    Ok(format!("{} {}", told(received.await), told(sent.await)))
}

/// Reads without an end.
async fn drain(address: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = TcpSocket::create(of(address))?;
    socket.connect(address).await?;
    let (mut bytes, received) = socket.receive();
    let mut buffer = Vec::with_capacity(65_536);
    loop {
        let (result, read) = bytes.read(buffer).await;
        if matches!(result, wit_bindgen::StreamResult::Dropped) {
            return Ok(told(received.await));
        }
        buffer = read;
        buffer.clear();
    }
}

/// Writes without an end.
async fn pour(address: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = TcpSocket::create(of(address))?;
    socket.connect(address).await?;
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    while writer.write_all(vec![b'x'; 65_536]).await.is_empty() {}
    Ok(told(sent.await))
}

/// Reads a little of what comes, and leaves.
async fn part(address: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = TcpSocket::create(of(address))?;
    socket.connect(address).await?;
    let (mut bytes, received) = socket.receive();
    let (_, some) = bytes.read(Vec::with_capacity(10)).await;
    drop((bytes, socket));
    Ok(format!("{} {}", some.len(), told(received.await)))
}

/// As many sockets as there may be.
fn many() -> Result<String, ErrorCode> {
    let mut sockets = Vec::new();
    loop {
        sockets.push(TcpSocket::create(IpAddressFamily::Ipv4)?);
    }
}

async fn udp_states(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let socket = UdpSocket::create(family)?;
    let mut facts = vec![
        told(socket.get_local_address()),
        told(socket.get_remote_address()),
        (socket.get_address_family() == family).to_string(),
        told(socket.receive().await),
        told(socket.disconnect()),
        told(socket.send(vec![1], None).await),
        told(socket.bind(loopback(other(family), 0))),
    ];
    let nowhere = [anywhere(family, 7), loopback(family, 0), loopback(other(family), 7)];
    let mut refused = Vec::new();
    for address in nowhere {
        refused.push(told(socket.connect(address)));
        refused.push(told(socket.send(vec![1], Some(address)).await));
    }
    facts.push(all(refused));
    facts.push(told(socket.send(vec![0; 65_536], Some(loopback(family, 7))).await));
    facts.push(all(vec![
        told(socket.set_unicast_hop_limit(0)),
        told(socket.set_receive_buffer_size(0)),
        told(socket.set_send_buffer_size(0)),
    ]));
    socket.set_unicast_hop_limit(42)?;
    socket.set_receive_buffer_size(1 << 16)?;
    facts.push(socket.get_unicast_hop_limit()?.to_string());
    // A first datagram binds it, and connects it to nobody.
    facts.push(told(socket.send(vec![1], Some(loopback(family, 7))).await));
    facts.push(has_port(socket.get_local_address()).to_string());
    facts.push(told(socket.get_remote_address()));
    facts.push(told(socket.bind(loopback(family, 0))));
    facts.push(socket.get_unicast_hop_limit()?.to_string());
    let anywhere_at_all = UdpSocket::create(family)?;
    anywhere_at_all.bind(anywhere(family, 0))?;
    facts.push(has_port(anywhere_at_all.get_local_address()).to_string());
    // Connected, again, elsewhere, and not at all.
    let connected = UdpSocket::create(family)?;
    for port in [7, 7, 8] {
        connected.connect(loopback(family, port))?;
        facts.push(from_wasi(connected.get_remote_address()?).port().to_string());
    }
    facts.push(has_port(connected.get_local_address()).to_string());
    facts.push(told(connected.send(vec![1], Some(loopback(family, 9))).await));
    facts.push(told(connected.disconnect()));
    facts.push(told(connected.disconnect()));
    facts.push(told(connected.get_remote_address()));
    facts.push(told(connected.send(vec![1], None).await));
    Ok(facts.join(", "))
}

/// One that is bound, one that is connected to it, and a stranger.
async fn udp_pair(of: &str) -> Result<String, ErrorCode> {
    let family = family(of);
    let (server, client, stranger) =
        (UdpSocket::create(family)?, UdpSocket::create(family)?, UdpSocket::create(family)?);
    server.bind(loopback(family, 0))?;
    stranger.bind(loopback(family, 0))?;
    client.bind(loopback(family, 0))?;
    client.connect(server.get_local_address()?)?;
    client.send(b"question".to_vec(), None).await?;
    client.send(Vec::new(), client.get_remote_address().ok()).await?;
    let (question, from) = server.receive().await?;
    let (empty, _) = server.receive().await?;
    let is_right = from_wasi(from) == from_wasi(client.get_local_address()?);
    // What a stranger says is not heard.
    stranger.send(b"noise".to_vec(), Some(from)).await?;
    server.send(b"answer".to_vec(), Some(from)).await?;
    let (answer, _) = client.receive().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(format!("{is_right} {} {} {}", text(&question), empty.len(), text(&answer)))
}

/// Sends something to somebody, from a socket that was never bound, and hears the answer.
async fn ask(address: &str, text: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = UdpSocket::create(of(address))?;
    socket.send(text.as_bytes().to_vec(), Some(address)).await?;
    answered(&socket).await
}

async fn answered(socket: &UdpSocket) -> Result<String, ErrorCode> {
    let (bytes, from) = socket.receive().await?;
    Ok(format!("{} said {}", from_wasi(from), String::from_utf8_lossy(&bytes)))
}

/// The same from one that was bound wherever the system likes, and connected.
async fn ask_bound(address: &str, text: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = UdpSocket::create(of(address))?;
    socket.bind(anywhere(of(address), 0))?;
    socket.connect(address)?;
    socket.send(text.as_bytes().to_vec(), None).await?;
    answered(&socket).await
}

/// Says where it hears datagrams, and gives the first back.
async fn hear(address: &str) -> Result<String, ErrorCode> {
    let address = parse(address)?;
    let socket = UdpSocket::create(of(address))?;
    socket.bind(address)?;
    let _ = say(format!("{}\n", from_wasi(socket.get_local_address()?))).await;
    let (bytes, from) = socket.receive().await?;
    socket.send(bytes.clone(), Some(from)).await?;
    Ok(format!("heard {}", String::from_utf8_lossy(&bytes)))
}

async fn lookup(host: &str) -> String {
    match ip_name_lookup::resolve_addresses(host.to_owned()).await {
        Ok(addresses) => {
            let addresses = addresses.into_iter().map(|address| ip(address).to_string());
            addresses.collect::<Vec<_>>().join(" ")
        }
        Err(code) => name(&code),
    }
}
