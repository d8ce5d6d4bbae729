//! How long one run takes over 5,000 Services: the first, one that finds nothing to do, and one in
//! which as many wait in vain. `cargo run -p roadstead-speaker-core --example allocate`

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_model::{
    Family, Protocol, ServiceKey, Snapshot, SourceName,
    config::{Pool, Quota},
    object::{AddressRequest, Families, Service, ServicePort, SourceRanges, TrafficPolicy},
    snapshot::SourceState,
};
use roadstead_speaker_core::ipam::{Allocator, Host, Input};

const SERVICES: usize = 5_000;
const NAMESPACES: usize = 50;

fn main() {
    let snapshot = snapshot();
    let plain = pool("198.18.0.0/15", Quota::default());
    let bounded = pool("198.18.0.0/15", Quota { namespaces: BTreeMap::new(), others: Some(200) });
    let small = pool("198.18.0.0/24", Quota { namespaces: BTreeMap::new(), others: Some(200) });
    for (what, pool) in [("a large pool", plain), ("with quotas", bounded), ("a full pool", small)]
    {
        let mut allocator = Allocator::new();
        let first = timed(&mut allocator, &pool, &snapshot);
        let held = allocator.ledger().addresses().len();
        let again = timed(&mut allocator, &pool, &snapshot);
        println!("{what}: {held} addresses, first {first:?}, again {again:?}");
    }
}

fn timed(allocator: &mut Allocator, pool: &Pool, snapshot: &Snapshot) -> Duration {
    let (host, conflicts) = (Host::default(), BTreeMap::new());
    let input = Input {
        pools: std::slice::from_ref(pool),
        class_only: false,
        snapshot,
        host: &host,
        conflicts: &conflicts,
        reservations: &[],
        now: 1,
    };
    let started = Instant::now();
    let outcome = allocator.reconcile(&input);
    let took = started.elapsed();
    assert!(outcome.conditions.len() == SERVICES, "each is told something");
    took
}

fn pool(addresses: &str, quota: Quota) -> Pool {
    let addresses = vec![addresses.parse().expect("a prefix")];
    let cool_down = Duration::from_secs(600);
    Pool { avoid_buggy_ips: true, cool_down, quota, ..Pool::new("lan", addresses) }
}

fn snapshot() -> Snapshot {
    let source = SourceName::new("local");
    let mut snapshot = Snapshot::default();
    snapshot.sources.insert(source.clone(), SourceState::Current);
    for n in 0..SERVICES {
        let namespace = format!("ns{}", n % NAMESPACES);
        let service = service(ServiceKey::new(&source, namespace, format!("web{n}")));
        snapshot.services.insert(service.key.clone(), Arc::new(service));
    }
    let keys: BTreeSet<_> = snapshot.services.keys().collect();
    assert_eq!(keys.len(), SERVICES);
    snapshot
}

fn service(key: ServiceKey) -> Service {
    let port =
        ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: Some(30_000) };
    Service {
        key,
        uid: None,
        labels: BTreeMap::new(),
        class: None,
        request: AddressRequest::default(),
        families: Families::Single(Family::V4),
        ports: vec![port],
        source_ranges: SourceRanges::Any,
        traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity: None,
        health_check: None,
        status_addresses: Vec::new(),
        guarded: false,
        warnings: Vec::new(),
    }
}
