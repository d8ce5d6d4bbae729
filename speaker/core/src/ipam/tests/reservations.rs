//! Addresses that are kept over the deletion and re-creation of a Service.

use super::*;

fn in_prod() -> Beneficiary {
    Beneficiary::Namespace { source: local(), namespace: "prod".into() }
}

#[test]
fn a_configured_one_is_given_to_its_service_and_to_nobody_else() {
    let mut world = World::new([lan(3)]);
    world.reserve("db", &["192.0.2.10"], "prod/db");
    let outcome = world.put(service("a")).run();
    assert_eq!(world.live("a"), ["192.0.2.11"]);
    assert_eq!(outcome.reservations[0].r#for, "local/prod/db");
    let outcome = world.put(service("prod/db")).put(service("prod/other")).run();
    assert_eq!(world.live("prod/db"), ["192.0.2.10"], "without being asked for");
    assert_eq!(world.live("prod/other"), ["192.0.2.12"]);
    assert!(outcome.reservations.is_empty(), "it is held");
    world.delete("prod/db").settle();
    let outcome = world.restart().put(service("b")).run();
    assert!(world.live("b").is_empty(), "the last free address is not for it");
    let why = &condition(&outcome, "b").message;
    assert!(why.contains("reservations keep 1"), "{why}");
    world.put(service("prod/db")).run();
    assert_eq!(world.live("prod/db"), ["192.0.2.10"]);
}

#[test]
fn one_for_a_namespace_is_for_those_of_it_that_ask() {
    let mut world = World::new([lan(4)]);
    world.reserve_for("shop", &["192.0.2.10", "192.0.2.11"], in_prod());
    world.put(service("prod/plain")).put(reserving("prod/by-name", "shop"));
    world.put(asking("prod/by-address", &["192.0.2.10"])).put(reserving("evil", "shop")).run();
    assert_eq!(world.live("prod/plain"), ["192.0.2.13"]);
    assert_eq!(world.live("prod/by-name"), ["192.0.2.11"]);
    assert_eq!(world.live("prod/by-address"), ["192.0.2.10"]);
    assert_eq!(world.live("evil"), ["192.0.2.12"], "that name in its namespace is another one");
}

#[test]
fn one_in_a_pool_on_request_only_is_given_all_the_same() {
    let mut world = World::new([Pool { auto_assign: false, ..lan(3) }]);
    world.reserve("db", &["192.0.2.11"], "db").put(service("db")).run();
    assert_eq!(world.live("db"), ["192.0.2.11"]);
}

#[test]
fn a_new_one_takes_nothing_from_who_is_there_and_it_is_told() {
    let mut world = World::new([lan(3)]);
    world.put(service("a")).put(service("prod/db")).run();
    world.reserve("db", &["192.0.2.10"], "prod/db");
    let outcome = world.run();
    assert_eq!([world.live("a"), world.live("prod/db")].concat(), ["192.0.2.10", "192.0.2.11"]);
    assert_eq!(said(&outcome, "a"), (ConditionStatus::True, "ReservedForAnother".to_owned()));
    assert_eq!(said(&outcome, "prod/db").1, "Allocated", "it moves when it asks");
    world.delete("a").settle();
    world.put(reserving("prod/db", "db")).run();
    assert_eq!(world.live("prod/db"), ["192.0.2.11"], "a claim is no wish to move");
    world.put(asking("prod/db", &["192.0.2.10"])).run();
    assert_eq!(world.live("prod/db"), ["192.0.2.10"]);
}

#[test]
fn an_annotation_keeps_an_address_for_the_next_of_its_name() {
    let mut world = World::new([lan(3)]);
    world.put(reserving("blue", "front")).run();
    world.delete("blue").settle();
    let outcome = world.restart().put(service("a")).put(reserving("prod/evil", "front")).run();
    assert_eq!(world.live("a"), ["192.0.2.12"]);
    assert_eq!(world.live("prod/evil"), ["192.0.2.11"], "another namespace is another name");
    let kept = &outcome.reservations[0];
    assert_eq!((&*kept.name, kept.r#for.as_str()), ("front", "local/default"));
    assert_eq!((&kept.addresses[..], kept.configured), (&[ip("192.0.2.10")][..], false));
    let outcome = world.put(reserving("green", "front")).run();
    assert_eq!(world.live("green"), ["192.0.2.10"]);
    assert!(outcome.reservations.is_empty());
}

#[test]
fn a_hand_over_waits_for_the_one_before() {
    let mut world = World::new([lan(3)]);
    world.put(reserving("blue", "front")).run();
    let outcome = world.put(reserving("green", "front")).run();
    assert_eq!(said(&outcome, "green").1, "ReservationInUse");
    world.delete("blue");
    let outcome = world.run();
    assert_eq!(said(&outcome, "green").1, "AddressHeld", "not before it has fallen silent");
    world.settle();
    assert_eq!(world.live("green"), ["192.0.2.10"]);
}

#[test]
fn an_operator_releases_what_is_kept_and_not_what_is_held() {
    let mut world = World::new([lan(1)]);
    let front = key("front");
    world.put(reserving("blue", "front")).run();
    assert_eq!(world.allocator.holder_under(&front), Some(&key("blue")));
    assert!(world.allocator.give_up(&front).is_empty());
    world.delete("blue").settle();
    world.put(service("a")).run();
    assert!(world.live("a").is_empty() && world.allocator.keeps(&front));
    assert_eq!(world.allocator.give_up(&front), [ip("192.0.2.10")]);
    assert!(world.run().changed);
    assert_eq!(world.live("a"), ["192.0.2.10"]);
}

#[test]
fn who_moves_takes_its_reservation_along() {
    let mut world = World::new([lan(3)]);
    world.put(reserving("web", "front")).run();
    world.edit("web", |s| s.request.addresses = vec![ip("192.0.2.12")]);
    let outcome = world.settle();
    assert!(outcome.reservations.is_empty(), "what it left is free");
    world.delete("web").settle();
    world.put(reserving("again", "front")).run();
    assert_eq!(world.live("again"), ["192.0.2.12"]);
}

#[test]
fn who_takes_the_annotation_off_keeps_nothing() {
    let mut world = World::new([lan(1)]);
    world.put(reserving("web", "front")).run();
    world.edit("web", |s| s.request.reservation = None).run();
    world.delete("web").settle();
    world.put(service("a")).run();
    assert_eq!(world.live("a"), ["192.0.2.10"]);
}

#[test]
fn all_addresses_of_a_service_are_kept_and_cool_down_keeps_nobody_of_the_name_out() {
    let mut world = World::new([Pool { cool_down: Duration::from_secs(600), ..lan(4) }]);
    let mut blue = reserving("blue", "front");
    blue.request.count = Some(2);
    world.put(blue.clone()).run();
    world.delete("blue").settle();
    blue.key = key("green");
    world.put(service("a")).put(blue).run();
    assert_eq!(world.live("green"), ["192.0.2.10", "192.0.2.11"]);
}

#[test]
fn a_neighbour_by_key_does_not_slip_into_what_is_kept() {
    let mut world = World::new([lan(3)]);
    let with_reservation = |name: &str, port| {
        let mut service = keyed(name, "k", port);
        service.request.reservation = Some(name.into());
        service
    };
    world.put(with_reservation("a", 80)).put(with_reservation("b", 81)).run();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
    world.delete("b").settle();
    world.put(keyed("c", "k", 81)).run();
    assert_eq!(world.live("c"), ["192.0.2.11"], "it would sit on the port of `b`");
    world.put(with_reservation("b", 81)).run();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
}

/// S6: reservations outlive Services, so they count in the quota.
#[test]
fn a_tenant_cannot_fill_a_pool_by_reservations() {
    let mut world = World::new([Pool { quota: most(2), ..lan(6) }]);
    for n in 0..6 {
        let name = format!("evil/n{n}");
        world.put(reserving(&name, &format!("r{n}"))).run();
        world.delete(&name).settle();
    }
    assert_eq!(world.run().reservations.len(), 2);
    let outcome = world.put(reserving("evil/x", "x")).run();
    assert_eq!(said(&outcome, "evil/x").1, "QuotaExceeded");
    world.put(reserving("evil/y", "r0")).run();
    assert_eq!(world.live("evil/y"), ["192.0.2.10"], "its own it may have");
}

#[test]
fn what_is_kept_in_no_pool_any_more_is_not_waited_for() {
    let mut world = World::new([lan(1)]);
    world.put(reserving("web", "front")).run();
    world.delete("web").settle();
    world.pools = vec![pool("other", &["198.51.100.1"])];
    world.put(reserving("web", "front")).run();
    assert_eq!(world.live("web"), ["198.51.100.1"]);
}

/// A tenant that comes again and again under one name, each time for other addresses.
#[test]
fn one_name_keeps_no_more_than_a_namespace_may() {
    let mut world = World::new([lan(200)]);
    for round in 0..10_u8 {
        let first = 10 + round * 16;
        let addresses: Vec<String> = (first..first + 16).map(|n| format!("192.0.2.{n}")).collect();
        let mut service = reserving("prod/evil", "front");
        service.request.addresses = addresses.iter().map(|text| ip(text)).collect();
        world.put(service).settle();
        world.delete("prod/evil").settle();
    }
    let outcome = world.run();
    let kept: usize = outcome.reservations.iter().map(|it| it.addresses.len()).sum();
    assert!(kept <= super::super::memory::MOST_KEPT, "{kept}");
}

/// Who was let in on an address does not keep it from those who let it in.
#[test]
fn a_neighbour_that_goes_keeps_nothing_from_those_who_stay() {
    let across = Pool { sharing: Sharing::KeyAcrossNamespaces, ..lan(3) };
    let mut world = World::new([across]);
    world.put(keyed("shop/web", "k", 80)).run();
    let mut guest = keyed("evil/guest", "k", 81);
    guest.request.reservation = Some("mine".into());
    world.put(guest).run();
    assert_eq!(world.live("evil/guest"), world.live("shop/web"));
    world.delete("evil/guest").settle();
    world.put(keyed("shop/api", "k", 82)).run();
    assert_eq!(world.live("shop/api"), ["192.0.2.10"], "one more of the tenant's own");
    world.delete("shop/api").delete("shop/web").settle();
    world.put(keyed("shop/web", "k", 80)).run();
    assert_eq!(world.live("shop/web"), ["192.0.2.10"]);
}
