//! Addresses that can be no VIP and no SNAT source, whatever the network.

use std::net::IpAddr;

use crate::AddressRange;
use ipnet::IpNet;

/// IANA's special-purpose registries (RFC 6890): blocks that are never a unicast address of a
/// segment.
const UNUSABLE: [(&str, &str); 10] = [
    ("0.0.0.0/8", "unspecified (0.0.0.0/8)"),
    ("127.0.0.0/8", "loopback (127.0.0.0/8)"),
    ("169.254.0.0/16", "link-local (169.254.0.0/16)"),
    ("224.0.0.0/4", "multicast (224.0.0.0/4)"),
    ("240.0.0.0/4", "reserved or broadcast (240.0.0.0/4)"),
    ("::/128", "unspecified (::)"),
    ("::1/128", "loopback (::1)"),
    ("::ffff:0:0/96", "IPv4-mapped (::ffff:0:0/96)"),
    ("fe80::/10", "link-local (fe80::/10)"),
    ("ff00::/8", "multicast (ff00::/8)"),
];

/// What makes an address unusable, if anything does.
pub fn unusable(address: IpAddr) -> Option<&'static str> {
    first_overlap(&AddressRange::single(address))
}

/// The first unusable block that a range reaches into.
pub fn first_overlap(range: &AddressRange) -> Option<&'static str> {
    let reaches = |block: &str| block.parse::<IpNet>().is_ok_and(|b| range.overlaps(&b.into()));
    UNUSABLE.iter().find(|(block, _)| reaches(block)).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_a_prefix_and_is_found() {
        for (block, class) in UNUSABLE {
            let net: IpNet = block.parse().unwrap();
            assert_eq!(unusable(net.network()), Some(class), "{block}");
            assert_eq!(unusable(net.broadcast()), Some(class), "{block}");
        }
    }

    #[test]
    fn common_addresses_are_usable() {
        for text in ["192.0.2.1", "198.51.100.255", "203.0.113.0", "2001:db8::1"] {
            assert_eq!(unusable(text.parse().unwrap()), None, "{text}");
        }
    }
}
