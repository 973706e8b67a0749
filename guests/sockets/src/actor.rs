//! What each subject does.

use airssys_guest::{Actor, Config, Error, Message};

use crate::{
    address,
    bindings::wasi::sockets::{
        instance_network::instance_network, ip_name_lookup::resolve_addresses, network::ErrorCode,
        tcp::TcpSocket,
    },
    tcp::{self, Connection},
    udp::{self, Pair},
};

/// The actor, and what it holds open from one message to the next.
pub(crate) struct Sockets {
    listener: Option<TcpSocket>,
    connection: Option<Connection>,
    datagrams: Option<Pair>,
}

impl Actor for Sockets {
    fn init(_: &Config) -> Result<Self, Error> {
        Ok(Self { listener: None, connection: None, datagrams: None })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        let (verb, object) = message.subject.split_once(':').unwrap_or((&message.subject, ""));
        let answer = match verb {
            "connect" => tcp::ask(object, &message.payload),
            "hold" => tcp::connect(object).map(|connection| {
                self.connection = Some(connection);
                "held".to_owned()
            }),
            "use" => self
                .connection
                .as_ref()
                .ok_or(ErrorCode::InvalidState)
                .and_then(|held| held.echo(&message.payload)),
            "let-go" => Ok(format!("{}", self.connection.take().is_some())),
            "listen" => tcp::listen(object).map(|(listener, address)| {
                self.listener = Some(listener);
                address
            }),
            "accept" => self.listener.as_ref().ok_or(ErrorCode::InvalidState).and_then(tcp::serve_one),
            "accept-now" => self.listener.as_ref().ok_or(ErrorCode::InvalidState).and_then(tcp::accept_now),
            "order" => Ok(tcp::wrong_orders()),
            "options" => tcp::options(),
            "resolve" => resolve(object),
            "udp" => udp::ask(object, &message.payload),
            "udp-bind" => udp::bind(object).map(|(pair, address)| {
                self.datagrams = Some(pair);
                address
            }),
            "udp-echo" => self.datagrams.as_ref().ok_or(ErrorCode::InvalidState).and_then(Pair::echo_one),
            "udp-to" => self
                .datagrams
                .as_ref()
                .ok_or(ErrorCode::InvalidState)
                .and_then(|pair| pair.send(object, &message.payload)),
            _ => return Err(format!("no such request: `{}`", message.subject).into()),
        };
        Ok(Some(answer.unwrap_or_else(|code| code.name().to_owned()).into_bytes()))
    }
}

fn resolve(name: &str) -> Result<String, ErrorCode> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => found.push(address::ip(address).to_string()),
            Ok(None) => return Ok(found.join(" ")),
            Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
            Err(code) => return Err(code),
        }
    }
}
