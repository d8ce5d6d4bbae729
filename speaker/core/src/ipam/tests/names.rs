//! A floating request: the addresses that a host name resolves to.

use super::*;

const NAME: &str = "web.example.org";

fn world() -> World {
    World::new([pool("lan", &["192.0.2.10-192.0.2.20", "2001:db8::10/124"])])
}

#[test]
fn what_a_name_resolves_to_is_asked_for_in_each_family() {
    let mut world = world();
    let mut web = named("web", NAME);
    web.families = Families::RequireDual { first: Family::V4 };
    let outcome = world.put(web).run();
    assert_eq!(said(&outcome, "web").1, "NameUnresolved");
    world.resolve(NAME, &["192.0.2.12", "192.0.2.15", "2001:db8::11"]).run();
    assert_eq!(world.live("web"), ["192.0.2.12", "192.0.2.15", "2001:db8::11"]);
}

#[test]
fn a_name_goes_elsewhere_and_nobody_moves() {
    let mut world = world();
    world.put(named("web", NAME)).resolve(NAME, &["192.0.2.12"]).run();
    world.resolve(NAME, &["192.0.2.13"]);
    let outcome = world.restart().run();
    assert_eq!(world.live("web"), ["192.0.2.12"]);
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "NameMoved".to_owned()));
    let message = &condition(&outcome, "web").message;
    assert!(message.contains("192.0.2.13") && message.contains("create the service anew"));
    world.delete("web").settle();
    world.put(named("web", NAME)).run();
    assert_eq!(world.live("web"), ["192.0.2.13"], "created anew it goes where the name does");
}

#[test]
fn a_name_that_no_longer_resolves_costs_nothing() {
    let mut world = world();
    world.put(named("web", NAME)).resolve(NAME, &["192.0.2.12"]).run();
    for lookup in [Some(Lookup::Failed("SERVFAIL".into())), None] {
        world.host.names.clear();
        world.host.names.extend(lookup.map(|lookup| (NAME.into(), lookup)));
        let outcome = world.restart().run();
        assert_eq!(world.live("web"), ["192.0.2.12"]);
        assert_eq!(said(&outcome, "web").1, "Allocated");
    }
}

#[test]
fn a_name_asked_for_anew_is_moved_to_and_what_is_held_waits_for_it() {
    let mut world = world();
    world.put(service("web")).run();
    world.put(named("web", NAME));
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"], "acquire before release");
    assert_eq!(said(&outcome, "web").1, "NameUnresolved");
    world.resolve(NAME, &["192.0.2.12"]).run();
    assert_eq!(world.live("web"), ["192.0.2.12"]);
    world.put(service("web")).run();
    assert_eq!(world.live("web"), ["192.0.2.12"], "asking for nothing is no wish to move");
}

#[test]
fn a_name_is_bound_by_the_pools_as_an_address_is() {
    let mut world = world();
    world.put(named("web", NAME)).resolve(NAME, &["203.0.113.7"]);
    assert_eq!(said(&world.run(), "web").1, "AddressNotInPool");
    world.put(service("other")).run();
    world.resolve(NAME, &["192.0.2.10"]);
    assert_eq!(said(&world.run(), "web").1, "AddressHeld");
    world.reserve("x", &["192.0.2.11"], "prod/x").resolve(NAME, &["192.0.2.11"]);
    assert_eq!(said(&world.run(), "web").1, "ReservedForAnother");
    world.resolve(NAME, &["192.0.2.12"]);
    world.run();
    assert_eq!(world.live("web"), ["192.0.2.12"]);
}

#[test]
fn a_name_beside_an_address() {
    let mut world = world();
    let mut web = asking("web", &["192.0.2.20"]);
    web.request.hosts = vec![NAME.into()];
    world.put(web).resolve(NAME, &["192.0.2.12", "192.0.2.20"]).run();
    assert_eq!(world.live("web"), ["192.0.2.12", "192.0.2.20"]);
    world.resolve(NAME, &["192.0.2.13"]);
    world.run();
    assert_eq!(world.live("web"), ["192.0.2.12", "192.0.2.20"]);
    world.put(asking("web", &["192.0.2.20"])).run();
    assert_eq!(world.live("web"), ["192.0.2.20"], "the name is asked for no more");
}

#[test]
fn an_address_asked_for_in_both_ways_binds_the_name_too() {
    let mut world = world();
    let mut web = asking("web", &["192.0.2.12"]);
    web.request.hosts = vec![NAME.into()];
    world.put(web).resolve(NAME, &["192.0.2.12"]).run();
    world.resolve(NAME, &["192.0.2.13", "192.0.2.14"]);
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.12"]);
    assert_eq!(said(&outcome, "web").1, "NameMoved");
}

#[test]
fn a_name_that_gains_a_family_gains_an_address() {
    let mut world = world();
    let mut web = named("web", NAME);
    web.families = Families::PreferDual { first: Family::V4 };
    let outcome = world.put(web).resolve(NAME, &["192.0.2.12"]).run();
    assert_eq!(world.live("web"), ["192.0.2.12"], "no address of the other family in its place");
    assert_eq!(said(&outcome, "web"), (ConditionStatus::True, "NameWithoutAddress".to_owned()));
    world.resolve(NAME, &["192.0.2.12", "2001:db8::11"]).run();
    assert_eq!(world.live("web"), ["192.0.2.12", "2001:db8::11"]);
}
