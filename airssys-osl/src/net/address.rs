//! What kinds of addresses there are. Pure: a table and how it is read.
//!
//! The table is that of IANA's registries, with the choices of this crate marked:
//!
//! * IPv4 Special-Purpose Address Registry
//!   (<https://www.iana.org/assignments/iana-ipv4-special-registry>), RFC 6890
//! * IPv6 Special-Purpose Address Registry
//!   (<https://www.iana.org/assignments/iana-ipv6-special-registry>)
//! * IPv4 Multicast (RFC 5771) and IPv6 Global Unicast Address Space: what is not in `2000::/3` is not global
//!
//! It is stricter than the registries where they say *global* for an address inside of a special block (anycast
//! addresses of protocols in `192.0.0.0/24` and `2001::/23`): whoever wants one names it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Cidr;

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Anyone on the Internet may have it: the only class that a rule on hosts, or on a wide block, can reach.
    Global,
    /// All zeros: any address of this machine, which connects to this machine.
    Unspecified,
    /// `0.0.0.0/8`: this network.
    ThisNetwork,
    /// This machine.
    Loopback,
    /// Networks of one organisation (RFC 1918, RFC 4193, and the older site-local addresses of IPv6).
    Private,
    /// Between a provider and its customers (RFC 6598).
    CarrierGrade,
    /// This link only.
    LinkLocal,
    /// Where clouds tell a machine its identity and its secrets. Not in a registry: the clouds document them.
    Metadata,
    /// For the protocols of the IETF, discarding and segment routing among them.
    Protocol,
    /// Only for examples.
    Documentation,
    /// Only for measuring.
    Benchmark,
    /// Groups.
    Multicast,
    /// Everyone on this link.
    Broadcast,
    /// Not given to anyone.
    Reserved,
    /// IPv6 that stands for an IPv4 address: the system connects to that one.
    MappedV4,
    /// IPv6 with an IPv4 address in it, in a form that is not used any more.
    CompatibleV4,
    /// IPv6 with an IPv4 address in it, for a translator (RFC 6052, RFC 8215, RFC 7915).
    Translated,
    /// IPv6 that a tunnel takes to the IPv4 address in it (RFC 3056, RFC 4380), and their relays.
    Tunnel,
}

struct Row {
    block: Cidr,
    class: Class,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, class: Class) -> Row {
    Row { block: Cidr::around(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix), class }
}

const fn v6(groups: [u16; 8], prefix: u8, class: Class) -> Row {
    let [a, b, c, d, e, f, g, h] = groups;
    Row { block: Cidr::around(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix), class }
}

/// The first row that has an address is its row: the narrower stand before the wider.
const V4: &[Row] = &[
    v4(0, 0, 0, 0, 32, Class::Unspecified),
    v4(255, 255, 255, 255, 32, Class::Broadcast),
    v4(169, 254, 169, 254, 32, Class::Metadata), // most clouds
    v4(169, 254, 170, 2, 32, Class::Metadata),   // credentials of AWS tasks
    v4(169, 254, 170, 23, 32, Class::Metadata),  // identities of AWS pods
    v4(100, 100, 100, 200, 32, Class::Metadata), // Alibaba
    v4(192, 0, 0, 192, 32, Class::Metadata),     // Oracle
    v4(168, 63, 129, 16, 32, Class::Metadata),   // Azure; global by its number
    v4(192, 0, 0, 0, 24, Class::Protocol),
    v4(192, 0, 2, 0, 24, Class::Documentation),
    v4(198, 51, 100, 0, 24, Class::Documentation),
    v4(203, 0, 113, 0, 24, Class::Documentation),
    v4(192, 88, 99, 0, 24, Class::Tunnel), // relays of 6to4, withdrawn by RFC 7526
    v4(169, 254, 0, 0, 16, Class::LinkLocal),
    v4(192, 168, 0, 0, 16, Class::Private),
    v4(198, 18, 0, 0, 15, Class::Benchmark),
    v4(172, 16, 0, 0, 12, Class::Private),
    v4(100, 64, 0, 0, 10, Class::CarrierGrade),
    v4(0, 0, 0, 0, 8, Class::ThisNetwork),
    v4(10, 0, 0, 0, 8, Class::Private),
    v4(127, 0, 0, 0, 8, Class::Loopback),
    v4(224, 0, 0, 0, 4, Class::Multicast),
    v4(240, 0, 0, 0, 4, Class::Reserved),
];

