//! What MetalLB's allocator does, with pools as its objects say them: the rows of its behaviour that
//! are kept, and those that are left out on purpose.

use roadstead_model::{
    metallb::{AddressPool, L2Advertisement, MetalLb, ServiceAllocation},
    object::Namespace,
};

use super::*;

fn address_pool(name: &str, addresses: &[&str]) -> AddressPool {
    AddressPool {
        name: name.into(),
        labels: BTreeMap::new(),
        addresses: addresses.iter().map(|text| text.parse().expect("a range")).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    }
}

fn allocated(name: &str, addresses: &[&str], allocation: ServiceAllocation) -> AddressPool {
    AddressPool { allocation: Some(allocation), ..address_pool(name, addresses) }
}

fn objects(pools: &[AddressPool]) -> MetalLb {
    let everything = L2Advertisement { name: "all".into(), ..L2Advertisement::default() };
    MetalLb { pools: pools.to_vec(), l2_advertisements: vec![everything], ..MetalLb::default() }
}

fn world(pools: &[AddressPool]) -> World {
    World::new(objects(pools).pools_of(&local()))
}

impl World {
    fn namespace(&mut self, name: &str, labels: &[(&str, &str)]) -> &mut Self {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let namespace = Arc::new(Namespace { labels });
        self.snapshot.namespaces.insert((local(), name.into()), namespace);
        self
    }

    fn reason(&mut self, name: &str) -> String {
        self.run().conditions.get(&key(name)).expect("a condition").reason.clone()
    }
}

fn labelled(name: &str, label: (&str, &str)) -> Service {
    let labels = [(label.0.into(), label.1.into())].into();
    Service { labels, ..service(name) }
}

fn from_pool(name: &str, pool: &str) -> Service {
    let mut service = service(name);
    service.request.pool = Some(pool.into());
    service
}

#[test]
fn a_pool_serves_its_own_cluster_alone() {
    let mut world = world(&[address_pool("lan", &["192.0.2.10/32"])]);
    world.snapshot.sources.insert(SourceName::new("away"), SourceState::Current);
    let stranger = Service {
        key: ServiceKey::new(&SourceName::new("away"), "default", "a"),
        ..service("stranger")
    };
    world.put(stranger.clone()).put(service("web"));
    let outcome = world.run();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
    let refused = &outcome.conditions[&stranger.key];
    assert_eq!(refused.reason, "PoolNotAllowed");
    assert!(refused.message.contains("is for services of another source"), "{}", refused.message);
}

#[test]
fn a_pool_is_asked_for_by_its_own_name_or_with_its_source() {
    let shy =
        |name: &str, address| AddressPool { auto_assign: false, ..address_pool(name, &[address]) };
    let mut world = world(&[shy("one", "192.0.2.1/32"), shy("two", "192.0.2.2/32")]);
    world.put(from_pool("bare", "two")).put(from_pool("whole", "local/one"));
    world.put(from_pool("none", "three")).put(service("any"));
    world.run();
    assert_eq!(
        (world.live("bare"), world.live("whole")),
        (vec!["192.0.2.2".into()], vec!["192.0.2.1".into()])
    );
    assert_eq!(world.reason("none"), "NoSuchPool", "and nothing of another pool");
    assert_eq!(world.reason("any"), "OnRequestOnly");
}

#[test]
fn an_address_asked_for_passes_auto_assign_and_nothing_else() {
    let team =
        ServiceAllocation { namespaces: vec!["team".into()], ..ServiceAllocation::default() };
    let mut world = world(&[
        AddressPool { auto_assign: false, ..address_pool("shy", &["192.0.2.1/32"]) },
        AddressPool { avoid_buggy_ips: true, ..address_pool("careful", &["198.51.100.0/24"]) },
        allocated("team", &["203.0.113.0/24"], team),
    ]);
    world.put(asking("shy", &["192.0.2.1"]));
    world.put(asking("zero", &["198.51.100.0"])).put(asking("last", &["198.51.100.255"]));
    world.put(asking("stranger", &["203.0.113.9"])).put(asking("team/own", &["203.0.113.8"]));
    world.run();
    assert_eq!(world.live("shy"), ["192.0.2.1"]);
    assert_eq!(
        (world.reason("zero"), world.reason("last")),
        ("BuggyAddress".into(), "BuggyAddress".into())
    );
    assert_eq!(world.reason("stranger"), "PoolNotAllowed");
    assert_eq!(world.live("team/own"), ["203.0.113.8"]);
}

