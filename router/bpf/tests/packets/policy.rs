//! Source ranges, client affinity, backends that come and go.

use std::collections::BTreeSet;

use crate::{
    flow,
    frame::{SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{
        Backend, CLIENT_PORT, DNS, DOUBTFUL, FAMILIES, Family, Frontend, GONE, HTTP, HTTP_NODE,
    },
};

const SET: u32 = 7;

fn restricted(family: &Family) -> Rig {
    let mut rig = Rig::serving();
    let open = rig.frontend(family, HTTP, HTTP_NODE);
    let restricted = Frontend { ranges: SET, ..open };
    rig.put_frontend(family.vip_at(HTTP), 6, &restricted);
    rig
}

#[test]
fn a_client_outside_the_source_ranges_is_dropped() {
    for family in FAMILIES {
        let mut rig = restricted(&family);
        let syn = family.tcp(&rig, HTTP, &Tcp::flags(SYN));
        rig.send(Leg::Lan, &syn).assert_dropped("source-range", "an empty set allows nobody");
        rig.allow(SET + 1, family.client, 24);
        rig.allow(SET, family.vip, if family.vip.is_ipv4() { 24 } else { 64 });
        rig.send(Leg::Lan, &syn).assert_dropped("source-range", "another set, another prefix");
        rig.allow(SET, family.client, if family.vip.is_ipv4() { 24 } else { 64 });
        assert_eq!(rig.send(Leg::Lan, &syn).verdict, Verdict::Redirect);
    }
}

#[test]
fn a_client_that_is_no_longer_allowed_is_cut_off_with_its_next_packet() {
    for family in FAMILIES {
        let mut rig = restricted(&family);
        let host = if family.vip.is_ipv4() { 32 } else { 128 };
        rig.allow(SET, family.client, host);
        flow::open_tcp(&rig, &family, CLIENT_PORT);
        rig.allow(SET, family.vip, host);
        let data = family.tcp(&rig, HTTP, &Tcp::data(5));
        assert_eq!(rig.send(Leg::Lan, &data).verdict, Verdict::Redirect, "still allowed");
        rig.disallow(SET, family.client, host);
        rig.send(Leg::Lan, &data).assert_dropped("source-range", "no longer allowed");
        rig.allow(SET, family.client, host);
        assert_eq!(rig.send(Leg::Lan, &data).verdict, Verdict::Redirect, "allowed again");
    }
}

/// The nodes that connections from many ports of the client go to.
fn nodes_of(rig: &Rig, family: &Family, ports: std::ops::Range<u16>) -> BTreeSet<std::net::IpAddr> {
    ports.map(|port| flow::half_open_tcp(rig, family, port).node.ip()).collect()
}

#[test]
fn a_client_with_affinity_keeps_to_one_node() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let spread = rig.frontend(&family, HTTP, HTTP_NODE);
        assert_eq!(nodes_of(&rig, &family, 20_000..20_050).len(), 2);
        let sticky = Frontend { affinity_seconds: 600, ..spread };
        rig.put_frontend(family.vip_at(HTTP), 6, &sticky);
        let nodes = nodes_of(&rig, &family, 30_000..30_050);
        assert_eq!(nodes.len(), 1);

        let mine = usize::from(nodes.contains(&family.nodes[1]));
        rig.put_table(sticky.table, &[family.backend(1), family.backend(0)]);
        assert_eq!(nodes_of(&rig, &family, 31_000..31_050), nodes, "the table was shuffled");
        let backend = rig.backend(&family, mine, family.nodes[mine]);
        rig.put_backend(family.backend(mine), &Backend { mode: GONE, ..backend });
        rig.put_table(sticky.table, &[family.backend(1 - mine)]);
        let moved = nodes_of(&rig, &family, 32_000..32_050);
        assert_eq!(moved, BTreeSet::from([family.nodes[1 - mine]]));
    }
}

#[test]
fn affinity_ends_when_its_time_is_over() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let spread = rig.frontend(&family, HTTP, HTTP_NODE);
        let sticky = Frontend { affinity_seconds: 600, ..spread };
        rig.put_frontend(family.vip_at(HTTP), 6, &sticky);
        let nodes = nodes_of(&rig, &family, 30_000..30_001);
        let mine = usize::from(nodes.contains(&family.nodes[1]));
        // The client's slot is the other node's from here on: memory alone leads to the first.
        rig.put_table(sticky.table, &[family.backend(1), family.backend(0)]);

        rig.age("affinities", 0..4, 590);
        assert_eq!(nodes_of(&rig, &family, 31_000..31_001), nodes, "within its time");
        rig.age("affinities", 0..4, 590);
        assert_eq!(nodes_of(&rig, &family, 32_000..32_001), nodes, "a new flow begins it anew");
        rig.age("affinities", 0..4, 601);
        let moved = nodes_of(&rig, &family, 33_000..33_001);
        assert_eq!(moved, BTreeSet::from([family.nodes[1 - mine]]), "its time is over");
    }
}

#[test]
fn new_flows_avoid_a_node_that_is_gone_even_before_the_table_does() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let backend = rig.backend(&family, 0, family.nodes[0]);
        rig.put_backend(family.backend(0), &Backend { mode: GONE, ..backend });
        let nodes = nodes_of(&rig, &family, 20_000..20_100);
        assert_eq!(nodes, BTreeSet::from([family.nodes[1]]));
    }
}

#[test]
fn a_node_in_doubt_keeps_its_connections_and_loses_its_datagrams() {
    for family in FAMILIES {
        let mut rig = Rig::serving();
        let tcp = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let udp = flow::forwarded(&rig, &family, &family.udp(&rig, DNS, b"?"));
        let mut table = Vec::new();
        for (node, &address) in family.nodes.iter().enumerate() {
            if address == udp.node.ip() || address == tcp.node.ip() {
                let backend = rig.backend(&family, node, address);
                rig.put_backend(family.backend(node), &Backend { mode: DOUBTFUL, ..backend });
            }
            if address != udp.node.ip() {
                table.push(family.backend(node));
            }
        }
        rig.put_table(rig.frontend(&family, HTTP, 0).table, &table);
        let outcome = rig.send(Leg::Lan, &family.tcp(&rig, HTTP, &Tcp::data(5)));
        assert_eq!(Seen::parse(&outcome.frame).ends(), (tcp.snat, tcp.node));
        let moved = flow::forwarded(&rig, &family, &family.udp(&rig, DNS, b"?"));
        assert_ne!(moved.node.ip(), udp.node.ip());
    }
}
