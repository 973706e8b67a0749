//! Which country a prefix of addresses belongs to.

use std::net::IpAddr;

/// Prefixes and their countries, the longest prefix first.
pub(crate) struct Table {
    rows: Vec<Row>,
}

struct Row {
    network: IpAddr,
    length: u32,
    country: String,
}

impl Table {
    /// Reads rows of `network/length,country`. What is no such row is skipped, a comment for instance.
    pub(crate) fn parse(text: &str) -> Self {
        let mut rows: Vec<Row> = text.lines().filter_map(Row::parse).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.length));
        Self { rows }
    }

    /// The country of an address, by the longest prefix that it has.
    pub(crate) fn country(&self, address: IpAddr) -> Option<&str> {
        self.rows.iter().find(|row| row.contains(address)).map(|row| row.country.as_str())
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let (prefix, country) = line.split_once(',')?;
        let (network, length) = prefix.split_once('/')?;
        let network: IpAddr = network.trim().parse().ok()?;
        let length = length.trim().parse().ok()?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        (length <= bits).then(|| Self { network, length, country: country.trim().to_owned() })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.length
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.length
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<&str>) {
        let table = Table::parse(
            "# documentation ranges\n203.0.113.0/24,A\n203.0.113.128/25,B\n2001:db8::/32,C\nnonsense\n1.2.3.0/40,D\n",
        );
        assert_eq!(table.country(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn the_longest_prefix_wins() {
        check("203.0.113.7", Some("A"));
        check("203.0.113.200", Some("B"));
    }

    #[test]
    fn families_are_apart() {
        check("2001:db8::1", Some("C"));
        check("::ffff:203.0.113.7", None);
    }

    #[test]
    fn what_has_no_row_is_nowhere() {
        check("198.51.100.1", None);
        check("1.2.3.4", None);
    }
}
