//! What the flow table withstands: floods, ports used up, time.

use std::{collections::BTreeSet, net::SocketAddr};

use crate::{
    flow::{self, Translated},
    frame::{self, ACK, FIN, RST, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    world::{Backend, CLIENT_PORT, DNS, FAMILIES, Family, HTTP, V4},
};

#[test]
fn a_flood_of_syns_costs_no_more_than_its_budget_and_no_connection() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        rig.settings(|settings| settings.half_open_budget(64));
        let kept = flow::open_tcp(&rig, &family, CLIENT_PORT);
        for port in 2_000..4_000 {
            let syn = family.tcp_from(&rig, port, HTTP, &Tcp::flags(SYN));
            assert_eq!(rig.run(Leg::Lan, &syn, 0).0, Verdict::Redirect);
        }
        assert!(rig.count("flows") <= 65, "{} flows", rig.count("flows"));
        assert_eq!(rig.count("replies"), rig.count("flows"));
        let outcome = rig.send(Leg::Rack, &kept.node_sends(&rig, &Tcp::data(5)));
        assert_eq!(outcome.verdict, Verdict::Redirect);
    }
}

#[test]
fn clients_with_the_same_port_get_different_ones_towards_the_node() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let mut seen = BTreeSet::new();
        for host in 1..=100_u8 {
            let mut other = family;
            other.client = match family.client {
                std::net::IpAddr::V4(v4) => {
                    let [a, b, c, _] = v4.octets();
                    [a, b, c, host].into()
                }
                std::net::IpAddr::V6(v6) => {
                    let mut octets = v6.octets();
                    octets[15] = host;
                    octets.into()
                }
            };
            let flow = flow::half_open_tcp(&rig, &other, CLIENT_PORT);
            assert!(seen.insert((flow.snat, flow.node)), "{flow:?} is taken");
        }
    }
}

#[test]
fn ports_used_up_are_counted_and_never_stolen() {
    let mut rig = Rig::serving();
    rig.put_snat(0, V4.snat, (5_000, 5_003));
    rig.put_table(0, &[V4.backend(0)]);
    let mut kept = Vec::new();
    for port in 20_000..20_004 {
        kept.push(flow::open_tcp(&rig, &V4, port));
    }
    let syn = V4.tcp_from(&rig, 20_004, HTTP, &Tcp::flags(SYN));
    rig.send(Leg::Lan, &syn).assert_dropped("snat-exhausted", "four ports, four connections");
    for flow in &kept {
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(5)));
        assert_eq!(outcome.verdict, Verdict::Redirect);
    }
    // A connection that is over gives its port to the next.
    rig.send(Leg::Lan, &V4.tcp_from(&rig, 20_001, HTTP, &Tcp::flags(RST)));
    let next = flow::half_open_tcp(&rig, &V4, 20_004);
    assert_eq!((next.snat, next.node), (kept[1].snat, kept[1].node));
    assert_eq!(rig.count("replies"), 4);
}

#[test]
fn a_second_snat_address_takes_over_where_the_first_is_full() {
    let mut rig = Rig::serving();
    let second = "198.51.100.3".parse().expect("an address");
    rig.put_snat(0, V4.snat, (5_000, 5_003));
    rig.put_snat(2, second, (5_000, 5_003));
    rig.put_snat(1, second, (5_000, 5_003));
    let backend = rig.backend(&V4, 0, V4.nodes[0]);
    rig.put_backend(V4.backend(0), &Backend { snat: (0, 2), ..backend });
    rig.put_table(0, &[V4.backend(0)]);
    let flows: BTreeSet<_> =
        (20_000..20_008).map(|port| flow::open_tcp(&rig, &V4, port).snat).collect();
    assert_eq!(flows.len(), 8);
    assert_eq!(flows.iter().map(SocketAddr::ip).collect::<BTreeSet<_>>().len(), 2);
}

/// A rig whose one SNAT address of the family is this host's own.
fn with_own_snat(family: &Family) -> Rig {
    let mut rig = Rig::serving();
    let id = u16::from(family.vip.is_ipv6());
    rig.put_shared_snat(id, family.snat, (1_024, 65_535));
    rig.put_table(id.into(), &[family.backend(0)]);
    crate::rig::ip("link set lo up");
    let nodad = if family.snat.is_ipv6() { " nodad" } else { "" };
    crate::rig::ip(&format!("addr add {} dev lo{nodad}", family.snat));
    rig
}

