//! Messages to bytes.

use super::{
    ADVERTISEMENT, Advertisement, Flags, HOP_LIMIT, NONCE, SOLICITATION, SOURCE_LINK_LAYER,
    Solicitation, TARGET_LINK_LAYER,
};
use crate::icmpv6::{Envelope, Message};

pub(super) fn solicitation(message: &Solicitation) -> Vec<u8> {
    let mut body = message.target.octets().to_vec();
    if let Some(mac) = message.source_link_layer {
        body.extend(option(SOURCE_LINK_LAYER, mac.octets()));
    }
    if let Some(nonce) = message.nonce {
        body.extend(option(NONCE, nonce.0));
    }
    let envelope = Envelope {
        ethernet_destination: message.ethernet_destination,
        ethernet_source: message.ethernet_source,
        source: message.source,
        destination: message.destination,
        hop_limit: HOP_LIMIT,
        extension: None,
    };
    envelope.seal(&Message { kind: SOLICITATION, octets_4_to_8: [0; 4], body: &body })
}

pub(super) fn advertisement(message: &Advertisement) -> Vec<u8> {
    let mut body = message.target.octets().to_vec();
    if let Some(mac) = message.target_link_layer {
        body.extend(option(TARGET_LINK_LAYER, mac.octets()));
    }
    let envelope = Envelope {
        ethernet_destination: message.ethernet_destination,
        ethernet_source: message.ethernet_source,
        source: message.source,
        destination: message.destination,
        hop_limit: HOP_LIMIT,
        extension: None,
    };
    let octets_4_to_8 = [flags(message.flags), 0, 0, 0];
    envelope.seal(&Message { kind: ADVERTISEMENT, octets_4_to_8, body: &body })
}

/// R, S and O in the three highest bits (RFC 4861 §4.4).
fn flags(flags: Flags) -> u8 {
    u8::from(flags.router) << 7 | u8::from(flags.solicited) << 6 | u8::from(flags.overriding) << 5
}

/// An option of one unit of eight octets.
fn option(kind: u8, [a, b, c, d, e, f]: [u8; 6]) -> [u8; 8] {
    [kind, 1, a, b, c, d, e, f]
}
