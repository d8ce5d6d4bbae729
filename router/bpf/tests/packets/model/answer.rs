//! What a host that has the address would answer.

use std::net::IpAddr;

use super::{
    Decision,
    view::{Fragment, View},
};
use crate::frame::{self, ACK, FIN, Ip, RST, SYN, Tcp};

/// A header back to the sender.
fn back(view: &View, class: u8) -> Ip {
    Ip { class, id: 0, ..Ip::new(view.destination, view.source) }
}

/// One station, and not ourselves.
pub(crate) fn can_be_answered(view: &View) -> bool {
    view.source != view.destination
        && match view.source {
            IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
            IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..4] != [0; 4],
        }
}

/// Refused for this reason: a reset, or port unreachable.
pub(crate) fn refused(view: &View, reason: &'static str) -> Decision {
    match view.protocol {
        frame::TCP => reset(view, reason),
        _ => {
            let kinds = if view.source.is_ipv4() { (3, 3) } else { (1, 4) };
            error(view, reason, kinds)
        }
    }
}

pub(crate) fn time_exceeded(view: &View) -> Decision {
    error(view, "ttl", if view.source.is_ipv4() { (11, 0) } else { (3, 0) })
}

/// RFC 9293 section 3.10.7.1.
fn reset(view: &View, reason: &'static str) -> Decision {
    let is_reset = view.flags & RST != 0;
    if is_reset || view.fragment != Fragment::None || !can_be_answered(view) {
        return Decision::Drop(reason);
    }
    let header = &view.bytes[view.l4..];
    let number = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().expect("20 bytes"));
    let begins = view.l4 + usize::from(header[12] >> 4) * 4;
    let data = u32::try_from(view.length.saturating_sub(begins)).expect("a packet's length");
    let controls = u32::from(view.flags & SYN != 0) + u32::from(view.flags & FIN != 0);
    let answer = if view.flags & ACK != 0 {
        Tcp { sequence: number(8), acknowledgement: 0, ..Tcp::flags(RST) }
    } else {
        let seen = number(4).wrapping_add(data).wrapping_add(controls);
        Tcp { sequence: 0, acknowledgement: seen, ..Tcp::flags(RST | ACK) }
    };
    let ends = ((view.destination, view.ports.1).into(), (view.source, view.ports.0).into());
    let segment = Tcp { window: 0, ..answer }.segment(ends.0, ends.1);
    Decision::Answer(Some(reason), back(view, 0).packet(frame::TCP, &segment))
}

/// RFC 792, RFC 1812 section 4.3.2, RFC 4443 section 2.4.
fn error(view: &View, reason: &'static str, kinds: (u8, u8)) -> Decision {
    if view.fragment == Fragment::Later || !can_be_answered(view) {
        return Decision::Drop(reason);
    }
    let v4 = view.source.is_ipv4();
    let most = if v4 { 576 - 28 } else { 1_280 - 48 };
    let quoted = view.length.min(most);
    let Some(quotation) = view.bytes.get(..quoted) else { return Decision::Drop(reason) };
    let ends = (view.destination, view.source);
    let message = frame::message(ends, kinds, [0; 4], quotation);
    let (class, protocol) = if v4 { (0xc0, frame::ICMP) } else { (0, frame::ICMP6) };
    Decision::Answer(Some(reason), back(view, class).packet(protocol, &message))
}

/// The same message with another type. What pads the frame stays.
pub(crate) fn echo(view: &View) -> Decision {
    if !can_be_answered(view) {
        return Decision::Drop("spoofed");
    }
    let mut message = view.bytes[view.l4..view.length].to_vec();
    let request = u16::from_be_bytes([message[0], message[1]]);
    message[0] = if view.source.is_ipv4() { 0 } else { 129 };
    let reply = u16::from_be_bytes([message[0], message[1]]);
    let checksum = u16::from_be_bytes([message[2], message[3]]);
    let mut sum = u64::from(!checksum) + u64::from(!request) + u64::from(reply);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).expect("folded");
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let padding = &view.bytes[view.length..];
    let packet = back(view, 0).packet(view.protocol, &message);
    Decision::Answer(None, [&packet, padding].concat())
}
