use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{Error, ErrorKind};

/// A block of addresses: all that share their first bits, as in `10.0.0.0/8`.
///
/// It reads from text and writes itself as text. An address alone is the block of that one address. Bits behind the
/// prefix are zero: `10.1.2.3/8` is refused, because it says two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The block of one address.
    pub const fn single(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { network: address, prefix }
    }

    /// The block of `address` whose first `prefix` bits count; the others are taken as zero. A prefix that is longer
    /// than the address counts as that.
    pub const fn around(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let prefix = if prefix > 32 { 32 } else { prefix };
                let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) };
                Self { network: IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask)), prefix }
            }
            IpAddr::V6(address) => {
                let prefix = if prefix > 128 { 128 } else { prefix };
                let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) };
                Self { network: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), prefix }
            }
        }
    }

    /// The first address.
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// How many bits all its addresses share.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the block has this address. IPv4 and IPv6 never meet, whatever is embedded.
    pub const fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix as u32
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix as u32
            }
            _ => false,
        }
    }

    /// Whether all of `other` is in this block.
    pub const fn covers(&self, other: &Self) -> bool {
        other.prefix >= self.prefix && self.contains(other.network)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "it is no address")?;
        let whole = Self::single(address);
        let Some(prefix) = prefix else { return Ok(whole) };
        // `parse` would take a sign and zeros in front: one number has one spelling.
        let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let short = prefix == "0" || !prefix.starts_with('0');
        let prefix = Some(prefix).filter(|_| plain && short).and_then(|prefix| prefix.parse().ok());
        let prefix = prefix.filter(|prefix| *prefix <= whole.prefix).ok_or("its prefix length is none")?;
        let block = Self::around(address, prefix);
        if block.network == address { Ok(block) } else { Err("it has bits behind its prefix") }
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text).map_err(|problem| {
            Error::new(ErrorKind::Invalid, format!("take {text:?} as a block of addresses: {problem}"))
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)?;
        if *self == Self::single(self.network) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, &'static str>) {
        assert_eq!(Cidr::parse(text).map(|block| block.to_string()), expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn texts() {
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("127.0.0.1/32", Ok("127.0.0.1"));
        check("127.0.0.1", Ok("127.0.0.1"));
        check("FE80:0::/10", Ok("fe80::/10"));
        check("::1", Ok("::1"));
        check("::/0", Ok("::/0"));
        check("10.0.0.1/8", Err("it has bits behind its prefix"));
        check("10.0.0.0/33", Err("its prefix length is none"));
        check("::/129", Err("its prefix length is none"));
        check("10.0.0.0/+8", Err("its prefix length is none"));
        check("10.0.0.0/08", Err("its prefix length is none"));
        check("10.0.0.0/", Err("its prefix length is none"));
        check("10.0.0.0/8/8", Err("its prefix length is none"));
        check("10.0.0/8", Err("it is no address"));
        check("010.0.0.0/8", Err("it is no address"));
        check("fe80::1%eth0/64", Err("it is no address"));
        check("", Err("it is no address"));
    }

    #[test]
    fn the_families_do_not_meet() {
        let all: Cidr = "::/0".parse().unwrap();
        assert!(all.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!all.contains("10.0.0.1".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Cidr>().unwrap().contains("::".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_block_has_what_shares_its_first_bits(
            one in any::<IpAddr>(), other in any::<IpAddr>(), prefix in 0..=140_u8,
        ) {
            let block = Cidr::around(one, prefix);
            prop_assert!(block.contains(one) && block.covers(&Cidr::single(one)));
            prop_assert_eq!(block.contains(other), Cidr::around(other, block.prefix()) == block);
            prop_assert_eq!(block.to_string().parse::<Cidr>().unwrap(), block);
        }

        #[test]
        fn any_text_is_a_block_or_an_error(text in "[0-9a-f:./%+ ]{0,24}") {
            if let Ok(block) = Cidr::parse(&text) {
                prop_assert_eq!(Cidr::parse(&block.to_string()), Ok(block));
            }
        }
    }
}
