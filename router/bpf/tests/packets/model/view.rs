//! A packet's headers, read by the model.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Decision;
use crate::{frame, world::FAMILIES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    None,
    First,
    Later,
}

/// A packet that can be followed.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The whole frame without its Ethernet header.
    pub(crate) bytes: Vec<u8>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) fragment: Fragment,
    pub(crate) id: u32,
    /// Of the packet, by its own word.
    pub(crate) length: usize,
    /// Where the transport header begins.
    pub(crate) l4: usize,
    pub(crate) ports: (u16, u16),
    pub(crate) flags: u8,
}

/// A packet that cannot be followed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unread {
    Foreign,
    Malformed(Option<IpAddr>),
    Extensions(IpAddr),
}

impl Unread {
    /// Dropped by name where only we have the address.
    pub(crate) fn decision(self) -> Decision {
        let is_vip = |to: IpAddr| FAMILIES.iter().any(|family| family.vip == to);
        match self {
            Self::Malformed(Some(to)) if is_vip(to) => Decision::Drop("malformed"),
            Self::Extensions(to) if is_vip(to) => Decision::Drop("extension-headers"),
            _ => Decision::Pass,
        }
    }
}

/// A 16-bit number in network order.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn address_v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?).into())
}

fn address_v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?).into())
}

/// Reads a frame.
pub(crate) fn view(frame: &[u8]) -> Result<View, Unread> {
    let packet = frame.get(14..).ok_or(Unread::Foreign)?;
    let mut view = match number(frame, 12) {
        Some(0x0800) => v4(packet)?,
        Some(0x86dd) => v6(packet)?,
        _ => return Err(Unread::Foreign),
    };
    view.bytes = packet.to_vec();
    view.read_ports().ok_or(Unread::Malformed(Some(view.destination)))?;
    Ok(view)
}

fn v4(packet: &[u8]) -> Result<View, Unread> {
    let header = packet.first_chunk::<20>().ok_or(Unread::Malformed(None))?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let l4 = usize::from(header[0] & 15) * 4;
    let destination = address_v4(header, 16).expect("20 bytes");
    if header[0] >> 4 != 4 {
        return Err(Unread::Malformed(None));
    }
    if l4 < 20 || length < l4 {
        return Err(Unread::Malformed(Some(destination)));
    }
    let offset = u16::from_be_bytes([header[6], header[7]]);
    Ok(View {
        bytes: Vec::new(),
        source: address_v4(header, 12).expect("20 bytes"),
        destination,
        protocol: header[9],
        hop_limit: header[8],
        fragment: match (offset & 0x1fff, offset & 0x2000) {
            (0, 0) => Fragment::None,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        },
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
        length,
        l4,
        ports: (0, 0),
        flags: 0,
    })
}

fn v6(packet: &[u8]) -> Result<View, Unread> {
    let header = packet.first_chunk::<40>().ok_or(Unread::Malformed(None))?;
    if header[0] >> 4 != 6 {
        return Err(Unread::Malformed(None));
    }
    let mut view = View {
        bytes: Vec::new(),
        source: address_v6(header, 8).expect("40 bytes"),
        destination: address_v6(header, 24).expect("40 bytes"),
        protocol: header[6],
        hop_limit: header[7],
        fragment: Fragment::None,
        id: 0,
        length: usize::from(u16::from_be_bytes([header[4], header[5]])) + 40,
        l4: 40,
        ports: (0, 0),
        flags: 0,
    };
    let mapped = |address| matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if mapped(view.source) || mapped(view.destination) {
        return Err(Unread::Malformed(Some(view.destination)));
    }
    follow(&mut view, packet)?;
    Ok(view)
}

/// Whether an IPv6 header leads to another.
pub(crate) fn leads_on(protocol: u8) -> bool {
    matches!(
        protocol,
        frame::HOP_BY_HOP | frame::ROUTING | frame::FRAGMENT | frame::DESTINATION_OPTIONS
    )
}

