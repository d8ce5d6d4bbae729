//! Solicitations for addresses that this host answers for, and everything that looks like one.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    frame::{self, Ip, Mac},
    rig::{Leg, Outcome, Rig, Verdict},
    seen::Seen,
};

const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x12, 0x3410);
const ASKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x77);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3410);
const GROUP_MAC: Mac = [0x33, 0x33, 0xff, 0x12, 0x34, 0x10];
const ASKER_MAC: Mac = [2, 0, 0, 0, 0, 0x77];
const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 0x99];

/// A neighbour solicitation (RFC 4861 §4.3) field by field.
#[derive(Clone)]
struct Solicitation {
    ether: (Mac, Mac),
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    code: u8,
    target: Ipv6Addr,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
}

/// A link-layer address option (RFC 4861 §4.6.1).
fn link_layer(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

impl Solicitation {
    fn multicast() -> Self {
        Self {
            ether: (GROUP_MAC, ASKER_MAC),
            source: ASKER,
            destination: GROUP,
            hop_limit: 255,
            code: 0,
            target: VIP,
            options: link_layer(1, ASKER_MAC),
            extensions: Vec::new(),
        }
    }

    /// Duplicate address detection (RFC 4862 §5.4.2).
    fn detection() -> Self {
        Self { source: Ipv6Addr::UNSPECIFIED, options: Vec::new(), ..Self::multicast() }
    }

    fn frame(&self) -> Vec<u8> {
        let body = [&self.target.octets()[..], &self.options].concat();
        self.around(&body)
    }

    fn around(&self, body: &[u8]) -> Vec<u8> {
        let ends = (IpAddr::V6(self.source), IpAddr::V6(self.destination));
        let ip = Ip {
            hop_limit: self.hop_limit,
            extensions: self.extensions.clone(),
            ..Ip::new(ends.0, ends.1)
        };
        let message = frame::message(ends, (135, self.code), [0; 4], body);
        frame::ethernet(self.ether.0, self.ether.1, 0x86dd, &ip.packet(frame::ICMP6, &message))
    }
}

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.answer(IpAddr::V6(VIP), Leg::Lan, None);
    rig
}

/// RFC 4861 §7.2.4: the advertisement, with its flags and where it goes.
fn assert_advertised(rig: &Rig, outcome: &Outcome, to: (Mac, Ipv6Addr), flags: u8) {
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let seen = Seen::parse(&outcome.frame);
    let ours = rig.mac(Leg::Lan);
    assert_eq!(outcome.frame.len(), 14 + 40 + 32);
    assert_eq!(seen.ether, (to.0, ours));
    assert_eq!((seen.source, seen.destination), (VIP.into(), to.1.into()));
    assert_eq!(seen.hop_limit, 255);
    let message = seen.message();
    assert_eq!((message.kind, message.code, message.rest), (136, 0, [flags, 0, 0, 0]));
    assert_eq!(message.body, [&VIP.octets()[..], &link_layer(2, ours)].concat());
}

fn assert_untouched(rig: &Rig, leg: Leg, frame: &[u8], why: &str) {
    rig.send(leg, frame).assert_untouched(frame, why);
}

#[test]
fn a_multicast_solicitation_is_answered() {
    let rig = rig();
    let outcome = rig.send(Leg::Lan, &Solicitation::multicast().frame());
    assert_advertised(&rig, &outcome, (ASKER_MAC, ASKER), 0x60);
}

#[test]
fn a_unicast_solicitation_is_answered() {
    let rig = rig();
    let ether = (rig.mac(Leg::Lan), ASKER_MAC);
    let plain = Solicitation { ether, destination: VIP, ..Solicitation::multicast() };
    let bare = Solicitation { options: Vec::new(), ..plain.clone() };
    for solicitation in [plain, bare] {
        let outcome = rig.send(Leg::Lan, &solicitation.frame());
        assert_advertised(&rig, &outcome, (ASKER_MAC, ASKER), 0x60);
    }
}

#[test]
fn the_answer_goes_to_the_link_layer_address_that_the_asker_names() {
    let rig = rig();
    let options = link_layer(1, OTHER_MAC);
    let outcome =
        rig.send(Leg::Lan, &Solicitation { options, ..Solicitation::multicast() }.frame());
    assert_advertised(&rig, &outcome, (OTHER_MAC, ASKER), 0x60);
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let rig = rig();
    let nonce = [&[14, 1], &[7; 6][..]].concat();
    let with_nonce = Solicitation { options: nonce, ..Solicitation::detection() };
    for solicitation in [Solicitation::detection(), with_nonce] {
        let outcome = rig.send(Leg::Lan, &solicitation.frame());
        assert_advertised(&rig, &outcome, ([0x33, 0x33, 0, 0, 0, 1], ALL_NODES), 0x20);
    }
}

