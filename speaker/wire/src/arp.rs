//! ARP for IPv4 over Ethernet.
//!
//! Standards: RFC 826 (packet, reception), RFC 5227 (probe, announcement, conflict). Gaps: other
//! hardware and protocol types (RFC 826 leaves them open, no leg has them), RARP and InARP
//! operations are refused by name.

use std::net::Ipv4Addr;

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, EtherType, err::LenError};

use crate::{
    Mac,
    ethernet::{self, Header},
};

/// Length of an emitted frame in octets: header and packet, without padding.
pub const FRAME: usize = 42;

/// What an ARP packet wants (RFC 826, `ar$op`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 1: who has the target address?
    Request,
    /// 2: the sender has the sender address.
    Reply,
}

/// An ARP packet with the Ethernet header it came in.
///
/// ```text
///  0         6         12        14      16      18   19   20      22
/// +---------+---------+---------+-------+-------+----+----+-------+
/// | to      | from    | 0x0806  | htype | ptype |hlen|plen| oper  |
/// |         |         |         |   1   | 0x800 | 6  | 4  | 1, 2  |
/// +---------+---------+---------+-------+-------+----+----+-------+
///  22         28        32         38        42
/// +----------+---------+----------+---------+
/// |sender MAC|sender IP|target MAC|target IP|  padding to 60
/// +----------+---------+----------+---------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Destination of the Ethernet header.
    pub ethernet_destination: Mac,
    /// Source of the Ethernet header.
    pub ethernet_source: Mac,
    /// Request or reply.
    pub operation: Operation,
    /// `ar$sha`.
    pub sender_mac: Mac,
    /// `ar$spa`; 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub sender_ip: Ipv4Addr,
    /// `ar$tha`; ignored in a request.
    pub target_mac: Mac,
    /// `ar$tpa`.
    pub target_ip: Ipv4Addr,
}

/// Why a frame is not an [`Arp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArpError {
    /// The frame ends before the packet does.
    #[error("the frame has {have} octets, this arp packet needs {need}")]
    Truncated {
        /// Octets there.
        have: usize,
        /// Octets needed.
        need: usize,
    },
    /// The EtherType is not 0x0806.
    #[error("ethertype {0:#06x} is not arp (0x0806)")]
    EtherType(u16),
    /// `ar$hrd` or `ar$hln` is not Ethernet's.
    #[error("arp hardware type {kind} with length {length} is not ethernet (1, 6)")]
    Hardware {
        /// `ar$hrd`.
        kind: u16,
        /// `ar$hln`.
        length: u8,
    },
    /// `ar$pro` or `ar$pln` is not IPv4's.
    #[error("arp protocol type {kind:#06x} with length {length} is not ipv4 (0x0800, 4)")]
    Protocol {
        /// `ar$pro`.
        kind: u16,
        /// `ar$pln`.
        length: u8,
    },
    /// `ar$op` is neither request nor reply.
    #[error("arp operation {0} is neither request (1) nor reply (2)")]
    Operation(u16),
}

impl Arp {
    /// Reads an untagged Ethernet frame.
    ///
    /// # Errors
    /// When it is not ARP for IPv4 over Ethernet in one of the two operations.
    pub fn parse(frame: &[u8]) -> Result<Self, ArpError> {
        let truncated = ArpError::Truncated { have: frame.len(), need: FRAME };
        let (header, payload) = Header::split(frame).ok_or(truncated)?;
        if header.ether_type != EtherType::ARP {
            return Err(ArpError::EtherType(header.ether_type.0));
        }
        let slice =
            ArpPacketSlice::from_slice(payload).map_err(|error| ArpError::from_len(&error))?;
        let packet = ethernet_ipv4(slice)?;
        Ok(Self {
            ethernet_destination: header.destination,
            ethernet_source: header.source,
            operation: Operation::try_from(packet.operation)?,
            sender_mac: packet.sender_mac.into(),
            sender_ip: packet.sender_ipv4.into(),
            target_mac: packet.target_mac.into(),
            target_ip: packet.target_ipv4.into(),
        })
    }

