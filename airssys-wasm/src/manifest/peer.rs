//! Peers on the network as people write them, and as records show them: `tcp://api.example.com:443`.

use airssys_osl::policy::{Ports, Protocol};

/// What a peer looks like, for errors.
pub(super) const PEER: &str = "a protocol, a host, an address or a block, and ports, such as \
                               `tcp://*.example.com:443`, `udp://10.0.0.0/8:8000-8100` or `tcp://[::1]:*`";

/// Reads a peer, such as `tcp://*.example.com:443`: `tcp` or `udp`, what is named, and its ports. Whether that is a host or
/// an address is for the policy.
pub fn parse(text: &str) -> Option<(Protocol, &str, Ports)> {
    let (scheme, rest) = text.split_once("://")?;
    let protocol = match scheme {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (host, ports) = match rest.strip_prefix('[') {
        // The colons of an IPv6 address are within brackets, as in a URL; so is the length of a block's prefix.
        Some(bracketed) => bracketed.split_once("]:")?,
        None => rest.rsplit_once(':').filter(|(host, _)| !host.contains(':'))?,
    };
    Some((protocol, host, parse_ports(ports)?)).filter(|_| !host.is_empty())
}

fn parse_ports(text: &str) -> Option<Ports> {
    if text == "*" {
        return Some(Ports::ALL);
    }
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
    match text.split_once('-') {
        None => number(text).map(Ports::from),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (0 < first && first <= last).then(|| Ports::from(first..=last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_blocks_with_ports() {
        let check =
            |text, host, ports: Ports| assert_eq!(parse(text), Some((Protocol::Tcp, host, ports)), "{text}");
        check("tcp://api.example.com:443", "api.example.com", 443.into());
        check("tcp://*.example.com:8000-8100", "*.example.com", (8000..=8100).into());
        check("tcp://*:*", "*", Ports::ALL);
        check("tcp://10.0.0.0/8:80", "10.0.0.0/8", 80.into());
        check("tcp://[::1]:80", "::1", 80.into());
        check("tcp://[fd00::/8]:*", "fd00::/8", Ports::ALL);
        check("tcp://127.0.0.1:0", "127.0.0.1", Ports::PICKED);
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "tcp",
            "tcp://",
            "tcp://:80",
            "tcp://host",
            "host:80",
            "http://host:80",
            "tcp://::1:80",
            "tcp://[::1]",
            "tcp://[::1]80",
            "tcp://host:",
            "tcp://host:+80",
            "tcp://host:65536",
            "tcp://host:9-8",
            "tcp://host:0-9",
            "tcp://host:80-",
            "TCP://host:80",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
