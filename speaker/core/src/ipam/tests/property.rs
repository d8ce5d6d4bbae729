//! Random worlds and random edits, held against promises that are checked by brute force: the
//! checker looks at every address and every holder and knows nothing of indexes, cursors or order.

use proptest::{collection::vec, option, prelude::*, sample::select};
use roadstead_model::local::PortClaim;

use crate::ipam::{Hold, ledger::Entry};

use super::*;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "prod/a", "prod/b", "prod/c", "prod/d"];
const ADDRESSES: [&str; 9] = [
    "192.0.2.8",
    "192.0.2.9",
    "192.0.2.10",
    "192.0.2.11",
    "198.51.100.0",
    "198.51.100.1",
    "2001:db8::1",
    "2001:db8::2",
    "203.0.113.77",
];

/// One thing that happens to the world.
#[derive(Clone, Debug)]
enum Event {
    Put(Box<Service>),
    Delete(&'static str),
    Restart,
    Doubt(bool),
    /// The n-th address that is being left falls silent.
    Silent(usize),
    Conflict(&'static str, Option<Stage>),
    Node(&'static str, bool),
    Pools(Vec<Pool>),
}

impl Event {
    /// Whether it may move a Service that has all it asks for.
    fn may_move(&self, service: &ServiceKey) -> bool {
        match self {
            Self::Put(edited) => edited.key == *service,
            Self::Delete(name) => key(name) == *service,
            Self::Conflict(..) => true,
            Self::Restart | Self::Doubt(_) | Self::Silent(_) | Self::Node(..) | Self::Pools(_) => {
                false
            }
        }
    }
}

fn families() -> impl Strategy<Value = Families> {
    select(vec![
        Families::Single(Family::V4),
        Families::Single(Family::V4),
        Families::Single(Family::V6),
        Families::PreferDual { first: Family::V4 },
        Families::PreferDual { first: Family::V6 },
        Families::RequireDual { first: Family::V4 },
    ])
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let port = (select(vec![80, 81, 443]), select(vec![Protocol::Tcp, Protocol::Udp]), any::<u8>());
    let port = port.prop_map(|(port, protocol, luck)| ServicePort {
        node_port: (luck > 25).then_some(30_000),
        ..port_of(protocol, port)
    });
    vec(port, 1..3)
}

fn services() -> impl Strategy<Value = Service> {
    let request = (
        option::weighted(0.3, select(&ADDRESSES[..])),
        option::weighted(0.15, select(vec!["lan", "two", "prod", "none"])),
        option::weighted(0.5, select(vec!["k", "l"])),
        option::weighted(0.2, select(&ADDRESSES[..])),
    );
    (select(&NAMES[..]), families(), ports(), request).prop_map(
        |(name, families, ports, (address, pool, sharing_key, status))| Service {
            families,
            ports,
            request: AddressRequest {
                addresses: address.into_iter().map(ip).collect(),
                pool: pool.map(Into::into),
                sharing_key: sharing_key.map(Into::into),
                ..AddressRequest::default()
            },
            health_check: None,
            status_addresses: status.into_iter().map(ip).collect(),
            ..service(name)
        },
    )
}

/// Three pools of always the same addresses, and all else at random: none orphans another's.
fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let policy =
        select(vec![Sharing::Off, Sharing::Key, Sharing::KeyAcrossNamespaces, Sharing::WhenFull]);
    let attributes = (policy, prop::bool::weighted(0.8), option::of(0..3_u32), any::<bool>());
    vec(attributes, 3).prop_map(|all| {
        let mut pools = vec![
            Pool { reserved: vec!["192.0.2.9".parse().unwrap()], ..pool("lan", &["192.0.2.8/30"]) },
            pool("two", &["2001:db8::1-2001:db8::2", "198.51.100.0"]),
            Pool { namespaces: vec!["prod".into()], ..pool("prod", &["198.51.100.1"]) },
        ];
        for (pool, (sharing, auto_assign, priority, avoid_buggy_ips)) in pools.iter_mut().zip(all) {
            *pool = Pool { sharing, auto_assign, priority, avoid_buggy_ips, ..pool.clone() };
        }
        pools
    })
}

fn events() -> impl Strategy<Value = Event> {
    let address = || select(&ADDRESSES[..]);
    let stage = option::of(select(vec![Stage::Probing, Stage::InUse]));
    prop_oneof![
        10 => services().prop_map(|service| Event::Put(Box::new(service))),
        4 => select(&NAMES[..]).prop_map(Event::Delete),
        2 => Just(Event::Restart),
        1 => any::<bool>().prop_map(Event::Doubt),
        6 => any::<usize>().prop_map(Event::Silent),
        1 => (address(), stage).prop_map(|(address, stage)| Event::Conflict(address, stage)),
        1 => (address(), any::<bool>()).prop_map(|(address, there)| Event::Node(address, there)),
        1 => pools().prop_map(Event::Pools),
    ]
}

/// Does what happened; says which hold was released, if one was.
fn happen(world: &mut World, event: &Event) -> Option<(IpAddr, ServiceKey)> {
    match event {
        Event::Put(service) => {
            world.put(Service::clone(service));
        }
        Event::Delete(name) => {
            world.snapshot.services.remove(&key(name));
        }
        Event::Restart => {
            world.restart();
        }
        Event::Doubt(doubt) => {
            let state = if *doubt { SourceState::Unread } else { SourceState::Current };
            world.snapshot.sources.insert(local(), state);
        }
        Event::Silent(n) => return fall_silent(world, *n),
        Event::Conflict(address, Some(stage)) => {
            world.conflict(address, *stage);
        }
        Event::Conflict(address, None) => {
            world.conflicts.remove(&ip(address));
        }
        Event::Node(address, true) => {
            world.node(address, address);
        }
        Event::Node(address, false) => {
            world.snapshot.nodes.remove(&NodeKey::new(&local(), *address));
        }
        Event::Pools(pools) => {
            assert!(world.allocator.orphans(pools, &world.snapshot).is_empty());
            world.pools.clone_from(pools);
        }
    }
    None
}

fn fall_silent(world: &mut World, n: usize) -> Option<(IpAddr, ServiceKey)> {
    let left = world.allocator.ledger().holds().filter(|(_, _, hold)| hold.leaving);
    let left: Vec<_> = left.map(|(address, service, _)| (address, service.clone())).collect();
    let (address, service) = left.get(n.checked_rem(left.len())?)?.clone();
    assert!(world.allocator.release(address, &service, world.now));
    Some((address, service))
}

/// Every hold, by address and Service.
fn holds(world: &World) -> BTreeMap<(IpAddr, ServiceKey), Hold> {
    let holds = world.allocator.ledger().holds();
    holds.map(|(address, service, hold)| ((address, service.clone()), hold.clone())).collect()
}

fn live(world: &World, service: &ServiceKey) -> Vec<IpAddr> {
    let all = holds(world).into_iter().filter(|((_, s), hold)| s == service && !hold.leaving);
    all.map(|((address, _), _)| address).collect()
}

/// No hold vanishes but by a release, and no Service that is there loses its last address.
fn nothing_is_lost(
    before: &BTreeMap<(IpAddr, ServiceKey), Hold>,
    world: &World,
    released: Option<&(IpAddr, ServiceKey)>,
) {
    let after = holds(world);
    for (held, hold) in before {
        assert!(after.contains_key(held) || released == Some(held), "{held:?} vanished");
        let there = world.snapshot.services.contains_key(&held.1);
        if !hold.leaving && there {
            assert!(!live(world, &held.1).is_empty(), "{} lost its last address", held.1);
        }
        if !hold.leaving && !there {
            let doubt = world.snapshot.sources.get(&local()) == Some(&SourceState::Unread);
            assert_eq!(!after[held].leaving, doubt, "doubt holds, knowledge withdraws: {held:?}");
        }
    }
}

/// Whoever moved in was let in by the rules: nothing barred, no strangers, both families or none.
fn newcomers_are_welcome(before: &BTreeMap<(IpAddr, ServiceKey), Hold>, world: &World) {
    let after = holds(world);
    for ((address, service), hold) in after.iter().filter(|(held, _)| !before.contains_key(*held)) {
        let pool = pool_of(world, *address).expect("a pool");
        assert!(!is_barred(world, pool, *address), "{service} was given the barred {address}");
        for ((_, other), theirs) in after.iter().filter(|((a, s), _)| a == address && s != service)
        {
            let same_key = hold.sharing_key.is_some() && hold.sharing_key == theirs.sharing_key;
            let welcome = match pool.sharing {
                Sharing::Off => false,
                Sharing::Key => same_key && other.namespace == service.namespace,
                Sharing::KeyAcrossNamespaces => same_key,
                Sharing::WhenFull => true,
            };
            assert!(welcome, "{service} and {other} may not meet on {address}");
        }
    }
    for service in world.snapshot.services.values() {
        let lived = before.iter().any(|((_, s), hold)| *s == service.key && !hold.leaving);
        let requires_both = matches!(service.families, Families::RequireDual { .. });
        if requires_both && !lived {
            assert_ne!(live(world, &service.key).len(), 1, "{} has one of two", service.key);
        }
    }
}

/// No two Services have one port of one address, and nothing in use lies outside the pools (S1).
fn assignments_are_sound(world: &World, outcome: &Outcome) {
    let all = claims(outcome);
    let ports: BTreeSet<_> = all.iter().map(|(address, port, _)| (*address, *port)).collect();
    assert_eq!(ports.len(), all.len(), "a port of an address has two owners");
    for assignment in outcome.assignments.services.iter().filter(|a| !a.withdrawing) {
        for address in &assignment.addresses {
            assert!(pool_of(world, *address).is_some(), "{address} is in no pool");
        }
    }
}

fn pool_of(world: &World, address: IpAddr) -> Option<&Pool> {
    world.pools.iter().find(|pool| pool.addresses.iter().any(|range| range.contains(address)))
}

/// Whether an address is handed out to nobody.
fn is_barred(world: &World, pool: &Pool, address: IpAddr) -> bool {
    pool.reserved.iter().any(|range| range.contains(address))
        || (pool.avoid_buggy_ips && address == ip("198.51.100.0"))
        || world.snapshot.nodes.values().any(|node| node.addresses.contains(&address))
        || world.conflicts.contains_key(&address)
}

/// Whether a Service could move to an address right now, by the letter of the rules.
fn could_take(world: &World, service: &Service, address: IpAddr) -> bool {
    let Some(pool) = pool_of(world, address) else { return false };
    let request = &service.request;
    let asked: Vec<_> = request.addresses.iter().collect();
    let of_family = asked.iter().find(|a| Family::of(***a) == Family::of(address));
    let entry = world.allocator.ledger().addresses().get(&address);
    let had = entry.is_some_and(|entry| entry.holders.contains_key(&service.key));
    let chosen = match (of_family, &request.pool) {
        (Some(asked), None) => **asked == address,
        (Some(asked), Some(name)) => **asked == address && *name == pool.name,
        (None, Some(name)) => *name == pool.name,
        (None, None) => pool.auto_assign,
    };
    let open = pool.namespaces.is_empty() || pool.namespaces.contains(&service.key.namespace);
    chosen
        && open
        && !had
        && !is_barred(world, pool, address)
        && entry.is_none_or(|entry| could_join(world, service, pool, entry, address))
}

fn could_join(world: &World, service: &Service, pool: &Pool, entry: &Entry, at: IpAddr) -> bool {
    let free = |address: IpAddr| {
        Family::of(address) == Family::of(at)
            && !is_barred(world, pool, address)
            && !world.allocator.ledger().addresses().contains_key(&address)
    };
    let full = || !pool.addresses.iter().flat_map(roadstead_model::AddressRange::iter).any(free);
    let ports = wanted_ports(service);
    let key = service.request.sharing_key.as_ref();
    entry.holders.iter().all(|(other, hold)| {
        let same_key = key.is_some() && hold.sharing_key.as_ref() == key;
        let in_scope = match pool.sharing {
            Sharing::Off => false,
            Sharing::Key => same_key && other.namespace == service.key.namespace,
            Sharing::KeyAcrossNamespaces => same_key,
            Sharing::WhenFull => full() || (same_key && other.namespace == service.key.namespace),
        };
        in_scope && hold.ports.is_disjoint(&ports)
    })
}

fn wanted_ports(service: &Service) -> BTreeSet<PortClaim> {
    let ports = service.ports.iter().filter(|port| port.node_port.is_some());
    ports.map(|port| PortClaim { protocol: port.protocol, port: port.port }).collect()
}

/// Nobody waits who could be served: no address is there that a waiting Service could take.
fn nobody_waits_in_vain(world: &World) {
    for service in world.snapshot.services.values() {
        let families = service.families.wanted();
        let fits = service.request.addresses.iter().all(|a| families.contains(&Family::of(*a)));
        if wanted_ports(service).is_empty() || !fits {
            continue;
        }
        let live = live(world, &service.key);
        let servable = |family: &Family| {
            live.iter().any(|a| Family::of(*a) == *family)
                || ADDRESSES.iter().any(|address| {
                    Family::of(ip(address)) == *family && could_take(world, service, ip(address))
                })
        };
        let lacks = |family: &Family| !live.iter().any(|a| Family::of(*a) == *family);
        let missed = match service.families {
            Families::RequireDual { .. } => {
                families.iter().any(lacks) && families.iter().all(servable)
            }
            Families::Single(_) | Families::PreferDual { .. } => {
                families.iter().any(|family| lacks(family) && servable(family))
            }
        };
        assert!(!missed, "{} waits in vain; it lives on {live:?}", service.key);
    }
}

/// Who had all it asked for is where it was.
fn the_content_stay(before: &Outcome, after: &Outcome, world: &World, event: &Event) {
    for assignment in before.assignments.services.iter().filter(|a| !a.withdrawing) {
        let service = &assignment.service;
        let content = !before.refusals.contains_key(service) && !event.may_move(service);
        if content && after.conditions.contains_key(service) {
            assert_eq!(assignment.addresses, live(world, service), "{service} was moved");
        }
    }
}

fn step(world: &mut World, before: &Outcome, event: &Event) -> Outcome {
    let held = holds(world);
    let released = happen(world, event);
    let text = world.allocator.ledger().encode();
    let outcome = world.run();
    nothing_is_lost(&held, world, released.as_ref());
    newcomers_are_welcome(&held, world);
    assignments_are_sound(world, &outcome);
    nobody_waits_in_vain(world);
    the_content_stay(before, &outcome, world, event);
    let again = world.run();
    assert!(!again.changed, "a second run finds something to do");
    assert_eq!(again.conditions, outcome.conditions);
    let restored = Allocator::restore(Ledger::decode(text.as_bytes()).unwrap());
    let lived_through = std::mem::replace(&mut world.allocator, restored);
    let after_restart = world.run();
    assert_eq!(after_restart.assignments.services, outcome.assignments.services);
    assert_eq!(after_restart.conditions, outcome.conditions);
    world.allocator = lived_through;
    outcome
}

/// With every Service gone and every address silent, the ledger is empty.
fn nothing_leaks(world: &mut World) {
    world.snapshot.sources.insert(local(), SourceState::Current);
    world.snapshot.services.clear();
    world.settle();
    assert!(world.allocator.ledger().addresses().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_promise_holds_whatever_happens(pools in pools(), story in vec(events(), 1..40)) {
        let mut world = World::new(pools);
        let mut outcome = world.run();
        for event in &story {
            outcome = step(&mut world, &outcome, event);
        }
        nothing_leaks(&mut world);
    }
}
