//! One frame as it comes from a packet socket.

use etherparse::EtherType;

use crate::{
    Advertisement, Arp, Mac, Solicitation,
    arp::ArpError,
    ethernet::Header,
    ndp::{self, NdpError},
};

/// A frame that concerns address resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// EtherType 0x0806.
    Arp(Arp),
    /// ICMPv6 type 135.
    Solicitation(Solicitation),
    /// ICMPv6 type 136.
    Advertisement(Advertisement),
}

/// Why a frame is not a [`Frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It ends before the Ethernet header does.
    #[error("the frame has {0} octets, an ethernet header needs 14")]
    Truncated(usize),
    /// It carries an 802.1Q or 802.1ad tag.
    #[error("the frame is tagged (ethertype {0:#06x}): it belongs to another network")]
    Tagged(u16),
    /// Neither ARP nor IPv6.
    #[error("ethertype {0:#06x} is neither arp (0x0806) nor ipv6 (0x86dd)")]
    OtherEtherType(u16),
    /// ARP that breaks its rules.
    #[error(transparent)]
    Arp(#[from] ArpError),
    /// IPv6 that is no neighbour discovery, or breaks its rules.
    #[error(transparent)]
    Ndp(#[from] NdpError),
}

impl Frame {
    /// Reads an Ethernet frame (without preamble and frame check sequence; padding is allowed).
    ///
    /// # Errors
    /// When the frame is anything but a well-formed, untagged ARP packet, neighbour solicitation
    /// or neighbour advertisement.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let (header, _) = Header::split(frame).ok_or(FrameError::Truncated(frame.len()))?;
        match header.ether_type {
            EtherType::ARP => Ok(Self::Arp(Arp::parse(frame)?)),
            EtherType::IPV6 => Ok(ndp::parse(frame)?.into()),
            EtherType::VLAN_TAGGED_FRAME
            | EtherType::PROVIDER_BRIDGING
            | EtherType::VLAN_DOUBLE_TAGGED_FRAME => Err(FrameError::Tagged(header.ether_type.0)),
            other => Err(FrameError::OtherEtherType(other.0)),
        }
    }

    /// Source of the Ethernet header.
    pub fn ethernet_source(&self) -> Mac {
        match self {
            Self::Arp(arp) => arp.ethernet_source,
            Self::Solicitation(solicitation) => solicitation.ethernet_source,
            Self::Advertisement(advertisement) => advertisement.ethernet_source,
        }
    }

    /// Destination of the Ethernet header.
    pub fn ethernet_destination(&self) -> Mac {
        match self {
            Self::Arp(arp) => arp.ethernet_destination,
            Self::Solicitation(solicitation) => solicitation.ethernet_destination,
            Self::Advertisement(advertisement) => advertisement.ethernet_destination,
        }
    }

    /// The octets on the wire, unpadded.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::Arp(arp) => arp.emit().to_vec(),
            Self::Solicitation(solicitation) => solicitation.emit(),
            Self::Advertisement(advertisement) => advertisement.emit(),
        }
    }
}

impl From<ndp::Ndp> for Frame {
    fn from(ndp: ndp::Ndp) -> Self {
        match ndp {
            ndp::Ndp::Solicitation(solicitation) => Self::Solicitation(solicitation),
            ndp::Ndp::Advertisement(advertisement) => Self::Advertisement(advertisement),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tagged_and_foreign_frames_are_refused_by_name() {
        let mut frame = [0_u8; 60];
        for (ether_type, error) in [
            (0x8100_u16, FrameError::Tagged(0x8100)),
            (0x88a8, FrameError::Tagged(0x88a8)),
            (0x9100, FrameError::Tagged(0x9100)),
            (0x0800, FrameError::OtherEtherType(0x0800)),
        ] {
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            assert_eq!(Frame::parse(&frame), Err(error));
        }
    }

    #[test]
    fn a_frame_shorter_than_its_header_is_truncated() {
        for length in 0..14 {
            assert_eq!(Frame::parse(&[0; 14][..length]), Err(FrameError::Truncated(length)));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..160),
            ether_type in prop_oneof![Just(0x0806_u16), Just(0x86dd), any::<u16>()],
        ) {
            if let Some(field) = bytes.get_mut(12..14) {
                field.copy_from_slice(&ether_type.to_be_bytes());
            }
            if let Ok(frame) = Frame::parse(&bytes) {
                prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
            }
        }
    }
}
