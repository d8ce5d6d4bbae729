//! The report by which a station joins a multicast group.
//!
//! Standards: RFC 3810 §5.2 (MLDv2 report), RFC 2711 (router alert). A switch that snoops MLD
//! forwards solicitations for an address only to the ports that reported its solicited-node group,
//! so the report goes out before the address is announced (RFC 4862 §5.4.2) and again with each
//! refresh. Gaps: only the record that joins one group is emitted, and nothing is parsed: queries
//! are not answered one by one, and a group that is no longer reported runs out at the switch
//! (RFC 3810 §9.4, 260 s).

use std::net::Ipv6Addr;

use etherparse::IpNumber;

use crate::{
    Mac,
    icmpv6::{Envelope, Message},
};

/// `ff02::16`: every router, and every snooping switch, that listens to MLDv2 (RFC 3810 §5.2.14).
pub const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// ICMPv6 type of a version 2 report.
const REPORT: u8 = 143;
/// Record type CHANGE_TO_EXCLUDE_MODE: with no sources, "from now on everything" (§5.2.12).
const CHANGE_TO_EXCLUDE: u8 = 4;
/// Hop-by-hop options: ICMPv6 follows, router alert of value 0 = MLD, PadN (RFC 2711 §2.1).
const ROUTER_ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

/// A report that joins one group.
///
/// ```text
///  0 ethernet 14 ipv6 54       62   63   64         66         68
/// +----------+-------+---------+----+----+----------+----------+---------+
/// | 0x86dd   |0, hop1| options |143 | 0  | checksum | reserved | records |
/// +----------+-------+---------+----+----+----------+----------+---------+
///  70    71       72            74      90
/// +-----+--------+-------------+-------+
/// |  4  | aux 0  | sources: 0  | group |
/// +-----+--------+-------------+-------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Source of the Ethernet header.
    pub ethernet_source: Mac,
    /// A link-local address of the sender, or `::` where it has none (RFC 3810 §5.2.13).
    pub source: Ipv6Addr,
    /// The group.
    pub group: Ipv6Addr,
}

impl Join {
    /// The octets on the wire.
    pub fn emit(&self) -> Vec<u8> {
        let mut body = vec![CHANGE_TO_EXCLUDE, 0, 0, 0];
        body.extend(self.group.octets());
        let envelope = Envelope {
            ethernet_destination: Mac::of_ipv6_multicast(ALL_MLDV2_ROUTERS),
            ethernet_source: self.ethernet_source,
            source: self.source,
            destination: ALL_MLDV2_ROUTERS,
            hop_limit: 1,
            extension: Some((IpNumber::IPV6_HEADER_HOP_BY_HOP, ROUTER_ALERT)),
        };
        envelope.seal(&Message { kind: REPORT, octets_4_to_8: [0, 0, 0, 1], body: &body })
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Slice, Ipv6HeaderSlice};

    use super::*;

    #[test]
    fn a_join_is_the_octets_of_rfc_3810() {
        let group: Ipv6Addr = "ff02::1:ff00:10".parse().unwrap();
        let source: Ipv6Addr = "fe80::1".parse().unwrap();
        let join = Join { ethernet_source: Mac::new([2, 0, 0, 0, 0, 1]), source, group };
        let frame = join.emit();
        assert_eq!(frame.len(), 90);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x16]);
        let ip = Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        assert_eq!((ip.hop_limit(), ip.next_header().0, ip.payload_length()), (1, 0, 36));
        assert_eq!((ip.source_addr(), ip.destination_addr()), (source, ALL_MLDV2_ROUTERS));
        assert_eq!(frame[54..62], [58, 0, 5, 2, 0, 0, 1, 0]);
        let icmp = Icmpv6Slice::from_slice(&frame[62..]).unwrap();
        assert!(icmp.is_checksum_valid(ip.source(), ip.destination()));
        assert_eq!(frame[62..64], [143, 0]);
        assert_eq!(frame[66..74], [0, 0, 0, 1, 4, 0, 0, 0]);
        assert_eq!(frame[74..90], group.octets());
    }
}
