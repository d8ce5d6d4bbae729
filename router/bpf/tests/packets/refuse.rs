//! Closed ports of a VIP, and services that nobody serves.

use std::net::SocketAddr;

use crate::{
    flow,
    frame::{self, ACK, FIN, Ip, RST, SYN, Tcp},
    rig::{Leg, Outcome, Rig, Verdict},
    seen::Seen,
    world::{self, CLIENT_PORT, CLOSED, FAMILIES, Family, HTTP, ORPHAN, V4, V6},
};

fn assert_refused(outcome: &Outcome, reason: &str) {
    assert_eq!((outcome.verdict, &outcome.counted[..]), (Verdict::Redirect, &[reason][..]));
}

/// Sends a segment to a port and takes the reset apart.
fn reset_to(rig: &Rig, family: &Family, port: u16, tcp: &Tcp, reason: &str) -> Seen {
    let outcome = rig.send(Leg::Lan, &family.tcp(rig, port, tcp));
    assert_refused(&outcome, reason);
    let seen = Seen::parse(&outcome.frame);
    assert_eq!(seen.ends(), (family.vip_at(port), family.client_at(CLIENT_PORT)));
    assert_eq!(seen.ether, (world::CLIENT_MAC, rig.mac(Leg::Lan)));
    assert!(seen.between.is_empty() && seen.data().is_empty());
    assert_eq!(seen.hop_limit, 64);
    seen
}

#[test]
fn a_syn_to_a_closed_port_is_reset() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let reset = reset_to(&rig, &family, CLOSED, &Tcp::flags(SYN), "closed-port");
        assert_eq!((reset.flags(), reset.numbers()), (RST | ACK, (0, 1_000)));
        assert_eq!(rig.count("flows"), 0);
    }
}

#[test]
fn a_reset_acknowledges_all_that_the_segment_carried() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let segment =
            Tcp { options: vec![1, 1, 1, 0], payload: frame::bytes(77), ..Tcp::flags(SYN | FIN) };
        let reset = reset_to(&rig, &family, CLOSED, &segment, "closed-port");
        assert_eq!((reset.flags(), reset.numbers()), (RST | ACK, (0, 999 + 77 + 2)));
    }
}

#[test]
fn a_reset_to_an_acknowledgement_has_its_number() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let reset = reset_to(&rig, &family, CLOSED, &Tcp::data(77), "closed-port");
        assert_eq!((reset.flags(), reset.numbers()), (RST, (1_000, 0)));
    }
}

#[test]
fn a_connection_that_nobody_knows_is_reset() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let reset = reset_to(&rig, &family, HTTP, &Tcp::data(5), "no-flow");
        assert_eq!((reset.flags(), reset.numbers()), (RST, (1_000, 0)));
    }
}

#[test]
fn a_service_that_nobody_serves_is_refused() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let reset = reset_to(&rig, &family, ORPHAN, &Tcp::flags(SYN), "no-backend");
        assert_eq!(reset.flags(), RST | ACK);
        let outcome = rig.send(Leg::Lan, &family.udp(&rig, ORPHAN, b"anybody?"));
        assert_refused(&outcome, "no-backend");
        assert_eq!(Seen::parse(&outcome.frame).quote().destination, family.vip_at(ORPHAN));
    }
}

#[test]
fn a_reset_is_never_answered() {
    for family in FAMILIES {
        let rig = Rig::serving();
        for (port, reason) in [(CLOSED, "closed-port"), (HTTP, "no-flow")] {
            let outcome = rig.send(Leg::Lan, &family.tcp(&rig, port, &Tcp::flags(RST)));
            outcome.assert_dropped(reason, "a reset");
        }
    }
}

#[test]
fn a_datagram_to_a_closed_port_is_unreachable() {
    for family in FAMILIES {
        let rig = Rig::serving();
        for length in [0, 1, 64, 500, 900, 1_400] {
            let sent = Seen::parse(&family.udp(&rig, CLOSED, &frame::bytes(length)));
            let outcome = rig.send(Leg::Lan, &family.udp(&rig, CLOSED, &frame::bytes(length)));
            assert_refused(&outcome, "closed-port");
            let seen = Seen::parse(&outcome.frame);
            assert_eq!((seen.source, seen.destination), (family.vip, family.client));
            assert_eq!(seen.ether, (world::CLIENT_MAC, rig.mac(Leg::Lan)));
            let message = seen.message();
            let expected = if family.vip.is_ipv4() { (3, 3) } else { (1, 4) };
            assert_eq!(((message.kind, message.code), message.rest), (expected, [0; 4]));
            let quote = seen.quote();
            assert_eq!(quote.source, family.client_at(CLIENT_PORT));
            assert_eq!(quote.destination, family.vip_at(CLOSED));
            assert_eq!(quote.hop_limit, 64);
            assert!(sent.payload[4..].starts_with(&quote.beyond));
            // RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c).
            let most = if family.vip.is_ipv4() { 576 } else { 1_280 };
            let headers = if family.vip.is_ipv4() { 28 } else { 48 };
            let all = headers + headers + length;
            let ip = if family.vip.is_ipv4() { 20 } else { 40 };
            assert_eq!(outcome.frame.len() - 14, (all - 8 + 8).min(most).max(ip));
        }
    }
}

