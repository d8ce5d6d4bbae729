//! Source ports run out: who gives one up, and who never does.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::{
    flow::{self, Translated},
    frame::{self, ACK, Ip, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{CLIENT_PORT, DNS, FAMILIES, Family, HTTP},
};

/// Few enough that every search meets all of them.
const PORTS: u16 = 16;

/// One node, and few ports towards it.
fn scarce(family: &Family) -> Rig {
    let mut rig = Rig::serving();
    let table = rig.frontend(family, HTTP, 0).table;
    let snat = u16::try_from(table).expect("one of two");
    rig.put_snat(snat, family.snat, (5_000, 5_000 + PORTS - 1));
    rig.put_table(table, &[family.backend(0)]);
    rig
}

/// The same family with another client.
fn client(family: &Family, number: u16) -> Family {
    let [high, low] = number.to_be_bytes();
    let client = match family.client {
        IpAddr::V4(_) => IpAddr::from([198, 18, high, low]),
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[14..].copy_from_slice(&[high, low]);
            IpAddr::from(octets)
        }
    };
    let mut other = *family;
    other.client = client;
    other
}

fn query(rig: &Rig, family: &Family, number: u16) -> (Verdict, Vec<&'static str>) {
    let outcome = rig.send(Leg::Lan, &client(family, number).udp(rig, DNS, b"?"));
    (outcome.verdict, outcome.counted)
}

/// Datagrams of as many clients as there are ports, each answered.
fn exchanges(rig: &Rig, family: &Family) -> Vec<Translated> {
    let open = |number| {
        let other = client(family, number);
        let flow = flow::forwarded(rig, &other, &other.udp(rig, DNS, b"?"));
        rig.send(Leg::Rack, &flow.udp_node_sends(rig, b"!"));
        flow
    };
    (0..PORTS).map(open).collect()
}

#[test]
fn a_flood_of_syns_takes_no_port_from_a_connection_and_leaves_one_for_the_next() {
    for family in FAMILIES {
        let rig = scarce(&family);
        let kept: Vec<_> =
            (0..4).map(|n| flow::open_tcp(&rig, &client(&family, n), 1_025)).collect();
        for number in 100..400 {
            let spoofed = client(&family, number);
            let syn = spoofed.tcp(&rig, HTTP, &Tcp::flags(SYN));
            assert_eq!(rig.send(Leg::Lan, &syn).verdict, Verdict::Redirect, "SYN {number}");
        }
        assert_eq!(rig.count("flows"), usize::from(PORTS));
        assert_eq!(rig.count("replies"), usize::from(PORTS));
        assert_eq!(rig.counted(), ["half-open-reclaimed"]);
        flow::open_tcp(&rig, &client(&family, 5), CLIENT_PORT);
        for (number, flow) in (0..).zip(&kept) {
            let outcome = rig.send(Leg::Rack, &flow.node_sends(&rig, &Tcp::data(5)));
            let to = SocketAddr::new(client(&family, number).client, 1_025);
            assert_eq!(
                Seen::parse(&outcome.frame).ends().1,
                to,
                "an established one keeps its port"
            );
        }
    }
}

#[test]
fn the_oldest_half_open_connection_goes_first() {
    for family in FAMILIES {
        let mut rig = scarce(&family);
        let first = flow::half_open_tcp(&rig, &client(&family, 0), CLIENT_PORT);
        rig.idle(3);
        for number in 1..PORTS {
            flow::half_open_tcp(&rig, &client(&family, number), CLIENT_PORT);
        }
        let next = flow::half_open_tcp(&rig, &client(&family, PORTS), CLIENT_PORT);
        assert_eq!(next.snat, first.snat);
        // What the former holder still sends belongs to nothing.
        let late = client(&family, 0).tcp(&rig, HTTP, &Tcp::flags(ACK));
        assert_eq!(rig.send(Leg::Lan, &late).counted, ["no-flow"]);
    }
}

#[test]
fn an_unanswered_query_gives_its_port_up() {
    for family in FAMILIES {
        let rig = scarce(&family);
        for number in 0..PORTS * 4 {
            assert_eq!(query(&rig, &family, number).0, Verdict::Redirect, "query {number}");
        }
        assert_eq!(rig.counted(), ["half-open-reclaimed"]);
    }
}

#[test]
fn an_answered_query_gives_its_port_up_after_seconds_of_silence() {
    for family in FAMILIES {
        let mut rig = scarce(&family);
        let flows = exchanges(&rig, &family);
        assert_eq!(flows.iter().map(|flow| flow.snat).collect::<BTreeSet<_>>().len(), flows.len());
        rig.idle(3);
        assert_eq!(query(&rig, &family, 100), (Verdict::Drop, vec!["snat-exhausted"]));
        rig.idle(3);
        assert_eq!(query(&rig, &family, 101), (Verdict::Redirect, vec!["exchange-reclaimed"]));
        assert_eq!((rig.count("flows"), rig.count("replies")), (16, 16));
    }
}

#[test]
fn a_client_that_asks_again_keeps_its_port() {
    for family in FAMILIES {
        let mut rig = scarce(&family);
        exchanges(&rig, &family);
        rig.idle(6);
        for number in 0..PORTS {
            assert_eq!(query(&rig, &family, number).0, Verdict::Redirect);
        }
        rig.idle(20);
        assert_eq!(query(&rig, &family, 100), (Verdict::Drop, vec!["snat-exhausted"]));
        rig.idle(20);
        assert_eq!(query(&rig, &family, 101), (Verdict::Redirect, vec!["exchange-reclaimed"]));
    }
}

#[test]
fn a_stale_reverse_entry_takes_no_flow_with_it() {
    for family in FAMILIES {
        let rig = scarce(&family);
        let flow = flow::open_tcp(&rig, &client(&family, 0), CLIENT_PORT);
        // A second reverse entry of the same client, closed, that its flow does not lead to.
        let (key, value) = rig.elements("replies").remove(0);
        let mut stale = key.clone();
        let taken = u16::from_be_bytes([key[18], key[19]]);
        let other = 5_000 + (taken - 5_000 + 1) % PORTS;
        stale[18..20].copy_from_slice(&other.to_be_bytes());
        let mut rig = rig;
        let mut closed = value;
        closed[24] |= 2;
        rig.update("replies", &stale, &closed);
        for number in 1..PORTS {
            flow::open_tcp(&rig, &client(&family, number), CLIENT_PORT);
        }
        let segment = Tcp::data(5).segment(flow.node, flow.snat);
        let ip = Ip::new(flow.node.ip(), flow.snat.ip());
        let outcome = rig.send(Leg::Rack, &family.node_sends(&rig, &ip, frame::TCP, &segment));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let outcome = rig.send(Leg::Lan, &client(&family, 0).tcp(&rig, HTTP, &Tcp::data(5)));
        assert_eq!((outcome.verdict, outcome.counted.len()), (Verdict::Redirect, 0));
    }
}