#[test]
fn a_port_of_the_hosts_own_socket_is_avoided() {
    for family in FAMILIES {
        let rig = with_own_snat(&family);
        let own = (family.snat, CLIENT_PORT);
        let listener = std::net::TcpListener::bind(own).expect("the client's port is free");
        let flow = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        assert_ne!(flow.snat.port(), CLIENT_PORT);
        drop(listener);
        let other = flow::half_open_tcp(&rig, &family, CLIENT_PORT + 1);
        assert_eq!(other.snat.port(), CLIENT_PORT + 1, "the client's own port is tried first");
    }
}

#[test]
fn a_port_of_the_hosts_own_datagrams_is_avoided() {
    for family in FAMILIES {
        let port = |rig: &Rig| {
            let asked = flow::forwarded(rig, &family, &family.udp(rig, DNS, b"?"));
            asked.snat.port()
        };
        assert_eq!(port(&with_own_snat(&family)), CLIENT_PORT, "no socket has it");
        let rig = with_own_snat(&family);
        let own = (family.snat, CLIENT_PORT);
        let _socket = std::net::UdpSocket::bind(own).expect("the client's port is free");
        assert_ne!(port(&rig), CLIENT_PORT);
    }
}

#[test]
fn a_reset_out_of_nowhere_does_not_end_a_connection() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::flags(RST)));
        let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(5)));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::data(5)));
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
    }
}

#[test]
fn a_syn_within_a_connection_is_for_its_node_to_challenge() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let other = usize::from(flow.node.ip() == family.nodes[0]);
        rig.put_table(rig.frontend(&family, HTTP, 0).table, &[family.backend(other)]);
        let again = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        assert_eq!((again.node, again.snat), (flow.node, flow.snat), "it does not choose again");
        let challenge = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::flags(ACK)));
        assert_eq!(challenge.verdict, Verdict::Redirect);
        assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1));
        assert_lasts(&mut rig, 7_440, "an established connection after a SYN");
    }
}

#[test]
fn an_old_connections_place_is_taken_by_the_clients_next_syn() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let other = usize::from(flow.node.ip() == family.nodes[0]);
        rig.put_table(rig.frontend(&family, HTTP, 0).table, &[family.backend(other)]);
        for flags in [FIN | ACK, ACK] {
            rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::flags(flags)));
            rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::flags(flags)));
        }
        let next = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
        assert_eq!(next.node.ip(), family.nodes[other], "a closed connection's SYN chooses again");
        assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1));
    }
}

/// The frontend's NodePort changes, as when its address and port are another Service's by now: what
/// is closed, not established yet, or a datagram goes to the new one, a connection stays.
#[test]
fn only_a_connection_keeps_a_node_port_that_its_frontend_has_no_more() {
    const OTHER: u16 = 31_999;
    for family in FAMILIES {
        for (what, moves) in [("closed", true), ("half-open", true), ("established", false)] {
            let mut rig = Rig::serving();
            let before = match what {
                "half-open" => flow::half_open_tcp(&rig, &family, CLIENT_PORT),
                _ => flow::open_tcp(&rig, &family, CLIENT_PORT),
            };
            if what == "closed" {
                exchange(&rig, &family, &before, Some(FIN | ACK), Some(FIN | ACK));
            }
            let http = rig.frontend(&family, HTTP, OTHER);
            rig.put_frontend(family.vip_at(HTTP), frame::TCP, &http);
            let next = flow::half_open_tcp(&rig, &family, CLIENT_PORT);
            assert_eq!(next.node.port() == OTHER, moves, "{what}: {next:?}");
            assert_eq!((rig.count("flows"), rig.count("replies")), (1, 1), "{what}");
        }
        let mut rig = Rig::serving();
        let query = family.udp(&rig, DNS, b"?");
        flow::forwarded(&rig, &family, &query);
        rig.put_frontend(family.vip_at(DNS), frame::UDP, &rig.frontend(&family, DNS, OTHER));
        rig.idle(1);
        assert_eq!(flow::forwarded(&rig, &family, &query).node.port(), OTHER);
    }
}

