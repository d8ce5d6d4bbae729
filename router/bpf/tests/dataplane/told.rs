//! What the program tells and counts of single flows.

use roadstead_model::Protocol;
use roadstead_router_bpf::{Event, EventKind};
use roadstead_router_core::maps::{FrontendKey, Op};

use crate::{
    frame::{ACK, RST, SYN},
    rig::{NODE_PORT, PORT, Rig, apply, families, frontend, frontend_id, snat},
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
            talk.node_tcp(crate::frame::FIN | ACK).expect("the node closes first");
            talk.client_tcp(crate::frame::FIN | ACK).expect("then the client");
        }
    }
    assert_eq!(rig.dropped("snat-exhausted"), 0);
}
