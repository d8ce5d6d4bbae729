//! A small world to allocate in, and the behaviours seen in it, a file per subject.

mod consent;
mod contest;
mod cooling;
mod dual;
mod ledger;
mod metallb;
mod names;
mod placing;
mod property;
mod quota;
mod refusals;
mod requests;
mod reservations;
mod several;
mod sharing;
mod stability;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    Family, NodeKey, Protocol, ServiceKey, Snapshot, SourceName,
    config::{Beneficiary, Pool, Quota, Reservation, Selector, Sharing},
    local::PortClaim,
    object::{AddressRequest, Families, Node, Service, ServicePort, SourceRanges, TrafficPolicy},
    reason::{Condition, ConditionStatus},
    snapshot::SourceState,
};

use super::{Allocator, Conflict, Host, Input, Interface, Ledger, Lookup, Outcome, Stage};

/// Everything that a run rests on, with the allocator.
struct World {
    allocator: Allocator,
    pools: Vec<Pool>,
    class_only: bool,
    snapshot: Snapshot,
    host: Host,
    conflicts: BTreeMap<IpAddr, Conflict>,
    reservations: Vec<Reservation>,
    now: u64,
}

impl World {
    /// A world with these pools, one current source `local`, and nothing else.
    fn new(pools: impl IntoIterator<Item = Pool>) -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.sources.insert(local(), SourceState::Current);
        Self {
            allocator: Allocator::new(),
            pools: pools.into_iter().collect(),
            class_only: false,
            snapshot,
            host: Host::default(),
            conflicts: BTreeMap::new(),
            reservations: Vec::new(),
            now: 1_000_000,
        }
    }

    fn put(&mut self, service: Service) -> &mut Self {
        self.snapshot.services.insert(service.key.clone(), Arc::new(service));
        self
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Service)) -> &mut Self {
        let service = self.snapshot.services.get_mut(&key(name)).expect("an object of this name");
        edit(Arc::make_mut(service));
        self
    }

    fn delete(&mut self, name: &str) -> &mut Self {
        self.snapshot.services.remove(&key(name)).expect("an object of this name");
        self
    }

    fn node(&mut self, name: &str, address: &str) -> &mut Self {
        let node_key = NodeKey::new(&local(), name);
        let node = Node {
            key: node_key.clone(),
            addresses: vec![ip(address)],
            ready: true,
            excluded: false,
            labels: BTreeMap::new(),
        };
        self.snapshot.nodes.insert(node_key, Arc::new(node));
        self
    }

    fn interface(&mut self, name: &str, address: &str) -> &mut Self {
        let addresses = vec![address.parse().expect("an address with a prefix length")];
        self.host.interfaces.push(Interface { name: name.into(), addresses });
        self
    }

    fn conflict(&mut self, address: &str, stage: Stage) -> &mut Self {
        let conflict = Conflict { by: "02:00:00:00:00:99".into(), stage };
        self.conflicts.insert(ip(address), conflict);
        self
    }

    /// The configuration keeps addresses for a Service.
    fn reserve(&mut self, name: &str, addresses: &[&str], service: &str) -> &mut Self {
        let beneficiary = Beneficiary::Service(key(service));
        self.reserve_for(name, addresses, beneficiary)
    }

    fn reserve_for(&mut self, name: &str, addresses: &[&str], whom: Beneficiary) -> &mut Self {
        let addresses = addresses.iter().map(|text| ip(text)).collect();
        self.reservations.push(Reservation { name: name.into(), addresses, beneficiary: whom });
        self
    }

    fn resolve(&mut self, name: &str, addresses: &[&str]) -> &mut Self {
        let addresses = addresses.iter().map(|text| ip(text)).collect();
        self.host.names.insert(name.into(), Lookup::Addresses(addresses));
        self
    }

    /// Time passes, and the world is looked at again.
    fn wait(&mut self, seconds: u64) -> Outcome {
        self.now += seconds;
        self.run()
    }

    fn run(&mut self) -> Outcome {
        let input = Input {
            pools: &self.pools,
            class_only: self.class_only,
            snapshot: &self.snapshot,
            host: &self.host,
            conflicts: &self.conflicts,
            reservations: &self.reservations,
            now: self.now,
        };
        let outcome = self.allocator.reconcile(&input);
        self.allocator.check_invariants(&self.pools).expect("every promise is kept");
        outcome
    }

    /// Runs, lets every address that is left fall silent, and runs again.
    fn settle(&mut self) -> Outcome {
        let outcome = self.run();
        for holding in &outcome.addresses {
            for service in &holding.leaving {
                assert!(self.allocator.release(holding.address, service, self.now));
            }
        }
        self.run()
    }

    /// Loses everything but the ledger.
    fn restart(&mut self) -> &mut Self {
        let text = self.allocator.ledger().encode();
        let ledger = Ledger::decode(text.as_bytes()).expect("what we wrote is read");
        assert_eq!(ledger.encode(), text);
        self.allocator = Allocator::restore(ledger);
        self
    }

    /// The addresses that a Service is served on.
    fn live(&self, name: &str) -> Vec<String> {
        let key = key(name);
        let holds = self.allocator.ledger().holds();
        let live = holds.filter(|(_, service, hold)| **service == key && !hold.leaving);
        live.map(|(address, _, _)| address.to_string()).collect()
    }

    fn leaving(&self, name: &str) -> Vec<String> {
        let key = key(name);
        let holds = self.allocator.ledger().holds();
        let left = holds.filter(|(_, service, hold)| **service == key && hold.leaving);
        left.map(|(address, _, _)| address.to_string()).collect()
    }

    /// The ports claimed by a Service on an address.
    fn ports(&self, name: &str, address: &str) -> Vec<u16> {
        let entry = self.allocator.ledger().addresses().get(&ip(address)).expect("a held address");
        let hold = entry.holders.get(&key(name)).expect("a holder");
        hold.ports.iter().map(|claim| claim.port).collect()
    }
}

