//! What the program remembers of frontends never outlives a change of them.

use std::net::IpAddr;

use roadstead_model::Protocol;
use roadstead_router_core::maps::{FrontendKey, Op};

use crate::{
    frame::{self, ACK},
    rig::{Addresses, PORT, Rig, apply, families, frontend, frontend_id},
    state::Talk,
};

/// Enough packets that every way of looking the frontend up has been taken.
const PACKETS: usize = 3;

fn key(addresses: &Addresses) -> FrontendKey {
    FrontendKey { address: addresses.vip, protocol: Protocol::Tcp, port: PORT }
}

/// An established connection of each family.
fn each_established(test: impl Fn(&mut Rig, u16, Addresses)) {
    for (family, addresses) in (0..).zip(families()) {
        let mut rig = Rig::serving();
        let mut talk = Talk::new(&rig, addresses, 40_000);
        talk.handshake();
        for _ in 0..PACKETS {
            talk.client_tcp(ACK).expect("sent on");
        }
        test(&mut rig, family, addresses);
    }
}

#[test]
fn a_deleted_frontend_takes_no_packet_more() {
    each_established(|rig, _, addresses| {
        apply(&mut rig.dataplane, &[Op::DeleteFrontend(key(&addresses))]);
        let before = rig.dropped("closed-port");
        let answered = Talk::new(rig, addresses, 40_000).client_tcp(ACK).expect("a reset");
        assert_eq!(answered.ends().1.ip(), addresses.client, "back to the client");
        assert_eq!(rig.dropped("closed-port"), before + 1);
    });
}

#[test]
fn one_that_comes_back_takes_them_again() {
    each_established(|rig, family, addresses| {
        let id = frontend_id(family, Protocol::Tcp);
        apply(
            &mut rig.dataplane,
            &[
                Op::DeleteFrontend(key(&addresses)),
                Op::PutFrontend(key(&addresses), frontend(id, family)),
            ],
        );
        let mut talk = Talk::new(rig, addresses, 40_000);
        for _ in 0..PACKETS {
            let seen = talk.client_tcp(ACK).expect("sent on");
            assert!(addresses.nodes.contains(&seen.ends().1.ip()), "the same flow");
        }
    });
}

#[test]
fn another_index_is_another_service() {
    each_established(|rig, family, addresses| {
        let id = frontend_id(family, Protocol::Tcp) + 10;
        apply(
            &mut rig.dataplane,
            &[
                Op::PutIdentity(id, key(&addresses)),
                Op::PutFrontend(key(&addresses), frontend(id, family)),
            ],
        );
        let before = rig.dropped("no-flow");
        Talk::new(rig, addresses, 40_000).client_tcp(ACK).expect("a reset");
        assert_eq!(rig.dropped("no-flow"), before + 1, "its flows belong to the former index");
    });
}

#[test]
fn another_port_with_the_same_place_is_not_taken_for_it() {
    each_established(|rig, _, addresses| {
        let place = place_of(addresses.vip, PORT);
        let other = (PORT + 1..=u16::MAX).find(|port| place_of(addresses.vip, *port) == place);
        let other = other.expect("eight ports share a place");
        let before = rig.dropped("closed-port");
        Talk::new(rig, addresses, 40_000).on_port(other).client_tcp(ACK).expect("a reset");
        assert_eq!(rig.dropped("closed-port"), before + 1, "port {other}");
    });
}

/// The index into `state.hints`, as `c/frontend.h` has it.
fn place_of(vip: IpAddr, port: u16) -> u64 {
    let bytes = match vip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let half = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let ports = u64::from(u16::from_ne_bytes(port.to_be_bytes()));
    let key = [half(0), half(8), ports << 8 | u64::from(frame::TCP)];
    let mix = |hash: u64, value: u64| {
        let hash = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ hash >> 32
    };
    key.into_iter().fold(0, mix) % 8_192
}
