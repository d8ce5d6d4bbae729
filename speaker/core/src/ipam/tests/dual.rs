//! Both families, from one pool or two.

use super::*;

const PREFER: Families = Families::PreferDual { first: Family::V4 };
const REQUIRE: Families = Families::RequireDual { first: Family::V6 };

fn six(size: u8) -> Pool {
    pool("six", &[&format!("2001:db8::1-2001:db8::{size:x}")])
}

fn dual(name: &str, families: Families) -> Service {
    Service { families, ..service(name) }
}

#[test]
fn both_families_from_one_pool_or_two() {
    for pools in [vec![pool("both", &["192.0.2.10", "2001:db8::1"])], vec![lan(1), six(1)]] {
        for families in [PREFER, REQUIRE] {
            let mut world = World::new(pools.clone());
            let outcome = world.put(dual("web", families)).run();
            assert_eq!(world.live("web"), ["192.0.2.10", "2001:db8::1"]);
            assert_eq!(said(&outcome, "web").1, "Allocated");
            let [assignment] = &outcome.assignments.services[..] else { panic!("one entry") };
            assert_eq!(assignment.addresses.len(), 2);
        }
    }
}

#[test]
fn who_prefers_both_is_served_with_one_and_gains_the_other_later() {
    let mut world = World::new([lan(1)]);
    let outcome = world.put(dual("web", PREFER)).run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "FamilyNotAvailable".to_owned()));
    world.pools.push(six(1));
    let outcome = world.restart().run();
    assert_eq!(world.live("web"), ["192.0.2.10", "2001:db8::1"]);
    assert!(world.leaving("web").is_empty(), "the first is not touched");
    assert_eq!(said(&outcome, "web").1, "Allocated");
}

#[test]
fn who_prefers_both_takes_the_second_alone_where_the_first_is_out() {
    let mut world = World::new([lan(1), six(2)]);
    world.put(service("a")).run();
    let outcome = world.put(dual("web", PREFER)).run();
    assert_eq!(world.live("web"), ["2001:db8::1"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "PoolExhausted".to_owned()));
}

#[test]
fn who_requires_both_gets_both_or_none() {
    let mut world = World::new([lan(1), six(1)]);
    world.put(dual("a", Families::Single(Family::V6))).put(dual("web", REQUIRE));
    let outcome = world.run();
    assert!(world.live("web").is_empty());
    assert_eq!(said(&outcome, "web"), (ConditionStatus::False, "DualStackUnavailable".to_owned()));
    world.put(service("b")).run();
    assert_eq!(world.live("b"), ["192.0.2.10"], "nothing was set aside for `web`");
    let outcome = world.run();
    assert_eq!(said(&outcome, "web").1, "PoolExhausted", "where both fail the first speaks");
    world.delete("a").delete("b").settle();
    assert_eq!(world.live("web"), ["192.0.2.10", "2001:db8::1"]);
}

#[test]
fn a_policy_edited_to_both_keeps_the_one_that_is_there() {
    let mut world = World::new([lan(1)]);
    world.put(service("web")).run();
    world.edit("web", |s| s.families = REQUIRE);
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "DualStackUnavailable".to_owned()));
}

#[test]
fn a_policy_edited_to_one_family_leaves_the_other() {
    let mut world = World::new([lan(1), six(1)]);
    world.put(dual("web", PREFER)).run();
    world.edit("web", |s| s.families = Families::Single(Family::V6)).run();
    assert_eq!(world.live("web"), ["2001:db8::1"]);
    assert_eq!(world.leaving("web"), ["192.0.2.10"]);
}

#[test]
fn a_family_exchanged_is_acquired_before_the_old_one_is_left() {
    let mut world = World::new([lan(1)]);
    world.put(service("web")).run();
    world.edit("web", |s| s.families = Families::Single(Family::V6));
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "FamilyNotAvailable".to_owned()));
    world.pools.push(six(1));
    world.run();
    assert_eq!(world.live("web"), ["2001:db8::1"]);
    assert_eq!(world.leaving("web"), ["192.0.2.10"]);
}

#[test]
fn one_address_named_leaves_the_other_family_to_us() {
    let mut world = World::new([lan(3), six(1)]);
    let mut web = asking("web", &["192.0.2.12"]);
    web.families = REQUIRE;
    world.put(web).run();
    assert_eq!(world.live("web"), ["192.0.2.12", "2001:db8::1"]);
}

#[test]
fn one_family_moves_without_the_other() {
    let mut world = World::new([lan(3), six(1)]);
    world.put(dual("web", PREFER)).run();
    world.edit("web", |s| s.request.addresses = vec![ip("192.0.2.12")]).run();
    assert_eq!(world.live("web"), ["192.0.2.12", "2001:db8::1"]);
    assert_eq!(world.leaving("web"), ["192.0.2.10"]);
}

#[test]
fn a_port_is_claimed_on_both_addresses_or_on_none() {
    let whole = |p: Pool| Pool { sharing: Sharing::WhenFull, ..p };
    let mut world = World::new([whole(lan(1)), whole(six(1))]);
    world.put(dual("a", PREFER)).put(on_port("b", 443)).run();
    world.edit("a", |s| s.ports = vec![tcp(80), tcp(443)]);
    let outcome = world.run();
    assert_eq!(world.ports("a", "192.0.2.10"), [80]);
    assert_eq!(world.ports("a", "2001:db8::1"), [80]);
    assert_eq!(said(&outcome, "a"), (ConditionStatus::True, "PortConflict".to_owned()));
}

#[test]
fn an_address_that_cannot_be_left_yet_counts_as_its_family() {
    let mut world = World::new([six(1)]);
    world.put(Service { families: Families::Single(Family::V6), ..keyed("a", "k", 80) });
    world.put(Service { families: Families::Single(Family::V6), ..keyed("b", "k", 81) });
    world.run();
    world.pools.push(lan(1));
    world.edit("b", |s| {
        s.request.sharing_key = None;
        s.families = REQUIRE;
    });
    let outcome = world.run();
    assert_eq!(world.live("b"), ["192.0.2.10", "2001:db8::1"]);
    assert_eq!(said(&outcome, "b"), (ConditionStatus::True, "SharingKeyDiffers".to_owned()));
}

#[test]
fn an_address_taken_back_has_the_ports_of_the_other_one() {
    let whole = |p: Pool| Pool { sharing: Sharing::WhenFull, ..p };
    let mut world = World::new([whole(lan(1)), whole(six(1))]);
    world.put(on_port("b", 443)).put(dual("a", Families::Single(Family::V6)));
    world.edit("a", |s| s.ports = vec![tcp(80), tcp(443)]).run();
    world.delete("a").run();
    world.put(service("a")).run();
    assert_eq!(
        (world.live("a"), world.leaving("a")),
        (vec!["192.0.2.10".into()], vec!["2001:db8::1".into()])
    );
    world.edit("a", |s| s.families = PREFER);
    world.edit("a", |s| s.ports = vec![tcp(80), tcp(443)]).run();
    assert_eq!(world.ports("a", "192.0.2.10"), [80]);
    assert_eq!(world.ports("a", "2001:db8::1"), [80]);
}
