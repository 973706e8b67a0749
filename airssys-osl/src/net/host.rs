//! Hosts as people and programs write them: a name or an address, each with one spelling. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use crate::{
    Error, ErrorKind,
    limits::{HOST_BYTES, LABEL_BYTES},
};

/// A host: what stands between `//` and the port in a URL.
///
/// There is one spelling for each host, so that what is decided is what is connected to. Names are in lower case.
/// Refused, because different programs read it differently: an address in decimal, octal, hexadecimal or with missing
/// parts; user names, ports, escapes, white space; letters beyond ASCII (write them in punycode); scopes of IPv6
/// addresses; a dot at the end.
///
/// ```
/// use airssys_osl::net::Host;
///
/// assert_eq!(Host::parse("API.example.com")?.to_string(), "api.example.com");
/// assert_eq!(Host::parse("[::1]")?, Host::Address("::1".parse()?));
/// assert!(Host::parse("0x7f.1").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name that has to be resolved.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

/// The name of a host: labels of ASCII letters, digits, `-` and `_`, in lower case, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

impl Host {
    /// Reads a host. An IPv6 address may stand in brackets, as in a URL.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid): it is no host, or has a spelling that is refused. The error says which.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).map_err(|problem| invalid(text, problem))
    }

    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.len() > HOST_BYTES {
            return Err("it is too long");
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("its bracket is not closed")?;
            return address_v6(inner);
        }
        if text.contains(':') && text.bytes().all(is_v6_byte) {
            return address_v6(text);
        }
        if text.contains("::") && text.contains('%') {
            return Err("it has a scope");
        }
        check_bytes(text)?;
        if ends_in_a_number(text) {
            let problem = "it is a number but not four decimal parts";
            return text.parse::<Ipv4Addr>().map(|v4| Self::Address(v4.into())).map_err(|_| problem);
        }
        text.split('.').try_for_each(check_label)?;
        Ok(Self::Name(HostName(text.to_ascii_lowercase().into())))
    }
}

impl HostName {
    /// Reads a name; an address is none.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid): as [`Host::parse`], or it is an address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match Host::parse(text)? {
            Host::Name(name) => Ok(name),
            Host::Address(_) => Err(invalid(text, "it is an address")),
        }
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn address_v6(text: &str) -> Result<Host, &'static str> {
    if text.contains('%') {
        return Err("it has a scope");
    }
    text.parse::<Ipv6Addr>().map(|v6| Host::Address(v6.into())).map_err(|_| "it is no IPv6 address")
}

fn is_v6_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}

fn check_bytes(text: &str) -> Result<(), &'static str> {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {}
            b'@' => return Err("it has a user name in it"),
            b'%' => return Err("it has an escape or a scope in it"),
            b':' => return Err("it has a port or a scheme in it"),
            0x80.. => return Err("it has letters beyond ASCII: write it in punycode (`xn--…`)"),
            0..=b' ' | 0x7f => return Err("it has white space or a control character in it"),
            _ => return Err("it has a character that no host has"),
        }
    }
    Ok(())
}

/// Whether some programs would read it as an IPv4 address, after the URL standard's "ends in a number".
fn ends_in_a_number(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn check_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        Err("it has an empty label")
    } else if label.len() > LABEL_BYTES {
        Err("it has a label that is too long")
    } else if label.starts_with('-') || label.ends_with('-') {
        Err("it has a label that begins or ends with a hyphen")
    } else {
        Ok(())
    }
}

