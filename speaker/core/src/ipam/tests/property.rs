//! Random worlds and random edits, held against promises that are checked by brute force: the
//! checker looks at every address and every holder and knows nothing of indexes, cursors or order.

use proptest::{collection::vec, option, prelude::*, sample::select};
use roadstead_model::local::PortClaim;

use crate::ipam::{Hold, ReservationKey, ledger::Entry};

use super::*;

mod remembered;
use self::remembered::Remembered;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "prod/a", "prod/b", "prod/c", "prod/d"];
const HOSTS: [&str; 2] = ["a.example.org", "b.example.org"];
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
    /// So many seconds pass.
    Wait(u64),
    /// A host name resolves to these from now on.
    Resolve(&'static str, Vec<&'static str>),
    /// The configuration keeps this address for that Service, or nothing for anybody.
    Reserve(Option<(&'static str, &'static str)>),
    /// An operator gives up what a reservation keeps.
    GiveUp(&'static str, &'static str),
}

impl Event {
    /// Whether it may move a Service that has all it asks for.
    fn may_move(&self, service: &ServiceKey, before: Option<&Service>) -> bool {
        match self {
            Self::Put(edited) => {
                edited.key == *service && before.is_none_or(|before| asks_anew(before, edited))
            }
            Self::Delete(name) => key(name) == *service,
            Self::Conflict(..) => true,
            Self::Restart
            | Self::Doubt(_)
            | Self::Silent(_)
            | Self::Node(..)
            | Self::Pools(_)
            | Self::Wait(_)
            | Self::Resolve(..)
            | Self::Reserve(_)
            | Self::GiveUp(..) => false,
        }
    }
}