const V6: &[Row] = &[
    v6([0; 8], 128, Class::Unspecified),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Class::Loopback),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, Class::Metadata), // AWS
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, Class::Metadata),  // identities of AWS pods
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Class::Metadata),  // Google
    v6([0; 8], 96, Class::CompatibleV4),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, Class::MappedV4),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Class::Translated),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Class::Translated),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Class::Protocol), // discarded
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Class::Protocol), // dummies
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Class::Translated),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Class::Benchmark),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Class::Tunnel), // Teredo
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Class::Documentation),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Class::Protocol),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Class::Documentation),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Class::Tunnel), // 6to4
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Class::Protocol), // segment routing
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Class::LinkLocal),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Class::Private),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Class::Multicast),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Class::Private),
    // All but 2000::/3.
    v6([0; 8], 3, Class::Reserved),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, Class::Reserved),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, Class::Reserved),
];

/// Every special block and its class; of one family, the narrower before the wider.
pub(crate) fn blocks() -> impl Iterator<Item = (Class, &'static Cidr)> {
    V4.iter().chain(V6).map(|row| (row.class, &row.block))
}

impl Class {
    /// The class of an address. What is embedded in it has a class of its own; see [`embedded`].
    pub fn of(address: IpAddr) -> Self {
        special(address).map_or(Self::Global, |(class, _)| class)
    }

    /// The built-in rule that denies an address of this class where no grant names it.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Global => crate::policy::rule::DEFAULT_DENY,
            Self::Unspecified => "non-global: unspecified",
            Self::ThisNetwork => "non-global: this-network",
            Self::Loopback => "non-global: loopback",
            Self::Private => "non-global: private",
            Self::CarrierGrade => "non-global: carrier-grade",
            Self::LinkLocal => "non-global: link-local",
            Self::Metadata => "non-global: metadata",
            Self::Protocol => "non-global: protocol",
            Self::Documentation => "non-global: documentation",
            Self::Benchmark => "non-global: benchmark",
            Self::Multicast => "non-global: multicast",
            Self::Broadcast => "non-global: broadcast",
            Self::Reserved => "non-global: reserved",
            Self::MappedV4 => "non-global: mapped-v4",
            Self::CompatibleV4 => "non-global: compatible-v4",
            Self::Translated => "non-global: translated",
            Self::Tunnel => "non-global: tunnel",
        }
    }
}

/// Writes the name that the class has in rules.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule().strip_prefix("non-global: ").unwrap_or("global"))
    }
}

/// The class and the block of an address that is not global.
pub(crate) fn special(address: IpAddr) -> Option<(Class, &'static Cidr)> {
    let (rows, touched, first) = match address {
        IpAddr::V4(address) => (V4, &TOUCHED_V4, address.octets()[0]),
        IpAddr::V6(address) => (V6, &TOUCHED_V6, address.octets()[0]),
    };
    // Most addresses are global, and their first byte tells; of the others it leaves some rows.
    let mut left = touched.get(usize::from(first)).copied().unwrap_or(0);
    while left != 0 {
        let row = rows.get(left.trailing_zeros() as usize)?;
        if row.block.contains(address) {
            return Some((row.class, &row.block));
        }
        left &= left - 1;
    }
    None
}

/// By the first byte of an address: the rows that any address has which begins like this, a bit each.
static TOUCHED_V4: [u32; 256] = touched(V4);
static TOUCHED_V6: [u32; 256] = touched(V6);

#[expect(clippy::indexing_slicing, reason = "it runs when the crate is compiled")]
const fn touched(rows: &[Row]) -> [u32; 256] {
    assert!(rows.len() <= u32::BITS as usize, "a bit for each");
    let mut touched = [0; 256];
    let mut row = 0;
    while row < rows.len() {
        let block = rows[row].block;
        let mut byte = 0;
        while byte < 256 {
            let first = match block.network() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(byte as u8, 0, 0, 0)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new((byte as u16) << 8, 0, 0, 0, 0, 0, 0, 0)),
            };
            let bits = if block.prefix() < 8 { block.prefix() } else { 8 };
            if Cidr::around(block.network(), bits).contains(first) {
                touched[byte] |= 1 << row;
            }
            byte += 1;
        }
        row += 1;
    }
    touched
}

