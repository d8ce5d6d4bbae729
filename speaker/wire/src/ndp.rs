//! Neighbour solicitations and advertisements.
//!
//! Standards: RFC 4861 §4.3, §4.4 (messages), §4.6 (options), §7.1 (validation, all of it);
//! RFC 4862 §5.4 (duplicate address detection); RFC 3971 §5.3.2 and RFC 7527 (nonce); RFC 6980
//! (no fragments). Gaps: a message behind an IPv6 extension header is refused by name: RFC 4861
//! knows none there, and RFC 6980 forbids the fragment header. Options other than the link-layer
//! addresses and the nonce are passed over, as RFC 4861 §4.6 asks.

use std::net::Ipv6Addr;

use crate::Mac;

mod emit;
mod parse;

pub(crate) use parse::parse;

/// `ff02::1`: every node of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// ICMPv6 type of a solicitation.
const SOLICITATION: u8 = 135;
/// ICMPv6 type of an advertisement.
const ADVERTISEMENT: u8 = 136;
/// The only hop limit that proves that a message was not forwarded (RFC 4861 §7.1).
const HOP_LIMIT: u8 = 255;

/// Option types of RFC 4861 §4.6.1 and RFC 3971 §5.3.2.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const NONCE: u8 = 14;

/// The solicited-node group of an address: `ff02::1:ff` and its last 24 bits (RFC 4291 §2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Whether `address` is the solicited-node group of some address.
pub const fn is_solicited_node(address: Ipv6Addr) -> bool {
    matches!(address.octets(), [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, _, _, _])
}

/// The nonce of RFC 3971 §5.3.2 in its shortest form, by which the sender of a duplicate address
/// detection knows its own solicitation again (RFC 7527 §4). Longer nonces are legal on the wire,
/// but never ours: they are read as no nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 6]);

/// Either message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ndp {
    Solicitation(Solicitation),
    Advertisement(Advertisement),
}

/// A neighbour solicitation.
///
/// ```text
///  0    ethernet 14   ipv6 54  55   56         58        62      78
/// +-----------+------+----+----+----------+----------+--------+---------
/// | 0x86dd    |58,255|135 | 0  | checksum | reserved | target | options
/// +-----------+------+----+----+----------+----------+--------+---------
/// option 1 : |1|1| source link-layer address (6)|      option 14: |14|1| nonce (6)|
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Destination of the Ethernet header.
    pub ethernet_destination: Mac,
    /// Source of the Ethernet header.
    pub ethernet_source: Mac,
    /// Source of the IPv6 header; `::` for duplicate address detection.
    pub source: Ipv6Addr,
    /// Destination of the IPv6 header: the solicited-node group, or the target itself.
    pub destination: Ipv6Addr,
    /// The address that is looked for.
    pub target: Ipv6Addr,
    /// Source link-layer address option.
    pub source_link_layer: Option<Mac>,
    /// Nonce option.
    pub nonce: Option<Nonce>,
}

impl Solicitation {
    /// The solicitation of duplicate address detection (RFC 4862 §5.4.2), with the nonce of
    /// RFC 7527 §4.1.
    pub fn probe(from: Mac, address: Ipv6Addr, nonce: Nonce) -> Self {
        let destination = solicited_node(address);
        Self {
            ethernet_destination: Mac::of_ipv6_multicast(destination),
            ethernet_source: from,
            source: Ipv6Addr::UNSPECIFIED,
            destination,
            target: address,
            source_link_layer: None,
            nonce: Some(nonce),
        }
    }

    /// Whether this is duplicate address detection.
    pub fn is_probe(&self) -> bool {
        self.source.is_unspecified()
    }

    /// The answer by the station `from` (RFC 4861 §7.2.4): solicited and to the one who asked; to
    /// all nodes and unsolicited where the asker has no address yet.
    pub fn reply(&self, from: Mac) -> Advertisement {
        if self.is_probe() {
            return Advertisement::announcement(from, self.target);
        }
        Advertisement {
            ethernet_destination: self.source_link_layer.unwrap_or(self.ethernet_source),
            ethernet_source: from,
            source: self.target,
            destination: self.source,
            target: self.target,
            flags: Flags { router: false, solicited: true, overriding: true },
            target_link_layer: Some(from),
        }
    }

    /// The octets on the wire.
    pub fn emit(&self) -> Vec<u8> {
        emit::solicitation(self)
    }
}

/// The three flags of an advertisement (RFC 4861 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// R: the sender is a router.
    pub router: bool,
    /// S: this answers a solicitation.
    pub solicited: bool,
    /// O: replace the link-layer address in the cache.
    pub overriding: bool,
}

