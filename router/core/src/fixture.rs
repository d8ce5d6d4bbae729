//! A small world for tests: an edge host with two legs, nodes behind the second, Services, and maps
//! in memory that check after every operation that nothing dangles.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    AddressRange, Family, NodeKey, Protocol, ServiceKey, Snapshot, SourceName, config,
    local::{Assignment, Assignments, PortClaim, ServiceServing, Vip, VipKind},
    object::{
        AddressRequest, Endpoint, Endpoints, Families, Node, Service, ServicePort, SourceRanges,
        TrafficPolicy,
    },
    snapshot::SourceState,
};

use crate::{
    diff::diff,
    drain::Drains,
    health::{Failure, Health, Question, Target},
    host::{Host, Leg, LegAddress, Route},
    maps::{Capacity, FrontendKey, Installed, NO_BACKEND, Op},
    plan::{Freed, Inputs, Plan, Planner, subjects},
};

pub(crate) const CLIENTS: u32 = 2;
pub(crate) const NODES: u32 = 3;

pub(crate) fn source() -> SourceName {
    SourceName::new("local")
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&source(), "default", name)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The address of node `n`.
pub(crate) fn node_address(family: Family, n: u16) -> IpAddr {
    match family {
        Family::V4 => {
            let [high, low] = n.to_be_bytes();
            IpAddr::from([198, 18, high, low])
        }
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 18, 0, 0, 0, 0, n]),
    }
}