/// The IPv4 addresses that an IPv6 address carries: where a packet to it may come out.
///
/// There can be several: Teredo has a server and a client, and how long the prefix of a translator is in
/// `64:ff9b:1::/48`, and so where the address stands, is its operator's choice.
pub fn embedded(address: IpAddr) -> [Option<Ipv4Addr>; 4] {
    let IpAddr::V6(address) = address else { return [None; 4] };
    let bits = address.to_bits();
    let at = |shift: u32| Some(Ipv4Addr::from_bits((bits >> shift) as u32));
    match (Class::of(IpAddr::V6(address)), address.segments()) {
        (Class::MappedV4 | Class::CompatibleV4, _) => [at(0), None, None, None],
        (Class::Translated, [0x64, 0xff9b, 1, ..]) => translated_locally(bits),
        (Class::Translated, _) => [at(0), None, None, None],
        (Class::Tunnel, [0x2002, ..]) => [at(80), None, None, None],
        // RFC 4380, 4: the client is written upside down.
        (Class::Tunnel, _) => [at(64), Some(Ipv4Addr::from_bits(!bits as u32)), None, None],
        // RFC 5214, 6.1: ISATAP, beneath any prefix.
        (_, [_, _, _, _, 0 | 0x200, 0x5efe, ..]) => [at(0), None, None, None],
        _ => [None; 4],
    }
}

