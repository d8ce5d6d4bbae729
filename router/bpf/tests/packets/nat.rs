//! The path of a connection: client to node and back, and who is left alone.

use std::net::SocketAddr;

use crate::{
    flow::{self, Translated},
    frame::{self, ACK, FIN, Ip, RST, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{self, CLIENT_PORT, DNS, DNS_NODE, FAMILIES, HOST, HTTP, HTTP_NODE, ORPHAN, V4},
};

#[test]
fn a_syn_goes_to_a_node_with_everything_else_unchanged() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let syn = Tcp { options: vec![2, 4, 5, 180, 1, 1, 1, 1], ..Tcp::flags(SYN) };
        let sent = Seen::parse(&family.tcp(&rig, HTTP, &syn));
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &syn));
        assert_eq!((outcome.verdict, &outcome.counted[..]), (Verdict::Redirect, &[][..]));
        let seen = Seen::parse(&outcome.frame);
        let (source, destination) = seen.ends();
        assert_eq!(source, SocketAddr::new(family.snat, CLIENT_PORT));
        assert!(family.nodes.contains(&destination.ip()));
        assert_eq!(destination.port(), HTTP_NODE);
        let node = usize::from(destination.ip() == family.nodes[1]);
        assert_eq!(seen.ether, (world::node_mac(node), rig.mac(Leg::Rack)));
        assert_eq!(seen.hop_limit, sent.hop_limit - 1);
        assert_eq!(seen.payload[4..16], sent.payload[4..16]);
        assert_eq!(seen.payload[18..], sent.payload[18..]);
        assert_eq!((seen.id, seen.dont_fragment), (sent.id, sent.dont_fragment));
        assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1));
    }
}

#[test]
fn the_answer_goes_back_to_the_client_from_the_vip() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let segment = Tcp { payload: frame::bytes(333), ..Tcp::flags(ACK) };
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &segment));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let seen = Seen::parse(&outcome.frame);
        assert_eq!(seen.ends(), (family.vip_at(HTTP), family.client_at(CLIENT_PORT)));
        assert_eq!(seen.ether, (world::CLIENT_MAC, rig.mac(Leg::Lan)));
        assert_eq!(seen.hop_limit, 63);
        assert_eq!(seen.data(), frame::bytes(333));
    }
}

#[test]
fn a_connection_stays_with_its_node_when_the_table_changes() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let other = usize::from(flow.node.ip() == family.nodes[0]);
        rig.put_table(rig.frontend(&family, HTTP, 0).table, &[family.backend(other)]);
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::data(10)));
        assert_eq!(Seen::parse(&outcome.frame).ends(), (flow.snat, flow.node));
    }
}

#[test]
fn a_syn_sent_again_goes_to_the_same_node_from_the_same_port() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let syn = family.tcp(&rig, HTTP, &Tcp::flags(SYN));
        let first = Seen::parse(&rig.send(Leg::Lan, &syn).frame).ends();
        assert_eq!(Seen::parse(&rig.send(Leg::Lan, &syn).frame).ends(), first);
        assert_eq!(rig.count("flows"), 1);
    }
}

/// S4: the node of a handshake drains, and may have answered already.
#[test]
fn a_syn_sent_again_stays_with_a_node_that_has_left_the_table_and_serves_on() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let syn = family.tcp(&rig, HTTP, &Tcp::flags(SYN));
        let first = Seen::parse(&rig.send(Leg::Lan, &syn).frame).ends();
        let other = usize::from(first.1.ip() == family.nodes[0]);
        let table = rig.frontend(&family, HTTP, HTTP_NODE).table;
        rig.put_table(table, &[family.backend(other)]);
        assert_eq!(Seen::parse(&rig.send(Leg::Lan, &syn).frame).ends(), first);
    }
}

