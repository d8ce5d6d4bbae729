//! `loadBalancerSourceRanges`: who is let in, and in which order changes are written.

use roadstead_model::object::SourceRanges;

use super::*;

fn only(nets: &[&str]) -> SourceRanges {
    SourceRanges::Only(nets.iter().map(|net| net.parse().unwrap()).collect())
}

#[test]
fn changed_ranges_are_a_new_set_before_the_frontend_turns_to_it() {
    let mut world = serving_web(1);
    world.edit_service("web", |service| service.source_ranges = only(&["192.0.2.0/24"]));
    world.settle();
    let first = world.installed.frontends[&frontend_key("192.0.2.10", 80)].ranges;
    world.edit_service("web", |s| s.source_ranges = only(&["192.0.2.0/25", "203.0.113.0/24"]));
    let (_, ops) = world.settle();
    let second = world.installed.frontends[&frontend_key("192.0.2.10", 80)].ranges;
    assert_ne!(first, second);
    let turn = ops.iter().position(|op| matches!(op, Op::PutFrontend(..))).unwrap();
    let last_put = ops.iter().rposition(|op| matches!(op, Op::PutRange(..))).unwrap();
    let first_cut = ops.iter().position(|op| matches!(op, Op::DeleteRange(..))).unwrap();
    assert!(last_put < turn && turn < first_cut, "{ops:?}");
}

#[test]
fn ranges_that_do_not_fit_are_never_read_as_everybody() {
    let mut world = World::new(1);
    world.capacity.ranges = 1;
    let mut service = web();
    service.source_ranges = only(&["192.0.2.0/25", "203.0.113.0/24"]);
    world.serve(service, &["192.0.2.10"]);
    world.all_pass();
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Pending);
    assert!(serving(&plan, "web").message.starts_with("no room for its loadBalancerSourceRanges"));
    assert_eq!(world.installed.frontends[&frontend_key("192.0.2.10", 80)].table, None);
}

/// An IPv4 client is v4-mapped in the maps, where `::/0` would contain it.
#[test]
fn ranges_of_one_family_let_nobody_of_the_other_in() {
    const ADDRESSES: [&str; 2] = ["192.0.2.10", "2001:db8:2::10"];
    let mut world = World::new(1);
    world.serve(web(), &ADDRESSES);
    let everybody = ["0.0.0.0/0", "::/0"];
    let nobody = ["0.0.0.0/32", "::/128"];
    for (ranges, allowed) in [
        (&everybody[..], everybody),
        (&everybody[..1], [everybody[0], nobody[1]]),
        (&everybody[1..], [nobody[0], everybody[1]]),
    ] {
        world.edit_service("web", |service| service.source_ranges = only(ranges));
        world.settle();
        for (address, range) in ADDRESSES.into_iter().zip(allowed) {
            let set = world.installed.frontends[&frontend_key(address, 80)].ranges.unwrap();
            let of_set = world.installed.ranges.iter().filter(|(id, _)| *id == set);
            let nets: Vec<String> = of_set.map(|(_, net)| net.to_string()).collect();
            assert_eq!(nets, [range], "{address} under {ranges:?}");
        }
    }
}