/// The addresses in one that translators of a network may have, by prefixes of 48, 56, 64 and 96 bits (RFC 6052, 2.2): the
/// byte at bit 64 is none of theirs.
fn translated_locally(bits: u128) -> [Option<Ipv4Addr>; 4] {
    let last = bits as u32;
    let after_48 = ((bits >> 64) as u32) << 16 | (bits >> 40) as u32 & 0xffff;
    let after_56 = ((bits >> 64) as u32) << 24 | (bits >> 32) as u32 & 0xff_ffff;
    let after_64 = (bits >> 24) as u32;
    let all = [after_48, after_56, after_64, last].map(Ipv4Addr::from_bits);
    // Read by a wrong prefix there are zeros before, and nobody is at `0.0.0.0/8`.
    let some = all.map(|address| Some(address).filter(|address| address.octets()[0] != 0));
    if some == [None; 4] { [Some(Ipv4Addr::from_bits(last)), None, None, None] } else { some }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(address: &str, expected: Class) {
        assert_eq!(Class::of(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn classes_of_v4() {
        check("1.1.1.1", Class::Global);
        check("93.184.215.14", Class::Global);
        check("0.0.0.0", Class::Unspecified);
        check("0.0.0.1", Class::ThisNetwork);
        check("9.255.255.255", Class::Global);
        check("10.0.0.0", Class::Private);
        check("10.255.255.255", Class::Private);
        check("11.0.0.0", Class::Global);
        check("100.63.255.255", Class::Global);
        check("100.64.0.0", Class::CarrierGrade);
        check("100.127.255.255", Class::CarrierGrade);
        check("100.128.0.0", Class::Global);
        check("100.100.100.200", Class::Metadata);
        check("127.0.0.1", Class::Loopback);
        check("127.255.255.254", Class::Loopback);
        check("169.254.0.1", Class::LinkLocal);
        check("169.254.169.254", Class::Metadata);
        check("169.254.170.2", Class::Metadata);
        check("168.63.129.16", Class::Metadata);
        check("172.15.255.255", Class::Global);
        check("172.16.0.1", Class::Private);
        check("172.31.255.255", Class::Private);
        check("172.32.0.0", Class::Global);
        check("192.0.0.9", Class::Protocol);
        check("192.0.2.1", Class::Documentation);
        check("192.88.99.1", Class::Tunnel);
        check("192.168.1.1", Class::Private);
        check("198.17.255.255", Class::Global);
        check("198.18.0.1", Class::Benchmark);
        check("198.19.255.255", Class::Benchmark);
        check("198.51.100.7", Class::Documentation);
        check("203.0.113.7", Class::Documentation);
        check("223.255.255.255", Class::Global);
        check("224.0.0.1", Class::Multicast);
        check("239.255.255.255", Class::Multicast);
        check("240.0.0.1", Class::Reserved);
        check("255.255.255.255", Class::Broadcast);
    }

    #[test]
    fn classes_of_v6() {
        check("2606:4700::1111", Class::Global);
        check("2a00::1", Class::Global);
        check("::", Class::Unspecified);
        check("::1", Class::Loopback);
        check("::2", Class::CompatibleV4);
        check("::7f00:1", Class::CompatibleV4);
        check("::ffff:127.0.0.1", Class::MappedV4);
        check("::ffff:0:127.0.0.1", Class::Translated);
        check("64:ff9b::7f00:1", Class::Translated);
        check("64:ff9b:1::1", Class::Translated);
        check("64:ff9b:2::1", Class::Reserved);
        check("100::1", Class::Protocol);
        check("100:0:0:1::1", Class::Protocol);
        check("2001::1", Class::Tunnel);
        check("2001:2::1", Class::Benchmark);
        check("2001:20::1", Class::Protocol);
        check("2001:200::1", Class::Global);
        check("2001:db8::1", Class::Documentation);
        check("2002:7f00:1::", Class::Tunnel);
        check("3fff::1", Class::Documentation);
        check("3fff:1000::1", Class::Global);
        check("4000::1", Class::Reserved);
        check("5f00::1", Class::Protocol);
        check("fc00::1", Class::Private);
        check("fd12::1", Class::Private);
        check("fd00:ec2::254", Class::Metadata);
        check("fe80::1", Class::LinkLocal);
        check("fec0::1", Class::Private);
        check("ff02::1", Class::Multicast);
    }

    fn check_embedded(address: &str, expected: &[&str]) {
        let found: Vec<_> =
            embedded(address.parse().unwrap()).into_iter().flatten().map(|v4| v4.to_string()).collect();
        assert_eq!(found, expected, "{address}");
    }

    #[test]
    fn embedded_addresses() {
        check_embedded("2606:4700::1111", &[]);
        check_embedded("10.0.0.1", &[]);
        check_embedded("::1", &[]);
        check_embedded("::ffff:169.254.169.254", &["169.254.169.254"]);
        check_embedded("::169.254.169.254", &["169.254.169.254"]);
        check_embedded("::ffff:0:10.0.0.1", &["10.0.0.1"]);
        check_embedded("64:ff9b::10.0.0.1", &["10.0.0.1"]);
        check_embedded("64:ff9b:1:a00:0:100:808:808", &["10.0.0.1", "8.8.8.8"]);
        check_embedded("64:ff9b:1:a00:0:100::", &["10.0.0.1"]);
        check_embedded("64:ff9b:1:a:0:1::", &["10.0.0.1"]);
        check_embedded("64:ff9b:1:0:a:0:100:0", &["10.0.0.1", "1.0.0.0"]);
        check_embedded("64:ff9b:1::10.0.0.1", &["10.0.0.1"]);
        check_embedded("64:ff9b:1::", &["0.0.0.0"]);
        check_embedded("2002:a00:1::1", &["10.0.0.1"]);
        check_embedded("2001:0:a00:1::f5ff:fffe", &["10.0.0.1", "10.0.0.1"]);
        check_embedded("2a00::5efe:10.0.0.1", &["10.0.0.1"]);
        check_embedded("2a00::200:5efe:10.0.0.1", &["10.0.0.1"]);
    }

    /// A wider row that stood first would hide a narrower one.
    #[test]
    fn no_row_is_hidden() {
        for rows in [V4, V6] {
            for (index, row) in rows.iter().enumerate() {
                let hidden = rows[..index].iter().find(|earlier| earlier.block.covers(&row.block));
                assert!(hidden.is_none(), "{} is hidden", row.block);
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_byte_hides_nothing(address in any::<IpAddr>()) {
            let rows = if address.is_ipv4() { V4 } else { V6 };
            let row = rows.iter().find(|row| row.block.contains(address));
            prop_assert_eq!(special(address).map(|(_, block)| block), row.map(|row| &row.block));
        }

        /// Written a second time, from what the standard library knows.
        #[test]
        fn what_the_standard_library_calls_special_is_special(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!special || Class::of(v4.into()) != Class::Global, "{}", v4);
            prop_assert_eq!(Class::of(v4.to_ipv6_mapped().into()), Class::MappedV4);
            prop_assert_eq!(embedded(v4.to_ipv6_mapped().into()), [Some(v4), None, None, None]);
        }

        #[test]
        fn only_an_eighth_of_v6_can_be_global(bits in any::<u128>()) {
            let v6 = Ipv6Addr::from_bits(bits);
            prop_assert!(bits >> 125 == 1 || Class::of(v6.into()) != Class::Global, "{}", v6);
        }
    }
}
