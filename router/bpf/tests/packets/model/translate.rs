//! New addresses and ports in a packet, and in the packet that an error quotes.

use std::net::IpAddr;

use super::view::{Fragment, View, number};
use crate::{frame, world};

/// Where a packet comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) source: (IpAddr, u16),
    pub(crate) destination: (IpAddr, u16),
}

/// RFC 1624: what a checksum becomes when bytes that it covers change.
#[derive(Clone, Copy, Debug, Default)]
struct Change(u64);

impl Change {
    fn of(mut self, old: &[u8], new: &[u8]) -> Self {
        for (old, new) in old.chunks_exact(2).zip(new.chunks_exact(2)) {
            self.0 += u64::from(!u16::from_be_bytes([old[0], old[1]]));
            self.0 += u64::from(u16::from_be_bytes([new[0], new[1]]));
        }
        self
    }

    fn apply(self, checksum: u16) -> u16 {
        let mut sum = u64::from(!checksum) + self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }
}

/// Offsets of the source address, its length twice over.
fn addresses(v4: bool) -> std::ops::Range<usize> {
    if v4 { 12..20 } else { 8..40 }
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Writes addresses and a hop limit one less, and mends the IPv4 checksum.
fn header(bytes: &mut [u8], ends: (IpAddr, IpAddr), hop: bool) -> Change {
    let v4 = ends.0.is_ipv4();
    let new = [frame::octets(ends.0), frame::octets(ends.1)].concat();
    let old = bytes[addresses(v4)].to_vec();
    let change = Change::default().of(&old, &new);
    bytes[addresses(v4)].copy_from_slice(&new);
    let limit = if v4 { 8 } else { 7 };
    let before = bytes[8..10].to_vec();
    bytes[limit] -= u8::from(hop);
    if v4 {
        let after = bytes[8..10].to_vec();
        let checksum = number(bytes, 10).expect("a header");
        put(bytes, 10, change.of(&before, &after).apply(checksum));
    }
    change
}

/// Writes ports, and the transport's checksum where the packet has it.
fn transport(bytes: &mut [u8], l4: usize, protocol: u8, ports: [u16; 2], change: Change) {
    let new = ports.map(u16::to_be_bytes).concat();
    let change = change.of(&bytes[l4..l4 + 4], &new);
    bytes[l4..l4 + 4].copy_from_slice(&new);
    let at = l4 + if protocol == frame::TCP { 16 } else { 6 };
    let Some(checksum) = number(bytes, at) else { return };
    if protocol == frame::UDP && checksum == 0 {
        return;
    }
    let checksum = change.apply(checksum);
    let none = protocol == frame::UDP && checksum == 0;
    put(bytes, at, if none { 0xffff } else { checksum });
}

/// Mixes who sent a fragment into its IPv4 identification.
fn identification(bytes: &mut [u8], sender: IpAddr) {
    let mixed = u16::try_from(world::hash_of(sender) >> 48).expect("16 bits").to_ne_bytes();
    let before = [bytes[4], bytes[5]];
    let after = [before[0] ^ mixed[0], before[1] ^ mixed[1]];
    bytes[4..6].copy_from_slice(&after);
    let checksum = number(bytes, 10).expect("a header");
    put(bytes, 10, Change::default().of(&before, &after).apply(checksum));
}

/// The packet with new ends, a hop further.
pub(crate) fn translated(view: &View, to: &Ends) -> Vec<u8> {
    let mut bytes = view.bytes.clone();
    let change = header(&mut bytes, (to.source.0, to.destination.0), true);
    if view.source.is_ipv4() && view.fragment != Fragment::None {
        identification(&mut bytes, view.source);
    }
    if view.fragment != Fragment::Later {
        let ports = [to.source.1, to.destination.1];
        transport(&mut bytes, view.l4, view.protocol, ports, change);
    }
    bytes
}

/// A packet too big with an MTU that the node may be told; any other error as it is. `None`: no link
/// has an MTU as small as that.
pub(crate) fn path_mtu_bounded(view: &View, protocol: u8) -> Option<View> {
    let (kind, code) = (view.bytes[view.l4], view.bytes[view.l4 + 1]);
    let told = number(&view.bytes, view.l4 + 6).expect("an ICMP header");
    let high = number(&view.bytes, view.l4 + 4).expect("an ICMP header");
    let least = match (view.source.is_ipv4(), kind, code) {
        (true, 3, 4) if told < 68 => return None,
        (true, 3, 4) if protocol == frame::TCP => 576,
        (true, 3, 4) => 1_280,
        (false, 2, _) if high == 0 && told < 1_280 => return None,
        _ => 0,
    };
    let mut view = view.clone();
    if told < least {
        put(&mut view.bytes, view.l4 + 6, least);
        let change = Change::default().of(&told.to_be_bytes(), &least.to_be_bytes());
        let checksum = number(&view.bytes, view.l4 + 2).expect("an ICMP header");
        put(&mut view.bytes, view.l4 + 2, change.apply(checksum));
    }
    Some(view)
}

/// An error with new ends, and the packet that it quotes with new ends.
pub(crate) fn error(view: &View, quoted: &View, inner: &Ends, outer: (IpAddr, IpAddr)) -> Vec<u8> {
    let mut bytes = view.bytes.clone();
    let quotation = view.l4 + 8..view.length;
    let before = bytes[quotation.clone()].to_vec();
    let after = &mut bytes[quotation];
    let change = header(after, (inner.source.0, inner.destination.0), false);
    let ports = [inner.source.1, inner.destination.1];
    transport(after, quoted.l4, quoted.protocol, ports, change);
    let even = before.len() & !1;
    let mut gain = Change::default().of(&before[..even], &after[..even]);
    let of_header = header(&mut bytes, outer, true);
    if view.source.is_ipv6() {
        gain.0 += of_header.0;
    }
    let checksum = number(&bytes, view.l4 + 2).expect("an ICMP header");
    put(&mut bytes, view.l4 + 2, gain.apply(checksum));
    bytes
}