pub(crate) fn service(name: &str, ports: &[(Protocol, u16, Option<u16>)]) -> Service {
    Service {
        key: key(name),
        uid: None,
        labels: BTreeMap::new(),
        class: None,
        request: AddressRequest::default(),
        families: Families::Single(Family::V4),
        ports: ports
            .iter()
            .map(|(protocol, port, node_port)| ServicePort {
                name: "".into(),
                protocol: *protocol,
                port: *port,
                node_port: *node_port,
            })
            .collect(),
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

/// One pool of these ranges.
pub(crate) fn pool(ranges: &[(&str, &str)]) -> config::Pool {
    let range = |(first, last): &(&str, &str)| AddressRange::new(ip(first), ip(last)).unwrap();
    let addresses = ranges.iter().map(range).collect();
    config::Pool { sharing: config::Sharing::Off, ..config::Pool::new("lan", addresses) }
}

pub(crate) fn router() -> config::Router {
    config::Router {
        interfaces: None,
        snat_addresses: Vec::new(),
        snat_ports: (32_768, 60_999),
        flows: None,
        nodes_allowed: Vec::new(),
        drain_deadline: Duration::from_secs(300),
        log_flows: false,
        health: config::Health {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            fall: 2,
            rise: 2,
            node_probe: config::NodeProbe::Auto { port: 10_256 },
            budget: 10_000,
            panic_threshold: 50,
            slow_start: Duration::ZERO,
        },
        metrics: None,
    }
}

/// Everything a plan follows from, and what came of the last one.
pub(crate) struct World {
    pub(crate) assignments: Assignments,
    pub(crate) snapshot: Snapshot,
    pub(crate) health: Health,
    pub(crate) drains: Drains,
    pub(crate) host: Host,
    pub(crate) router: config::Router,
    pub(crate) pools: Vec<config::Pool>,
    pub(crate) installed: Installed,
    pub(crate) capacity: Capacity,
    pub(crate) freed: Freed,
    pub(crate) ready_before: BTreeSet<ServiceKey>,
    pub(crate) remembered: bool,
    pub(crate) now: Duration,
    pub(crate) planner: Planner,
}

impl World {
    /// An edge host and `nodes` nodes with an address of each family.
    pub(crate) fn new(nodes: u16) -> Self {
        let router = router();
        let mut world = Self {
            assignments: Assignments::default(),
            snapshot: Snapshot {
                sources: BTreeMap::from([(source(), SourceState::Current)]),
                ..Snapshot::default()
            },
            health: Health::new(router.health.clone()),
            drains: Drains::default(),
            host: host(),
            router,
            pools: vec![pool(&[
                ("192.0.2.0", "192.0.2.255"),
                ("198.19.0.0", "198.19.255.255"),
                ("2001:db8:2::", "2001:db8:2::ffff"),
            ])],
            installed: Installed::default(),
            capacity: Capacity {
                flows: 1_000,
                vips: 8_192,
                frontends: 8_192,
                backends: 1_024,
                tables: 64,
                snats: 16,
                ranges: 64,
            },
            freed: Freed::default(),
            ready_before: BTreeSet::new(),
            remembered: false,
            now: Duration::from_secs(100),
            planner: Planner::default(),
        };
        (1..=nodes).for_each(|n| world.add_node(n));
        world
    }

    pub(crate) fn add_node(&mut self, n: u16) {
        let key = NodeKey::new(&source(), format!("n{n}"));
        let addresses = [Family::V4, Family::V6].map(|family| node_address(family, n));
        for address in addresses {
            let route = Route { ifindex: NODES, source: None, gateway: None, mtu: None };
            self.host.routes.insert(address, route);
            let [high, low] = n.to_be_bytes();
            self.host.neighbours.insert((NODES, address), [2, 0, 0, 1, high, low]);
        }
        let node = Node {
            key: key.clone(),
            addresses: addresses.to_vec(),
            ready: true,
            excluded: false,
            labels: BTreeMap::new(),
        };
        self.snapshot.nodes.insert(key, Arc::new(node));
    }

    pub(crate) fn edit_node(&mut self, n: u16, edit: impl FnOnce(&mut Node)) {
        let key = NodeKey::new(&source(), format!("n{n}"));
        edit(Arc::make_mut(self.snapshot.nodes.get_mut(&key).unwrap()));
    }

    /// Adds a Service and assigns it these addresses.
    pub(crate) fn serve(&mut self, service: Service, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| ip(address)).collect();
        let ports = service.ports.iter();
        let claims = ports.map(|port| PortClaim { protocol: port.protocol, port: port.port });
        self.assignments.services.push(Assignment {
            service: service.key.clone(),
            addresses: addresses.clone(),
            ports: claims.collect(),
            withdrawing: false,
        });
        for address in addresses {
            if !self.assignments.vips.iter().any(|vip| vip.address == address) {
                let answer_on = vec!["clients".into()];
                let kind = VipKind::Virtual;
                self.assignments.vips.push(Vip { address, kind, visible_on: None, answer_on });
            }
        }
        self.snapshot.services.insert(service.key.clone(), Arc::new(service));
    }

    pub(crate) fn edit_service(&mut self, name: &str, edit: impl FnOnce(&mut Service)) {
        edit(Arc::make_mut(self.snapshot.services.get_mut(&key(name)).unwrap()));
    }

    pub(crate) fn endpoints(&mut self, name: &str, endpoints: &[(u16, bool)]) {
        let endpoints = endpoints.iter().zip(1_u8..).map(|((node, ready), n)| Endpoint {
            address: IpAddr::from([203, 0, 113, n]),
            node: Some(format!("n{node}").into()),
            ready: *ready,
            serving: *ready,
            terminating: false,
        });
        let endpoints = Endpoints { endpoints: endpoints.collect() };
        self.snapshot.endpoints.insert(key(name), Arc::new(endpoints));
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            assignments: &self.assignments,
            snapshot: &self.snapshot,
            health: &self.health,
            drains: &self.drains,
            host: &self.host,
            router: &self.router,
            pools: &self.pools,
            installed: &self.installed,
            capacity: self.capacity,
            freed: &self.freed,
            ready_before: &self.ready_before,
            remembered: self.remembered,
            now: self.now,
        }
    }

    pub(crate) fn observe(&mut self) {
        let backends: Vec<IpAddr> =
            self.installed.backends.values().map(|backend| backend.address).collect();
        self.drains.observe(&self.snapshot, backends, self.now + self.router.drain_deadline);
        let subjects = subjects(&self.inputs());
        self.health.watch(&subjects, self.now);
    }

    pub(crate) fn plan(&mut self) -> Plan {
        self.observe();
        let mut planner = std::mem::take(&mut self.planner);
        let plan = planner.plan(&self.inputs());
        self.planner = planner;
        plan
    }

    /// Plans and applies, checking every step; returns the operations.
    pub(crate) fn settle(&mut self) -> (Plan, Vec<Op>) {
        let plan = self.plan();
        let ops = diff(&self.installed, &plan.wanted);
        for op in &ops {
            self.installed.apply(op);
            assert_sound(&self.installed, op);
        }
        assert_eq!(self.installed, plan.wanted);
        (plan, ops)
    }

    /// Answers every probe that is due within `span`.
    pub(crate) fn probe(
        &mut self,
        span: Duration,
        answer: impl Fn(&Target, Question) -> Result<(), Failure>,
    ) {
        self.observe();
        let end = self.now + span;
        loop {
            while let Some(probe) = self.health.poll_probe(self.now) {
                let result = answer(&probe.target, probe.question.clone());
                self.health.handle_result(&probe.target, probe.question, result, self.now);
            }
            match self.health.next_deadline(self.now) {
                Some(next) if next < end => {
                    self.now = next.max(self.now + Duration::from_micros(1));
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// All probes pass.
    pub(crate) fn all_pass(&mut self) {
        self.probe(Duration::from_secs(2), |_, _| Ok(()));
    }

    /// All probes pass but those to these nodes.
    pub(crate) fn fail_nodes(&mut self, nodes: &[u16]) {
        let failing: BTreeSet<IpAddr> = nodes
            .iter()
            .flat_map(|n| [Family::V4, Family::V6].map(|family| node_address(family, *n)))
            .collect();
        self.probe(Duration::from_secs(4), |_, question| {
            let (Question::Tcp(to)
            | Question::Udp(to)
            | Question::Http(to)
            | Question::Check(to, _)) = question;
            if failing.contains(&to.ip()) { Err(Failure::TimedOut) } else { Ok(()) }
        });
    }

    /// The node addresses that the table of a frontend names.
    pub(crate) fn targets(&self, address: &str, port: u16) -> BTreeMap<IpAddr, usize> {
        let key = FrontendKey { address: ip(address), protocol: Protocol::Tcp, port };
        let frontend = self.installed.frontends.get(&key).expect("the frontend is installed");
        let mut targets = BTreeMap::new();
        let Some(table) = frontend.table else { return targets };
        for id in self.installed.tables[&table].iter().filter(|id| **id != NO_BACKEND) {
            *targets.entry(self.installed.backends[id].address).or_default() += 1;
        }
        targets
    }
}

pub(crate) fn serving<'a>(plan: &'a Plan, name: &str) -> &'a ServiceServing {
    plan.services.iter().find(|serving| serving.service == key(name)).unwrap()
}

fn host() -> Host {
    let leg = |name: &str, last, nets: &[&str]| Leg {
        name: name.into(),
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1_500,
        addresses: nets
            .iter()
            .map(|net| LegAddress { net: net.parse().unwrap(), lasting: true })
            .collect(),
        attached: true,
    };
    let legs = BTreeMap::from([
        (CLIENTS, leg("clients", 2, &["192.0.2.1/24", "2001:db8:2::1/64"])),
        (NODES, leg("nodes", 3, &["198.18.255.254/16", "2001:db8:12::ffff/64"])),
    ]);
    let addresses = legs.values().flat_map(|leg| &leg.addresses).map(|at| at.net.addr()).collect();
    Host { legs, addresses, ..Host::default() }
}

/// Nothing dangles: what the dataplane would follow from a packet is there.
pub(crate) fn assert_sound(installed: &Installed, after: &Op) {
    for (key, frontend) in &installed.frontends {
        let table = frontend.table.is_none_or(|id| installed.tables.contains_key(&id));
        let ranges = frontend.ranges.is_none_or(|set| installed.ranges.iter().any(|r| r.0 == set));
        let identity = installed.identities.get(&frontend.id) == Some(key);
        let vip = installed.vips.contains_key(&key.address);
        assert!(table && ranges && identity && vip, "{key:?} dangles after {after:?}");
    }
    for table in installed.tables.values() {
        let used: BTreeSet<u16> = table.iter().copied().filter(|id| *id != NO_BACKEND).collect();
        let known = used.iter().all(|id| installed.backends.contains_key(id));
        assert!(known, "a table dangles after {after:?}");
    }
    for backend in installed.backends.values() {
        let (first, count) = backend.snat;
        let known = (first..first + count).all(|id| installed.snats.contains_key(&id));
        assert!(known, "{backend:?} dangles after {after:?}");
    }
    for key in installed.answers.keys() {
        let ours = installed.vips.contains_key(&key.address)
            || installed.snats.values().any(|snat| snat.address == key.address);
        assert!(ours, "{key:?} is answered after {after:?}");
    }
}
