//! Several Services on one address.

use super::*;

fn shared(sharing: Sharing, size: u8) -> World {
    World::new([Pool { sharing, ..lan(size) }])
}

#[test]
fn a_sharing_key_brings_services_of_a_namespace_together() {
    let mut world = shared(Sharing::Key, 3);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).put(keyed("c", "other", 82));
    world.put(keyed("prod/d", "k", 83)).put(keyed("e", "k", 80)).run();
    assert_eq!(world.live("a"), ["192.0.2.10"]);
    assert_eq!(world.live("b"), ["192.0.2.10"]);
    assert_eq!(world.live("c"), ["192.0.2.11"]);
    assert_eq!(world.live("e"), ["192.0.2.12"], "its port is taken beside `a`");
    assert!(world.live("prod/d").is_empty(), "another namespace is another scope");
}

#[test]
fn across_namespaces_where_the_pool_says_so() {
    let mut world = shared(Sharing::KeyAcrossNamespaces, 3);
    world.put(keyed("a", "k", 80)).put(keyed("prod/b", "k", 81)).run();
    assert_eq!(world.live("prod/b"), ["192.0.2.10"]);
}

#[test]
fn off_means_never() {
    let mut world = shared(Sharing::Off, 2);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).run();
    assert_eq!(world.live("b"), ["192.0.2.11"]);
}

#[test]
fn the_machine_with_one_address_serves_everybody_by_port() {
    let mut world = shared(Sharing::WhenFull, 1);
    world.put(on_port("a", 80)).put(on_port("b", 443)).put(on_port("prod/c", 53));
    world.edit("prod/c", |s| s.ports = vec![port_of(Protocol::Udp, 80)]);
    world.put(on_port("z", 80));
    let outcome = world.run();
    for name in ["a", "b", "prod/c"] {
        assert_eq!(world.live(name), ["192.0.2.10"]);
    }
    assert_eq!(said(&outcome, "z"), (ConditionStatus::False, "PortConflict".to_owned()));
    assert!(condition(&outcome, "z").message.contains("local/default/a"));
    world.delete("a").settle();
    assert_eq!(world.live("z"), ["192.0.2.10"], "the port set free goes to the one that waits");
}

#[test]
fn nobody_shares_while_the_pool_has_a_free_address() {
    let mut world = shared(Sharing::WhenFull, 2);
    world.put(on_port("a", 80)).put(on_port("b", 81)).run();
    assert_eq!(world.live("b"), ["192.0.2.11"]);
    let mut world = shared(Sharing::WhenFull, 2);
    world.put(on_port("a", 80)).run();
    let mut b = on_port("b", 81);
    b.request.addresses = vec![ip("192.0.2.10")];
    let outcome = world.put(b).run();
    assert_eq!(said(&outcome, "b").1, "AddressHeld");
    let outcome = world.put(on_port("c", 82)).run();
    assert_eq!(world.live("c"), ["192.0.2.11"]);
    assert_eq!(said(&outcome, "b").1, "Allocated", "`c` has filled the pool in the same run");
}

#[test]
fn who_shares_stays_when_an_address_becomes_free() {
    let mut world = shared(Sharing::WhenFull, 1);
    world.put(on_port("a", 80)).put(on_port("b", 81)).run();
    world.pools = vec![Pool { sharing: Sharing::Off, ..lan(5) }];
    world.settle();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
}

#[test]
fn who_edits_its_key_away_is_the_one_that_moves() {
    let mut world = shared(Sharing::Key, 1);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).run();
    world.edit("a", |s| s.request.sharing_key = Some("mine".into()));
    let outcome = world.run();
    assert_eq!(world.live("a"), ["192.0.2.10"], "nowhere to go yet");
    assert_eq!(said(&outcome, "a"), (ConditionStatus::True, "SharingKeyDiffers".to_owned()));
    assert_eq!(said(&outcome, "b").1, "Allocated");
    world.pools = vec![lan(2)];
    world.restart().settle();
    assert_eq!(world.live("a"), ["192.0.2.11"]);
    assert_eq!(world.live("b"), ["192.0.2.10"], "another's edit moves nobody");
}

#[test]
fn a_sole_holder_changes_its_key_in_place() {
    let mut world = shared(Sharing::Key, 3);
    world.put(service("a")).run();
    world.edit("a", |s| s.request.sharing_key = Some("k".into())).run();
    world.put(keyed("b", "k", 81)).run();
    assert_eq!([world.live("a"), world.live("b")].concat(), ["192.0.2.10", "192.0.2.10"]);
}

#[test]
fn the_traffic_policy_has_no_say() {
    let mut world = shared(Sharing::Key, 2);
    let local = Service { traffic_policy: TrafficPolicy::Local, ..keyed("b", "k", 81) };
    world.put(keyed("a", "k", 80)).put(local).run();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
}

#[test]
fn a_service_squeezed_out_of_all_its_ports_finds_another_address() {
    let mut world = shared(Sharing::Key, 2);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 81)).run();
    world.edit("b", |s| s.ports = vec![tcp(80)]).run();
    assert_eq!(world.live("b"), ["192.0.2.11"]);
    assert_eq!(world.leaving("b"), ["192.0.2.10"]);
}

#[test]
fn who_comes_back_with_fewer_ports_sets_the_others_free_in_the_same_run() {
    let mut world = shared(Sharing::Key, 1);
    world.put(keyed("a", "k", 90)).put(keyed("z", "k", 80)).run();
    world.edit("z", |s| s.ports = vec![tcp(80), tcp(81)]).run();
    world.delete("z").run();
    world.put(keyed("b", "k", 81)).put(keyed("z", "k", 80)).run();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
    assert!(!world.run().changed);
}
