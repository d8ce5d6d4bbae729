//! IPv6 extension headers (RFC 8200 section 4) before the transport header.

use crate::{
    frame::{self, Ip, SYN, Tcp},
    rig::{Leg, Outcome, Rig, Verdict},
    seen::Seen,
    world::{CLIENT_PORT, HTTP, HTTP_NODE, V6},
};

fn send(rig: &Rig, extensions: Vec<(u8, Vec<u8>)>) -> Outcome {
    let ip = Ip { extensions, ..Ip::new(V6.client, V6.vip) };
    let segment = Tcp::flags(SYN).segment(V6.client_at(CLIENT_PORT), V6.vip_at(HTTP));
    rig.send(Leg::Lan, &V6.client_sends(rig, &ip, frame::TCP, &segment))
}

#[test]
fn up_to_six_headers_are_followed_and_carried_along() {
    let rig = Rig::serving();
    let kinds = [
        frame::HOP_BY_HOP,
        frame::DESTINATION_OPTIONS,
        frame::ROUTING,
        frame::DESTINATION_OPTIONS,
        frame::DESTINATION_OPTIONS,
        frame::DESTINATION_OPTIONS,
    ];
    for number in 1..=kinds.len() {
        let extensions = kinds[..number].iter().map(|kind| (*kind, vec![0; 8])).collect();
        let outcome = send(&rig, extensions);
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0), "{number}");
        let seen = Seen::parse(&outcome.frame);
        assert_eq!((seen.between.len(), seen.ends().1.port()), (16 * number, HTTP_NODE));
    }
}

#[test]
fn more_headers_or_longer_ones_are_dropped_by_name() {
    let rig = Rig::serving();
    let seven = vec![(frame::DESTINATION_OPTIONS, Vec::new()); 7];
    let long = vec![(frame::DESTINATION_OPTIONS, vec![0; 600])];
    for extensions in [seven, long] {
        send(&rig, extensions).assert_dropped("extension-headers", "too many, too long");
    }
    assert_eq!(rig.count("flows"), 0);
}

#[test]
fn what_is_authenticated_cannot_be_translated() {
    let rig = Rig::serving();
    let outcome = send(&rig, vec![(frame::AUTHENTICATION, vec![0; 16])]);
    outcome.assert_dropped("protocol", "an authentication header");
}

#[test]
fn no_next_header_and_unknown_ones_open_nothing() {
    let rig = Rig::serving();
    for protocol in [59, 135, 139, 253] {
        let ip = Ip::new(V6.client, V6.vip);
        let frame = V6.client_sends(&rig, &ip, protocol, &[0; 40]);
        rig.send(Leg::Lan, &frame).assert_dropped("protocol", "no transport header");
    }
}
