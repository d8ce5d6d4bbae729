//! One case per reason: the word for scripts, and what the sentence must name.

use super::*;

/// Runs the world and asserts what is said of `web`.
#[track_caller]
fn refused(world: &mut World, reason: &str, names: &[&str]) {
    let outcome = world.run();
    assert_eq!(said(&outcome, "web"), (ConditionStatus::False, reason.to_owned()));
    assert!(world.live("web").is_empty(), "a refused Service holds nothing");
    let message = &condition(&outcome, "web").message;
    for name in names {
        assert!(message.contains(name), "`{message}` does not name {name}");
    }
}

fn web_asking(address: &str, pools: impl IntoIterator<Item = Pool>) -> World {
    let mut world = World::new(pools);
    world.put(asking("web", &[address]));
    world
}

#[test]
fn no_pools() {
    refused(World::new([]).put(service("web")), "NoPools", &["[[pool]]"]);
    refused(&mut web_asking("192.0.2.10", []), "NoPools", &["[[pool]]"]);
}

#[test]
fn no_such_pool() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).edit("web", |s| s.request.pool = Some("wan".into()));
    refused(&mut world, "NoSuchPool", &["`wan`", "`lan`"]);
    world.edit("web", |s| s.request.addresses = vec![ip("192.0.2.10")]);
    refused(&mut world, "NoSuchPool", &["`wan`"]);
}

#[test]
fn pool_not_allowed_by_namespace_or_labels() {
    let pinned = Pool { namespaces: vec!["prod".into()], ..lan(2) };
    refused(World::new([pinned.clone()]).put(service("web")), "PoolNotAllowed", &["namespaces"]);
    refused(&mut web_asking("192.0.2.10", [pinned]), "PoolNotAllowed", &["`lan`"]);
    let labelled = Pool { service_selectors: vec![selector("tier", "front")], ..lan(2) };
    let mut world = World::new([labelled]);
    world.put(service("web")).edit("web", |s| s.request.pool = Some("lan".into()));
    refused(&mut world, "PoolNotAllowed", &["`lan`", "labels"]);
}

#[test]
fn on_request_only() {
    let shy = Pool { auto_assign: false, ..lan(2) };
    refused(World::new([shy]).put(service("web")), "OnRequestOnly", &["`lan`", "auto_assign"]);
}

#[test]
fn family_not_available() {
    let mut world = World::new([lan(2)]);
    world.put(Service { families: Families::Single(Family::V6), ..service("web") });
    refused(&mut world, "FamilyNotAvailable", &["IPv6", "`lan`"]);
}

#[test]
fn pool_exhausted() {
    let mut world = World::new([lan(2), pool("two", &["198.51.100.1"])]);
    world.put(service("a")).put(service("b")).put(service("c")).run();
    refused(world.put(service("web")), "PoolExhausted", &["`lan` (2 in all)", "`two` (1 in all)"]);
}

#[test]
fn dual_stack_unavailable() {
    let mut world = World::new([lan(2)]);
    let families = Families::RequireDual { first: Family::V4 };
    world.put(Service { families, ..service("web") });
    refused(&mut world, "DualStackUnavailable", &["IPv6", "`lan`"]);
}

#[test]
fn request_does_not_fit_families() {
    let mut world = web_asking("2001:db8::1", [pool("six", &["2001:db8::/120"]), lan(1)]);
    refused(&mut world, "RequestDoesNotFitFamilies", &["2001:db8::1", "IPv4"]);
}

#[test]
fn invalid_request() {
    let mut world = World::new([lan(3)]);
    world.put(asking("web", &["192.0.2.10", "192.0.2.11"]));
    world.edit("web", |s| s.request.count = Some(1));
    refused(
        &mut world,
        "InvalidRequest",
        &["2 IPv4 addresses are asked for", "address-count of 1"],
    );
}

#[test]
fn address_not_in_pool() {
    refused(&mut web_asking("203.0.113.1", [lan(2)]), "AddressNotInPool", &["203.0.113.1"]);
    let mut world = web_asking("192.0.2.10", [lan(2), pool("two", &["198.51.100.1"])]);
    world.edit("web", |s| s.request.pool = Some("two".into()));
    refused(&mut world, "AddressNotInPool", &["192.0.2.10", "`two`"]);
}

#[test]
fn address_reserved() {
    let reserved = vec!["192.0.2.11".parse().unwrap()];
    let mut world = web_asking("192.0.2.11", [Pool { reserved, ..lan(3) }]);
    refused(&mut world, "AddressReserved", &["192.0.2.11", "`lan`"]);
}

#[test]
fn buggy_address() {
    let avoiding = Pool { avoid_buggy_ips: true, ..pool("lan", &["192.0.2.0/24"]) };
    for address in ["192.0.2.0", "192.0.2.255"] {
        let mut world = web_asking(address, [avoiding.clone()]);
        refused(&mut world, "BuggyAddress", &[address, "avoid_buggy_ips"]);
    }
}

