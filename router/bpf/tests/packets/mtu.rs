//! Packets larger than the next link, and packets out of hops.

use crate::{
    flow::{self, Translated},
    frame::{self, Ip, SYN, Tcp},
    rig::{Leg, Outcome, Rig, Verdict},
    seen::Seen,
    world::{self, CLIENT_PORT, FAMILIES, Family, HTTP, V4},
};

/// A world where the nodes' link takes 1,300 bytes and the client's 1,400.
fn narrow(family: &Family) -> (Rig, Translated) {
    let mut rig = Rig::serving();
    for (node, &address) in family.nodes.iter().enumerate() {
        let wide = rig.backend(family, node, address);
        rig.put_backend(family.backend(node), &world::Backend { mtu: 1_300, ..wide });
    }
    rig.put_leg(0, Leg::Lan, 1_400);
    let flow = flow::open_tcp(&rig, family, CLIENT_PORT);
    (rig, flow)
}

/// Payload of a TCP packet that is `length` bytes of IP.
fn filling(family: &Family, length: usize) -> Tcp {
    Tcp::data(length - if family.vip.is_ipv4() { 40 } else { 60 })
}

fn assert_too_big(outcome: &Outcome, family: &Family, mtu: u32) -> Seen {
    assert_eq!((outcome.verdict, &outcome.counted[..]), (Verdict::Redirect, &["too-big"][..]));
    let seen = Seen::parse(&outcome.frame);
    let message = seen.message();
    let kind = if family.vip.is_ipv4() { (3, 4) } else { (2, 0) };
    assert_eq!((message.kind, message.code), kind);
    assert_eq!(u32::from_be_bytes(message.rest), mtu);
    seen
}

#[test]
fn a_packet_that_just_fits_goes_on() {
    for family in FAMILIES {
        let (rig, flow) = narrow(&family);
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &filling(&family, 1_300)));
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &filling(&family, 1_400)));
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
        assert_eq!(Seen::parse(&outcome.frame).ends().0, family.vip_at(HTTP));
    }
}

#[test]
fn the_client_is_told_of_the_nodes_link_by_the_vip() {
    for family in FAMILIES {
        let (rig, _) = narrow(&family);
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &filling(&family, 1_301)));
        let seen = assert_too_big(&outcome, &family, 1_300);
        assert_eq!((seen.source, seen.destination), (family.vip, family.client));
        assert_eq!(seen.ether, (world::CLIENT_MAC, rig.mac(Leg::Lan)));
        let quote = seen.quote();
        assert_eq!(quote.source, family.client_at(CLIENT_PORT));
        assert_eq!(quote.destination, family.vip_at(HTTP));
    }
}

#[test]
fn the_node_is_told_of_the_clients_link_by_the_address_it_speaks_with() {
    for family in FAMILIES {
        let (rig, flow) = narrow(&family);
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &filling(&family, 1_401)));
        let seen = assert_too_big(&outcome, &family, 1_400);
        assert_eq!((seen.source, seen.destination), (family.snat, flow.node.ip()));
        assert_eq!(seen.ether, (world::node_mac(0), rig.mac(Leg::Rack)));
        assert_eq!((seen.quote().source, seen.quote().destination), (flow.node, flow.snat));
    }
}

#[test]
fn a_sender_without_df_is_told_too() {
    let (rig, _) = narrow(&V4);
    let ip = Ip { dont_fragment: false, ..Ip::new(V4.client, V4.vip) };
    let segment = filling(&V4, 1_301).segment(V4.client_at(CLIENT_PORT), V4.vip_at(HTTP));
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::TCP, &segment));
    assert_too_big(&outcome, &V4, 1_300);
}

#[test]
fn a_super_packet_counts_by_its_segments() {
    for family in FAMILIES {
        let (rig, _) = narrow(&family);
        let headers = if family.vip.is_ipv4() { 40 } else { 60 };
        let big = family.tcp(&rig, HTTP, &Tcp::data(3_000));
        let outcome = rig.send_super(Leg::Lan, &big, 1_300 - headers);
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
        assert_eq!(Seen::parse(&outcome.frame).data().len(), 3_000);
        let outcome = rig.send_super(Leg::Lan, &big, 1_301 - headers);
        assert_too_big(&outcome, &family, 1_300);
    }
}

fn assert_expired(outcome: &Outcome, family: &Family) -> Seen {
    assert_eq!((outcome.verdict, &outcome.counted[..]), (Verdict::Redirect, &["ttl"][..]));
    let seen = Seen::parse(&outcome.frame);
    let message = seen.message();
    let kind = if family.vip.is_ipv4() { (11, 0) } else { (3, 0) };
    assert_eq!(((message.kind, message.code), message.rest), (kind, [0; 4]));
    seen
}

#[test]
fn a_packet_out_of_hops_is_answered_to_its_sender() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        for hop_limit in [0, 1] {
            let ip = Ip { hop_limit, ..Ip::new(family.client, family.vip) };
            let ends = (family.client_at(CLIENT_PORT), family.vip_at(HTTP));
            let segment = Tcp::data(10).segment(ends.0, ends.1);
            let frame = family.client_sends(&rig, &ip, frame::TCP, &segment);
            let seen = assert_expired(&rig.send(Leg::Lan, &frame), &family);
            assert_eq!((seen.source, seen.destination), (family.vip, family.client));
            assert_eq!((seen.quote().source, seen.quote().destination), ends);

            let ip = Ip { hop_limit, ..Ip::new(flow.node.ip(), flow.snat.ip()) };
            let segment = Tcp::data(10).segment(flow.node, flow.snat);
            let frame = family.node_sends(&rig, &ip, frame::TCP, &segment);
            let seen = assert_expired(&rig.send(Leg::Rack, &frame), &family);
            assert_eq!((seen.source, seen.destination), (family.snat, flow.node.ip()));
        }
    }
}

#[test]
fn the_last_hop_but_one_goes_on() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip { hop_limit: 2, ..Ip::new(family.client, family.vip) };
        let segment = Tcp::flags(SYN).segment(family.client_at(CLIENT_PORT), family.vip_at(HTTP));
        let outcome = rig.send(Leg::Lan, &family.client_sends(&rig, &ip, frame::TCP, &segment));
        assert_eq!(Seen::parse(&outcome.frame).hop_limit, 1);
    }
}