    /// A probe for `address`: a broadcast request with an empty sender address, which teaches
    /// nobody anything (RFC 5227 §2.1.1).
    pub fn probe(from: Mac, address: Ipv4Addr) -> Self {
        Self {
            ethernet_destination: Mac::BROADCAST,
            ethernet_source: from,
            operation: Operation::Request,
            sender_mac: from,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac::ZERO,
            target_ip: address,
        }
    }

    /// An announcement of `address`: sender and target are the same (RFC 5227 §2.3 asks for the
    /// form of a request; some receivers take only the form of a reply, RFC 5227 §3).
    pub fn announcement(form: Operation, from: Mac, address: Ipv4Addr) -> Self {
        Self {
            ethernet_destination: Mac::BROADCAST,
            ethernet_source: from,
            operation: form,
            sender_mac: from,
            sender_ip: address,
            target_mac: match form {
                Operation::Request => Mac::ZERO,
                Operation::Reply => Mac::BROADCAST,
            },
            target_ip: address,
        }
    }

    /// The answer to this request, by the station `from`: to the one who asked, and to it alone.
    pub fn reply(&self, from: Mac) -> Self {
        Self {
            ethernet_destination: self.sender_mac,
            ethernet_source: from,
            operation: Operation::Reply,
            sender_mac: from,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Whether this is a probe in the sense of RFC 5227 §1.1.
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender_ip.is_unspecified()
    }

    /// The octets on the wire, unpadded.
    pub fn emit(&self) -> [u8; FRAME] {
        let header = Header {
            destination: self.ethernet_destination,
            source: self.ethernet_source,
            ether_type: EtherType::ARP,
        };
        let packet = ArpEthIpv4Packet {
            operation: self.operation.into(),
            sender_mac: self.sender_mac.octets(),
            sender_ipv4: self.sender_ip.octets(),
            target_mac: self.target_mac.octets(),
            target_ipv4: self.target_ip.octets(),
        };
        let mut frame = [0; FRAME];
        let (head, tail) = frame.split_at_mut(ethernet::HEADER);
        head.copy_from_slice(&header.to_bytes());
        tail.copy_from_slice(&packet.to_bytes());
        frame
    }
}

impl ArpError {
    fn from_len(error: &LenError) -> Self {
        Self::Truncated {
            have: error.len.saturating_add(ethernet::HEADER),
            need: error.required_len.saturating_add(ethernet::HEADER),
        }
    }
}

fn ethernet_ipv4(slice: ArpPacketSlice<'_>) -> Result<ArpEthIpv4Packet, ArpError> {
    let hardware =
        ArpError::Hardware { kind: slice.hw_addr_type().0, length: slice.hw_addr_size() };
    let protocol =
        ArpError::Protocol { kind: slice.proto_addr_type().0, length: slice.proto_addr_size() };
    match (hardware, protocol) {
        (
            ArpError::Hardware { kind: 1, length: 6 },
            ArpError::Protocol { kind: 0x0800, length: 4 },
        ) => slice.to_packet().try_eth_ipv4().map_err(|_| protocol),
        (ArpError::Hardware { kind: 1, length: 6 }, _) => Err(protocol),
        (_, _) => Err(hardware),
    }
}

impl TryFrom<ArpOperation> for Operation {
    type Error = ArpError;

    fn try_from(operation: ArpOperation) -> Result<Self, ArpError> {
        match operation {
            ArpOperation::REQUEST => Ok(Self::Request),
            ArpOperation::REPLY => Ok(Self::Reply),
            ArpOperation(other) => Err(ArpError::Operation(other)),
        }
    }
}

impl From<Operation> for ArpOperation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Request => Self::REQUEST,
            Operation::Reply => Self::REPLY,
        }
    }
}

#[cfg(test)]
mod tests;
