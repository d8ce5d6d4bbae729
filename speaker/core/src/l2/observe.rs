//! What a frame says about addresses.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use roadstead_wire::{Advertisement, Arp, Frame, Mac, Nonce, Solicitation, arp::Operation};

use super::Claim;

/// What concerns us in a frame that another station sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observation {
    /// Somebody uses, or wants to use, an address.
    pub(super) claim: Option<Claimed>,
    /// Somebody looks for an address.
    pub(super) asked: Option<Asked>,
}

/// A claim on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) address: IpAddr,
    pub(super) claim: Claim,
    pub(super) mac: Mac,
    /// The nonce of a solicitation: ours, if it is our own that came back with another MAC
    /// (RFC 7527 §4.2).
    pub(super) nonce: Option<Nonce>,
}

/// A question for an address, with what an owner on this leg would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) address: IpAddr,
    pub(super) answer: Frame,
}

/// Reads a frame heard on the leg with address `leg`; `None` where it is one of our own `macs`
/// that came back, over a second leg on the same segment or a loop.
pub(super) fn observe(frame: &Frame, leg: Mac, macs: &BTreeSet<Mac>) -> Option<Observation> {
    let ours = |mac: Mac| macs.contains(&mac);
    if ours(frame.ethernet_source()) {
        return None;
    }
    match frame {
        Frame::Arp(arp) if ours(arp.sender_mac) => None,
        Frame::Arp(arp) => Some(of_arp(arp, leg)),
        Frame::Solicitation(solicitation) if solicitation.source_link_layer.is_some_and(ours) => {
            None
        }
        Frame::Solicitation(solicitation) => Some(of_solicitation(solicitation, leg)),
        Frame::Advertisement(advertisement)
            if advertisement.target_link_layer.is_some_and(ours) =>
        {
            None
        }
        Frame::Advertisement(advertisement) => Some(of_advertisement(advertisement)),
    }
}

fn of_arp(arp: &Arp, leg: Mac) -> Observation {
    // Neither a conflict nor a question comes from a group, or from nobody.
    if !arp.sender_mac.is_station() {
        return Observation::default();
    }
    Observation { claim: arp_claim(arp), asked: arp_asked(arp, leg) }
}

/// RFC 5227 §2.1.1 and §2.4: the sender address is in use by the sender; a probe announces that
/// the target address is about to be.
fn arp_claim(arp: &Arp) -> Option<Claimed> {
    let (address, claim) = match arp.sender_ip {
        Ipv4Addr::UNSPECIFIED if arp.is_probe() => (arp.target_ip, Claim::Probes),
        Ipv4Addr::UNSPECIFIED => return None,
        sender => (sender, Claim::Uses),
    };
    Some(Claimed { address: address.into(), claim, mac: arp.sender_mac, nonce: None })
}

/// A request to all or to us, by another than the address itself (that would be an announcement).
fn arp_asked(arp: &Arp, leg: Mac) -> Option<Asked> {
    let to_us = arp.ethernet_destination == Mac::BROADCAST || arp.ethernet_destination == leg;
    match arp.operation {
        Operation::Request if to_us && arp.sender_ip != arp.target_ip => {
            Some(Asked { address: arp.target_ip.into(), answer: Frame::Arp(arp.reply(leg)) })
        }
        Operation::Request | Operation::Reply => None,
    }
}

fn of_solicitation(solicitation: &Solicitation, leg: Mac) -> Observation {
    let mac = solicitation.source_link_layer.unwrap_or(solicitation.ethernet_source);
    if !mac.is_station() {
        return Observation::default();
    }
    let (address, claim) = if solicitation.is_probe() {
        (solicitation.target, Claim::Probes)
    } else {
        (solicitation.source, Claim::Uses)
    };
    let nonce = solicitation.nonce;
    let claimed = Claimed { address: address.into(), claim, mac, nonce };
    Observation { claim: Some(claimed), asked: ndp_asked(solicitation, leg) }
}

fn ndp_asked(solicitation: &Solicitation, leg: Mac) -> Option<Asked> {
    let destination = solicitation.ethernet_destination;
    let to_us = destination.is_group() || destination == leg;
    (to_us && solicitation.source != solicitation.target).then(|| Asked {
        address: solicitation.target.into(),
        answer: Frame::Advertisement(solicitation.reply(leg)),
    })
}

fn of_advertisement(advertisement: &Advertisement) -> Observation {
    let mac = advertisement.target_link_layer.unwrap_or(advertisement.ethernet_source);
    let claim = mac.is_station().then(|| Claimed {
        address: advertisement.target.into(),
        claim: Claim::Uses,
        mac,
        nonce: None,
    });
    Observation { claim, asked: None }
}