fn local() -> SourceName {
    SourceName::new("local")
}

/// `name` in namespace `default`, or `namespace/name`.
fn key(name: &str) -> ServiceKey {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    ServiceKey::new(&local(), namespace, name)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn pool(name: &str, addresses: &[&str]) -> Pool {
    Pool::new(name, addresses.iter().map(|text| text.parse().expect("a range")).collect())
}

/// One IPv4 pool `lan` of `size` addresses from 192.0.2.10 on.
fn lan(size: u8) -> Pool {
    pool("lan", &[&format!("192.0.2.10-192.0.2.{}", 9 + size)])
}

fn selector(key: &str, value: &str) -> Selector {
    Selector { match_labels: BTreeMap::from([(key.into(), value.into())]), ..Selector::default() }
}

/// A single-stack IPv4 Service with TCP port 80.
fn service(name: &str) -> Service {
    Service {
        key: key(name),
        uid: None,
        labels: BTreeMap::new(),
        class: None,
        request: AddressRequest::default(),
        families: Families::Single(Family::V4),
        ports: vec![tcp(80)],
        source_ranges: SourceRanges::Any,
        traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity: None,
        health_check: None,
        status_addresses: Vec::new(),
        guarded: true,
        warnings: Vec::new(),
    }
}

fn asking(name: &str, addresses: &[&str]) -> Service {
    let mut service = service(name);
    service.request.addresses = addresses.iter().map(|text| ip(text)).collect();
    service
}

fn counting(name: &str, count: usize) -> Service {
    let mut service = service(name);
    service.request.count = Some(count);
    service
}

fn named(name: &str, host: &str) -> Service {
    let mut service = service(name);
    service.request.hosts = vec![host.into()];
    service
}

fn reserving(name: &str, reservation: &str) -> Service {
    let mut service = service(name);
    service.request.reservation = Some(reservation.into());
    service
}

/// A quota of so many addresses for every namespace.
fn most(addresses: u32) -> Quota {
    Quota { others: Some(addresses), ..Quota::default() }
}

fn keyed(name: &str, sharing_key: &str, port: u16) -> Service {
    let mut service = service(name);
    service.request.sharing_key = Some(sharing_key.into());
    service.ports = vec![tcp(port)];
    service
}

fn on_port(name: &str, port: u16) -> Service {
    Service { ports: vec![tcp(port)], ..service(name) }
}

fn tcp(port: u16) -> ServicePort {
    port_of(Protocol::Tcp, port)
}

fn port_of(protocol: Protocol, port: u16) -> ServicePort {
    ServicePort { name: "".into(), protocol, port, node_port: Some(30_000) }
}

/// The condition's status and word.
fn said(outcome: &Outcome, name: &str) -> (ConditionStatus, String) {
    let condition = condition(outcome, name);
    (condition.status, condition.reason.clone())
}

fn condition<'o>(outcome: &'o Outcome, name: &str) -> &'o Condition {
    outcome.conditions.get(&key(name)).expect("a condition")
}

fn claims(outcome: &Outcome) -> BTreeSet<(IpAddr, PortClaim, ServiceKey)> {
    let services = outcome.assignments.services.iter();
    let claims = services.flat_map(|assignment| {
        assignment.addresses.iter().flat_map(move |address| {
            assignment.ports.iter().map(move |port| (*address, *port, assignment.service.clone()))
        })
    });
    claims.collect()
}
