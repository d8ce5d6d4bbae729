//! Many Services on a hundred nodes.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    Edge, Lab, Topology,
    edge::{DaemonName, ServiceYaml, node_yaml},
    eventually,
};

use super::{
    memory,
    nodes::{FIRST_PORT, Nodes, OTHER_PORT},
    prober::{Prober, SourcePorts},
    socket,
};

/// How many nodes.
pub(crate) const NODES: u8 = 100;
/// The UDP port of every Service.
pub(crate) const PORT: u16 = 53;
/// Within what everything is served and announced: 5,000 first probes at 200 a second.
const SERVED: Duration = Duration::from_secs(60);
/// For how long the daemons are watched to see whether they rest.
const LOOK: Duration = Duration::from_secs(1);
/// The last byte of the first node's address.
const FIRST_NODE: u8 = 101;

/// What to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many Services.
    pub(crate) services: u16,
    /// The UDP port beside the TCP port.
    pub(crate) udp: bool,
    /// Flows that fit; none: by the machine's memory.
    pub(crate) flows: Option<u32>,
    /// Probes a second; none: the default.
    pub(crate) budget: Option<u32>,
}

/// A client, an edge host, a namespace of nodes.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) edge: Edge,
    _nodes: Nodes,
    lab: Lab,
    ports: SourcePorts,
    pub(crate) plan: Plan,
}

impl World {
    /// Builds it with its manifests; the daemons do not run yet.
    pub(crate) fn prepare(plan: Plan) -> Result<Self> {
        let lab = topology().build("bench-scale")?;
        let nodes = Nodes::start(lab.node(1)?)?;
        let mut edge = Edge::prepare(&lab, &configuration(plan))?;
        edge.log_sparsely();
        let world = Self { edge, _nodes: nodes, lab, ports: SourcePorts::default(), plan };
        for node in 0..NODES {
            world.put_node(node)?;
        }
        for service in 0..plan.services {
            world.edge.manifests.write(&name(service), &world.service(service, false)?)?;
        }
        world.fix_neighbours()?;
        Ok(world)
    }

    /// Starts the daemons and waits until every Service is ready.
    pub(crate) fn serve(&mut self) -> Result<()> {
        self.start_daemons()?;
        self.wait_served().map(drop)
    }

    /// Starts both daemons.
    pub(crate) fn start_daemons(&mut self) -> Result<()> {
        DaemonName::ALL.iter().try_for_each(|daemon| self.edge.start_daemon(*daemon))
    }

    /// Waits until the router reports each Service ready; when each stage was reached.
    pub(crate) fn wait_served(&self) -> Result<socket::Stages> {
        let socket = self.edge.runtime().join("router/local.sock");
        let services = usize::from(self.plan.services);
        socket::follow(&socket, services, Instant::now() + SERVED)
            .with_context(|| self.lab.explain_failure())
    }

    /// Waits until first probes are over and the daemons rest: less than a tenth of a core between
    /// them.
    pub(crate) fn settle(&self) -> Result<()> {
        eventually("the daemons rest", SERVED, || {
            let before = self.work()?;
            thread::sleep(LOOK);
            let busy = self.work()?.saturating_sub(before);
            ensure!(busy < LOOK / 10, "they worked for {busy:?} of {LOOK:?}");
            Ok(())
        })
    }

    /// Processor time of both daemons.
    fn work(&self) -> Result<Duration> {
        let daemons = DaemonName::ALL.map(|daemon| memory::work(self.edge.daemon(daemon)?.pid()?));
        daemons.into_iter().sum()
    }

    /// Has the client ask these for new flows, in turn, one `every` so often.
    pub(crate) fn prober(&self, to: Vec<SocketAddr>, every: Duration) -> Result<Prober> {
        Prober::start(self.lab.client()?, self.ports.clone(), to, every)
    }

    /// Where a Service is asked.
    pub(crate) fn vip(&self, service: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(vip(service)), PORT)
    }

    /// A Service, on its first NodePort or on its other.
    pub(crate) fn service(&self, service: u16, other: bool) -> Result<String> {
        let port = if other { OTHER_PORT } else { FIRST_PORT } + service;
        let yaml = ServiceYaml::new(&name(service))
            .tcp(80, FIRST_PORT + service)
            .addresses(&vip(service).to_string());
        if self.plan.udp { yaml.udp(PORT, port).yaml() } else { yaml.yaml() }
    }

    /// Writes the manifest of a Service.
    pub(crate) fn write_service(&self, service: u16, yaml: &str) -> Result<()> {
        self.edge.manifests.write(&name(service), yaml)
    }

    /// Deletes the manifest of a Service.
    pub(crate) fn delete_service(&self, service: u16) -> Result<()> {
        self.edge.manifests.delete(&name(service))
    }

    /// Writes the manifest of a node.
    pub(crate) fn put_node(&self, node: u8) -> Result<()> {
        let name = format!("node-{node}");
        let address = IpAddr::from([203, 0, 113, last_byte(node)]);
        self.edge.manifests.write(&name, &node_yaml(&name, &[address])?)
    }

    /// Deletes the manifest of a node.
    pub(crate) fn delete_node(&self, node: u8) -> Result<()> {
        self.edge.manifests.delete(&format!("node-{node}"))
    }

    /// Packets meet no ARP request: what is measured is when they are served.
    fn fix_neighbours(&self) -> Result<()> {
        let mac = self.lab.edge()?.leg("eth0")?.mac;
        let mut batch = String::new();
        for service in 0..=self.plan.services {
            writeln!(batch, "neigh replace {} lladdr {mac} dev eth0 nud permanent", vip(service))?;
        }
        self.lab.client()?.feed(&["ip", "-batch", "-"], &batch)?;
        let mac = self.lab.node(1)?.leg("eth0")?.mac;
        let mut batch = String::new();
        for node in 0..NODES {
            let address = Ipv4Addr::new(203, 0, 113, last_byte(node));
            writeln!(batch, "neigh replace {address} lladdr {mac} dev eth1 nud permanent")?;
        }
        self.lab.edge()?.feed(&["ip", "-batch", "-"], &batch).map(drop)
    }
}

/// The last byte of a node's address.
pub(crate) fn last_byte(node: u8) -> u8 {
    FIRST_NODE.saturating_add(node)
}

fn name(service: u16) -> String {
    format!("service-{service}")
}

/// 198.18.0.1 and following.
pub(crate) fn vip(service: u16) -> Ipv4Addr {
    let [high, low] = (service + 1).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

fn configuration(plan: Plan) -> String {
    let line = |key, value: Option<u32>| value.map(|value| format!("{key} = {value}\n"));
    let flows = line("flows", plan.flows).unwrap_or_default();
    let budget = line("budget", plan.budget).unwrap_or_default();
    format!(
        "[[pool]]\nname = \"bench\"\naddresses = [\"198.18.0.0/17\"]\n\n\
         [router]\n{flows}[router.health]\nslow_start = \"0s\"\n{budget}"
    )
}

fn topology() -> Topology {
    let mut plan = Topology::new();
    let _ = plan.host("client").leg("front", ["198.19.255.3/15"]);
    let _ = plan.host("edge").leg("front", ["198.19.255.2/15"]).leg("back", ["203.0.113.2/24"]);
    let addresses = (0..NODES).map(|node| format!("203.0.113.{}/24", last_byte(node)));
    let _ = plan.host("node1").leg("back", addresses);
    plan
}
