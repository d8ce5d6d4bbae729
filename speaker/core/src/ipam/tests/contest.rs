//! A nodePort that two Services name is for whom the ledger knows.

use super::*;

/// Two Services that both name the node port of port 80.
fn contested(names: [&str; 2]) -> BTreeSet<(ServiceKey, PortClaim)> {
    let claim = PortClaim { protocol: Protocol::Tcp, port: 80 };
    names.into_iter().map(|name| (key(name), claim)).collect()
}

#[test]
fn who_is_served_with_it_keeps_it_over_a_restart_and_a_newcomer_is_refused() {
    let mut world = World::new([lan(5)]);
    world.put(service("own")).run();
    world.put(service("a-thief")).snapshot.contested = contested(["own", "a-thief"]);
    for _ in 0..2 {
        let outcome = world.run();
        assert_eq!((world.live("own"), world.live("a-thief")), (vec!["192.0.2.10".into()], vec![]));
        assert_eq!(said(&outcome, "own"), (ConditionStatus::True, "Allocated".to_owned()));
        assert_eq!(said(&outcome, "a-thief"), (ConditionStatus::False, "NodePortTaken".to_owned()));
        let message = &condition(&outcome, "a-thief").message;
        assert!(message.contains("30000") && message.contains("local/default/own"), "{message}");
        world.restart();
    }
    world.snapshot.contested.clear();
    world.delete("own").settle();
    assert_eq!(world.live("a-thief").len(), 1, "it is free then");
}

#[test]
fn of_two_newcomers_the_first_by_key_has_it_and_a_start_finds_the_same() {
    let mut world = World::new([lan(5)]);
    world.put(service("b")).put(service("a")).snapshot.contested = contested(["a", "b"]);
    for _ in 0..2 {
        world.run();
        assert_eq!((world.live("a"), world.live("b")), (vec!["192.0.2.10".into()], vec![]));
        world.restart();
    }
}

#[test]
fn two_that_are_served_already_both_stay() {
    let mut world = World::new([lan(5)]);
    let before = world.put(service("a")).put(service("b")).run();
    world.snapshot.contested = contested(["a", "b"]);
    assert_eq!(world.run().assignments.services, before.assignments.services);
    assert_eq!(world.restart().run().assignments.services, before.assignments.services);
}

#[test]
fn a_port_lost_costs_its_siblings_nothing() {
    let mut world = World::new([lan(5)]);
    world.put(service("own")).run();
    let mut other = service("other");
    other.ports = vec![tcp(80), ServicePort { node_port: Some(30_001), ..tcp(443) }];
    world.put(other).snapshot.contested = contested(["own", "other"]);
    world.run();
    assert_eq!(world.ports("other", "192.0.2.11"), [443]);
    // A Service that is not ours by class is no contender.
    world.class_only = true;
    world.edit("other", |s| s.class = Some("roadstead.io/load-balancer".into())).run();
    assert_eq!(world.ports("other", "192.0.2.11"), [80, 443]);
}