/// A neighbour advertisement.
///
/// ```text
///  0    ethernet 14   ipv6 54  55   56         58        62      78
/// +-----------+------+----+----+----------+----------+--------+---------
/// | 0x86dd    |58,255|136 | 0  | checksum |R|S|O| 0  | target | options
/// +-----------+------+----+----+----------+----------+--------+---------
/// option 2 : |2|1| target link-layer address (6)|
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Destination of the Ethernet header.
    pub ethernet_destination: Mac,
    /// Source of the Ethernet header.
    pub ethernet_source: Mac,
    /// Source of the IPv6 header.
    pub source: Ipv6Addr,
    /// Destination of the IPv6 header.
    pub destination: Ipv6Addr,
    /// The address that is told of.
    pub target: Ipv6Addr,
    /// R, S and O.
    pub flags: Flags,
    /// Target link-layer address option.
    pub target_link_layer: Option<Mac>,
}

impl Advertisement {
    /// The unsolicited advertisement to all nodes that makes them take `from` as the station of
    /// `address` (RFC 4861 §7.2.6, with override).
    pub fn announcement(from: Mac, address: Ipv6Addr) -> Self {
        Self {
            ethernet_destination: Mac::of_ipv6_multicast(ALL_NODES),
            ethernet_source: from,
            source: address,
            destination: ALL_NODES,
            target: address,
            flags: Flags { router: false, solicited: false, overriding: true },
            target_link_layer: Some(from),
        }
    }

    /// The octets on the wire.
    pub fn emit(&self) -> Vec<u8> {
        emit::advertisement(self)
    }
}

/// Why a frame is neither a solicitation nor an advertisement. RFC 4861 §7.1 asks that such a
/// message be silently discarded; the error is for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdpError {
    /// The frame ends before the message does.
    #[error("the frame has {have} octets, neighbour discovery needs at least {need}")]
    Truncated {
        /// Octets there.
        have: usize,
        /// Octets needed.
        need: usize,
    },
    /// The EtherType is not 0x86dd.
    #[error("ethertype {0:#06x} is not ipv6 (0x86dd)")]
    EtherType(u16),
    /// The version field is not 6.
    #[error("ip version {0} in an ipv6 frame")]
    Version(u8),
    /// The next header is not ICMPv6.
    #[error("next header {0} is not icmpv6 (58)")]
    NextHeader(u8),
    /// The ICMPv6 type is neither 135 nor 136.
    #[error("icmpv6 type {0} is neither a solicitation (135) nor an advertisement (136)")]
    Type(u8),
    /// The message came through a router, or pretends to have.
    #[error("hop limit {0} is not 255: the message does not come from this link")]
    HopLimit(u8),
    /// The checksum is wrong.
    #[error("the icmpv6 checksum is wrong")]
    Checksum,
    /// The code is not 0.
    #[error("icmpv6 code {0} is not 0")]
    Code(u8),
    /// The ICMPv6 message is shorter than 24 octets.
    #[error("the icmpv6 message has {0} octets, neighbour discovery needs 24")]
    Length(usize),
    /// The source is a multicast address (RFC 4291 §2.7).
    #[error("source {0} is a multicast address")]
    Source(Ipv6Addr),
    /// The target is a multicast address.
    #[error("target {0} is a multicast address")]
    Target(Ipv6Addr),
    /// An option has length zero, or is longer than the rest of the message.
    #[error("option {kind} says {units} units of 8 octets, {rest} octets are left")]
    OptionLength {
        /// Option type.
        kind: u8,
        /// Its length field.
        units: u8,
        /// Octets left from the option's start.
        rest: usize,
    },
    /// A link-layer address option that does not hold an Ethernet address.
    #[error("option {kind} has {units} units of 8 octets, an ethernet address takes 1")]
    LinkLayerLength {
        /// Option type.
        kind: u8,
        /// Its length field.
        units: u8,
    },
    /// A solicitation from `::` to other than a solicited-node group.
    #[error("a solicitation from :: goes to {0}, not to a solicited-node group")]
    ProbeDestination(Ipv6Addr),
    /// A solicitation from `::` with a source link-layer address.
    #[error("a solicitation from :: carries a source link-layer address")]
    ProbeLinkLayer,
    /// An advertisement to a group with the solicited flag.
    #[error("an advertisement to the group {0} says it was solicited")]
    SolicitedToGroup(Ipv6Addr),
}

#[cfg(test)]
mod tests;
