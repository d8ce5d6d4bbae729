//! The frames: without payload, with checksums that only the IP header has right.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};

use crate::traffic::rig::{Family, Rig};

/// Replaced by the generator in each frame.
const SOURCE_PORT: u16 = 1;
/// Not right, and not zero.
const CHECKSUM: [u8; 2] = [0x12, 0x34];
/// TCP option: two NOPs and a timestamp (RFC 7323), as nearly every segment has.
const TIMESTAMP: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A segment of an established connection.
    Ack,
    /// A datagram of a flow that was answered.
    Datagram,
    /// A new connection.
    Syn,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ack => "TCP, established,",
            Self::Datagram => "UDP, established,",
            Self::Syn => "TCP, new flow,",
        }
    }

    /// IANA protocol number.
    fn protocol(self) -> u8 {
        match self {
            Self::Ack | Self::Syn => 6,
            Self::Datagram => 17,
        }
    }
}

/// A frame from the client to the edge host.
#[derive(Clone, Debug)]
pub(super) struct Frame(Vec<u8>);

impl Frame {
    /// Everything that is measured.
    pub(super) const ALL: [(Kind, Family); 6] = [
        (Kind::Ack, Family::V4),
        (Kind::Datagram, Family::V4),
        (Kind::Ack, Family::V6),
        (Kind::Datagram, Family::V6),
        (Kind::Syn, Family::V4),
        (Kind::Syn, Family::V6),
    ];

    /// To where a rig serves; new flows of each round go to a port of their own.
    pub(super) fn to(rig: &Rig, kind: Kind, family: Family, round: u16) -> Result<Self> {
        let to = match kind {
            Kind::Ack => rig.web(family)?,
            Kind::Syn => rig.new_flows(family, round)?,
            Kind::Datagram => rig.udp(family)?,
        };
        let from = family.address_of(rig.client()?)?;
        let mut frame = rig.lab.edge()?.leg("eth0")?.mac.0.to_vec();
        frame.extend(rig.client()?.leg("eth0")?.mac.0);
        frame.extend(packet(kind, from, to)?);
        Ok(Self(frame))
    }

    pub(super) fn hex(&self) -> String {
        self.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

fn packet(kind: Kind, from: IpAddr, to: SocketAddr) -> Result<Vec<u8>> {
    let transport = transport(kind, to.port());
    let length = u8::try_from(transport.len())?;
    let mut packet = match (from, to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header =
                vec![0x45, 0, 0, 20 + length, 0, 1, 0x40, 0, 64, kind.protocol(), 0, 0];
            header.extend(from.octets());
            header.extend(to.octets());
            let checksum = checksum(&header).to_be_bytes();
            header.splice(10..12, checksum);
            [vec![8, 0], header].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, length, kind.protocol(), 64];
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => bail!("{from} and {to} are of two families"),
    };
    packet.extend(transport);
    Ok(packet)
}

fn transport(kind: Kind, port: u16) -> Vec<u8> {
    let mut header = [SOURCE_PORT.to_be_bytes(), port.to_be_bytes()].concat();
    let flags = match kind {
        Kind::Datagram => {
            header.extend([0, 8]);
            header.extend(CHECKSUM);
            return header;
        }
        Kind::Ack => 0x10,
        Kind::Syn => 0x02,
    };
    header.extend([0, 0, 0, 1, 0, 0, 0, u8::from(kind == Kind::Ack), 0x80, flags, 0xff, 0xff]);
    header.extend(CHECKSUM);
    header.extend([0, 0]);
    header.extend(TIMESTAMP);
    header
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ip_header_sums_up() -> Result<()> {
        let packet = packet(Kind::Ack, "192.0.2.3".parse()?, "192.0.2.10:80".parse()?)?;
        assert_eq!(packet.len(), 2 + 20 + 32);
        assert_eq!(checksum(&packet[2..22]), 0);
        Ok(())
    }

    #[test]
    fn two_families_are_no_packet() -> Result<()> {
        assert!(packet(Kind::Syn, "192.0.2.3".parse()?, "[2001:db8::1]:80".parse()?).is_err());
        Ok(())
    }
}
