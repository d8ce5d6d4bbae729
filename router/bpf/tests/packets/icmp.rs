//! Pings, and errors about flows in both directions.

use std::net::{IpAddr, SocketAddr};

use crate::{
    flow::{self, Translated},
    frame::{self, Ip, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{self, CLIENT_PORT, DNS, FAMILIES, Family, HOST, HTTP, V4, V6},
};

const ECHO: [(u8, u8); 2] = [(8, 0), (128, 0)];
const PORT_UNREACHABLE: [(u8, u8); 2] = [(3, 3), (1, 4)];
const HOST_UNREACHABLE: [(u8, u8); 2] = [(3, 1), (1, 3)];
const TOO_BIG: [(u8, u8); 2] = [(3, 4), (2, 0)];
const TIME_EXCEEDED: [(u8, u8); 2] = [(11, 0), (3, 0)];
const PARAMETER: [(u8, u8); 2] = [(12, 0), (4, 1)];
const ERRORS: [[(u8, u8); 2]; 5] =
    [PORT_UNREACHABLE, HOST_UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PARAMETER];
const REST: [u8; 4] = [0, 0, 5, 0];

fn ping(rig: &Rig, family: &Family, ip: &Ip, length: usize) -> Vec<u8> {
    let (protocol, message) =
        family.icmp((ip.source, ip.destination), ECHO, [0x12, 0x34, 0, 7], &frame::bytes(length));
    family.client_sends(rig, ip, protocol, &message)
}

#[test]
fn a_ping_is_answered() {
    for family in FAMILIES {
        let rig = Rig::serving();
        for length in [0, 1, 56, 1_400] {
            let ip = Ip { class: 0x20, ..Ip::new(family.client, family.vip) };
            let outcome = rig.send(Leg::Lan, &ping(&rig, &family, &ip, length));
            assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
            let seen = Seen::parse(&outcome.frame);
            assert_eq!((seen.source, seen.destination), (family.vip, family.client));
            assert_eq!(seen.ether, (world::CLIENT_MAC, rig.mac(Leg::Lan)));
            assert_eq!(seen.hop_limit, 64);
            let message = seen.message();
            assert_eq!(message.kind, if family.vip.is_ipv4() { 0 } else { 129 });
            assert_eq!((message.rest, message.body), ([0x12, 0x34, 0, 7], frame::bytes(length)));
        }
    }
}

#[test]
fn a_ping_with_options_or_extension_headers_is_answered_without() {
    let rig = Rig::serving();
    let ip = Ip { options: vec![1, 1, 1, 0], ..Ip::new(V4.client, V4.vip) };
    let seen = Seen::parse(&rig.send(Leg::Lan, &ping(&rig, &V4, &ip, 20)).frame);
    assert_eq!((seen.between.len(), seen.message().body), (0, frame::bytes(20)));
    let extensions = vec![(frame::HOP_BY_HOP, vec![])];
    let ip = Ip { extensions, ..Ip::new(V6.client, V6.vip) };
    let seen = Seen::parse(&rig.send(Leg::Lan, &ping(&rig, &V6, &ip, 20)).frame);
    assert_eq!((seen.between.len(), seen.message().body), (0, frame::bytes(20)));
}

#[test]
fn a_ping_to_the_hosts_own_address_is_the_hosts() {
    let rig = Rig::serving();
    let frame = ping(&rig, &V4, &Ip::new(V4.client, HOST), 56);
    rig.send(Leg::Lan, &frame).assert_untouched(&frame, "the host's");
}

#[test]
fn a_ping_in_fragments_is_dropped_by_name() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let ip = Ip { fragment: Some((0, true)), ..Ip::new(family.client, family.vip) };
        let first = rig.send(Leg::Lan, &ping(&rig, &family, &ip, 56));
        first.assert_dropped("fragmented-icmp", "the first fragment");
        let protocol = if family.vip.is_ipv4() { frame::ICMP } else { frame::ICMP6 };
        let ip = Ip { fragment: Some((64, false)), ..ip };
        let second = rig.send(Leg::Lan, &family.client_sends(&rig, &ip, protocol, &[0; 16]));
        second.assert_dropped("fragmented-icmp", "the second fragment");
    }
}

#[test]
fn pings_are_limited() {
    let rig = Rig::serving();
    let frame = ping(&rig, &V4, &Ip::new(V4.client, V4.vip), 8);
    let before = rig.boottime();
    let answered =
        (0..30_000).filter(|_| rig.run(Leg::Lan, &frame, 0).0 == Verdict::Redirect).count();
    let elapsed = usize::try_from((rig.boottime() - before) / 1_000_000).expect("short");
    assert!((10_000..=10_020 + 10 * elapsed).contains(&answered), "{answered} in {elapsed} ms");
    rig.send(Leg::Lan, &frame);
}

