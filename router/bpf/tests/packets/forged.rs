//! What somebody can send who knows a client's address and port, and sees nothing of its connection.

use crate::{
    flow::{self, Translated},
    frame::{self, ACK, FIN, Ip, RST, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    table::assert_lasts,
    world::{CLIENT_MAC, CLIENT_PORT, DNS, FAMILIES, Family, HTTP, V4, V6},
};

/// The client's flags with numbers that do not fit.
fn wrong(flags: u8) -> Tcp {
    Tcp { sequence: 0x7000_0000, acknowledgement: 0x0123_4567, ..Tcp::flags(flags) }
}

fn client_sends(rig: &Rig, family: &Family, tcp: &Tcp) {
    assert_eq!(rig.send(Leg::Lan, &family.tcp(rig, HTTP, tcp)).verdict, Verdict::Redirect);
}

fn node_sends(rig: &Rig, flow: &Translated, tcp: &Tcp) {
    assert_eq!(rig.send(Leg::Rack, &flow.node_sends(rig, tcp)).verdict, Verdict::Redirect);
}

#[test]
fn only_an_acknowledgement_of_the_nodes_number_completes_a_handshake() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let near = [0, 998, 999, 1_001, 1_000 + (1 << 16), 1_000 ^ (1 << 31)];
        for number in near {
            let flow = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
            client_sends(&rig, &family, &Tcp { acknowledgement: 0, ..Tcp::flags(ACK) });
            node_sends(&rig, &flow, &Tcp::flags(SYN | ACK));
            client_sends(&rig, &family, &Tcp { acknowledgement: number, ..Tcp::flags(ACK) });
            client_sends(&rig, &family, &Tcp { acknowledgement: number, ..Tcp::flags(FIN | ACK) });
            // The node's answer to such a segment proves nothing.
            node_sends(&rig, &flow, &Tcp::flags(ACK));
            assert_lasts(&mut rig, 30, "a handshake that nobody has completed");
        }
        flow::open_tcp(&rig, &family, CLIENT_PORT);
        assert_lasts(&mut rig, 7_440, "one that the client has");
    }
}

#[test]
fn a_node_that_answers_no_syn_establishes_nothing() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        node_sends(&rig, &flow, &Tcp::flags(ACK));
        client_sends(&rig, &family, &Tcp { acknowledgement: 0, ..Tcp::flags(ACK) });
        assert_lasts(&mut rig, 30, "a challenge to the SYN of a port used again");
    }
}

#[test]
fn a_node_that_speaks_has_seen_the_handshake_completed() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        node_sends(&rig, &flow, &Tcp::flags(SYN | ACK));
        node_sends(&rig, &flow, &Tcp { flags: ACK | 8, ..Tcp::data(20) });
        assert_lasts(&mut rig, 7_440, "a connection whose node sends data");
    }
}

#[test]
fn a_syn_begins_the_proof_anew() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        client_sends(&rig, &family, &Tcp::flags(FIN | ACK));
        node_sends(&rig, &flow, &Tcp::flags(FIN | ACK));
        flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        node_sends(&rig, &flow, &Tcp { sequence: 70_000, ..Tcp::flags(SYN | ACK) });
        client_sends(&rig, &family, &Tcp::flags(ACK));
        assert_lasts(&mut rig, 30, "an acknowledgement of the connection before");
    }
}

#[test]
fn a_forged_end_leaves_a_connection_its_time() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        for flags in [FIN, FIN | ACK, RST, RST | ACK] {
            for idle in [0, 600] {
                flow::open_tcp(&rig, &family, CLIENT_PORT);
                rig.idle(idle);
                client_sends(&rig, &family, &wrong(flags));
                client_sends(&rig, &family, &wrong(flags));
                assert_lasts(&mut rig, 7_440, &format!("idle for {idle} s, then {flags:#x}"));
            }
        }
    }
}

#[test]
fn a_forged_end_is_no_half_of_a_close() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        client_sends(&rig, &family, &wrong(FIN | ACK));
        node_sends(&rig, &flow, &Tcp::flags(FIN | ACK));
        assert_lasts(&mut rig, 240, "only the node has closed");
    }
}

#[test]
fn a_reset_counts_where_its_number_is_what_the_node_expects() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let expected = 5_000_000;
        for (number, seconds) in [
            (expected, 10),
            (expected + 100_000, 10),
            (expected - 1, 7_440),
            (expected + (1 << 20), 7_440),
        ] {
            let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
            node_sends(&rig, &flow, &Tcp { acknowledgement: expected, ..Tcp::flags(ACK) });
            client_sends(&rig, &family, &Tcp { sequence: number, ..Tcp::flags(RST) });
            assert_lasts(&mut rig, seconds, &format!("a reset at {number}"));
        }
    }
}

#[test]
fn a_reset_that_the_node_challenged_counts_when_it_is_right() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        client_sends(&rig, &family, &wrong(RST));
        node_sends(&rig, &flow, &Tcp { acknowledgement: 4_000, ..Tcp::flags(ACK) });
        client_sends(&rig, &family, &Tcp { sequence: 4_000, ..Tcp::flags(RST) });
        assert_lasts(&mut rig, 10, "a connection that the client has aborted");
    }
}

