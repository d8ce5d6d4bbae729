//! Nobody's address changes for a reason that is not its own; a change acquires before it
//! releases; doubt holds and knowledge withdraws.

use super::*;

#[test]
fn running_again_changes_nothing() {
    let mut world = World::new([lan(5)]);
    let first = world.put(service("a")).put(service("b")).run();
    assert!(first.changed);
    let again = world.run();
    assert!(!again.changed);
    assert_eq!(again.assignments, first.assignments);
}

#[test]
fn a_restart_changes_no_address_and_counts_the_generation_on() {
    let mut world = World::new([lan(5)]);
    let before = world.put(service("b")).put(service("c")).run();
    let after = world.restart().put(service("a")).run();
    assert_eq!([world.live("b"), world.live("c")].concat(), ["192.0.2.10", "192.0.2.11"]);
    assert_eq!(world.live("a"), ["192.0.2.12"], "an earlier name takes nothing from who is there");
    assert!(after.assignments.generation > before.assignments.generation);
    let unchanged = world.restart().run();
    assert!(unchanged.changed, "the first run after a start is published anew");
    assert_eq!(unchanged.assignments.services, after.assignments.services);
}

#[test]
fn a_lower_address_set_free_moves_nobody() {
    let mut world = World::new([lan(5)]);
    world.put(service("a")).put(service("b")).run();
    world.delete("a").settle();
    assert_eq!(world.live("b"), ["192.0.2.11"]);
}

#[test]
fn another_priority_or_a_closed_pool_moves_nobody() {
    let mut world = World::new([lan(5), pool("better", &["198.51.100.0/28"])]);
    world.pools[0].priority = Some(1);
    world.put(service("a")).run();
    world.pools[1].priority = Some(1);
    world.pools[0].priority = None;
    world.pools[0].auto_assign = false;
    world.run();
    assert_eq!(world.live("a"), ["192.0.2.10"]);
}

#[test]
fn a_pool_renamed_or_split_moves_nobody() {
    let mut world = World::new([lan(5)]);
    world.put(service("a")).run();
    world.pools = vec![pool("half", &["192.0.2.10"]), pool("other", &["192.0.2.11-192.0.2.14"])];
    let outcome = world.run();
    assert_eq!(world.live("a"), ["192.0.2.10"]);
    assert_eq!(&*outcome.addresses[0].pool, "half");
}

#[test]
fn a_request_that_cannot_be_met_keeps_the_address_held() {
    let mut world = World::new([lan(5)]);
    world.put(asking("other", &["192.0.2.12"])).put(service("web")).run();
    for (address, reason) in [("192.0.2.12", "AddressHeld"), ("203.0.113.1", "AddressNotInPool")] {
        world.edit("web", |s| s.request.addresses = vec![ip(address)]);
        let outcome = world.run();
        assert_eq!(world.live("web"), ["192.0.2.10"]);
        assert_eq!(said(&outcome, "web"), (ConditionStatus::True, reason.to_owned()));
        assert!(condition(&outcome, "web").message.starts_with("has 192.0.2.10"));
    }
    world.edit("web", |s| {
        s.request.addresses = vec![ip("192.0.2.13"), ip("192.0.2.14")];
        s.request.count = Some(1);
    });
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web").1, "InvalidRequest");
}

#[test]
fn a_request_that_is_met_acquires_first_and_leaves_until_silent() {
    let mut world = World::new([lan(5)]);
    world.put(service("web")).run();
    world.edit("web", |s| s.request.addresses = vec![ip("192.0.2.14")]);
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.14"]);
    assert_eq!(world.leaving("web"), ["192.0.2.10"]);
    let withdrawing: Vec<_> =
        outcome.assignments.services.iter().map(|a| (a.addresses[0], a.withdrawing)).collect();
    assert_eq!(withdrawing, [(ip("192.0.2.14"), false), (ip("192.0.2.10"), true)]);
    world.put(asking("next", &["192.0.2.10"])).run();
    assert!(world.live("next").is_empty(), "not while it may still be answered for");
    assert!(world.allocator.release(ip("192.0.2.10"), &key("web"), 0));
    assert!(!world.allocator.release(ip("192.0.2.14"), &key("web"), 0), "what is in use stays");
    assert!(world.run().changed);
    assert_eq!(world.live("next"), ["192.0.2.10"], "without an edit");
}

