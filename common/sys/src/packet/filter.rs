//! What the kernel hands to the sockets, in classic BPF.
//!
//! Offsets count from the Ethernet header: `SOCK_RAW` shows it. Negative ones (`SKF_AD_OFF`) ask
//! the kernel about the packet instead of its octets (linux/filter.h).

use socket2::SockFilter;

/// `A <- octet at k`.
const LOAD_8: u16 = 0x30;
/// `A <- 16 bits at k`.
const LOAD_16: u16 = 0x28;
/// `A <- 32 bits at k`.
const LOAD_32: u16 = 0x20;
/// Jump if `A == k`.
const IF_EQUAL: u16 = 0x15;
/// Jump if `A > k`.
const IF_ABOVE: u16 = 0x25;
/// `X <- 4 * (octet at k & 0xf)`: the length of an IPv4 header.
const LOAD_HEADER_LENGTH: u16 = 0xb1;
/// `A <- 16 bits at X + k`.
const LOAD_16_BEHIND: u16 = 0x48;
/// Return `k`: octets to keep, 0 = drop.
const RETURN: u16 = 0x06;

/// `SKF_AD_OFF + SKF_AD_PKTTYPE`.
const PACKET_TYPE: u32 = 0xffff_f004;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`.
const VLAN_TAG_PRESENT: u32 = 0xffff_f030;
/// The highest of `PACKET_HOST` 0, `PACKET_BROADCAST` 1, `PACKET_MULTICAST` 2; behind it come
/// `PACKET_OTHERHOST` and `PACKET_OUTGOING`.
const FOR_US: u32 = 2;

const ETHERTYPE: u32 = 12;
const IPV4: u32 = 14;
const IPV4_PROTOCOL: u32 = 23;
const IPV6_NEXT_HEADER: u32 = 20;
const ICMPV6_TYPE: u32 = 54;
const TCP_IN_IPV6: u32 = 54;
const TCP: u32 = 6;

/// Whole frames: address resolution is short.
const KEEP: SockFilter = SockFilter::new(RETURN, 0, 0, 0xffff);
const DROP: SockFilter = SockFilter::new(RETURN, 0, 0, 0);

/// Untagged ARP for us.
pub(super) static ARP: [SockFilter; 8] = [
    SockFilter::new(LOAD_32, 0, 0, PACKET_TYPE),
    SockFilter::new(IF_ABOVE, 5, 0, FOR_US),
    SockFilter::new(LOAD_8, 0, 0, VLAN_TAG_PRESENT),
    SockFilter::new(IF_EQUAL, 0, 3, 0),
    SockFilter::new(LOAD_16, 0, 0, ETHERTYPE),
    SockFilter::new(IF_EQUAL, 0, 1, super::ETHERTYPE_ARP as u32),
    KEEP,
    DROP,
];

/// Untagged neighbour solicitations and advertisements for us, without extension headers.
pub(super) static NEIGHBOUR_DISCOVERY: [SockFilter; 13] = [
    SockFilter::new(LOAD_32, 0, 0, PACKET_TYPE),
    SockFilter::new(IF_ABOVE, 10, 0, FOR_US),
    SockFilter::new(LOAD_8, 0, 0, VLAN_TAG_PRESENT),
    SockFilter::new(IF_EQUAL, 0, 8, 0),
    SockFilter::new(LOAD_16, 0, 0, ETHERTYPE),
    SockFilter::new(IF_EQUAL, 0, 6, super::ETHERTYPE_IPV6 as u32),
    SockFilter::new(LOAD_8, 0, 0, IPV6_NEXT_HEADER),
    SockFilter::new(IF_EQUAL, 0, 4, 58),
    SockFilter::new(LOAD_8, 0, 0, ICMPV6_TYPE),
    SockFilter::new(IF_EQUAL, 1, 0, 135),
    SockFilter::new(IF_EQUAL, 0, 1, 136),
    KEEP,
    DROP,
];

/// TCP segments from or to a port (behind no IPv6 extension header), and address resolution; of
/// every host and direction.
pub(super) fn tcp_port_and_resolution(port: u16) -> [SockFilter; 23] {
    let port = u32::from(port);
    [
        SockFilter::new(LOAD_16, 0, 0, ETHERTYPE),
        SockFilter::new(IF_EQUAL, 19, 0, u32::from(super::ETHERTYPE_ARP)),
        SockFilter::new(IF_EQUAL, 0, 7, u32::from(super::ETHERTYPE_IPV4)),
        SockFilter::new(LOAD_8, 0, 0, IPV4_PROTOCOL),
        SockFilter::new(IF_EQUAL, 0, 17, TCP),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, IPV4),
        SockFilter::new(LOAD_16_BEHIND, 0, 0, IPV4),
        SockFilter::new(IF_EQUAL, 13, 0, port),
        SockFilter::new(LOAD_16_BEHIND, 0, 0, IPV4 + 2),
        SockFilter::new(IF_EQUAL, 11, 12, port),
        SockFilter::new(IF_EQUAL, 0, 11, u32::from(super::ETHERTYPE_IPV6)),
        SockFilter::new(LOAD_8, 0, 0, IPV6_NEXT_HEADER),
        SockFilter::new(IF_EQUAL, 0, 4, TCP),
        SockFilter::new(LOAD_16, 0, 0, TCP_IN_IPV6),
        SockFilter::new(IF_EQUAL, 6, 0, port),
        SockFilter::new(LOAD_16, 0, 0, TCP_IN_IPV6 + 2),
        SockFilter::new(IF_EQUAL, 4, 5, port),
        SockFilter::new(IF_EQUAL, 0, 4, 58),
        SockFilter::new(LOAD_8, 0, 0, ICMPV6_TYPE),
        SockFilter::new(IF_EQUAL, 1, 0, 135),
        SockFilter::new(IF_EQUAL, 0, 1, 136),
        KEEP,
        DROP,
    ]
}
