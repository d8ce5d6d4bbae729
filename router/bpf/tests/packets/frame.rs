//! Frames, built from their fields. Nothing here knows of the program under test.

use std::net::{IpAddr, SocketAddr};

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// TCP flags.
pub(crate) const FIN: u8 = 0x01;
/// TCP flag.
pub(crate) const SYN: u8 = 0x02;
/// TCP flag.
pub(crate) const RST: u8 = 0x04;
/// TCP flag.
pub(crate) const ACK: u8 = 0x10;

/// Protocol numbers.
pub(crate) const ICMP: u8 = 1;
/// Protocol number.
pub(crate) const TCP: u8 = 6;
/// Protocol number.
pub(crate) const UDP: u8 = 17;
/// Protocol number.
pub(crate) const ICMP6: u8 = 58;
/// IPv6 extension headers.
pub(crate) const HOP_BY_HOP: u8 = 0;
/// IPv6 extension header.
pub(crate) const ROUTING: u8 = 43;
/// IPv6 extension header.
pub(crate) const FRAGMENT: u8 = 44;
/// IPv6 extension header.
pub(crate) const AUTHENTICATION: u8 = 51;
/// IPv6 extension header.
pub(crate) const DESTINATION_OPTIONS: u8 = 60;

/// The Internet checksum (RFC 1071) over all parts as one string of bytes.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// The pseudo-header (RFC 793 §3.1, RFC 8200 §8.1).
pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = [octets(source), octets(destination)].concat();
    let length = u32::try_from(length).expect("a packet's length");
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("fits 16 bits").to_be_bytes()
}

/// The IP header's fields.
#[derive(Clone, Debug)]
pub(crate) struct Ip {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    pub(crate) class: u8,
    /// IPv4 identification, or that of the fragment header.
    pub(crate) id: u32,
    pub(crate) dont_fragment: bool,
    /// (offset in bytes, more follow).
    pub(crate) fragment: Option<(u16, bool)>,
    /// IPv4 options, a multiple of 4 bytes.
    pub(crate) options: Vec<u8>,
    /// IPv6 extension headers: (kind, bytes beyond the first eight, a multiple of 8).
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
}

impl Ip {
    /// A header with a hop limit of 64, DF set, and nothing unusual.
    pub(crate) fn new(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            destination,
            hop_limit: 64,
            class: 0,
            id: 0x1234,
            dont_fragment: true,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// Header and payload.
    pub(crate) fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        if self.source.is_ipv4() { self.v4(protocol, payload) } else { self.v6(protocol, payload) }
    }

    fn v4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let words = 5 + u8::try_from(self.options.len() / 4).expect("options fit");
        let mut header = vec![0x40 | words, self.class];
        header.extend(short(usize::from(words) * 4 + payload.len()));
        header.extend(&self.id.to_be_bytes()[2..]);
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let df = u16::from(self.dont_fragment && self.fragment.is_none()) << 14;
        header.extend((df | (u16::from(more) << 13) | (offset / 8)).to_be_bytes());
        header.extend([self.hop_limit, protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        let sum = checksum(&[&header]).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        [header, payload.to_vec()].concat()
    }

    fn v6(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let (first, chain) = self.chain(protocol);
        let mut bytes = vec![0x60 | self.class >> 4, self.class << 4, 0, 0];
        bytes.extend(short(chain.len() + payload.len()));
        bytes.extend([first, self.hop_limit]);
        bytes.extend(octets(self.source));
        bytes.extend(octets(self.destination));
        bytes.extend(chain);
        bytes.extend(payload);
        bytes
    }

    /// The first next-header value and the bytes of all extension headers, the fragment header last.
    fn chain(&self, protocol: u8) -> (u8, Vec<u8>) {
        let mut next = protocol;
        let mut chain = Vec::new();
        if let Some((offset, more)) = self.fragment {
            let mut header = vec![next, 0];
            header.extend((offset | u16::from(more)).to_be_bytes());
            header.extend(self.id.to_be_bytes());
            (next, chain) = (FRAGMENT, header);
        }
        for (kind, beyond) in self.extensions.iter().rev() {
            chain = [extension(*kind, next, beyond), chain].concat();
            next = *kind;
        }
        (next, chain)
    }
}

fn extension(kind: u8, next: u8, beyond: &[u8]) -> Vec<u8> {
    let units = u8::try_from(beyond.len() / 8).expect("a short extension header");
    // RFC 4302 §2.2 counts AH in 4-byte words minus two.
    let length = if kind == AUTHENTICATION { units * 2 } else { units };
    let body: &[u8] = match kind {
        HOP_BY_HOP | DESTINATION_OPTIONS => &[1, 4, 0, 0, 0, 0],
        _ => &[0; 6],
    };
    [&[next, length], body, beyond].concat()
}

/// A TCP header's fields and what follows.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) window: u16,
    /// A multiple of 4 bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    /// A segment without payload: the first of a connection with that flag, on either side.
    pub(crate) fn flags(flags: u8) -> Self {
        Self {
            flags,
            sequence: if flags & SYN == 0 { 1_000 } else { 999 },
            acknowledgement: if flags & ACK == 0 { 0 } else { 1_000 },
            window: 64_240,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// A segment with `length` bytes of payload.
    pub(crate) fn data(length: usize) -> Self {
        Self { payload: bytes(length), ..Self::flags(ACK) }
    }

    /// The segment with its checksum.
    pub(crate) fn segment(&self, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let mut segment = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgement.to_be_bytes());
        let words = 5 + u8::try_from(self.options.len() / 4).expect("options fit");
        segment.extend([words << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(&self.options);
        segment.extend(&self.payload);
        seal(&mut segment, 16, &pseudo(source.ip(), destination.ip(), TCP, 0));
        segment
    }
}

/// A UDP datagram with its checksum.
pub(crate) fn datagram(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    bytes.extend(short(8 + payload.len()));
    bytes.extend([0; 2]);
    bytes.extend(payload);
    seal(&mut bytes, 6, &pseudo(source.ip(), destination.ip(), UDP, 0));
    if bytes[6..8] == [0, 0] {
        bytes[6..8].copy_from_slice(&[0xff, 0xff]);
    }
    bytes
}

/// An ICMP or ICMPv6 message with its checksum: `rest` are the four bytes after the checksum.
pub(crate) fn message(
    (source, destination): (IpAddr, IpAddr),
    (kind, code): (u8, u8),
    rest: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    bytes.extend(body);
    let covered = if source.is_ipv4() { Vec::new() } else { pseudo(source, destination, ICMP6, 0) };
    seal(&mut bytes, 2, &covered);
    bytes
}

/// Writes the checksum over a pseudo-header (whose length is still zero) and the bytes.
fn seal(bytes: &mut [u8], at: usize, pseudo: &[u8]) {
    let length = if pseudo.is_empty() { Vec::new() } else { bytes.len().to_be_bytes().to_vec() };
    let sum = checksum(&[pseudo, &length, bytes]).to_be_bytes();
    bytes[at..at + 2].copy_from_slice(&sum);
}

/// An Ethernet frame.
pub(crate) fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source[..], &ethertype.to_be_bytes(), payload].concat()
}

/// `length` bytes that differ from their neighbours, so that a misplaced one shows.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).expect("below 256")).collect()
}
