//! Frames of which the hardware has taken a sum: it stays the sum of what is sent on, else the
//! receiver's kernel complains of broken hardware. (Where the kernel's helper cuts or lengthens a frame
//! it forgets the sum by itself, which its test run takes for an error: such answers are not here.)

use crate::{
    flow::{self, Translated},
    frame::{self, Ip, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{CLIENT_PORT, CLOSED, DNS, FAMILIES, Family, HTTP, V4},
};

/// Sends a frame with its sum; what comes out must be right too.
fn assert_sent(rig: &Rig, leg: Leg, frame: &[u8]) -> Seen {
    let (verdict, out) = rig.send_summed(leg, frame);
    assert_eq!(verdict, Verdict::Redirect);
    Seen::parse(&out)
}

#[test]
fn segments_and_datagrams_keep_their_sum() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        for length in [0, 1, 2, 333] {
            assert_sent(&rig, Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::data(length)));
            assert_sent(&rig, Leg::Rack, &flow.node_sends(&rig, &Tcp::data(length)));
            assert_sent(&rig, Leg::Lan, &family.udp(&rig, DNS, &frame::bytes(length)));
        }
    }
}

#[test]
fn a_datagram_without_checksum_keeps_its_sum() {
    let rig = Rig::serving();
    let mut datagram = frame::datagram(V4.client_at(CLIENT_PORT), V4.vip_at(DNS), b"odd");
    datagram[6..8].copy_from_slice(&[0, 0]);
    let ip = Ip::new(V4.client, V4.vip);
    assert_sent(&rig, Leg::Lan, &V4.client_sends(&rig, &ip, frame::UDP, &datagram));
}

#[test]
fn fragments_keep_their_sum() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ends = (family.client_at(CLIENT_PORT), family.vip_at(DNS));
        let datagram = frame::datagram(ends.0, ends.1, &frame::bytes(801));
        for (fragment, part) in [((0, true), ..480), ((480, false), ..809)] {
            let part = &datagram[usize::from(fragment.0)..part.end];
            let ip = Ip { fragment: Some(fragment), ..Ip::new(family.client, family.vip) };
            assert_sent(&rig, Leg::Lan, &family.client_sends(&rig, &ip, frame::UDP, part));
        }
    }
}

/// A header with something between it and the transport header.
fn laden(family: &Family) -> Ip {
    let extensions = vec![(frame::HOP_BY_HOP, vec![0; 8])];
    Ip { options: vec![1; 8], extensions, ..Ip::new(family.client, family.vip) }
}

#[test]
fn options_and_extension_headers_are_summed_too() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ends = (family.client_at(CLIENT_PORT), family.vip_at(HTTP));
        let syn = Tcp::flags(SYN).segment(ends.0, ends.1);
        assert_sent(&rig, Leg::Lan, &family.client_sends(&rig, &laden(&family), frame::TCP, &syn));
    }
}

#[test]
fn answers_keep_the_sum() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let addresses = (family.client, family.vip);
        for ip in [Ip::new(family.client, family.vip), laden(&family)] {
            let (protocol, ping) =
                family.icmp(addresses, [(8, 0), (128, 0)], [1, 2, 3, 4], &frame::bytes(57));
            assert_sent(&rig, Leg::Lan, &family.client_sends(&rig, &ip, protocol, &ping));
            let ends = (family.client_at(CLIENT_PORT), family.vip_at(CLOSED));
            let syn = Tcp::flags(SYN).segment(ends.0, ends.1);
            assert_sent(&rig, Leg::Lan, &family.client_sends(&rig, &ip, frame::TCP, &syn));
            let datagram = frame::datagram(ends.0, ends.1, &frame::bytes(99));
            assert_sent(&rig, Leg::Lan, &family.client_sends(&rig, &ip, frame::UDP, &datagram));
        }
    }
}

#[test]
fn translated_errors_keep_the_sum() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let kinds = [(11, 0), (3, 0)];
        let Translated { snat, node, .. } = flow;
        let quoted =
            Ip::new(snat.ip(), node.ip()).packet(frame::TCP, &Tcp::data(31).segment(snat, node));
        let (protocol, error) = family.icmp((node.ip(), snat.ip()), kinds, [0; 4], &quoted);
        let ip = Ip::new(node.ip(), snat.ip());
        assert_sent(&rig, Leg::Rack, &family.node_sends(&rig, &ip, protocol, &error));

        let (vip, client) = (family.vip_at(HTTP), family.client_at(CLIENT_PORT));
        let quoted = Ip::new(family.vip, family.client)
            .packet(frame::TCP, &Tcp::data(31).segment(vip, client));
        let (protocol, error) = family.icmp((family.router, family.vip), kinds, [0; 4], &quoted);
        let ip = Ip::new(family.router, family.vip);
        assert_sent(&rig, Leg::Lan, &family.client_sends(&rig, &ip, protocol, &error));
    }
}