#[test]
fn namespaces_and_services_must_both_be_selected() {
    let allocation = ServiceAllocation {
        namespaces: vec!["named".into()],
        namespace_selectors: vec![selector("team", "x"), selector("team", "y")],
        service_selectors: vec![selector("tier", "front"), selector("tier", "edge")],
        ..ServiceAllocation::default()
    };
    let mut world = world(&[allocated("lan", &["192.0.2.0/28"], allocation)]);
    world.namespace("labelled", &[("team", "y")]).namespace("other", &[("team", "z")]);
    for name in ["named/a", "labelled/a", "other/a", "unknown/a"] {
        world.put(labelled(name, ("tier", "edge")));
    }
    world.put(labelled("named/b", ("tier", "back"))).put(service("labelled/c"));
    world.run();
    let served = |name: &str| !world.live(name).is_empty();
    assert!(served("named/a") && served("labelled/a"));
    for name in ["other/a", "unknown/a", "named/b", "labelled/c"] {
        assert!(!served(name), "{name}");
    }
}

/// In MetalLB a pool whose namespace selectors match no namespace is open to whoever names it.
#[test]
fn a_pool_whose_selectors_match_no_namespace_is_open_to_nobody() {
    let allocation = ServiceAllocation {
        namespace_selectors: vec![selector("team", "nobody")],
        ..ServiceAllocation::default()
    };
    let mut world = world(&[allocated("closed", &["192.0.2.0/28"], allocation)]);
    world.namespace("default", &[("team", "x")]);
    world.put(asking("address", &["192.0.2.3"])).put(from_pool("pool", "closed"));
    world.run();
    for name in ["address", "pool"] {
        assert_eq!(
            (world.live(name).len(), world.reason(name)),
            (0, "PoolNotAllowed".into()),
            "{name}"
        );
    }
}

#[test]
fn a_namespace_is_selected_by_the_name_that_the_api_server_labels_it_with() {
    let allocation = ServiceAllocation {
        namespace_selectors: vec![selector("kubernetes.io/metadata.name", "default")],
        ..ServiceAllocation::default()
    };
    let mut world = world(&[allocated("lan", &["192.0.2.1/32"], allocation)]);
    world.put(service("web")).run();
    assert_eq!(world.live("web"), ["192.0.2.1"], "with no Namespace to be read");
}

#[test]
fn pinned_pools_come_first_by_priority_and_none_is_last() {
    let with = |priority| ServiceAllocation { priority, ..ServiceAllocation::default() };
    let pinned =
        |priority| ServiceAllocation { namespaces: vec!["default".into()], ..with(priority) };
    let mut world = world(&[
        address_pool("anybody", &["192.0.2.1/32"]),
        allocated("never-said", &["192.0.2.2/32"], pinned(0)),
        allocated("later", &["192.0.2.3/32"], pinned(20)),
        allocated("first", &["192.0.2.4/32"], with(10)),
    ]);
    for name in ["a", "b", "c", "d"] {
        world.put(service(name)).run();
    }
    let order = ["a", "b", "c", "d"].map(|name| world.live(name).join(""));
    assert_eq!(order, ["192.0.2.4", "192.0.2.3", "192.0.2.2", "192.0.2.1"]);
}

#[test]
fn a_request_that_cannot_be_met_never_costs_the_address_held() {
    let mut world = world(&[address_pool("lan", &["192.0.2.10-192.0.2.11"])]);
    world.put(service("web")).put(asking("other", &["192.0.2.11"])).run();
    for wish in ["192.0.2.11", "203.0.113.1", "2001:db8::1"] {
        world.edit("web", |service| service.request.addresses = vec![ip(wish)]).settle();
        assert_eq!(world.live("web"), ["192.0.2.10"], "{wish}");
    }
    world.edit("web", |service| service.request = AddressRequest::default());
    world.edit("web", |service| service.request.pool = Some("gone".into())).settle();
    assert_eq!(world.live("web"), ["192.0.2.10"]);
}

#[test]
fn a_pool_that_is_renamed_or_split_moves_nobody() {
    let mut world = world(&[address_pool("lan", &["192.0.2.0/28"])]);
    world.put(service("a")).put(service("b")).run();
    let before = ["a", "b"].map(|name| world.live(name));
    world.pools = objects(&[
        address_pool("renamed", &["192.0.2.0/32"]),
        address_pool("rest", &["192.0.2.1-192.0.2.15"]),
    ])
    .pools_of(&local());
    let outcome = world.settle();
    assert_eq!(["a", "b"].map(|name| world.live(name)), before);
    let pools: Vec<_> = outcome.addresses.iter().map(|held| &*held.pool).collect();
    assert_eq!(pools, ["local/renamed", "local/rest"]);
}

