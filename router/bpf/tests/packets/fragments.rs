//! Datagrams and segments in fragments, in both directions.

use crate::{
    flow,
    frame::{self, Ip, SYN, Tcp},
    rig::{Leg, Outcome, Rig, Verdict},
    seen::Seen,
    world::{self, CLIENT_PORT, DNS, FAMILIES, Family, HOST, HTTP, V4, V6},
};

/// A payload with its transport header, cut into fragments of 480 bytes at most.
fn fragments(ip: &Ip, l4: &[u8]) -> Vec<(Ip, Vec<u8>)> {
    let last = (l4.len() - 1) / 480;
    l4.chunks(480)
        .enumerate()
        .map(|(index, chunk)| {
            let offset = u16::try_from(index * 480).expect("a datagram");
            (Ip { fragment: Some((offset, index != last)), ..ip.clone() }, chunk.to_vec())
        })
        .collect()
}

/// The datagram that fragments make up, its checksum verified.
fn reassembled(outcomes: &[Outcome]) -> Seen {
    let mut parts: Vec<Seen> = outcomes.iter().map(|outcome| Seen::parse(&outcome.frame)).collect();
    parts.sort_by_key(|part| part.fragment);
    let mut whole = parts[0].clone();
    whole.payload.clear();
    for part in &parts {
        let (offset, _) = part.fragment.expect("a fragment");
        assert_eq!(usize::from(offset), whole.payload.len());
        assert_eq!((part.source, part.destination), (whole.source, whole.destination));
        assert_eq!((part.id, part.ether), (whole.id, whole.ether));
        whole.payload.extend(&part.payload);
    }
    whole.fragment = None;
    assert!(whole.sum_holds(), "the checksum of the whole");
    whole
}

fn from_client(rig: &Rig, family: &Family, ip: &Ip, protocol: u8, l4: &[u8]) -> Vec<Outcome> {
    fragments(ip, l4)
        .iter()
        .map(|(ip, part)| rig.send(Leg::Lan, &family.client_sends(rig, ip, protocol, part)))
        .collect()
}

#[test]
fn a_datagram_in_fragments_goes_there_and_back() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let payload = frame::bytes(1_300);
        let ip = Ip::new(family.client, family.vip);
        let datagram = frame::datagram(family.client_at(CLIENT_PORT), family.vip_at(DNS), &payload);
        let outcomes = from_client(&rig, &family, &ip, frame::UDP, &datagram);
        assert_eq!(outcomes.len(), 3);
        assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Redirect));
        let whole = reassembled(&outcomes);
        assert_eq!(whole.data(), payload);
        let (snat, node) = whole.ends();
        assert_eq!(snat.ip(), family.snat);

        let answer = frame::datagram(node, snat, &payload);
        let back: Vec<Outcome> = fragments(&Ip::new(node.ip(), snat.ip()), &answer)
            .iter()
            .map(|(ip, part)| rig.send(Leg::Rack, &family.node_sends(&rig, ip, frame::UDP, part)))
            .collect();
        let whole = reassembled(&back);
        assert_eq!(whole.ends(), (family.vip_at(DNS), family.client_at(CLIENT_PORT)));
        assert_eq!(whole.data(), payload);
    }
}

#[test]
fn fragments_of_two_clients_are_never_one_datagram() {
    let rig = Rig::serving();
    let mut other = V4;
    other.client = V4.router;
    let ids = [V4, other].map(|family| {
        let ip = Ip::new(family.client, family.vip);
        let datagram = frame::datagram(
            family.client_at(CLIENT_PORT),
            family.vip_at(DNS),
            &frame::bytes(1_300),
        );
        let outcomes = from_client(&rig, &family, &ip, frame::UDP, &datagram);
        assert_eq!(Seen::parse(&family.udp(&rig, DNS, b"?")).id, ip.id, "both choose the same");
        reassembled(&outcomes).id
    });
    assert_ne!(ids[0], ids[1], "the node knows both by one address");
}

#[test]
fn a_segment_in_fragments_belongs_to_its_connection() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let ip = Ip::new(family.client, family.vip);
        let segment = Tcp::data(1_000).segment(family.client_at(CLIENT_PORT), family.vip_at(HTTP));
        let whole = reassembled(&from_client(&rig, &family, &ip, frame::TCP, &segment));
        assert_eq!(whole.ends(), (flow.snat, flow.node));
        assert_eq!(whole.data(), frame::bytes(1_000));
    }
}

#[test]
fn later_fragments_may_come_in_any_order_after_the_first() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip::new(family.client, family.vip);
        let datagram = frame::datagram(
            family.client_at(CLIENT_PORT),
            family.vip_at(DNS),
            &frame::bytes(1_900),
        );
        let parts = fragments(&ip, &datagram);
        let outcomes: Vec<Outcome> = [0, 3, 1, 2]
            .map(|index: usize| &parts[index])
            .iter()
            .map(|(ip, part)| rig.send(Leg::Lan, &family.client_sends(&rig, ip, frame::UDP, part)))
            .collect();
        assert_eq!(reassembled(&outcomes).data(), frame::bytes(1_900));
    }
}

