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
        let mut seen = Self::headers(&frame[14..]);
        seen.ether =
            (frame[..6].try_into().expect("6 bytes"), frame[6..12].try_into().expect("6 bytes"));
        let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
        let expected = if seen.source.is_ipv4() { 0x0800 } else { 0x86dd };
        assert_eq!(ethertype, expected, "ethertype does not fit the IP version");
        seen.verify();
        seen
    }

    fn headers(packet: &[u8]) -> Self {
        match packet[0] >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            version => panic!("IP version {version}"),
        }
    }

    fn v4(packet: &[u8]) -> Self {
        let header = usize::from(packet[0] & 15) * 4;
        assert!(header >= 20, "IPv4 header of {header} bytes");
        assert_eq!(frame::checksum(&[&packet[..header]]), 0, "IPv4 header checksum");
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let offset = u16::from_be_bytes([packet[6], packet[7]]);
        let fragment =
            (offset & 0x3fff != 0).then_some(((offset & 0x1fff) * 8, offset & 0x2000 != 0));
        Self {
            ether: Default::default(),
            source: Ipv4Addr::from(<[u8; 4]>::try_from(&packet[12..16]).expect("4 bytes")).into(),
            destination: Ipv4Addr::from(<[u8; 4]>::try_from(&packet[16..20]).expect("4 bytes"))
                .into(),
            hop_limit: packet[8],
            class: packet[1],
            id: u32::from(u16::from_be_bytes([packet[4], packet[5]])),
            dont_fragment: offset & 0x4000 != 0,
            fragment,
            between: packet[20..header].to_vec(),
            protocol: packet[9],
            payload: packet[header..total.min(packet.len())].to_vec(),
        }
    }

    fn v6(packet: &[u8]) -> Self {
        let end = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        let mut seen = Self {
            ether: Default::default(),
            source: Ipv6Addr::from(<[u8; 16]>::try_from(&packet[8..24]).expect("16 bytes")).into(),
            destination: Ipv6Addr::from(<[u8; 16]>::try_from(&packet[24..40]).expect("16 bytes"))
                .into(),
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
        while let frame::HOP_BY_HOP
        | frame::ROUTING
        | frame::DESTINATION_OPTIONS
        | frame::FRAGMENT = seen.protocol
        {
            let header = &packet[at..];
            let mut length = (usize::from(header[1]) + 1) * 8;
            if seen.protocol == frame::FRAGMENT {
                length = 8;
                let offset = u16::from_be_bytes([header[2], header[3]]);
                seen.fragment = Some((offset & !7, offset & 1 != 0));
                seen.id = u32::from_be_bytes(header[4..8].try_into().expect("4 bytes"));
            }
            seen.between.extend(&header[..length]);
            seen.protocol = header[0];
            at += length;
        }
        seen.payload = packet[at..end.min(packet.len())].to_vec();
        seen
    }

    /// Whether the packet holds the beginning of its payload.
    fn begins(&self) -> bool {
        self.fragment.is_none_or(|(offset, _)| offset == 0)
    }

    fn verify(&self) {
        if self.fragment.is_none() {
            assert!(self.sum_holds(), "checksum of protocol {} is wrong", self.protocol);
        }
        if self.fragment.is_none() && self.is_error() {
            self.verify_quote();
        }
    }

    /// Whether the transport's checksum holds over the payload.
    pub(crate) fn sum_holds(&self) -> bool {
        let payload = &self.payload;
        match self.protocol {
            frame::UDP if self.source.is_ipv4() && payload[6..8] == [0, 0] => true,
            frame::ICMP => frame::checksum(&[payload]) == 0,
            frame::UDP if payload[6..8] == [0, 0] => false,
            frame::TCP | frame::UDP | frame::ICMP6 => {
                let pseudo =
                    frame::pseudo(self.source, self.destination, self.protocol, payload.len());
                frame::checksum(&[&pseudo, payload]) == 0
            }
            _ => true,
        }
    }

    fn is_error(&self) -> bool {
        match self.protocol {
            frame::ICMP => matches!(self.payload[0], 3 | 4 | 5 | 11 | 12),
            frame::ICMP6 => self.payload[0] < 128,
            _ => false,
        }
    }

    /// The quoted packet's IP checksum always, its transport's where it is there whole.
    fn verify_quote(&self) {
        let body = &self.payload[8..];
        let whole = match body[0] >> 4 {
            4 => usize::from(u16::from_be_bytes([body[2], body[3]])) <= body.len(),
            _ => usize::from(u16::from_be_bytes([body[4], body[5]])) + 40 <= body.len(),
        };
        let inner = Self::headers(body);
        if whole && inner.fragment.is_none() && inner.protocol != frame::ICMP {
            assert!(inner.sum_holds(), "checksum of the quoted packet is wrong");
        }
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
        let inner = Self::headers(&self.payload[8..]);
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