#[test]
fn connections_are_spread_over_both_nodes() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let mut to_first = 0;
        for port in 20_000..20_200 {
            let syn = family.tcp_from(&rig, port, HTTP, &Tcp::flags(SYN));
            let (_, node) = Seen::parse(&rig.send(Leg::Lan, &syn).frame).ends();
            to_first += u32::from(node.ip() == family.nodes[0]);
        }
        assert!((60..140).contains(&to_first), "{to_first} of 200 to the first node");
    }
}

#[test]
fn udp_goes_there_and_back() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let outcome = rig.send(Leg::Lan, &family.udp(&rig, DNS, b"query"));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let seen = Seen::parse(&outcome.frame);
        let (snat, node) = seen.ends();
        assert_eq!((snat.ip(), node.port()), (family.snat, DNS_NODE));
        assert_eq!(seen.data(), b"query");

        let datagram = frame::datagram(node, snat, b"answer");
        let ip = Ip::new(node.ip(), snat.ip());
        let outcome = rig.send(Leg::Rack, &family.node_sends(&rig, &ip, frame::UDP, &datagram));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let seen = Seen::parse(&outcome.frame);
        assert_eq!(seen.ends(), (family.vip_at(DNS), family.client_at(CLIENT_PORT)));
        assert_eq!(seen.data(), b"answer");
    }
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    let rig = Rig::serving();
    let mut datagram =
        frame::datagram(V4.client_at(CLIENT_PORT), V4.vip_at(DNS), b"no checksum, odd");
    datagram[6..8].copy_from_slice(&[0, 0]);
    let ip = Ip::new(V4.client, V4.vip);
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::UDP, &datagram));
    assert_eq!(outcome.verdict, Verdict::Redirect);
    assert_eq!(Seen::parse(&outcome.frame).payload[6..8], [0, 0]);
}

#[test]
fn a_checksum_that_comes_to_nought_is_sent_as_all_ones() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let nothing = rig.send(Leg::Lan, &family.udp(&rig, DNS, &[0, 0]));
        let checksum = Seen::parse(&nothing.frame).payload[6..8].to_vec();
        // A word that is the checksum of the rest makes the sum all ones.
        let outcome = rig.send(Leg::Lan, &family.udp(&rig, DNS, &checksum));
        assert_eq!(Seen::parse(&outcome.frame).payload[6..8], [0xff, 0xff]);
    }
}

#[test]
fn traffic_class_and_odd_lengths_survive() {
    for family in FAMILIES {
        let rig = Rig::serving();
        flow::open_tcp(&rig, &family, CLIENT_PORT);
        for length in [0, 1, 2, 3, 255, 256, 1_201] {
            let ip = Ip { class: 0xb9, ..Ip::new(family.client, family.vip) };
            let segment =
                Tcp::data(length).segment(family.client_at(CLIENT_PORT), family.vip_at(HTTP));
            let outcome = rig.send(Leg::Lan, &family.client_sends(&rig, &ip, frame::TCP, &segment));
            let seen = Seen::parse(&outcome.frame);
            assert_eq!((seen.class, seen.data()), (0xb9, &frame::bytes(length)[..]));
        }
    }
}

#[test]
fn ip_options_are_carried_along() {
    let rig = Rig::serving();
    let options = vec![7, 7, 4, 0, 0, 0, 0, 0];
    let ip = Ip { options: options.clone(), ..Ip::new(V4.client, V4.vip) };
    let segment = Tcp::flags(SYN).segment(V4.client_at(CLIENT_PORT), V4.vip_at(HTTP));
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::TCP, &segment));
    assert_eq!(outcome.verdict, Verdict::Redirect);
    assert_eq!(Seen::parse(&outcome.frame).between, options);
}

#[test]
fn another_service_of_the_same_client_keeps_its_own_flow() {
    let rig = Rig::serving();
    flow::open_tcp(&rig, &V4, CLIENT_PORT);
    let on_host = SocketAddr::new(HOST, HTTP);
    let segment = Tcp::flags(SYN).segment(V4.client_at(CLIENT_PORT), on_host);
    let ip = Ip::new(V4.client, HOST);
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::TCP, &segment));
    assert_eq!(outcome.verdict, Verdict::Redirect);
    assert_eq!(rig.count("flows"), 2);
}