#[test]
fn an_aborted_connection_gives_its_port_to_the_next_that_finds_none() {
    let mut rig = Rig::serving();
    rig.put_snat(0, V4.snat, (5_000, 5_000));
    rig.put_table(0, &[V4.backend(0)]);
    let flow = flow::open_tcp(&rig, &V4, CLIENT_PORT);
    let next = V4.tcp_from(&rig, 20_000, HTTP, &Tcp::flags(SYN));
    client_sends(&rig, &V4, &wrong(RST));
    rig.send(Leg::Lan, &next).assert_dropped("snat-exhausted", "a forged reset frees nothing");
    client_sends(&rig, &V4, &Tcp::flags(RST));
    assert_eq!(Seen::parse(&rig.send(Leg::Lan, &next).frame).ends().0, flow.snat);
}

/// A frame of the client's packet that comes by the nodes' leg, from somebody there.
fn by_the_rack(rig: &Rig, frame: &[u8]) -> Vec<u8> {
    let macs = [&rig.mac(Leg::Rack)[..], &[2, 6, 6, 6, 6, 6]].concat();
    [&macs, &frame[12..]].concat()
}

#[test]
fn a_leg_that_does_not_see_the_vip_turns_no_way_back() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        rig.put_vip(family.vip, 1, 0b01);
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let flags = [ACK, FIN | ACK, RST, SYN];
        for tcp in flags.map(Tcp::flags) {
            rig.idle(2);
            let frame = by_the_rack(&rig, &family.tcp(&rig, HTTP, &tcp));
            let outcome = rig.send(Leg::Rack, &frame);
            assert_eq!(
                (outcome.verdict, &outcome.counted[..]),
                (Verdict::Pass, &["not-visible"][..])
            );
            let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(5)));
            let seen = Seen::parse(&outcome.frame);
            assert_eq!(seen.ether, (CLIENT_MAC, rig.mac(Leg::Lan)));
        }
        assert_lasts(&mut rig, 7_440, "a connection that was spoken to by another leg");
    }
}

#[test]
fn a_client_that_comes_by_another_leg_that_sees_the_vip_is_answered_there() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        rig.idle(2);
        let frame = by_the_rack(&rig, &family.tcp(&rig, HTTP, &Tcp::data(5)));
        assert_eq!(rig.send(Leg::Rack, &frame).verdict, Verdict::Redirect);
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(5)));
        let seen = Seen::parse(&outcome.frame);
        assert_eq!(seen.ether, ([2, 6, 6, 6, 6, 6], rig.mac(Leg::Rack)));
    }
}

/// A packet too big with this MTU, about a datagram or segment of the flow's node.
fn too_big(rig: &Rig, family: &Family, protocol: u8, mtu: u16) -> Vec<u8> {
    let (vip, client) = match protocol {
        frame::TCP => (family.vip_at(HTTP), family.client_at(CLIENT_PORT)),
        _ => (family.vip_at(DNS), family.client_at(CLIENT_PORT)),
    };
    let l4 = match protocol {
        frame::TCP => Tcp::data(600).segment(vip, client),
        _ => frame::datagram(vip, client, &frame::bytes(600)),
    };
    let quoted = Ip::new(vip.ip(), client.ip()).packet(protocol, &l4);
    let [high, low] = mtu.to_be_bytes();
    let ip = Ip::new(family.router, family.vip);
    let (number, message) = family.icmp(
        (family.router, family.vip),
        [(3, 4), (2, 0)],
        [0, 0, high, low],
        &quoted[..120],
    );
    family.client_sends(rig, &ip, number, &message)
}

fn told(rig: &Rig, family: &Family, protocol: u8, mtu: u16) -> [u8; 4] {
    let outcome = rig.send(Leg::Lan, &too_big(rig, family, protocol, mtu));
    assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0), "{mtu}");
    Seen::parse(&outcome.frame).message().rest
}

#[test]
fn a_client_shrinks_the_nodes_path_no_further_than_paths_are() {
    let rig = Rig::serving();
    for family in FAMILIES {
        flow::open_tcp(&rig, &family, CLIENT_PORT);
        flow::forwarded(&rig, &family, &family.udp(&rig, DNS, b"?"));
    }
    for (family, protocol, mtu, bounded) in [
        (V4, frame::UDP, 68, 1_280_u16),
        (V4, frame::UDP, 1_279, 1_280),
        (V4, frame::UDP, 1_400, 1_400),
        (V4, frame::TCP, 68, 576),
        (V4, frame::TCP, 575, 576),
        (V4, frame::TCP, 1_000, 1_000),
        (V6, frame::UDP, 1_280, 1_280),
        (V6, frame::TCP, 1_280, 1_280),
    ] {
        let [high, low] = bounded.to_be_bytes();
        assert_eq!(told(&rig, &family, protocol, mtu), [0, 0, high, low], "{protocol} {mtu}");
    }
    for (family, mtu) in [(V4, 0), (V4, 67), (V6, 0), (V6, 68), (V6, 1_279)] {
        for protocol in [frame::TCP, frame::UDP] {
            let frame = too_big(&rig, &family, protocol, mtu);
            rig.send(Leg::Lan, &frame).assert_dropped("path-mtu", &format!("{mtu}"));
        }
    }
}
