//! Where a Service is placed that has nothing yet.

use roadstead_model::local::VipKind;

use super::*;

#[track_caller]
fn placed(world: &mut World, name: &str, address: &str) {
    world.run();
    assert_eq!(world.live(name), [address]);
}

#[test]
fn the_first_free_address_ascending_in_key_order() {
    let mut world = World::new([lan(5)]);
    for name in ["c", "a", "b"] {
        world.put(service(name));
    }
    world.run();
    assert_eq!(
        [world.live("a"), world.live("b"), world.live("c")].concat(),
        ["192.0.2.10", "192.0.2.11", "192.0.2.12"]
    );
}

#[test]
fn pinned_pools_come_first_then_priority_then_the_file() {
    let mut last = pool("last", &["198.51.100.1"]);
    let mut second = pool("second", &["198.51.100.2"]);
    let mut first = pool("first", &["198.51.100.3"]);
    let mut pinned = pool("pinned", &["198.51.100.4"]);
    let same = pool("same-as-last", &["198.51.100.5"]);
    last.priority = Some(0);
    second.priority = Some(20);
    first.priority = Some(10);
    pinned.service_selectors = vec![selector("tier", "front")];
    let mut world = World::new([last, second, first, pinned, same]);
    for name in ["a", "b", "c", "d", "e"] {
        let labels = BTreeMap::from([("tier".into(), "front".into())]);
        world.put(Service { labels, ..service(name) });
    }
    world.run();
    let order: Vec<_> =
        ["a", "b", "c", "d", "e"].iter().flat_map(|name| world.live(name)).collect();
    assert_eq!(
        order,
        ["198.51.100.4", "198.51.100.3", "198.51.100.2", "198.51.100.1", "198.51.100.5"]
    );
}

#[test]
fn a_pool_pinned_to_a_namespace_serves_it_alone() {
    let mut world = World::new([Pool { namespaces: vec!["prod".into()], ..lan(1) }]);
    world.put(service("web")).put(service("prod/web"));
    placed(&mut world, "prod/web", "192.0.2.10");
    assert!(world.live("web").is_empty());
}

#[test]
fn a_named_pool_is_used_though_it_is_on_request_only() {
    let shy = Pool { auto_assign: false, ..pool("shy", &["198.51.100.1"]) };
    let mut world = World::new([lan(2), shy]);
    world.put(service("web")).edit("web", |s| s.request.pool = Some("shy".into()));
    placed(&mut world, "web", "198.51.100.1");
    let mut world = World::new(world.pools);
    world.put(asking("web", &["198.51.100.1"]));
    placed(&mut world, "web", "198.51.100.1");
}

#[test]
fn nothing_barred_is_handed_out() {
    let reserved = vec!["192.0.2.3-192.0.2.4".parse().unwrap()];
    let mut world = World::new([Pool { reserved, ..pool("lan", &["192.0.2.0-192.0.2.9"]) }]);
    world.interface("eth0", "192.0.2.1/24").node("n1", "192.0.2.5");
    world.host.gateways.insert(ip("192.0.2.2"));
    world.conflict("192.0.2.6", Stage::Probing).conflict("192.0.2.7", Stage::InUse);
    for name in ["a", "b", "c"] {
        world.put(service(name));
    }
    let outcome = world.run();
    assert_eq!([world.live("a"), world.live("b")].concat(), ["192.0.2.8", "192.0.2.9"]);
    assert_eq!(said(&outcome, "c"), (ConditionStatus::False, "PoolExhausted".to_owned()));
    let [status] = &outcome.pools[..] else { panic!("one pool") };
    assert_eq!((&*status.total, status.used), ("4", 2), "two are in conflict for now");
}

#[test]
fn a_host_pool_claims_ports_on_the_hosts_own_address() {
    let own = Pool { host_addresses: true, sharing: Sharing::WhenFull, ..lan(5) };
    let mut world = World::new([own]);
    world.interface("eth0", "192.0.2.12/24");
    world.put(on_port("web", 80)).put(on_port("dns", 53));
    let outcome = world.run();
    assert_eq!([world.live("web"), world.live("dns")].concat(), ["192.0.2.12", "192.0.2.12"]);
    let [vip] = &outcome.assignments.vips[..] else { panic!("one address") };
    assert_eq!(vip.kind, VipKind::Host);
    assert_eq!(outcome.pools[0].total, "1");
}