#[test]
fn options_and_extension_headers_do_not_come_back_in_a_reset() {
    let rig = Rig::serving();
    let segment = Tcp::flags(SYN).segment(V4.client_at(CLIENT_PORT), V4.vip_at(CLOSED));
    let ip = Ip { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..Ip::new(V4.client, V4.vip) };
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::TCP, &segment));
    assert_refused(&outcome, "closed-port");
    let seen = Seen::parse(&outcome.frame);
    assert_eq!((seen.between.len(), seen.flags()), (0, RST | ACK));

    let segment = Tcp::flags(SYN).segment(V6.client_at(CLIENT_PORT), V6.vip_at(CLOSED));
    let extensions = vec![(frame::HOP_BY_HOP, vec![]), (frame::DESTINATION_OPTIONS, vec![0; 16])];
    let ip = Ip { extensions, ..Ip::new(V6.client, V6.vip) };
    let outcome = rig.send(Leg::Lan, &V6.client_sends(&rig, &ip, frame::TCP, &segment));
    assert_refused(&outcome, "closed-port");
    let seen = Seen::parse(&outcome.frame);
    assert_eq!((seen.between.len(), seen.flags()), (0, RST | ACK));
}

#[test]
fn a_padded_frame_is_quoted_without_its_padding() {
    let rig = Rig::serving();
    let frame = [V4.udp(&rig, CLOSED, b"x"), vec![0xee; 17]].concat();
    let outcome = rig.send(Leg::Lan, &frame);
    assert_refused(&outcome, "closed-port");
    assert_eq!(outcome.frame.len(), 14 + 20 + 8 + 20 + 8 + 1);
}

#[test]
fn other_protocols_are_dropped_by_name() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip::new(family.client, family.vip);
        for protocol in [132, 47, 50] {
            let frame = family.client_sends(&rig, &ip, protocol, &[0; 40]);
            rig.send(Leg::Lan, &frame).assert_dropped("protocol", "neither TCP nor UDP");
        }
    }
}

#[test]
fn a_source_that_cannot_be_answered_is_not() {
    let rig = Rig::serving();
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.9", "255.255.255.255", "192.0.2.10"] {
        let source = SocketAddr::new(source.parse().expect("an address"), CLIENT_PORT);
        let ip = Ip::new(source.ip(), V4.vip);
        let segment = Tcp::flags(SYN).segment(source, V4.vip_at(CLOSED));
        let frame = V4.client_sends(&rig, &ip, frame::TCP, &segment);
        rig.send(Leg::Lan, &frame).assert_dropped("closed-port", "TCP");
        let datagram = frame::datagram(source, V4.vip_at(CLOSED), b"?");
        let frame = V4.client_sends(&rig, &ip, frame::UDP, &datagram);
        rig.send(Leg::Lan, &frame).assert_dropped("closed-port", "UDP");
    }
}

#[test]
fn refusals_are_limited() {
    let rig = Rig::serving();
    let count = |frame: &[u8], tries: u32| {
        (0..tries).filter(|_| rig.run(Leg::Lan, frame, 0).0 == Verdict::Redirect).count()
    };
    let before = rig.boottime();
    let errors = count(&V4.udp(&rig, CLOSED, b"?"), 5_000);
    let resets = count(&V4.tcp(&rig, CLOSED, &Tcp::flags(SYN)), 30_000);
    let elapsed = usize::try_from((rig.boottime() - before) / 1_000_000).expect("short");
    assert!((1_000..=1_002 + elapsed).contains(&errors), "{errors} in {elapsed} ms");
    assert!((10_000..=10_020 + 10 * elapsed).contains(&resets), "{resets} in {elapsed} ms");
}

#[test]
fn a_flood_of_closed_ports_does_not_stop_path_mtu_discovery() {
    let mut rig = Rig::serving();
    rig.put_leg(0, Leg::Lan, 1_400);
    let flow = flow::open_tcp(&rig, &V4, CLIENT_PORT);
    let flood = V4.udp(&rig, CLOSED, b"?");
    let refused = |_: &u32| rig.run(Leg::Lan, &flood, 0).0 == Verdict::Drop;
    assert!((0..3_000).filter(refused).count() > 0, "the limit is not reached");
    let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(1_400)));
    assert_refused(&outcome, "too-big");
}

#[test]
fn a_flood_of_expiring_packets_does_not_stop_path_mtu_discovery() {
    let mut rig = Rig::serving();
    rig.put_leg(0, Leg::Lan, 1_400);
    let flow = flow::open_tcp(&rig, &V4, CLIENT_PORT);
    let ip = Ip { hop_limit: 1, ..Ip::new(V4.client, V4.vip) };
    let segment = Tcp::data(5).segment(V4.client_at(CLIENT_PORT), V4.vip_at(HTTP));
    let expiring = V4.client_sends(&rig, &ip, frame::TCP, &segment);
    assert_refused(&rig.send(Leg::Lan, &expiring), "ttl");
    rig.use_up_limit(2);
    let outcome = rig.send(Leg::Lan, &expiring);
    assert_eq!(
        (outcome.verdict, &outcome.counted[..]),
        (Verdict::Drop, &["ttl", "icmp-limited"][..])
    );
    let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(1_400)));
    assert_refused(&outcome, "too-big");
}

#[test]
fn the_flow_of_a_node_that_is_gone_is_reset_and_the_next_moves() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let gone = usize::from(flow.node.ip() == family.nodes[1]);
        let backend = rig.backend(&family, gone, family.nodes[gone]);
        rig.put_table(rig.frontend(&family, HTTP, 0).table, &[family.backend(1 - gone)]);
        rig.put_backend(family.backend(gone), &world::Backend { mode: world::GONE, ..backend });
        let reset = reset_to(&rig, &family, HTTP, &Tcp::data(5), "backend-gone");
        assert_eq!((reset.flags(), reset.numbers()), (RST, (1_000, 0)));
        let moved = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        assert_eq!(moved.node.ip(), family.nodes[1 - gone]);
    }
}
