//! How many addresses of a pool a namespace may hold.

use super::*;

fn limited(most: Quota, size: u8) -> World {
    World::new([Pool { quota: most, ..lan(size) }])
}

fn of(namespaces: &[(&str, u32)], others: Option<u32>) -> Quota {
    let namespaces = namespaces.iter().map(|(name, most)| ((*name).into(), *most)).collect();
    Quota { namespaces, others }
}

#[test]
fn a_namespace_gets_what_it_may_and_others_get_theirs() {
    let mut world = limited(of(&[("prod", 2)], Some(1)), 9);
    for name in ["a", "b", "prod/a", "prod/b", "prod/c", "other/a"] {
        world.put(service(name));
    }
    let outcome = world.run();
    let live = |name: &str| world.live(name).len();
    assert_eq!([live("a"), live("b"), live("other/a")], [1, 0, 1]);
    assert_eq!([live("prod/a"), live("prod/b"), live("prod/c")], [1, 1, 0]);
    assert_eq!(said(&outcome, "b").1, "QuotaExceeded");
    assert!(condition(&outcome, "prod/c").message.contains("has 2"), "it says how many");
    world.delete("a").settle();
    assert_eq!(world.live("b").len(), 1, "room for one, without an edit");
}

#[test]
fn a_namespace_of_one_source_may_have_a_quota_of_its_own() {
    let quota = of(&[("local/default", 1), ("default", 0)], None);
    let elsewhere = quota.of(&SourceName::new("far"), "default");
    assert_eq!((elsewhere, quota.of(&local(), "default")), (Some(0), Some(1)));
    assert_eq!(quota.of(&local(), "prod"), None);
}

#[test]
fn namespaces_of_two_sources_are_two() {
    let mut world = limited(most(1), 5);
    let mut far = service("web");
    far.key.source = SourceName::new("far");
    world.snapshot.sources.insert(SourceName::new("far"), SourceState::Current);
    let outcome = world.put(far.clone()).put(service("web")).run();
    assert_eq!(outcome.conditions[&far.key].reason, "Allocated");
    assert_eq!(said(&outcome, "web").1, "Allocated");
}

/// Who moves leaves an address behind for a while: another of its namespace must not move in there
/// and make it three for good.
#[test]
fn an_address_that_is_being_left_is_no_room_beside_the_quota() {
    let pool = Pool { quota: most(2), sharing: Sharing::WhenFull, ..lan(3) };
    let mut world = World::new([pool]);
    world.put(service("a")).put(service("b")).put(service("c")).run();
    assert!(world.live("c").is_empty());
    let mut moved = asking("b", &["192.0.2.12"]);
    moved.ports = vec![tcp(81)];
    world.put(moved).run();
    assert_eq!(
        (world.live("b"), world.leaving("b")),
        (vec!["192.0.2.12".into()], vec!["192.0.2.11".into()])
    );
    assert_eq!(world.live("c"), ["192.0.2.12"], "beside one who stays, not where one leaves");
}

#[test]
fn an_address_that_a_namespace_shares_counts_once() {
    let mut world = limited(most(1), 5);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).put(keyed("c", "other", 82)).run();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
    assert!(world.live("c").is_empty());
    world.delete("a").settle();
    assert!(world.live("c").is_empty(), "`b` is still on it");
    world.delete("b").settle();
    assert_eq!(world.live("c"), ["192.0.2.10"]);
}

#[test]
fn a_quota_lowered_costs_nobody_what_it_holds() {
    let mut world = limited(most(2), 5);
    world.put(service("a")).put(service("b")).run();
    world.pools = vec![Pool { quota: most(0), ..lan(5) }];
    assert!(world.allocator.orphans(&world.pools, &world.snapshot).is_empty());
    let outcome = world.restart().settle();
    assert_eq!([world.live("a"), world.live("b")].concat(), ["192.0.2.10", "192.0.2.11"]);
    assert_eq!(said(&outcome, "a"), (ConditionStatus::True, "Allocated".to_owned()));
}

#[test]
fn a_move_needs_room_for_what_it_comes_to_and_not_for_both() {
    let mut world = limited(most(1), 5);
    world.put(service("web")).run();
    world.put(asking("web", &["192.0.2.14"])).run();
    assert_eq!(world.live("web"), ["192.0.2.14"]);
    world.put(asking("web", &["192.0.2.13"]));
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.14"], "what it left is not silent yet");
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "QuotaExceeded".to_owned()));
    world.settle();
    assert_eq!(world.live("web"), ["192.0.2.13"]);
}

#[test]
fn several_addresses_count_each() {
    let mut world = limited(most(3), 9);
    let outcome = world.put(counting("a", 2)).put(counting("b", 2)).run();
    assert!(world.live("b").is_empty());
    assert_eq!(said(&outcome, "b").1, "AddressesUnavailable");
    assert!(condition(&outcome, "b").message.contains("quota allows 3"));
    world.edit("b", |s| s.request.count = None).run();
    assert_eq!(world.live("b").len(), 1);
}

#[test]
fn both_families_count() {
    let pool = Pool { quota: most(1), ..pool("lan", &["192.0.2.10", "2001:db8::1"]) };
    let mut world = World::new([pool]);
    let families = Families::PreferDual { first: Family::V4 };
    world.put(Service { families, ..service("web") });
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "QuotaExceeded".to_owned()));
    world.edit("web", |s| s.families = Families::RequireDual { first: Family::V4 });
    assert_eq!(said(&world.run(), "web").1, "DualStackUnavailable");
    world.edit("web", |s| s.families = Families::Single(Family::V6)).run();
    assert_eq!(world.live("web"), ["2001:db8::1"], "what is given up makes room");
}

#[test]
fn a_full_quota_of_one_pool_leads_to_the_next() {
    let mut world = limited(most(1), 5);
    world.pools.push(pool("more", &["198.51.100.1"]));
    world.put(service("a")).put(service("b")).run();
    assert_eq!(world.live("b"), ["198.51.100.1"]);
}

/// S6: a tenant that takes and leaves addresses without end would have the whole pool cool down.
#[test]
fn a_tenant_that_comes_and_goes_does_not_empty_the_pool() {
    let mut world =
        World::new([Pool { quota: most(2), cool_down: Duration::from_secs(600), ..lan(8) }]);
    for n in 0..20 {
        world.put(service(&format!("evil/n{n}"))).run();
        world.delete(&format!("evil/n{n}")).settle();
    }
    world.put(service("evil/again"));
    let outcome = world.run();
    assert_eq!(said(&outcome, "evil/again").1, "QuotaExceeded");
    for name in ["one/a", "one/b", "two/a", "two/b", "three/a", "three/b"] {
        world.put(service(name)).run();
        assert_eq!(world.live(name).len(), 1, "{name}");
    }
}

/// S6: the same by moving one Service about.
#[test]
fn a_tenant_that_moves_about_does_not_empty_the_pool() {
    let mut world =
        World::new([Pool { quota: most(1), cool_down: Duration::from_secs(600), ..lan(8) }]);
    for n in 10..18 {
        world.put(asking("evil/web", &[&format!("192.0.2.{n}")])).settle();
    }
    let memory = world.allocator.ledger().encode().matches("\"at\"").count();
    assert_eq!((world.live("evil/web").len(), memory), (1, 1));
}