#[test]
fn a_change_of_mind_before_silence_gets_the_address_back() {
    let mut world = World::new([lan(5)]);
    world.put(service("a")).put(service("web")).run();
    world.delete("web").run();
    assert_eq!(world.leaving("web"), ["192.0.2.11"]);
    world.restart().put(service("web")).run();
    assert_eq!(world.live("web"), ["192.0.2.11"]);
    assert!(world.leaving("web").is_empty());
}

#[test]
fn an_address_set_free_goes_to_the_one_that_waits() {
    let mut world = World::new([lan(1)]);
    world.put(service("a")).put(service("b")).put(service("c")).run();
    assert_eq!(world.live("a"), ["192.0.2.10"]);
    world.delete("a").run();
    assert!(world.live("b").is_empty(), "not before it has fallen silent");
    world.settle();
    assert_eq!(world.live("b"), ["192.0.2.10"]);
    assert!(world.live("c").is_empty());
}

#[test]
fn what_an_unread_or_doubtful_source_does_not_show_is_kept() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).run();
    world.delete("web");
    for doubt in [SourceState::Unread, SourceState::Doubtful { reason: "unreadable".into() }] {
        world.snapshot.sources.insert(local(), doubt);
        let outcome = world.restart().run();
        assert_eq!(world.live("web"), ["192.0.2.10"]);
        assert_eq!(said(&outcome, "web"), (ConditionStatus::Unknown, "SourceInDoubt".to_owned()));
    }
    world.snapshot.sources.clear();
    world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"], "nothing is known before any source is");
    world.snapshot.sources.insert(local(), SourceState::Current);
    world.run();
    assert!(world.live("web").is_empty());
    assert_eq!(world.leaving("web"), ["192.0.2.10"]);
}

#[test]
fn what_went_by_an_order_is_gone_although_its_source_is_in_doubt() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).put(service("api")).run();
    world.delete("web").delete("api");
    let doubt = SourceState::Doubtful { reason: "another file is unreadable".into() };
    world.snapshot.sources.insert(local(), doubt);
    world.snapshot.gone.insert(ServiceKey::new(&local(), "default", "web"));
    world.run();
    assert!(world.live("web").is_empty());
    assert_eq!(world.leaving("web").len(), 1);
    assert_eq!(world.live("api").len(), 1, "of this one nobody knows");
}

#[test]
fn a_service_that_is_there_and_refused_keeps_its_address() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).run();
    world.delete("web");
    let key = ServiceKey::new(&local(), "default", "web");
    world.snapshot.refused.insert(key.clone(), "port 70000 is out of range".into());
    world.restart().run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    world.snapshot.refused.remove(&key);
    world.run();
    assert!(world.live("web").is_empty());
}

#[test]
fn doubt_about_one_source_keeps_nothing_of_another() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).run();
    world.snapshot.sources.insert(SourceName::new("far"), SourceState::Unread);
    world.delete("web").run();
    assert!(world.live("web").is_empty());
}

#[test]
fn an_address_outside_every_pool_is_used_by_nobody() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).run();
    world.pools = vec![pool("new", &["198.51.100.1"])];
    let outcome = world.restart().run();
    assert_eq!(world.live("web"), ["198.51.100.1"]);
    let old = outcome.addresses.iter().find(|h| h.address == ip("192.0.2.10")).unwrap();
    assert_eq!((old.live.len(), old.leaving.len()), (0, 1));
    assert!(!old.announce.l2);
    assert_eq!(old.announce_on, Some(Vec::new()));
    world.settle();
    assert!(world.leaving("web").is_empty());
}

#[test]
fn a_configuration_that_would_orphan_an_address_is_told_with_its_services() {
    let mut world = World::new([lan(5)]);
    world.put(service("a")).put(service("b")).run();
    let orphans = |pools: &[Pool]| world.allocator.orphans(pools, &world.snapshot);
    assert!(orphans(&world.pools).is_empty());
    assert_eq!(orphans(&[lan(1)]), [(key("b"), ip("192.0.2.11"))]);
    assert_eq!(orphans(&[]).len(), 2);
    let reserved = vec!["192.0.2.10".parse().unwrap()];
    assert_eq!(orphans(&[Pool { reserved, ..lan(5) }]), [(key("a"), ip("192.0.2.10"))]);
    let pinned = Pool { namespaces: vec!["prod".into()], ..lan(5) };
    assert_eq!(orphans(&[pinned]).len(), 2);
    assert!(orphans(&[pool("renamed", &["192.0.2.0/24"])]).is_empty());
}