#[test]
fn a_fragment_before_its_first_is_dropped_and_counted() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip { fragment: Some((480, false)), ..Ip::new(family.client, family.vip) };
        let frame = family.client_sends(&rig, &ip, frame::UDP, &[0; 100]);
        rig.send(Leg::Lan, &frame).assert_dropped("fragment-unknown", "no first fragment");
    }
}

#[test]
fn a_fragment_to_the_hosts_own_address_is_the_hosts() {
    let rig = Rig::serving();
    let ip = Ip { fragment: Some((480, false)), ..Ip::new(V4.client, HOST) };
    let frame = V4.client_sends(&rig, &ip, frame::UDP, &[0; 100]);
    rig.send(Leg::Lan, &frame).assert_untouched(&frame, "the host's");
    let ip = Ip { fragment: Some((480, false)), ..Ip::new(V4.nodes[0], V4.snat) };
    let frame = V4.node_sends(&rig, &ip, frame::UDP, &[0; 100]);
    rig.send(Leg::Rack, &frame).assert_untouched(&frame, "the host's");
}

#[test]
fn another_datagrams_fragment_is_not_mixed_in() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip::new(family.client, family.vip);
        let datagram =
            frame::datagram(family.client_at(CLIENT_PORT), family.vip_at(DNS), &frame::bytes(900));
        let parts = fragments(&ip, &datagram);
        rig.send(Leg::Lan, &family.client_sends(&rig, &parts[0].0, frame::UDP, &parts[0].1));
        let later = &parts[1].0;
        let mut others =
            vec![Ip { id: 0x4321, ..later.clone() }, Ip { source: family.router, ..later.clone() }];
        if family.vip.is_ipv6() {
            // 32 bits of identification.
            others.push(Ip { id: later.id | 0x10_0000, ..later.clone() });
        }
        for other in others {
            let frame = family.client_sends(&rig, &other, frame::UDP, &parts[1].1);
            rig.send(Leg::Lan, &frame).assert_dropped("fragment-unknown", "another datagram");
        }
    }
}

#[test]
fn fragments_are_forgotten_in_time() {
    let mut rig = Rig::serving();
    let ip = Ip::new(V4.client, V4.vip);
    let datagram = frame::datagram(V4.client_at(CLIENT_PORT), V4.vip_at(DNS), &frame::bytes(900));
    let parts = fragments(&ip, &datagram);
    rig.send(Leg::Lan, &V4.client_sends(&rig, &parts[0].0, frame::UDP, &parts[0].1));
    rig.age("fragments", 4..8, 31);
    let frame = V4.client_sends(&rig, &parts[1].0, frame::UDP, &parts[1].1);
    rig.send(Leg::Lan, &frame).assert_dropped("fragment-unknown", "31 seconds later");
}

#[test]
fn an_atomic_fragment_is_a_packet() {
    let rig = Rig::serving();
    let ip = Ip { fragment: Some((0, false)), ..Ip::new(V6.client, V6.vip) };
    let segment = Tcp::flags(SYN).segment(V6.client_at(CLIENT_PORT), V6.vip_at(HTTP));
    let outcome = rig.send(Leg::Lan, &V6.client_sends(&rig, &ip, frame::TCP, &segment));
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let seen = Seen::parse(&outcome.frame);
    assert_eq!((seen.fragment, seen.ends().1.port()), (Some((0, false)), world::HTTP_NODE));
    assert!(seen.sum_holds());
}

#[test]
fn extension_headers_within_the_fragments_are_followed() {
    let rig = Rig::serving();
    // The destination options are part of what is cut up, so later fragments name them, not UDP.
    let datagram = frame::datagram(V6.client_at(CLIENT_PORT), V6.vip_at(DNS), &frame::bytes(600));
    let options = [&[frame::UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
    let ip = Ip::new(V6.client, V6.vip);
    for (ip, part) in fragments(&ip, &options) {
        let frame = V6.client_sends(&rig, &ip, frame::DESTINATION_OPTIONS, &part);
        let outcome = rig.send(Leg::Lan, &frame);
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
        assert!(V6.nodes.contains(&Seen::parse(&outcome.frame).destination));
    }
}

#[test]
fn a_first_fragment_to_a_closed_port_is_refused_and_later_ones_are_not_answered() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip::new(family.client, family.vip);
        let to = family.vip_at(world::CLOSED);
        let datagram = frame::datagram(family.client_at(CLIENT_PORT), to, &frame::bytes(900));
        let parts = fragments(&ip, &datagram);
        let first = family.client_sends(&rig, &parts[0].0, frame::UDP, &parts[0].1);
        assert_eq!(rig.send(Leg::Lan, &first).verdict, Verdict::Redirect);
        let later = family.client_sends(&rig, &parts[1].0, frame::UDP, &parts[1].1);
        rig.send(Leg::Lan, &later).assert_dropped("closed-port", "a later fragment");
    }
}