/// Steps over at most six extension headers, which must end within the frame's first 512 bytes.
fn follow(view: &mut View, packet: &[u8]) -> Result<(), Unread> {
    for _ in 0..=6 {
        if view.l4 + 14 > 511 {
            return Err(Unread::Extensions(view.destination));
        }
        if !leads_on(view.protocol) || view.fragment == Fragment::Later {
            return Ok(());
        }
        let header = packet.get(view.l4..).and_then(|rest| rest.first_chunk::<8>());
        let header = header.ok_or(Unread::Malformed(Some(view.destination)))?;
        if view.protocol == frame::FRAGMENT {
            view.id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let offset = u16::from_be_bytes([header[2], header[3]]);
            if offset >> 3 != 0 {
                view.fragment = Fragment::Later;
            } else if offset & 1 != 0 {
                view.fragment = Fragment::First;
            }
            view.l4 += 8;
        } else {
            view.l4 += (usize::from(header[1]) + 1) * 8;
        }
        view.protocol = header[0];
    }
    Err(Unread::Extensions(view.destination))
}

impl View {
    fn read_ports(&mut self) -> Option<()> {
        let needed = match self.protocol {
            _ if self.fragment == Fragment::Later => return Some(()),
            frame::TCP => 20,
            frame::UDP => 8,
            _ => return Some(()),
        };
        let header = self.bytes.get(self.l4..self.l4 + needed)?;
        let is_tcp = self.protocol == frame::TCP;
        let told = if is_tcp { usize::from(header[12] >> 4) * 4 } else { needed };
        if told < needed || self.l4 + told > self.length {
            return None;
        }
        self.ports = (number(header, 0)?, number(header, 2)?);
        self.flags = if is_tcp { header[13] } else { 0 };
        Some(())
    }

    pub(crate) fn has_ports(&self) -> bool {
        matches!(self.protocol, frame::TCP | frame::UDP)
    }

    pub(crate) fn is_icmp(&self) -> bool {
        self.protocol == if self.source.is_ipv4() { frame::ICMP } else { frame::ICMP6 }
    }

    /// The packet without what pads the frame; `None` where it is cut short.
    pub(crate) fn packet(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }

    /// The type of an ICMP message that is there whole.
    pub(crate) fn icmp_type(&self) -> Option<u8> {
        self.packet()?.get(self.l4..)?.first_chunk::<8>().map(|head| head[0])
    }

    pub(crate) fn is_echo(&self, kind: u8) -> bool {
        kind == if self.source.is_ipv4() { 8 } else { 128 }
    }

    pub(crate) fn is_error(&self, kind: u8) -> bool {
        if self.source.is_ipv4() { matches!(kind, 3 | 11 | 12) } else { (1..=4).contains(&kind) }
    }

    /// The packet that an error quotes: sent by the error's receiver, TCP or UDP, no later fragment.
    pub(crate) fn quoted(&self) -> Option<View> {
        let bytes = self.packet()?.get(self.l4 + 8..)?;
        let mut quoted = if self.source.is_ipv4() { quoted_v4(bytes)? } else { quoted_v6(bytes)? };
        let ports = bytes.get(quoted.l4..)?.first_chunk::<4>()?;
        quoted.ports = (number(ports, 0)?, number(ports, 2)?);
        quoted.bytes = bytes.to_vec();
        (quoted.has_ports() && quoted.source == self.destination).then_some(quoted)
    }
}

fn quoted_v4(bytes: &[u8]) -> Option<View> {
    let header = bytes.first_chunk::<20>()?;
    let l4 = usize::from(header[0] & 15) * 4;
    let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if header[0] >> 4 != 4 || l4 < 20 || later {
        return None;
    }
    // The quoted length may be beyond the quotation, and need not be sensible.
    let mut sensible = *header;
    sensible[2..4].copy_from_slice(&[0xff, 0xff]);
    v4(&sensible).ok()
}

fn quoted_v6(bytes: &[u8]) -> Option<View> {
    let header = bytes.first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let mut view = View {
        bytes: Vec::new(),
        source: address_v6(header, 8)?,
        destination: address_v6(header, 24)?,
        protocol: header[6],
        hop_limit: header[7],
        fragment: Fragment::None,
        id: 0,
        length: 0,
        l4: 40,
        ports: (0, 0),
        flags: 0,
    };
    for _ in 0..6 {
        if !leads_on(view.protocol) {
            break;
        }
        let extension = bytes.get(view.l4..)?.first_chunk::<8>()?;
        if view.protocol == frame::FRAGMENT {
            if u16::from_be_bytes([extension[2], extension[3]]) >> 3 != 0 {
                return None;
            }
            view.l4 += 8;
        } else {
            view.l4 += (usize::from(extension[1]) + 1) * 8;
        }
        view.protocol = extension[0];
    }
    (!leads_on(view.protocol)).then_some(view)
}