#[test]
fn a_node_may_be_the_client() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let node = SocketAddr::new(family.nodes[0], CLIENT_PORT);
        let segment = Tcp::flags(SYN).segment(node, family.vip_at(HTTP));
        let ip = Ip::new(family.nodes[0], family.vip);
        let syn = family.node_sends(&rig, &ip, frame::TCP, &segment);
        let outcome = rig.send(Leg::Rack, &syn);
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let (source, target) = Seen::parse(&outcome.frame).ends();
        assert_eq!(source.ip(), family.snat);

        let flow = Translated { snat: source, node: target, family };
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::flags(SYN | ACK)));
        let seen = Seen::parse(&outcome.frame);
        assert_eq!(seen.ends(), (family.vip_at(HTTP), node));
        assert_eq!(seen.ether, (world::node_mac(0), rig.mac(Leg::Rack)));
    }
}

#[test]
fn a_node_whose_mac_is_unknown_is_left_to_the_neighbour_code() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        for (node, &address) in family.nodes.iter().enumerate() {
            let known = rig.backend(&family, node, address);
            rig.put_backend(family.backend(node), &world::Backend { mac: None, ..known });
        }
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::flags(SYN)));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        assert_eq!(Seen::parse(&outcome.frame).ends().1.port(), HTTP_NODE);
    }
}

#[test]
fn what_is_not_ours_passes_untouched() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let pass = |leg, frame: &[u8], why| rig.send(leg, frame).assert_untouched(frame, why);
        let syn = Tcp::flags(SYN);
        let stranger = Ip::new(family.client, family.router);
        let end = SocketAddr::new(family.router, HTTP);
        let segment = syn.segment(family.client_at(CLIENT_PORT), end);
        pass(
            Leg::Lan,
            &family.client_sends(&rig, &stranger, frame::TCP, &segment),
            "another destination",
        );
        let unknown = Translated {
            snat: SocketAddr::new(family.snat, 5_555),
            node: SocketAddr::new(family.nodes[0], HTTP_NODE),
            family,
        };
        pass(Leg::Rack, &unknown.node_sends(&rig, &syn), "the host's own connection");
        let mut elsewhere = family.tcp(&rig, HTTP, &syn);
        elsewhere[0..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
        pass(Leg::Lan, &elsewhere, "a frame to another host");
        for group in [[0xff; 6], [0x01, 0x00, 0x5e, 0, 0, 1]] {
            let mut to_all = family.tcp(&rig, HTTP, &syn);
            to_all[0..6].copy_from_slice(&group);
            pass(Leg::Lan, &to_all, "a frame to everybody (RFC 1122 section 3.3.6)");
        }
        let whole = family.tcp(&rig, HTTP, &syn);
        let tagged = [&whole[..12], &[0x81, 0, 0, 5], &whole[12..]].concat();
        pass(Leg::Lan, &tagged, "802.1Q");
        assert_eq!(rig.count("flows"), 0);
    }
}

#[test]
fn unclaimed_ports_of_the_hosts_address_are_the_hosts() {
    let rig = Rig::serving();
    let ip = Ip::new(V4.client, HOST);
    for (port, flags) in [(22, SYN), (ORPHAN, SYN), (22, ACK), (HTTP, ACK), (HTTP, RST)] {
        let end = SocketAddr::new(HOST, port);
        let segment = Tcp::flags(flags).segment(V4.client_at(CLIENT_PORT), end);
        let frame = V4.client_sends(&rig, &ip, frame::TCP, &segment);
        rig.send(Leg::Lan, &frame).assert_untouched(&frame, "the host's");
    }
}

