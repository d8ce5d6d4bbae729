//! S1: nothing outside the pools is in the maps, whatever the speaker says.

use proptest::{collection::vec, prelude::*};
use roadstead_model::{AddressRange, local::Vip};

use super::*;

/// An address in or near the pool 192.0.2.10-192.0.2.19, or the host's and nodes' own.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        4 => (0..32_u8).prop_map(|n| IpAddr::from([192, 0, 2, n])),
        1 => Just(ip("198.18.255.254")),
        1 => Just(v4(1)),
        1 => Just(ip("2001:db8:2::10")),
        1 => Just(ip("0.0.0.0")),
    ]
}

fn kind() -> impl Strategy<Value = VipKind> {
    prop_oneof![Just(VipKind::Virtual), Just(VipKind::Host)]
}

fn claim_everything(world: &mut World, claimed: &[(IpAddr, VipKind)]) {
    for (n, (address, kind)) in (0_u16..).zip(claimed) {
        world.serve(service(&format!("s{n}"), &WEB), &[&address.to_string()]);
        let vip = Vip {
            address: *address,
            kind: *kind,
            visible_on: None,
            answer_on: vec!["clients".into(), "nodes".into()],
        };
        world.assignments.vips.push(vip);
    }
}

proptest! {
    #[test]
    fn nothing_outside_the_pools_is_ever_in_the_maps(
        claimed in vec((address(), kind()), 1..8),
        served_before in any::<bool>(),
        remembered in any::<bool>(),
    ) {
        let mut world = World::new(2);
        claim_everything(&mut world, &claimed);
        if served_before {
            world.settle();
        }
        world.remembered = remembered;
        world.pools = vec![pool(&[("192.0.2.10", "192.0.2.19")])];
        world.pools[0].reserved = vec![AddressRange::single(ip("192.0.2.15"))];
        let (plan, _) = world.settle();
        let permitted = |address: &IpAddr| {
            (ip("192.0.2.10")..=ip("192.0.2.19")).contains(address) && *address != ip("192.0.2.15")
        };
        let maps = &world.installed;
        prop_assert!(maps.vips.keys().all(permitted));
        prop_assert!(maps.answers.keys().all(|key| permitted(&key.address)));
        prop_assert!(maps.frontends.keys().all(|key| permitted(&key.address)));
        prop_assert!(plan.answering.iter().all(|answering| permitted(&answering.address)));
        for (address, _) in claimed.iter().filter(|(address, _)| !permitted(address)) {
            let told = format!("{address} is assigned, but no pool");
            prop_assert!(plan.problems.iter().any(|problem| problem.starts_with(&told)));
        }
        for (address, _) in claimed.iter().filter(|(address, _)| permitted(address)) {
            prop_assert!(maps.vips.contains_key(address));
        }
    }
}
