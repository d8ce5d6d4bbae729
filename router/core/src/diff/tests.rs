use std::{net::IpAddr, time::Duration};

use proptest::prelude::*;
use roadstead_model::{Family, NodeKey, Protocol, object::SourceRanges};

use super::*;
use crate::{
    fixture::*,
    maps::{Answer, AnswerKey, Backend, BackendMode, Frontend, FrontendKey, Snat},
};

/// One thing that happens in the world.
#[derive(Clone, Debug)]
enum Event {
    AddNode(u16),
    RemoveNode(u16),
    Exclude(u16, bool),
    Fail(Vec<u16>),
    Serve(u8, u16),
    Withdraw(u8),
    Ranges(u8, Vec<u8>),
    Endpoints(u8, Vec<(u16, bool)>),
    Local(u8, bool),
    LoseRoute(u16),
    DedicatedSources(u8),
    Wait(u64),
    /// The sweeper has found no flow at all.
    Swept,
}

fn event() -> impl Strategy<Value = Event> {
    let node = 1_u16..6;
    let service = 0_u8..6;
    prop_oneof![
        node.clone().prop_map(Event::AddNode),
        node.clone().prop_map(Event::RemoveNode),
        (node.clone(), any::<bool>()).prop_map(|(n, on)| Event::Exclude(n, on)),
        prop::collection::vec(node.clone(), 0..5).prop_map(Event::Fail),
        (service.clone(), 30_000_u16..30_010).prop_map(|(s, port)| Event::Serve(s, port)),
        service.clone().prop_map(Event::Withdraw),
        (service.clone(), prop::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(s, nets)| Event::Ranges(s, nets)),
        (service.clone(), prop::collection::vec((node.clone(), any::<bool>()), 0..4))
            .prop_map(|(s, at)| Event::Endpoints(s, at)),
        (service, any::<bool>()).prop_map(|(s, local)| Event::Local(s, local)),
        node.prop_map(Event::LoseRoute),
        (0_u8..4).prop_map(Event::DedicatedSources),
        (0_u64..400).prop_map(Event::Wait),
        Just(Event::Swept),
    ]
}

fn name(service: u8) -> String {
    format!("s{service}")
}

impl World {
    fn happen(&mut self, event: &Event) {
        match event {
            Event::AddNode(n) => self.add_node(*n),
            Event::RemoveNode(n) => {
                self.snapshot.nodes.remove(&NodeKey::new(&source(), format!("n{n}")));
            }
            Event::Exclude(n, on) if self.has_node(*n) => self.edit_node(*n, |x| x.excluded = *on),
            Event::Fail(nodes) => self.fail_nodes(nodes),
            Event::Serve(s, port) => {
                self.withdraw(*s);
                // Two Services share each pair of addresses.
                let ports = [(Protocol::Tcp, u16::from(*s) + 80, Some(*port))];
                let v4 = format!("192.0.2.{}", 10 + s / 2);
                let v6 = format!("2001:db8:2::{}", 10 + s / 2);
                self.serve(service(&name(*s), &ports), &[&v4, &v6]);
            }
            Event::Withdraw(s) => self.withdraw(*s),
            Event::Ranges(s, nets) if self.has_service(*s) => {
                let net = |n: &u8| format!("203.0.{n}.0/24").parse().unwrap();
                let ranges = match nets.is_empty() {
                    true => SourceRanges::Any,
                    false => SourceRanges::Only(nets.iter().map(net).collect()),
                };
                self.edit_service(&name(*s), |service| service.source_ranges = ranges);
            }
            Event::Endpoints(s, at) => self.endpoints(&name(*s), at),
            Event::Local(s, true) if self.has_service(*s) => self.edit_service(&name(*s), |x| {
                x.traffic_policy = roadstead_model::object::TrafficPolicy::Local;
            }),
            Event::LoseRoute(n) => {
                self.host.routes.remove(&node_address(Family::V4, *n));
            }
            Event::DedicatedSources(count) => {
                self.router.snat_addresses =
                    (0..*count).map(|n| IpAddr::from([198, 18, 250, n])).collect();
            }
            Event::Wait(seconds) => self.now += Duration::from_secs(*seconds),
            Event::Swept => self.sweep(),
            Event::Exclude(..) | Event::Ranges(..) | Event::Local(..) => {}
        }
    }

    fn has_node(&self, n: u16) -> bool {
        self.snapshot.nodes.contains_key(&NodeKey::new(&source(), format!("n{n}")))
    }

