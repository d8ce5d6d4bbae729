//! Bytes to messages, in the order in which RFC 4861 §7.1.1 and §7.1.2 list the checks.

use std::net::Ipv6Addr;

use etherparse::{EtherType, Icmpv6Slice, IpNumber, Ipv6Header, Ipv6HeaderSlice};

use super::{
    ADVERTISEMENT, Advertisement, Flags, HOP_LIMIT, NONCE, Ndp, NdpError, Nonce, SOLICITATION,
    SOURCE_LINK_LAYER, Solicitation, TARGET_LINK_LAYER, is_solicited_node,
};
use crate::{
    Mac,
    ethernet::{self, Header},
};

/// Octets of an ICMPv6 message up to the options.
const FIXED: usize = 24;
/// Octets of a frame up to the options.
const FRAME: usize = ethernet::HEADER + Ipv6Header::LEN + FIXED;

/// What both messages share, once validated.
struct Message<'a> {
    ethernet: Header,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    flags: Flags,
    target: Ipv6Addr,
    options: &'a [u8],
}

#[derive(Default)]
struct Options {
    source_link_layer: Option<Mac>,
    target_link_layer: Option<Mac>,
    nonce: Option<Nonce>,
}

/// Reads an untagged Ethernet frame.
pub(crate) fn parse(frame: &[u8]) -> Result<Ndp, NdpError> {
    let message = message(frame)?;
    let options = options(message.options)?;
    match message.kind {
        SOLICITATION => solicitation(&message, &options).map(Ndp::Solicitation),
        ADVERTISEMENT => advertisement(&message, &options).map(Ndp::Advertisement),
        other => Err(NdpError::Type(other)),
    }
}

/// The checks that §7.1.1 and §7.1.2 share.
fn message(frame: &[u8]) -> Result<Message<'_>, NdpError> {
    let truncated = NdpError::Truncated { have: frame.len(), need: FRAME };
    let (ethernet, packet) = Header::split(frame).ok_or(truncated)?;
    if ethernet.ether_type != EtherType::IPV6 {
        return Err(NdpError::EtherType(ethernet.ether_type.0));
    }
    let (ip, icmp) = icmp(packet, truncated)?;
    if ip.hop_limit() != HOP_LIMIT {
        return Err(NdpError::HopLimit(ip.hop_limit()));
    }
    if !icmp.is_checksum_valid(ip.source(), ip.destination()) {
        return Err(NdpError::Checksum);
    }
    if icmp.code_u8() != 0 {
        return Err(NdpError::Code(icmp.code_u8()));
    }
    let length = icmp.slice().len();
    let (target, options) = icmp.payload().split_first_chunk().ok_or(NdpError::Length(length))?;
    let target = Ipv6Addr::from_octets(*target);
    if target.is_multicast() {
        return Err(NdpError::Target(target));
    }
    if ip.source_addr().is_multicast() {
        return Err(NdpError::Source(ip.source_addr()));
    }
    Ok(Message {
        ethernet,
        source: ip.source_addr(),
        destination: ip.destination_addr(),
        kind: icmp.type_u8(),
        flags: flags(icmp.bytes5to8()),
        target,
        options,
    })
}

/// The IPv6 header and the ICMPv6 message behind it, cut to the header's payload length.
fn icmp(
    packet: &[u8],
    truncated: NdpError,
) -> Result<(Ipv6HeaderSlice<'_>, Icmpv6Slice<'_>), NdpError> {
    let ip = Ipv6HeaderSlice::from_slice(packet).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => truncated,
        etherparse::err::ipv6::HeaderSliceError::Content(
            etherparse::err::ipv6::HeaderError::UnexpectedVersion { version_number },
        ) => NdpError::Version(version_number),
    })?;
    if ip.next_header() != IpNumber::IPV6_ICMP {
        return Err(NdpError::NextHeader(ip.next_header().0));
    }
    let length = usize::from(ip.payload_length());
    let payload =
        packet.get(Ipv6Header::LEN..).and_then(|rest| rest.get(..length)).ok_or(truncated)?;
    let icmp = Icmpv6Slice::from_slice(payload).map_err(|_| NdpError::Length(length))?;
    match icmp.type_u8() {
        SOLICITATION | ADVERTISEMENT => Ok((ip, icmp)),
        other => Err(NdpError::Type(other)),
    }
}

fn flags([first, ..]: [u8; 4]) -> Flags {
    Flags { router: first & 0x80 != 0, solicited: first & 0x40 != 0, overriding: first & 0x20 != 0 }
}

fn options(mut rest: &[u8]) -> Result<Options, NdpError> {
    let mut found = Options::default();
    while let Some((kind, after)) = rest.split_first() {
        let units = after.first().copied().unwrap_or(0);
        let overrun = NdpError::OptionLength { kind: *kind, units, rest: rest.len() };
        // RFC 4861 §7.1: all options have a length greater than zero.
        if units == 0 {
            return Err(overrun);
        }
        let length = usize::from(units).saturating_mul(8);
        let (option, next) = rest.split_at_checked(length).ok_or(overrun)?;
        found.take(*kind, units, option)?;
        rest = next;
    }
    Ok(found)
}

impl Options {
    /// Keeps the first option of each kind.
    fn take(&mut self, kind: u8, units: u8, option: &[u8]) -> Result<(), NdpError> {
        let value = option.get(2..).and_then(|value| <[u8; 6]>::try_from(value).ok());
        match kind {
            SOURCE_LINK_LAYER | TARGET_LINK_LAYER => {
                let mac = value.ok_or(NdpError::LinkLayerLength { kind, units })?.into();
                let slot = if kind == SOURCE_LINK_LAYER {
                    &mut self.source_link_layer
                } else {
                    &mut self.target_link_layer
                };
                slot.get_or_insert(mac);
            }
            NONCE => self.nonce = self.nonce.or(value.map(Nonce)),
            _ => {}
        }
        Ok(())
    }
}

/// RFC 4861 §7.1.1, the last rule.
fn solicitation(message: &Message<'_>, options: &Options) -> Result<Solicitation, NdpError> {
    if message.source.is_unspecified() {
        if !is_solicited_node(message.destination) {
            return Err(NdpError::ProbeDestination(message.destination));
        }
        if options.source_link_layer.is_some() {
            return Err(NdpError::ProbeLinkLayer);
        }
    }
    Ok(Solicitation {
        ethernet_destination: message.ethernet.destination,
        ethernet_source: message.ethernet.source,
        source: message.source,
        destination: message.destination,
        target: message.target,
        source_link_layer: options.source_link_layer,
        nonce: options.nonce,
    })
}

/// RFC 4861 §7.1.2, the last rule.
fn advertisement(message: &Message<'_>, options: &Options) -> Result<Advertisement, NdpError> {
    if message.destination.is_multicast() && message.flags.solicited {
        return Err(NdpError::SolicitedToGroup(message.destination));
    }
    Ok(Advertisement {
        ethernet_destination: message.ethernet.destination,
        ethernet_source: message.ethernet.source,
        source: message.source,
        destination: message.destination,
        target: message.target,
        flags: message.flags,
        target_link_layer: options.target_link_layer,
    })
}
