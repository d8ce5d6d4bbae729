//! The way of an ICMPv6 message into an Ethernet frame.

use std::net::Ipv6Addr;

use etherparse::{EtherType, Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header};

use crate::{Mac, ethernet::Header};

/// What stands before the ICMPv6 message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) ethernet_destination: Mac,
    pub(crate) ethernet_source: Mac,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hop_limit: u8,
    /// Octets between the IPv6 header and ICMPv6, and the number that announces them.
    pub(crate) extension: Option<(IpNumber, [u8; 8])>,
}

/// A message in its fields: type, the four octets after the checksum, and the rest. Code is 0.
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    pub(crate) octets_4_to_8: [u8; 4],
    pub(crate) body: &'a [u8],
}

impl Envelope {
    /// The whole frame, checksum included. Callers pass bodies of a few dozen octets: a body above
    /// what IPv6 can carry would be cut in its length field.
    pub(crate) fn seal(&self, message: &Message<'_>) -> Vec<u8> {
        let icmp = checksummed(self.source, self.destination, message);
        let extension = self.extension.as_ref().map_or(&[][..], |(_, octets)| octets);
        let payload = [extension, &icmp, message.body].concat();
        let ip = Ipv6Header {
            payload_length: u16::try_from(payload.len()).unwrap_or(u16::MAX),
            next_header: self.extension.map_or(IpNumber::IPV6_ICMP, |(number, _)| number),
            hop_limit: self.hop_limit,
            source: self.source.octets(),
            destination: self.destination.octets(),
            ..Ipv6Header::default()
        };
        let ethernet = Header {
            destination: self.ethernet_destination,
            source: self.ethernet_source,
            ether_type: EtherType::IPV6,
        };
        [&ethernet.to_bytes()[..], &ip.to_bytes(), &payload].concat()
    }
}

/// The eight octets of the ICMPv6 header (RFC 4443 §2.1, checksum of §2.3).
fn checksummed(source: Ipv6Addr, destination: Ipv6Addr, message: &Message<'_>) -> Vec<u8> {
    let kind =
        Icmpv6Type::Unknown { type_u8: message.kind, code_u8: 0, bytes5to8: message.octets_4_to_8 };
    // The checksum fails on bodies above 4 GiB only; then the receiver refuses it.
    Icmpv6Header::with_checksum(kind, source.octets(), destination.octets(), message.body)
        .unwrap_or_else(|_| Icmpv6Header::new(kind))
        .to_bytes()
        .to_vec()
}
