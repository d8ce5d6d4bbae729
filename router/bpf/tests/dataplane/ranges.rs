//! `loadBalancerSourceRanges` that change under established connections (decision 0007).

use ipnet::IpNet;
use roadstead_model::Protocol;
use roadstead_router_core::maps::{FrontendKey, Op};

use crate::{
    frame::ACK,
    rig::{Addresses, DROP, PORT, Rig, apply, families, frontend, frontend_id},
    state::Talk,
};

/// The set of a family that has every client in it, and the one that has none of them.
const EVERYBODY: u32 = 0;
const NOBODY: u32 = 1;

/// Sets are of one family each.
fn set(family: u16, of: u32) -> u32 {
    u32::from(family) * 2 + of
}

fn every(family: u16) -> IpNet {
    ["0.0.0.0/0", "::/0"][usize::from(family)].parse().expect("a range")
}

/// Allows a set to the connections of a family.
fn allow(rig: &mut Rig, family: u16, addresses: &Addresses, of: u32) {
    let key = FrontendKey { address: addresses.vip, protocol: Protocol::Tcp, port: PORT };
    let mut ranged = frontend(frontend_id(family, Protocol::Tcp), family);
    ranged.ranges = Some(set(family, of));
    apply(&mut rig.dataplane, &[Op::PutFrontend(key, ranged)]);
}

fn with_sets() -> Rig {
    let mut rig = Rig::serving();
    for (family, addresses) in (0_u16..).zip(families()) {
        let [everybody, nobody] = [EVERYBODY, NOBODY].map(|of| set(family, of));
        let of_nobody = Op::PutRange(nobody, addresses.vip.into());
        apply(&mut rig.dataplane, &[Op::PutRange(everybody, every(family)), of_nobody]);
    }
    rig
}

/// Whether an established connection goes on after a change.
fn goes_on(prepare: impl Fn(&mut Rig), change: impl Fn(&mut Rig, u16, &Addresses)) -> [bool; 2] {
    let mut rig = with_sets();
    prepare(&mut rig);
    let mut outcomes = [false; 2];
    for ((family, addresses), outcome) in (0_u16..).zip(families()).zip(&mut outcomes) {
        Talk::new(&rig, addresses, 41_000).handshake();
        change(&mut rig, family, &addresses);
        let last = Talk::new(&rig, addresses, 41_000).client_tcp(ACK).map(drop);
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
        let gone = Op::DeleteRange(set(family, EVERYBODY), every(family));
        apply(&mut rig.dataplane, &[gone]);
    };
    assert_eq!(goes_on(everybody, change), [false, false]);
}

#[test]
fn a_client_that_stays_inside_notices_nothing() {
    let change = |rig: &mut Rig, family, addresses: &Addresses| {
        let (set, own) = (set(family, NOBODY), addresses.client.into());
        apply(&mut rig.dataplane, &[Op::PutRange(set, own), Op::DeleteRange(set, own)]);
    };
    assert_eq!(goes_on(everybody, change), [true, true]);
}
