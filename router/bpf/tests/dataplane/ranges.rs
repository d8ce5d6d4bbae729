//! `loadBalancerSourceRanges` that change under established connections (decision 0007).

use roadstead_model::Protocol;
use roadstead_router_core::maps::{FrontendKey, Op};

use crate::{
    frame::ACK,
    rig::{Addresses, DROP, PORT, Rig, apply, families, frontend, frontend_id},
    state::Talk,
};

/// A set with every client, and one with none of them.
const EVERYBODY: u32 = 0;
const NOBODY: u32 = 1;

/// Allows `set` to the connections of a family.
fn allow(rig: &mut Rig, family: u16, addresses: &Addresses, set: u32) {
    let key = FrontendKey { address: addresses.vip, protocol: Protocol::Tcp, port: PORT };
    let mut ranged = frontend(frontend_id(family, Protocol::Tcp), family);
    ranged.ranges = Some(set);
    apply(&mut rig.dataplane, &[Op::PutFrontend(key, ranged)]);
}

fn with_sets() -> Rig {
    let mut rig = Rig::serving();
    for (set, range) in [
        (EVERYBODY, "0.0.0.0/0"),
        (EVERYBODY, "::/0"),
        (NOBODY, "192.0.2.0/32"),
        (NOBODY, "2001:db8:1::/128"),
    ] {
        let range = range.parse().expect("a range");
        apply(&mut rig.dataplane, &[Op::PutRange(set, range)]);
    }
    rig
}

/// Whether an established connection goes on after a change.
fn goes_on(prepare: impl Fn(&mut Rig), change: impl Fn(&mut Rig, u16, &Addresses)) -> [bool; 2] {
    let mut rig = with_sets();
    prepare(&mut rig);
    let mut outcomes = [false; 2];
    for ((family, addresses), outcome) in (0_u16..).zip(families()).zip(&mut outcomes) {
        let behind = {
            let mut talk = Talk::new(&rig, addresses, 41_000);
            talk.handshake();
            talk.behind
        };
        change(&mut rig, family, &addresses);
        let mut talk = Talk { behind, ..Talk::new(&rig, addresses, 41_000) };
        let last = talk.client_tcp(ACK).map(drop);
        assert!(matches!(last, Ok(()) | Err(DROP)), "{last:?}");
        *outcome = last.is_ok();
    }
    let cut = outcomes.iter().filter(|went_on| !**went_on).count();
    assert_eq!(rig.dropped("source-range"), cut as u64);
    outcomes
}

fn everybody(rig: &mut Rig) {
    for (family, addresses) in (0_u16..).zip(families()) {
        allow(rig, family, &addresses, EVERYBODY);
    }
}

#[test]
fn a_client_that_another_set_leaves_out_is_cut_off() {
    let change = |rig: &mut Rig, family, addresses: &Addresses| {
        allow(rig, family, addresses, NOBODY);
    };
    assert_eq!(goes_on(everybody, change), [false, false]);
}

#[test]
fn a_client_is_cut_off_where_ranges_are_new() {
    let change = |rig: &mut Rig, family, addresses: &Addresses| {
        allow(rig, family, addresses, NOBODY);
    };
    assert_eq!(goes_on(|_| {}, change), [false, false]);
}

#[test]
fn a_client_whose_range_is_taken_out_of_the_set_is_cut_off() {
    let change = |rig: &mut Rig, family, _: &Addresses| {
        let range = ["0.0.0.0/0", "::/0"][usize::from(family)];
        let range = range.parse().expect("a range");
        apply(&mut rig.dataplane, &[Op::DeleteRange(EVERYBODY, range)]);
    };
    assert_eq!(goes_on(everybody, change), [false, false]);
}

#[test]
fn a_client_that_stays_inside_notices_nothing() {
    let change = |rig: &mut Rig, _, addresses: &Addresses| {
        let own = addresses.client.into();
        apply(&mut rig.dataplane, &[Op::PutRange(NOBODY, own)]);
        apply(&mut rig.dataplane, &[Op::DeleteRange(NOBODY, own)]);
    };
    assert_eq!(goes_on(everybody, change), [true, true]);
}