/// Asserts that the only flow, and both its entries, last `seconds` without a packet and no longer.
pub(crate) fn assert_lasts(rig: &mut Rig, seconds: u32, what: &str) {
    rig.idle(seconds - 2);
    assert_eq!(rig.sweep(), 0, "{what} is swept early");
    rig.idle(2);
    assert_eq!(rig.sweep(), 1, "{what} is not swept");
    assert_eq!((rig.count("flows"), rig.count("replies")), (0, 0), "{what}");
}

#[test]
fn flows_last_as_long_as_their_state_says() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        for (what, seconds, from_client, from_node) in [
            ("a half-open connection", 30, None, None),
            ("a connection", 7_440, Some(ACK), None),
            ("one that the client has closed", 7_440, Some(FIN | ACK), None),
            ("one that the node has closed", 240, None, Some(FIN | ACK)),
            ("one that both have, the client first", 10, Some(FIN | ACK), Some(FIN | ACK)),
            ("one that was reset", 10, Some(RST), None),
        ] {
            let flow = match (from_client, from_node) {
                (None, None) => flow::half_open_tcp(&rig, &family, CLIENT_PORT),
                _ => flow::open_tcp(&rig, &family, CLIENT_PORT),
            };
            exchange(&rig, &family, &flow, from_client, from_node);
            assert_lasts(&mut rig, seconds, what);
        }
    }
}

#[test]
fn a_reset_of_an_idle_connection_leaves_its_ends_the_time_to_contradict() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        for (from_client, from_node) in [(Some(RST), None), (None, Some(RST))] {
            let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
            rig.idle(600);
            exchange(&rig, &family, &flow, from_client, from_node);
            rig.idle(3);
            exchange(&rig, &family, &flow, from_client, from_node);
            assert_lasts(&mut rig, 240, "an idle connection that somebody has reset, twice");
        }
    }
}

fn exchange(
    rig: &Rig,
    family: &Family,
    flow: &Translated,
    from_client: Option<u8>,
    from_node: Option<u8>,
) {
    if let Some(flags) = from_client {
        rig.send(Leg::Lan, &family.tcp(rig, HTTP, &Tcp::flags(flags)));
    }
    if let Some(flags) = from_node {
        rig.send(Leg::Rack, &flow.node_sends(rig, &Tcp::flags(flags)));
    }
}

#[test]
fn a_port_is_held_where_the_node_closed_first() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::flags(FIN | ACK)));
        rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::flags(FIN | ACK)));
        assert_lasts(&mut rig, 60, "a connection in the node's TIME_WAIT");
    }
}

#[test]
fn datagrams_last_longer_once_they_are_more_than_one_exchange() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let query = family.udp(&rig, DNS, b"?");
        flow::forwarded(&rig, &family, &query);
        assert_lasts(&mut rig, 30, "an unanswered query");
        let flow = flow::forwarded(&rig, &family, &query);
        rig.send(Leg::Rack, &flow.udp_node_sends(&rig, b"!"));
        assert_lasts(&mut rig, 30, "an answered query");
        for later in [query.clone(), Vec::new()] {
            let flow = flow::forwarded(&rig, &family, &query);
            rig.send(Leg::Rack, &flow.udp_node_sends(&rig, b"!"));
            rig.idle(2);
            if later.is_empty() {
                rig.send(Leg::Rack, &flow.udp_node_sends(&rig, b"more"));
            } else {
                rig.send(Leg::Lan, &later);
            }
            assert_lasts(&mut rig, 180, "an exchange that either side carries on with");
        }
    }
}

#[test]
fn packets_of_either_side_keep_a_flow() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let flow = flow::forwarded(&rig, &family, &family.udp(&rig, DNS, b"?"));
        rig.send(Leg::Rack, &flow.udp_node_sends(&rig, b"!"));
        rig.idle(2);
        rig.send(Leg::Lan, &family.udp(&rig, DNS, b"?"));
        for _ in 0..3 {
            rig.idle(170);
            rig.send(Leg::Rack, &flow.udp_node_sends(&rig, b"!"));
            assert_eq!(rig.sweep(), 0, "the node still sends");
            rig.idle(170);
            rig.send(Leg::Lan, &family.udp(&rig, DNS, b"?"));
            assert_eq!(rig.sweep(), 0, "the client still sends");
        }
    }
}