fn invalid(text: &str, problem: &str) -> Error {
    // What is printed is bounded, and escaped: it may come from a guest.
    let text: String = text.chars().take(HOST_BYTES).collect();
    Error::new(ErrorKind::Invalid, format!("take `{}` as a host: {problem}", text.escape_default()))
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &'static str>) {
        assert_eq!(Host::read(text).map(|host| host.to_string()), expected.map(str::to_owned), "{text:?}");
    }

    const NUMBER: Result<&str, &str> = Err("it is a number but not four decimal parts");

    #[test]
    fn names() {
        check("localhost", Ok("localhost"));
        check("API.Example.COM", Ok("api.example.com"));
        check("xn--bcher-kva.example", Ok("xn--bcher-kva.example"));
        check("my_service", Ok("my_service"));
        check("127.0.0.1.nip.io", Ok("127.0.0.1.nip.io"));
        check("1a", Ok("1a"));
        check("0xg", Ok("0xg"));
        check("", Err("it is empty"));
        check(".", Err("it has an empty label"));
        check("a..b", Err("it has an empty label"));
        check(".a", Err("it has an empty label"));
        check("example.com.", Err("it has an empty label"));
        check("-a.b", Err("it has a label that begins or ends with a hyphen"));
        check("a-.b", Err("it has a label that begins or ends with a hyphen"));
        check(&"a".repeat(64), Err("it has a label that is too long"));
        check(&"a.".repeat(127), Err("it is too long"));
    }

    #[test]
    fn addresses() {
        check("127.0.0.1", Ok("127.0.0.1"));
        check("::1", Ok("[::1]"));
        check("[::1]", Ok("[::1]"));
        check("[0:0:0:0:0:0:0:1]", Ok("[::1]"));
        check("::ffff:127.0.0.1", Ok("[::ffff:127.0.0.1]"));
        check("[FE80::1]", Ok("[fe80::1]"));
    }

    #[test]
    fn numbers_in_disguise() {
        check("2130706433", NUMBER);
        check("0x7f000001", NUMBER);
        check("0X7F000001", NUMBER);
        check("0x", NUMBER);
        check("017700000001", NUMBER);
        check("127.1", NUMBER);
        check("127.0.1", NUMBER);
        check("0177.0.0.1", NUMBER);
        check("127.0.0.01", NUMBER);
        check("127.0.0.0x1", NUMBER);
        check("127.0.0.1.", NUMBER);
        check("127.0.0.256", NUMBER);
        check("1.2.3.4.5", NUMBER);
        check("a.0x7f", NUMBER);
        check("a.1", NUMBER);
    }

    #[test]
    fn tricks() {
        check("user@host", Err("it has a user name in it"));
        check("a:b@127.0.0.1", Err("it has a port or a scheme in it"));
        check("example.com:80", Err("it has a port or a scheme in it"));
        check("[::1%eth0]", Err("it has a scope"));
        check("[::1%25eth0]", Err("it has a scope"));
        check("fe80::1%eth0", Err("it has a scope"));
        check("[::1", Err("its bracket is not closed"));
        check("[127.0.0.1]", Err("it is no IPv6 address"));
        check("[]", Err("it is no IPv6 address"));
        check("a%2eb", Err("it has an escape or a scope in it"));
        check("a/b", Err("it has a character that no host has"));
        check("a\\b", Err("it has a character that no host has"));
        check("a#b", Err("it has a character that no host has"));
        check("*", Err("it has a character that no host has"));
        check("a b", Err("it has white space or a control character in it"));
        check("a\0b", Err("it has white space or a control character in it"));
        check("a\n", Err("it has white space or a control character in it"));
        check("bücher.example", Err("it has letters beyond ASCII: write it in punycode (`xn--…`)"));
        check("１２７.0.0.1", Err("it has letters beyond ASCII: write it in punycode (`xn--…`)"));
        check("example。com", Err("it has letters beyond ASCII: write it in punycode (`xn--…`)"));
        check("ex\u{ad}ample.com", Err("it has letters beyond ASCII: write it in punycode (`xn--…`)"));
    }

    #[test]
    fn an_error_shows_no_control_character() {
        let error = Host::parse("a\u{1b}[2J\u{202e}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("cannot take `a\\u{1b}[2J\\u{202e}` as a host: "), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_host_or_an_error(text in ".{0,40}") {
            let _ = Host::read(&text);
        }

        #[test]
        fn a_host_has_one_spelling(text in "[a-zA-Z0-9_.:x-]{0,24}|\\[[0-9a-f:.]{0,20}\\]") {
            if let Ok(host) = Host::read(&text) {
                let written = host.to_string();
                prop_assert_eq!(Host::read(&written), Ok(host.clone()), "{}", written);
                if let Host::Name(name) = host {
                    prop_assert!(name.as_str().bytes().all(|byte| !byte.is_ascii_uppercase()));
                    prop_assert!(name.as_str().parse::<IpAddr>().is_err());
                }
            }
        }

        /// What the C library takes as an address is an address here, or refused; never a name.
        #[test]
        fn no_number_is_a_name(parts in prop::collection::vec(any::<u32>(), 1..5), radix in 0..3) {
            let parts = parts.iter().map(|part| match radix {
                0 => format!("{part}"),
                1 => format!("{part:#x}"),
                _ => format!("0{part:o}"),
            });
            let text = parts.collect::<Vec<_>>().join(".");
            prop_assert!(!matches!(Host::read(&text), Ok(Host::Name(_))), "{}", text);
        }
    }
}