#[test]
fn classes_decide_whose_a_service_is() {
    let mut world = World::new([lan(5)]);
    let class = |name: &str, class: &str| Service { class: Some(class.into()), ..service(name) };
    world.put(service("none")).put(class("ours", "roadstead.io/load-balancer"));
    world.put(class("theirs", "example.com/other"));
    let outcome = world.run();
    assert_eq!(outcome.conditions.len(), 2, "another's Service is not even mentioned");
    assert!(world.live("theirs").is_empty());
    world.class_only = true;
    let outcome = world.run();
    assert!(world.live("none").is_empty());
    assert_eq!(world.leaving("none").len(), 1);
    assert_eq!(outcome.conditions.len(), 1);
}

#[test]
fn who_names_an_address_comes_before_who_takes_any() {
    let mut world = World::new([lan(2)]);
    world.put(service("a")).put(asking("b", &["192.0.2.10"]));
    placed(&mut world, "b", "192.0.2.10");
    assert_eq!(world.live("a"), ["192.0.2.11"]);
}

#[test]
fn with_the_ledger_lost_the_status_is_a_request() {
    let mut world = World::new([lan(3), pool("internal", &["198.51.100.1"])]);
    world.pools[1].auto_assign = false;
    let remembering = |name: &str, address: &str| Service {
        status_addresses: vec![ip(address)],
        ..service(name)
    };
    world.put(service("a")).put(asking("b", &["192.0.2.12"]));
    world.put(remembering("c", "192.0.2.10")).put(remembering("d", "192.0.2.12"));
    world.put(remembering("forged", "198.51.100.1"));
    world.run();
    assert_eq!(world.live("c"), ["192.0.2.10"]);
    assert_eq!(world.live("d"), ["192.0.2.12"], "who had it keeps it, whoever asks for it now");
    assert!(world.live("b").is_empty());
    assert!(
        !world.live("forged").contains(&"198.51.100.1".to_owned()),
        "a status opens no pool that the Service may not use"
    );
}

#[test]
fn a_status_is_no_authority_beside_a_ledger() {
    let mut world = World::new([lan(3)]);
    world.put(service("web"));
    placed(&mut world, "web", "192.0.2.10");
    world.edit("web", |s| s.status_addresses = vec![ip("192.0.2.12")]);
    placed(&mut world, "web", "192.0.2.10");
}

#[test]
fn the_next_free_addresses_are_told_for_probing() {
    let hidden = Pool { host_addresses: true, ..pool("own", &["198.51.100.1"]) };
    let mut world =
        World::new([pool("lan", &["192.0.2.10-192.0.2.20", "2001:db8::10/124"]), hidden]);
    world.put(service("web")).conflict("192.0.2.11", Stage::Probing).run();
    let input = Input {
        pools: &world.pools,
        class_only: false,
        snapshot: &world.snapshot,
        host: &world.host,
        conflicts: &world.conflicts,
        reservations: &world.reservations,
        now: world.now,
    };
    let next = world.allocator.next_free(&input, 2);
    let expected = ["192.0.2.12", "192.0.2.13", "2001:db8::10", "2001:db8::11"].map(ip);
    assert_eq!(next, [("lan".into(), expected.to_vec())]);
}

#[test]
fn an_internal_pool_is_visible_on_its_legs_only() {
    let mut world = World::new([Pool { interfaces: Some(vec!["eth1".into()]), ..lan(1) }]);
    let outcome = world.put(service("web")).run();
    assert_eq!(outcome.assignments.vips[0].visible_on, Some(vec!["eth1".into()]));
    assert_eq!(outcome.addresses[0].announce_on, Some(vec!["eth1".into()]));
}

#[test]
fn the_subnet_router_anycast_address_is_handed_out_to_nobody() {
    let mut world = World::new([pool("lan", &["2001:db8:1::/120"])]);
    let web = Service { families: Families::Single(Family::V6), ..service("web") };
    let outcome = world.put(web).run();
    assert_eq!(world.live("web"), ["2001:db8:1::1"]);
    assert_eq!(outcome.pools[0].total, "255");
}

#[test]
fn the_whole_of_ipv6_is_a_pool_like_any_other() {
    let mut world = World::new([pool("all", &["::/0"])]);
    let outcome =
        world.put(Service { families: Families::Single(Family::V6), ..service("a") }).run();
    assert_eq!(world.live("a"), ["::1"]);
    assert_eq!(outcome.pools[0].total, (u128::MAX - (1 << 64)).to_string());
}