#[test]
fn address_of_node() {
    let mut world = web_asking("192.0.2.10", [lan(2)]);
    world.node("n1", "192.0.2.10");
    refused(&mut world, "AddressOfNode", &["192.0.2.10", "local/n1"]);
}

#[test]
fn address_of_gateway() {
    let mut world = web_asking("192.0.2.10", [lan(2)]);
    world.host.gateways.insert(ip("192.0.2.10"));
    refused(&mut world, "AddressOfGateway", &["192.0.2.10"]);
}

#[test]
fn address_of_host() {
    let mut world = web_asking("192.0.2.10", [lan(2)]);
    world.interface("eth0", "192.0.2.10/24");
    refused(&mut world, "AddressOfHost", &["192.0.2.10", "eth0", "host_addresses"]);
}

#[test]
fn what_a_pool_can_never_hand_out_is_told_until_it_is_reserved() {
    let mut world = World::new([lan(4)]);
    world.interface("eth0", "192.0.2.10/24").node("n1", "192.0.2.11").node("far", "192.0.2.99");
    world.host.gateways.insert(ip("192.0.2.12"));
    let told = |outcome: Outcome| {
        let refusals = outcome.passed_over.into_iter().flat_map(|(_, refusals)| refusals);
        refusals.map(|refusal| refusal.reason().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(world.run()), ["AddressOfHost", "AddressOfNode", "AddressOfGateway"]);
    world.pools[0].reserved = vec!["192.0.2.10-192.0.2.12".parse().expect("a range")];
    assert!(told(world.run()).is_empty());
}

#[test]
fn address_not_of_host() {
    let host = Pool { host_addresses: true, ..lan(2) };
    let mut world = web_asking("192.0.2.11", [host]);
    world.interface("eth0", "192.0.2.10/24");
    refused(&mut world, "AddressNotOfHost", &["192.0.2.11", "`lan`"]);
}

#[test]
fn an_edge_host_that_is_a_node_is_refused_by_name() {
    let mut world = World::new([Pool { host_addresses: true, ..lan(1) }]);
    world.interface("eth0", "192.0.2.10/24").node("edge", "192.0.2.10");
    world.put(asking("web", &["192.0.2.10"]));
    refused(&mut world, "AddressOfNode", &["192.0.2.10", "local/edge"]);
}

#[test]
fn address_of_network() {
    for address in ["192.0.2.0", "192.0.2.255"] {
        let mut world = web_asking(address, [pool("lan", &["192.0.2.0/24"])]);
        world.interface("eth0", "192.0.2.7/24");
        refused(&mut world, "AddressOfNetwork", &[address, "192.0.2.0/24"]);
    }
    let mut world = World::new([pool("lan", &["2001:db8::/120"])]);
    let families = Families::Single(Family::V6);
    world.put(Service { families, ..asking("web", &["2001:db8::"]) });
    world.interface("eth0", "2001:db8::77/64");
    refused(&mut world, "AddressOfNetwork", &["2001:db8::/64"]);
}

#[test]
fn conflict_on_wire() {
    let mut world = web_asking("192.0.2.10", [lan(2)]);
    world.conflict("192.0.2.10", Stage::Probing);
    refused(&mut world, "ConflictOnWire", &["192.0.2.10", "02:00:00:00:00:99"]);
}

#[test]
fn address_held() {
    let mut world = World::new([lan(2)]);
    world.put(asking("first", &["192.0.2.10"])).run();
    world.put(asking("web", &["192.0.2.10"]));
    refused(&mut world, "AddressHeld", &["192.0.2.10", "local/default/first"]);
    world.delete("first");
    refused(&mut world, "AddressHeld", &["until it has fallen silent"]);
}

#[test]
fn sharing_key_differs() {
    let mut world = World::new([lan(2)]);
    world.put(keyed("first", "front", 443)).run();
    let mut web = keyed("web", "back", 80);
    web.request.addresses = vec![ip("192.0.2.10")];
    world.put(web);
    refused(&mut world, "SharingKeyDiffers", &["192.0.2.10", "local/default/first", "front"]);
}

#[test]
fn port_conflict() {
    let mut world = World::new([lan(2)]);
    world.put(keyed("first", "front", 80)).run();
    let mut web = keyed("web", "front", 80);
    web.request.addresses = vec![ip("192.0.2.10")];
    world.put(web);
    refused(&mut world, "PortConflict", &["80/TCP", "192.0.2.10", "local/default/first"]);
}

#[test]
fn no_node_port() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).edit("web", |s| s.ports[0].node_port = None);
    refused(&mut world, "NoNodePort", &["80/TCP"]);
}

#[test]
fn sctp_not_served() {
    let mut world = World::new([lan(2)]);
    world.put(Service { ports: vec![port_of(Protocol::Sctp, 36412)], ..service("web") });
    refused(&mut world, "SctpNotServed", &["36412/SCTP"]);
}

