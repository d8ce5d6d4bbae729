//! Flows whose time is over are taken away, and no others.

use roadstead_model::Protocol;
use roadstead_router_bpf::{Sweeper, Swept, Timeouts};

use crate::{
    frame::{self, ACK, FIN, SYN},
    rig::{Addresses, Rig, families, flow, frontend_id},
    state::Talk,
};

/// Long enough that nothing expires within a test.
const LONG: u32 = 1_000;

fn timeouts() -> Timeouts {
    Timeouts {
        tcp_half_open: LONG,
        tcp_established: LONG,
        tcp_closing: LONG,
        tcp_closed: LONG,
        tcp_held: LONG,
        udp_unanswered: LONG,
        udp_answered: LONG,
        fragment: LONG,
    }
}

fn sweep(rig: &Rig) -> Swept {
    Sweeper::default().complete(&rig.dataplane).expect("sweep")
}

/// The clock counts whole seconds: a limit of zero is over at once.
fn with(change: impl Fn(&mut Timeouts)) -> Timeouts {
    let mut changed = timeouts();
    change(&mut changed);
    changed
}

#[test]
fn only_what_is_expired_is_taken_away() {
    let rig = Rig::serving();
    rig.dataplane.set_timeouts(timeouts());
    let [v4, v6] = families();
    Talk::new(&rig, v4, 1_025).client_tcp(SYN).expect("half-open");
    let mut established = Talk::new(&rig, v6, 1_026);
    established.handshake();
    let mut closed = Talk::new(&rig, v4, 1_027);
    closed.handshake();
    closed.client_tcp(FIN | ACK).expect("FIN");
    closed.node_tcp(FIN | ACK).expect("FIN");
    let mut held = Talk::new(&rig, v6, 1_028);
    held.handshake();
    held.node_tcp(FIN | ACK).expect("FIN");
    held.client_tcp(FIN | ACK).expect("FIN");

    assert_eq!((sweep(&rig).flows, sweep(&rig).deleted), (4, 0));
    rig.dataplane.set_timeouts(with(|limits| limits.tcp_half_open = 0));
    assert_eq!((sweep(&rig).deleted, sweep(&rig).flows), (1, 3));
    rig.dataplane.set_timeouts(with(|limits| limits.tcp_closed = 0));
    assert_eq!((sweep(&rig).deleted, sweep(&rig).flows), (1, 2));
    rig.dataplane.set_timeouts(with(|limits| limits.tcp_held = 0));
    assert_eq!((sweep(&rig).deleted, sweep(&rig).flows), (1, 1));
    established.client_tcp(ACK).expect("the established one still goes on");
    established.node_tcp(ACK).expect("in both directions");
    assert!(closed.node_tcp(ACK).is_err(), "both directions of the others are gone");
}

#[test]
fn a_sweep_tells_what_flows_refer_to() {
    let rig = Rig::serving();
    let [v4, v6] = families();
    for port in 2_000..2_010 {
        Talk::new(&rig, v4, port).client_tcp(SYN).expect("SYN");
    }
    Talk::new(&rig, v6, 2_000).client_tcp(SYN).expect("SYN");
    let swept = sweep(&rig);
    assert_eq!(swept.flows, 11);
    let frontends = [frontend_id(0, Protocol::Tcp), frontend_id(1, Protocol::Tcp)];
    assert!(swept.frontends.into_iter().eq(frontends));
    assert_eq!(swept.backends.values().sum::<u64>(), 11);
    assert!(swept.backends.keys().all(|backend| *backend < 4));
}

#[test]
fn a_full_table_is_swept_in_slices() {
    let rig = Rig::serving_flows(16_384);
    let [v4, v6] = families();
    rig.dataplane.set_timeouts(with(|limits| limits.udp_unanswered = 0));
    let mut other = Talk::new(&rig, v6, 10_000);
    other.handshake();
    for port in EXPIRED {
        ask(&rig, v4, port);
    }
    let mut sweeper = Sweeper::default();
    let (mut slices, mut before) = (0, flows(&rig));
    assert_eq!(before, EXPIRED.len() + 1);
    let swept = loop {
        let done = sweeper.step(&rig.dataplane).expect("a slice");
        slices += 1;
        let left = flows(&rig);
        assert!(before - left <= SLICE, "slice {slices} took {}", before - left);
        before = left;
        other.client_tcp(ACK).expect("packets are served between slices");
        if let Some(swept) = done {
            break swept;
        }
    };
    assert!(slices >= EXPIRED.len().div_ceil(SLICE), "{slices} slices");
    assert_eq!((swept.deleted, swept.flows), (10_000, 1));
}

/// Client ports of datagrams that nobody answers.
const EXPIRED: std::ops::Range<u16> = 10_000..20_000;
/// Flows that a slice looks at, at most.
const SLICE: usize = 4_096;

fn ask(rig: &Rig, addresses: Addresses, port: u16) {
    let (client, vip) = flow(&addresses, port);
    let datagram = frame::datagram(client, vip, b"?");
    Talk::new(rig, addresses, port).client(frame::UDP, &datagram).expect("sent on");
}

fn flows(rig: &Rig) -> usize {
    let mut count = 0;
    let each = |_| {
        count += 1;
        true
    };
    rig.dataplane.for_each_flow(each).expect("flows");
    count
}

#[test]
fn a_full_table_makes_room_of_what_is_over_and_never_of_what_is_established() {
    let rig = Rig::serving();
    let [v4, v6] = families();
    for port in 1_100..2_124 {
        Talk::new(&rig, v4, port).handshake();
    }
    for port in 1_100..6_000 {
        let mut talk = Talk::new(&rig, v6, port);
        talk.handshake();
        talk.client_tcp(FIN | ACK).expect("FIN");
        talk.node_tcp(FIN | ACK).expect("FIN");
    }
    assert_eq!(rig.dropped("flows-full"), 0, "connections that are over make room");
    for port in 1_100..2_124 {
        Talk::new(&rig, v4, port).client_tcp(ACK).expect("an established one goes on");
    }
    assert_eq!(rig.dropped("half-open-reclaimed"), 0);
}
