//! What the program tells and counts of single flows.

use std::time::{Duration, Instant};

use roadstead_model::Protocol;
use roadstead_router_bpf::{Event, EventKind};
use roadstead_router_core::maps::{FrontendKey, Op};

use crate::{
    frame::{self, ACK, Ip, RST, SYN},
    rig::{Addresses, NODE_PORT, PORT, Rig, apply, families, flow, frontend, frontend_id, snat},
    state::Talk,
};

fn told(rig: &Rig) -> Vec<Event> {
    let mut events = rig.dataplane.events().expect("events");
    let mut told = Vec::new();
    events.drain(|event| told.push(event)).expect("drain");
    told
}

#[test]
fn a_frontend_that_wants_a_log_gets_one() {
    let mut rig = Rig::serving();
    let [v4, _] = families();
    let id = frontend_id(0, Protocol::Tcp);
    let key = FrontendKey { address: v4.vip, protocol: Protocol::Tcp, port: PORT };
    let mut logged = frontend(id, 0);
    logged.log = true;
    apply(&mut rig.dataplane, &[Op::PutFrontend(key, logged)]);
    Talk::new(&rig, v4, 4_000).handshake();
    let told = told(&rig);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].kind, EventKind::NewFlow);
    assert_eq!(told[0].protocol, Protocol::Tcp);
    assert_eq!(told[0].client, (v4.client, 4_000));
    assert_eq!((told[0].frontend, told[0].node_port), (id, NODE_PORT));
    assert_eq!(told[0].snat, (0, 4_000));
}

#[test]
fn a_node_that_refuses_is_told_once() {
    let rig = Rig::serving();
    for (family, addresses) in (0_u16..).zip(families()) {
        let mut talk = Talk::new(&rig, addresses, 4_001);
        talk.client_tcp(SYN).expect("SYN");
        talk.node_tcp(RST | ACK).expect("the refusal goes to the client");
        let told = told(&rig);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].kind, EventKind::Refused);
        let counters = rig.dataplane.backend_counters(told[0].backend).expect("counters");
        assert_eq!((counters.flows, counters.resets, counters.answered), (1, 1, 0));
        let id = frontend_id(family, Protocol::Tcp);
        assert_eq!(rig.dataplane.frontend_counters(id).expect("counters").flows, 1);
    }
}

/// A client sends its SYN again in a later second, which the test need not wait for longer than it
/// takes to come.
#[test]
fn a_node_that_answers_no_syn_is_told() {
    const PATIENCE: Duration = Duration::from_secs(10);
    let rig = Rig::serving();
    for addresses in families() {
        let begun = Instant::now();
        let mut talk = Talk::new(&rig, addresses, 4_005);
        let told = loop {
            talk.client_tcp(SYN).expect("SYN");
            let told = told(&rig);
            if !told.is_empty() {
                break told;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing is told");
        };
        assert_eq!((told.len(), told[0].kind), (1, EventKind::Unanswered), "{told:?}");
        assert_eq!(told[0].client, (addresses.client, 4_005));
        let counters = rig.dataplane.backend_counters(told[0].backend).expect("counters");
        assert_eq!((counters.flows, counters.unanswered, counters.answered), (1, 1, 0));
    }
}

/// A node's ICMP error about a client's datagram, by type and code.
fn answered_by_error(rig: &Rig, addresses: Addresses, port: u16, kinds: [(u8, u8); 2]) {
    let mut talk = Talk::new(rig, addresses, port);
    let (client, vip) = flow(&addresses, port);
    talk.client(frame::UDP, &frame::datagram(client, vip, b"question")).expect("there");
    let (node, snat) = talk.behind.expect("a node");
    let question = frame::datagram(snat, node, b"question");
    let quoted = Ip::new(snat.ip(), node.ip()).packet(frame::UDP, &question);
    let v6 = node.is_ipv6();
    let ends = (node.ip(), snat.ip());
    let message = frame::message(ends, kinds[usize::from(v6)], [0; 4], &quoted);
    talk.node(if v6 { frame::ICMP6 } else { frame::ICMP }, &message).expect("to the client");
}

/// What a closed port of UDP says, and what a router on the way says.
#[test]
fn a_node_whose_port_is_unreachable_is_told() {
    let rig = Rig::serving();
    for addresses in families() {
        answered_by_error(&rig, addresses, 4_003, [(3, 1), (1, 3)]);
        assert_eq!(told(&rig), [], "an address that is unreachable says nothing of the port");
        answered_by_error(&rig, addresses, 4_004, [(3, 3), (1, 4)]);
        let told = told(&rig);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind, told[0].protocol), (EventKind::Refused, Protocol::Udp));
        let counters = rig.dataplane.backend_counters(told[0].backend).expect("counters");
        assert_eq!((counters.resets, counters.answered), (1, 0));
    }
}

#[test]
fn a_reset_of_an_answered_connection_is_no_refusal() {
    let rig = Rig::serving();
    let [v4, _] = families();
    let mut talk = Talk::new(&rig, v4, 4_002);
    talk.handshake();
    talk.node_tcp(RST).expect("RST");
    assert_eq!(told(&rig), []);
}

#[test]
fn ports_used_up_are_told() {
    let mut rig = Rig::serving();
    let [v4, _] = families();
    let mut narrow = snat(&v4);
    (narrow.low, narrow.high) = (5_000, 5_000);
    apply(&mut rig.dataplane, &[Op::PutSnat(0, narrow)]);
    let mut refused = 0_u32;
    for port in 4_100..4_110 {
        let mut talk = Talk::new(&rig, v4, port);
        if talk.client_tcp(SYN).is_err() {
            refused += 1;
        } else {
            talk.handshake();
        }
    }
    let told = told(&rig);
    assert!(refused >= 8, "one port to each of two nodes, {refused} refused");
    assert_eq!(told.len(), usize::try_from(refused).expect("few"));
    assert!(told.iter().all(|event| event.kind == EventKind::SnatExhausted), "{told:?}");
    assert_eq!(rig.dropped("snat-exhausted"), refused.into());
}

#[test]
fn the_port_closed_for_longest_is_used_again_before_a_connection_is_refused() {
    let mut rig = Rig::serving();
    for (family, addresses) in (0_u16..).zip(families()) {
        let mut narrow = snat(&addresses);
        (narrow.low, narrow.high) = (5_000, 5_000);
        apply(&mut rig.dataplane, &[Op::PutSnat(family, narrow)]);
        for port in 4_200..4_240 {
            let mut talk = Talk::new(&rig, addresses, port);
            talk.handshake();
            talk.node_tcp(frame::FIN | ACK).expect("the node closes first");
            talk.client_tcp(frame::FIN | ACK).expect("then the client");
        }
    }
    assert_eq!(rig.dropped("snat-exhausted"), 0);
}
