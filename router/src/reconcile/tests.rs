use std::collections::BTreeMap;

use roadstead_model::{
    NodeKey, SourceName,
    config::NodeProbe,
    local::{Assignment, Vip, VipKind},
    object::{AddressRequest, Families, Node, Service, ServicePort, SourceRanges, TrafficPolicy},
    snapshot::SourceState,
};
use roadstead_router_core::{
    host::{Leg, Route},
    maps::{Capacity, Op},
};

use super::*;

/// Maps in memory, shared with the test, that can be told to refuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) installed: Installed,
    /// Refuses everything but this many operations.
    pub(crate) patience: Option<usize>,
}

impl Maps for Memory {
    fn capacity(&self) -> Capacity {
        Capacity {
            flows: 100,
            vips: 16,
            frontends: 16,
            backends: 16,
            tables: 4,
            snats: 4,
            ranges: 16,
        }
    }

    fn read(&self) -> Result<Installed, MapError> {
        Ok(self.installed.clone())
    }

    fn apply(&mut self, op: &Op) -> Result<(), MapError> {
        if let Some(patience) = &mut self.patience {
            *patience =
                patience.checked_sub(1).ok_or(MapError::Full { map: "tables", capacity: 4 })?;
        }
        self.installed.apply(op);
        Ok(())
    }
}

const NOW: Duration = Duration::from_secs(100);

fn rules() -> config::Health {
    config::Health {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(100),
        fall: 2,
        rise: 2,
        node_probe: NodeProbe::NodePort,
        budget: 200,
        panic_threshold: 50,
        slow_start: Duration::ZERO,
    }
}

/// One Service on two nodes, assigned 192.0.2.10.
pub(crate) fn world() -> World {
    let source = SourceName::new("local");
    let key = ServiceKey::new(&source, "default", "web");
    let service = Service {
        key: key.clone(),
        uid: None,
        labels: BTreeMap::new(),
        class: None,
        request: AddressRequest::default(),
        families: Families::Single(roadstead_model::Family::V4),
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: Some(30_080),
        }],
        source_ranges: SourceRanges::Any,
        traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity: None,
        health_check: None,
        status_addresses: Vec::new(),
        guarded: true,
        warnings: Vec::new(),
    };
    let node = |n: u8| {
        let key = NodeKey::new(&source, format!("n{n}"));
        let addresses = vec![IpAddr::from([198, 51, 100, n])];
        let labels = BTreeMap::new();
        (key.clone(), Arc::new(Node { key, addresses, ready: true, excluded: false, labels }))
    };
    let vip = IpAddr::from([192, 0, 2, 10]);
    let leg = Leg {
        name: "eth0".into(),
        mac: [2; 6],
        mtu: 1_500,
        addresses: vec![roadstead_router_core::host::LegAddress {
            net: "198.51.100.254/24".parse().unwrap(),
            lasting: true,
        }],
        attached: true,
    };
    let route = Route { ifindex: 2, source: None, gateway: None, mtu: None };
    World {
        remembered: false,
        assignments: Arc::new(Assignments {
            run: 1,
            generation: 7,
            leased: false,
            services: vec![Assignment {
                service: key.clone(),
                addresses: vec![vip],
                ports: vec![PortClaim { protocol: Protocol::Tcp, port: 80 }],
                withdrawing: false,
            }],
            vips: vec![Vip {
                address: vip,
                kind: VipKind::Virtual,
                visible_on: None,
                answer_on: vec!["eth0".into()],
            }],
        }),
        snapshot: Arc::new(Snapshot {
            sources: BTreeMap::from([(source.clone(), SourceState::Current)]),
            services: BTreeMap::from([(key, Arc::new(service))]),
            nodes: BTreeMap::from([node(1), node(2)]),
            ..Snapshot::default()
        }),
        host: Arc::new(Host {
            legs: BTreeMap::from([(2, leg)]),
            addresses: [IpAddr::from([198, 51, 100, 254])].into(),
            routes: [1, 2].map(|n| (IpAddr::from([198, 51, 100, n]), route)).into(),
            neighbours: BTreeMap::new(),
        }),
        router: Arc::new(router()),
        pools: Arc::new([pool("192.0.2.0/24")]),
    }
}

/// A pool with nothing special to it.
pub(crate) fn pool(addresses: &str) -> config::Pool {
    let addresses = vec![addresses.parse().unwrap()];
    config::Pool { sharing: config::Sharing::Off, ..config::Pool::new("lan", addresses) }
}

fn router() -> config::Router {
    config::Router {
        interfaces: None,
        snat_addresses: Vec::new(),
        snat_ports: (32_768, 60_999),
        flows: None,
        nodes_allowed: Vec::new(),
        drain_deadline: Duration::from_secs(300),
        log_flows: false,
        health: rules(),
        metrics: None,
    }
}