#[test]
fn a_source_that_cannot_be_answered_opens_nothing() {
    let rig = Rig::serving();
    let ours = [V4.vip, HOST, V4.snat].map(|own| own.to_string());
    let foreign = ["0.1.2.3", "127.0.0.1", "224.0.0.9", "255.255.255.255"].map(str::to_owned);
    for source in foreign.into_iter().chain(ours) {
        let source: std::net::IpAddr = source.parse().expect("an address");
        let segment =
            Tcp::flags(SYN).segment(SocketAddr::new(source, CLIENT_PORT), V4.vip_at(HTTP));
        let frame = V4.client_sends(&rig, &Ip::new(source, V4.vip), frame::TCP, &segment);
        rig.send(Leg::Lan, &frame).assert_dropped("spoofed", "source");
    }
    assert_eq!(rig.count("flows"), 0);
}

#[test]
fn two_vips_do_not_answer_each_other_for_ever() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let second = family.router;
        rig.put_vip(second, 1, u32::MAX);
        let (from, to) = (SocketAddr::new(second, DNS), family.vip_at(DNS));
        let datagram = frame::datagram(from, to, b"answer me");
        let ip = Ip::new(second, family.vip);
        let spoofed = family.client_sends(&rig, &ip, frame::UDP, &datagram);
        rig.send(Leg::Lan, &spoofed).assert_dropped("spoofed", "another VIP");
    }
}

#[test]
fn a_vip_is_not_ours_on_a_leg_where_it_is_hidden() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        rig.put_vip(family.vip, 1, 0b10);
        for port in [HTTP, world::CLOSED] {
            let frame = family.tcp(&rig, port, &Tcp::flags(SYN));
            let outcome = rig.send(Leg::Lan, &frame);
            assert_eq!((outcome.verdict, &outcome.frame), (Verdict::Pass, &frame));
            assert_eq!(outcome.counted, ["not-visible"]);
        }
    }
}

#[test]
fn both_directions_close_and_the_next_syn_opens_again() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::flags(FIN | ACK)));
        rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::flags(FIN | ACK)));
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::flags(SYN)));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1));
    }
}

#[test]
fn one_address_is_enough_for_the_host_its_services_and_its_way_to_the_nodes() {
    let mut rig = Rig::serving();
    rig.put_shared_snat(0, HOST, (1_024, 65_535));
    let end = SocketAddr::new(HOST, HTTP);
    let ip = Ip::new(V4.client, HOST);
    let syn = Tcp::flags(SYN).segment(V4.client_at(CLIENT_PORT), end);
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::TCP, &syn));
    let (snat, node) = Seen::parse(&outcome.frame).ends();
    assert_eq!(snat, SocketAddr::new(HOST, CLIENT_PORT));

    let flow = Translated { snat, node, family: V4 };
    let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::flags(SYN | ACK)));
    assert_eq!(Seen::parse(&outcome.frame).ends(), (end, V4.client_at(CLIENT_PORT)));
    for (leg, from) in [(Leg::Lan, V4.client), (Leg::Rack, V4.nodes[0])] {
        let own = Tcp::data(5).segment(SocketAddr::new(from, 22), SocketAddr::new(HOST, 2_222));
        let frame = frame::ethernet(
            rig.mac(leg),
            world::CLIENT_MAC,
            0x0800,
            &Ip::new(from, HOST).packet(frame::TCP, &own),
        );
        rig.send(leg, &frame).assert_untouched(&frame, "the host's own connection");
    }
}

#[test]
fn a_services_port_is_never_the_source_of_a_flow_from_the_same_address() {
    let mut rig = Rig::serving();
    rig.put_shared_snat(0, HOST, (1, 65_535));
    let syn = Tcp::flags(SYN).segment(V4.client_at(HTTP), V4.vip_at(HTTP));
    let ip = Ip::new(V4.client, V4.vip);
    let outcome = rig.send(Leg::Lan, &V4.client_sends(&rig, &ip, frame::TCP, &syn));
    let (snat, _) = Seen::parse(&outcome.frame).ends();
    assert_eq!(snat.ip(), HOST);
    assert_ne!(snat.port(), HTTP);
}
