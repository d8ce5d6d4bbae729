//! Ethernet addresses.

use std::{fmt, net::Ipv6Addr};

/// A 48-bit Ethernet (MAC) address, in the order of the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`: every station of the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`: no address, as in the target field of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// Wraps six octets.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The six octets.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether this is a group address: multicast or broadcast (IEEE 802, the I/G bit).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether one station may own this address: neither a group nor all zeros.
    pub fn is_station(self) -> bool {
        !self.is_group() && self != Self::ZERO
    }

    /// The group that an IPv6 multicast address maps to: `33:33` and its last four octets
    /// (RFC 2464 §7).
    pub const fn of_ipv6_multicast(address: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = address.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    /// `02:00:00:00:00:01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<[u8; 6]> for Mac {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_their_ip_addresses() {
        let all_nodes = Mac::of_ipv6_multicast("ff02::1".parse().unwrap());
        assert_eq!(all_nodes.to_string(), "33:33:00:00:00:01");
    }

    #[test]
    fn a_station_is_neither_a_group_nor_nobody() {
        assert!(Mac::new([2, 0, 0, 0, 0, 1]).is_station());
        assert!(!Mac::BROADCAST.is_station());
        assert!(!Mac::ZERO.is_station());
        assert!(!Mac::new([0x33, 0x33, 0, 0, 0, 1]).is_station());
    }
}