#[test]
fn other_messages_to_a_vip_are_dropped_by_name() {
    for family in FAMILIES {
        let rig = Rig::serving();
        for kinds in [[(0, 0), (129, 0)], [(13, 0), (130, 0)], [(5, 1), (200, 0)]] {
            let ip = Ip::new(family.client, family.vip);
            let (protocol, message) =
                family.icmp((family.client, family.vip), kinds, [0; 4], &[0; 40]);
            let frame = family.client_sends(&rig, &ip, protocol, &message);
            rig.send(Leg::Lan, &frame).assert_dropped("protocol", "neither echo nor error");
        }
    }
}

#[test]
fn neighbour_discovery_with_a_vip_is_left_alone() {
    let rig = Rig::serving();
    for kind in 133..=137 {
        let message = frame::message((V6.client, V6.vip), (kind, 0), [0; 4], &[0; 40]);
        let frame = V6.client_sends(&rig, &Ip::new(V6.client, V6.vip), frame::ICMP6, &message);
        rig.send(Leg::Lan, &frame).assert_untouched(&frame, "neighbour discovery");
    }
}

/// How much of the packet in question an error quotes.
#[derive(Clone, Copy, Debug)]
enum Quoting {
    /// The IP header and eight bytes, as RFC 792 asks.
    Least,
    /// All of it.
    Whole,
}

/// An error about `packet`, sent by `from` to whoever sent the packet.
fn error(
    rig: &Rig,
    (family, leg): (&Family, Leg),
    from: IpAddr,
    kinds: [(u8, u8); 2],
    packet: &[u8],
    quoting: Quoting,
) -> Vec<u8> {
    let header = if family.vip.is_ipv4() { 20 } else { 40 };
    let quoted = match quoting {
        Quoting::Least => &packet[..header + 8],
        Quoting::Whole => packet,
    };
    let to = if leg == Leg::Rack { family.snat } else { family.vip };
    let (protocol, message) = family.icmp((from, to), kinds, REST, quoted);
    let ip = Ip::new(from, to);
    match leg {
        Leg::Lan => family.client_sends(rig, &ip, protocol, &message),
        Leg::Rack => family.node_sends(rig, &ip, protocol, &message),
    }
}

/// What the node received of the client's packet, one hop further.
fn at_node(flow: &Translated, protocol: u8, l4: &[u8]) -> Vec<u8> {
    Ip { hop_limit: 62, ..Ip::new(flow.snat.ip(), flow.node.ip()) }.packet(protocol, l4)
}

struct Expected {
    outer: (IpAddr, IpAddr),
    inner: (SocketAddr, SocketAddr),
    kinds: [(u8, u8); 2],
}

fn assert_translated(outcome: &crate::rig::Outcome, expected: &Expected) {
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", outcome.counted);
    assert!(outcome.counted.is_empty());
    let seen = Seen::parse(&outcome.frame);
    assert_eq!((seen.source, seen.destination), expected.outer);
    assert_eq!(seen.hop_limit, 63);
    let quote = seen.quote();
    assert_eq!((quote.source, quote.destination), expected.inner);
    assert_eq!(quote.hop_limit, 62);
    let message = seen.message();
    let kind = expected.kinds[usize::from(seen.source.is_ipv6())];
    assert_eq!(((message.kind, message.code), message.rest), (kind, REST));
}

#[test]
fn errors_about_a_connection_reach_the_client_in_its_own_terms() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let tcp = Tcp::data(301).segment(flow.snat, flow.node);
        let packet = at_node(&flow, frame::TCP, &tcp);
        for kinds in ERRORS {
            for quoting in [Quoting::Least, Quoting::Whole] {
                for (from, seen_as) in
                    [(flow.node.ip(), family.vip), (family.router, family.router)]
                {
                    let error = error(&rig, (&family, Leg::Rack), from, kinds, &packet, quoting);
                    let expected = Expected {
                        outer: (seen_as, family.client),
                        inner: (family.client_at(CLIENT_PORT), family.vip_at(HTTP)),
                        kinds,
                    };
                    let outcome = rig.send(Leg::Rack, &error);
                    assert_translated(&outcome, &expected);
                    let ether = Seen::parse(&outcome.frame).ether;
                    assert_eq!(ether, (world::CLIENT_MAC, rig.mac(Leg::Lan)));
                }
            }
        }
        assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1));
    }
}