#[test]
fn neighbours_that_turn_up_later_are_told_of_and_move_nobody() {
    let mut world = World::new([lan(5)]);
    world.put(service("web")).run();
    world.node("n1", "192.0.2.10");
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "AddressOfNode".to_owned()));
    world.snapshot.nodes.clear();
    world.conflict("192.0.2.10", Stage::InUse);
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "ConflictOnWire".to_owned()));
}

#[test]
fn a_conflict_found_by_probing_moves_who_did_not_ask_for_the_address() {
    let mut world = World::new([lan(3)]);
    world.put(service("a")).put(asking("b", &["192.0.2.11"])).run();
    world.conflict("192.0.2.10", Stage::Probing).conflict("192.0.2.11", Stage::Probing);
    let outcome = world.run();
    assert_eq!(world.live("a"), ["192.0.2.12"]);
    assert_eq!(world.leaving("a"), ["192.0.2.10"]);
    assert_eq!(world.live("b"), ["192.0.2.11"], "it wants this one and no other");
    assert_eq!(said(&outcome, "b").1, "ConflictOnWire");
    world.conflict("192.0.2.12", Stage::Probing);
    let outcome = world.run();
    assert_eq!(world.live("a"), ["192.0.2.12"], "nowhere else to go");
    assert_eq!(said(&outcome, "a").1, "ConflictOnWire");
}

#[test]
fn port_edits_touch_only_the_ports_concerned() {
    let mut world = World::new([lan(2)]);
    world.put(keyed("a", "k", 80)).put(keyed("b", "k", 443)).run();
    world.edit("a", |s| s.ports = vec![tcp(80), tcp(443), tcp(8080)]);
    let outcome = world.run();
    assert_eq!(world.ports("a", "192.0.2.10"), [80, 8080]);
    assert_eq!(said(&outcome, "a"), (ConditionStatus::True, "PortConflict".to_owned()));
    assert_eq!(world.ports("b", "192.0.2.10"), [443]);
    assert_eq!(said(&outcome, "b").1, "Allocated");
    world.edit("b", |s| s.ports = vec![tcp(8443)]).run();
    assert_eq!(world.ports("a", "192.0.2.10"), [80, 443, 8080], "the port set free, at once");
}

#[test]
fn a_service_left_without_node_ports_keeps_its_address() {
    let mut world = World::new([lan(2)]);
    world.put(service("web")).run();
    world.edit("web", |s| s.ports[0].node_port = None);
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::False, "NoNodePort".to_owned()));
    assert!(claims(&outcome).is_empty());
}

#[test]
fn labels_edited_away_from_the_pool_move_the_service_when_it_can() {
    let mut world = World::new([Pool { service_selectors: vec![selector("t", "x")], ..lan(2) }]);
    let labels = BTreeMap::from([("t".into(), "x".into())]);
    world.put(Service { labels, ..service("web") }).run();
    world.edit("web", |s| s.labels.clear());
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "PoolNotAllowed".to_owned()));
    world.pools.push(pool("open", &["198.51.100.1"]));
    world.run();
    assert_eq!(world.live("web"), ["198.51.100.1"]);
}

#[test]
fn a_pool_named_anew_is_moved_to_and_an_unknown_one_costs_nothing() {
    let mut world = World::new([lan(2), pool("two", &["198.51.100.1"])]);
    world.put(service("web")).run();
    world.edit("web", |s| s.request.pool = Some("three".into()));
    assert_eq!(said(&world.run(), "web").1, "NoSuchPool");
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    world.edit("web", |s| s.request.pool = Some("two".into())).run();
    assert_eq!(world.live("web"), ["198.51.100.1"]);
    assert_eq!(world.leaving("web"), ["192.0.2.10"]);
}

#[test]
fn the_generation_that_first_named_a_service_is_told() {
    let mut world = World::new([Pool { sharing: Sharing::WhenFull, ..lan(1) }]);
    let first = world.put(on_port("a", 80)).run();
    let named = first.addresses[0].since;
    assert_eq!(named, first.assignments.generation);
    world.allocator.advance();
    let second = world.put(on_port("b", 81)).run();
    assert!(second.addresses[0].since > named);
    world.delete("b");
    assert_eq!(world.settle().addresses[0].since, named, "only `a` is left, named long ago");
}