/// Whether an edit changes what is asked for. Ports are part of it: a neighbour may have them.
fn asks_anew(before: &Service, after: &Service) -> bool {
    (&before.request, before.families, &before.ports)
        != (&after.request, after.families, &after.ports)
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
    let more = (
        option::weighted(0.2, 1..4_usize),
        option::weighted(0.1, select(&HOSTS[..])),
        option::weighted(0.15, select(vec!["r", "s"])),
        option::weighted(0.15, select(vec![vec!["prod"], vec!["default"], vec![]])),
    );
    let request = (
        option::weighted(0.3, select(&ADDRESSES[..])),
        option::weighted(0.15, select(vec!["lan", "two", "prod", "none", "two,lan"])),
        option::weighted(0.5, select(vec!["k", "l"])),
        option::weighted(0.2, select(&ADDRESSES[..])),
    );
    (select(&NAMES[..]), families(), ports(), request, more).prop_map(
        |(name, families, ports, (address, pool, sharing_key, status), more)| Service {
            families,
            ports,
            request: AddressRequest {
                addresses: address.into_iter().map(ip).collect(),
                pool: pool.map(Into::into),
                sharing_key: sharing_key.map(Into::into),
                count: more.0,
                hosts: more.1.into_iter().map(Into::into).collect(),
                reservation: more.2.map(Into::into),
                share_with: more.3.map(|all| all.into_iter().map(Into::into).collect()),
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
    let bounds = (
        prop::bool::weighted(0.1),
        select(vec![0, 0, 10]).prop_map(Duration::from_secs),
        option::weighted(0.2, 0..3_u32),
    );
    let attributes =
        (policy, prop::bool::weighted(0.8), option::of(0..3_u32), any::<bool>(), bounds);
    vec(attributes, 3).prop_map(|all| {
        let mut pools = vec![
            Pool { reserved: vec!["192.0.2.9".parse().unwrap()], ..pool("lan", &["192.0.2.8/30"]) },
            pool("two", &["2001:db8::1-2001:db8::2", "198.51.100.0"]),
            Pool { namespaces: vec!["prod".into()], ..pool("prod", &["198.51.100.1"]) },
        ];
        for (pool, attributes) in pools.iter_mut().zip(all) {
            let (sharing, auto_assign, priority, avoid_buggy_ips, bounds) = attributes;
            let (drain, cool_down, others) = bounds;
            let quota = Quota { others, ..Quota::default() };
            *pool = Pool { sharing, auto_assign, priority, avoid_buggy_ips, ..pool.clone() };
            *pool = Pool { drain, cool_down, quota, ..pool.clone() };
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
        2 => (0..12_u64).prop_map(Event::Wait),
        2 => (select(&HOSTS[..]), vec(address(), 1..3))
            .prop_map(|(host, all)| Event::Resolve(host, all)),
        1 => option::of((address(), select(&NAMES[..]))).prop_map(Event::Reserve),
        1 => (select(vec!["default", "prod"]), select(vec!["r", "s"]))
            .prop_map(|(namespace, name)| Event::GiveUp(namespace, name)),
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
        Event::Wait(seconds) => world.now += seconds,
        Event::Resolve(host, addresses) => {
            world.resolve(host, addresses);
        }
        Event::Reserve(reservation) => {
            world.reservations.clear();
            if let Some((address, service)) = reservation {
                world.reserve("kept", &[address], service);
            }
        }
        Event::GiveUp(namespace, name) => {
            world.allocator.give_up(&ReservationKey::new(&local(), *namespace, *name));
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

/// Whoever moved in was let in by the rules: nothing barred, nothing kept for others, no strangers, no
/// more than a quota allows, both families or none, all addresses or none.
fn newcomers_are_welcome(
    before: &BTreeMap<(IpAddr, ServiceKey), Hold>,
    memory: &Remembered,
    world: &World,
) {
    let after = holds(world);
    for ((address, service), hold) in after.iter().filter(|(held, _)| !before.contains_key(*held)) {
        let pool = pool_of(world, *address).expect("a pool");
        assert!(!is_nobodys(world, pool, *address), "{service} was given the barred {address}");
        let is_first = !before.iter().any(|((held, of), hold)| {
            of == service && !hold.leaving && held.is_ipv4() == address.is_ipv4()
        });
        let status = &world.snapshot.services[service].status_addresses;
        let may_wait = hold.recalled && is_first && status.contains(address);
        let is_claimed = world.conflicts.contains_key(address);
        assert!(!is_claimed || may_wait, "{service} was given {address}, which another has");
        assert!(!pool.drain, "{service} was given {address} of a pool that drains");
        let object = &world.snapshot.services[service];
        // Beside one who is there, or came back to what is its own, others may be.
        let is_its = |other: &ServiceKey| {
            let object = &world.snapshot.services[other];
            other != service && !memory.keeps_from(world, object, *address, false)
        };
        let others = before.keys().any(|(held, _)| held == address)
            || after.keys().any(|(held, other)| held == address && is_its(other));
        assert!(
            !memory.keeps_from(world, object, *address, others),
            "{address} is not {service}'s"
        );
        let of_tenant = |other: &ServiceKey| other.namespace == service.namespace;
        let counted = before.keys().any(|(held, other)| held == address && of_tenant(other));
        if !counted && !memory.counts(*address, &service.namespace) {
            within_quota(world, pool, service);
        }
        for ((_, other), theirs) in after.iter().filter(|((a, s), _)| a == address && s != service)
        {
            let welcome = match pool.sharing {
                Sharing::Off => false,
                Sharing::Key => same_key(hold, theirs) && other.namespace == service.namespace,
                Sharing::KeyAcrossNamespaces => consent((service, hold), (other, theirs)),
                Sharing::WhenFull => true,
            };
            assert!(welcome, "{service} and {other} may not meet on {address}");
        }
    }
    for service in world.snapshot.services.values() {
        let lived = before.iter().any(|((_, s), hold)| *s == service.key && !hold.leaving);
        let requires_both = matches!(service.families, Families::RequireDual { .. });
        let live = live(world, &service.key);
        if requires_both && !lived && !live.is_empty() {
            assert!(live.iter().any(IpAddr::is_ipv4) && live.iter().any(IpAddr::is_ipv6));
        }
        for family in service.families.wanted() {
            let count = live.iter().filter(|a| Family::of(**a) == family).count();
            let wanted = service.request.count.filter(|_| !lived).unwrap_or(count);
            assert!(count == 0 || count == wanted, "{} has {count} of {wanted}", service.key);
        }
    }
}

fn same_key(one: &Hold, other: &Hold) -> bool {
    one.sharing_key.is_some() && one.sharing_key == other.sharing_key
}

fn consent(one: (&ServiceKey, &Hold), other: (&ServiceKey, &Hold)) -> bool {
    let allows = |hold: &Hold, namespace| {
        hold.share_with.as_ref().is_none_or(|namespaces| namespaces.contains(namespace))
    };
    let (a, b) = (&one.0.namespace, &other.0.namespace);
    same_key(one.1, other.1) && (a == b || allows(one.1, b) && allows(other.1, a))
}

/// What is live of a namespace in a pool that it has taken an address of.
fn within_quota(world: &World, pool: &Pool, service: &ServiceKey) {
    let Some(allowed) = pool.quota.others else { return };
    let live: BTreeSet<_> = holds(world)
        .into_iter()
        .filter(|((_, s), hold)| s.namespace == service.namespace && !hold.leaving)
        .map(|((address, _), _)| address)
        .filter(|address| pool.addresses.iter().any(|range| range.contains(*address)))
        .collect();
    assert!(live.len() <= usize::try_from(allowed).unwrap(), "{service}: {live:?}");
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

/// Whether an address is handed out to nobody who looks for one.
fn is_barred(world: &World, pool: &Pool, address: IpAddr) -> bool {
    is_nobodys(world, pool, address) || world.conflicts.contains_key(&address)
}

/// Whether an address is handed out to nobody at all.
fn is_nobodys(world: &World, pool: &Pool, address: IpAddr) -> bool {
    pool.reserved.iter().any(|range| range.contains(address))
        || (pool.avoid_buggy_ips && address == ip("198.51.100.0"))
        || world.snapshot.nodes.values().any(|node| node.addresses.contains(&address))
}

/// Whether a Service could move to an address right now, by the letter of the rules.
fn could_take(world: &World, memory: &Remembered, service: &Service, address: IpAddr) -> bool {
    let Some(pool) = pool_of(world, address) else { return false };
    let request = &service.request;
    let asked: Vec<_> = request.addresses.iter().collect();
    let of_family = asked.iter().find(|a| Family::of(***a) == Family::of(address));
    let entry = world.allocator.ledger().addresses().get(&address);
    let had = entry.is_some_and(|entry| entry.holders.contains_key(&service.key));
    let names: Vec<_> = request.pools().collect();
    let is_named = names.contains(&&*pool.name);
    let chosen = match (of_family, names.is_empty()) {
        (Some(asked), no_pool) => **asked == address && (no_pool || is_named),
        (None, true) => pool.auto_assign,
        (None, false) => is_named,
    };
    let held = entry.is_some();
    let remembered = memory.keeps_from(world, service, address, held);
    let open = pool.namespaces.is_empty() || pool.namespaces.contains(&service.key.namespace);
    chosen
        && open
        && !had
        && !pool.drain
        && !remembered
        && pool.quota.others.is_none()
        && !is_barred(world, pool, address)
        && entry.is_none_or(|entry| could_join(world, memory, service, pool, entry, address))
}

fn could_join(
    world: &World,
    memory: &Remembered,
    service: &Service,
    pool: &Pool,
    entry: &Entry,
    at: IpAddr,
) -> bool {
    let free = |address: IpAddr| {
        Family::of(address) == Family::of(at)
            && !is_barred(world, pool, address)
            && !is_kept(world, memory, address)
            && !world.allocator.ledger().addresses().contains_key(&address)
    };
    let full = || !pool.addresses.iter().flat_map(roadstead_model::AddressRange::iter).any(free);
    let ports = wanted_ports(service);
    let key = service.request.sharing_key.as_ref();
    entry.holders.iter().all(|(other, hold)| {
        let same_key = key.is_some() && hold.sharing_key.as_ref() == key;
        let wish = Hold {
            sharing_key: service.request.sharing_key.clone(),
            share_with: service.request.share_with.clone(),
            ..*hold.clone()
        };
        let in_scope = match pool.sharing {
            Sharing::Off => false,
            Sharing::Key => same_key && other.namespace == service.key.namespace,
            Sharing::KeyAcrossNamespaces => consent((&service.key, &wish), (other, hold)),
            Sharing::WhenFull => full() || (same_key && other.namespace == service.key.namespace),
        };
        in_scope && hold.ports.is_disjoint(&ports)
    })
}

/// Whether an address is kept for anybody: reserved, or cooling down.
fn is_kept(world: &World, memory: &Remembered, address: IpAddr) -> bool {
    world.reservations.iter().any(|r| r.addresses.contains(&address))
        || memory.kept.iter().any(|(kept, _)| *kept == address)
        || memory.released.iter().any(|(released, _, _)| *released == address)
}

fn wanted_ports(service: &Service) -> BTreeSet<PortClaim> {
    let ports = service.ports.iter().filter(|port| port.node_port.is_some());
    ports.map(|port| PortClaim { protocol: port.protocol, port: port.port }).collect()
}

/// Nobody waits who could be served: no address is there that a waiting Service could take.
fn nobody_waits_in_vain(world: &World) {
    let memory = Remembered::of(world);
    for service in world.snapshot.services.values() {
        let families = service.families.wanted();
        let fits = service.request.addresses.iter().all(|a| families.contains(&Family::of(*a)));
        let request = &service.request;
        // What these wait for is in tests of their own.
        let waits_for_more = !request.hosts.is_empty() || request.reservation.is_some();
        let names_too_many = request.count.is_some_and(|count| request.addresses.len() > count);
        if wanted_ports(service).is_empty() || !fits || waits_for_more || names_too_many {
            continue;
        }
        let live = live(world, &service.key);
        let servable = |family: &Family| {
            let named = request.addresses.iter().filter(|a| Family::of(**a) == *family).count();
            let wanted = request.count.unwrap_or(1);
            let of_family = ADDRESSES.iter().map(|a| ip(a)).filter(|a| Family::of(*a) == *family);
            let could =
                of_family.filter(|address| could_take(world, &memory, service, *address)).count();
            let could_all = (named == 0 || wanted == 1) && could >= wanted;
            live.iter().any(|a| Family::of(*a) == *family) || could_all
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
fn the_content_stay(
    before: &Outcome,
    after: &Outcome,
    world: &World,
    event: &Event,
    edited: Option<&Service>,
) {
    for assignment in before.assignments.services.iter().filter(|a| !a.withdrawing) {
        let service = &assignment.service;
        let content = !before.refusals.contains_key(service) && !event.may_move(service, edited);
        if content && after.conditions.contains_key(service) {
            let (had, has) = (&assignment.addresses, live(world, service));
            // A name that stands for an address of another family too, from now on.
            let has_grown =
                matches!(event, Event::Resolve(..)) && had.iter().all(|a| has.contains(a));
            assert!(*had == has || has_grown, "{service} was moved from {had:?} to {has:?}");
        }
    }
}

/// Whoever is there and waits for nothing has not fewer addresses than before, unless it was edited
/// itself.
fn nobody_shrinks(
    held: &BTreeMap<(IpAddr, ServiceKey), Hold>,
    before: &Outcome,
    world: &World,
    event: &Event,
) {
    let services = world.snapshot.services.keys();
    for service in services.filter(|service| !before.refusals.contains_key(*service)) {
        let lived = held.iter().filter(|((_, s), hold)| s == service && !hold.leaving).count();
        let edited = matches!(event, Event::Put(edited) if edited.key == *service);
        assert!(edited || live(world, service).len() >= lived, "{service} has less than before");
    }
}

fn step(world: &mut World, before: &Outcome, event: &Event) -> Outcome {
    let held = holds(world);
    let edited = match event {
        Event::Put(service) => world.snapshot.services.get(&service.key).cloned(),
        _ => None,
    };
    let released = happen(world, event);
    let memory = Remembered::of(world);
    let text = world.allocator.ledger().encode();
    let outcome = world.run();
    nothing_is_lost(&held, world, released.as_ref());
    newcomers_are_welcome(&held, &memory, world);
    nobody_shrinks(&held, before, world, event);
    assignments_are_sound(world, &outcome);
    nobody_waits_in_vain(world);
    the_content_stay(before, &outcome, world, event, edited.as_deref());
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

/// With every Service gone, every address silent and every time over, the ledger is empty, but for
/// what reservations keep until they are given up.
fn nothing_leaks(world: &mut World) {
    world.snapshot.sources.insert(local(), SourceState::Current);
    world.snapshot.services.clear();
    world.settle();
    assert!(world.allocator.ledger().addresses().is_empty());
    world.wait(1_000);
    assert!(Remembered::of(world).released.is_empty());
    for (_, key) in Remembered::of(world).kept {
        world.allocator.give_up(&key);
    }
    assert_eq!(world.run().reservations.iter().filter(|r| !r.configured).count(), 0);
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