#[test]
fn errors_about_an_answer_reach_the_node_in_its_own_terms() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let (vip, client) = (family.vip_at(HTTP), family.client_at(CLIENT_PORT));
        let ip = Ip { hop_limit: 62, ..Ip::new(family.vip, family.client) };
        let packet = ip.packet(frame::TCP, &Tcp::data(301).segment(vip, client));
        for kinds in ERRORS {
            for quoting in [Quoting::Least, Quoting::Whole] {
                for from in [family.client, family.router] {
                    let error = error(&rig, (&family, Leg::Lan), from, kinds, &packet, quoting);
                    let expected = Expected {
                        outer: (family.snat, flow.node.ip()),
                        inner: (flow.node, flow.snat),
                        kinds,
                    };
                    let outcome = rig.send(Leg::Lan, &error);
                    assert_translated(&outcome, &expected);
                    assert_eq!(Seen::parse(&outcome.frame).ether.1, rig.mac(Leg::Rack));
                }
            }
        }
        assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1));
    }
}

#[test]
fn errors_about_datagrams_are_translated_too() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::forwarded(&rig, &family, &family.udp(&rig, DNS, b"query"));
        let query = frame::datagram(flow.snat, flow.node, b"query");
        let mut unsummed = query.clone();
        unsummed[6..8].copy_from_slice(&[0, 0]);
        let inner = (family.client_at(CLIENT_PORT), family.vip_at(DNS));
        let datagrams = if family.vip.is_ipv4() { vec![query, unsummed] } else { vec![query] };
        for datagram in datagrams {
            let packet = at_node(&flow, frame::UDP, &datagram);
            for quoting in [Quoting::Least, Quoting::Whole] {
                let kinds = PORT_UNREACHABLE;
                let from = flow.node.ip();
                let error = error(&rig, (&family, Leg::Rack), from, kinds, &packet, quoting);
                let expected = Expected { outer: (family.vip, family.client), inner, kinds };
                assert_translated(&rig.send(Leg::Rack, &error), &expected);
            }
        }
    }
}

#[test]
fn an_error_about_no_flow_is_the_hosts_or_dropped_by_name() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let other = Translated { snat: SocketAddr::new(family.snat, 5_555), ..flow };
        let packet = at_node(&other, frame::TCP, &Tcp::data(1).segment(other.snat, other.node));
        let frame = error(
            &rig,
            (&family, Leg::Rack),
            family.router,
            TIME_EXCEEDED,
            &packet,
            Quoting::Whole,
        );
        rig.send(Leg::Rack, &frame).assert_untouched(&frame, "about the host's own connection");

        let (vip, client) = (family.vip_at(HTTP), family.client_at(5_555));
        let packet = Ip::new(family.vip, family.client)
            .packet(frame::TCP, &Tcp::data(1).segment(vip, client));
        let frame =
            error(&rig, (&family, Leg::Lan), family.router, TIME_EXCEEDED, &packet, Quoting::Whole);
        rig.send(Leg::Lan, &frame).assert_dropped("icmp-unknown", "about no flow");
    }
}

#[test]
fn an_error_that_quotes_somebody_elses_packet_is_not_believed() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let stranger = SocketAddr::new(family.router, HTTP);
        let packet = Ip::new(family.router, family.client)
            .packet(frame::TCP, &Tcp::data(1).segment(stranger, family.client_at(CLIENT_PORT)));
        let frame =
            error(&rig, (&family, Leg::Lan), family.router, TOO_BIG, &packet, Quoting::Whole);
        rig.send(Leg::Lan, &frame).assert_dropped("icmp-unknown", "not from the VIP");
        let later = Ip { fragment: Some((64, false)), ..Ip::new(family.vip, family.client) };
        let packet = later.packet(frame::TCP, &[0; 40]);
        let frame =
            error(&rig, (&family, Leg::Lan), family.router, TOO_BIG, &packet, Quoting::Whole);
        rig.send(Leg::Lan, &frame).assert_dropped("icmp-unknown", "a later fragment");
        assert_eq!(rig.count("flows"), 1);
        let _ = flow;
    }
}

#[test]
fn an_error_out_of_hops_goes_nowhere() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let packet = at_node(&flow, frame::TCP, &Tcp::data(1).segment(flow.snat, flow.node));
        let (protocol, message) =
            family.icmp((flow.node.ip(), family.snat), TIME_EXCEEDED, REST, &packet);
        let ip = Ip { hop_limit: 1, ..Ip::new(flow.node.ip(), family.snat) };
        let frame = family.node_sends(&rig, &ip, protocol, &message);
        rig.send(Leg::Rack, &frame).assert_dropped("ttl", "no errors about errors");
    }
}
