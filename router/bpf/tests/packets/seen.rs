//! Frames, taken apart, with every checksum in them verified.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::frame::{self, Mac};

/// An IP packet in an Ethernet frame, all of whose checksums hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ether: (Mac, Mac),
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    pub(crate) class: u8,
    pub(crate) id: u32,
    pub(crate) dont_fragment: bool,
    /// (offset in bytes, more follow) where the packet is a fragment.
    pub(crate) fragment: Option<(u16, bool)>,
    /// IPv4 options or IPv6 extension headers.
    pub(crate) between: Vec<u8>,
    pub(crate) protocol: u8,
    /// Everything after the IP headers.
    pub(crate) payload: Vec<u8>,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: [u8; 4],
    pub(crate) body: Vec<u8>,
}

/// The packet quoted in an ICMP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    /// What follows the ports.
    pub(crate) beyond: Vec<u8>,
}

impl Seen {
    /// Takes a frame apart.
    ///
    /// # Panics
    /// When it is no IP packet, is cut short, or has a wrong checksum.
    pub(crate) fn parse(frame: &[u8]) -> Self {
        Self::read(frame).unwrap_or_else(|why| panic!("{why}: {frame:02x?}"))
    }

    /// The same for frames that may be anything.
    pub(crate) fn read(frame: &[u8]) -> Result<Self, &'static str> {
        let (ether, packet) = frame.split_at_checked(14).ok_or("no Ethernet header")?;
        let mut seen = Self::headers(packet)?;
        let (to, from) = ether[..12].split_at(6);
        seen.ether = (to.try_into().expect("6 bytes"), from.try_into().expect("6 bytes"));
        let expected: &[u8] = if seen.source.is_ipv4() { &[8, 0] } else { &[0x86, 0xdd] };
        if &ether[12..] != expected {
            return Err("the ethertype does not fit the IP version");
        }
        seen.verify()?;
        Ok(seen)
    }

    fn headers(packet: &[u8]) -> Result<Self, &'static str> {
        match packet.first().ok_or("no packet")? >> 4 {
            4 => Self::v4(packet).ok_or("the IPv4 header is cut short, or its checksum wrong"),
            6 => Self::v6(packet).ok_or("the IPv6 headers are cut short"),
            _ => Err("neither IPv4 nor IPv6"),
        }
    }

    fn v4(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..usize::from(packet[0] & 15) * 4)?;
        if header.len() < 20 || frame::checksum(&[header]) != 0 {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let offset = u16::from_be_bytes([header[6], header[7]]);
        let is_fragment = offset & 0x3fff != 0;
        let address = |at: usize| Some(Ipv4Addr::from(array::<4>(header, at)?).into());
        Some(Self {
            ether: Default::default(),
            source: address(12)?,
            destination: address(16)?,
            hop_limit: header[8],
            class: header[1],
            id: u32::from(u16::from_be_bytes([header[4], header[5]])),
            dont_fragment: offset & 0x4000 != 0,
            fragment: is_fragment.then_some(((offset & 0x1fff) << 3, offset & 0x2000 != 0)),
            between: header[20..].to_vec(),
            protocol: header[9],
            payload: packet.get(header.len()..total.min(packet.len()))?.to_vec(),
        })
    }

    fn v6(packet: &[u8]) -> Option<Self> {
        let address = |at: usize| Some(Ipv6Addr::from(array::<16>(packet, at)?).into());
        let end = 40 + usize::from(u16::from_be_bytes(array(packet, 4)?));
        let mut seen = Self {
            ether: Default::default(),
            source: address(8)?,
            destination: address(24)?,
            hop_limit: packet[7],
            class: (packet[0] & 15) << 4 | packet[1] >> 4,
            id: 0,
            dont_fragment: true,
            fragment: None,
            between: Vec::new(),
            protocol: packet[6],
            payload: Vec::new(),
        };
        let mut at = 40;
        while seen.begins() && seen.is_extension() {
            at += seen.extension(packet.get(at..)?)?;
        }
        seen.payload = packet.get(at..end.min(packet.len()))?.to_vec();
        Some(seen)
    }

    fn is_extension(&self) -> bool {
        matches!(
            self.protocol,
            frame::HOP_BY_HOP | frame::ROUTING | frame::DESTINATION_OPTIONS | frame::FRAGMENT
        )
    }

    /// Steps over an extension header; its length.
    fn extension(&mut self, header: &[u8]) -> Option<usize> {
        let mut length = (usize::from(*header.get(1)?) + 1) * 8;
        if self.protocol == frame::FRAGMENT {
            length = 8;
            let offset = u16::from_be_bytes(array(header, 2)?);
            self.fragment = Some((offset & !7, offset & 1 != 0));
            self.id = u32::from_be_bytes(array(header, 4)?);
        }
        self.between.extend(header.get(..length)?);
        self.protocol = header[0];
        Some(length)
    }

    /// Whether the packet holds the beginning of its payload.
    fn begins(&self) -> bool {
        self.fragment.is_none_or(|(offset, _)| offset == 0)
    }

    fn verify(&self) -> Result<(), &'static str> {
        if self.fragment.is_some() {
            return Ok(());
        }
        if !self.sum_holds() {
            return Err("the transport checksum is wrong");
        }
        if self.is_error() { self.verify_quote() } else { Ok(()) }
    }

    /// Whether the transport's checksum holds over the payload.
    pub(crate) fn sum_holds(&self) -> bool {
        let payload = &self.payload;
        let unsummed = self.protocol == frame::UDP && payload.get(6..8) == Some(&[0, 0]);
        match self.protocol {
            frame::UDP if unsummed => self.source.is_ipv4(),
            frame::ICMP => frame::checksum(&[payload]) == 0,
            frame::TCP | frame::UDP | frame::ICMP6 => {
                let pseudo =
                    frame::pseudo(self.source, self.destination, self.protocol, payload.len());
                frame::checksum(&[&pseudo, payload]) == 0
            }
            _ => true,
        }
    }

    fn is_error(&self) -> bool {
        match (self.protocol, self.payload.first()) {
            (frame::ICMP, Some(kind)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (frame::ICMP6, Some(kind)) => *kind < 128,
            _ => false,
        }
    }

    /// The quoted packet's IP checksum always, its transport's where it is there whole.
    fn verify_quote(&self) -> Result<(), &'static str> {
        let body = self.payload.get(8..).ok_or("an error without a quotation")?;
        let inner = Self::headers(body)?;
        let whole = match (inner.source, array(body, 2), array(body, 4)) {
            (IpAddr::V4(_), Some(total), _) => usize::from(u16::from_be_bytes(total)),
            (_, _, Some(payload)) => usize::from(u16::from_be_bytes(payload)) + 40,
            _ => usize::MAX,
        };
        let complete = whole <= body.len() && inner.fragment.is_none();
        if complete && inner.protocol != frame::ICMP && !inner.sum_holds() {
            return Err("the checksum of the quoted packet is wrong");
        }
        Ok(())
    }

    /// Source and destination with their ports.
    pub(crate) fn ends(&self) -> (SocketAddr, SocketAddr) {
        assert!(self.begins(), "a later fragment has no ports");
        let port = |at: usize| u16::from_be_bytes([self.payload[at], self.payload[at + 1]]);
        (SocketAddr::new(self.source, port(0)), SocketAddr::new(self.destination, port(2)))
    }

    /// TCP flags.
    pub(crate) fn flags(&self) -> u8 {
        assert_eq!(self.protocol, frame::TCP);
        self.payload[13]
    }

    /// TCP sequence and acknowledgement numbers.
    pub(crate) fn numbers(&self) -> (u32, u32) {
        assert_eq!(self.protocol, frame::TCP);
        let number =
            |at: usize| u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("4 bytes"));
        (number(4), number(8))
    }

    /// What the TCP segment or UDP datagram carries.
    pub(crate) fn data(&self) -> &[u8] {
        match self.protocol {
            frame::TCP => &self.payload[usize::from(self.payload[12] >> 4) * 4..],
            _ => &self.payload[8..],
        }
    }

    /// The ICMP message.
    pub(crate) fn message(&self) -> Message {
        assert!(matches!(self.protocol, frame::ICMP | frame::ICMP6), "not ICMP: {self:?}");
        Message {
            kind: self.payload[0],
            code: self.payload[1],
            rest: self.payload[4..8].try_into().expect("4 bytes"),
            body: self.payload[8..].to_vec(),
        }
    }

    /// The packet quoted in the ICMP error.
    pub(crate) fn quote(&self) -> Quote {
        assert!(self.is_error(), "not an ICMP error: {self:?}");
        let inner = Self::headers(&self.payload[8..]).expect("verified");
        let (source, destination) = inner.ends();
        Quote {
            source,
            destination,
            protocol: inner.protocol,
            hop_limit: inner.hop_limit,
            beyond: inner.payload[4..].to_vec(),
        }
    }
}

/// `N` bytes at an offset.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