    fn has_service(&self, s: u8) -> bool {
        self.snapshot.services.contains_key(&key(&name(s)))
    }

    fn withdraw(&mut self, s: u8) {
        self.assignments.services.retain(|assignment| assignment.service != key(&name(s)));
        self.snapshot.services.remove(&key(&name(s)));
        let services = &self.assignments.services;
        let used = |address: &IpAddr| services.iter().any(|s| s.addresses.contains(address));
        self.assignments.vips.retain(|vip| used(&vip.address));
    }

    /// Frees everything that is out of use, as it is with no flow at all.
    fn sweep(&mut self) {
        let wanted = self.plan().wanted;
        let used: BTreeSet<u32> = wanted.frontends.values().map(|f| f.id).collect();
        self.freed.frontends =
            wanted.identities.keys().copied().filter(|id| !used.contains(id)).collect();
        let gone = wanted.backends.iter().filter(|(_, b)| b.state == BackendMode::Gone);
        self.freed.backends = gone.map(|(id, _)| *id).collect();
        let sources: BTreeSet<u16> =
            wanted.backends.values().flat_map(|b| b.snat.0..b.snat.0 + b.snat.1).collect();
        self.freed.snats =
            wanted.snats.keys().copied().filter(|id| !sources.contains(id)).collect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens in whatever order: after each operation nothing dangles ([`World::settle`]
    /// checks), the maps end as planned, and a second plan changes nothing.
    #[test]
    fn no_step_of_any_history_leaves_anything_dangling(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(3);
        for event in &events {
            world.happen(event);
            world.settle();
            world.freed = crate::plan::Freed::default();
            let (_, ops) = world.settle();
            prop_assert!(ops.is_empty(), "{:?} settles in one plan: {:?}", event, ops);
        }
    }

    /// From anything to anything.
    #[test]
    fn applying_the_difference_gives_what_is_wanted(a in installed(), b in installed()) {
        let mut maps = a.clone();
        for op in diff(&a, &b) {
            maps.apply(&op);
        }
        prop_assert_eq!(maps, b);
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    (0_u8..8).prop_map(|last| IpAddr::from([192, 0, 2, last]))
}

fn frontends() -> impl Strategy<Value = BTreeMap<FrontendKey, Frontend>> {
    let key = (address(), 1_u16..4).prop_map(|(address, port)| FrontendKey {
        address,
        protocol: Protocol::Tcp,
        port,
    });
    let frontend =
        (0_u32..8, any::<bool>(), prop::option::of(0_u16..3)).prop_map(|(id, log, table)| {
            Frontend { id, node_port: 30_000, table, affinity_seconds: 0, ranges: None, log }
        });
    prop::collection::btree_map(key, frontend, 0..8)
}

fn backends() -> impl Strategy<Value = BTreeMap<u16, Backend>> {
    let backend = (address(), 1_u32..3).prop_map(|(address, ifindex)| Backend {
        address,
        ifindex,
        macs: None,
        gateway: None,
        mtu: 1_500,
        snat: (0, 1),
        state: BackendMode::Active,
    });
    prop::collection::btree_map(0_u16..8, backend, 0..6)
}

fn installed() -> impl Strategy<Value = Installed> {
    let snat = address().prop_map(|address| Snat { address, low: 1, high: 2, shared: false });
    let range =
        (0_u32..4, 0_u8..4).prop_map(|(set, n)| (set, format!("203.0.{n}.0/24").parse().unwrap()));
    let answer = (address(), 1_u32..3, any::<u8>()).prop_map(|(address, ifindex, last)| {
        (AnswerKey { address, ifindex }, Answer { mac: [last; 6], expires: None })
    });
    let table = (0_u16..4, 0_u16..9).prop_map(|(id, backend)| (id, vec![backend; 4].into()));
    (
        frontends(),
        backends(),
        prop::collection::btree_map(0_u16..4, snat, 0..4),
        prop::collection::btree_set(range, 0..6),
        prop::collection::vec(answer, 0..6),
        prop::collection::vec(table, 0..4),
        prop::collection::btree_map(1_u32..4, 0_u8..32, 0..3),
    )
        .prop_map(|(frontends, backends, snats, ranges, answers, tables, legs)| Installed {
            legs,
            vips: BTreeMap::new(),
            identities: frontends.iter().map(|(key, frontend)| (frontend.id, *key)).collect(),
            frontends,
            backends,
            tables: tables.into_iter().collect(),
            snats,
            ranges,
            answers: answers.into_iter().collect(),
        })
}