#[test]
fn a_key_shares_over_namespaces_and_traffic_policies_where_ports_differ() {
    let mut world = world(&[address_pool("lan", &["192.0.2.10/32"])]);
    let sharing = |name: &str, port, policy| {
        let mut service =
            Service { ports: vec![tcp(port)], traffic_policy: policy, ..service(name) };
        service.request.sharing_key = Some("one".into());
        service
    };
    world.put(sharing("a/web", 80, TrafficPolicy::Cluster));
    world.put(sharing("b/dns", 53, TrafficPolicy::Local));
    world.put(sharing("c/web", 80, TrafficPolicy::Cluster));
    world.run();
    assert_eq!(
        (world.live("a/web"), world.live("b/dns")),
        (vec!["192.0.2.10".into()], vec!["192.0.2.10".into()])
    );
    assert!(world.live("c/web").is_empty(), "its port is taken");
}

/// Whoever has an address in its status comes before whoever waits: a speaker that takes over a
/// cluster changes none.
#[test]
fn a_cluster_that_is_taken_over_keeps_every_address() {
    let mut world = world(&[address_pool("lan", &["192.0.2.10-192.0.2.13"])]);
    let had =
        |name: &str, address| Service { status_addresses: vec![ip(address)], ..service(name) };
    world.put(service("a")).put(had("b", "192.0.2.10")).put(asking("c", &["192.0.2.11"]));
    world.put(had("d", "192.0.2.12")).run();
    let order = ["b", "c", "d", "a"].map(|name| world.live(name).join(""));
    assert_eq!(order, ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"]);
}

/// The load balancer that is replaced answers for its addresses until it is stopped.
#[test]
fn an_address_that_is_taken_over_is_waited_for_while_another_answers_for_it() {
    let mut world = world(&[address_pool("lan", &["192.0.2.10-192.0.2.13"])]);
    let had =
        |name: &str, address| Service { status_addresses: vec![ip(address)], ..service(name) };
    // One is found before it is taken, the other when it is probed for its Service.
    world.conflict("192.0.2.10", Stage::Probing);
    world.put(had("a", "192.0.2.10")).put(had("b", "192.0.2.11")).run();
    world.conflict("192.0.2.11", Stage::Probing);
    for restart in [false, true] {
        let outcome = if restart { world.restart().settle() } else { world.run() };
        assert_eq!(["a", "b"].map(|name| world.live(name).join("")), ["192.0.2.10", "192.0.2.11"]);
        assert_eq!(said(&outcome, "a").1, "ConflictOnWire");
        assert_eq!(said(&outcome, "b").1, "ConflictOnWire");
    }
    world.conflicts.clear();
    let outcome = world.run();
    assert_eq!(said(&outcome, "a").1, "Allocated");
    assert_eq!(world.live("b"), ["192.0.2.11"]);
}

/// What was assigned here and then written to the status is nothing that another had before.
#[test]
fn an_address_of_our_own_choice_gives_way_although_the_status_has_it() {
    let mut world = world(&[address_pool("lan", &["192.0.2.10-192.0.2.13"])]);
    world.put(service("a")).run();
    world.edit("a", |service| service.status_addresses = vec![ip("192.0.2.10")]);
    world.conflict("192.0.2.10", Stage::Probing).run();
    assert_eq!(world.live("a"), ["192.0.2.11"]);
}

#[test]
fn an_address_is_announced_where_an_advertisement_selects_one_of_its_services() {
    let on = |name: &str, interface: &str, tier: &str| L2Advertisement {
        name: name.into(),
        interfaces: vec![interface.into()],
        service_selectors: vec![selector("tier", tier)],
        ..L2Advertisement::default()
    };
    let mut said = objects(&[address_pool("lan", &["192.0.2.10-192.0.2.12"])]);
    said.l2_advertisements = vec![on("front", "lan0", "front"), on("back", "lan1", "back")];
    let mut world = World::new(said.pools_of(&local()));
    world.put(labelled("a", ("tier", "front"))).put(labelled("b", ("tier", "back")));
    world.put(service("c"));
    let outcome = world.run();
    let seen: Vec<_> = outcome
        .addresses
        .iter()
        .map(|held| (held.announce.l2, held.announce_on.clone().unwrap_or_default().join(" ")))
        .collect();
    assert_eq!(seen, [(true, "lan0".into()), (true, "lan1".into()), (false, String::new())]);
    assert!(
        outcome.assignments.vips.iter().all(|vip| vip.visible_on.is_none()),
        "served all the same"
    );
    said.l2_advertisements.clear();
    world.pools = said.pools_of(&local());
    let outcome = world.run();
    assert!(outcome.addresses.iter().all(|held| !held.announce.l2), "an address, and silence");
    assert_eq!(world.live("a"), ["192.0.2.10"]);
}