/// Watches and steps.
fn settle(reconciler: &mut Reconciler<Memory>, world: &World) -> Step {
    reconciler.watch(world, NOW);
    reconciler.step(world, NOW)
}

fn reconciler(maps: Memory) -> Reconciler<Memory> {
    Reconciler::new(maps, rules(), BTreeSet::new(), NOW).unwrap()
}

fn pass_all(reconciler: &mut Reconciler<Memory>, now: Duration) {
    while let Some(probe) = reconciler.health.poll_probe(now) {
        reconciler.health.handle_result(&probe.target, probe.question, Ok(()), now);
    }
}

#[test]
fn a_step_programs_and_says_so() {
    let mut reconciler = reconciler(Memory::default());
    let step = settle(&mut reconciler, &world());
    assert!(step.failure.is_none() && step.operations > 0);
    assert_eq!(reconciler.programmed().applied, 7);
    assert!(reconciler.programmed().attached && reconciler.again() > Some(NOW));
    pass_all(&mut reconciler, NOW);
    let generation = reconciler.programmed().generation;
    settle(&mut reconciler, &world());
    assert_eq!(reconciler.programmed().services[0].serving, Serving::Ready);
    assert_eq!(reconciler.programmed().generation, generation + 1);
    assert_eq!(reconciler.ready().len(), 1);
    assert_eq!(reconciler.again(), None);
    assert_eq!(settle(&mut reconciler, &world()).operations, 0);
    assert_eq!(reconciler.programmed().generation, generation + 1, "nothing new to say");
}

#[test]
fn a_restarted_router_changes_nothing() {
    let mut first = reconciler(Memory::default());
    settle(&mut first, &world());
    pass_all(&mut first, NOW);
    settle(&mut first, &world());
    let ready = first.ready().clone();
    let mut second = Reconciler::new(first.maps, rules(), ready, NOW).unwrap();
    assert_eq!(settle(&mut second, &world()).operations, 0);
    assert_ne!(second.programmed().services[0].serving, Serving::Unserved);
}

#[test]
fn what_somebody_else_changed_is_counted_and_mended() {
    let mut reconciler = reconciler(Memory::default());
    settle(&mut reconciler, &world());
    let wanted = reconciler.installed().clone();
    reconciler.maps.installed.answers.clear();
    reconciler.maps.installed.legs.insert(9, 9);
    assert_eq!(reconciler.compare().unwrap(), 2);
    assert_eq!(settle(&mut reconciler, &world()).operations, 2);
    assert_eq!(reconciler.maps.installed, wanted);
    assert_eq!(reconciler.compare().unwrap(), 0);
}

#[test]
fn a_refused_operation_is_retried_and_never_called_applied() {
    let patience = Some(3);
    let mut reconciler = reconciler(Memory { patience, ..Memory::default() });
    let step = settle(&mut reconciler, &world());
    assert_eq!((step.operations, step.failure.is_some()), (3, true));
    assert_eq!(reconciler.programmed().applied, 0);
    reconciler.maps.patience = None;
    assert!(settle(&mut reconciler, &world()).failure.is_none());
    assert_eq!(reconciler.programmed().applied, 7);
}

#[test]
fn a_retired_index_is_freed_by_the_sweepers_word_unless_it_came_back() {
    let mut reconciler = reconciler(Memory::default());
    let full = world();
    let none = World { assignments: Arc::new(Assignments::default()), ..world() };
    settle(&mut reconciler, &full);
    settle(&mut reconciler, &none);
    let retired = reconciler.retired().clone();
    assert_eq!(retired.ids.frontends, [0].into());
    settle(&mut reconciler, &full);
    settle(&mut reconciler, &none);
    assert!(!reconciler.free(retired.epoch, &retired.ids), "it was in use since");
    let retired = reconciler.retired().clone();
    assert!(reconciler.free(retired.epoch, &retired.ids));
    settle(&mut reconciler, &none);
    assert!(reconciler.installed().identities.is_empty());
}

#[test]
fn a_passive_signal_finds_its_service_and_node() {
    let mut reconciler = reconciler(Memory::default());
    let world = world();
    settle(&mut reconciler, &world);
    pass_all(&mut reconciler, NOW);
    assert!(reconciler.suspect(&world, 0, 0, NOW + Duration::from_secs(5)));
    assert!(!reconciler.suspect(&world, 5, 0, NOW));
    assert!(!reconciler.suspect(&world, 0, 9, NOW));
    assert!(reconciler.health.poll_probe(NOW + Duration::from_secs(5)).is_some());
}
