//! Several addresses of one family: all of them or none, and what is held is kept until all are had.

use super::*;

#[test]
fn as_many_as_are_asked_for_by_name_or_by_number() {
    let mut world = World::new([pool("lan", &["192.0.2.10-192.0.2.20", "2001:db8::10/124"])]);
    let mut dual = asking("named", &["192.0.2.12", "192.0.2.10", "2001:db8::15"]);
    dual.families = Families::RequireDual { first: Family::V4 };
    let outcome = world.put(counting("counted", 3)).put(dual).run();
    assert_eq!(world.live("named"), ["192.0.2.10", "192.0.2.12", "2001:db8::15"]);
    assert_eq!(world.live("counted"), ["192.0.2.11", "192.0.2.13", "192.0.2.14"]);
    assert_eq!(said(&outcome, "counted"), (ConditionStatus::True, "Allocated".to_owned()));
    let assigned = outcome.assignments.services.iter().find(|a| a.service == key("counted"));
    assert_eq!(assigned.map(|a| a.addresses.len()), Some(3), "one entry with all of them");
    assert_eq!(world.ports("counted", "192.0.2.14"), [80], "the port on each of them");
}

#[test]
fn a_number_is_of_each_family_and_names_count() {
    let mut world = World::new([pool("lan", &["192.0.2.10-192.0.2.20", "2001:db8::10/124"])]);
    let mut dual = asking("web", &["192.0.2.15"]);
    dual.families = Families::PreferDual { first: Family::V4 };
    dual.request.count = Some(2);
    world.put(dual).run();
    assert_eq!(
        world.live("web"),
        ["192.0.2.10", "192.0.2.15", "2001:db8::10", "2001:db8::11"],
        "one by name and one more; two of the other family"
    );
}

#[test]
fn all_or_none_and_the_one_that_waits_gets_all_at_once() {
    let mut world = World::new([lan(3)]);
    let outcome = world.put(asking("other", &["192.0.2.11"])).put(counting("web", 3)).run();
    assert!(world.live("web").is_empty(), "two of three are none");
    assert_eq!(said(&outcome, "web").1, "AddressesUnavailable");
    world.delete("other").settle();
    assert_eq!(world.live("web").len(), 3);
}

#[test]
fn more_that_cannot_be_had_cost_nothing_that_is_held() {
    let mut world = World::new([lan(3)]);
    world.put(asking("other", &["192.0.2.12"])).put(counting("web", 2)).run();
    world.edit("web", |s| s.request.count = Some(3));
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10", "192.0.2.11"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "AddressesUnavailable".to_owned()));
    world.edit("web", |s| {
        s.request = AddressRequest::default();
        s.request.addresses = vec![ip("192.0.2.10"), ip("192.0.2.12")];
    });
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10", "192.0.2.11"], "neither half is done");
    assert!(condition(&outcome, "web").message.contains("192.0.2.12 is held by"));
    world.delete("other").settle();
    assert_eq!(world.live("web"), ["192.0.2.10", "192.0.2.12"]);
}

#[test]
fn fewer_leave_the_ones_that_came_last() {
    let mut world = World::new([lan(5)]);
    world.put(asking("early", &["192.0.2.10"])).put(service("web")).run();
    assert_eq!(world.live("web"), ["192.0.2.11"]);
    world.delete("early").settle();
    world.edit("web", |s| s.request.count = Some(3)).run();
    assert_eq!(world.live("web"), ["192.0.2.10", "192.0.2.11", "192.0.2.12"]);
    world.edit("web", |s| s.request.count = Some(1)).run();
    assert_eq!(world.live("web"), ["192.0.2.11"], "its clients know the first");
    assert_eq!(world.leaving("web"), ["192.0.2.10", "192.0.2.12"]);
}

#[test]
fn both_families_are_required_in_full() {
    let mut world = World::new([pool("lan", &["192.0.2.10-192.0.2.12", "2001:db8::1"])]);
    let mut web = counting("web", 2);
    web.families = Families::RequireDual { first: Family::V4 };
    let outcome = world.put(web).run();
    assert!(world.live("web").is_empty());
    assert_eq!(said(&outcome, "web").1, "DualStackUnavailable");
    world.edit("web", |s| s.families = Families::PreferDual { first: Family::V4 }).run();
    assert_eq!(world.live("web"), ["192.0.2.10", "192.0.2.11"], "the family that is whole");
}

#[test]
fn a_share_of_each_address_is_taken_and_its_ports_are_claimed_on_all() {
    let mut world = World::new([lan(4)]);
    let mut first = keyed("a", "k", 80);
    first.request.count = Some(2);
    let mut second = keyed("b", "k", 81);
    second.request.count = Some(3);
    world.put(first).put(second).run();
    assert_eq!(world.live("a"), ["192.0.2.10", "192.0.2.11"]);
    assert_eq!(world.live("b"), ["192.0.2.10", "192.0.2.11", "192.0.2.12"]);
    assert_eq!(world.ports("b", "192.0.2.12"), [81]);
}

#[test]
fn with_the_ledger_lost_the_status_gives_all_of_them_back() {
    let mut world = World::new([lan(5)]);
    let mut web = counting("web", 2);
    web.status_addresses = vec![ip("192.0.2.14"), ip("192.0.2.12")];
    world.put(web).put(service("a")).run();
    assert_eq!(world.live("web"), ["192.0.2.12", "192.0.2.14"]);
}

#[test]
fn one_of_several_pools_by_name() {
    let mut world = World::new([lan(1), pool("b", &["198.51.100.1"]), pool("c", &["203.0.113.1"])]);
    for name in ["web1", "web2", "web3"] {
        world.put(service(name)).edit(name, |s| s.request.pool = Some("c, b".into()));
    }
    let outcome = world.run();
    assert_eq!(world.live("web1"), ["203.0.113.1"], "in the order of the names");
    assert_eq!(world.live("web2"), ["198.51.100.1"]);
    assert_eq!(said(&outcome, "web3").1, "PoolExhausted");
    world.edit("web2", |s| s.request.pool = Some("b,c".into())).run();
    assert_eq!(world.live("web2"), ["198.51.100.1"], "another order moves nobody");
    world.edit("web2", |s| s.request.pool = Some("none,lan".into())).run();
    assert_eq!(world.live("web2"), ["192.0.2.10"]);
}
