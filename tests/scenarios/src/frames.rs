//! Frames built by hand and sent as they are: what no socket of a well-behaved host would send.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind,
        send, socket,
    },
};
use roadstead_lab::{Host, host::Mac};

const UDP: u8 = 17;
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const MORE_FRAGMENTS: u16 = 0x2000;

/// Sends whole frames by one interface of a host.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens an interface; nothing is received.
    pub fn open(host: &Host, interface: &str) -> Result<Self> {
        Ok(Self { socket: open(host, interface, None)? })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(errno) => bail!("cannot send a frame of {} bytes: {errno}", frame.len()),
            }
        }
    }
}

/// A socket that sends and receives whole frames by one interface of a host.
pub(crate) fn packet_socket(host: &Host, interface: &str) -> Result<OwnedFd> {
    open(host, interface, Some(SockProtocol::EthAll))
}

fn open(host: &Host, interface: &str, protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    host.namespace().enter(|| {
        let all = getifaddrs().context("cannot list the interfaces")?;
        let mut own = all.filter(|entry| entry.interface_name == interface);
        let link: LinkAddr = own
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| anyhow!("there is no interface {interface}"))?;
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .context("cannot open a packet socket")?;
        debug_assert_eq!(link.family(), Some(AddressFamily::Packet));
        // The address names no protocol: the socket's own stays.
        bind(socket.as_raw_fd(), &link).context("cannot bind a packet socket")?;
        Ok(socket)
    })
}

/// An Ethernet header for the family of `payload`'s first nibble.
pub fn ethernet(to: Mac, from: Mac, payload: &[u8]) -> Vec<u8> {
    let v6 = payload.first().is_some_and(|byte| byte >> 4 == 6);
    let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&to.0, &from.0, kind.as_slice(), payload].concat()
}

/// The same frame in a VLAN (IEEE 802.1Q).
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0x00], &vlan.to_be_bytes(), rest].concat()
}

/// A UDP datagram with its checksum, as one packet.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    whole(from.ip(), to.ip(), UDP, &udp_segment(from, to, payload))
}

/// The first segment of a connection.
pub fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    whole(from.ip(), to.ip(), TCP, &syn_segment(from, to))
}

/// The same with a TCP header that ends after `bytes`, as the IP header says too.
pub fn cut_syn(from: SocketAddr, to: SocketAddr, bytes: usize) -> Vec<u8> {
    let segment = syn_segment(from, to);
    whole(from.ip(), to.ip(), TCP, segment.get(..bytes).unwrap_or(&segment))
}

fn syn_segment(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend([0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0x50, SYN, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = transport_sum(from.ip(), to.ip(), TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// A UDP datagram in fragments that carry at most `most` bytes each (a multiple of 8), in order.
pub fn udp_fragments(
    from: SocketAddr,
    to: SocketAddr,
    payload: &[u8],
    id: u16,
    most: usize,
) -> Result<Vec<Vec<u8>>> {
    let segment = udp_segment(from, to, payload);
    let count = segment.len().div_ceil(most);
    let fragment = |(index, part): (usize, &[u8])| {
        let offset = u16::try_from(index * most / 8)?;
        let more = index + 1 < count;
        Ok(match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let bits = offset | if more { MORE_FRAGMENTS } else { 0 };
                [v4_header(from, to, UDP, part.len(), id, bits), part.to_vec()].concat()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let bits = (offset << 3) | u16::from(more);
                let own =
                    [&[UDP, 0], &bits.to_be_bytes()[..], &u32::from(id).to_be_bytes()].concat();
                [v6_header(from, to, 44, own.len() + part.len()), own, part.to_vec()].concat()
            }
            (from, to) => bail!("{from} and {to} are of two families"),
        })
    };
    segment.chunks(most).enumerate().map(fragment).collect()
}

fn udp_segment(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64 + 8).to_be_bytes();
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let mut segment = [&ports, &length[6..], &[0, 0], payload].concat();
    let sum = transport_sum(from.ip(), to.ip(), UDP, &segment);
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    segment
}

pub(crate) fn whole(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let header = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => v4_header(from, to, protocol, segment.len(), 0, 0),
        (from, to) => v6_header(mapped(from), mapped(to), protocol, segment.len()),
    };
    [header, segment.to_vec()].concat()
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// RFC 791 section 3.1.
fn v4_header(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    payload: usize,
    id: u16,
    fragment: u16,
) -> Vec<u8> {
    let length = (payload as u64 + 20).to_be_bytes();
    let mut header =
        [&[0x45, 0], &length[6..], &id.to_be_bytes(), &fragment.to_be_bytes()].concat();
    header.extend([64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// RFC 8200 section 3.
fn v6_header(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: usize) -> Vec<u8> {
    let length = (payload as u64).to_be_bytes();
    [&[0x60, 0, 0, 0], &length[6..], &[next, 64], &from.octets()[..], &to.octets()].concat()
}

/// The checksum over the pseudo-header and the segment, whose own field is zero.
pub(crate) fn transport_sum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (from, to) => [mapped(from).octets(), mapped(to).octets()].concat(),
    };
    let length = (segment.len() as u64).to_be_bytes();
    let sum = checksum(&[&addresses, &length[4..], &[0, 0, 0, protocol], segment].concat());
    if sum == 0 { 0xffff } else { sum }
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u64::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_zero() {
        // The header of RFC 1071's customary example.
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8,
            0, 0xc7,
        ];
        assert_eq!(checksum(&header), 0);
    }

    #[test]
    fn fragments_hold_the_whole_datagram() -> Result<()> {
        for (from, to) in
            [("192.0.2.3:4000", "192.0.2.10:53"), ("[2001:db8::3]:4000", "[2001:db8::10]:53")]
        {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse()?, to.parse()?);
            let head = if to.is_ipv4() { 20 } else { 48 };
            let fragments = udp_fragments(from, to, &[7; 3000], 9, 1400)?;
            assert_eq!(fragments.len(), 3);
            let joined: Vec<u8> =
                fragments.iter().flat_map(|part| &part[head..]).copied().collect();
            assert_eq!(joined, udp_segment(from, to, &[7; 3000]));
        }
        Ok(())
    }
}
