//! Requests for addresses that this host answers for, and everything that looks like one.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    frame::{self, Mac},
    rig::{Leg, Rig, Verdict},
};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const ASKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const ASKER_MAC: Mac = [2, 0, 0, 0, 0, 0x77];
const BROADCAST: Mac = [0xff; 6];
const ETH_ARP: u16 = 0x0806;

/// An ARP packet (RFC 826) field by field.
#[derive(Clone)]
struct Arp {
    ether: (Mac, Mac),
    hardware: u16,
    protocol: u16,
    lengths: [u8; 2],
    operation: u16,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
}

impl Arp {
    fn request() -> Self {
        Self {
            ether: (BROADCAST, ASKER_MAC),
            hardware: 1,
            protocol: 0x0800,
            lengths: [6, 4],
            operation: 1,
            sender: (ASKER_MAC, ASKER),
            target: ([0; 6], VIP),
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut arp = self.hardware.to_be_bytes().to_vec();
        arp.extend(self.protocol.to_be_bytes());
        arp.extend(self.lengths);
        arp.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            arp.extend(mac);
            arp.extend(address.octets());
        }
        frame::ethernet(self.ether.0, self.ether.1, ETH_ARP, &arp)
    }

    /// What the request is to be answered with by the holder of `mac`.
    fn reply(&self, mac: Mac) -> Vec<u8> {
        Self {
            ether: (self.sender.0, mac),
            operation: 2,
            sender: (mac, self.target.1),
            target: self.sender,
            ..self.clone()
        }
        .frame()
    }
}

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.answer(IpAddr::V4(VIP), Leg::Lan, None);
    rig
}

fn assert_answered(rig: &Rig, request: &Arp) {
    let outcome = rig.send(Leg::Lan, &request.frame());
    assert_eq!(outcome.verdict, Verdict::Redirect);
    assert_eq!(outcome.frame, request.reply(rig.mac(Leg::Lan)));
}

fn assert_untouched(rig: &Rig, leg: Leg, request: &Arp, why: &str) {
    rig.send(leg, &request.frame()).assert_untouched(&request.frame(), why);
}

#[test]
fn a_broadcast_request_is_answered() {
    assert_answered(&rig(), &Arp::request());
}

#[test]
fn a_unicast_request_is_answered() {
    let rig = rig();
    let ether = (rig.mac(Leg::Lan), ASKER_MAC);
    assert_answered(&rig, &Arp { ether, ..Arp::request() });
}

#[test]
fn a_probe_is_answered_in_defence() {
    let sender = (ASKER_MAC, Ipv4Addr::UNSPECIFIED);
    assert_answered(&rig(), &Arp { sender, ..Arp::request() });
}

#[test]
fn a_padded_request_keeps_its_length() {
    let rig = rig();
    let padded = [Arp::request().frame(), vec![0; 18]].concat();
    let outcome = rig.send(Leg::Lan, &padded);
    let expected = [Arp::request().reply(rig.mac(Leg::Lan)), vec![0; 18]].concat();
    assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, expected));
}

#[test]
fn another_leg_is_silent() {
    assert_untouched(
        &rig(),
        Leg::Rack,
        &Arp::request(),
        "the address is answered on the other leg",
    );
}

#[test]
fn the_answer_ends_with_its_lease() {
    let mut rig = rig();
    rig.answer(IpAddr::V4(VIP), Leg::Lan, Some(rig.boottime() + 3_600_000_000_000));
    assert_answered(&rig, &Arp::request());
    rig.answer(IpAddr::V4(VIP), Leg::Lan, Some(rig.boottime().saturating_sub(1)));
    assert_untouched(&rig, Leg::Lan, &Arp::request(), "the lease is over");
}

/// The one lease of all answers that a group asks for.
#[test]
fn leased_answers_end_with_the_lease_of_all() {
    let mut rig = rig();
    rig.answer(IpAddr::V4(VIP), Leg::Lan, roadstead_router_core::maps::Answer::LEASED);
    assert_untouched(&rig, Leg::Lan, &Arp::request(), "nobody gave a lease");
    let now = rig.boottime();
    rig.settings(|settings| settings.lease(now + 3_600_000_000_000));
    assert_answered(&rig, &Arp::request());
    rig.settings(|settings| settings.lease(now));
    assert_untouched(&rig, Leg::Lan, &Arp::request(), "the lease is over");
    rig.answer(IpAddr::V4(VIP), Leg::Lan, None);
    assert_answered(&rig, &Arp::request());
}

#[test]
fn a_withdrawn_address_is_silent() {
    let mut rig = rig();
    rig.silence(IpAddr::V4(VIP), Leg::Lan);
    assert_untouched(&rig, Leg::Lan, &Arp::request(), "withdrawn");
}

#[test]
fn what_is_not_a_request_for_us_passes_untouched() {
    let rig = rig();
    let ask = Arp::request;
    let ours = rig.mac(Leg::Lan);
    let table = [
        ("a neighbour's address", Arp { target: ([0; 6], Ipv4Addr::new(192, 0, 2, 11)), ..ask() }),
        ("a reply", Arp { operation: 2, ..ask() }),
        ("a reverse request", Arp { operation: 3, ..ask() }),
        ("hardware type", Arp { hardware: 6, ..ask() }),
        ("protocol type", Arp { protocol: 0x86dd, ..ask() }),
        ("hardware length", Arp { lengths: [8, 4], ..ask() }),
        ("protocol length", Arp { lengths: [6, 16], ..ask() }),
        ("our own request heard back", Arp { sender: (ours, ASKER), ..ask() }),
        ("our own frame heard back", Arp { ether: (BROADCAST, ours), ..ask() }),
        ("an announcement by another", Arp { sender: (ASKER_MAC, VIP), ..ask() }),
        ("a group address as sender", Arp { sender: ([1, 0, 0x5e, 0, 0, 1], ASKER), ..ask() }),
        ("no hardware address", Arp { sender: ([0; 6], ASKER), ..ask() }),
        ("a multicast sender", Arp { sender: (ASKER_MAC, Ipv4Addr::new(224, 0, 0, 1)), ..ask() }),
        ("a broadcast sender", Arp { sender: (ASKER_MAC, Ipv4Addr::BROADCAST), ..ask() }),
        ("a loopback sender", Arp { sender: (ASKER_MAC, Ipv4Addr::LOCALHOST), ..ask() }),
        ("a frame to another host", Arp { ether: ([2, 9, 9, 9, 9, 9], ASKER_MAC), ..ask() }),
    ];
    for (why, request) in table {
        assert_untouched(&rig, Leg::Lan, &request, why);
    }
}

#[test]
fn a_truncated_request_passes_untouched() {
    let rig = rig();
    let whole = Arp::request().frame();
    for length in 14..whole.len() {
        let cut = &whole[..length];
        rig.send(Leg::Lan, cut).assert_untouched(cut, &format!("{length} bytes"));
    }
}

#[test]
fn a_tagged_request_passes_untouched() {
    let rig = rig();
    let whole = Arp::request().frame();
    let tagged = [&whole[..12], &[0x81, 0, 0, 5], &whole[12..]].concat();
    rig.send(Leg::Lan, &tagged).assert_untouched(&tagged, "802.1Q");
}