#[test]
fn unknown_options_before_the_link_layer_address_are_stepped_over() {
    let rig = rig();
    let options = [vec![14, 2], vec![9; 14], link_layer(1, OTHER_MAC)].concat();
    let outcome =
        rig.send(Leg::Lan, &Solicitation { options, ..Solicitation::multicast() }.frame());
    assert_advertised(&rig, &outcome, (OTHER_MAC, ASKER), 0x60);
}

#[test]
fn another_leg_is_silent() {
    let rig = rig();
    let frame = Solicitation::multicast().frame();
    assert_untouched(&rig, Leg::Rack, &frame, "the address is answered on the other leg");
}

#[test]
fn the_answer_ends_with_its_lease() {
    let mut rig = rig();
    let frame = Solicitation::multicast().frame();
    rig.answer(IpAddr::V6(VIP), Leg::Lan, Some(rig.boottime() + 3_600_000_000_000));
    assert_eq!(rig.send(Leg::Lan, &frame).verdict, Verdict::Redirect);
    rig.answer(IpAddr::V6(VIP), Leg::Lan, Some(rig.boottime().saturating_sub(1)));
    assert_untouched(&rig, Leg::Lan, &frame, "the lease is over");
}

#[test]
fn what_is_invalid_or_not_for_us_passes_untouched() {
    let rig = rig();
    let ask = Solicitation::multicast;
    let dad = Solicitation::detection;
    let ours = rig.mac(Leg::Lan);
    let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x12, 0x3411);
    let hop_by_hop = vec![(frame::HOP_BY_HOP, Vec::new())];
    let table = [
        ("a neighbour's address", Solicitation { target: neighbour, ..ask() }),
        ("hop limit 254", Solicitation { hop_limit: 254, ..ask() }),
        ("hop limit 64", Solicitation { hop_limit: 64, ..ask() }),
        ("code 1", Solicitation { code: 1, ..ask() }),
        ("multicast target", Solicitation { target: GROUP, ..ask() }),
        (
            "an option without length",
            Solicitation { options: vec![1, 0, 0, 0, 0, 0, 0, 0], ..ask() },
        ),
        (
            "an option beyond the end",
            Solicitation { options: vec![1, 2, 0, 0, 0, 0, 0, 0], ..ask() },
        ),
        ("detection sent to the address", Solicitation { destination: VIP, ..dad() }),
        ("detection sent to all nodes", Solicitation { destination: ALL_NODES, ..dad() }),
        (
            "detection with a link-layer address",
            Solicitation { source: Ipv6Addr::UNSPECIFIED, ..ask() },
        ),
        ("a multicast source", Solicitation { source: ALL_NODES, ..ask() }),
        ("our own frame heard back", Solicitation { ether: (GROUP_MAC, ours), ..ask() }),
        ("our own address as the asker's", Solicitation { options: link_layer(1, ours), ..ask() }),
        (
            "a group address as the asker's",
            Solicitation { options: link_layer(1, GROUP_MAC), ..ask() },
        ),
        ("the address itself as source", Solicitation { source: VIP, ..ask() }),
        ("a frame to another host", Solicitation { ether: (OTHER_MAC, ASKER_MAC), ..ask() }),
        ("an extension header", Solicitation { extensions: hop_by_hop, ..ask() }),
    ];
    for (why, solicitation) in table {
        assert_untouched(&rig, Leg::Lan, &solicitation.frame(), why);
    }
}

#[test]
fn a_wrong_checksum_passes_untouched() {
    let rig = rig();
    let mut frame = Solicitation::multicast().frame();
    frame[14 + 40 + 2] ^= 1;
    assert_untouched(&rig, Leg::Lan, &frame, "checksum");
}

#[test]
fn every_flipped_bit_of_the_message_passes_untouched() {
    let rig = rig();
    let good = Solicitation::multicast().frame();
    for bit in (14 + 40) * 8..good.len() * 8 {
        let mut frame = good.clone();
        frame[bit / 8] ^= 1 << (bit % 8);
        assert_untouched(&rig, Leg::Lan, &frame, &format!("bit {bit}"));
    }
}

#[test]
fn a_truncated_solicitation_passes_untouched() {
    let rig = rig();
    let whole = Solicitation::multicast().frame();
    // The kernel's test run refuses frames that end within the IPv6 header.
    for length in 14 + 40..whole.len() {
        assert_untouched(&rig, Leg::Lan, &whole[..length], &format!("{length} bytes"));
    }
}

#[test]
fn a_message_too_short_for_its_target_passes_untouched() {
    let rig = rig();
    for length in 0..16 {
        let frame = Solicitation::multicast().around(&VIP.octets()[..length]);
        assert_untouched(&rig, Leg::Lan, &frame, &format!("{length} bytes of target"));
    }
}