#[test]
fn no_ports() {
    let mut world = World::new([lan(2)]);
    world.put(Service { ports: Vec::new(), ..service("web") });
    refused(&mut world, "NoPorts", &["no ports"]);
}

#[test]
fn a_port_that_cannot_be_served_costs_its_siblings_nothing() {
    let mut world = World::new([lan(2)]);
    let bare = ServicePort { node_port: None, ..tcp(8080) };
    let ports = vec![port_of(Protocol::Sctp, 36412), tcp(80), bare, port_of(Protocol::Udp, 53)];
    world.put(Service { ports, ..service("web") });
    let outcome = world.run();
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "NoNodePort".to_owned()));
    let message = &condition(&outcome, "web").message;
    assert!(message.contains("8080/TCP") && message.contains("36412/SCTP"), "{message}");
    assert_eq!(world.ports("web", "192.0.2.10"), [80, 53]);
}

#[test]
fn what_is_met_is_said_with_address_and_pool() {
    let outcome = World::new([lan(2)]).put(service("web")).run();
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "Allocated".to_owned()));
    assert_eq!(condition(&outcome, "web").message, "192.0.2.10 from pool `lan`");
}

#[test]
fn addresses_unavailable() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).edit("web", |s| s.request.count = Some(3));
    refused(&mut world, "AddressesUnavailable", &["3 IPv4", "2 can be had", "`lan` (2 in all)"]);
}

#[test]
fn quota_exceeded() {
    let mut world = World::new([Pool { quota: most(0), ..lan(2) }]);
    world.put(service("web"));
    refused(&mut world, "QuotaExceeded", &["local/default", "has 0", "`lan`", "allows 0"]);
}

#[test]
fn pool_draining() {
    let mut world = World::new([Pool { drain: true, ..lan(2) }]);
    world.put(service("web"));
    refused(&mut world, "PoolDraining", &["`lan`", "drain = true"]);
    world.put(asking("web", &["192.0.2.11"]));
    refused(&mut world, "PoolDraining", &["`lan`"]);
}

#[test]
fn cooling_down() {
    let mut world = World::new([Pool { cool_down: Duration::from_secs(600), ..lan(1) }]);
    world.put(service("old")).run();
    world.delete("old").settle();
    world.put(service("web"));
    refused(&mut world, "PoolCoolingDown", &["IPv4", "`lan` (1)"]);
    world.put(asking("web", &["192.0.2.10"]));
    refused(&mut world, "CoolingDown", &["192.0.2.10", "local/default/old", "`lan`"]);
}

#[test]
fn reserved_for_another() {
    let mut world = web_asking("192.0.2.10", [lan(2)]);
    world.reserve("db", &["192.0.2.10"], "prod/db");
    refused(&mut world, "ReservedForAnother", &["192.0.2.10", "local/prod/db", "`db`"]);
}

#[test]
fn reservation_in_use() {
    let mut world = World::new([lan(3)]);
    world.put(reserving("first", "name")).put(reserving("web", "name"));
    refused(&mut world, "ReservationInUse", &["`name`", "local/default/first"]);
}

#[test]
fn too_many_reservations() {
    let mut world = World::new([pool("lan", &["192.0.2.0/24"])]);
    for n in 0..crate::ipam::MOST_KEPT {
        world.put(reserving(&format!("a{n:02}"), &format!("r{n}")));
    }
    world.put(reserving("web", "one-more"));
    refused(&mut world, "TooManyReservations", &["64", "local/default", "roadstead release"]);
}

#[test]
fn name_unresolved() {
    let mut world = World::new([lan(2)]);
    world.put(named("web", "web.example.org"));
    refused(&mut world, "NameUnresolved", &["web.example.org", "being looked up"]);
    world.host.names.insert("web.example.org".into(), Lookup::Failed("no such name".into()));
    refused(&mut world, "NameUnresolved", &["web.example.org", "no such name"]);
}

#[test]
fn name_without_address() {
    let mut world = World::new([lan(2)]);
    world.put(named("web", "web.example.org")).resolve("web.example.org", &["2001:db8::1"]);
    refused(&mut world, "NameWithoutAddress", &["web.example.org", "IPv4"]);
}

/// Each of many Services may be refused by each of many pools.
#[test]
fn a_refusal_names_some_of_many_pools() {
    let pools = (0..200_u8).map(|n| Pool {
        namespaces: vec!["other".into()],
        ..pool(&format!("pool-{n}"), &[&format!("192.0.2.{n}")])
    });
    let mut world = World::new(pools);
    let mut named = service("b");
    named.request.pool = Some("none".into());
    let outcome = world.put(service("a")).put(named).run();
    for (name, words) in
        [("a", "no pool is open to this service"), ("b", "there is no pool `none`")]
    {
        let told = &condition(&outcome, name).message;
        assert!(told.starts_with(words) && told.ends_with(", and more"), "{told}");
        assert!(told.len() < 1_500, "{told}");
    }
}
